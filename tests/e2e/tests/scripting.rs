//! Scripts through a real server and its plugin.
#![allow(clippy::unwrap_used)]

use keystead_harness::{Client, DEADLINE, Keystead, wait_until};
use std::io::{Read, Write};
use std::time::{Duration, Instant};

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

/// Memory may end at any step of the way: keys and arguments, a command's reply, the script's own. Each is an error, and
/// the next script has its memory back.
#[test]
fn memory_may_end_anywhere() {
    let server = Keystead::builder().plugin("scripting", "(memory_limit_mb: 8)").start();
    let mut client = server.client();
    let big = "x".repeat(6 << 20);
    client.command(&["SET", "big", &big]);
    for _ in 0..50 {
        let words: Vec<String> = (0..1000).map(|n| format!("member:{n}")).collect();
        let words: Vec<&str> = ["RPUSH", "list"].into_iter().chain(words.iter().map(String::as_str)).collect();
        client.command(&words);
    }
    client.command(&["FUNCTION", "LOAD", LIBRARY]);
    let cases: [&[&str]; 7] = [
        &["EVAL", "return #ARGV[1]", "0", &big, &big[1..]],
        &["FCALL", "put", "1", &big, &big[1..]],
        &["EVAL", "local s = redis.call('get', 'big') return redis.call('append', 'big', s .. s)", "0"],
        &[
            "EVAL",
            "redis.call('get', 'big') redis.call('set', 'other', ('y'):rep(3000000)) return redis.call('get', 'big')\
          .. redis.call('get', 'other')",
            "0",
        ],
        &["EVAL", "local t = {} for i = 1, 100 do t[i] = redis.call('lrange', 'list', 0, -1) end return #t", "0"],
        &["EVAL", "return {pcall(redis.call, 'get', 'big'), ('z'):rep(4000000)}", "0"],
        &["EVAL", "local t = {} for i = 1, 20 do t[i] = {pcall(redis.call, 'lrange', 'list', 0, -1)} end", "0"],
    ];
    for words in cases {
        let found = format!("{:.200}", shown(&client.command(words)));
        assert_eq!(client.command(&["EVAL", "return KEYS[1]", "1", "alive"]), "alive", "{found}");
        if !words[1].contains("pcall") {
            assert!(found.contains("not enough memory"), "{:.80}: {found}", words[1]);
        }
    }
}

/// What scripts leave behind is gone soon, whenever one looks.
#[test]
fn scripts_leave_no_memory_behind() {
    let server = server();
    let mut client = server.client();
    for _ in 0..40 {
        for _ in 0..50 {
            client.command(&["EVAL", "return redis.call('incr', KEYS[1])", "1", "x"]);
        }
        let used: usize = client.info("memory")["used_memory_lua"].parse().unwrap();
        assert!(used < 100 * 1024, "{used}");
    }
}

/// What scripts may hand to a command: texts, and numbers as Redis 7.2 writes them; nothing else.
#[test]
fn words_of_a_command() {
    let server = server();
    let mut client = server.client();
    let numbers = "return {redis.call('echo', 1), redis.call('echo', -7), redis.call('echo', 3.5), redis.call('echo', \
                   2^53), redis.call('echo', 1e100), redis.call('mget', 1, 'a', 2.5, 3)[4]}";
    client.cmd("SET 3 three");
    let found = eval(&mut client, numbers, &["0"]);
    for wanted in ["\"1\"", "\"-7\"", "\"3.5\"", "\"9007199254740992\"", "\"1e+100\"", "\"three\""] {
        assert!(found.contains(wanted), "{wanted}: {found}");
    }
    for (call, text) in [
        ("redis.call()", "Please specify at least one argument for this redis lib call script: "),
        ("redis.call('get', {})", "Lua redis lib command arguments must be strings or integers script: "),
        ("redis.pcall('get', true)", "Lua redis lib command arguments must be strings or integers"),
        ("redis.call('nothing')", "Unknown Redis command called from script script: "),
    ] {
        let found = eval(&mut client, &format!("return {call}"), &["0"]);
        assert!(found.contains(text), "{call}: {found}");
    }
    let many = "local t = {} for i = 1, 7990 do t[i] = tostring(i) end return redis.call('rpush', 'l', unpack(t))";
    assert_eq!(client.command(&["EVAL", many, "0"]), 7990);
    let inside = "local f = coroutine.wrap(function() return redis.call('llen', 'l') end) return f()";
    assert_eq!(client.command(&["EVAL", inside, "0"]), 7990);
}

