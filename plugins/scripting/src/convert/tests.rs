//! Replies as values and back, how deep and how large they may be.

use super::*;

/// The reply as a script's value, and that value as a reply.
fn there_and_back(wire: &str, script: Proto, client: Proto) -> String {
    let lua = Lua::new();
    let mut out = Vec::new();
    let proto = if client == Proto::Resp3 { keystead_resp::Proto::Resp3 } else { keystead_resp::Proto::Resp2 };
    let (mut done, mut open) = (Ok(()), Vec::new());
    // SAFETY: a protected call; what is dropped belongs to this frame.
    let ran: mlua::Result<()> = unsafe {
        lua.exec_raw((), |state| {
            if push(state, wire.as_bytes()).is_ok() {
                done = write(state, &mut Writer::new(&mut out, proto), script, &mut open, usize::MAX);
                assert!(done.is_err() || (ffi::lua_gettop(state), open.len()) == (0, 0));
            }
            ffi::lua_settop(state, 0);
        })
    };
    ran.unwrap();
    match done {
        Ok(()) => String::from_utf8(out).unwrap(),
        Err(Refused { text, .. }) => format!("-{}\r\n", String::from_utf8(text).unwrap()),
    }
}

#[test]
fn replies_survive_a_script() {
    use Proto::{Resp2, Resp3};
    for same in [":12\r\n", "$3\r\nabc\r\n", "+OK\r\n", "-WRONGTYPE no\r\n", "*2\r\n:1\r\n*0\r\n"] {
        assert_eq!(there_and_back(same, Resp2, Resp2), same);
    }
    for same in ["_\r\n", "#t\r\n", ",1.5\r\n", "(123\r\n", "=8\r\ntxt:text\r\n", "%1\r\n+a\r\n:1\r\n".trim()] {
        let wire = if same.starts_with('%') { "%1\r\n$1\r\na\r\n:1\r\n" } else { same };
        assert_eq!(there_and_back(wire, Resp3, Resp3), wire);
    }
    assert_eq!(there_and_back("$-1\r\n", Resp2, Resp2), "$-1\r\n");
    assert_eq!(there_and_back("*-1\r\n", Resp2, Resp2), "$-1\r\n");
    assert_eq!(there_and_back("#f\r\n", Resp3, Resp2), ":0\r\n");
    assert_eq!(there_and_back("*2\r\n:1\r\n_\r\n", Resp3, Resp3), "*1\r\n:1\r\n", "nil ends an array");
}

/// A text so long inside of so many tables, as a reply.
fn deep(text: usize, levels: usize) -> Vec<u8> {
    let lua = Lua::new();
    let (mut out, mut open) = (Vec::new(), Vec::new());
    let make = "local text, levels = ... local t = {('x'):rep(text)} for i = 2, levels do t = {t, nil, i} end return t";
    let value: Table = lua.load(make).call((text, levels)).unwrap();
    // SAFETY: a protected call; what is dropped belongs to this frame.
    let ran: mlua::Result<()> = unsafe {
        lua.exec_raw(value, |state| {
            let mut to = Writer::new(&mut out, keystead_resp::Proto::Resp2);
            let _ = write(state, &mut to, Proto::Resp2, &mut open, usize::MAX);
        })
    };
    ran.unwrap();
    out
}

#[test]
fn a_reply_may_be_as_deep_as_the_interpreters_stack() {
    assert_eq!(deep(1, 7900), [b"*1\r\n".repeat(7900), b"$1\r\nx\r\n".to_vec()].concat());
    assert!(deep(1, 10_000).ends_with(b"*1\r\n-ERR reached lua stack limit\r\n"));
}

/// Thousands of times as long, if each table moved what is inside of it.
#[test]
fn what_is_inside_of_many_tables_is_written_once() {
    let took = |levels: usize| {
        let begin = std::time::Instant::now();
        let out = deep(8 << 20, levels);
        assert_eq!(out.len(), 4 * levels + b"$8388608\r\n".len() + (8 << 20) + 2);
        begin.elapsed()
    };
    let flat = took(1);
    let nested = took(7000);
    assert!(nested < flat * 10 + std::time::Duration::from_millis(500), "{flat:?}, {nested:?}");
}

#[test]
fn what_is_no_reply_is_an_error() {
    let nested = "*1\r\n".repeat(10_000);
    for wire in ["", "$5\r\nab\r\n", "*2\r\n:1\r\n", "?x\r\n", ":x\r\n", "=2\r\nab\r\n", ":1\rx", &nested] {
        assert_eq!(there_and_back(wire, Proto::Resp2, Proto::Resp2), "", "{wire:?}");
    }
}

#[test]
fn codes() {
    let coded = |text: &[u8]| {
        let mut out = Vec::new();
        put_coded(text, &mut out);
        out
    };
    assert_eq!(coded(b"oops"), b"ERR oops");
    assert_eq!(coded(b"My Err"), b"My Err");
    assert_eq!(coded(b"-NO way\r\n"), b"NO way");
}
