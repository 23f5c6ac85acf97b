//! A plugin that fails at a bad moment, or says nonsense, with a real process: before it has started, while it is asked
//! whether the server may end, while it keeps a part of the data, refuses writes or holds replies.
#![allow(clippy::unwrap_used)]

#[path = "boundary/fixtures.rs"]
#[allow(dead_code)]
mod fixtures;

use fixtures::Plugins;
use keystead_harness::{DEADLINE, Keystead, Reply, wait_until};
use std::time::Duration;

/// Futures of the host with something behind them, and an instance that tells whether it is gone.
const FAILING: &str = r#"
#include <stdatomic.h>
#include <stdlib.h>

static ks_host server;
static atomic_int gone;

static inline void say(const char *text) { server.api->log(server.data, KS_LOG_WARN, str("failing"), str(text)); }

/* The host's future, which is left to it; the status that is told in place of its own. */
typedef struct { ks_future timer; uint32_t status; } later;
static uint32_t poll_later(void *data, const ks_waker *waker, ks_out *out) {
  later *it = data;
  uint32_t ready = it->timer.poll(it->timer.data, waker, out);
  if (ready == KS_READY) out->status = it->status;
  return ready;
}
static void drop_later(void *data) {
  later *it = data;
  it->timer.drop(it->timer.data);
  free(it);
}
static inline ks_future after(uint64_t us, uint32_t status) {
  later *it = malloc(sizeof *it);
  *it = (later){server.api->sleep_us(server.data, us), status};
  return (ks_future){it, poll_later, drop_later};
}
/* A task that fails. */
static inline void fail_after(uint64_t us) { server.api->spawn(server.data, after(us, KS_PANICKED)); }

static void drop_instance(void *data) {
  (void)data;
  gone = 1;
  say("the instance is gone");
}
static uint32_t fail_now(void *data, const ks_ctx *ctx, const ks_str *argv, size_t argc) {
  (void)data; (void)argv; (void)argc;
  fail_after(1);
  ctx->api->reply_simple(ctx->data, str("OK"));
  return KS_CALL_NONE;
}
static inline uint32_t add(ks_registrar reg, const char *name, int arity, uint32_t (*call)(void *, const ks_ctx *, const ks_str *, size_t)) {
  ks_command_spec spec = {.size = sizeof spec, .arity = arity, .flags = KS_CMD_READONLY, .name = str(name), .call = call};
  return reg.api->command(reg.data, &spec);
}
static inline void unused(void) { (void)fail_now; (void)drop_instance; }
"#;

/// Builds a plugin with these functions, what its table has, and what it declares.
fn failing(plugins: &Plugins, name: &str, more: &str, table: &str, body: &str) {
    let api = format!(
        "static const ks_instance_api own_api = {{.size = sizeof(ks_instance_api), .drop = drop_instance, {table}}};\n"
    );
    let body =
        format!("server = host;\n  {body}\n  if (out) {{ out->data = out; out->api = &own_api; return KS_OK; }}");
    plugins.with_functions(name, "", &format!("{FAILING}{more}{api}"), &body);
}

/// The reason that an instance gives for not starting.
fn refused(mut node: Keystead) -> String {
    let status = node.process.wait_exit(DEADLINE);
    let log = node.process.log();
    assert!(!status.success(), "{log}");
    assert_eq!(status.code(), Some(1), "it was killed: {log}");
    log
}

fn error(reply: Reply) -> String {
    match reply {
        Reply::Error(text) => text,
        other => panic!("{other:?}"),
    }
}

/// Its instance is gone by the time that it is its turn to start.
#[test]
fn a_plugin_that_failed_before_its_start_is_not_started() {
    let plugins = Plugins::new();
    let slow = "static ks_future start(void *data) { (void)data; return after(1500000, KS_OK); }\n";
    failing(&plugins, "slow", slow, ".start = start", "");
    let start = "static ks_future start(void *data) { (void)data; if (gone) abort(); return after(1, KS_OK); }\n";
    failing(&plugins, "failing", start, ".start = start", "fail_after(100000);");
    let log = refused(plugins.launch(&["slow", "failing"]));
    let why = "the plugin 'failing' did not start: it failed before it had started: a task panicked";
    assert!(log.contains(why), "{log}");
}