const LIBRARY: &str = "#!lua name=lib\nredis.register_function('put', function(keys, args) return redis.call('set', \
                       keys[1], args[1]) end)\nredis.register_function{function_name='spin', callback=function() \
                       while true do end end, flags={'no-writes'}}";

fn shown(reply: &keystead_harness::Reply) -> String {
    format!("{reply:?}")
}

/// A script that never ends: others are told to wait, whoever may still do something does, and it can be ended.
#[test]
fn a_long_script_lets_others_get_a_word_in() {
    let server = server();
    let (mut client, mut other) = (server.client(), server.client());
    client.ok("CONFIG SET busy-reply-threshold 50");
    client.command(&["FUNCTION", "LOAD", LIBRARY]);
    assert!(shown(&other.cmd("SCRIPT KILL")).contains("NOTBUSY"));
    for (words, kill, busy) in [
        (&["EVAL", "while true do pcall(function() while true do end end) end", "0"][..], "SCRIPT KILL", "SCRIPT"),
        (&["FCALL_RO", "spin", "0"][..], "FUNCTION KILL", "FUNCTION"),
    ] {
        client.send(words).unwrap();
        wait_until("others are told to wait", DEADLINE, || shown(&other.cmd("GET k")).contains("BUSY"));
        let told = shown(&other.cmd("PING"));
        assert!(told.contains(&format!("You can only call {busy} KILL or SHUTDOWN NOSAVE.")), "{told}");
        assert!(shown(&other.cmd("SHUTDOWN")).contains("BUSY"));
        // A client that comes only now, and a transaction that begins.
        let mut late = server.client();
        assert_eq!(late.cmd("MULTI"), "OK");
        assert!(shown(&late.cmd("SET a b")).contains("BUSY"));
        assert!(shown(&other.cmd(if busy == "SCRIPT" { "FUNCTION KILL" } else { "SCRIPT KILL" })).contains("BUSY"));
        other.ok(kill);
        assert!(shown(&client.read().unwrap()).contains("Script killed by user with SCRIPT KILL... script: "));
        assert!(shown(&late.cmd("EXEC")).contains("EXECABORT"));
        assert_eq!(other.cmd("PING"), "PONG");
    }
}

/// Behind its first write a script can't be ended; SHUTDOWN NOSAVE ends the server.
#[test]
fn a_script_that_wrote_ends_with_the_server_only() {
    let mut server = server();
    let (mut client, mut other) = (server.client(), server.client());
    client.ok("CONFIG SET busy-reply-threshold 50");
    client.send(&["EVAL", "redis.call('set', 'k', 'v') while true do end", "0"]).unwrap();
    wait_until("others are told to wait", DEADLINE, || shown(&other.cmd("GET k")).contains("BUSY"));
    assert!(shown(&other.cmd("SCRIPT KILL")).contains("UNKILLABLE"));
    other.send(&["SHUTDOWN", "NOSAVE"]).unwrap();
    assert!(server.process.wait_exit(DEADLINE).success());
}

#[test]
fn functions_are_data() {
    let plugins = |builder: keystead_harness::KeysteadBuilder| {
        builder.plugin("replication", "()").plugin("scripting", "()").plugin("persistence-rdb", "()")
    };
    let mut primary = plugins(Keystead::builder()).start();
    let mut client = primary.client();
    assert_eq!(client.command(&["FUNCTION", "LOAD", LIBRARY]), "lib");
    assert_eq!(client.cmd("FCALL put 1 k v"), "OK");
    // With a full synchronisation, and then with the stream.
    let replica = plugins(Keystead::builder()).start();
    let mut second = replica.client();
    second.ok(&format!("REPLICAOF 127.0.0.1 {}", primary.port()));
    wait_until("the library is there", DEADLINE, || second.cmd("FUNCTION LIST").items().len() == 1);
    assert!(shown(&second.cmd("FCALL put 1 k v")).contains("READONLY"));
    client.command(&[
        "FUNCTION",
        "LOAD",
        &LIBRARY.replace("lib", "lib2").replace("put", "put2").replace("spin", "spin2"),
    ]);
    wait_until("the second one is there", DEADLINE, || second.cmd("FUNCTION LIST").items().len() == 2);
    client.ok("FUNCTION DELETE lib2");
    wait_until("it is gone", DEADLINE, || second.cmd("FUNCTION LIST").items().len() == 1);
    // With a file.
    client.ok("SAVE");
    primary.process.kill();
    primary.restart();
    assert_eq!(primary.client().cmd("FCALL put 1 k w"), "OK");
}

