//! Plugins in C, built with `cc` against the checked-in header: whole ones, and ones with something wrong.

use keystead_harness::Keystead;
use std::path::{Path, PathBuf};
use std::process::Command;
use tempfile::TempDir;

/// The root of the repository.
pub fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

/// A folder with libraries.
pub struct Plugins {
    dir: TempDir,
}

impl Plugins {
    /// An empty folder.
    pub fn new() -> Plugins {
        Plugins { dir: tempfile::tempdir().unwrap() }
    }

    /// The folder.
    pub fn dir(&self) -> &Path {
        self.dir.path()
    }

    /// Where the library of a plugin lies.
    pub fn lib(&self, name: &str) -> PathBuf {
        self.dir().join(format!("libkeystead_{name}.so"))
    }

    /// Builds a C source into the library of a plugin.
    pub fn build(&self, name: &str, source: &Path) -> &Plugins {
        let built = Command::new("cc")
            .args(["-std=c11", "-Wall", "-Wextra", "-Werror", "-Wno-override-init", "-fPIC", "-shared", "-I"])
            .arg(root().join("core/abi/include"))
            .arg(source)
            .arg("-o")
            .arg(self.lib(name))
            .output()
            .expect("the boundary's tests need a C compiler (cc)");
        assert!(built.status.success(), "{}", String::from_utf8_lossy(&built.stderr));
        self
    }

    /// Builds a small plugin: `fields` go into its declaration, `body` into its `create`.
    pub fn small(&self, name: &str, fields: &str, body: &str) -> &Plugins {
        self.with_functions(name, fields, "", body)
    }

    /// The same with functions of its own.
    pub fn with_functions(&self, name: &str, fields: &str, functions: &str, body: &str) -> &Plugins {
        let source = self.dir().join(format!("{name}.c"));
        let text = SMALL.replace("FUNCTIONS", functions).replace("FIELDS", fields).replace("BODY", body);
        let text = text.replace("NAME", name);
        std::fs::write(&source, text).unwrap();
        self.build(name, &source)
    }

    /// An instance that lists plugins of this folder, not waited for.
    pub fn launch(&self, names: &[&str]) -> Keystead {
        let builder = Keystead::builder().plugin_dir(self.dir());
        names.iter().fold(builder, |builder, name| builder.plugin(name, "()")).launch()
    }
}

const SMALL: &str = r#"
#include "keystead.h"
#include <string.h>

static const ks_instance_api instance_api = {.size = sizeof(ks_instance_api)};

static inline ks_str str(const char *text) {
  ks_str s = {(const uint8_t *)text, strlen(text)};
  return s;
}

static inline ks_future answer(void *data, ks_str message) {
  (void)data;
  (void)message;
  return (ks_future){NULL, NULL, NULL};
}

static inline uint32_t failing_hook(void *data, const ks_write_event *event) {
  (void)data;
  (void)event;
  return KS_PANICKED;
}

static inline uint32_t provide(ks_registrar reg, const char *service) {
  ks_service_spec spec = {.size = sizeof spec, .major = 1, .name = str(service), .call = answer};
  return reg.api->provide(reg.data, &spec);
}

static inline uint32_t need(ks_registrar reg, const char *service) {
  ks_need_spec spec = {.size = sizeof spec, .major = 1, .name = str(service)};
  return reg.api->need(reg.data, &spec);
}

static inline uint32_t ping(void *data, const ks_ctx *ctx, const ks_str *argv, size_t argc) {
  (void)data;
  (void)argv;
  (void)argc;
  ctx->api->reply_int(ctx->data, 7);
  return KS_CALL_NONE;
}

static inline uint32_t command(ks_registrar reg, const char *name) {
  ks_command_spec spec = {.size = sizeof spec, .arity = 1, .flags = KS_CMD_READONLY, .name = str(name), .call = ping};
  return reg.api->command(reg.data, &spec);
}

FUNCTIONS
static uint32_t create(ks_host host, ks_registrar reg, const ks_config_text *config, ks_instance *out,
                       ks_config_error *error) {
  (void)host;
  (void)reg;
  (void)config;
  BODY
  if (0) {
  refused:
    reg.api->last_error(reg.data, &error->message);
    return KS_ERR;
  }
  if (error == NULL) goto refused;
  out->data = out;
  out->api = &instance_api;
  return KS_OK;
}

