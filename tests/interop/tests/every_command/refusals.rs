//! Every row's example again, cut short, made longer, with wrong words and with keys of other types: what redis-server refuses is
//! refused here in the same words, each form as it is and by turns in RESP3, inside MULTI and from a script. Where 7.2 says it
//! otherwise than the server that is installed, or where the difference is meant, it stands in a table.

use super::{Client, Compared, Example, examples, is_left_out, node, words};
use keystead_harness::{RedisServer, Reply, have};
use std::collections::BTreeMap;
use std::time::Duration;

/// In the place of each word.
const WRONG: &[&str] = &["", "abc", "-1", "9223372036854775807", "9223372036854775808", "-9223372036854775808", "1.5"];
/// In the place of each key.
const TYPES: &[&str] = &["SET {} v", "RPUSH {} a", "SADD {} a", "HSET {} a 1", "ZADD {} 1 a", "XADD {} 1-1 a 1"];

/// Rows that are left out, with the reason.
const LEFT_OUT: &[(&str, &str)] = &[
    ("failover", "its parts are compared in failover_command.rs"),
    ("hello", "changes what the next reply looks like"),
    ("client|pause", "makes others wait"),
    ("config|rewrite", "Redis has no file here"),
    ("bgsave", "depends on what runs at that moment"),
    ("bgrewriteaof", "depends on what runs at that moment"),
    ("auth", "inside MULTI Redis 7.0 answers nothing at all"),
];
/// Whole families that are other than Redis' on purpose, by how their names begin.
const OTHERS: &[&str] = &["debug|", "plugin|"];

/// What 7.0 says otherwise than 7.2 and Keystead.
const BEFORE_7_2: &[(&[&str], &str, &str)] = &[
    (WAITERS, "timeout is negative", "a timeout in ms overflows"),
    (WAITERS, "not allowed from script", "scripts may not ask for what could wait"),
    (&["wait"], "not allowed from script", "the same"),
    (&["wait"], "timeout is out of range", "a timeout in ms overflows"),
    (&["zrank", "zrevrank"], "rong number of arg", "no option WITHSCORE"),
    (&["xread", "xreadgroup"], "Unbalanced", "doesn't name the command"),
    (&["command|getkeys", "command|getkeysandflags"], "wrong number of arg", "asks for one more argument"),
];
const WAITERS: &[&str] = &["blpop", "brpop", "blmove", "blmpop", "brpoplpush", "bzmpop", "bzpopmax", "bzpopmin"];

/// What Redis says otherwise, whichever.
const DIFFERENT: &[(&[&str], &str, &str)] = &[
    (&["lset"], "index out of range", "Redis cuts the index to 32 bits"),
    (&["script|debug"], "outside a pipeline", "there is no debugger, and nothing to refuse"),
];
/// Forms that are left out, with the reason.
const FORMS_LEFT_OUT: &[(&str, &str)] =
    &[("WAIT 9223372036854775807 0", "Redis cuts the number of replicas to 32 bits: it is -1, and nobody waits")];

/// How a command is sent.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Way {
    Plain,
    Resp3,
    Multi,
    Script,
}

struct Side {
    admin: Client,
    client: Option<Client>,
    port: u16,
    patience: Duration,
}

impl Side {
    fn new(port: u16, patience: Duration) -> Side {
        Side { admin: Client::connect(port), client: None, port, patience }
    }

    /// What came of it; `None` if there was no reply in time, or the connection ended.
    fn run(&mut self, steps: &[&str], poison: Option<&str>, command: &[Vec<u8>], way: Way) -> Option<Reply> {
        self.admin.cmd("FLUSHALL");
        let client = self.client.get_or_insert_with(|| {
            let client = Client::connect(self.port);
            client.set_reply_limit(self.patience);
            client
        });
        if steps.iter().any(|step| client.try_command(&words(step)).is_err()) {
            self.client = None;
            return None;
        }
        if let Some(poison) = poison {
            let poison = words(poison);
            self.admin.command(&[&b"DEL"[..], &poison[1]]);
            self.admin.command(&poison);
        }
        let reply = match way {
            Way::Plain => client.try_command(command),
            Way::Resp3 => client.try_command(&["HELLO", "3"]).and_then(|_| client.try_command(command)),
            Way::Multi => client.try_command(&["MULTI"]).and_then(|_| {
                let queued = client.try_command(command)?;
                Ok(Reply::Array(vec![queued, client.try_command(&["EXEC"])?]))
            }),
            Way::Script => {
                let head = ["EVAL", "return redis.pcall(unpack(ARGV))", "0"].map(|word| word.as_bytes().to_vec());
                client.try_command(&[&head[..], command].concat())
            }
        };
        let usable = reply.is_ok() && client.try_command(&["RESET"]).is_ok_and(|reply| reply == "RESET");
        if !usable {
            self.client = None;
        }
        reply.ok()
    }
}

