//! Whole files through the loader: what is understood, and how each mistake is told.

use super::document::Document;
use super::load::{Edit, parse};
use super::report::{ConfigError, line_column};

fn fails(text: &str, sets: &[&str]) -> String {
    let edits: Vec<Edit> = sets.iter().map(|s| Edit::parse(s).expect("path=value")).collect();
    parse("test.ron", text.into(), &edits).expect_err("must be refused").to_string()
}

#[test]
fn the_issue_s_example_is_understood() {
    let text = r#"(
        server: (bind: ["127.0.0.1"], port: 6380, databases: 16, dir: "data"),
        log: (level: "info"),
        plugin_dirs: ["plugins"],
        plugins: [
            (name: "replication", config: (replicaof: Some(("127.0.0.1", 6380)), priority: 100)),
            (name: "sentinel", config: (
                port: 26380,
                monitors: [(name: "mymaster", host: "127.0.0.1", port: 6380, quorum: 2)],
            )),
            (name: "plain"),
        ],
        services: {"keystead.election": "election-lease"},
    )"#;
    let edits = [Edit::parse("replication.priority=5").expect("ok"), Edit::parse("server.port=7000").expect("ok")];
    let settings = parse("test.ron", text.into(), &edits).expect("understood");
    assert_eq!(settings.server.port, 7000);
    assert!(settings.dir.is_absolute() && settings.dir.ends_with("data"));
    assert_eq!(settings.plugins.len(), 3);
    let beside = std::env::current_exe().expect("this test is a file");
    assert!(settings.plugin_dirs[0].ends_with("plugins"));
    assert_eq!(settings.plugin_dirs[1..], [beside.parent().expect("it is in a folder")], "the server's own are found");
    let replication = &settings.plugins[0].config;
    assert_eq!(replication.text, "(replicaof: Some((\"127.0.0.1\", 6380)), priority: 5)");
    assert_eq!((replication.line, replication.column), (6, 43));
    assert_eq!(settings.plugins[1].config.line, 7);
    assert_eq!(settings.plugins[2].config.text, "()");
    assert_eq!(settings.services["keystead.election"], "election-lease");
}

#[test]
fn mistakes_name_file_line_column_and_what_was_meant() {
    let cases: &[(&str, &[&str], &str)] = &[
        ("(\n server: (prot: 1),\n)", &[], "test.ron:2:11: unknown field 'prot', expected one of 'bind', 'port'"),
        ("(\n server: (prot: 1),\n)", &[], "(did you mean 'port'?)"),
        ("(sever: ())", &[], "test.ron:1:2: unknown field 'sever'"),
        ("(server: (port: \"x\"))", &[], "test.ron:1:17: expected"),
        ("(server: (port: 70000))", &[], "test.ron:1:"),
        ("(server: (port: 1, port: 2))", &[], "the field 'port' appears twice"),
        ("(log: (level: \"nottice\"))", &[], "test.ron:1:15: log.level is 'nottice'"),
        ("(log: (level: \"nottice\"))", &[], "did you mean 'notice'?"),
        ("(server: (databases: 0))", &[], "test.ron:1:22: server.databases is 0"),
        ("(server: (databases: 2147483648))", &[], "server.databases is 2147483648, expected 1 to 1048576"),
        ("(server: (bind: [\"300.0.0.1\"]))", &[], "server.bind has '300.0.0.1', which is no address"),
        ("(server: (bind: [\"::x\"]))", &[], "'::x', which is no address"),
        ("(server: (unixsocketperm: \"799\"))", &[], "octal digits"),
        ("(plugins: [(name: \"a\"), (name: \"a\")])", &[], "listed twice"),
        ("(plugins: [(name: \"../a\")])", &[], "no plugin name"),
        ("(plugins: [(config: ())])", &[], "the field 'name' is missing"),
        ("(server: ()", &[], "test.ron:1:"),
        ("()", &["server.port=abc"], "--set server.port=abc: expected"),
        ("()", &["server.prot=1"], "--set server.prot=1: unknown field 'prot'"),
        ("()", &["replication.x=1"], "neither a section of the file nor a plugin it lists"),
        ("()", &["log.level=loud"], "--set log.level=loud: log.level is 'loud'"),
    ];
    for (text, sets, expected) in cases {
        let told = fails(text, sets);
        assert!(told.contains(expected), "{text} {sets:?}\n  told: {told}\n  not:  {expected}");
    }
    assert!(Edit::parse("server.port").is_err());
}

#[test]
fn what_is_nested_too_deep_is_told_in_own_words() {
    for deep in ["(".repeat(5_000), "[".repeat(5_000), "Some(".repeat(5_000)] {
        let told = fails(&format!("(plugins: [(name: \"p\", config: {deep}"), &[]);
        assert!(told.contains("nested too deep") && !told.contains("serde"), "{told}");
        let told = fails(&format!("(server: {deep}"), &[]);
        assert!(!told.contains("serde") && !told.contains("ron::"), "{told}");
    }
}