/// A script's commands are one transaction of the stream, by what they did.
#[test]
fn effects_replicate() {
    let primary = Keystead::builder().plugin("replication", "()").plugin("scripting", "()").start();
    let replica = Keystead::builder().plugin("replication", "()").start();
    let (mut client, mut second) = (primary.client(), replica.client());
    second.ok(&format!("REPLICAOF 127.0.0.1 {}", primary.port()));
    wait_until("the link is up", DEADLINE, || {
        second.info("replication").get("master_link_status").is_some_and(|s| s == "up")
    });
    let script = "redis.call('sadd', 's', 'a', 'b', 'c') redis.call('spop', 's') redis.call('incrbyfloat', 'f', '0.1') \
                  redis.call('set', 'e', 'x', 'px', 100000) return redis.call('time')[1] == redis.call('time')[1]";
    assert_eq!(client.command(&["EVAL", script, "0"]).as_int(), Some(1));
    wait_until("the same data", DEADLINE, || {
        let digests = [client.cmd("DEBUG DIGEST"), second.cmd("DEBUG DIGEST")];
        digests[0] == digests[1] && second.cmd("SCARD s").as_int() == Some(2)
    });
}

/// A sentinel in the same process answers while a script runs for ever.
#[test]
fn a_script_does_not_hold_up_a_sentinel() {
    let port = keystead_harness::free_port();
    let config = format!("(port: {port}, monitors: [])");
    let node = Keystead::builder()
        .plugin("replication", "()")
        .plugin("scripting", "(busy_reply_threshold_ms: 50)")
        .plugin("sentinel", &config)
        .start();
    let (mut client, mut sentinel) = (node.client(), Client::connect(port));
    client.send(&["EVAL", "while true do end", "0"]).unwrap();
    let mut other = node.client();
    wait_until("the data port is busy", DEADLINE, || shown(&other.cmd("PING")).contains("BUSY"));
    for _ in 0..50 {
        let asked = std::time::Instant::now();
        assert_eq!(sentinel.cmd("PING"), "PONG");
        assert!(asked.elapsed() < std::time::Duration::from_secs(2));
    }
    other.ok("SCRIPT KILL");
}

/// The first line says it, whether the script is known yet or not; the second run finds it in the cache.
#[test]
fn scripts_that_only_read_run_while_writes_are_paused() {
    let server = server();
    let (mut client, mut other) = (server.client(), server.client());
    let library = "#!lua name=l\nredis.register_function{function_name='f', callback=function() return 'f' end, \
                   flags={'no-writes'}}";
    client.command(&["FUNCTION", "LOAD", library]);
    client.ok("CLIENT PAUSE 100000 WRITE");
    let script = "#!lua flags=no-writes\nreturn 'read'";
    for _ in 0..2 {
        assert_eq!(other.command(&["EVAL", script, "0"]), "read");
    }
    let sha = other.command(&["SCRIPT", "LOAD", script]).as_text().unwrap();
    assert_eq!(other.command(&["EVALSHA", &sha, "0"]), "read");
    assert_eq!(other.cmd("FCALL f 0"), "f");
    other.ok("MULTI");
    other.command(&["EVALSHA", &sha, "0"]);
    assert!(format!("{:?}", other.cmd("EXEC")).contains("read"));
    other.send(&["EVAL", "return 1", "0"]).unwrap();
    wait_until("the other script to wait", DEADLINE, || client.info("clients")["blocked_clients"] == "1");
    client.ok("CLIENT UNPAUSE");
    assert_eq!(other.read().unwrap().as_int(), Some(1));
}

