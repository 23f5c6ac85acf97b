//! What a client may do to the driver of its socket: pieces, empty lines, pipelines, leaving while it waits.

use keystead_harness::{Client, Keystead, wait_until};
use std::io::{Read, Write};
use std::net::{Shutdown, TcpStream};
use std::os::unix::net::UnixStream;
use std::time::Duration;

const LIMIT: Duration = Duration::from_secs(20);

fn raw(node: &Keystead) -> TcpStream {
    let stream = TcpStream::connect(("127.0.0.1", node.port())).expect("it listens");
    stream.set_read_timeout(Some(LIMIT)).expect("a limit");
    stream
}

/// A client's line of CLIENT LIST, by its name.
fn line_of(other: &mut Client, name: &str) -> Option<String> {
    let list = other.cmd("CLIENT LIST").as_text().expect("a text");
    list.lines().find(|line| line.contains(&format!(" name={name} "))).map(str::to_owned)
}

fn expect(stream: &mut TcpStream, wanted: &str) {
    let mut got = vec![0; wanted.len()];
    stream.read_exact(&mut got).expect("an answer");
    assert_eq!(String::from_utf8_lossy(&got), wanted);
}

/// The decoder goes on behind an empty line; what was kept of the input once began before it.
#[test]
fn an_empty_line_behind_a_command_and_half_of_the_next() {
    let node = Keystead::plain();
    let mut stream = raw(&node);
    stream.write_all(b"PING\r\n\r\n*1\r\n$4\r\nPI").expect("sent");
    expect(&mut stream, "+PONG\r\n");
    stream.write_all(b"NG\r\n").expect("sent");
    expect(&mut stream, "+PONG\r\n");
}

/// CLIENT LIST and INFO show input as it arrives, small and large, also when nothing else is in the client's way.
#[test]
fn half_a_command_is_seen_by_others() {
    let node = Keystead::plain();
    let (mut stream, mut other) = (raw(&node), node.client());
    stream.write_all(b"CLIENT SETNAME half\r\n").expect("sent");
    expect(&mut stream, "+OK\r\n");
    let mut field = |name: &str| -> usize {
        let line = line_of(&mut other, "half").expect("it is there");
        let value = line.split(' ').find_map(|word| word.strip_prefix(name)).expect("the field");
        value.parse().expect("a number")
    };
    stream.write_all(b"SET a ").expect("sent");
    wait_until("six bytes", LIMIT, || field("qbuf=") == 6 && field("qbuf-free=") > 0);
    let rest = format!("b\r\n*3\r\n$3\r\nSET\r\n$1\r\nk\r\n$1000000\r\n{}", "x".repeat(300_000));
    stream.write_all(rest.as_bytes()).expect("sent");
    wait_until("half a value", LIMIT, || field("qbuf=") >= 300_000);
    assert!(field("tot-mem=") >= 300_000);
    stream.write_all("x".repeat(700_000).as_bytes()).expect("sent");
    stream.write_all(b"\r\n").expect("sent");
    expect(&mut stream, "+OK\r\n+OK\r\n");
    wait_until("nothing is held", LIMIT, || field("qbuf=") == 0 && field("qbuf-free=") == 0);
    let mut largest = || other.info("clients")["client_recent_max_input_buffer"].parse::<usize>().expect("a number");
    assert!(largest() >= 1_000_000, "INFO remembers");
    wait_until("it is forgotten", LIMIT, || largest() < 1_000_000);
}

/// What is wrong with the bytes behind a command is said when that is done, though others were served inside of it.
#[test]
fn broken_input_behind_a_long_script_is_answered() {
    let node = Keystead::builder().plugin("scripting", "(busy_reply_threshold_ms: 20)").start();
    let (mut stream, mut other) = (raw(&node), node.client());
    let script = "local t = redis.call('TIME') local e = t[1] * 1000 + t[2] / 1000 + 500 \
                  repeat t = redis.call('TIME') until t[1] * 1000 + t[2] / 1000 > e return 'done'";
    let request = format!("*3\r\n$4\r\nEVAL\r\n${}\r\n{script}\r\n$1\r\n0\r\n*1\r\n$abc\r\n", script.len());
    stream.write_all(request.as_bytes()).expect("sent");
    wait_until("others are served inside", LIMIT, || format!("{:?}", other.cmd("PING")).contains("BUSY"));
    expect(&mut stream, "$4\r\ndone\r\n-ERR Protocol error: invalid bulk length\r\n");
}

