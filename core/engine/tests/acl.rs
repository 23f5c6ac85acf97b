//! Users at work: who gets in, what is refused and kept in the log, what a changed user means for those connected.

mod kit;

use std::sync::Arc;

use keystead_engine::foreign::{ForeignBody, ForeignCommand, ForeignConfig};
use keystead_engine::registry::OwnedSpec;
use keystead_engine::resp::OwnedArgs;
use keystead_engine::spec::{Flags, Group, KeySpec};
use keystead_engine::{Action, EngineMode};
use keystead_engine::{Args, CommandResult, Ctx, Effect};
use kit::Kit;

const NO_KEY: &str = "-NOPERM No permissions to access a key\r\n";
const NO_CHANNEL: &str = "-NOPERM No permissions to access a channel\r\n";

fn no_command(user: &str, name: &str) -> String {
    format!("-NOPERM User {user} has no permissions to run the '{name}' command\r\n")
}

fn bulk(text: &str) -> String {
    format!("${}\r\n{text}\r\n", text.len())
}

#[test]
fn getting_in() {
    let mut kit = Kit::default();
    let (admin, c) = (kit.connect(), kit.connect());
    const WRONG: &str = "-WRONGPASS invalid username-password pair or user is disabled.\r\n";
    assert!(kit.cmd(c, "AUTH x").starts_with("-ERR AUTH <password> called without any password configured"));
    assert_eq!(kit.cmd(admin, "ACL SETUSER a >pw"), "+OK\r\n");
    assert_eq!(kit.cmd(c, "AUTH a pw"), WRONG, "off");
    kit.cmd(admin, "ACL SETUSER a on");
    assert_eq!(kit.cmd(c, "AUTH a nope"), WRONG);
    assert_eq!(kit.cmd(c, "AUTH nobody pw"), WRONG);
    assert_eq!(kit.cmd(c, "AUTH a pw"), "+OK\r\n");
    assert_eq!(kit.cmd(c, "PING"), no_command("a", "ping"));
    assert_eq!(kit.cmd(c, "ACL WHOAMI"), no_command("a", "acl|whoami"));
    assert!(kit.cmd(c, "HELLO 2 AUTH default any").contains("$5\r\nredis\r\n"));
    assert_eq!(kit.cmd(c, "ACL WHOAMI"), "$7\r\ndefault\r\n");
    kit.cmd(c, "AUTH a pw");
    assert_eq!(kit.cmd(c, "RESET"), "+RESET\r\n");
    assert_eq!(kit.cmd(c, "ACL WHOAMI"), "$7\r\ndefault\r\n");
    // A password for the default user: those inside stay, others must know it.
    assert_eq!(kit.cmd(admin, "CONFIG SET requirepass secret"), "+OK\r\n");
    let late = kit.connect();
    assert_eq!(kit.cmd(late, "PING"), "-NOAUTH Authentication required.\r\n");
    assert_eq!(kit.cmd(c, "PING"), "+PONG\r\n");
    assert_eq!(kit.cmd(late, "AUTH wrong"), WRONG);
    assert_eq!(kit.cmd(late, "AUTH secret"), "+OK\r\n");
    assert_eq!(kit.cmd(late, "RESET"), "+RESET\r\n");
    assert_eq!(kit.cmd(late, "PING"), "-NOAUTH Authentication required.\r\n");
    kit.cmd(admin, "CONFIG SET requirepass \"\"");
    assert_eq!(kit.cmd(late, "PING"), "+PONG\r\n");
    // The default user switched off: nobody gets in without a name.
    kit.cmd(admin, "ACL SETUSER default off");
    let shut = kit.connect();
    assert_eq!(kit.cmd(shut, "PING"), "-NOAUTH Authentication required.\r\n");
    assert_eq!(kit.cmd(shut, "AUTH a pw"), "+OK\r\n");
}