#[test]
fn a_plugin_that_fails_while_it_starts_has_not_started() {
    for ready in ["after(500000, KS_OK)", "after(-1, KS_OK)"] {
        let plugins = Plugins::new();
        let start = format!(
            "static ks_future start(void *data) {{ (void)data; fail_after(100000); return {ready}; }}\n\
             static ks_future before_end(void *data, uint32_t flags) {{ (void)data; (void)flags; if (gone) abort(); \
             return after(1, KS_OK); }}\n"
        );
        failing(&plugins, "failing", &start, ".start = start, .before_end = before_end", "");
        let log = refused(plugins.launch(&["failing"]));
        assert!(log.contains("the plugin 'failing' did not start: it failed before it had started"), "{log}");
    }
}

/// Nobody is there any more who could answer.
#[test]
fn an_end_does_not_wait_for_a_plugin_that_fails_over_it() {
    let plugins = Plugins::new();
    let ask = "static ks_future before_end(void *data, uint32_t flags) { (void)data; (void)flags; fail_after(100000); \
               return after(-1, KS_OK); }\n";
    failing(&plugins, "failing", ask, ".before_end = before_end", "");
    let mut node = Keystead::builder().plugin_dir(plugins.dir()).plugin("failing", "()").start();
    node.process.terminate();
    node.process.wait_exit(DEADLINE);
    let log = node.process.log();
    assert!(log.contains("plugin failing failed and is stopped: a task panicked"), "{log}");
}

/// What it has yet to write when it is stopped would be cut off half-way.
#[test]
fn an_end_waits_for_the_stop_of_a_plugin_that_failed_before() {
    let plugins = Plugins::new();
    let stop = "static ks_future stop(void *data, uint32_t why) { (void)data; (void)why; say(\"it is about to stop\"); \
                return after(1500000, KS_OK); }\n";
    failing(&plugins, "failing", stop, ".stop = stop", "fail_after(1000000);");
    let mut node = Keystead::builder().plugin_dir(plugins.dir()).plugin("failing", "()").start();
    node.process.wait_for_log("it is about to stop", DEADLINE);
    node.process.terminate();
    node.process.wait_exit(DEADLINE);
    let log = node.process.log();
    assert!(log.contains("the instance is gone"), "{log}");
}

/// A section with one record, and a save of it that fails when it is told so.
const KEEPS: &str = r#"
static atomic_int broken;
static const uint8_t record[] = "\xf5\x08KEPTHERE";
static uint32_t save(void *data, ks_buf *out) {
  (void)data;
  if (gone) abort();
  if (broken) return KS_PANICKED;
  *out = (ks_buf){record, sizeof record - 1, NULL, NULL};
  return KS_OK;
}
static uint32_t load(void *data, ks_str records, ks_buf *error) {
  (void)data; (void)records; (void)error;
  if (records.len > 0) say("the record is back");
  return KS_OK;
}
static uint32_t break_it(void *data, const ks_ctx *ctx, const ks_str *argv, size_t argc) {
  (void)data; (void)argv; (void)argc;
  broken = 1;
  ctx->api->reply_simple(ctx->data, str("OK"));
  return KS_CALL_NONE;
}
"#;

const DECLARES: &str = "ks_section_spec kept = {.size = sizeof kept, .opcode = 245, .save = save, .load = load};\n  \
                        if (reg.api->section(reg.data, &kept) != KS_OK) goto refused;\n  \
                        if (add(reg, \"FAIL.NOW\", 1, fail_now) != KS_OK) goto refused;\n  \
                        if (add(reg, \"FAIL.SAVE\", 1, break_it) != KS_OK) goto refused;";

fn keeping() -> (Plugins, Keystead) {
    let plugins = Plugins::new();
    failing(&plugins, "failing", KEEPS, "", DECLARES);
    let builder = Keystead::builder().plugin_dir(plugins.dir()).plugin("failing", "()");
    let node = builder.plugin("persistence-rdb", "(save: [])").start();
    (plugins, node)
}

