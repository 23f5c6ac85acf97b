//! The plugin boundary with real libraries and real processes: plugins in Rust and C load and work; whatever doesn't fit
//! is refused in words; a plugin that fails doesn't take the server with it.
#![allow(clippy::unwrap_used)]

#[path = "boundary/fixtures.rs"]
mod fixtures;

use fixtures::{DECLARING, Plugins, STRAY, root};
use keystead_harness::{Client, DEADLINE, Keystead, Reply, keystead_bin, plugin_lib, wait_until};
use std::path::Path;
use std::process::Command;

/// A start that must fail, with all of `words` in its log.
#[track_caller]
fn refused(mut node: Keystead, words: &[&str]) {
    let status = node.process.wait_exit(DEADLINE);
    let log = node.process.log();
    assert!(!status.success(), "started:\n{log}");
    for word in words {
        assert!(log.contains(word), "no {word:?} in:\n{log}");
    }
}

fn info(client: &mut Client, section: &str, field: &str) -> i64 {
    let fields = client.info(section);
    fields.get(field).unwrap_or_else(|| panic!("no {field} in {fields:?}")).parse().unwrap()
}

/// The text of an error reply.
#[track_caller]
fn error(reply: Reply) -> String {
    assert!(reply.is_error(), "{reply:?}");
    format!("{reply:?}").trim_start_matches("(error) ").to_owned()
}

/// Runs the binary with arguments; whether it succeeded, and everything it said.
fn keystead(args: &[&str]) -> (bool, String) {
    let out = Command::new(keystead_bin()).args(args).output().unwrap();
    let said = [out.stdout, out.stderr].concat();
    (out.status.success(), String::from_utf8_lossy(&said).into_owned())
}

fn hello() -> Keystead {
    Keystead::builder().plugin("hello", "(greeting: \"Hi\", tick_ms: 10)").start()
}