#[test]
fn refusals_and_their_log() {
    let mut kit = Kit::default();
    let (admin, c) = (kit.connect(), kit.connect());
    kit.cmd(admin, "ACL SETUSER u on nopass +@all -set ~a* &a*");
    kit.cmd(c, "AUTH u x");
    assert_eq!(kit.cmd(c, "GET b"), NO_KEY);
    assert_eq!(kit.cmd(c, "SET a 1"), no_command("u", "set"));
    assert_eq!(kit.cmd(c, "PUBLISH b x"), NO_CHANNEL);
    assert_eq!(kit.cmd(c, "CONFIG GET x"), "*0\r\n");
    // In a transaction a refusal spoils it; one that comes later is answered in its place.
    kit.cmd(c, "MULTI");
    assert_eq!(kit.cmd(c, "GET b"), NO_KEY);
    assert!(kit.cmd(c, "EXEC").starts_with("-EXECABORT"));
    kit.cmd(c, "MULTI");
    kit.cmd(c, "GET a1");
    kit.cmd(c, "PING");
    kit.cmd(admin, "ACL SETUSER u resetkeys");
    let reply = kit.cmd(c, "EXEC");
    assert!(reply.starts_with("*2\r\n-NOPERM ACLs rules changed between"), "{reply}");
    assert!(reply.ends_with("the following reason: no permission to touch the specified keys\r\n+PONG\r\n"), "{reply}");
    let log = kit.cmd(admin, "ACL LOG");
    assert!(log.starts_with("*5\r\n*20\r\n$5\r\ncount\r\n:1\r\n$6\r\nreason\r\n$3\r\nkey\r\n"), "{log}");
    for part in
        ["$5\r\nmulti\r\n", "$8\r\ntoplevel\r\n", "$7\r\nchannel\r\n", "$7\r\ncommand\r\n", "$3\r\nset\r\n", "user=u "]
    {
        assert!(log.contains(part), "{part} in {log}");
    }
    // The same again is counted.
    kit.cmd(c, "SET a 1");
    assert!(kit.cmd(admin, "ACL LOG 1").starts_with("*1\r\n*20\r\n$5\r\ncount\r\n:2\r\n"));
    kit.advance(61_000);
    kit.cmd(c, "SET a 1");
    let log = kit.cmd(admin, "ACL LOG 1");
    assert!(log.starts_with("*1\r\n*20\r\n$5\r\ncount\r\n:1\r\n"), "{log}");
    kit.cmd(c, "AUTH u y");
    kit.cmd(admin, "ACL SETUSER u resetpass");
    kit.cmd(c, "AUTH u y");
    assert!(kit.cmd(admin, "ACL LOG 1").contains("$4\r\nauth\r\n"));
    assert_eq!(kit.cmd(admin, "CONFIG SET acllog-max-len 2"), "+OK\r\n");
    assert!(kit.cmd(admin, "ACL LOG").starts_with("*2\r\n"));
    assert_eq!(kit.cmd(admin, "ACL LOG RESET"), "+OK\r\n");
    assert_eq!(kit.cmd(admin, "ACL LOG"), "*0\r\n");
    let info = kit.cmd(admin, "INFO stats");
    for field in ["auth:1", "cmd:3", "key:3", "channel:1"] {
        assert!(info.contains(&format!("acl_access_denied_{field}\r\n")), "{field} in {info}");
    }
}

