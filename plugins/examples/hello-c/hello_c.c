/* The example plugin in C: a command that reads, one that writes, a hook, an INFO section and a timer.
 * Build:  cc -std=c11 -fPIC -shared -I core/abi/include plugins/examples/hello-c/hello_c.c -o libkeystead_hello_c.so
 * It is named hello_c in the configuration: plugins: [(name: "hello_c")]. */
#include "keystead.h"

#include <stdatomic.h>
#include <stdio.h>
#include <string.h>

/* One instance per loaded library, so statics are fine. */
static ks_host host;
static atomic_ullong writes, ticks;

static ks_str str(const char *text) {
  ks_str s = {(const uint8_t *)text, strlen(text)};
  return s;
}

/* HELLOC.ECHO text */
static uint32_t echo(void *data, const ks_ctx *ctx, const ks_str *argv, size_t argc) {
  (void)data;
  (void)argc; /* the arity says 2 */
  ctx->api->reply_bulk(ctx->data, argv[1]);
  return KS_CALL_NONE;
}

/* HELLOC.SETX key value: sets the key, and tells replicas a plain SET. */
static uint32_t setx(void *data, const ks_ctx *ctx, const ks_str *argv, size_t argc) {
  (void)data;
  (void)argc;
  ks_client_info client;
  ctx->api->client(ctx->data, &client);
  if (argv[2].len == 0) {
    ctx->api->fail(ctx->data, str("ERR the value is empty"));
    return KS_CALL_FAILED;
  }
  ctx->api->set_string(ctx->data, client.db, argv[1], argv[2]);
  ks_str effect[3] = {str("SET"), argv[1], argv[2]};
  ctx->api->propagate(ctx->data, effect, 3);
  ctx->api->reply_simple(ctx->data, str("OK"));
  return KS_CALL_LISTED;
}

static uint32_t on_write(void *data, const ks_write_event *event) {
  (void)data;
  (void)event;
  atomic_fetch_add(&writes, 1);
  return KS_OK;
}

static uint32_t info(void *data, const ks_ctx *ctx, void *sink, void (*line)(void *sink, ks_str name, ks_str value)) {
  (void)data;
  (void)ctx;
  char number[32];
  snprintf(number, sizeof number, "%llu", (unsigned long long)atomic_load(&writes));
  line(sink, str("hello_c_writes"), str(number));
  snprintf(number, sizeof number, "%llu", (unsigned long long)atomic_load(&ticks));
  line(sink, str("hello_c_ticks"), str(number));
  return KS_OK;
}

static uint32_t tick(void *data) {
  (void)data;
  atomic_fetch_add(&ticks, 1);
  return 1; /* go on */
}

/* start and stop are futures; one without a poll function is ready at once. */
static ks_future start(void *data) {
  (void)data;
  host.api->every_us(host.data, 100000, tick, NULL);
  host.api->log(host.data, KS_LOG_INFO, str("hello_c"), str("started"));
  ks_future ready = {NULL, NULL, NULL};
  return ready;
}

static const ks_instance_api instance_api = {.size = sizeof(ks_instance_api), .start = start};

static uint32_t command(ks_registrar reg, const char *name, int32_t arity, uint64_t flags, int32_t key,
                        uint32_t (*call)(void *, const ks_ctx *, const ks_str *, size_t)) {
  ks_command_spec spec = {.size = sizeof spec, .arity = arity, .flags = flags};
  spec.first_key = spec.last_key = spec.key_step = key;
  spec.name = str(name);
  spec.since = str("1.0.0");
  spec.group = str("module");
  spec.summary = str("An example in C.");
  spec.call = call;
  return reg.api->command(reg.data, &spec);
}

static uint32_t check_config(const ks_config_text *config, ks_config_error *error) {
  /* This plugin has nothing to configure: an empty subtree or () is right. */
  if (config->text.len == 0 || (config->text.len == 2 && memcmp(config->text.ptr, "()", 2) == 0)) {
    return KS_OK;
  }
  static const char wrong[] = "this plugin has no settings, () was expected";
  ks_buf message = {(const uint8_t *)wrong, sizeof wrong - 1, NULL, NULL};
  *error = (ks_config_error){config->line, config->column, config->line, config->column, message};
  return KS_ERR;
}

static uint32_t create(ks_host given, ks_registrar reg, const ks_config_text *config, ks_instance *out,
                       ks_config_error *error) {
  if (check_config(config, error) != KS_OK) {
    return KS_ERR;
  }
  host = given;
  ks_info_spec section = {.size = sizeof section, .section = str("hello_c"), .render = info};
  if (command(reg, "HELLOC.ECHO", 2, KS_CMD_READONLY | KS_CMD_FAST, 0, echo) != KS_OK ||
      command(reg, "HELLOC.SETX", 3, KS_CMD_WRITE | KS_CMD_DENYOOM | KS_CMD_FAST, 1, setx) != KS_OK ||
      reg.api->info(reg.data, &section) != KS_OK || reg.api->on_write(reg.data, on_write, NULL) != KS_OK) {
    reg.api->last_error(reg.data, &error->message);
    return KS_ERR;
  }
  out->data = &host;
  out->api = &instance_api;
  return KS_OK;
}

static uint32_t describe_config(ks_buf *out) {
  static const char text[] = "()\n";
  *out = (ks_buf){(const uint8_t *)text, sizeof text - 1, NULL, NULL};
  return KS_OK;
}

/* The one thing the library exports. */
__attribute__((visibility("default"))) ks_plugin_decl KEYSTEAD_PLUGIN_hello_c = {
    .magic = KS_MAGIC,
    .size = sizeof(ks_plugin_decl),
    .abi_major = KS_ABI_MAJOR,
    .abi_minor = KS_ABI_MINOR,
    .min_host_minor = 0,
    .flags = 0,
    .name = "hello_c",
    .version = "1.0.0",
    .rustc = "cc",
    .create = create,
    .check_config = check_config,
    .describe_config = describe_config,
};
