//! What a plugin's command does to data and sessions, with real processes: an effect that replicas and files couldn't
//! execute, a change that nobody declared, calls without end, the caller's own session, an end that it panics over.
#![allow(clippy::unwrap_used)]

#[path = "boundary/fixtures.rs"]
#[allow(dead_code)]
mod fixtures;

use fixtures::Plugins;
use keystead_harness::{Client, DEADLINE, Keystead, Reply, wait_until};
use std::time::{Duration, Instant};

/// Commands in C that do what their words say.
const DOING: &str = r#"
/* Its words behind the name are its effect. */
static uint32_t list(void *data, const ks_ctx *ctx, const ks_str *argv, size_t argc) {
  (void)data;
  ctx->api->propagate(ctx->data, argv + 1, argc - 1);
  ctx->api->reply_simple(ctx->data, str("OK"));
  return KS_CALL_LISTED;
}

/* SET key value, and the effect behind them. */
static uint32_t set_list(void *data, const ks_ctx *ctx, const ks_str *argv, size_t argc) {
  ctx->api->set_string(ctx->data, 0, argv[1], argv[2]);
  return list(data, ctx, argv + 2, argc - 2);
}

/* SET key value, then calls the words behind; the last word FAIL has it fail behind that. */
static uint32_t set_call(void *data, const ks_ctx *ctx, const ks_str *argv, size_t argc) {
  (void)data;
  int fails = argv[argc - 1].len == 4 && !memcmp(argv[argc - 1].ptr, "FAIL", 4);
  ks_buf out = {0};
  ctx->api->set_string(ctx->data, 0, argv[1], argv[2]);
  ctx->api->call(ctx->data, 0, argv + 3, argc - 3 - fails, &out);
  if (out.drop) out.drop(out.owner);
  ctx->api->set_string(ctx->data, 0, str("behind"), argv[1]);
  ctx->api->reply_simple(ctx->data, str("OK"));
  if (fails) ctx->api->fail(ctx->data, str("ERR on purpose"));
  return fails ? KS_CALL_FAILED : KS_CALL_NONE;
}

/* SET key value, and not a word of it. */
static uint32_t silent(void *data, const ks_ctx *ctx, const ks_str *argv, size_t argc) {
  (void)data; (void)argc;
  ctx->api->set_string(ctx->data, 0, argv[1], argv[2]);
  return KS_CALL_NONE;
}

/* SET key value, without an effect. */
static uint32_t set(void *data, const ks_ctx *ctx, const ks_str *argv, size_t argc) {
  (void)data; (void)argc;
  ctx->api->set_string(ctx->data, 0, argv[1], argv[2]);
  ctx->api->reply_simple(ctx->data, str("OK"));
  return KS_CALL_NONE;
}

static uint32_t as_sent(void *data, const ks_ctx *ctx, const ks_str *argv, size_t argc) {
  (void)data; (void)argv; (void)argc;
  ctx->api->reply_simple(ctx->data, str("OK"));
  return KS_CALL_AS_SENT;
}

/* Calls its words behind the name. */
static uint32_t call(void *data, const ks_ctx *ctx, const ks_str *argv, size_t argc) {
  (void)data;
  ks_buf out = {0};
  ctx->api->call(ctx->data, 0, argv + 1, argc - 1, &out);
  ks_str reply = {out.ptr, out.len};
  ctx->api->reply_raw(ctx->data, reply);
  if (out.drop) out.drop(out.owner);
  return KS_CALL_NONE;
}

static uint32_t kind(void *data, const ks_ctx *ctx, const ks_str *argv, size_t argc) {
  (void)data; (void)argc;
  ctx->api->reply_int(ctx->data, ctx->api->kind(ctx->data, 0, argv[1]));
  return KS_CALL_NONE;
}

static uint32_t add(ks_registrar reg, const char *name, uint64_t flags, uint32_t (*call)(void *, const ks_ctx *, const ks_str *, size_t)) {
  ks_command_spec spec = {.size = sizeof spec, .arity = -1, .flags = flags, .name = str(name), .call = call};
  return reg.api->command(reg.data, &spec);
}
"#;

