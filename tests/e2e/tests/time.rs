//! The time of day as scripts read it: fine enough to tell calls apart, frozen for one call, and yet not for ever.

use keystead_harness::{Keystead, Reply};

fn server() -> Keystead {
    Keystead::builder().plugin("scripting", "()").start()
}

/// The usual limiter: a window of a minute in a sorted set whose members are the times of calls.
const LIMITER: &str = "local t = redis.call('TIME') local now = string.format('%d%06d', t[1], t[2])
                       redis.call('ZREMRANGEBYSCORE', KEYS[1], 0, now - 60000000)
                       if redis.call('ZCARD', KEYS[1]) >= 100 then return 0 end
                       redis.call('ZADD', KEYS[1], now, now) return 1";

/// Calls that came together, and so run in one turn, must not fall together to one member.
#[test]
fn a_limiter_that_counts_by_time_lets_no_more_through_than_it_may() {
    let server = server();
    let mut client = server.client();
    let call = format!("*4\r\n$4\r\nEVAL\r\n${}\r\n{LIMITER}\r\n$1\r\n1\r\n$1\r\nk\r\n", LIMITER.len());
    client.send_raw(call.repeat(1000).as_bytes()).expect("it reads");
    let let_through = (0..1000).filter(|_| client.read().expect("an answer") == Reply::Int(1)).count();
    assert_eq!(let_through, 100);
    assert_eq!(client.cmd("ZCARD k").as_int(), Some(100));
}

/// It wrote, so nobody could end it: the time it waits for has to come by itself.
#[test]
fn a_script_that_waits_for_a_moment_sees_it_come() {
    let server = server();
    let mut client = server.client();
    client.ok("CONFIG SET busy-reply-threshold 50");
    let script = "local function us() local t = redis.call('TIME') return t[1] * 1000000 + t[2] end
                  redis.call('SET', 'lock', '1') local start = us()
                  while us() - start < 300000 do end return us() - start";
    let waited = client.command(&["EVAL", script, "0"]).as_int();
    assert!(waited.is_some_and(|us| us >= 300_000), "{waited:?}");
    assert_eq!(client.cmd("GET lock"), "1");
}
