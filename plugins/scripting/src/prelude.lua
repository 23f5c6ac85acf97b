-- Makes the tables a script sees, out of the interpreter's own and of `native` (functions of the server). A table that
-- nobody may change is an empty stand-in: it reads from the real one and refuses writes.
local native, global = ...
local error, type, tostring, rawequal, concat = error, type, tostring, rawequal, table.concat
local raw_next, raw_pairs, raw_rawset, raw_rawget = next, pairs, rawset, rawget
local raw_getmetatable, raw_setmetatable, raw_pcall, raw_xpcall = getmetatable, setmetatable, pcall, xpcall
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

-- The interpreter's functions that would see through a stand-in, or change it.
local next_of = native.see_through(raw_next, real)
local checked = {
    pairs = native.pairs(next_of, real, raw_next),
    next = next_of,
    rawget = native.see_through(rawget, real),
    rawset = native.keep(rawset, real),
    getmetatable = native.with_value(function(value)
        if rawequal(value, global) then return native.global_metatable end
        if value ~= nil and real[value] then return nil end
        return raw_getmetatable(value)
    end),
    setmetatable = native.keep(setmetatable, real),
    -- The interpreter's own overflows an int when the range is wide.
    unpack = native.unpack(unpack),
    collectgarbage = native.collectgarbage,
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
        -- Else the stack is at its end: the handler raises errors of its own.
        if type(seen) ~= "userdata" then return "error in error handling" end
        stopped = seen
    end))
end

-- `load` and `loadstring` gather the text first; it is compiled by the server, text only.
checked.loadstring = native.with_text(function(text, name)
    return native.compile(text, name == nil and text or tostring(name))
end)
checked.load = native.with_function(function(reader, name)
    local parts, size = {}, 0
    while true do
        local part = reader()
        if part == nil or part == "" then break end
        if type(part) ~= "string" then return nil, "reader function must return a string" end
        size = size + #part
        if size > native.max_chunk then return nil, "chunk is too long" end
        parts[#parts + 1] = part
    end
    return native.compile(concat(parts), name == nil and "=(load)" or tostring(name))
end)

local tables = {}
for name, value in raw_pairs(table) do tables[name] = value end
for _, name in ipairs({"insert", "remove", "sort"}) do tables[name] = native.keep(table[name], real) end

local maths = {}
for name, value in raw_pairs(math) do maths[name] = value end
maths.random, maths.randomseed = native.random, native.randomseed

local KEEP = {
    "assert", "error", "gcinfo", "ipairs", "rawequal", "select", "tonumber", "tostring", "type",
    "_VERSION",
}
local kept = {}
for _, name in ipairs(KEEP) do kept[name] = raw_rawget(_G, name) end
local strings, coroutines = {}, {}
for name, value in raw_pairs(string) do strings[name] = value end
strings.rep = native.repeat_text(string.rep)
strings.find = native.plain_or_pattern(string.find)
-- `gfind` is gmatch's old name.
for _, name in ipairs({"gfind", "gmatch", "gsub", "match"}) do strings[name] = native.pattern(string[name]) end
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

local function in_library(loading)
    meta.__index = loading and library or env
end

return in_library, real