#[test]
fn a_number_on_the_command_line_is_a_string_where_one_is_wanted() {
    let edits = ["server.requirepass=123", "server.port=7", "log.file=true", "server.bind.0=::1"];
    let edits = edits.map(|text| Edit::parse(text).expect("path=value"));
    let settings = parse("test.ron", "(server: (bind: [\"-*\"]))".into(), &edits).expect("understood");
    assert_eq!((settings.server.requirepass.as_deref(), settings.server.port), (Some("123"), 7));
    assert_eq!((settings.log.file.as_deref(), settings.server.bind), (Some("true"), vec!["::1".to_owned()]));
    assert!(fails("(server: (requirepass: 123))", &[]).contains("expected"), "in the file it is what it says");
}

/// A plugin's mistakes are at places of the text it was given; the user sees the file's line, or the argument.
#[test]
fn a_plugin_s_mistake_is_told_where_it_was_made() {
    let text = "(plugins: [\n (name: \"p\", config: (one: 1, two: 2)),\n])".to_owned();
    let told = |sets: &[&str], word: &str| {
        let edits: Vec<Edit> = sets.iter().map(|s| Edit::parse(s).expect("path=value")).collect();
        let config = parse("test.ron", text.clone(), &edits).expect("understood").plugins.remove(0).config;
        let column = config.column + config.text.find(word).expect("the word") as u32;
        config.mistake((config.line, column), "no".into()).to_string()
    };
    assert_eq!(told(&[], "2"), "test.ron:2:36: no");
    assert_eq!(told(&["p.one=1000000"], "2"), "test.ron:2:36: no", "other columns are the file's");
    assert_eq!(told(&["p.one=-1"], "-1"), "--set p.one=-1: no");
    assert_eq!(told(&["p.three=3"], "three"), "--set p.three=3: no");
}

/// It is told as it was typed.
#[test]
fn a_number_that_is_refused_as_a_string_too_stays_one() {
    let text = "(plugins: [(name: \"p\", config: (one: 1))])".to_owned();
    let edit = Edit::parse("p.one=12").expect("path=value");
    let config = parse("test.ron", text, &[edit]).expect("understood").plugins.remove(0).config;
    let place = (config.line, config.column + 5);
    assert_eq!(config.understood(|_| Some(place)), "(one: 12)");
}

#[test]
fn a_bare_word_is_a_name_where_a_plugin_wants_one() {
    let text = "(plugins: [(name: \"p\", config: (mode: slow, file: \"f\"))])".to_owned();
    let understood = |sets: &[&str], refused: &[&str]| {
        let edits: Vec<Edit> = sets.iter().map(|s| Edit::parse(s).expect("path=value")).collect();
        let config = parse("test.ron", text.clone(), &edits).expect("understood").plugins.remove(0).config;
        let place = |text: &str| refused.iter().find_map(|word| Some(config.column + text.find(word)? as u32));
        config.understood(|text| place(text).map(|column| (config.line, column)))
    };
    assert_eq!(understood(&["p.mode=fast"], &["\"fast\""]), "(mode: fast, file: \"f\")");
    assert_eq!(understood(&["p.file=12", "p.mode=fast"], &["\"fast\"", " 12"]), "(mode: fast, file: \"12\")");
    assert_eq!(understood(&["p.new=true"], &[" true"]), "(new: \"true\", mode: slow, file: \"f\")");
    assert_eq!(understood(&["p.file=12"], &["file"]), "(mode: slow, file: 12)", "it isn't the argument's");
    assert_eq!(understood(&["p.mode=(1)"], &[" (1)"]), "(mode: (1), file: \"f\")");
    assert_eq!(understood(&["p.mode=fast", "p.file=on-it"], &["\"fast\"", "\"on-it\""]), "(mode: fast, file: r#on-it)");
    assert_eq!(understood(&["p.file=g"], &[]), "(mode: slow, file: \"g\")", "a string where one is wanted");
    assert_eq!(understood(&[], &["\"f\""]), "(mode: slow, file: \"f\")", "the file says what it says");
}

#[test]
fn a_plugin_s_entry_is_shown_where_its_name_stands() {
    let settings =
        parse("test.ron", "(plugins: [\n (name: \"p\"),\n (name: \"q\"),\n])".into(), &[]).expect("understood");
    let told = settings.plugins[1].refused("no".into(), Some("did you mean 'r'?".into())).to_string();
    assert_eq!(told, "test.ron:3:9: no (did you mean 'r'?)");
}

#[test]
fn what_the_command_line_gives_is_not_kept() {
    let dir = tempfile::tempdir().expect("a folder");
    let file = dir.path().join("k.ron");
    let mut overlay = super::overlay::Overlay::default();
    for name in ["maxclients", "bind", "timeout", "requirepass"] {
        overlay.params.insert(name.into(), "1".into());
        overlay.endpoints.entry("sentinel".into()).or_default().insert(name.into(), "1".into());
    }
    super::overlay::write(&dir.path().join("k.overlay.ron"), &overlay).expect("written");
    let edits = ["limits.maxclients=2", "server.bind.0=::1", "server.requirepass=x"];
    let edits: Vec<Edit> = edits.iter().map(|s| Edit::parse(s).expect("path=value")).collect();
    std::fs::write(&file, format!("(server: (dir: {:?}, bind: [\"\"]))", dir.path())).expect("written");
    let settings = super::load::load(Some(&file), &edits).expect("loaded");
    let left = |params: &std::collections::BTreeMap<String, String>| params.keys().cloned().collect::<Vec<_>>();
    assert_eq!(left(&settings.overlay.params), ["timeout"]);
    assert_eq!(left(&settings.overlay.endpoints["sentinel"]), ["bind", "requirepass", "timeout"], "its own word");
    assert_eq!(settings.remarks.len(), 4, "{:?}", settings.remarks);
    assert!(settings.remarks[0].ends_with("'bind' is passed over: the command line gives server.bind.0"));
}

