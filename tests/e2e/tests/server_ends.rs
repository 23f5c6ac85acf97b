//! Ends that meet something in their way: a script in the middle of its writes, a plugin that fails when it is asked.
#![allow(clippy::unwrap_used)]

#[path = "boundary/fixtures.rs"]
#[allow(dead_code)]
mod fixtures;

use fixtures::Plugins;
use keystead_harness::{DEADLINE, Keystead, KeysteadBuilder, Reply, eventually, text, wait_until};
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

/// What a replica acknowledges while it saves for the last time is in no file: it stands still from the first moment on.
#[test]
fn a_replica_that_ends_acknowledges_nothing_that_it_does_not_save() {
    let primary = Keystead::builder().plugin("replication", "()").start();
    let follows = format!("(replicaof: (\"127.0.0.1\", {}))", primary.port());
    let saves = "(save: [(3600, 1)], rdb_key_save_delay: 1000)";
    let mut replica = Keystead::builder().plugin("replication", &follows).plugin("persistence-rdb", saves).start();
    let mut client = primary.client();
    for key in 0..500 {
        client.ok(&format!("SET key:{key} 1"));
    }
    wait_until("the replica has all", DEADLINE, || text(&replica.client().cmd("GET key:499")) == "1");
    replica.process.terminate();
    let (mut written, mut acknowledged) = (0, 0);
    while replica.process.is_alive() {
        written += 1;
        client.ok(&format!("SET last {written}"));
        if client.cmd("WAIT 1 100") == Reply::Int(1) {
            acknowledged = written;
        }
    }
    drop(primary);
    replica.restart();
    let saved: u64 = text(&replica.client().cmd("GET last")).parse().unwrap_or(0);
    assert!(acknowledged <= saved, "{acknowledged} acknowledged, {saved} saved");
}