/// What a plugin keeps beside the keys is data: it is in the files that are written behind its failure.
#[test]
fn what_a_failed_plugin_kept_is_saved_all_the_same() {
    let (_plugins, mut node) = keeping();
    let mut client = node.client();
    client.ok("FAIL.NOW");
    node.process.wait_for_log("the instance is gone", DEADLINE);
    client.ok("SET a 1");
    client.ok("SAVE");
    node.process.kill();
    node.restart();
    node.process.wait_for_log("the record is back", DEADLINE);
    assert_eq!(node.client().cmd("GET a"), "1");
}

/// A file without it would take the place of one that has it.
#[test]
fn a_part_of_the_data_that_is_not_given_fails_the_save() {
    let (_plugins, node) = keeping();
    let mut client = node.client();
    client.ok("SAVE");
    let file = node.dir().join("dump.rdb");
    let before = std::fs::read(&file).unwrap();
    assert!(before.windows(8).any(|part| part == b"KEPTHERE"));
    client.ok("SET a 1");
    client.ok("FAIL.SAVE");
    assert!(client.cmd("SAVE").is_error());
    assert_eq!(std::fs::read(&file).unwrap(), before);
}

/// What ends inside of a turn is dropped there: what would wait for a turn is refused then, and not waited for.
#[test]
fn what_a_plugin_drops_may_ask_for_anything() {
    let plugins = Plugins::new();
    let more = "static void ask(void *data) { (void)data; server.api->journal_offset(server.data); say(\"asked\"); }\n\
                static uint32_t stay(void *data, const ks_ctx *ctx, const ks_str *argv, size_t argc) {\n\
                  (void)data; (void)argv; (void)argc;\n\
                  ctx->api->set_state(ctx->data, &server, ask);\n\
                  return ping(data, ctx, argv, argc);\n\
                }\n\
                static void nothing(void *data, const ks_ctx *ctx) { (void)data; (void)ctx; }\n\
                static uint32_t turn(void *data, const ks_ctx *ctx, const ks_str *argv, size_t argc) {\n\
                  server.api->spawn(server.data, server.api->turn(server.data, 0, nothing, ask, NULL));\n\
                  return ping(data, ctx, argv, argc);\n\
                }\n";
    let body = "if (add(reg, \"DROP.STATE\", 1, stay) != KS_OK) goto refused;\n  \
                if (add(reg, \"DROP.TURN\", 1, turn) != KS_OK) goto refused;";
    failing(&plugins, "failing", more, "", body);
    let mut node = Keystead::builder().plugin_dir(plugins.dir()).plugin("failing", "()").start();
    for (times, command) in ["DROP.STATE", "DROP.TURN"].into_iter().enumerate() {
        let mut client = node.client();
        assert_eq!(client.cmd(command), 7);
        drop(client);
        wait_until("it is dropped", DEADLINE, || node.process.log().matches("asked").count() > times);
        assert_eq!(node.client().cmd("PING"), "PONG");
    }
    assert!(node.process.is_alive());
}

/// Whoever sent it would wait for ever.
#[test]
fn an_asynchronous_command_without_a_reply_is_answered_an_error() {
    let plugins = Plugins::new();
    let more = "static ks_future start(void *data, const ks_client_info *client, const ks_str *argv, size_t argc) {\n\
                  (void)data; (void)client; (void)argv;\n\
                  return argc > 1 ? after(1, KS_OK) : (ks_future){NULL, NULL, NULL};\n\
                }\n";
    let body = "ks_command_spec spec = {.size = sizeof spec, .arity = -1, .name = str(\"SAY.NOTHING\"), .start = start};\n  \
                if (reg.api->command(reg.data, &spec) != KS_OK) goto refused;";
    failing(&plugins, "failing", more, "", body);
    let node = Keystead::builder().plugin_dir(plugins.dir()).plugin("failing", "()").start();
    let mut client = node.client();
    for command in ["SAY.NOTHING", "SAY.NOTHING later"] {
        let why = error(client.cmd(command));
        assert_eq!(why, "ERR plugin failing: the command 'SAY.NOTHING' wrote no reply");
    }
    assert_eq!(client.cmd("PING"), "PONG");
}

