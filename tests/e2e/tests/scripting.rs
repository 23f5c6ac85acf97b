//! Scripts through a real server and its plugin.
#![allow(clippy::unwrap_used)]

use keystead_harness::{Client, Keystead};

fn server() -> Keystead {
    Keystead::builder().plugin("scripting", "()").start()
}

fn eval(client: &mut Client, script: &str, rest: &[&str]) -> String {
    let words: Vec<&str> = ["EVAL", script].into_iter().chain(rest.iter().copied()).collect();
    format!("{:?}", client.command(&words))
}

#[test]
fn a_script_reads_and_writes() {
    let server = server();
    let mut client = server.client();
    let set = "return {redis.call('set', KEYS[1], ARGV[1]), redis.call('get', KEYS[1]), #ARGV}";
    let found = eval(&mut client, set, &["1", "k", "v"]);
    assert!(found.contains("OK") && found.contains('v'), "{found}");
    assert_eq!(client.cmd("GET k"), "v");
    let sha = client.command(&["SCRIPT", "LOAD", "return ARGV[1]"]).as_text().unwrap();
    assert_eq!(client.command(&["EVALSHA", &sha.to_uppercase(), "0", "x"]), "x");
    client.ok("SCRIPT FLUSH");
    let gone = client.command(&["EVALSHA", &sha, "0"]);
    assert!(gone.is_error() && format!("{gone:?}").contains("NOSCRIPT No matching script. Please use EVAL."));
}

/// Each tries one way out that Lua 5.1 or Redis' libraries once had. The server must answer, and go on.
#[test]
fn nothing_gets_out_of_the_sandbox() {
    let server = Keystead::builder().plugin("scripting", "(memory_limit_mb: 64)").start();
    let mut client = server.client();
    let cases = [
        // CVE-2025-49844: the collector runs while a chunk is compiled, its name not anchored.
        "local n = 0 return tostring(load(function() n = n + 1 collectgarbage() if n < 50 then return 'local a' .. n .. \
         '=1 ' end end, ('x'):rep(4096) .. n) ~= nil)",
        // CVE-2025-46817
        "return {pcall(unpack, {}, -2147483648, 2147483647)}",
        "return {pcall(unpack, {}, 0, 2147483647)}",
        // CVE-2025-46819
        "return tostring(loadstring('--[' .. ('='):rep(1000000) .. '['))",
        // CVE-2025-46818
        "return {pcall(function() getmetatable('').__index = {} end)}",
        "return {pcall(setmetatable, _G, {})}",
        "return {pcall(rawset, redis, 'call', 1)}",
        // Bytecode.
        "return tostring(loadstring(string.dump(function() return 1 end)))",
        // CVE-2024-46981: a finaliser of the script's own.
        "return {pcall(function() return newproxy(true) end)}",
        // CVE-2024-31449
        "return bit.tohex(65535, -2147483648)",
        // CVE-2018-11218/9, CVE-2020-14147
        "return {pcall(cmsgpack.unpack, '\\221\\255\\255\\255\\255')}",
        "return {pcall(struct.pack, 'I2147483647', 1)}",
        "return {pcall(struct.unpack, 'c0', 'abc')}",
        // CVE-2022-24834
        "return {pcall(cjson.encode, {[2147483647] = 1})}",
        "return {pcall(cjson.decode, ('['):rep(100000))}",
        // Stack, in C and in Lua.
        "local function f() return ('x'):gsub('x', f) end return {pcall(f)}",
        "local function f() return pcall(f) end return {f()}",
        "local function f() return f() .. 'x' end return {pcall(f)}",
        "local function f(n) return coroutine.wrap(f)(n) end return {pcall(f, 1)}",
        "local t = {} t[1] = t return t",
        // Memory.
        "local s = 'x' while true do s = s .. s end",
        "local t = {} for i = 1, 1e9 do t[i] = {i} end",
        "return #string.rep('x', 2^40)",
        // The system.
        "return io",
        "return os",
        "return require('os')",
        "return dofile('/etc/passwd')",
        "return debug",
        "error({})",
    ];
    for script in cases {
        let found = eval(&mut client, script, &["0"]);
        let alive = client.command(&["EVAL", "return 'alive'", "0"]);
        assert_eq!(alive, "alive", "{script}: {found}");
    }
    let lent =
        eval(&mut client, "return {('x'):len(), type(redis.call), next(bit) ~= nil, getmetatable('').x}", &["0"]);
    assert!(lent.contains("function"), "{lent}");
}