#[test]
fn the_rust_example_works() {
    let node = hello();
    let mut c = node.client();
    assert_eq!(c.cmd("HELLO.GREET you me"), "Hi, you and me!");
    let docs = format!("{:?}", c.cmd("COMMAND DOCS hello.greet"));
    assert!(docs.contains(r#""arguments", [["name", "name", "type", "string""#), "{docs}");
    assert_eq!(c.cmd("HELLO.COUNT n"), 1);
    assert_eq!(c.cmd("HELLO.COUNT n"), 2);
    assert_eq!(c.cmd("GET n"), "2");
    c.ok("LPUSH l x");
    assert!(error(c.cmd("HELLO.COUNT l")).starts_with("WRONGTYPE"));
    c.ok("SET t abc");
    assert!(error(c.cmd("HELLO.COUNT t")).starts_with("ERR invalid digit"));
    assert_eq!(c.cmd("HELLO.LATER 5 there"), "there");
    assert_eq!(c.cmd("HELLO.ASK you"), "Hi, you!");
    assert_eq!(info(&mut c, "hello", "hello_greeted"), 1);
    assert_eq!(info(&mut c, "hello", "hello_writes"), 4);
    wait_until("the timer ticks", DEADLINE, || info(&mut c, "hello", "hello_ticks") > 2);
    assert!(format!("{:?}", c.cmd("CONFIG GET hello-greeting")).contains("Hi"));
    assert!(c.cmd("CONFIG SET hello-greeting x").is_error());
    assert!(error(c.cmd("HELLO.GREET")).contains("wrong number of arguments"));
    let listed = format!("{:?}", c.cmd("PLUGIN LIST"));
    assert!(listed.contains("hello") && listed.contains("running"), "{listed}");
    let told = format!("{:?}", c.cmd("PLUGIN INFO hello"));
    assert!(told.contains("hello.greet") && told.contains("libkeystead_hello.so"), "{told}");
    assert!(format!("{:?}", c.cmd("MODULE LIST")).contains("hello"));
}

#[test]
fn an_asynchronous_command_waits_without_holding_others_and_stays_out_of_multi() {
    let node = hello();
    let (mut slow, mut fast) = (node.client(), node.client());
    slow.send(&["HELLO.LATER", "300", "late"]).unwrap();
    assert_eq!(fast.cmd("PING"), "PONG");
    assert_eq!(slow.read().unwrap(), "late");
    fast.ok("MULTI");
    fast.ok("HELLO.LATER 1 x");
    fast.ok("HELLO.COUNT m");
    let replies = format!("{:?}", fast.cmd("EXEC"));
    assert!(replies.contains("not allowed inside a transaction") && replies.contains('1'), "{replies}");
    // A client that goes while its command waits takes its future with it.
    drop(slow);
    let mut gone = node.client();
    gone.send(&["HELLO.LATER", "60000", "never"]).unwrap();
    wait_until("the command waits", DEADLINE, || format!("{:?}", fast.cmd("CLIENT LIST")).contains("hello.later"));
    drop(gone);
    wait_until("it is gone", DEADLINE, || !format!("{:?}", fast.cmd("CLIENT LIST")).contains("hello.later"));
}

/// A plugin's event comes behind those of what it did, under the class for plugins, and only if that is chosen.
#[test]
fn a_plugin_tells_keyspace_events() {
    let node = hello();
    let (mut c, mut listener) = (node.client(), node.client());
    listener.cmd("PSUBSCRIBE __key*__:*");
    c.ok("CONFIG SET notify-keyspace-events E$");
    c.cmd("HELLO.COUNT quiet");
    c.ok("CONFIG SET notify-keyspace-events KEd$");
    c.cmd("HELLO.COUNT n");
    let mut heard = || listener.read().unwrap().texts()[2..].join(" ");
    assert_eq!(heard(), "__keyevent@0__:set quiet");
    assert_eq!(heard(), "__keyspace@0__:n set");
    assert_eq!(heard(), "__keyevent@0__:set n");
    assert_eq!(heard(), "__keyspace@0__:n hello.counted");
    assert_eq!(heard(), "__keyevent@0__:hello.counted n");
}

#[test]
fn a_panic_in_a_command_is_an_error_and_the_server_lives() {
    let mut node = hello();
    let mut c = node.client();
    let told = error(c.cmd("HELLO.PANIC"));
    assert!(told.contains("panicked: asked to"), "{told}");
    assert_eq!(c.cmd("PING"), "PONG");
    assert_eq!(c.cmd("HELLO.GREET x"), "Hi, x!");
    c.ok("MULTI");
    c.ok("SET a 1");
    c.ok("HELLO.PANIC");
    c.ok("SET b 2");
    let replies = format!("{:?}", c.cmd("EXEC"));
    assert!(replies.contains("panicked"), "{replies}");
    assert_eq!(c.cmd("GET b"), "2");
    node.process.wait_for_log("panicked", DEADLINE);
}

#[test]
fn a_panic_in_an_asynchronous_command_is_an_error_and_the_plugin_lives() {
    let mut node = hello();
    let mut c = node.client();
    assert_eq!(error(c.cmd("HELLO.PANICLATER")), "ERR the plugin panicked: asked to, later");
    assert_eq!(c.cmd("HELLO.GREET x"), "Hi, x!");
    assert_eq!(c.cmd("HELLO.LATER 1 x"), "x");
    node.process.wait_for_log("the command HELLO.PANICLATER panicked", DEADLINE);
    let listed = format!("{:?}", c.cmd("PLUGIN LIST"));
    assert!(listed.contains("running") && !listed.contains("faulted"), "{listed}");
}

#[test]
fn an_effect_reaches_replicas_in_the_database_it_is_for() {
    let primary = Keystead::builder().plugin("hello", "()").plugin("replication", "()").start();
    let config = format!("(replicaof: (\"127.0.0.1\", {}))", primary.port());
    let replica = Keystead::builder().plugin("hello", "()").plugin("replication", &config).start();
    let (mut p, mut r) = (primary.client(), replica.client());
    wait_until("the replica is in step", DEADLINE, || r.info("replication")["master_link_status"] == "up");
    p.ok("SET here 0");
    p.ok("HELLO.PUT 3 there 1");
    p.ok("SET last 2");
    assert_eq!(error(p.cmd("HELLO.PUT 16 there 1")), "ERR DB index is out of range");
    p.ok("SET behind 3");
    wait_until("the writes arrive", DEADLINE, || r.cmd("GET behind") == "3");
    assert_eq!(r.cmd("DBSIZE"), 3);
    for client in [&mut p, &mut r] {
        client.ok("SELECT 3");
        assert_eq!(client.cmd("GET there"), "1");
        assert_eq!(client.cmd("DBSIZE"), 1);
    }
}

#[test]
fn a_plugin_s_writes_publish_the_events_of_redis_commands() {
    let node = hello();
    let (mut c, mut watcher) = (node.client(), node.client());
    c.ok("CONFIG SET notify-keyspace-events KA");
    watcher.ok("PSUBSCRIBE __key*__:*");
    c.ok("HELLO.PUT 0 k v");
    let told = watcher.read().unwrap().texts();
    assert_eq!(told[2..], ["__keyspace@0__:k", "set"]);
}

#[test]
fn what_a_plugin_can_t_have_is_an_error_of_its_command() {
    let plugins = Plugins::new();
    let commands = [("REACH", "reach", 0), ("STRAY", "stray", 0), ("LINES", "lines", 0), ("ENDLESS", "endless", 0)];
    let commands = commands.iter().chain(&[("KEYS", "lines", 1)]);
    let body = commands.map(|(name, function, keys)| {
        format!("if (add(reg, \"STRAY.{name}\", {function}, {keys}) != KS_OK) goto refused;\n")
    });
    plugins.with_functions("stray", "", STRAY, &body.collect::<String>());
    let node = Keystead::builder().plugin_dir(plugins.dir()).plugin("stray", "()").start();
    let mut c = node.client();
    assert_eq!(c.cmd("STRAY.REACH"), 1, "KS_ERR");
    let told = error(c.cmd("STRAY.STRAY"));
    assert_eq!(told, "ERR the plugin changed database 3 and has an effect in others only");
    assert_eq!(c.cmd("STRAY.LINES"), "a  +b");
    assert!(error(c.cmd("STRAY.ENDLESS")).contains("promises"));
    assert_eq!(c.cmd("PING"), "PONG");
    let stats = c.info("commandstats");
    assert!(stats["cmdstat_stray.stray"].contains("failed_calls=1"), "{stats:?}");
    assert_eq!(c.info("errorstats")["errorstat_ERR"], "count=2");
    // What nobody knows to be a key may be any: only who may have all of them may run it.
    c.ok("ACL SETUSER some on nopass +@all ~a*");
    c.ok("AUTH some x");
    assert!(c.cmd("STRAY.KEYS a b").is_error());
    assert_eq!(c.cmd("STRAY.KEYS a ab"), "a  +b");
}

#[test]
fn what_a_plugin_declares_must_be_free_and_make_sense() {
    let plugins = Plugins::new();
    let unused = "(void)param; (void)section; (void)replace;";
    let cases = [
        ("param(reg, \"maxmemory\")", "parameter 'maxmemory' exists already"),
        ("param(reg, \"MaxMemory\")", "parameter 'maxmemory' exists already"),
        ("param(reg, \"slave-ignore-maxmemory\")", "exists already"),
        ("param(reg, \"a b\")", "'a b' is no name for a parameter"),
        ("param(reg, \"\")", "'' is no name for a parameter"),
        ("section(reg, 0)", "records of opcode 0 could not be read: sections have 245"),
        ("section(reg, 200)", "records of opcode 200 could not be read"),
        ("command(reg, \"A\\xff\")", "is no name for a command"),
        ("replace(reg, \"GET\")", "'get' exists already (from the core), and can't be replaced"),
    ];
    for (declares, words) in cases {
        let body = format!("{unused}\nif ({declares} != KS_OK) goto refused;");
        plugins.with_functions("wrong", "", DECLARING, &body);
        refused(plugins.launch(&["wrong"]), &["'wrong' could not be created", words]);
    }
    let fine = ["param(reg, \"appendonly\")", "section(reg, 245)", "replace(reg, \"LASTSAVE\")"];
    let fine: String = fine.iter().map(|one| format!("if ({one} != KS_OK) goto refused;\n")).collect();
    plugins.with_functions("fine", "", DECLARING, &format!("{unused}\n{fine}"));
    let mut node = plugins.launch(&["fine"]);
    node.process.wait_for_log("Ready to accept connections", DEADLINE);
}

#[test]
fn the_c_example_works() {
    let plugins = Plugins::new();
    plugins.build("hello_c", &root().join("plugins/examples/hello-c/hello_c.c"));
    let mut node = Keystead::builder().plugin_dir(plugins.dir()).plugin("hello_c", "()").start();
    let mut c = node.client();
    assert_eq!(c.cmd("HELLOC.ECHO there"), "there");
    assert_eq!(c.cmd("HELLOC.SETX k v"), "OK");
    assert_eq!(c.cmd("GET k"), "v");
    assert_eq!(error(c.command(&["HELLOC.SETX", "k", ""])), "ERR the value is empty");
    assert_eq!(info(&mut c, "hello_c", "hello_c_writes"), 1);
    wait_until("the timer ticks", DEADLINE, || info(&mut c, "hello_c", "hello_c_ticks") > 1);
    node.process.wait_for_log("started", DEADLINE);
    node.process.terminate();
    assert!(node.process.wait_exit(DEADLINE).success());
}

#[test]
fn what_is_no_plugin_of_this_server_is_refused_in_words() {
    let plugins = Plugins::new();
    plugins.small("major", ".abi_major = 9,", "");
    refused(plugins.launch(&["major"]), &["libkeystead_major.so", "boundary 9.2", "loads plugins for boundary 1.x"]);
    plugins.small("newer", ".min_host_minor = 99,", "");
    refused(plugins.launch(&["newer"]), &["libkeystead_newer.so", "needs a host of boundary 1.99"]);
    plugins.small("short", ".size = 100,", "");
    refused(plugins.launch(&["short"]), &["libkeystead_short.so", "declaration has 100 bytes"]);
    plugins.small("aborts", ".flags = KS_DECL_PANIC_ABORT,", "");
    refused(plugins.launch(&["aborts"]), &["libkeystead_aborts.so", "panic=abort"]);
    plugins.small("mute", "", "if (out) return KS_ERR;");
    refused(plugins.launch(&["mute"]), &["'mute' could not be created: refused without a reason (status 1: KS_ERR)"]);
    plugins.small("magic", ".magic = 1,", "");
    refused(plugins.launch(&["magic"]), &["libkeystead_magic.so", "no Keystead plugin, or a damaged one"]);
    std::fs::copy(plugins.lib("major"), plugins.lib("renamed")).unwrap();
    plugins.small("other", "", "");
    std::fs::copy(plugins.lib("other"), plugins.lib("renamed")).unwrap();
    refused(plugins.launch(&["renamed"]), &["holds the plugin 'other'", "calls it 'renamed'"]);
}

#[test]
fn a_foreign_library_is_refused_without_running_it() {
    let plugins = Plugins::new();
    let source = plugins.dir().join("foreign.c");
    let marker = plugins.dir().join("ran");
    let text = format!(
        "#include <stdio.h>\n__attribute__((constructor)) static void run(void) {{ fclose(fopen(\"{}\", \"w\")); }}\n",
        marker.display()
    );
    std::fs::write(&source, text).unwrap();
    plugins.build("foreign", &source);
    refused(plugins.launch(&["foreign"]), &["libkeystead_foreign.so", "no Keystead plugin", "KEYSTEAD_PLUGIN_<name>"]);
    assert!(!marker.exists(), "its constructor ran");
    std::fs::write(plugins.lib("text"), "hello").unwrap();
    refused(plugins.launch(&["text"]), &["libkeystead_text.so", "is no ELF file"]);
    refused(plugins.launch(&["absent"]), &["'absent' was not found", "libkeystead_absent.so"]);
}

#[test]
fn services_that_dont_fit_are_refused_by_name() {
    let plugins = Plugins::new();
    plugins.small("lonely", "", "if (need(reg, \"test.missing\") != KS_OK) goto refused;");
    refused(plugins.launch(&["lonely"]), &["'lonely' needs the service test.missing 1.0", "no plugin provides it"]);
    let both = |own: &str, other: &str| {
        format!("if (provide(reg, \"{own}\") != KS_OK || need(reg, \"{other}\") != KS_OK) goto refused;")
    };
    plugins.small("egg", "", &both("test.egg", "test.hen"));
    plugins.small("hen", "", &both("test.hen", "test.egg"));
    refused(plugins.launch(&["egg", "hen"]), &["in a circle", "'egg' needs 'hen' needs 'egg'"]);
    plugins.small("giver", "", "if (provide(reg, \"test.missing\") != KS_OK) goto refused;");
    let mut node = Keystead::builder().plugin_dir(plugins.dir()).plugin("lonely", "()").plugin("giver", "()").start();
    let log = node.process.log();
    let at = |word: &str| log.find(word).unwrap_or_else(|| panic!("no {word:?} in:\n{log}"));
    assert!(at("plugin giver 1 started") < at("plugin lonely 1 started"), "{log}");
    node.process.terminate();
    assert!(node.process.wait_exit(DEADLINE).success());
}

#[test]
fn the_file_says_which_provider_answers() {
    let plugins = Plugins::new();
    plugins.small("polite", "", "if (provide(reg, \"hello.greeting\") != KS_OK) goto refused;");
    let start = |chosen: &str| {
        let section = format!("services: {{\"hello.greeting\": \"{chosen}\"}}");
        Keystead::builder().plugin_dir(plugins.dir()).section(&section).plugin("hello", "()").plugin("polite", "()")
    };
    assert_eq!(start("hello").start().client().cmd("HELLO.ASK you"), "Hello, you!");
    // The other one answers nothing, which is no text.
    let told = error(start("polite").start().client().cmd("HELLO.ASK you"));
    assert!(told.contains("a message makes no sense"), "{told}");
    refused(start("absent").launch(), &["'absent' doesn't provide hello.greeting"]);
}

#[test]
fn a_command_name_that_is_taken_is_refused() {
    let plugins = Plugins::new();
    plugins.small("greedy", "", "if (command(reg, \"GET\") != KS_OK) goto refused;");
    refused(plugins.launch(&["greedy"]), &["'greedy' could not be created", "'get' exists already"]);
}

#[test]
fn a_page_that_can_t_be_read_is_refused() {
    let plugins = Plugins::new();
    let body = r#"{
    ks_command_spec spec = {.size = sizeof spec, .arity = 1, .flags = KS_CMD_READONLY, .name = str("WRITER.WRITE"), .call = ping};
    spec.page = str("key [value");
    if (reg.api->command(reg.data, &spec) != KS_OK) goto refused;
  }"#;
    plugins.small("writer", "", body);
    let why = "the page of command 'WRITER.WRITE': ']' is missing at column 11 of 'key [value'";
    refused(plugins.launch(&["writer"]), &["'writer' could not be created", why]);
}

#[test]
fn a_hook_that_fails_stops_its_plugin_and_not_the_server() {
    let plugins = Plugins::new();
    let body =
        "if (command(reg, \"FRAIL.PING\") != KS_OK) goto refused;\n  reg.api->on_write(reg.data, failing_hook, NULL);";
    plugins.small("frail", "", body);
    let mut node = Keystead::builder().plugin_dir(plugins.dir()).plugin("frail", "()").start();
    let mut c = node.client();
    assert_eq!(c.cmd("FRAIL.PING"), 7);
    c.ok("SET a 1");
    node.process.wait_for_log("plugin frail failed and is stopped", DEADLINE);
    wait_until("its command is gone", DEADLINE, || error(c.cmd("FRAIL.PING")).contains("unknown command"));
    assert_eq!(c.cmd("GET a"), "1");
    c.ok("SET a 2");
    let listed = format!("{:?}", c.cmd("PLUGIN LIST"));
    assert!(listed.contains("faulted"), "{listed}");
}

#[test]
fn a_plugin_that_wants_no_writes_without_it_says_why_they_are_refused() {
    let plugins = Plugins::new();
    let body = "reg.api->on_fault(reg.data, KS_FAULT_STOP_WRITES);\n  reg.api->on_write(reg.data, failing_hook, NULL);";
    plugins.small("strict", "", body);
    let node = Keystead::builder().plugin_dir(plugins.dir()).plugin("strict", "()").start();
    let mut c = node.client();
    c.ok("SET a 1");
    assert_eq!(error(c.cmd("SET a 2")), "MISCONF The plugin strict failed and wants no writes without it.");
    assert_eq!(c.cmd("GET a"), "1");
    assert_eq!(c.info("persistence")["rdb_last_bgsave_status"], "ok");
}

/// It never says whether the server may end: who wants the end now, and nothing saved, isn't held by it.
#[test]
fn a_plugin_that_never_answers_doesn_t_hold_an_end_at_once() {
    let plugins = Plugins::new();
    let functions = r#"
static uint32_t never(void *data, const ks_waker *waker, ks_out *out) {
  (void)data; (void)waker; (void)out;
  return KS_PENDING;
}
static ks_future before_end(void *data, uint32_t flags) {
  (void)data; (void)flags;
  return (ks_future){.data = (void *)&instance_api, .poll = never};
}
static const ks_instance_api silent_api = {.size = sizeof(ks_instance_api), .before_end = before_end};
"#;
    plugins.with_functions(
        "silent",
        "",
        functions,
        "if (out) { out->data = out; out->api = &silent_api; return KS_OK; }",
    );
    let mut node = Keystead::builder().plugin_dir(plugins.dir()).plugin("silent", "()").start();
    let told = error(node.client().cmd("SHUTDOWN NOW NOSAVE"));
    assert_eq!(told, "ERR Errors trying to SHUTDOWN. Check logs.");
    assert!(node.process.log().contains("plugin silent: does not answer whether the server may end"));
    node.client().send(&["SHUTDOWN", "NOW", "FORCE", "NOSAVE"]).unwrap();
    assert!(node.process.wait_exit(DEADLINE).success(), "{}", node.process.log());
}

#[test]
fn a_plugin_that_failed_has_no_open_port() {
    let plugins = Plugins::new();
    let port = keystead_harness::free_port();
    let body = format!(
        r#"{{
    ks_endpoint_spec spec = {{.size = sizeof spec, .port = {port}, .name = str("frail"), .run_id = str("")}};
    uint32_t number;
    if (reg.api->endpoint(reg.data, &spec, &number) != KS_OK) goto refused;
    reg.api->on_write(reg.data, failing_hook, NULL);
  }}"#
    );
    plugins.small("frail", "", &body);
    let node = Keystead::builder().plugin_dir(plugins.dir()).plugin("frail", "()").start();
    let mut connected = Client::connect(port);
    assert_eq!(connected.cmd("PING"), "PONG");
    node.client().ok("SET a 1");
    assert!(connected.is_closed_within(DEADLINE));
    wait_until("its port is closed", DEADLINE, || Client::try_connect(port).is_err());
    assert_eq!(node.client().cmd("GET a"), "1");
}