const DECLARED: [(&str, &str, &str); 9] = [
    ("DO.LIST", "KS_CMD_WRITE", "list"),
    ("DO.SETLIST", "KS_CMD_WRITE", "set_list"),
    ("DO.SET", "KS_CMD_WRITE", "set"),
    ("DO.SETCALL", "KS_CMD_WRITE", "set_call"),
    ("DO.SILENT", "KS_CMD_WRITE", "silent"),
    ("DO.CALL", "KS_CMD_WRITE", "call"),
    ("DO.READ.SET", "KS_CMD_READONLY", "set"),
    ("DO.READ.SENT", "KS_CMD_READONLY", "as_sent"),
    ("DO.READ.CALL", "KS_CMD_READONLY", "call"),
];

fn doing() -> Plugins {
    let plugins = Plugins::new();
    let declared = DECLARED.iter().chain(&[("DO.KIND", "KS_CMD_READONLY", "kind")]);
    let body = declared
        .map(|(name, flags, call)| format!("if (add(reg, \"{name}\", {flags}, {call}) != KS_OK) goto refused;\n"));
    plugins.with_functions("doing", "", DOING, &body.collect::<String>());
    plugins
}

#[track_caller]
fn error(reply: Reply) -> String {
    assert!(reply.is_error(), "{reply:?}");
    format!("{reply:?}").trim_start_matches("(error) ").to_owned()
}

/// A primary and its replica, in step.
fn pair(plugins: &Plugins) -> (Keystead, Keystead) {
    let with = |config: &str| {
        let builder = Keystead::builder().plugin_dir(plugins.dir()).plugin("doing", "()");
        builder.plugin("replication", config).start()
    };
    let primary = with("()");
    let replica = with(&format!("(replicaof: (\"127.0.0.1\", {}))", primary.port()));
    let mut r = replica.client();
    wait_until("the replica is in step", DEADLINE, || r.info("replication")["master_link_status"] == "up");
    (primary, replica)
}

/// Waits until the replica has all that the primary had so far.
fn catch_up(p: &mut Client, r: &mut Client) {
    p.ok("INCR mark");
    let mark = format!("{:?}", p.cmd("GET mark"));
    wait_until("the writes arrive", DEADLINE, || format!("{:?}", r.cmd("GET mark")) == mark);
}

#[test]
fn an_effect_that_nobody_could_execute_is_an_error_and_the_file_is_read_again() {
    let plugins = doing();
    let builder = Keystead::builder().plugin_dir(plugins.dir()).plugin("doing", "()");
    let mut node = builder.plugin("persistence-aof", "(enabled: true)").start();
    let mut c = node.client();
    assert_eq!(error(c.cmd("DO.LIST NOSUCH x")), "ERR plugin doing: an effect can't be 'NOSUCH', which is no command");
    for words in ["SET k", "MULTI", "EXEC", "SHUTDOWN", "SELECT 3", ""] {
        assert!(error(c.cmd(&format!("DO.LIST {words}"))).contains("plugin doing: an effect"), "{words}");
    }
    c.ok("DO.LIST SET listed 1");
    // What was changed in front of a wrong effect is told all the same.
    assert!(c.cmd("DO.SETLIST changed 2 NOSUCH").is_error());
    c.ok("SET after 3");
    node.process.terminate();
    assert!(node.process.wait_exit(DEADLINE).success(), "{}", node.process.log());
    node.restart();
    let mut c = node.client();
    for (key, value) in [("listed", "1"), ("changed", "2"), ("after", "3")] {
        assert_eq!(c.cmd(&format!("GET {key}")), value);
    }
}

