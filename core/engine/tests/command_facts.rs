//! What rows of the command table say of categories and keys, against redis-server's own word. A new row that fails here
//! needs `.uses(&[…])` (how it uses its keys), other flags or another group.

mod kit;

use std::collections::BTreeMap;

use keystead_engine::acl::category;
use keystead_engine::registry::Command;
use keystead_engine::spec::{KeySpec, Uses};
use keystead_engine::{Args, Engine, EngineOptions, OwnedArgs, keys};

const CATEGORIES: &str = include_str!("golden/categories.txt");
const USES: &str = include_str!("golden/key_uses.txt");
const TIPS: &str = include_str!("golden/tips.txt");

/// Where Redis 7.2 differs from the 7.0 that the files are from.
const SINCE: &[&str] = &[];

fn golden(text: &'static str) -> BTreeMap<&'static str, &'static str> {
    text.lines().filter(|line| !line.starts_with('#')).filter_map(|line| line.split_once(": ")).collect()
}

fn commands(engine: &Engine) -> Vec<&'static Command> {
    let all = engine.core.registry.all();
    all.flat_map(|command| std::iter::once(command).chain(command.subs.iter().copied())).collect()
}

#[test]
fn categories_are_those_of_redis() {
    let engine = Engine::new(EngineOptions::default());
    let golden = golden(CATEGORIES);
    let mut wrong = Vec::new();
    for command in commands(&engine) {
        let Some(want) = golden.get(command.full_name.as_str()) else { continue };
        let mut have = category::of(command);
        have.sort_unstable();
        if have.join(" ") != *want && !SINCE.contains(&command.full_name.as_str()) {
            wrong.push(format!("{}: {} instead of {want}", command.full_name, have.join(" ")));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn keys_are_used_as_in_redis() {
    let engine = Engine::new(EngineOptions::default());
    let golden = golden(USES);
    let mut wrong = Vec::new();
    for command in commands(&engine) {
        let Some(want) = golden.get(command.full_name.as_str()) else { continue };
        // Words about the specification itself say nothing of the use.
        let plain = |text: &str| {
            let words = text.split(' ').filter(|word| !matches!(*word, "variable_flags" | "incomplete"));
            words.collect::<Vec<_>>().join(" ")
        };
        let mut want: Vec<String> = want.split(" / ").map(plain).collect();
        want.dedup();
        if want == ["not_key"] {
            continue;
        }
        let listed = match command.uses {
            Uses::Listed(uses) => uses.len(),
            Uses::Usual | Uses::Decided(_) => 1,
        };
        let nothing = Args::new(b"", &[]);
        let word = |nth| keys::use_of(command, nothing, nth).names().collect::<Vec<_>>().join(" ");
        let have: Vec<String> = (0..listed).map(word).collect();
        if have != want {
            wrong.push(format!("{}: {have:?} instead of {want:?}", command.full_name));
        }
        if matches!(command.keys, KeySpec::None) {
            wrong.push(format!("{}: has keys", command.full_name));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn arguments_decide_where_they_must() {
    let engine = Engine::new(EngineOptions::default());
    let cases = [
        ("SET k v", "OW update"),
        ("SET k v EX 10 get", "RW access update"),
        ("BITFIELD k GET u8 0", "RO access"),
        ("BITFIELD k GET u8 0 INCRBY u8 0 1", "RW access update"),
        ("SORT k", "RO access"),
        ("SORT k STORE d", "RO access, OW update"),
        ("SORT k STORE d STORE e", "RO access, OW update"),
        ("BITOP AND d a b", "OW update, RO access, RO access"),
        ("ZUNIONSTORE d 2 a b", "OW update, RO access, RO access"),
        ("RENAME a b", "RW access delete, OW update"),
        ("COPY a b", "RO access, OW update"),
        ("OBJECT ENCODING k", "RO"),
    ];
    for (line, want) in cases {
        let args: OwnedArgs = line.split(' ').collect();
        let command = engine.core.registry.find(args.view().at(0)).expect("known");
        let command = command.sub(args.view().at(1)).unwrap_or(command);
        let found = keys::found(command, args.view());
        let have: Vec<String> = found.iter().map(|(_, how)| how.names().collect::<Vec<_>>().join(" ")).collect();
        assert_eq!(have.join(", "), want, "{line}");
    }
}

/// What follows `field` in the reply to COMMAND INFO: the words of an array of statuses.
fn statuses(reply: &str) -> Vec<&str> {
    reply.split("\r\n").filter_map(|line| line.strip_prefix('+')).collect()
}

#[test]
fn tips_are_those_of_redis() {
    let mut kit = kit::Kit::default();
    let id = kit.connect();
    let golden = golden(TIPS);
    let names: Vec<String> = commands(&kit.engine).iter().map(|command| command.full_name.clone()).collect();
    for name in names {
        let reply = kit.cmd(id, &format!("COMMAND INFO {name}"));
        // Flags and categories are statuses too, in front; those of subcommands come behind the command's own.
        let own = reply.split(&format!("\r\n{name}|")).next().unwrap_or_default();
        // Their order means nothing.
        let mut tips: Vec<&str> =
            statuses(own).into_iter().filter(|word| word.contains(':') || word.starts_with("nondet")).collect();
        tips.sort_unstable();
        let mut wanted: Vec<&str> = golden.get(name.as_str()).map_or(Vec::new(), |tips| tips.split(' ').collect());
        wanted.sort_unstable();
        assert_eq!(tips, wanted, "{name}");
    }
}

#[test]
fn keys_found_by_a_function_are_described() {
    let mut kit = kit::Kit::default();
    let id = kit.connect();
    let words = |kit: &mut kit::Kit, name: &str| {
        let reply = kit.cmd(id, &format!("COMMAND INFO {name}"));
        let from = reply.find("\r\nflags\r\n").unwrap_or(reply.len());
        let lines = reply[from..].split("\r\n").filter(|line| !line.is_empty() && !line.starts_with(['$', '*']));
        lines.collect::<Vec<_>>().join(" ")
    };
    assert_eq!(
        words(&mut kit, "xread"),
        "flags +RO +access begin_search type keyword spec keyword STREAMS startfrom :1 \
         find_keys type range spec lastkey :-1 keystep :1 limit :2"
    );
    assert_eq!(
        words(&mut kit, "ssubscribe"),
        "flags +not_key begin_search type index spec index :1 find_keys type range spec lastkey :-1 keystep :1 limit :0"
    );
    assert_eq!(words(&mut kit, "sort").matches("flags").count(), 3);
}