/// A socket that a plugin waits for until the replies before are sent, the last of which leaves while a script runs: from inside
/// of that no socket is given away.
#[test]
fn a_takeover_behind_replies_that_leave_during_a_long_script_is_answered() {
    const VALUE: usize = 32 << 20;
    let node =
        Keystead::builder().plugin("replication", "()").plugin("scripting", "(busy_reply_threshold_ms: 20)").start();
    let (mut stream, mut other, mut long) = (raw(&node), node.client(), node.client());
    other.ok(&format!("SETRANGE k {} x", VALUE - 1));
    stream.write_all(b"CLIENT SETNAME replica\r\nGET k\r\nPSYNC ? -1\r\n").expect("sent");
    wait_until("it waits behind the value", LIMIT, || {
        line_of(&mut other, "replica").is_some_and(|line| line.contains(" cmd=psync "))
    });
    long.send(&["EVAL", "while true do end", "0"]).expect("sent");
    wait_until("others are served inside", LIMIT, || format!("{:?}", other.cmd("PING")).contains("BUSY"));
    expect(&mut stream, &format!("+OK\r\n${VALUE}\r\n"));
    let mut value = vec![0; VALUE + 2];
    stream.read_exact(&mut value).expect("the value");
    other.ok("SCRIPT KILL");
    expect(&mut stream, "+FULLRESYNC ");
}

/// A quoted byte is the one that was sent.
#[test]
fn a_protocol_error_quotes_bytes() {
    let node = Keystead::plain();
    let mut stream = raw(&node);
    stream.write_all(b"*1\r\n\xffPING\r\n").expect("sent");
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).expect("an answer, then the end");
    assert_eq!(answer, b"-ERR Protocol error: expected '$', got '\xff'\r\n");
}

#[test]
fn a_client_that_stops_sending_still_gets_its_answers() {
    let node = Keystead::plain();
    let mut stream = raw(&node);
    stream.write_all("PING\r\n".repeat(500).as_bytes()).expect("sent");
    stream.shutdown(Shutdown::Write).expect("shut");
    let mut answers = String::new();
    stream.read_to_string(&mut answers).expect("answers, then the end");
    assert_eq!(answers, "+PONG\r\n".repeat(500));
}

#[test]
fn commands_behind_a_waiting_one_run_when_it_is_served() {
    let node = Keystead::plain();
    let mut stream = raw(&node);
    stream.write_all(b"BLPOP list 0\r\nPING\r\n").expect("sent");
    let mut other = node.client();
    wait_until("it waits", LIMIT, || other.info("clients").get("blocked_clients").is_some_and(|n| n == "1"));
    other.cmd("RPUSH list v");
    expect(&mut stream, "*2\r\n$4\r\nlist\r\n$1\r\nv\r\n+PONG\r\n");
}

#[test]
fn a_waiting_client_that_leaves_is_forgotten() {
    let node = Keystead::plain();
    let mut stream = raw(&node);
    stream.write_all(b"BLPOP nothing 0\r\n").expect("sent");
    let mut other = node.client();
    wait_until("it waits", LIMIT, || other.info("clients").get("blocked_clients").is_some_and(|n| n == "1"));
    drop(stream);
    wait_until("it is gone", LIMIT, || other.info("clients").get("connected_clients").is_some_and(|n| n == "1"));
}

#[test]
fn a_deep_pipeline_keeps_its_order_and_its_values() {
    const COMMANDS: usize = 5000;
    let node = Keystead::plain();
    let mut stream = raw(&node);
    let mut sender = stream.try_clone().expect("a second handle");
    let writer = std::thread::spawn(move || {
        let requests: String = (0..COMMANDS).map(|n| format!("SET k{n} {n}\r\nGET k{n}\r\n")).collect();
        sender.write_all(requests.as_bytes()).expect("sent");
    });
    let wanted: String = (0..COMMANDS).map(|n| format!("+OK\r\n${}\r\n{n}\r\n", n.to_string().len())).collect();
    expect(&mut stream, &wanted);
    writer.join().expect("the writer ended");
}

