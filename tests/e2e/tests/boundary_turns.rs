//! What a plugin asks for from inside a turn, with a real process: what would wait for the turn's own end is refused at
//! once, what can be done behind it is, and everybody is served meanwhile.
#![allow(clippy::unwrap_used)]

#[path = "boundary/fixtures.rs"]
#[allow(dead_code)]
mod fixtures;

use fixtures::Plugins;
use keystead_harness::{DEADLINE, Keystead, Reply, wait_until};

/// `KS_ERR` and `KS_IN_TURN`.
const ERR: i64 = 1;
const IN_TURN: i64 = 8;

/// A cursor and a load that a timer opens, and commands that use them in their turn.
const TURNS: &str = r#"
static ks_host server;
static ks_registrar registrar;
static ks_object cursor, load;
static uint32_t too_new, opened;

static const ks_waker *keep(const ks_waker *waker) { return waker; }
static void ignore(const ks_waker *waker) { (void)waker; }
static const ks_waker_api waker_api = {.size = sizeof(ks_waker_api), .clone = keep, .wake = ignore, .wake_by_ref = ignore, .drop = ignore};
static const ks_waker waker = {&waker_api};

/* Polls a future once; its status, or 99 while it has none. */
static uint32_t poll_once(ks_future future, ks_object *object) {
  ks_out out = {0};
  uint32_t ready = future.poll(future.data, &waker, &out);
  if (future.drop) future.drop(future.data);
  if (ready != KS_READY) return 99;
  if (object) *object = out.object;
  if (out.buf.drop) out.buf.drop(out.buf.owner);
  return out.status;
}

static uint32_t open_all(void *data) {
  (void)data;
  too_new = poll_once(server.api->snapshot(server.data, 99), NULL);
  poll_once(server.api->open_cursor(server.data, KS_KEEP_OFFSET, KS_CURSOR_FEED), &cursor);
  poll_once(server.api->begin_load(server.data, KS_LOAD_SHADOW), &load);
  opened = 1;
  return 0;
}
static ks_future start(void *data) {
  server.api->every_us(server.data, 1000, open_all, data);
  return (ks_future){NULL, NULL, NULL};
}
static const ks_instance_api turns_api = {.size = sizeof(ks_instance_api), .start = start};

static uint32_t say(const ks_ctx *ctx, uint32_t status) {
  ctx->api->reply_int(ctx->data, status);
  return KS_CALL_NONE;
}
#define COMMAND(name, ...) \
  static uint32_t name(void *data, const ks_ctx *ctx, const ks_str *argv, size_t argc) { \
    (void)data; (void)argv; (void)argc; \
    const ks_cursor_api *reads = (const void *)cursor.api; \
    const ks_load_api *loads = (const void *)load.api; \
    (void)reads; (void)loads; \
    __VA_ARGS__ \
  }
COMMAND(is_open, return say(ctx, opened);)
COMMAND(version, return say(ctx, too_new);)
COMMAND(name, reads->set_name(cursor.data, str("x")); return say(ctx, 0);)
COMMAND(stop, reads->stop_at(cursor.data, 1); return say(ctx, 0);)
COMMAND(class, reads->set_class(cursor.data, KS_CURSOR_PERSISTENCE); return say(ctx, 0);)
COMMAND(ended, return say(ctx, poll_once(reads->ended(cursor.data), NULL));)
COMMAND(commit, return say(ctx, poll_once(loads->commit(load.data), NULL));)
COMMAND(give_up, loads->drop(load.data); return say(ctx, 0);)
COMMAND(read_on,
  ks_out out = {0};
  uint32_t ready = reads->poll_read(cursor.data, &waker, 100, &out);
  if (out.buf.drop) out.buf.drop(out.buf.owner);
  return say(ctx, ready == KS_READY ? out.status : 99);
)
COMMAND(feed,
  ks_object stream = {0};
  ks_buf bytes = {0};
  if (server.api->open_apply(server.data, 0, &stream) != KS_OK) return say(ctx, 99);
  const ks_apply_api *applies = (const void *)stream.api;
  uint32_t status = poll_once(applies->feed(stream.data, bytes), NULL);
  applies->drop(stream.data);
  return say(ctx, status);
)
COMMAND(declare, return say(ctx, command(registrar, "TURN.LATE"));)