/// An end that is taken back goes on where the stream stood still.
#[test]
fn a_replica_whose_end_is_refused_follows_again() {
    let primary = Keystead::builder().plugin("replication", "()").start();
    let follows = format!("(replicaof: (\"127.0.0.1\", {}))", primary.port());
    let saves = "(save: [(3600, 1)], rdb_key_save_delay: 100000)";
    let mut replica = Keystead::builder().plugin("replication", &follows).plugin("persistence-rdb", saves).start();
    let (mut client, mut there) = (primary.client(), replica.client());
    for key in 0..100 {
        client.ok(&format!("SET key:{key} 1"));
    }
    wait_until("the replica has all", DEADLINE, || text(&there.cmd("GET key:99")) == "1");
    replica.process.terminate();
    replica.process.wait_for_log("Saving the final RDB snapshot", DEADLINE);
    client.ok("SET last 1");
    assert_eq!(client.cmd("WAIT 1 200"), Reply::Int(0), "it stands still");
    there.ok("SHUTDOWN ABORT");
    wait_until("it follows again", DEADLINE, || text(&there.cmd("GET last")) == "1");
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

/// Whoever insists need not wait for a script that never ends.
#[test]
fn a_second_signal_ends_a_server_inside_a_script() {
    let mut node = Keystead::builder().plugin("scripting", "(busy_reply_threshold_ms: 100)").start();
    let (mut script, mut other) = (node.client(), node.client());
    script.send(&["EVAL", "while true do end", "0"]).unwrap();
    wait_until("the script is long", DEADLINE, || format!("{:?}", other.cmd("PING")).contains("BUSY"));
    node.process.terminate();
    node.process.wait_for_log("Received SIGTERM scheduling shutdown", DEADLINE);
    let pid = node.process.pid().to_string();
    assert!(Command::new("kill").args(["-INT", &pid]).status().unwrap().success());
    assert!(!node.process.wait_exit(DEADLINE).success(), "{}", node.process.log());
    assert!(node.process.log().contains("You insist... exiting now."));
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

/// A plugin in C that panics when it is asked whether the server may end; `more` is done when it is made.
fn panicky(more: &str) -> Plugins {
    let functions = r#"
static uint32_t poll_end(void *data, const ks_waker *waker, ks_out *out) {
  (void)data; (void)waker;
  *out = (ks_out){.status = KS_PANICKED};
  return KS_READY;
}
static ks_future before_end(void *data, uint32_t flags) {
  (void)data; (void)flags;
  return (ks_future){.data = (void *)&instance_api, .poll = poll_end};
}
static const ks_instance_api ending_api = {.size = sizeof(ks_instance_api), .before_end = before_end};

static uint32_t nothing(void *data, ks_buf *out) { (void)data; (void)out; return KS_OK; }
static inline uint32_t saves_nothing(ks_registrar reg) {
  ks_param_spec spec = {.size = sizeof spec, .name = str("save"), .get = nothing};
  return reg.api->param(reg.data, &spec);
}
"#;
    let body = format!("if (out) {{ {more} out->data = out; out->api = &ending_api; return KS_OK; }}");
    let plugins = Plugins::new();
    plugins.with_functions("panicky", "", functions, &body);
    plugins
}

/// One that takes the server with it when it fails doesn't take the data too, which another is about to save.
#[test]
fn a_plugin_that_fails_over_the_end_cuts_no_save_off() {
    for policy in ["", "reg.api->on_fault(reg.data, KS_FAULT_EXIT);"] {
        let plugins = panicky(policy);
        let rdb = Keystead::builder().plugin("persistence-rdb", "(save: [(3600, 1)], rdb_key_save_delay: 1000)");
        let mut node = rdb.plugin_dir(plugins.dir()).plugin("panicky", "()").start();
        node.client().ok("DEBUG POPULATE 1000");
        node.process.terminate();
        node.process.wait_for_log("plugin panicky failed and is stopped: it panicked when it was asked", DEADLINE);
        let ended = node.process.wait_exit(DEADLINE);
        assert!(!ended.success(), "something failed: {}", node.process.log());
        assert!(node.dir().join("dump.rdb").exists(), "{}", node.process.log());
        assert!(!node.process.log().contains("You insist"), "{}", node.process.log());
    }
}

/// What it was to save is nowhere but in memory: the end is refused as if the save had failed, each time.
#[test]
fn who_keeps_the_data_and_fails_over_the_end_ends_nothing() {
    let plugins = panicky("if (provide(reg, \"keystead.persistence\") != KS_OK) return KS_ERR;");
    let mut node = Keystead::builder().plugin_dir(plugins.dir()).plugin("panicky", "()").start();
    let words = "plugin panicky: it failed and can't save the data";
    node.process.terminate();
    node.process.wait_for_log(words, DEADLINE);
    let mut client = node.client();
    client.ok("SET still here");
    for refused in ["SHUTDOWN", "SHUTDOWN SAVE", "SHUTDOWN NOW"] {
        let told = format!("{:?}", client.cmd(refused));
        assert!(told.contains("Errors trying to SHUTDOWN. Check logs."), "{refused}: {told}");
    }
    client.send(&["SHUTDOWN", "NOSAVE"]).unwrap();
    assert!(node.process.wait_exit(DEADLINE).success(), "whoever says so knows: {}", node.process.log());
}

/// With `save ""` nothing would have been saved by one that is healthy: then nothing is lost either.
#[test]
fn who_saves_nothing_and_fails_over_the_end_refuses_none() {
    let plugins =
        panicky("if (provide(reg, \"keystead.persistence\") != KS_OK || saves_nothing(reg) != KS_OK) return KS_ERR;");
    let mut node = Keystead::builder().plugin_dir(plugins.dir()).plugin("panicky", "()").start();
    let told = format!("{:?}", node.client().cmd("SHUTDOWN SAVE"));
    assert!(told.contains("Errors trying to SHUTDOWN. Check logs."), "a save was asked for: {told}");
    node.process.terminate();
    node.process.wait_exit(DEADLINE);
    assert!(!node.process.log().contains("You insist"), "{}", node.process.log());
}

/// A start may load for long; one that waits for a plugin that never begins says for which.
#[test]
fn the_log_says_for_whom_a_start_waits() {
    let functions = r#"
static uint32_t poll_start(void *data, const ks_waker *waker, ks_out *out) {
  (void)data; (void)waker; (void)out;
  return KS_PENDING;
}
static ks_future start(void *data) {
  return (ks_future){.data = data, .poll = poll_start};
}
static const ks_instance_api silent_api = {.size = sizeof(ks_instance_api), .start = start};
"#;
    let plugins = Plugins::new();
    plugins.with_functions(
        "silent",
        "",
        functions,
        "if (out) { out->data = out; out->api = &silent_api; return KS_OK; }",
    );
    let mut node = plugins.launch(&["silent"]);
    node.process.wait_for_log("The start waits for the plugin silent", DEADLINE);
}

/// Inside MULTI the file is written behind the transaction, and its place in the reply says what came of it.
#[test]
fn a_rewrite_inside_multi_tells_what_came_of_it() {
    let node = Keystead::builder().start();
    let mut client = node.client();
    let overlay = node.dir().join("keystead.overlay.ron");
    let mut rewrite = |timeout: u32| {
        client.ok("MULTI");
        client.cmd(&format!("CONFIG SET timeout {timeout}"));
        client.cmd("CONFIG REWRITE");
        client.cmd("EXEC").texts()
    };
    assert_eq!(rewrite(77), ["OK", "OK"]);
    assert!(std::fs::read_to_string(&overlay).unwrap().contains("\"timeout\": \"77\""));
    std::fs::remove_file(&overlay).unwrap();
    std::fs::create_dir(&overlay).unwrap();
    let told = rewrite(78);
    assert!(told[0] == "OK" && told[1].contains("Rewriting config file: "), "{told:?}");
}

/// A pipe that nobody reads stands for a disk that doesn't answer: the file under its temporary name can't be opened.
#[test]
fn a_file_that_waits_for_its_disk_keeps_nobody_from_the_end() {
    let mut node = Keystead::builder().start();
    let pipe = node.dir().join(format!("keystead.overlay.tmp-{}", node.process.pid()));
    assert!(Command::new("mkfifo").arg(&pipe).status().unwrap().success());
    let mut client = node.client();
    client.ok("MULTI");
    client.cmd("CONFIG REWRITE");
    let told = client.cmd("EXEC").texts();
    assert!(told[0].contains("the disk hasn't answered yet"), "{told:?}");
    client.send(&["SHUTDOWN", "NOSAVE"]).unwrap();
    assert!(node.process.wait_exit(DEADLINE).success(), "{}", node.process.log());
}