#[test]
fn a_changed_user_means_something_for_those_connected() {
    let mut kit = Kit::default();
    let (admin, a, b, c) = (kit.connect(), kit.connect(), kit.connect(), kit.connect());
    kit.cmd(admin, "ACL SETUSER u on nopass +@all ~* &news:* &x");
    kit.cmd(admin, "ACL SETUSER v on nopass +@all ~* &*");
    for id in [a, b] {
        kit.cmd(id, "AUTH u x");
    }
    kit.cmd(c, "AUTH v x");
    kit.cmd(a, "SUBSCRIBE x");
    kit.cmd(b, "PSUBSCRIBE news:*");
    kit.cmd(admin, "ACL SETUSER u resetchannels &news:*");
    assert_eq!(kit.closed, [a], "it listens to what it may no longer hear");
    kit.cmd(admin, "ACL SETUSER v -get");
    assert_eq!(kit.cmd(c, "GET k"), no_command("v", "get"));
    kit.cmd(admin, "ACL SETUSER v +get");
    assert_eq!(kit.cmd(c, "GET k"), "$-1\r\n");
    // One that waits is refused when its turn comes.
    kit.cmd(c, "BLPOP l 0");
    kit.cmd(admin, "ACL SETUSER v -blpop");
    kit.cmd(admin, "RPUSH l 1");
    assert_eq!(kit.read(c), no_command("v", "blpop"));
    assert_eq!(kit.cmd(admin, "LLEN l"), ":1\r\n");
    assert_eq!(kit.cmd(admin, "ACL DELUSER default"), "-ERR The 'default' user cannot be removed\r\n");
    assert_eq!(kit.cmd(admin, "ACL DELUSER u v nobody"), ":2\r\n");
    assert_eq!(kit.closed, [a, b, c], "one that is closed already is nobody's");
    // Whoever deletes itself gets the answer first.
    kit.cmd(admin, "ACL SETUSER w on nopass +@all");
    let w = kit.connect();
    kit.cmd(w, "AUTH w x");
    assert_eq!(kit.cmd(w, "ACL DELUSER w"), ":1\r\n");
    assert_eq!(kit.closed.last(), Some(&w));
}

#[test]
fn what_acl_answers() {
    let mut kit = Kit::default();
    let c = kit.connect();
    assert_eq!(kit.cmd(c, "ACL SETUSER u on ~a (~b +get)"), "+OK\r\n");
    let list = [
        "user default on nopass sanitize-payload ~* &* +@all",
        "user u on sanitize-payload ~a resetchannels -@all (~b resetchannels -@all +get)",
    ];
    assert_eq!(kit.cmd(c, "ACL LIST"), format!("*2\r\n{}{}", bulk(list[0]), bulk(list[1])));
    assert_eq!(kit.cmd(c, "ACL USERS"), "*2\r\n$7\r\ndefault\r\n$1\r\nu\r\n");
    assert_eq!(kit.cmd(c, "ACL GETUSER nobody"), "$-1\r\n");
    let user = kit.cmd(c, "ACL GETUSER u");
    assert!(user.starts_with("*12\r\n$5\r\nflags\r\n*2\r\n$2\r\non\r\n"), "{user}");
    assert!(user.ends_with("selectors\r\n*1\r\n*6\r\n$8\r\ncommands\r\n$10\r\n-@all +get\r\n$4\r\nkeys\r\n$2\r\n~b\r\n$8\r\nchannels\r\n$0\r\n\r\n"), "{user}");
    assert_eq!(kit.cmd(c, "ACL DRYRUN u GET b"), "+OK\r\n");
    assert_eq!(kit.cmd(c, "ACL DRYRUN u SET b 1"), bulk("User u has no permissions to run the 'set' command"));
    assert!(kit.cmd(c, "ACL DRYRUN u GET a").contains("User u has no permissions to access the 'a' key"));
    assert_eq!(kit.cmd(c, "ACL DRYRUN nobody GET b"), "-ERR User 'nobody' not found\r\n");
    assert_eq!(kit.cmd(c, "ACL DRYRUN u nope b"), "-ERR Command 'nope' not found\r\n");
    assert_eq!(kit.cmd(c, "ACL DRYRUN u GET"), "-ERR wrong number of arguments for 'get' command\r\n");
    assert_eq!(kit.cmd(c, "ACL CAT nope"), "-ERR Unknown category 'nope'\r\n");
    let bad = b"*3\r\n$3\r\nACL\r\n$7\r\nSETUSER\r\n$3\r\na b\r\n";
    assert_eq!(kit.send(c, bad), "-ERR Usernames can't contain spaces or null characters\r\n");
    assert!(kit.cmd(c, "ACL LOAD").starts_with("-ERR This Redis instance is not configured to use an ACL file."));
    assert!(kit.cmd(c, "ACL SAVE").starts_with("-ERR This Redis instance is not configured to use an ACL file."));
    kit.engine.core.config.init("aclfile", "users.acl").expect("a text");
    assert_eq!(kit.cmd(c, "ACL SAVE"), "");
    let Some(Action::AclFile { save: Some(text), reply: (session, ticket) }) = kit.actions.pop() else {
        panic!("the server must write the file")
    };
    assert!(text.starts_with(b"user default on nopass") && text.ends_with(b")\n"));
    kit.turn(|engine| engine.complete(session, ticket, b"+OK\r\n"));
    assert_eq!(kit.read(c), "+OK\r\n");
    // What was written can be loaded; users that aren't in it are gone.
    kit.cmd(c, "ACL SETUSER late");
    kit.turn(|engine| engine.load_users(&text, "users.acl")).expect("good");
    assert_eq!(kit.cmd(c, "ACL USERS"), "*2\r\n$7\r\ndefault\r\n$1\r\nu\r\n");
}