#[test]
fn what_a_command_changes_without_an_effect_is_on_the_replica() {
    let plugins = doing();
    let (primary, replica) = pair(&plugins);
    let (mut p, mut r) = (primary.client(), replica.client());
    p.ok("DO.SET quiet 1");
    assert!(p.cmd("DO.LIST MULTI").is_error());
    catch_up(&mut p, &mut r);
    assert_eq!(r.cmd("GET quiet"), "1");
}

#[test]
fn changes_and_calls_of_a_command_reach_the_replica_in_their_order() {
    let plugins = doing();
    let (primary, replica) = pair(&plugins);
    let (mut p, mut r) = (primary.client(), replica.client());
    p.ok("DO.SETCALL counted 1 INCR counted");
    p.ok("DO.SETCALL gone 1 DEL gone");
    // One inside the other.
    p.ok("DO.SETCALL outer 1 DO.SETCALL inner 5 INCRBY outer 6");
    assert_eq!(error(p.cmd("DO.SETCALL failed 1 DEL failed FAIL")), "ERR on purpose");
    // One that is found expired is deleted before it is set.
    p.ok("DEBUG SET-ACTIVE-EXPIRE 0");
    p.ok("SET expired 7 PX 1");
    let begun = Instant::now();
    wait_until("it has expired", DEADLINE, || begun.elapsed() > Duration::from_millis(2));
    p.ok("DO.SETCALL expired 1 INCR expired");
    catch_up(&mut p, &mut r);
    for client in [&mut p, &mut r] {
        let values = client.cmd("MGET counted gone outer inner failed expired behind").texts();
        assert_eq!(values, ["2", "(nil)", "7", "5", "(nil)", "2", "expired"]);
    }
}

#[test]
fn a_command_without_a_reply_is_answered_an_error_and_what_it_did_stays() {
    let plugins = doing();
    let (primary, replica) = pair(&plugins);
    let (mut p, mut r) = (primary.client(), replica.client());
    let told = "ERR plugin doing: the command 'do.silent' wrote no reply";
    assert_eq!(error(p.cmd("DO.SILENT k v")), told);
    assert_eq!(error(p.cmd("DO.CALL DO.SILENT k v")), told);
    // Redis says nothing to this either.
    p.send(&["REPLCONF", "ACK", "0"]).unwrap();
    assert_eq!(p.cmd("PING"), "PONG");
    catch_up(&mut p, &mut r);
    assert_eq!(r.cmd("GET k"), "v");
}

/// Built when the boundary was 1.0: its spec ends where it ended then, and nobody had to say that a command may be silent.
#[test]
fn a_plugin_of_boundary_1_0_does_as_it_did() {
    let functions = r#"
#include <stddef.h>
static uint32_t mute(void *data, const ks_ctx *ctx, const ks_str *argv, size_t argc) {
  (void)data; (void)ctx; (void)argv; (void)argc;
  return KS_CALL_NONE;
}
static uint32_t reads_only(void *data, const ks_str *argv, size_t argc) {
  (void)data; (void)argv;
  return argc == 1;
}
static uint32_t old(ks_registrar reg, const char *name, uint32_t (*call)(void *, const ks_ctx *, const ks_str *, size_t)) {
  ks_command_spec spec = {.size = offsetof(ks_command_spec, flags_now), .arity = -1, .flags = KS_CMD_MAY_REPLICATE};
  spec.name = str(name);
  spec.call = call;
  spec.reads_only = reads_only;
  memset(&spec.flags_now, 0xff, sizeof spec.flags_now);
  return reg.api->command(reg.data, &spec);
}
"#;
    let body = "if (old(reg, \"OLD.MUTE\", mute) != KS_OK || old(reg, \"OLD.PING\", ping) != KS_OK) goto refused;";
    let plugins = Plugins::new();
    plugins.with_functions("old", ".abi_minor = 0,", functions, body);
    let node = Keystead::builder().plugin_dir(plugins.dir()).plugin("old", "()").start();
    let mut client = node.client();
    client.send(&["OLD.MUTE"]).unwrap();
    assert_eq!(client.cmd("PING"), "PONG", "not a word of the command before");
    client.ok("CLIENT PAUSE 100000 WRITE");
    assert_eq!(client.cmd("OLD.PING"), 7, "these words change nothing, as the plugin says");
}