#[test]
fn a_rendered_mistake_shows_the_line() {
    let error = parse("test.ron", "(\n    server: (prot: 1),\n)".into(), &[]).expect_err("unknown field");
    let shown = error.render();
    for part in ["test.ron:2:14", "server: (prot: 1),", "^^^^", "did you mean 'port'?"] {
        assert!(shown.contains(part), "no {part} in\n{shown}");
    }
}

#[test]
fn a_byte_order_mark_is_passed_over_and_a_file_may_set_nothing() {
    for text in ["\u{feff}(server: (port: 7))", "(server: (port: 7))"] {
        assert_eq!(parse("test.ron", text.into(), &[]).expect("understood").server.port, 7);
    }
    assert!(fails("\u{feff}(server: (prot: 7))", &[]).starts_with("test.ron:1:11: unknown field 'prot'"));
    for text in ["", "\n", "\u{feff}", "// nothing yet", "/* nothing */\n", "#![enable(implicit_some)]\n"] {
        let edits = [Edit::parse("server.port=7").expect("path=value")];
        assert_eq!(parse("test.ron", text.into(), &edits).expect("understood").server.port, 7, "{text:?}");
        assert_eq!(parse("test.ron", text.into(), &[]).expect("understood").server.port, 6379, "{text:?}");
    }
}

/// Whatever a line is made of, its mistake can be shown: pieces in all orders, and the place at every letter.
#[test]
fn every_mistake_can_be_rendered() {
    let pieces = [
        "\u{feff}",
        "(server: (prot: 1))",
        "ü",
        "\t",
        "\r\n",
        "\n",
        "日本",
        "e\u{301}",
        "\0",
        "\u{202e}",
        "👩‍👩‍👧",
        "\u{1b}[0m",
        " ",
    ];
    let mut seed = 1u32;
    for _ in 0..2_000 {
        let mut text = String::new();
        for _ in 0..6 {
            seed = seed.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            text.push_str(pieces[(seed >> 16) as usize % pieces.len()]);
        }
        if let Err(error) = parse("test.ron", text.clone(), &[]) {
            assert!(error.render().contains("test.ron"), "{text:?}");
        }
        let document = Document::new(text.clone());
        let begins = |at: &usize| document.source().is_char_boundary(*at);
        for at in (0..=document.source().len()).filter(begins) {
            let (line, column) = line_column(document.source(), at);
            let error = ConfigError::at(&document, "test.ron", at, "no".into(), None).render();
            assert!(error.contains(&format!("test.ron:{line}:{column}")), "{text:?} at {at}: {error}");
        }
    }
    let long = format!("(server: (dir: \"{}\", prot: 1))", "ü".repeat(50_000));
    let shown = parse("test.ron", long, &[]).expect_err("unknown field").render();
    assert!(shown.contains("prot: 1") && shown.len() < 2_000, "{} bytes", shown.len());
}

#[test]
fn the_file_of_all_keys_has_every_key_with_its_default() {
    let text = include_str!("../../../../configs/all-keys.ron");
    let all = parse("all-keys.ron", text.into(), &[]).expect("it can be read");
    let defaults = parse("empty", "()".into(), &[]).expect("empty is fine");
    assert_eq!(all.settings(), defaults.settings());
    for setting in defaults.settings() {
        let (section, field) = setting.path.split_once('.').expect("section.field");
        let from = text.find(&format!("\n    {section}: (")).expect("the section is there");
        let to = from + text[from + 1..].find("\n    ),").expect("the section ends");
        assert!(text[from..to].contains(&format!("        {field}: ")), "{} is missing", setting.path);
    }
    for section in super::sections::TOP_LEVEL {
        assert!(text.contains(&format!("\n    {section}: ")), "{section} is missing");
    }
}

#[test]
fn the_engine_knows_every_setting_and_has_the_same_defaults() {
    let engine = keystead_engine::Engine::new(keystead_engine::EngineOptions::default());
    let fresh = parse("empty", "()".into(), &[]).expect("empty is fine");
    // What the process decides, or what the file writes differently.
    let own = ["bind", "dir", "unixsocketperm", "client-output-buffer-limit"];
    for setting in fresh.settings() {
        let Some(name) = setting.redis else { continue };
        let known = engine.core.config.get(name);
        assert!(known.is_some(), "CONFIG doesn't know {name}");
        if !own.contains(&name) {
            assert_eq!(known.as_deref(), Some(setting.value.as_str()), "{name}");
        }
    }
}
