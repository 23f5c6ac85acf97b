//! What CONFIG REWRITE keeps: what differs from file and command line, and what a plugin had that isn't there any more. And
//! what `keystead check` says of it.
#![allow(clippy::unwrap_used)]

#[path = "boundary/fixtures.rs"]
#[allow(dead_code)]
mod fixtures;

use fixtures::Plugins;
use keystead_harness::{Client, DEADLINE, Keystead, keystead_bin, wait_until};
use std::process::Command;

/// The overlay's text.
fn overlay(node: &Keystead) -> String {
    std::fs::read_to_string(node.dir().join("keystead.overlay.ron")).unwrap()
}

/// A parameter's value.
fn value(client: &mut Client, name: &str) -> String {
    client.cmd(&format!("CONFIG GET {name}")).texts().into_iter().nth(1).unwrap_or_else(|| panic!("no {name}"))
}

/// Kept though it is what the file says, a value would hide what is written there later.
#[test]
fn what_is_as_in_the_file_is_not_kept() {
    let builder = Keystead::builder().section("limits: (maxclients: 100)");
    let mut node = builder.plugin("replication", "(priority: 7)").plugin("persistence-rdb", "()").start();
    let mut client = node.client();
    client.ok("CONFIG SET maxclients 50 timeout 10 replica-priority 8 rdb-version 10");
    client.ok("CONFIG REWRITE");
    let kept = overlay(&node);
    assert!(["maxclients", "timeout", "replica-priority"].iter().all(|name| kept.contains(name)), "{kept}");
    node.process.kill();
    node.restart();
    let mut client = node.client();
    client.ok("CONFIG SET maxclients 100 replica-priority 7");
    client.ok("CONFIG REWRITE");
    let kept = overlay(&node);
    assert!(!kept.contains("maxclients") && !kept.contains("replica-priority"), "{kept}");
    assert!(kept.contains("\"timeout\": \"10\""), "{kept}");
    assert!(kept.contains("rdb-version"), "that it was chosen counts, whatever it is: {kept}");
    node.process.kill();
    let file = node.dir().join("keystead.ron");
    let text = std::fs::read_to_string(&file).unwrap();
    std::fs::write(&file, text.replace("maxclients: 100", "maxclients: 90")).unwrap();
    node.restart();
    assert_eq!(value(&mut node.client(), "maxclients"), "90");
}

/// Two parameters with one value, one of them in the place of a core's.
const PARAMS: &str = r#"
static char level[64] = "none";
static uint32_t get_level(void *data, ks_buf *out) {
  (void)data;
  *out = (ks_buf){.ptr = (const uint8_t *)level, .len = strlen(level)};
  return KS_OK;
}
static uint32_t set_level(void *data, ks_str value, ks_buf *error) {
  (void)data; (void)error;
  if (value.len >= sizeof level) return KS_ERR;
  memcpy(level, value.ptr, value.len);
  level[value.len] = 0;
  return KS_OK;
}
static uint32_t param(ks_registrar reg, const char *name) {
  ks_param_spec spec = {.size = sizeof spec, .name = str(name), .get = get_level, .set = set_level};
  return reg.api->param(reg.data, &spec);
}
"#;

/// What a plugin calls a secret is kept, as it must be, and not told.
#[test]
fn a_secret_that_was_kept_is_in_no_log() {
    let plugins = Plugins::new();
    let functions = PARAMS.replace(".size = sizeof spec,", ".size = sizeof spec, .flags = KS_PARAM_SECRET,");
    plugins.with_functions("keeper", "", &functions, "if (param(reg, \"keeper-key\") != KS_OK) goto refused;");
    let mut node = Keystead::builder().plugin_dir(plugins.dir()).plugin("keeper", "()").start();
    node.client().ok("CONFIG SET keeper-key sesame");
    node.client().ok("CONFIG REWRITE");
    assert!(overlay(&node).contains("sesame"));
    node.process.kill();
    node.restart();
    assert_eq!(value(&mut node.client(), "keeper-key"), "sesame");
    let log = node.process.log();
    assert!(log.contains("keeper-key is '(hidden)' by") && !log.contains("sesame"), "{log}");
}

/// Its parameters are gone with it, or the core's are in their place: neither says what was set last.
#[test]
fn what_a_failed_plugin_had_stays_as_it_was_kept() {
    let plugins = Plugins::new();
    let body = "if (param(reg, \"frail-level\") != KS_OK || param(reg, \"save\") != KS_OK) goto refused;\n  \
                reg.api->on_write(reg.data, failing_hook, NULL);";
    plugins.with_functions("frail", "", PARAMS, body);
    let mut node = Keystead::builder().plugin_dir(plugins.dir()).plugin("frail", "()").start();
    let mut client = node.client();
    client.command(&["CONFIG", "SET", "save", "100 1"]);
    client.command(&["CONFIG", "SET", "frail-level", "100 1"]);
    client.ok("CONFIG REWRITE");
    let both = |kept: &str| kept.contains("\"frail-level\": \"100 1\"") && kept.contains("\"save\": \"100 1\"");
    assert!(both(&overlay(&node)), "{}", overlay(&node));
    client.ok("SET a 1");
    node.process.wait_for_log("plugin frail failed and is stopped", DEADLINE);
    wait_until("its parameter is gone", DEADLINE, || client.cmd("CONFIG GET frail-level").texts().is_empty());
    client.ok("CONFIG SET timeout 10");
    client.ok("CONFIG REWRITE");
    let kept = overlay(&node);
    assert!(kept.contains("timeout") && both(&kept), "{kept}");
}