#[test]
fn a_command_that_isn_t_declared_to_write_doesn_t() {
    let plugins = doing();
    let (primary, replica) = pair(&plugins);
    let (mut p, mut r) = (primary.client(), replica.client());
    for client in [&mut p, &mut r] {
        assert_eq!(error(client.cmd("DO.READ.SET k v")), "ERR plugin doing: 'do.read.set' isn't declared to write");
        assert_eq!(
            error(client.cmd("DO.READ.CALL SET k v")),
            "ERR plugin doing: 'do.read.call' isn't declared to write"
        );
        assert_eq!(error(client.cmd("DO.READ.SENT")), "ERR plugin doing: 'do.read.sent' isn't declared to write");
        assert_eq!(client.cmd("DO.READ.CALL EXISTS k"), 0);
    }
    assert!(error(r.cmd("DO.SET k v")).starts_with("READONLY"));
    p.ok("XADD s * a b");
    assert_eq!(p.cmd("DO.KIND s"), 7, "KS_VALUE_STREAM");
}

#[test]
fn calls_of_plugins_in_each_other_end() {
    let plugins = doing();
    let node = Keystead::builder().plugin_dir(plugins.dir()).plugin("doing", "()").start();
    let mut c = node.client();
    let nested = |depth: usize| [vec!["DO.CALL"; depth], vec!["PING"]].concat();
    assert_eq!(c.command(&nested(64)), "PONG");
    assert_eq!(error(c.command(&nested(65))), "ERR commands of plugins are nested too deeply");
    assert_eq!(error(c.command(&nested(10_000))), "ERR commands of plugins are nested too deeply");
    assert_eq!(c.cmd("PING"), "PONG");
}

#[test]
fn a_call_leaves_the_session_of_its_client_alone() {
    let plugins = doing();
    let node = Keystead::builder().plugin_dir(plugins.dir()).plugin("doing", "()").plugin("scripting", "()").start();
    let mut c = node.client();
    let sessions =
        ["MULTI", "WATCH k", "CLIENT REPLY OFF", "SUBSCRIBE a", "RESET", "AUTH x", "HELLO 3", "MONITOR", "QUIT"];
    for words in sessions {
        assert!(c.cmd(&format!("DO.CALL {words}")).is_error(), "{words}");
        assert_eq!(c.cmd("PING"), "PONG", "{words}");
    }
    assert_eq!(
        error(c.cmd("DO.CALL MULTI")),
        "ERR plugin doing: 'multi' is about a connection of its own and can't be called for another"
    );
    assert!(c.command(&["EVAL", "return redis.call('DO.CALL', 'MULTI')", "0"]).is_error());
    c.ok("DO.CALL SELECT 3");
    c.ok("SET here 1");
    assert_eq!(c.cmd("DO.CALL GET here"), "1");
}