#[test]
fn a_reload_over_functions_needs_merge() {
    let server = server();
    let mut client = server.client();
    client.command(&["FUNCTION", "LOAD", "#!lua name=l\nredis.register_function('f', function() return 'f' end)"]);
    let refused = client.cmd("DEBUG RELOAD NOFLUSH");
    assert!(format!("{refused:?}").contains("Error trying to load the RDB dump"), "{refused:?}");
    client.ok("DEBUG RELOAD NOFLUSH MERGE");
    client.ok("DEBUG RELOAD");
    assert_eq!(client.cmd("FCALL f 0"), "f");
}

/// As in Redis, what stands behind CONFIG SET in the same write is logged by the new level.
#[test]
fn the_log_level_counts_from_its_reply_on() {
    let mut server = server();
    let mut client = server.client();
    let lines: Vec<String> = (0..10)
        .flat_map(|round| {
            let log = |word: &str| format!("EVAL redis.log(redis.LOG_NOTICE,ARGV[1]) 0 {word}:{round}.");
            let [quiet, loud] = ["warning", "notice"].map(|level| format!("CONFIG SET loglevel {level}"));
            [quiet, log("hidden"), loud, log("shown")]
        })
        .collect();
    client.pipeline(&lines.iter().map(String::as_str).collect::<Vec<_>>());
    server.process.wait_for_log("shown:9.", DEADLINE);
    let log = server.process.log();
    let wrong = (0..10).find(|n| log.contains(&format!("hidden:{n}.")) || !log.contains(&format!("shown:{n}.")));
    assert_eq!(wrong, None, "{log}");
}

/// What a command is answered, byte by byte.
fn wire(server: &Keystead, words: &[&[u8]]) -> Vec<u8> {
    let mut request = format!("*{}\r\n", words.len()).into_bytes();
    for word in words {
        request.extend_from_slice(&[format!("${}\r\n", word.len()).as_bytes(), word, b"\r\n"].concat());
    }
    request.extend_from_slice(b"*1\r\n$4\r\nQUIT\r\n");
    let mut stream = std::net::TcpStream::connect(("127.0.0.1", server.port())).unwrap();
    stream.set_read_timeout(Some(DEADLINE)).unwrap();
    stream.write_all(&request).unwrap();
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).unwrap();
    answer.strip_suffix(b"+OK\r\n").unwrap().to_vec()
}

