//! Loads that a plugin begins and gives up: a part of a data set is none, and replaces nothing on the disk.
#![allow(clippy::unwrap_used)]

#[path = "boundary/fixtures.rs"]
#[allow(dead_code)]
mod fixtures;

use fixtures::Plugins;
use keystead_harness::{DEADLINE, Keystead, Reply, wait_until};

/// A timer that empties the keyspace when it is told to, puts one key and gives up.
const LOADS: &str = r#"
static ks_host server;
static volatile uint32_t wanted, given_up;

static const ks_waker *keep(const ks_waker *waker) { return waker; }
static void ignore(const ks_waker *waker) { (void)waker; }
static const ks_waker_api waker_api = {.size = sizeof(ks_waker_api), .clone = keep, .wake = ignore, .wake_by_ref = ignore, .drop = ignore};
static const ks_waker waker = {&waker_api};

static ks_out wait_for(ks_future future) {
  ks_out out = {0};
  while (future.poll(future.data, &waker, &out) != KS_READY) {}
  if (future.drop) future.drop(future.data);
  if (out.buf.drop) out.buf.drop(out.buf.owner);
  return out;
}

/* A string `half` with the value `1`, as in an RDB file. */
static const uint8_t record[] = {0, 4, 'h', 'a', 'l', 'f', 1, '1'};

static uint32_t load(void *data) {
  (void)data;
  if (!wanted) return 1;
  ks_object object = wait_for(server.api->begin_load(server.data, KS_LOAD_AGAIN)).object;
  const ks_load_api *api = (const void *)object.api;
  ks_buf records = {.ptr = record, .len = sizeof record};
  wait_for(api->put(object.data, 0, 1, records));
  api->drop(object.data);
  given_up = 1;
  return 0;
}
static ks_future start(void *data) {
  server.api->every_us(server.data, 1000, load, data);
  return (ks_future){NULL, NULL, NULL};
}
static const ks_instance_api loads_api = {.size = sizeof(ks_instance_api), .start = start};

static uint32_t go(void *data, const ks_ctx *ctx, const ks_str *argv, size_t argc) {
  (void)data; (void)argv; (void)argc;
  wanted = 1;
  ctx->api->reply_int(ctx->data, 1);
  return KS_CALL_NONE;
}
static uint32_t is_over(void *data, const ks_ctx *ctx, const ks_str *argv, size_t argc) {
  (void)data; (void)argv; (void)argc;
  ctx->api->reply_int(ctx->data, given_up);
  return KS_CALL_NONE;
}
static uint32_t add(ks_registrar reg, const char *name, uint32_t (*call)(void *, const ks_ctx *, const ks_str *, size_t)) {
  ks_command_spec spec = {.size = sizeof spec, .arity = 1, .flags = KS_CMD_READONLY, .name = str(name), .call = call};
  return reg.api->command(reg.data, &spec);
}
"#;

#[test]
fn a_reload_that_is_given_up_leaves_no_keys_and_the_file() {
    let plugins = Plugins::new();
    let body = "server = host; add(reg, \"LOADS.GO\", go); add(reg, \"LOADS.OVER\", is_over);\n\
                if (out) { out->data = out; out->api = &loads_api; return KS_OK; }";
    plugins.with_functions("loads", "", LOADS, body);
    let builder = Keystead::builder().plugin_dir(plugins.dir()).plugin("loads", "()");
    let mut node = builder.plugin("persistence-rdb", "(save: [(3600, 1)])").start();
    let mut client = node.client();
    client.ok("SET whole 1");
    client.ok("SAVE");
    client.ok("LOADS.GO");
    wait_until("it is given up", DEADLINE, || client.cmd("LOADS.OVER") == 1);
    assert_eq!(client.cmd("DBSIZE"), 0, "half of it is no data set");
    let Reply::Error(refused) = client.cmd("SAVE") else { panic!("it saved nothing over everything") };
    assert!(refused.contains("the keys are gone with a load that failed"), "{refused}");
    node.process.terminate();
    assert!(node.process.wait_exit(DEADLINE).success());
    node.restart();
    assert_eq!(node.client().cmd("EXISTS whole"), 1);
}