static uint32_t add(ks_registrar reg, const char *name, uint32_t (*call)(void *, const ks_ctx *, const ks_str *, size_t)) {
  ks_command_spec spec = {.size = sizeof spec, .arity = 1, .flags = KS_CMD_READONLY, .name = str(name), .call = call};
  return reg.api->command(reg.data, &spec);
}
"#;

/// In the order in which they are called.
const COMMANDS: [(&str, &str, i64); 11] = [
    ("TURN.OPEN", "is_open", 1),
    ("TURN.VERSION", "version", ERR),
    ("TURN.CALL", "name", 0),
    ("TURN.CLASS", "class", 0),
    ("TURN.READ", "read_on", IN_TURN),
    ("TURN.ENDED", "ended", IN_TURN),
    ("TURN.STOP", "stop", 0),
    ("TURN.COMMIT", "commit", IN_TURN),
    ("TURN.FEED", "feed", IN_TURN),
    ("TURN.DECLARE", "declare", ERR),
    ("TURN.GIVEUP", "give_up", 0),
];

#[test]
fn nothing_waits_for_the_turn_it_is_called_in() {
    let plugins = Plugins::new();
    let declared =
        COMMANDS.map(|(name, call, _)| format!("if (add(reg, \"{name}\", {call}) != KS_OK) goto refused;\n")).concat();
    let body = format!(
        "server = host; registrar = reg;\n{declared}\
         if (out) {{ out->data = out; out->api = &turns_api; return KS_OK; }}"
    );
    plugins.with_functions("turns", "", TURNS, &body);
    let node = Keystead::builder().plugin_dir(plugins.dir()).plugin("turns", "()").start();
    let mut c = node.client();
    wait_until("all is open", DEADLINE, || c.cmd("TURN.OPEN") == 1);
    assert_eq!(c.info("persistence")["async_loading"], "1");
    for (name, _, status) in COMMANDS {
        assert_eq!(c.cmd(name), Reply::Int(status), "{name}");
        assert_eq!(node.client().cmd("PING"), "PONG", "behind {name}");
    }
    assert!(c.cmd("TURN.LATE").is_error());
    // A load that is given up inside a turn is over behind it.
    wait_until("the load is over", DEADLINE, || c.info("persistence")["async_loading"] == "0");
    c.ok("SET a 1");
}

/// A file that is cut behind the turn which gives a replica's journal its place must know the stream's database.
#[test]
fn a_stream_that_is_opened_in_a_turn_names_its_database() {
    let plugins = Plugins::new();
    let functions = r#"
static ks_host server;
static uint32_t open_in_turn(void *data, const ks_ctx *ctx, const ks_str *argv, size_t argc) {
  (void)data; (void)argv; (void)argc;
  ks_object stream = {0};
  ks_journal_state before, after;
  server.api->journal(server.data, &before);
  if (server.api->open_apply(server.data, 7, &stream) != KS_OK) return KS_CALL_FAILED;
  server.api->journal(server.data, &after);
  ((const ks_apply_api *)stream.api)->drop(stream.data);
  ctx->api->reply_int(ctx->data, before.db * 100 + after.db);
  return KS_CALL_NONE;
}
"#;
    let body = r#"
server = host;
ks_command_spec spec = {.size = sizeof spec, .arity = 1, .flags = KS_CMD_READONLY, .name = str("TURN.STREAM"), .call = open_in_turn};
if (reg.api->command(reg.data, &spec) != KS_OK) goto refused;
"#;
    plugins.with_functions("streams", "", functions, body);
    let node = |config: &str| {
        Keystead::builder().plugin_dir(plugins.dir()).plugin("replication", config).plugin("streams", "()").start()
    };
    let replica = node("(replicaof: (\"127.0.0.1\", 1))");
    let mut c = replica.client();
    assert_eq!([c.cmd("TURN.STREAM"), c.cmd("TURN.STREAM")], [Reply::Int(-93), Reply::Int(707)]);
    // A primary's own stream begins with a SELECT, whatever was opened.
    assert_eq!(node("()").client().cmd("TURN.STREAM"), Reply::Int(-101));
}