#[test]
fn declarations_that_no_call_fits_are_refused() {
    let plugins = Plugins::new();
    let declare = |arity: i64, keys: [i64; 3]| {
        format!(
            "ks_command_spec spec = {{.size = sizeof spec, .arity = {arity}, .first_key = {}, .last_key = {}, .key_step = {}, \
             .name = str(\"ODD.ONE\"), .call = ping}};\nif (reg.api->command(reg.data, &spec) != KS_OK) goto refused;",
            keys[0], keys[1], keys[2]
        )
    };
    for (arity, keys) in [(2, [1, 1, 1]), (-2, [1, -1, 2]), (3, [1, -2, 1]), (-1, [5, 5, 1]), (1, [0, 0, 0])] {
        plugins.small("odd", "", &format!("{{ {} }}", declare(arity, keys)));
        let mut node = plugins.launch(&["odd"]);
        node.process.wait_for_log("Ready to accept connections", DEADLINE);
    }
    let (max, min) = (i64::from(i32::MAX), i64::from(i32::MIN));
    let cases = [
        (0, [0, 0, 0], "no call has the arity 0"),
        (-1, [5, 2, 1], "no call has keys from 5 to 2 in steps of 1"),
        (-1, [5, 6, 0], "in steps of 0"),
        (-1, [1, -1, -1], "in steps of -1"),
        (-1, [max, min, max], "no call has keys"),
        (-1, [-5, -1, 1], "no call has keys from -5"),
        (2, [2, 2, 1], "no call has keys from 2"),
        (2, [1, 3, 1], "no call has keys from 1 to 3"),
    ];
    for (arity, keys, why) in cases {
        plugins.small("odd", "", &format!("{{ {} }}", declare(arity, keys)));
        let mut node = plugins.launch(&["odd"]);
        assert!(!node.process.wait_exit(DEADLINE).success());
        let log = node.process.log();
        assert!(log.contains("command 'ODD.ONE': ") && log.contains(why), "{why}:\n{log}");
    }
}

/// Functions of a plugin whose `before_end` gives a future with this body.
fn asked(poll: &str) -> String {
    format!(
        r#"
static uint32_t poll_end(void *data, const ks_waker *waker, ks_out *out) {{
  (void)data; (void)waker; (void)out;
  {poll}
}}
static ks_future before_end(void *data, uint32_t flags) {{
  (void)data; (void)flags;
  return (ks_future){{.data = (void *)&instance_api, .poll = poll_end}};
}}
static const ks_instance_api ending_api = {{.size = sizeof(ks_instance_api), .before_end = before_end}};
"#
    )
}

const ENDING: &str = "if (out) { out->data = out; out->api = &ending_api; return KS_OK; }";

#[test]
fn a_panic_over_the_end_faults_the_plugin_and_the_end_goes_on() {
    let plugins = Plugins::new();
    plugins.with_functions("panicky", "", &asked("*out = (ks_out){.status = KS_PANICKED}; return KS_READY;"), ENDING);
    let mut node = Keystead::builder().plugin_dir(plugins.dir()).plugin("panicky", "()").start();
    node.process.terminate();
    node.process.wait_for_log("plugin panicky failed and is stopped: it panicked when it was asked", DEADLINE);
    assert!(!node.process.wait_exit(DEADLINE).success(), "it isn't as if nothing had failed: {}", node.process.log());
}

#[test]
fn the_log_says_for_whom_an_end_waits() {
    let plugins = Plugins::new();
    plugins.with_functions("silent", "", &asked("return KS_PENDING;"), ENDING);
    let mut node = Keystead::builder().plugin_dir(plugins.dir()).plugin("silent", "()").start();
    node.process.terminate();
    node.process.wait_for_log("The end waits for the plugin silent", DEADLINE);
}

/// What a command says of its words is sent as it is, in one line.
#[test]
fn an_error_s_bytes_are_the_plugin_s() {
    let plugins = Plugins::new();
    let functions = r#"
static uint32_t refuse(void *data, const ks_ctx *ctx, const ks_str *argv, size_t argc) {
  (void)data; (void)argc;
  ctx->api->fail(ctx->data, argv[1]);
  return KS_CALL_FAILED;
}
"#;
    let body = r#"ks_command_spec spec = {.size = sizeof spec, .arity = 2, .flags = KS_CMD_READONLY, .name = str("REFUSE"), .call = refuse};
  if (reg.api->command(reg.data, &spec) != KS_OK) goto refused;"#;
    plugins.with_functions("refusing", "", functions, body);
    let node = Keystead::builder().plugin_dir(plugins.dir()).plugin("refusing", "()").start();
    let mut client = node.client();
    client.send(&[&b"REFUSE"[..], b"ERR caf\xe9 \r\n!"]).unwrap();
    client.send(&["QUIT"]).unwrap();
    assert_eq!(client.drain(DEADLINE), b"-ERR caf\xe9   !\r\n+OK\r\n");
}