#[test]
fn a_wrong_setting_is_shown_in_its_line() {
    let node = Keystead::builder().plugin("hello", "(greting: \"x\")").launch();
    refused(node, &["keystead.ron:5:", "greting", "did you mean `greeting`?"]);
    let node = Keystead::builder().plugin("hello", "(tick_ms: 0)").launch();
    refused(node, &["tick_ms must be at least 1"]);
}

#[test]
fn check_and_inspect_say_what_would_happen() {
    let lib = plugin_lib("hello");
    let (ok, said) = keystead(&["plugin", "inspect", lib.to_str().unwrap()]);
    assert!(ok, "{said}");
    for word in
        ["hello", "boundary    1.2", "rustc", "loads       yes", "greeting: \"Hello\"", "// The pace of the timer"]
    {
        assert!(said.contains(word), "no {word:?} in:\n{said}");
    }
    let plugins = Plugins::new();
    plugins.small("major", ".abi_major = 9,", "");
    let (ok, said) = keystead(&["plugin", "inspect", plugins.lib("major").to_str().unwrap()]);
    assert!(!ok && said.contains("loads       no") && said.contains("boundary 9.2"), "{said}");
    let (ok, said) = keystead(&["plugin", "inspect", "/bin/sh"]);
    assert!(!ok && said.contains("/bin/sh"), "{said}");
    let file = plugins.dir().join("bad.ron");
    let dirs = lib.parent().map(Path::display).unwrap();
    let text = format!("(plugin_dirs: [\"{dirs}\"], plugins: [\n  (name: \"hello\", config: (tick_ms: \"soon\")),\n])");
    std::fs::write(&file, text).unwrap();
    let (ok, said) = keystead(&["check", file.to_str().unwrap()]);
    assert!(!ok && said.contains("bad.ron:2:"), "{said}");
}