/// A turn has room for so many commands: those whose turn it wasn't are served by the next ones, each in its order.
#[test]
fn more_clients_with_pipelines_than_a_turn_has_room_for() {
    const CLIENTS: usize = 40;
    const COMMANDS: usize = 500;
    let node = Keystead::plain();
    let mut streams: Vec<_> = (0..CLIENTS).map(|_| raw(&node)).collect();
    for round in 0..3 {
        for (n, stream) in streams.iter_mut().enumerate() {
            stream.write_all(format!("INCR mine:{n}\r\n").repeat(COMMANDS).as_bytes()).expect("sent");
        }
        let sums = round * COMMANDS + 1..=(round + 1) * COMMANDS;
        let wanted: String = sums.map(|sum| format!(":{sum}\r\n")).collect();
        streams.iter_mut().for_each(|stream| expect(stream, &wanted));
    }
}

/// It was read faster than it was executed, and all that was left moved with each turn: mass insertion took five times as
/// long as it should.
#[test]
fn a_long_pipeline_waits_in_its_socket() {
    const TIMES: usize = 300_000;
    const REPLY: usize = b":1\r\n".len();
    const SLACK: u64 = 2 << 20;
    let node = Keystead::plain();
    let mut client = node.client();
    let peak = |client: &mut Client| client.info("memory")["used_memory_peak"].parse::<u64>().expect("a number");
    let before = peak(&mut client);
    let mut input = raw(&node);
    let mut output = input.try_clone().expect("its other half");
    let writer = std::thread::spawn(move || output.write_all(&b"SETRANGE k 0 x\r\n".repeat(TIMES)));
    let reader = std::thread::spawn(move || {
        let (mut buffer, mut got) = (vec![0; 1 << 16], 0);
        while got < TIMES * REPLY {
            got += match input.read(&mut buffer).expect("replies") {
                0 => panic!("closed after {got} bytes"),
                count => count,
            };
        }
    });
    while !reader.is_finished() {
        assert!(peak(&mut client) < before + SLACK, "its 5 MB are held here");
    }
    reader.join().expect("all replies");
    writer.join().expect("ran").expect("sent");
}

/// What arrives counts for `maxmemory-clients` before it is executed: one command of that size never runs.
#[test]
fn a_command_beyond_maxmemory_clients_is_not_executed() {
    let node = Keystead::plain();
    let (mut stream, mut other) = (raw(&node), node.client());
    other.ok("CLIENT NO-EVICT ON");
    other.ok("CONFIG SET maxmemory-clients 3000000");
    let value = "x".repeat(3_000_000);
    // The server closes the connection while the rest is on its way.
    let _ = stream.write_all(format!("*3\r\n$3\r\nSET\r\n$1\r\nk\r\n${}\r\n{value}\r\n", value.len()).as_bytes());
    let mut rest = Vec::new();
    let _ = stream.read_to_end(&mut rest);
    assert_eq!((rest.as_slice(), other.cmd("EXISTS k").as_int()), (&b""[..], Some(0)));
    assert_eq!(other.info("stats")["evicted_clients"], "1");
}

/// Clients that don't read many large replies are closed by `maxmemory-clients` before the keys have to make room.
#[test]
fn what_waits_for_slow_clients_costs_no_keys() {
    let node = Keystead::plain();
    let mut other = node.client();
    other.ok("CLIENT NO-EVICT ON");
    other.ok("CONFIG SET maxmemory-clients 3mb maxmemory-policy allkeys-lru");
    (0..50).for_each(|n| drop(other.cmd(&format!("SETRANGE {n} 100000 x"))));
    let used: u64 = other.info("memory")["used_memory"].parse().expect("a number");
    other.ok(&format!("CONFIG SET maxmemory {}", used + (4 << 20)));
    let mut slow: Vec<TcpStream> = (0..20).map(|_| raw(&node)).collect();
    wait_until("clients are closed", LIMIT, || {
        // Each of them pipelines; one that is closed already takes nothing more.
        slow.retain_mut(|stream| stream.write_all(&b"GET 1\r\n".repeat(4)).is_ok());
        other.info("stats")["evicted_clients"] != "0"
    });
    assert_eq!(other.info("stats")["evicted_keys"], "0");
    assert_eq!(other.cmd("DBSIZE").as_int(), Some(50));
}