#[test]
fn sort_looks_at_other_keys_only_for_those_who_may_read_all() {
    let mut kit = Kit::default();
    let (admin, c) = (kit.connect(), kit.connect());
    kit.cmd(admin, "RPUSH l 1 2");
    kit.cmd(admin, "ACL SETUSER u on nopass +@all ~l");
    kit.cmd(c, "AUTH u x");
    assert_eq!(kit.cmd(c, "SORT l"), "*2\r\n$1\r\n1\r\n$1\r\n2\r\n");
    assert_eq!(kit.cmd(c, "SORT l BY nosort"), "*2\r\n$1\r\n1\r\n$1\r\n2\r\n");
    assert_eq!(kit.cmd(c, "SORT l BY w_*"), "-ERR BY option of SORT denied due to insufficient ACL permissions.\r\n");
    assert_eq!(kit.cmd(c, "SORT l GET *"), "-ERR GET option of SORT denied due to insufficient ACL permissions.\r\n");
    kit.cmd(admin, "ACL SETUSER u %R~*");
    assert_eq!(kit.cmd(c, "SORT l GET *"), "*2\r\n$-1\r\n$-1\r\n");
}

#[test]
fn a_sentinels_port_has_users_too() {
    let mut kit = Kit::new(EngineMode::Endpoint { name: "sentinel".to_owned(), beside_data: false });
    let (admin, c) = (kit.connect(), kit.connect());
    assert_eq!(kit.cmd(admin, "ACL SETUSER u on nopass +ping +publish &a"), "+OK\r\n");
    kit.cmd(c, "AUTH u x");
    assert_eq!(kit.cmd(c, "PING"), "+PONG\r\n");
    assert_eq!(kit.cmd(c, "PUBLISH b x"), NO_CHANNEL);
    assert_eq!(kit.cmd(c, "INFO"), no_command("u", "info"));
}

#[test]
fn passwords_are_seen_by_nobody() {
    let mut kit = Kit::default();
    let (monitor, c) = (kit.connect(), kit.connect());
    kit.cmd(monitor, "MONITOR");
    kit.cmd(c, "CONFIG SET slowlog-log-slower-than 0");
    kit.cmd(c, "ACL SETUSER u on >secret");
    kit.cmd(c, "AUTH u secret");
    kit.cmd(c, "CONFIG SET tls-key-file-pass secret");
    let shown = kit.read(monitor) + &kit.cmd(c, "SLOWLOG GET") + &kit.cmd(c, "ACL LOG");
    assert!(!shown.contains("secret"), "{shown}");
}