/// Two plugins that refuse writes, each for a reason of its own.
#[test]
fn a_reason_to_refuse_writes_is_its_plugin_s() {
    let plugins = Plugins::new();
    let more = "static uint32_t refuse(void *data, const ks_ctx *ctx, const ks_str *argv, size_t argc) {\n\
                  server.api->refuse_writes(server.data, argc > 1 ? argv[1] : (ks_str){NULL, 0});\n\
                  return ping(data, ctx, argv, argc);\n\
                }\n";
    for name in ["one", "two"] {
        let body = format!(
            "if (add(reg, \"{name}.REFUSE\", -1, refuse) != KS_OK) goto refused;\n  \
             if (add(reg, \"{name}.FAIL\", 1, fail_now) != KS_OK) goto refused;"
        );
        failing(&plugins, name, more, "", &body);
    }
    let builder = Keystead::builder().plugin_dir(plugins.dir()).plugin("one", "()").plugin("two", "()");
    let node = builder.start();
    let mut client = node.client();
    client.cmd("one.REFUSE full");
    client.cmd("two.REFUSE quota");
    client.cmd("one.REFUSE");
    assert_eq!(error(client.cmd("SET a 1")), "MISCONF quota", "the other's reason holds");
    client.cmd("one.REFUSE full");
    client.cmd("two.REFUSE");
    assert_eq!(error(client.cmd("SET a 1")), "MISCONF full");
    // It fails, and the server goes on without it, as its policy has it.
    client.ok("one.FAIL");
    wait_until("nobody refuses writes", DEADLINE, || !client.cmd("SET a 1").is_error());
}

/// A plugin that has failed may hang over its end: nobody waits for its word as long as that.
#[test]
fn replies_do_not_wait_for_a_failed_plugin_that_does_not_stop() {
    let plugins = Plugins::new();
    let more = "static ks_future stop(void *data, uint32_t why) { (void)data; (void)why; return after(-1, KS_OK); }\n\
                static uint32_t holds(void *data, const ks_write_event *event) {\n\
                  (void)data; (void)event;\n\
                  server.api->confirm(server.data, 1);\n\
                  return KS_PANICKED;\n\
                }\n";
    failing(&plugins, "failing", more, ".stop = stop", "reg.api->on_write(reg.data, holds, NULL);");
    let node =
        Keystead::builder().plugin_dir(plugins.dir()).plugin("failing", "()").plugin("persistence-aof", "()").start();
    let mut waits = node.client();
    waits.send(&["SET", "a", "1"]).unwrap();
    assert!(waits.is_closed_within(Duration::from_secs(10)), "{}", node.process.log());
    let mut client = node.client();
    client.ok("SET a 2");
    assert_eq!(client.cmd("GET a"), "2");
}