/// Replies of any size stay in order when the client reads late.
#[test]
fn late_replies_are_whole_and_in_order() {
    let node = Keystead::plain();
    let (mut stream, mut other) = (raw(&node), node.client());
    let sizes = [100_000, 10, 70_000, 20_000, 1, 300_000];
    for (key, size) in sizes.into_iter().enumerate() {
        other.ok(&format!("SET {key} {}", format!("{key}").repeat(size)));
    }
    let lines: String = (0..200).map(|n| format!("GET {}\r\nPING {n}\r\n", n % sizes.len())).collect();
    let mut writer = stream.try_clone().expect("a second handle");
    let sender = std::thread::spawn(move || writer.write_all(lines.as_bytes()));
    wait_until("much waits", LIMIT, || {
        let list = other.cmd("CLIENT LIST");
        list.as_text().expect("a text").lines().any(|line| line.contains(" events=rw "))
    });
    for n in 0..200 {
        let (key, number) = (n % sizes.len(), n.to_string());
        let value = format!("{key}").repeat(sizes[key]);
        expect(&mut stream, &format!("${}\r\n{value}\r\n${}\r\n{number}\r\n", value.len(), number.len()));
    }
    sender.join().expect("no panic").expect("all is sent");
}

/// What a client was told isn't kept as empty buffers of that size, by its session or by the driver: keys were evicted for it.
#[test]
fn many_clients_that_were_told_something_hold_little() {
    const CLIENTS: usize = 200;
    const REPLY: usize = 60_000;
    let node = Keystead::plain();
    let mut other = node.client();
    other.ok(&format!("SETRANGE k {} x", REPLY - 1));
    let mut idle: Vec<TcpStream> = (0..CLIENTS).map(|_| raw(&node)).collect();
    let ask = |stream: &mut TcpStream| {
        stream.write_all(b"GET k\r\n").expect("sent");
        let mut reply = vec![0; format!("${REPLY}\r\n").len() + REPLY + 2];
        stream.read_exact(&mut reply).expect("an answer");
    };
    ask(&mut idle[0]);
    let mut used = || other.info("memory")["used_memory"].parse::<usize>().expect("a number");
    let before = used();
    for round in 1..=3 {
        idle.iter_mut().for_each(ask);
        let grown = used().saturating_sub(before);
        // Room for a few of them, whoever comes next.
        assert!(
            grown < CLIENTS * 5_000 + (2 << 20),
            "{grown} bytes behind {round} replies of {REPLY} to {CLIENTS} clients"
        );
    }
}

/// Large values are freed by another thread, which can't let go of the pages that the driver's thread has them in: nobody
/// asked for it, and the process stayed as large as it was.
#[test]
fn memory_that_others_freed_goes_back_by_itself() {
    const KEYS: usize = 6_000;
    let node = Keystead::plain();
    let mut client = node.client();
    let mut resident = || client.info("memory")["used_memory_rss"].parse::<usize>().expect("a number");
    let before = resident();
    let mut client = node.client();
    for key in 0..KEYS {
        client.send(&["SETRANGE", &key.to_string(), &(20_000 + key * 7_919 % 30_000).to_string(), "x"]).expect("sent");
        client.read().expect("an answer");
    }
    assert!(resident() > before + (180 << 20));
    // Nine of ten go first, so that pages of the driver's are half empty when the rest does.
    for key in (0..KEYS).filter(|key| key % 10 > 0) {
        assert_eq!(client.cmd(&format!("DEL {key}")).as_int(), Some(1));
    }
    client.ok("FLUSHALL");
    wait_until("it is given back", LIMIT, || resident() < before + (60 << 20));
}

/// CLIENT LIST tells what is parsed from what isn't, and a large argument counts with all that its header promised, as Redis makes
/// room for it: `maxmemory-clients` closes who promises too much before it is there.
#[test]
fn what_a_header_promises_counts() {
    let node = Keystead::plain();
    let (mut stream, mut other) = (raw(&node), node.client());
    stream.write_all(b"CLIENT SETNAME half\r\n").expect("sent");
    expect(&mut stream, "+OK\r\n");
    stream.write_all(b"*3\r\n$3\r\nSET\r\n$1\r\nk\r\n$1000000\r\n0123456789").expect("sent");
    let there = " qbuf=10 qbuf-free=999992 argv-mem=4 ";
    wait_until("it is seen", LIMIT, || line_of(&mut other, "half").is_some_and(|line| line.contains(there)));
    let line_now = line_of(&mut other, "half").expect("it is there");
    let total = line_now.split(' ').find_map(|word| word.strip_prefix("tot-mem=")?.parse::<usize>().ok());
    assert!(total.is_some_and(|total| total > 1_000_000), "{line_now}");
    other.ok("CLIENT NO-EVICT ON");
    other.ok("CONFIG SET maxmemory-clients 500000");
    wait_until("it is closed", LIMIT, || line_of(&mut other, "half").is_none());
}

