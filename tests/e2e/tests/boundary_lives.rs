//! What is left when a plugin fails, with a real process: nobody waits for its word, and nobody is in its code when its
//! instance goes.
#![allow(clippy::unwrap_used)]

#[path = "boundary/fixtures.rs"]
#[allow(dead_code)]
mod fixtures;

use fixtures::Plugins;
use keystead_harness::{DEADLINE, Keystead};

/// An instance whose end is in the log, and a hook that fails with the first write.
const MORTAL: &str = r#"
#include <stdatomic.h>
#include <stdlib.h>
#include <threads.h>

static ks_host server;
static atomic_int dropped;

static inline void say(const char *text) { server.api->log(server.data, KS_LOG_WARN, str("mortal"), str(text)); }
static void drop_instance(void *data) {
  (void)data;
  dropped = 1;
  say("the instance is gone");
}
static const ks_instance_api mortal_api = {.size = sizeof(ks_instance_api), .drop = drop_instance};

/* A reply held until this position is confirmed, which never happens. */
static inline uint32_t holds_and_fails(void *data, const ks_write_event *event) {
  (void)data; (void)event;
  server.api->confirm(server.data, 1);
  return KS_PANICKED;
}

static inline const ks_waker *keep(const ks_waker *waker) { return waker; }
static inline void ignore(const ks_waker *waker) { (void)waker; }
static inline void woken(const ks_waker *waker) {
  (void)waker;
  if (dropped) abort();
}

static inline void nothing(void *data) { (void)data; }
static inline void work(void *data) {
  (void)data;
  for (int i = 0; i < 200; i++) {
    if (dropped) abort();
    thrd_sleep(&(struct timespec){.tv_nsec = 10000000}, NULL);
  }
  say("the work is done");
}
"#;

fn mortal(plugins: &Plugins, more: &str, body: &str) -> Keystead {
    let body =
        format!("server = host;\n  {body}\n  if (out) {{ out->data = out; out->api = &mortal_api; return KS_OK; }}");
    plugins.with_functions("mortal", "", &format!("{MORTAL}{more}"), &body);
    // Somebody reads the journal, so that there are writes to be done before replies leave.
    Keystead::builder().plugin_dir(plugins.dir()).plugin("mortal", "()").plugin("persistence-aof", "()").start()
}

/// Whoever waits for a plugin that failed is closed, since it can't be told what it waits for; all others are served.
#[test]
fn replies_that_a_failed_plugin_held_hold_nobody() {
    let plugins = Plugins::new();
    let mut node = mortal(&plugins, "", "reg.api->on_write(reg.data, holds_and_fails, NULL);");
    let mut waits = node.client();
    waits.send(&["SET", "a", "1"]).unwrap();
    assert!(waits.is_closed_within(DEADLINE), "{}", node.process.log());
    node.process.wait_for_log("clients that waited for its word are closed", DEADLINE);
    let mut client = node.client();
    client.ok("SET a 2");
    assert_eq!(client.cmd("GET a"), "2");
}

#[test]
fn a_failed_plugin_is_not_called_before_replies() {
    let plugins = Plugins::new();
    let more = "static const ks_waker_api waker_api = {.size = sizeof(ks_waker_api), .clone = keep, .wake = woken, \
                .wake_by_ref = woken, .drop = ignore};\nstatic const ks_waker waker = {&waker_api};\n";
    let body = "host.api->before_replies(host.data, &waker); reg.api->on_write(reg.data, failing_hook, NULL);";
    let mut node = mortal(&plugins, more, body);
    let mut client = node.client();
    client.ok("SET a 1");
    node.process.wait_for_log("the instance is gone", DEADLINE);
    client.ok("SET a 2");
    assert_eq!(client.cmd("GET a"), "2");
}

#[test]
fn work_that_blocks_is_never_in_an_instance_that_is_gone() {
    let plugins = Plugins::new();
    let body = "ks_future working = host.api->blocking(host.data, work, nothing, NULL);\n  \
                working.drop(working.data); reg.api->on_write(reg.data, failing_hook, NULL);";
    let mut node = mortal(&plugins, "", body);
    node.client().ok("SET a 1");
    node.process.wait_for_log("its instance is kept", DEADLINE);
    node.process.wait_for_log("the work is done", DEADLINE);
    assert!(!node.process.log().contains("the instance is gone"), "{}", node.process.log());
    assert_eq!(node.client().cmd("GET a"), "1");
}