/// An option of a plugin's command, a parameter that a plugin calls a secret.
#[test]
fn what_plugins_keep_secret_is_seen_by_nobody() {
    struct Word;
    impl ForeignConfig for Word {
        fn get(&self) -> String {
            String::new()
        }
        fn set(&self, _: &str) -> Result<(), String> {
            Ok(())
        }
        fn secret(&self) -> bool {
            true
        }
    }
    impl ForeignCommand for Word {
        fn call(&self, ctx: &mut Ctx<'_>, _: Args<'_>) -> CommandResult {
            ctx.reply.ok();
            Ok(Effect::None)
        }
    }
    let mut kit = Kit::default();
    kit.engine.register_config("p", "magic-word", Some("magic"), Arc::new(Word)).expect("free");
    for name in ["sentinel|set", "sentinel|config"] {
        let spec = OwnedSpec {
            name: name.to_owned(),
            arity: -2,
            flags: Flags::NONE,
            keys: KeySpec::None,
            categories: Vec::new(),
            group: Group::Module,
            since: String::new(),
            summary: String::new(),
            page: String::new(),
        };
        kit.engine.register_command("p", spec, ForeignBody::Sync(Arc::new(Word)), false).expect("free");
    }
    let (monitor, c) = (kit.connect(), kit.connect());
    kit.cmd(monitor, "MONITOR");
    kit.cmd(c, "CONFIG SET slowlog-log-slower-than 0");
    for line in [
        "CONFIG SET magic-word secret",
        "CONFIG SET timeout 0 MAGIC secret",
        "SENTINEL SET m quorum 2 AUTH-PASS secret",
        "SENTINEL CONFIG SET sentinel-pass secret hello-key secret hello-key-old secret",
    ] {
        assert_eq!(kit.cmd(c, line), "+OK\r\n", "{line}");
    }
    let shown = kit.read(monitor) + &kit.cmd(c, "SLOWLOG GET");
    assert!(!shown.contains("secret") && shown.contains("quorum"), "{shown}");
}

/// Redis asks each time: only who came when nobody was asked for a password stays in without one.
#[test]
fn who_was_let_in_without_a_password_is_asked_again() {
    let mut kit = Kit::default();
    let admin = kit.connect();
    kit.cmd(admin, "CONFIG SET requirepass word");
    let (c, shown) = (kit.connect(), kit.connect());
    kit.cmd(shown, "AUTH word");
    kit.cmd(admin, "ACL SETUSER default nopass");
    assert_eq!(kit.cmd(c, "PING"), "+PONG\r\n");
    let between = kit.connect();
    kit.cmd(admin, "ACL SETUSER default resetpass >other");
    assert!(kit.cmd(c, "PING").starts_with("-NOAUTH"));
    for id in [admin, shown, between] {
        assert_eq!(kit.cmd(id, "PING"), "+PONG\r\n");
    }
    kit.cmd(c, "AUTH other");
    kit.cmd(admin, "ACL SETUSER default nopass");
    kit.cmd(admin, "ACL SETUSER default resetpass >third");
    assert_eq!(kit.cmd(c, "PING"), "+PONG\r\n", "it showed a password");
}

#[test]
fn passwords_are_made_of_nothing_that_is_shown() {
    let mut kit = Kit::default();
    let c = kit.connect();
    let first = kit.cmd(c, "ACL GENPASS");
    assert_eq!(first.len(), "$64\r\n\r\n".len() + 64);
    let mut all = std::collections::HashSet::from([first]);
    (0..100).for_each(|_| assert!(all.insert(kit.cmd(c, "ACL GENPASS"))));
    assert_eq!(kit.cmd(c, "ACL GENPASS 4096").len(), "$1024\r\n\r\n".len() + 1024);
    assert_eq!(kit.cmd(c, "ACL GENPASS 5").len(), "$2\r\n\r\n".len() + 2);
    // They take nothing of the dice that everybody may see fall.
    let draws = |passwords: usize| {
        let mut kit = Kit::default();
        let c = kit.connect();
        (0..passwords).for_each(|_| _ = kit.cmd(c, "ACL GENPASS"));
        kit.cmd(c, "SADD s 1 2 3 4 5 6 7 8 9 10 11 12");
        (0..20).map(|_| kit.cmd(c, "SRANDMEMBER s")).collect::<String>()
    };
    assert_eq!(draws(0), draws(3));
}

#[test]
fn a_refusal_in_a_transaction_tells_how_long_that_is() {
    let mut kit = Kit::default();
    let (admin, c) = (kit.connect(), kit.connect());
    kit.cmd(admin, "ACL SETUSER u on nopass +@all ~*");
    kit.cmd(c, "AUTH u x");
    for line in ["MULTI", "GET a", "CLIENT INFO"] {
        kit.cmd(c, line);
    }
    kit.cmd(admin, "ACL SETUSER u -get");
    let done = kit.cmd(c, "EXEC");
    assert!(done.contains("-NOPERM") && done.contains(" multi=2 ") && done.contains(" flags=x "), "{done}");
    assert!(kit.cmd(admin, "ACL LOG").contains(" multi=2 "));
    assert!(kit.cmd(c, "CLIENT INFO").contains(" multi=-1 "));
}

