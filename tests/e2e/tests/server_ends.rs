//! Ends that meet something in their way: a script in the middle of its writes, a plugin that never answers.
#![allow(clippy::unwrap_used)]

use keystead_harness::{DEADLINE, Keystead, KeysteadBuilder, eventually, wait_until};
use std::process::Command;

/// SIGTERM waits for a script, and SHUTDOWN NOSAVE ends both: what the script has written so far is half of something.
#[test]
fn a_script_that_shutdown_nosave_cuts_off_is_never_saved() {
    for _ in 0..4 {
        let mut node = Keystead::builder()
            .plugin("persistence-rdb", "(save: [(3600, 1)])")
            .plugin("scripting", "(busy_reply_threshold_ms: 100)")
            .start();
        let (mut script, mut other) = (node.client(), node.client());
        script.send(&["EVAL", "redis.call('set', 'half', 1) while true do end", "0"]).unwrap();
        wait_until("the script is long", DEADLINE, || format!("{:?}", other.cmd("PING")).contains("BUSY"));
        node.process.terminate();
        node.process.wait_for_log("Received SIGTERM scheduling shutdown", DEADLINE);
        other.send(&["SHUTDOWN", "NOSAVE"]).unwrap();
        assert!(node.process.wait_exit(DEADLINE).success(), "{}", node.process.log());
        assert!(!node.dir().join("dump.rdb").exists(), "{}", node.process.log());
    }
}

/// The end waits for a replica, and can no longer be taken back: what the script wrote is nowhere but in memory.
#[test]
fn an_end_that_cut_off_a_script_is_not_taken_back() {
    let plugins = |builder: KeysteadBuilder| builder.plugin("replication", "()");
    let mut node = plugins(Keystead::builder()).plugin("scripting", "(busy_reply_threshold_ms: 100)").start();
    let mut replica = plugins(Keystead::builder()).start();
    let (mut script, mut other) = (node.client(), node.client());
    other.ok("CONFIG SET shutdown-timeout 3");
    replica.client().ok(&format!("REPLICAOF 127.0.0.1 {}", node.port()));
    other.ok("SET before 1");
    wait_until("the replica has it", DEADLINE, || other.cmd("WAIT 1 100") == 1);
    replica.process.pause();
    other.ok("SET late 1");
    script.send(&["EVAL", "redis.call('set', 'half', 1) while true do end", "0"]).unwrap();
    wait_until("the script is long", DEADLINE, || format!("{:?}", other.cmd("PING")).contains("BUSY"));
    other.send(&["SHUTDOWN", "NOSAVE"]).unwrap();
    let mut third = node.client();
    let mut told = String::new();
    wait_until("the script is cut off", DEADLINE, || {
        told = format!("{:?}", third.cmd("SHUTDOWN ABORT"));
        !told.contains("BUSY") && !told.contains("No shutdown")
    });
    assert!(told.contains("it can't be aborted"), "{told}");
    node.process.wait_exit(DEADLINE);
}

#[test]
fn an_alarm_and_a_closed_terminal_are_no_reason_to_go() {
    let mut node = Keystead::plain();
    for signal in ["-ALRM", "-HUP"] {
        let pid = node.process.pid().to_string();
        assert!(Command::new("kill").args([signal, &pid]).status().unwrap().success());
    }
    let gone = eventually(std::time::Duration::from_millis(300), || (!node.process.is_alive()).then_some(()));
    assert!(gone.is_none(), "{}", node.process.log());
    assert_eq!(node.client().cmd("PING"), "PONG");
}

/// Who rotates logs renames the file; the server goes on in a new one.
#[test]
fn a_renamed_log_file_is_made_anew() {
    let node = Keystead::builder().section("log: (file: \"k.log\")").start();
    let (log, old) = (node.dir().join("k.log"), node.dir().join("k.log.1"));
    std::fs::rename(&log, &old).unwrap();
    node.client().ok("DEBUG LOG rotated");
    wait_until("the line is in the new file", DEADLINE, || {
        std::fs::read_to_string(&log).is_ok_and(|text| text.contains("rotated"))
    });
    assert!(!std::fs::read_to_string(&old).unwrap().contains("rotated"));
}