__attribute__((visibility("default"))) ks_plugin_decl KEYSTEAD_PLUGIN_NAME = {
    .magic = KS_MAGIC,
    .size = sizeof(ks_plugin_decl),
    .abi_major = KS_ABI_MAJOR,
    .abi_minor = KS_ABI_MINOR,
    .name = "NAME",
    .version = "1",
    .create = create,
    FIELDS
};
"#;

/// Commands in C that do what they shouldn't.
pub const STRAY: &str = r#"
static ks_str word(const char *text) { return str(text); }

/* GET in database 99. */
static uint32_t reach(void *data, const ks_ctx *ctx, const ks_str *argv, size_t argc) {
  (void)data; (void)argc;
  ks_str get[2] = {word("GET"), argv[0]};
  ks_buf out = {0};
  uint32_t status = ctx->api->call(ctx->data, 99, get, 2, &out);
  ctx->api->reply_int(ctx->data, status);
  if (out.drop) out.drop(out.owner);
  return KS_CALL_NONE;
}

/* Changes database 3 and tells replicas of the session's. */
static uint32_t stray(void *data, const ks_ctx *ctx, const ks_str *argv, size_t argc) {
  (void)data; (void)argv; (void)argc;
  ks_str set[3] = {word("SET"), word("k"), word("v")};
  ctx->api->set_string(ctx->data, 3, set[1], set[2]);
  ctx->api->propagate(ctx->data, set, 3);
  ctx->api->reply_simple(ctx->data, word("OK"));
  return KS_CALL_LISTED;
}

/* A reply of lines, and one without an end. */
static uint32_t lines(void *data, const ks_ctx *ctx, const ks_str *argv, size_t argc) {
  (void)data; (void)argv; (void)argc;
  ctx->api->reply_simple(ctx->data, word("a\r\n+b"));
  return KS_CALL_NONE;
}
static uint32_t endless(void *data, const ks_ctx *ctx, const ks_str *argv, size_t argc) {
  (void)data; (void)argv; (void)argc;
  ctx->api->reply_array(ctx->data, SIZE_MAX);
  return KS_CALL_NONE;
}

static size_t no_idea(void *data, const ks_str *argv, size_t argc, uint32_t *out, size_t max) {
  (void)data; (void)argv; (void)argc; (void)out; (void)max;
  return SIZE_MAX;
}

static uint32_t add(ks_registrar reg, const char *name, uint32_t (*call)(void *, const ks_ctx *, const ks_str *, size_t), int keys) {
  ks_command_spec spec = {.size = sizeof spec, .arity = -1, .flags = KS_CMD_WRITE, .name = str(name), .call = call};
  if (keys) { spec.get_keys = no_idea; spec.flags |= KS_CMD_MOVABLE_KEYS; }
  return reg.api->command(reg.data, &spec);
}
"#;

/// Functions in C that declare one thing each.
pub const DECLARING: &str = r#"
static uint32_t get_param(void *data, ks_buf *out) { (void)data; (void)out; return KS_OK; }
static uint32_t save(void *data, ks_buf *out) { (void)data; (void)out; return KS_OK; }
static uint32_t load(void *data, ks_str records, ks_buf *error) { (void)data; (void)records; (void)error; return KS_OK; }
static inline uint32_t param(ks_registrar reg, const char *name) {
  ks_param_spec spec = {.size = sizeof spec, .name = str(name), .get = get_param};
  return reg.api->param(reg.data, &spec);
}
static inline uint32_t section(ks_registrar reg, uint32_t opcode) {
  ks_section_spec spec = {.size = sizeof spec, .opcode = opcode, .save = save, .load = load};
  return reg.api->section(reg.data, &spec);
}
static inline uint32_t replace(ks_registrar reg, const char *name) {
  ks_command_spec spec = {.size = sizeof spec, .arity = 2, .flags = KS_CMD_READONLY | KS_CMD_REPLACES, .name = str(name), .call = ping};
  return reg.api->command(reg.data, &spec);
}
"#;