/// A text of a script is a byte string, also as a status or an error; it ends at a zero byte there.
#[test]
fn status_and_error_replies_keep_their_bytes() {
    let server = server();
    let place = |script: &str| format!("script: {}, on @user_script:1.", sha1(&server, script));
    let cases = [
        ("return redis.status_reply(ARGV[1])", "A a\u{ff}b", "+A a\u{ff}b"),
        ("return {ok=ARGV[1]}", "A a\u{ff}\r\nb\0c", "+A a\u{ff}  b"),
        ("return {err=ARGV[1]}", "A a\u{ff}b", "-A a\u{ff}b"),
        ("return {err=ARGV[1]}", "A a\u{ff}\r\nb\0c", "-A a\u{ff}  b"),
        ("return {{err=ARGV[1]}}", "-A a\u{ff}b", "*1\r\n--A a\u{ff}b"),
        ("return {err=ARGV[1]}", "-fine", "--fine"),
        ("return redis.error_reply(ARGV[1])", "A a\u{ff}b", "-A a\u{ff}b"),
        ("return redis.error_reply(ARGV[1])", "-A fine", "-A fine"),
        ("error(ARGV[1])", "a\u{ff}b", "-ERR user_script:1: a\u{ff}b AT"),
        ("error({err=ARGV[1]})", "A a\u{ff}b", "-A a\u{ff}b AT"),
        ("error({err=5})", "", "-5 AT"),
        (
            "local x = _G[ARGV[1]]",
            "\u{ff}",
            "-ERR user_script:1: Script attempted to access nonexistent global variable '\u{ff}' AT",
        ),
        (
            "local x = string.format(ARGV[1], 1)",
            "%\u{ff}",
            "-ERR user_script:1: invalid option '%\u{ff}' to 'format' AT",
        ),
        (
            "return select(2, loadstring(ARGV[1]))",
            "\u{ff}",
            "$42\r\n[string \"\u{ff}\"]:1: unexpected symbol near '\u{ff}'",
        ),
        (
            "return \u{ff}",
            "",
            "-ERR Error compiling script (new function): user_script:1: unexpected symbol near '\u{ff}'",
        ),
        ("#!\u{ff}\nreturn 1", "", "-ERR Unexpected engine in script shebang: #!\u{ff}"),
        ("#!lua flags=\u{ff}\nreturn 1", "", "-ERR Unexpected flag in script shebang: \u{ff}"),
        ("#!lua \"flags=no-writes\"\nreturn 1", "", ":1"),
    ];
    // One byte a character.
    let bytes = |text: &str| text.chars().map(|c| c as u8).collect::<Vec<u8>>();
    for (script, arg, wanted) in cases {
        let found = wire(&server, &[b"EVAL", &bytes(script), b"0", &bytes(arg)]);
        let wanted = match wanted.strip_suffix("AT") {
            Some(text) => format!("{text}{}", place(script)),
            None => wanted.to_owned(),
        };
        let found: String = found.iter().map(|byte| char::from(*byte)).collect();
        assert_eq!(found, format!("{wanted}\r\n"), "{script}");
    }
    let load = |code: &[u8]| wire(&server, &[b"FUNCTION", b"LOAD", code]);
    assert_eq!(load(b"#!\xff name=a\n"), b"-ERR Engine '\xff' not found\r\n");
    let absent = b"#!lua name=a\nlocal s = '\xff' local t = redis[s]";
    let text = b"-ERR Error registering functions: ERR user_function:2: Script attempted to access nonexistent global \
                 variable '\xff'\r\n";
    assert_eq!(load(absent), text);
    assert_eq!(load(b"#!lua \"name=q1\"\nredis.register_function(5, function() end)"), b"$2\r\nq1\r\n");
}

fn sha1(server: &Keystead, script: &str) -> String {
    server.client().command(&["SCRIPT", "LOAD", script]).as_text().unwrap()
}

/// Texts that differ in few bytes collide in the interpreter, so that a step takes longer than the one before. Others get
/// a word in all the same, and the script can be ended.
#[test]
fn a_script_of_slow_steps_is_ended_at_once() {
    let server = server();
    let (mut client, mut other) = (server.client(), server.client());
    client.ok("CONFIG SET busy-reply-threshold 1000");
    for steps in ["STEPS", "while true do pcall(coroutine.wrap(function() STEPS end)) end"] {
        let steps = steps.replace("STEPS", "for i = #t, 1e9 do t[i + 1] = x .. i end");
        let script = format!("local x = ('x'):rep(8000) local t = {{}} {steps}");
        client.send(&["EVAL", &script, "0"]).unwrap();
        wait_until("others are told to wait", DEADLINE, || shown(&other.cmd("GET k")).contains("BUSY"));
        for _ in 0..5 {
            let asked = Instant::now();
            assert!(shown(&other.cmd("PING")).contains("BUSY"));
            assert!(asked.elapsed() < Duration::from_secs(2), "{:?}", asked.elapsed());
        }
        let asked = Instant::now();
        other.ok("SCRIPT KILL");
        assert!(shown(&client.read().unwrap()).contains("Script killed by user with SCRIPT KILL."));
        assert!(asked.elapsed() < Duration::from_secs(3), "{:?}", asked.elapsed());
        assert_eq!(other.cmd("PING"), "PONG");
    }
}

/// A script whose count of keys lies runs nothing, and so has no keys.
#[test]
fn keys_of_a_script_are_those_that_it_would_get() {
    let server = server();
    let mut c = server.client();
    for (line, keys) in
        [("EVAL x 1 a b", "[\"a\"]"), ("EVAL x 5 a", "[]"), ("EVAL x -1 a", "[]"), ("FCALL f n a", "[]")]
    {
        assert_eq!(format!("{:?}", c.cmd(&format!("COMMAND GETKEYS {line}"))), keys, "{line}");
    }
}