/// A large argument on its way takes as much as has arrived, not twice as much: `maxmemory-clients` would close the wrong ones.
#[test]
fn half_a_large_argument_has_little_room_behind_it() {
    let node = Keystead::plain();
    let mut other = node.client();
    for (name, size) in [("a", 1 << 20), ("b", (1 << 20) + 3000), ("c", 700_000)] {
        let mut stream = raw(&node);
        stream.write_all(format!("CLIENT SETNAME {name}\r\n").as_bytes()).expect("sent");
        expect(&mut stream, "+OK\r\n");
        // All of it but its end.
        stream.write_all(format!("*2\r\n$4\r\nECHO\r\n${size}\r\n{}", "x".repeat(size)).as_bytes()).expect("sent");
        let mut field = |field: &str| -> usize {
            let line = line_of(&mut other, name).expect("it is there");
            let value = line.split(' ').find_map(|word| word.strip_prefix(field)).expect("the field");
            value.parse().expect("a number")
        };
        wait_until("all is there", LIMIT, || field("qbuf=") == size);
        let free = field("qbuf-free=");
        assert!(free < size / 16, "{free} behind {size}");
        stream.write_all(b"\r\nPING\r\n").expect("sent");
        expect(&mut stream, &format!("${size}\r\n{}\r\n+PONG\r\n", "x".repeat(size)));
    }
}

/// What lies unsent counts for a small limit too, from the byte on that reaches it.
#[test]
fn an_output_limit_of_a_few_replies_is_obeyed() {
    const LEAST: usize = 20_000;
    let node = Keystead::builder().server("unixsocket: \"k.sock\"").start();
    let mut other = node.client();
    other.ok("SETRANGE k 2000 x");
    other.command(&["CONFIG", "SET", "client-output-buffer-limit", &format!("normal {LEAST} 0 0")]);
    // What the system takes for it is little, and always as much.
    let mut stream = UnixStream::connect(node.dir().join("k.sock")).expect("it listens");
    let closed = |other: &mut Client| other.info("stats")["client_output_buffer_limit_disconnections"] != "0";
    let steps = (1..10_000).find(|n| {
        let sent = stream.write_all(b"INCR n\r\nGET k\r\n").is_ok();
        wait_until("it is served", LIMIT, || {
            sent && other.cmd("GET n").as_text() == Some(n.to_string()) || closed(&mut other)
        });
        closed(&mut other)
    });
    let log = node.process.log();
    let line = log.lines().find(|line| line.contains("for overcoming of output buffer limits"));
    let line = line.unwrap_or_else(|| panic!("nobody was closed in {steps:?} steps:\n{log}"));
    let held = line.split(' ').find_map(|word| word.strip_prefix("omem=")?.parse::<usize>().ok());
    assert!(held.is_some_and(|held| (LEAST..LEAST + 40_000).contains(&held)), "{line}");
}

/// As Redis 7.2 counts: an argument has left the query buffer when it is parsed.
#[test]
fn a_limit_of_the_query_buffer_is_for_what_is_not_parsed() {
    let node = Keystead::plain();
    let mut admin = node.client();
    admin.ok("CONFIG SET client-query-buffer-limit 1mb");
    let (large, too_large) = (vec![b'x'; 900_000], vec![b'x'; 1_200_000]);
    let mut c = node.client();
    assert_eq!(c.command(&[&b"MSET"[..], b"a", &large, b"b", &large]), "OK");
    c.ok("MULTI");
    for _ in 0..3 {
        assert_eq!(c.command(&[&b"SET"[..], b"a", &large]), "QUEUED");
    }
    c.cmd("EXEC");
    // It may be closed before all is sent.
    let _ = c.send(&[&b"MSET"[..], b"a", &large, b"b", &too_large]);
    assert!(c.is_closed_within(LIMIT));
    assert_eq!(admin.info("stats")["client_query_buffer_limit_disconnections"], "1");
}
