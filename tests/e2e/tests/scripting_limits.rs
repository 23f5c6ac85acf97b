//! What bounds scripts: the memory they leave, how deep their replies are, and what refuses them, with its texts and counts.
#![allow(clippy::unwrap_used)]

use keystead_harness::{Client, DEADLINE, Keystead, Reply, wait_until};
use std::io::{Read, Write};
use std::time::{Duration, Instant};

fn server() -> Keystead {
    Keystead::builder().plugin("scripting", "()").start()
}

fn eval(client: &mut Client, script: &str) -> String {
    format!("{:?}", client.command(&["EVAL", script, "0"]))
}

fn error(reply: Reply) -> String {
    match reply {
        Reply::Error(text) => text,
        other => panic!("no error: {other:?}"),
    }
}

/// Anonymous memory of the process, in bytes.
fn resident(server: &Keystead) -> u64 {
    let text = std::fs::read_to_string(format!("/proc/{}/status", server.process.pid())).unwrap();
    let line = text.lines().find(|line| line.starts_with("RssAnon")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse::<u64>().unwrap() * 1024
}

const BIG: &str = "local t = {} for i = 1, 1000000 do t[i] = {i} end return #t";
const MUCH: u64 = 20 << 20;

/// Whether another script follows or not, and whether anybody asks for it or not.
#[test]
fn what_a_big_script_took_goes_back_to_the_system() {
    let server = server();
    let mut client = server.client();
    eval(&mut client, "return 1");
    let before = resident(&server);
    assert!(eval(&mut client, BIG).contains("1000000"));
    assert!(resident(&server) > before + MUCH, "it took {} bytes", resident(&server).saturating_sub(before));
    wait_until("it is given back", DEADLINE, || resident(&server) < before + MUCH);
    let lua: u64 = client.info("memory")["used_memory_lua"].parse().unwrap();
    assert!(lua < 1 << 20, "{lua}");
}

#[test]
fn what_scripts_keep_goes_back_to_the_system_when_they_are_flushed() {
    let server = server();
    let mut client = server.client();
    let library = "#!lua name=big\nlocal t = {} redis.register_function('fill', function() for i = 1, 1000000 do t[i] = {i} end \
                   return #t end)";
    client.command(&["FUNCTION", "LOAD", library]);
    for how in ["SYNC", "ASYNC"] {
        let before = resident(&server);
        client.command(&["FUNCTION", "LOAD", "REPLACE", library]);
        assert_eq!(client.cmd("FCALL fill 0").as_int(), Some(1_000_000));
        let full = resident(&server);
        assert!(full > before + MUCH, "{how}: {before} bytes before, {full} full");
        client.ok(&format!("FUNCTION FLUSH {how}"));
        wait_until("it is given back", DEADLINE, || resident(&server) < before + MUCH);
    }
}

/// Keys, half of which another thread frees in pages of the clients' thread.
#[test]
fn what_keys_took_goes_back_to_the_system_by_memory_purge() {
    let server = Keystead::builder().start();
    let mut client = server.client();
    let before = resident(&server);
    client.ok("DEBUG POPULATE 60000 key 1000");
    for at in (0..60_000).step_by(500) {
        let names: Vec<String> = (at..at + 500).step_by(2).map(|n| format!("key:{n}")).collect();
        client.command(&[&["DEL".to_owned()][..], &names].concat());
    }
    client.ok("FLUSHALL ASYNC");
    wait_until("it is given back", DEADLINE, || {
        client.ok("MEMORY PURGE");
        resident(&server) < before + MUCH
    });
}

/// As deep as in Redis; a byte more than the interpreter's stack is an error in its place.
#[test]
fn replies_are_as_deep_as_scripts_make_them() {
    let server = server();
    let wire = |script: &str| {
        let mut stream = std::net::TcpStream::connect(("127.0.0.1", server.port())).unwrap();
        stream.set_read_timeout(Some(DEADLINE)).unwrap();
        write!(stream, "*3\r\n$4\r\nEVAL\r\n${}\r\n{script}\r\n$1\r\n0\r\n*1\r\n$4\r\nQUIT\r\n", script.len()).unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        answer
    };
    let deep = |levels: usize| format!("local t = {{'x'}} for i = 2, {levels} do t = {{t}} end return t");
    assert_eq!(wire(&deep(7900)), "*1\r\n".repeat(7900) + "$1\r\nx\r\n+OK\r\n");
    for endless in [&deep(9000), "local t = {} t[1] = t return t"] {
        assert!(wire(endless).ends_with("*1\r\n-ERR reached lua stack limit\r\n+OK\r\n"));
    }
}

/// A reply is written outside of the interpreter's memory, and ends where that does.
#[test]
fn replies_are_no_longer_than_scripts_may_take() {
    let server = Keystead::builder().plugin("scripting", "(memory_limit_mb: 16)").start();
    let mut client = server.client();
    for script in [
        "local t = {'x'} for i = 1, 22 do t = {t, t} end return t",
        "local s, t = ('x'):rep(1000000), {} for i = 1, 20 do t[i] = s end return t",
        "local s, t = ('x'):rep(1000000), {} for i = 1, 20 do t[i] = s end return {map = t}",
    ] {
        let told = eval(&mut client, script);
        assert!(told.contains("ERR not enough memory"), "{script}: {told:.100}");
    }
    let fits = eval(&mut client, "local s, t = ('x'):rep(1000000), {} for i = 1, 10 do t[i] = s end return t");
    assert!(fits.len() > 10_000_000, "{fits:.100}");
}

/// As of a client that writes its values into the text.
#[test]
fn scripts_that_came_by_eval_alone_give_way_when_they_take_too_much() {
    let server = Keystead::builder().plugin("scripting", "(memory_limit_mb: 2)").start();
    let mut client = server.client();
    let text = |n: usize| format!("redis.call('set', 'key', {n}) return {n}");
    let sha = |client: &mut Client, n: usize| client.command(&["SCRIPT", "LOAD", &text(n)]).as_text().unwrap();
    let loaded = sha(&mut client, 0);
    let all = 6000;
    for n in 1..=all {
        assert_eq!(client.command(&["EVAL", &text(n), "0"]).as_int(), Some(n as i64));
    }
    let stats =
        |client: &mut Client, section: &str, field: &str| -> usize { client.info(section)[field].parse().unwrap() };
    let cached = stats(&mut client, "memory", "number_of_cached_scripts");
    assert!((10..all / 2).contains(&cached), "{cached}");
    assert_eq!(stats(&mut client, "stats", "evicted_scripts"), all + 1 - cached);
    assert!(stats(&mut client, "memory", "used_memory_scripts_eval") < 200 * cached);
    let found = client.command(&["EVALSHA", &loaded, "0"]);
    assert_eq!(found.as_int(), Some(0), "what was loaded stays: {found:?}");
    client.ok("CONFIG RESETSTAT");
    assert_eq!(stats(&mut client, "stats", "evicted_scripts"), 0);
}

/// Their place would be written into what is raised.
#[test]
fn raising_a_table_that_scripts_share_changes_nothing_of_it() {
    let server = server();
    let mut client = server.client();
    for table in ["_G", "redis", "string", "cjson", "getmetatable('')", "getmetatable(_G)"] {
        let told = eval(&mut client, &format!("error({table})"));
        assert!(told.contains("ERR Attempt to modify a readonly table script: "), "{table}: {told}");
        let seen = eval(&mut client, &format!("return {{rawget({table}, 'line'), rawget({table}, 'source')}}"));
        assert_eq!(seen, "[]", "{table}");
    }
    for words in ["return line", "line = 77 return line", "return source"] {
        assert!(eval(&mut client, words).contains("ERR"), "{words}");
    }
    let own = eval(&mut client, "error({err = 'MINE it is'})");
    assert!(own.contains("MINE it is script: ") && own.contains(", on @user_script:1."), "{own}");
    let own = eval(&mut client, "local t = {err = 'MINE it is'} local ok, e = pcall(error, t) return e");
    assert!(own.contains("MINE it is"), "{own}");
}

/// A script with flags is refused as any command with these flags is.
#[test]
fn scripts_with_flags_are_refused_like_commands() {
    let server = Keystead::builder().plugin("replication", "()").plugin("scripting", "()").start();
    let mut client = server.client();
    let library = "#!lua name=l\nredis.register_function{function_name='f', callback=function() return 'f' end, \
                   flags={'no-writes'}}";
    client.command(&["FUNCTION", "LOAD", library]);
    let reads = "#!lua flags=no-writes\nreturn 'read'";
    client.ok("CONFIG SET maxmemory 1");
    let full = "OOM command not allowed when used memory > 'maxmemory'.";
    assert_eq!(error(client.command(&["EVAL", "#!lua\nreturn 1", "0"])), full);
    assert_eq!(client.command(&["EVAL", reads, "0"]), "read");
    client.ok("CONFIG SET maxmemory 0");
    client.ok(&format!("REPLICAOF 127.0.0.1 {}", keystead_harness::free_port()));
    let read_only = "READONLY You can't write against a read only replica.";
    assert_eq!(error(client.command(&["EVAL", "#!lua\nreturn 1", "0"])), read_only);
    assert_eq!(client.command(&["EVAL", reads, "0"]), "read");
    client.ok("MULTI");
    assert_eq!(client.command(&["EVAL", reads, "0"]), "QUEUED");
    assert_eq!(error(client.command(&["EVAL", "#!lua\nreturn 1", "0"])), read_only);
    assert_eq!(error(client.cmd("EXEC")), "EXECABORT Transaction discarded because of previous errors.");
    client.ok("CONFIG SET replica-serve-stale-data no");
    let stale = "MASTERDOWN Link with MASTER is down and replica-serve-stale-data is set to 'no'.";
    for words in [&["FCALL", "f", "0"][..], &["EVAL", reads, "0"], &["EVAL", "return 1", "0"]] {
        assert_eq!(error(client.command(words)), stale, "{words:?}");
    }
    assert_eq!(error(client.command(&["EVAL", "#!lua\nreturn 1", "0"])), read_only);
    assert_eq!(client.command(&["EVAL", "#!lua flags=allow-stale,no-writes\nreturn 1", "0"]).as_int(), Some(1));
}

#[test]
fn what_a_script_may_not_call_is_an_error_and_counted() {
    let server = server();
    let mut client = server.client();
    client.ok("ACL SETUSER u on nopass +@all ~mine");
    client.ok("CONFIG RESETSTAT");
    let mut other = server.client();
    other.ok("AUTH u x");
    let said = eval(&mut other, "return redis.call('get', 'yours')");
    assert!(said.contains("ERR ACL failure in script: No permissions to access a key"), "{said}");
    eval(&mut client, "redis.pcall('incr') redis.pcall('get') return redis.pcall('incr', 'a', 'b')");
    client.cmd("INCR");
    let counts = client.info("commandstats");
    assert!(counts["cmdstat_incr"].contains("rejected_calls=3"), "{counts:?}");
    assert!(counts["cmdstat_get"].contains("rejected_calls=2"), "{counts:?}");
}

/// Whether it wrote is asked before what kind it is.
#[test]
fn a_function_that_wrote_is_not_killed_by_script_kill_either() {
    let mut server = server();
    let (mut client, mut other) = (server.client(), server.client());
    client.ok("CONFIG SET busy-reply-threshold 50");
    let library =
        "#!lua name=l\nredis.register_function('w', function() redis.call('set', 'k', 'v') while true do end end)";
    client.command(&["FUNCTION", "LOAD", library]);
    client.send(&["FCALL", "w", "0"]).unwrap();
    wait_until("others are told to wait", DEADLINE, || format!("{:?}", other.cmd("GET k")).contains("BUSY"));
    for kill in ["SCRIPT KILL", "FUNCTION KILL"] {
        let said = format!("{:?}", other.cmd(kill));
        assert!(said.contains("UNKILLABLE Sorry the script already executed write commands"), "{kill}: {said}");
    }
    other.send(&["SHUTDOWN", "NOSAVE"]).unwrap();
    assert!(server.process.wait_exit(DEADLINE).success());
}

/// The interpreter's matcher calls itself for each item that repeats.
/// One script that stops the collector took the memory from all others; in Redis it still does.
#[test]
fn what_a_script_makes_of_the_collector_ends_with_it() {
    let server = Keystead::builder().plugin("scripting", "(memory_limit_mb: 8)").start();
    let mut client = server.client();
    assert_eq!(
        eval(&mut client, "return {collectgarbage('setpause', 1000), collectgarbage('setstepmul', 1)}"),
        "[200, 200]"
    );
    eval(&mut client, "collectgarbage('stop')");
    let more_than_there_is =
        "for n = 1, 30 do local s = ('x'):rep(1000000) .. n end return {collectgarbage('setpause', 200)}";
    assert_eq!(eval(&mut client, more_than_there_is), "[200]");
}

#[test]
fn a_pattern_doesn_t_overflow_the_stack() {
    let server = server();
    let mut client = server.client();
    let most = 16 * 1024;
    let subjects = [("('x'):rep(n)", "x?"), ("('')", "x*"), ("('')", "x-"), ("('')", "[a]*")];
    for (subject, item) in subjects {
        let script = |count: usize, call: &str| {
            format!("local n = {count} return #tostring({subject}:{call}('{item}'):rep(n)))")
        };
        for call in ["find(", "match("] {
            assert!(!eval(&mut client, &script(most, call)).contains("ERR"), "{call} {item}");
            let told = eval(&mut client, &script(most + 1, call));
            assert!(told.contains("pattern too complex"), "{call} {item}: {told}");
        }
    }
    for call in ["gsub(p, '')", "gmatch(p)", "gfind(p)", "match(p)"] {
        let told = eval(&mut client, &format!("local p = ('x?'):rep(140000) return ('x'):rep(140000):{call}"));
        assert!(told.contains("pattern too complex"), "{call}: {told}");
    }
    // What is no pattern, or repeats nothing, may be as long as it likes.
    assert_eq!(eval(&mut client, "local t = ('x?'):rep(140000) return t:find(t, 1, true)"), "1");
    assert_eq!(eval(&mut client, "local t = ('x'):rep(280000) return (t:gsub(t, 'y'))"), "\"y\"");
    assert_eq!(client.cmd("PING"), "PONG");
}

/// `redis-cli --ldb` passes over the error, and its user expects that nothing stays.
#[test]
fn a_script_that_was_to_be_debugged_isn_t_run() {
    const INCR: [&str; 3] = ["EVAL", "return redis.call('incr', 'n')", "0"];
    let server = server();
    let (mut client, mut other) = (server.client(), server.client());
    for word in ["YES", "SYNC"] {
        assert_eq!(error(client.cmd(&format!("SCRIPT DEBUG {word}"))), "ERR The Lua debugger is not supported");
        let told = error(client.command(&INCR));
        assert_eq!(told, "ERR The Lua debugger is not supported; the script was not executed");
        assert_eq!(client.cmd("EXISTS n"), 0);
    }
    // Once, and nobody else.
    assert!(client.cmd("SCRIPT DEBUG YES").is_error());
    assert_eq!(other.command(&INCR), 1);
    assert!(client.command(&INCR).is_error());
    assert_eq!(client.command(&INCR), 2);
    for (word, reply) in [("SCRIPT DEBUG NO", "OK"), ("RESET", "RESET")] {
        assert!(client.cmd("SCRIPT DEBUG YES").is_error());
        assert_eq!(client.cmd(word), reply);
        assert!(!client.command(&INCR).is_error(), "{word}");
    }
    client.command(&["FUNCTION", "LOAD", "#!lua name=l\nredis.register_function('f', function() return 1 end)"]);
    assert!(client.cmd("SCRIPT DEBUG YES").is_error());
    assert!(error(client.cmd("FCALL f 0")).ends_with("the script was not executed"));
    assert_eq!(client.cmd("FCALL f 0"), 1);
}

/// Its commands take all of its time, and few instructions: the first ten thousand of these would be over in minutes.
#[test]
fn a_script_of_slow_commands_is_ended_at_once() {
    let server = server();
    let (mut client, mut other) = (server.client(), server.client());
    other.ok("CONFIG SET busy-reply-threshold 100");
    other.cmd("SETRANGE big 67108863 x");
    let one = Instant::now();
    other.cmd("BITCOUNT big");
    let patience = (one.elapsed() * 40).max(Duration::from_secs(2));
    for step in ["redis.call('bitcount', 'big')", "pcall(redis.call, 'bitcount', 'big')"] {
        client.send(&["EVAL", &format!("for i = 1, 2000 do {step} end"), "0"]).unwrap();
        let asked = Instant::now();
        wait_until("others are told to wait", DEADLINE, || error_or(other.cmd("GET k")).contains("BUSY"));
        other.ok("SCRIPT KILL");
        assert!(error(client.read().unwrap()).contains("Script killed by user with SCRIPT KILL."));
        assert!(asked.elapsed() < patience, "{:?} of {patience:?}", asked.elapsed());
    }
    assert_eq!(other.cmd("PING"), "PONG");
}

fn error_or(reply: Reply) -> String {
    if let Reply::Error(text) = reply { text } else { String::new() }
}

/// Texts as queues keep them, JSON of one length, whose numbers stand where Lua 5.1 as it is doesn't look: each would be
/// compared with all others. Compared is with texts that differ at their end, where it does.
#[test]
fn long_strings_that_differ_in_few_places_take_no_longer() {
    const TEXTS: usize = 12_000;
    let server = server();
    let mut client = server.client();
    let filler = "x".repeat(850);
    for n in (0..TEXTS).map(|n| format!("{n:010}")) {
        assert!(client.command(&["RPUSH", "alike", &format!("{{\"id\":\"{n}\",{filler}}}")]).as_int().is_some());
        assert!(client.command(&["RPUSH", "ends", &format!("{{{filler},\"id\":{n}")]).as_int().is_some());
    }
    let mut least = |key: &str| {
        let once = |_| {
            let begun = Instant::now();
            let script = "return #redis.call('LRANGE', KEYS[1], 0, -1)";
            assert_eq!(client.command(&["EVAL", script, "1", key]).as_int(), Some(TEXTS as i64));
            begun.elapsed()
        };
        (0..3).map(once).min().unwrap()
    };
    let (ends, alike) = (least("ends"), least("alike"));
    assert!(alike < ends * 5, "{alike:?} against {ends:?}");
}