/// Its sections end behind the last address there is.
#[test]
fn a_library_with_a_damaged_table_of_sections_is_refused() {
    const TABLE: usize = 0x28;
    const ENTRY: usize = 64;
    const ADDRESS: usize = 16;
    let plugins = Plugins::new();
    plugins.small("torn", "", "");
    let mut file = std::fs::read(plugins.lib("torn")).unwrap();
    let table = u64::from_le_bytes(file[TABLE..TABLE + 8].try_into().unwrap()) as usize;
    let count = usize::from(u16::from_le_bytes(file[0x3c..0x3e].try_into().unwrap()));
    for section in 1..count {
        let at = table + section * ENTRY + ADDRESS;
        file[at..at + 8].copy_from_slice(&(u64::MAX - 1).to_le_bytes());
    }
    std::fs::write(plugins.lib("torn"), file).unwrap();
    refused(plugins.launch(&["torn"]), &["libkeystead_torn.so", "points outside the file"]);
}

/// Nobody checks what the dynamic linker reads. This one dies in it as one does whose relocations lead nowhere.
#[test]
fn a_library_that_ends_the_process_is_told_by_name() {
    let plugins = Plugins::new();
    let dies = "__attribute__((constructor)) static void run(void) { __builtin_trap(); }";
    plugins.with_functions("dies", "", dies, "");
    let lib = plugins.lib("dies");
    let (ok, said) = keystead(&["plugin", "inspect", lib.to_str().unwrap()]);
    assert!(
        !ok && said.contains("libkeystead_dies.so: can't be loaded: it is damaged") && said.contains("(signal: "),
        "{said}"
    );
    let file = plugins.dir().join("dies.ron");
    let text = format!("(plugin_dirs: [\"{}\"], plugins: [(name: \"dies\")])", plugins.dir().display());
    std::fs::write(&file, text).unwrap();
    let (ok, said) = keystead(&["check", file.to_str().unwrap()]);
    assert!(
        !ok && said.contains("dies.ron: a plugin's library ended the check") && said.contains("(signal: "),
        "{said}"
    );
    // A start ends by the signal too, but not without a word.
    let mut node = plugins.launch(&["dies"]);
    assert!(node.process.wait_exit(DEADLINE).code().is_none());
    node.process.wait_for_log("libkeystead_dies.so: can't be loaded: it is damaged, and opening it ends", DEADLINE);
}

#[test]
fn the_log_level_counts_for_plugins_too() {
    let mut node = hello();
    let mut c = node.client();
    c.ok("HELLO.LATER 1 first");
    c.ok("CONFIG SET loglevel debug");
    c.ok("HELLO.LATER 1 second");
    node.process.wait_for_log("answers second", DEADLINE);
    assert!(!node.process.log().contains("answers first"), "{}", node.process.log());
}

#[test]
fn a_stopped_server_stops_its_plugins() {
    let mut node = hello();
    node.process.terminate();
    assert!(node.process.wait_exit(DEADLINE).success());
    let log = node.process.log();
    assert!(!log.contains("did not stop") && !log.contains("panicked"), "{log}");
}
