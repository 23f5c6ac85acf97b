-- Makes the tables a script sees, out of the interpreter's own and of `native` (functions of the server). A table that
-- nobody may change is an empty stand-in: it reads from the real one and refuses writes.
local native, global = ...
local error, type, tostring, select, rawequal = error, type, tostring, select, rawequal
local raw_next, raw_pairs, raw_rawset, raw_rawget = next, pairs, rawset, rawget
local raw_xpcall = xpcall
local raw_getmetatable, raw_setmetatable, raw_pcall, raw_unpack = getmetatable, setmetatable, pcall, unpack
local READONLY = "Attempt to modify a readonly table"

-- Stand-in -> the real table.
local real = raw_setmetatable({}, {__mode = "k"})

local function refuse() error(READONLY, 2) end

local function stand_in(of, proxy)
    proxy = proxy or {}
    real[proxy] = of
    local meta = {__index = of, __newindex = refuse, __metatable = false}
    return raw_setmetatable(proxy, meta), meta
end

-- A name that isn't there is an error.
local function strict(t)
    return raw_setmetatable(t, {__index = function(_, name)
        error("Script attempted to access nonexistent global variable '" .. tostring(name) .. "'", 2)
    end})
end

local function argument(at, name, wanted, value)
    error("bad argument #" .. at .. " to '" .. name .. "' (" .. wanted .. " expected, got " .. value .. ")", 3)
end

local function got(n, value)
    return n == 0 and "no value" or type(value)
end

local function next_of(t, key)
    return raw_next(real[t] or t, key)
end

-- The interpreter's functions that would see through a stand-in, or change it.
local checked = {
    pairs = function(...)
        local t = ...
        if type(t) ~= "table" then argument(1, "pairs", "table", got(select("#", ...), t)) end
        if real[t] then return next_of, t, nil end
        return raw_next, t, nil
    end,
    next = next_of,
    rawget = function(t, key)
        return raw_rawget(real[t] or t, key)
    end,
    rawset = function(t, key, value)
        if real[t] then error(READONLY, 0) end
        return raw_rawset(t, key, value)
    end,
    getmetatable = function(...)
        local value = ...
        if select("#", ...) == 0 then error("bad argument #1 to 'getmetatable' (value expected)", 2) end
        if rawequal(value, global) then return native.global_metatable end
        if value ~= nil and real[value] then return nil end
        return raw_getmetatable(value)
    end,
    setmetatable = function(...)
        local t, meta = ...
        if type(t) ~= "table" then argument(1, "setmetatable", "table", got(select("#", ...), t)) end
        if real[t] then error(READONLY, 0) end
        if meta ~= nil and type(meta) ~= "table" or select("#", ...) < 2 then
            error("bad argument #2 to 'setmetatable' (nil or table expected)", 2)
        end
        return raw_setmetatable(t, meta)
    end,
    -- The interpreter's own overflows an int when the range is wide.
    unpack = function(...)
        local t, from, to = ...
        if type(t) ~= "table" then argument(1, "unpack", "table", got(select("#", ...), t)) end
        if from == nil and to == nil then return raw_unpack(t) end
        from, to = from or 1, to or #t
        if type(from) ~= "number" or type(to) ~= "number" then return raw_unpack(t, from, to) end
        if from > to then return end
        if not (to - from < 7999 and from >= -2^31 and to < 2^31) then error("too many results to unpack", 2) end
        return raw_unpack(t, from, to)
    end,
}

-- `native.seen` raises an error anew that ends the script.
local function answer(ok, ...)
    if ok then return true, ... end
    local problem = ...
    if type(problem) == "userdata" then problem = native.seen(problem) end
    if type(problem) == "table" and type(problem.err) == "string" then return false, problem.err end
    return false, problem
end
checked.pcall = function(...) return answer(raw_pcall(...)) end
checked.xpcall = function(f, handler)
    local stopped
    local function behind(...)
        if stopped then error(stopped, 0) end
        return ...
    end
    return behind(raw_xpcall(f, function(problem)
        local goes_on, seen = raw_pcall(native.seen, problem)
        if goes_on then return handler(seen) end
        stopped = seen
    end))
end

-- `load` and `loadstring` gather the text first; it is compiled by the server, text only.
checked.loadstring = function(...)
    local text, name = ...
    if type(text) ~= "string" then argument(1, "loadstring", "string", got(select("#", ...), text)) end
    return native.compile(text, name == nil and text or tostring(name))
end
checked.load = function(...)
    local reader, name = ...
    if type(reader) ~= "function" then argument(1, "load", "function", got(select("#", ...), reader)) end
    local parts, size = {}, 0
    while true do
        local part = reader()
        if part == nil or part == "" then break end
        if type(part) ~= "string" then return nil, "reader function must return a string" end
        size = size + #part
        if size > native.max_chunk then return nil, "chunk is too long" end
        parts[#parts + 1] = part
    end
    return native.compile(table.concat(parts), name == nil and "=(load)" or tostring(name))
end

local own_insert, own_remove, own_sort = table.insert, table.remove, table.sort
local function changeable(name, ...)
    local t = ...
    if type(t) ~= "table" then
        error("bad argument #1 to '" .. name .. "' (table expected, got " .. got(select("#", ...), t) .. ")", 3)
    end
    if real[t] then error(READONLY, 0) end
end
local function changing(name, f)
    return function(...)
        changeable(name, ...)
        return f(...)
    end
end
local tables = {}
for name, value in raw_pairs(table) do tables[name] = value end
tables.insert = function(t, ...)
    if type(t) ~= "table" or real[t] then changeable("insert", t) end
    return own_insert(t, ...)
end
tables.remove = changing("remove", own_remove)
tables.sort = changing("sort", own_sort)

local maths = {}
for name, value in raw_pairs(math) do maths[name] = value end
maths.random, maths.randomseed = native.random, native.randomseed

local KEEP = {
    "assert", "collectgarbage", "error", "gcinfo", "ipairs", "rawequal", "select", "tonumber", "tostring", "type",
    "_VERSION",
}
local kept = {}
for _, name in ipairs(KEEP) do kept[name] = raw_rawget(_G, name) end
local strings, coroutines = string, {}
for name, value in raw_pairs(coroutine) do coroutines[name] = value end
local own_resume = coroutine.resume
local function resumed(ok, ...)
    if ok then return true, ... end
    return false, native.seen((...))
end
coroutines.resume = function(...) return resumed(own_resume(...)) end
local env = _G
for name in raw_pairs(env) do raw_rawset(env, name, nil) end
for name, value in raw_pairs(kept) do env[name] = value end
for name, value in raw_pairs(checked) do env[name] = value end

env._G = global
env.redis = stand_in(native.redis)
env.string, env.table, env.math = stand_in(strings), stand_in(tables), stand_in(maths)
env.coroutine = stand_in(coroutines)
for _, name in ipairs({"cjson", "cmsgpack", "bit", "struct"}) do env[name] = stand_in(native[name]) end

-- Texts share one metatable, for all scripts: nobody gets hold of it.
local of_strings = raw_getmetatable("")
of_strings.__index = env.string
of_strings.__metatable = stand_in({__index = env.string})

strict(env)
local _, meta = stand_in(env, global)
native.global_metatable = stand_in({__index = refuse})

-- What a library sees while it is loaded: enough to register its functions.
local library = strict({redis = stand_in(strict(native.library))})

return function(loading)
    meta.__index = loading and library or env
end