/// Work that never ends has a cursor that pins what it hasn't read; a plugin that failed pins nothing.
#[test]
fn a_cursor_of_a_failed_plugin_ends() {
    let plugins = Plugins::new();
    let more = r#"
#include <threads.h>
static const ks_waker *keep(const ks_waker *waker) { return waker; }
static void ignore(const ks_waker *waker) { (void)waker; }
static const ks_waker_api waker_api = {.size = sizeof(ks_waker_api), .clone = keep, .wake = ignore, .wake_by_ref = ignore, .drop = ignore};
static const ks_waker waker = {&waker_api};

static void read_on(void *data) {
  (void)data;
  ks_out opened = {0};
  ks_future opening = server.api->open_cursor(server.data, KS_KEEP_OFFSET, KS_CURSOR_PERSISTENCE);
  while (opening.poll(opening.data, &waker, &opened) != KS_READY) {}
  opening.drop(opening.data);
  const ks_cursor_api *reads = (const void *)opened.object.api;
  say("it reads");
  for (;;) {
    ks_out read = {0};
    uint32_t ready = reads->poll_read(opened.object.data, &waker, 100, &read);
    if (read.buf.drop) read.buf.drop(read.buf.owner);
    if (ready == KS_READY && read.status == KS_CLOSED) return say("its cursor is closed");
    thrd_sleep(&(struct timespec){.tv_nsec = 10000000}, NULL);
  }
}
static void nothing(void *data) { (void)data; }
static ks_future start(void *data) {
  ks_future reading = server.api->blocking(server.data, read_on, nothing, data);
  reading.drop(reading.data);
  return after(1, KS_OK);
}
"#;
    let body = "if (add(reg, \"FAIL.NOW\", 1, fail_now) != KS_OK) goto refused;";
    failing(&plugins, "failing", more, ".start = start", body);
    let mut node = Keystead::builder().plugin_dir(plugins.dir()).plugin("failing", "()").start();
    node.process.wait_for_log("it reads", DEADLINE);
    node.client().ok("FAIL.NOW");
    node.process.wait_for_log("its cursor is closed", DEADLINE);
    assert_eq!(node.client().cmd("PING"), "PONG");
}

/// Names that INFO, the log or another port couldn't tell apart, and an instance whose table ends too early.
#[test]
fn what_a_plugin_is_called_by_must_be_a_name_of_its_own() {
    let info = |name: &str| {
        format!(
            "ks_info_spec spec = {{.size = sizeof spec, .section = str(\"{name}\"), .render = render}};\n  \
             if (reg.api->info(reg.data, &spec) != KS_OK) goto refused;"
        )
    };
    let port = |name: &str| {
        format!(
            "uint32_t number;\n  ks_endpoint_spec spec = {{.size = sizeof spec, .name = str(\"{name}\")}};\n  \
             if (reg.api->endpoint(reg.data, &spec, &number) != KS_OK) goto refused;"
        )
    };
    let twice = format!("{{ {} }} {{ {} }}", port("twin"), port("twin"));
    let cases = [
        (info(""), "'' is no name for an INFO section"),
        (info("\u{e4}rger"), "is no name for an INFO section"),
        (info("a\\nb"), "is no name for an INFO section"),
        (port(""), "'' is no name for a port"),
        (twice, "'twin' is no name for a port, or another's"),
        (
            "static const ks_instance_api short_api = {.size = 0};\n  \
             if (out) { out->data = out; out->api = &short_api; return KS_OK; }"
                .to_owned(),
            "its instance's table has 0 bytes, at least ",
        ),
    ];
    let render = "static inline uint32_t render(void *data, const ks_ctx *ctx, void *sink, void (*line)(void *, ks_str, ks_str)) {\n\
                    (void)data; (void)ctx; (void)sink; (void)line;\n\
                    return KS_OK;\n\
                  }\n";
    for (body, why) in cases {
        let plugins = Plugins::new();
        plugins.with_functions("named", "", render, &body);
        let log = refused(plugins.launch(&["named"]));
        assert!(log.contains(why), "{why}: {log}");
    }
}

/// A status is bytes, as an error is.
#[test]
fn a_status_s_bytes_are_the_plugin_s() {
    let plugins = Plugins::new();
    let more = "static uint32_t odd(void *data, const ks_ctx *ctx, const ks_str *argv, size_t argc) {\n\
                  (void)data; (void)argv; (void)argc;\n\
                  ctx->api->reply_simple(ctx->data, str(\"na\\xefve\\r\\nstatus\"));\n\
                  return KS_CALL_NONE;\n\
                }\n";
    failing(&plugins, "failing", more, "", "if (add(reg, \"ODD\", 1, odd) != KS_OK) goto refused;");
    let node = Keystead::builder().plugin_dir(plugins.dir()).plugin("failing", "()").start();
    let mut client = node.client();
    client.send_raw(b"ODD\r\n").unwrap();
    assert_eq!(client.drain(Duration::from_secs(1)), b"+na\xefve  status\r\n");
}