#[test]
fn who_loads_a_file_without_itself_is_told_before_it_is_closed() {
    let mut kit = Kit::default();
    kit.engine.core.config.init("aclfile", "users.acl").expect("a name");
    let (admin, c, other) = (kit.connect(), kit.connect(), kit.connect());
    kit.cmd(admin, "ACL SETUSER u on nopass +@all");
    kit.cmd(c, "AUTH u x");
    kit.cmd(other, "AUTH u x");
    assert_eq!(kit.cmd(c, "ACL LOAD"), "");
    let ticket = kit.actions.iter().find_map(|action| match action {
        keystead_engine::Action::AclFile { save: None, reply: (_, ticket) } => Some(*ticket),
        _ => None,
    });
    kit.turn(|engine| {
        engine.load_users_for(c, b"user default on nopass ~* &* +@all", "users.acl").expect("good");
        engine.complete(c, ticket.expect("asked for"), *b"+OK\r\n");
    });
    assert_eq!(kit.read(c), "+OK\r\n");
    assert!(kit.closed.contains(&c) && kit.closed.contains(&other) && !kit.closed.contains(&admin));
    assert_eq!(kit.cmd(admin, "PING"), "+PONG\r\n");
}

/// A stream from a primary is nobody's command.
#[test]
fn replication_needs_no_rights() {
    let mut kit = Kit::default();
    kit.turn(|engine| {
        engine.add_users(b"user default off -@all", "test").expect("good");
        let mut link = keystead_engine::ApplyState::default();
        let args: OwnedArgs = ["SET", "k", "v"].into_iter().collect();
        let mut bytes = format!("*{}\r\n", args.len()).into_bytes();
        for arg in args.view().iter() {
            bytes.extend_from_slice(format!("${}\r\n", arg.len()).as_bytes());
            bytes.extend_from_slice(arg);
            bytes.extend_from_slice(b"\r\n");
        }
        engine.apply_stream(&mut link, &bytes).expect("applied");
        assert_eq!(engine.ks.len(0), 1);
    });
}

#[test]
fn a_password_of_migrate_is_no_key() {
    let mut kit = Kit::default();
    let c = kit.connect();
    kit.cmd(c, "ACL SETUSER u on nopass +@all %RW~rw*");
    for (rest, allowed) in
        [("AUTH KEYS KEYS rw", true), ("AUTH2 KEYS KEYS KEYS rw1 rw2", true), ("AUTH KEYS KEYS other", false)]
    {
        let told = kit.cmd(c, &format!("ACL DRYRUN u MIGRATE host port '' 0 5000 {rest}"));
        assert_eq!(told == "+OK\r\n", allowed, "{rest}: {told}");
    }
}

/// No user's name is anything but UTF-8; another name is nobody's, and not that of the user with the character in its place.
#[test]
fn a_name_that_is_not_utf8_is_nobodys() {
    let mut kit = Kit::default();
    let c = kit.connect();
    assert_eq!(kit.cmd(c, "ACL SETUSER \u{fffd} on nopass +@all ~*"), "+OK\r\n");
    assert!(kit.cmd(c, "ACL GETUSER \u{fffd}").starts_with("*12\r\n"));
    assert_eq!(kit.send(c, b"ACL GETUSER \xff\r\n"), "$-1\r\n");
    assert_eq!(kit.send(c, b"ACL DRYRUN \xff GET k\r\n"), "-ERR User '\u{fffd}' not found\r\n");
    assert_eq!(kit.send(c, b"CLIENT KILL USER \xff\r\n"), "-ERR No such user '\u{fffd}'\r\n");
    assert_eq!(kit.send(c, b"ACL DELUSER \xff\r\n"), ":0\r\n");
    // Neither does another first argument come in the place of one.
    assert!(kit.send(c, b"ACL SETUSER u +get|\xff\r\n").starts_with("-ERR Error in ACL SETUSER modifier"));
}
