//! A plugin that never comes back, with a real process: whoever insists ends the server all the same.
#![allow(clippy::unwrap_used)]

#[path = "boundary/fixtures.rs"]
#[allow(dead_code)]
mod fixtures;

use fixtures::Plugins;
use keystead_harness::{DEADLINE, Keystead, wait_until};

/// An instance that stops its thread where its table says.
fn hanging(table: &str) -> (Plugins, Keystead) {
    let functions = format!(
        "#include <threads.h>\n\
         static ks_host server;\n\
         static inline ks_future hang(void) {{\n\
           server.api->log(server.data, KS_LOG_WARN, str(\"hanging\"), str(\"it hangs\"));\n\
           for (;;) thrd_sleep(&(struct timespec){{.tv_sec = 1000}}, NULL);\n\
           return (ks_future){{NULL, NULL, NULL}};\n\
         }}\n\
         static inline ks_future start(void *data) {{ (void)data; return hang(); }}\n\
         static inline ks_future before_end(void *data, uint32_t flags) {{ (void)data; (void)flags; return hang(); }}\n\
         static const ks_instance_api own_api = {{.size = sizeof(ks_instance_api), {table}}};\n"
    );
    let plugins = Plugins::new();
    plugins.with_functions(
        "hanging",
        "",
        &functions,
        "server = host; if (out) { out->data = out; out->api = &own_api; return KS_OK; }",
    );
    let node = plugins.launch(&["hanging"]);
    (plugins, node)
}

#[test]
fn who_insists_ends_a_server_whose_plugin_never_comes_back() {
    for table in [".start = start", ".before_end = before_end"] {
        let (_plugins, mut node) = hanging(table);
        let starts = table.starts_with(".start");
        let sign = if starts { "it hangs" } else { "Ready to accept connections" };
        wait_until("it came so far", DEADLINE, || node.process.log().contains(sign));
        node.process.interrupt();
        if !starts {
            wait_until("the plugin is asked", DEADLINE, || node.process.log().contains("it hangs"));
        }
        // One that nobody hears says that somebody waits; the next one insists.
        wait_until("it ends", DEADLINE, || {
            node.process.interrupt();
            !node.process.is_alive()
        });
        assert_eq!(node.process.wait_exit(DEADLINE).code(), Some(1), "{table}: {}", node.process.log());
    }
}