/// A crash each would leave one, with users' passwords in it. What only looks like one stays, and a check removes nothing.
#[test]
fn what_a_kill_inside_of_a_write_left_goes_at_the_next_start() {
    // No process has such an id.
    let (left, stays) = (["keystead.overlay.tmp-4194305", "users.tmp-4194305"], ["users.tmp-old", "other.tmp-4194305"]);
    let mut builder = Keystead::builder().file("users.acl", b"").server("aclfile: \"users.acl\"");
    for name in left.into_iter().chain(stays) {
        builder = builder.file(name, b"user a on #");
    }
    let mut node = builder.start();
    let there = |names: [&str; 2]| names.map(|name| node.dir().join(name).exists());
    assert_eq!((there(left), there(stays)), ([false; 2], [true; 2]), "{}", node.process.log());
    node.process.kill();
    left.iter().for_each(|name| std::fs::write(node.dir().join(name), "user a on #").unwrap());
    let checked = Command::new(keystead_bin()).arg("check").arg(node.dir().join("keystead.ron")).output().unwrap();
    assert!(checked.status.success() && left.iter().all(|name| node.dir().join(name).exists()));
    node.restart();
    node.client().ok("CONFIG SET timeout 10");
    node.client().ok("CONFIG REWRITE");
    node.client().ok("ACL SAVE");
    let names = std::fs::read_dir(node.dir()).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap());
    let mut names: Vec<_> = names.filter(|name| name.contains(".tmp-")).collect();
    names.sort();
    assert_eq!(names, ["other.tmp-4194305", "users.tmp-old"]);
}

#[test]
fn check_says_what_a_start_passes_over() {
    let dir = tempfile::tempdir().unwrap();
    let (file, overlay) = (dir.path().join("node.ron"), dir.path().join("node.overlay.ron"));
    let port = keystead_harness::free_port();
    let plugins = "(name: \"replication\"), (name: \"persistence-aof\", config: (enabled: false))";
    let text = format!("(server: (port: {port}, dir: {:?}), plugins: [{plugins}])", dir.path());
    std::fs::write(&file, text).unwrap();
    let check = |params: &str| {
        std::fs::write(&overlay, format!("(params: {{{params}}})")).unwrap();
        let out = Command::new(keystead_bin()).arg("check").arg(&file).output().unwrap();
        (out.status.success(), String::from_utf8_lossy(&[out.stdout, out.stderr].concat()).into_owned())
    };
    let (ok, told) = check("\"maxclients\": \"none\", \"appendonly\": \"yes\", \"no-such-parameter\": \"1\"");
    assert!(ok && told.contains("'maxclients' is passed over: argument couldn't be parsed into an integer"), "{told}");
    assert!(told.contains("'no-such-parameter' is passed over: no such parameter"), "{told}");
    let busy = std::net::TcpListener::bind(("127.0.0.1", 0)).unwrap();
    let (ok, told) = check(&format!("\"appendonly\": \"yes\", \"port\": \"{}\"", busy.local_addr().unwrap().port()));
    assert!(ok && !told.contains("warning"), "it binds nothing: {told}");
    let (ok, told) = check("\"dir\": \"/no/such/folder\"");
    assert!(!ok && told.contains("can't work in the folder /no/such/folder that 'dir' names"), "{told}");
    assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 2, "nothing is written");
}

/// A renamed file has another overlay: a password that CONFIG REWRITE kept would be gone without a word.
#[test]
fn an_overlay_of_another_file_is_named() {
    let mut node = Keystead::builder().start();
    node.client().ok("CONFIG SET requirepass secret");
    let mut client = node.client();
    client.ok("AUTH secret");
    client.ok("CONFIG REWRITE");
    node.process.kill();
    let (file, other) = (node.dir().join("keystead.ron"), node.dir().join("renamed.ron"));
    let told = |file: &std::path::Path| {
        let output = Command::new(keystead_bin()).arg("check").arg(file).current_dir(node.dir()).output().unwrap();
        String::from_utf8_lossy(&output.stderr).into_owned()
    };
    assert!(!told(&file).contains("passed over"), "{}", told(&file));
    std::fs::copy(&file, &other).unwrap();
    assert!(!told(&other).contains("passed over"), "it may be another instance's: {}", told(&other));
    std::fs::remove_file(&file).unwrap();
    let why = "keystead.overlay.ron in ";
    assert!(told(&other).contains(why) && told(&other).contains("called renamed.overlay.ron"), "{}", told(&other));
}