/// The refusals in a reply.
fn refusals(reply: &Reply, all: &mut Vec<String>) {
    match reply {
        Reply::Error(text) => all.push(text.clone()),
        Reply::Array(items) | Reply::Set(items) | Reply::Push(items) => {
            items.iter().for_each(|item| refusals(item, all))
        }
        _ => {}
    }
}

/// The command in its wrong forms, each with what is put in the place of a key before.
fn forms(command: &[Vec<u8>], name: &str) -> Vec<(Vec<Vec<u8>>, Option<String>)> {
    let first = if name.contains('|') { 2 } else { 1 };
    let mut all: Vec<(Vec<Vec<u8>>, Option<String>)> =
        (first..command.len()).map(|n| (command[..n].to_vec(), None)).collect();
    let more =
        |words: &[&str]| [command, &words.iter().map(|word| word.as_bytes().to_vec()).collect::<Vec<_>>()].concat();
    all.extend([(more(&["extra"]), None), (more(&["extra", "more"]), None)]);
    for at in first..command.len() {
        for wrong in WRONG {
            let mut other = command.to_vec();
            other[at] = wrong.as_bytes().to_vec();
            all.push((other, None));
        }
        let plain = std::str::from_utf8(&command[at])
            .ok()
            .filter(|word| (1..12).contains(&word.len()) && !word.contains([' ', '"', '\'']));
        if let Some(key) = plain {
            all.extend(TYPES.iter().map(|step| (command.to_vec(), Some(step.replace("{}", key)))));
        }
    }
    all
}

#[test]
fn what_redis_refuses_is_refused_in_its_words() {
    if !have("redis-server") {
        return println!("SKIPPED: redis-server is not installed");
    }
    let (node, redis) = (node(), RedisServer::start(&["--appendonly", "yes"]));
    // Who doesn't answer there in time waits, as it should; what is answered there must be answered here.
    let mut theirs = Side::new(redis.port(), Duration::from_millis(200));
    let mut ours = Side::new(node.port(), Duration::from_secs(10));
    let mut wrong: BTreeMap<String, Vec<String>> = BTreeMap::new();
    let mut compared = 0;
    for example in examples() {
        let left_out = is_left_out(LEFT_OUT, &example);
        if left_out || example.steps.contains('{') || OTHERS.iter().any(|family| example.name.starts_with(family)) {
            continue;
        }
        compared += compare(&example, &mut ours, &mut theirs, &mut wrong);
    }
    let wrong: Vec<String> = wrong
        .into_iter()
        .map(|(name, cases)| format!("{name} ({}):\n  {}", cases.len(), cases[..cases.len().min(4)].join("\n  ")))
        .collect();
    assert!(compared > 4000, "{compared} refusals");
    assert!(wrong.is_empty(), "of {compared} refusals:\n{}", wrong.join("\n"));
}

/// How many refusals of one example were compared.
fn compare(example: &Example, ours: &mut Side, theirs: &mut Side, wrong: &mut BTreeMap<String, Vec<String>>) -> usize {
    let steps: Vec<&str> = example.steps.split(" ; ").collect();
    let (last, steps) = steps.split_last().expect("at least one step");
    let command = words(last);
    let unknown = |reply: &Option<Reply>| matches!(reply, Some(Reply::Error(text)) if text.starts_with("ERR unknown"));
    if example.compared == Compared::Not && unknown(&theirs.run(steps, None, &command, Way::Plain)) {
        return 0;
    }
    let mut compared = 0;
    for (at, (form, poison)) in forms(&command, example.name).into_iter().enumerate() {
        let shown = form.iter().map(|word| word.escape_ascii().to_string()).collect::<Vec<_>>().join(" ");
        if FORMS_LEFT_OUT.iter().any(|(left_out, _)| *left_out == shown) {
            continue;
        }
        for way in [Way::Plain, [Way::Resp3, Way::Multi, Way::Script][at % 3]] {
            let told = |side: &mut Side| {
                let mut all = Vec::new();
                let reply = side.run(steps, poison.as_deref(), &form, way)?;
                refusals(&reply, &mut all);
                Some(all)
            };
            let Some(their) = told(theirs) else { continue };
            let our = told(ours);
            compared += usize::from(!their.is_empty());
            let said = |part: &str| their.iter().chain(our.iter().flatten()).any(|text| text.contains(part));
            let meant =
                DIFFERENT.iter().chain(BEFORE_7_2).any(|(names, part, _)| names.contains(&example.name) && said(part));
            if our.as_ref() != Some(&their) && !meant {
                let line = format!("{way:?} {poison:?} {shown}: {our:?}, redis {their:?}");
                wrong.entry(example.name.to_owned()).or_default().push(line);
            }
        }
    }
    let mut settle =
        |step: &str| [&mut *ours, &mut *theirs].into_iter().for_each(|side| drop(side.admin.command(&words(step))));
    example.after.split(" ; ").filter(|step| !step.is_empty()).for_each(&mut settle);
    compared
}
