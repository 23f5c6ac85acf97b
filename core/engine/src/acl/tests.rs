//! Tables: what words of rules make of a user, which are refused and why, and who may run what.

use super::*;
use crate::engine::{Engine, EngineOptions};
use crate::exec;
use keystead_resp::OwnedArgs;

fn engine() -> Engine {
    Engine::new(EngineOptions::default())
}

/// The line of a new user after some rules, without `user u` in front; or the error.
fn line(rules: &str) -> String {
    let engine = engine();
    let words: Vec<&[u8]> = rules.split(' ').map(str::as_bytes).collect();
    match engine.core.acl.edited("u", &words, &engine.core.registry) {
        Ok(user) => String::from_utf8_lossy(&user.line()).replacen("user u ", "", 1),
        Err(why) => String::from_utf8_lossy(&why).into_owned(),
    }
}

#[test]
fn rules_and_what_becomes_of_them() {
    let secret = "#9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08";
    let cases = [
        ("", "off sanitize-payload resetchannels -@all"),
        ("on nopass allkeys allchannels allcommands", "on nopass sanitize-payload ~* &* +@all"),
        ("on >test", &format!("on sanitize-payload {secret} resetchannels -@all")),
        ("on >test >test", &format!("on sanitize-payload {secret} resetchannels -@all")),
        ("nopass >test", &format!("off sanitize-payload {secret} resetchannels -@all")),
        (&format!("{secret} nopass"), "off nopass sanitize-payload resetchannels -@all"),
        (">test <test", "off sanitize-payload resetchannels -@all"),
        (&format!(">test !{}", &secret[1..]), "off sanitize-payload resetchannels -@all"),
        ("skip-sanitize-payload", "off skip-sanitize-payload resetchannels -@all"),
        ("~a ~b ~a", "off sanitize-payload ~a ~b resetchannels -@all"),
        ("%R~a %W~b %RW~c %wr~d", "off sanitize-payload %R~a %W~b ~c ~d resetchannels -@all"),
        ("%R~a %W~a", "off sanitize-payload ~a resetchannels -@all"),
        ("~a resetkeys ~b", "off sanitize-payload ~b resetchannels -@all"),
        ("&a &b &a", "off sanitize-payload resetchannels &a &b -@all"),
        ("+get +SET -get", "off sanitize-payload resetchannels -@all +set -get"),
        ("+@all -config +config|get", "off sanitize-payload resetchannels +@all -config +config|get"),
        ("+config|get +config", "off sanitize-payload resetchannels -@all +config"),
        ("+@read +get -@read", "off sanitize-payload resetchannels -@all +get -@read"),
        ("+get +@all", "off sanitize-payload resetchannels +@all"),
        ("+select|0 +select|1", "off sanitize-payload resetchannels -@all +select|0 +select|1"),
        ("+select|0 +select", "off sanitize-payload resetchannels -@all +select"),
        ("+get (~a +get) (~b", "Unmatched parenthesis in acl selector starting at '(~b'."),
        (
            "(~a +get) (%R~b +@all)",
            "off sanitize-payload resetchannels -@all (~a resetchannels -@all +get) (%R~b resetchannels +@all)",
        ),
        ("+script|kill +EVAL -wait", "off sanitize-payload resetchannels -@all +script|kill +eval -wait"),
        ("+script|kill +script +eval|x", "off sanitize-payload resetchannels -@all +script +eval|x"),
        ("(~a) clearselectors", "off sanitize-payload resetchannels -@all"),
        ("on >test ~a &a +get (~b) reset", "off sanitize-payload resetchannels -@all"),
    ];
    for (rules, want) in cases {
        assert_eq!(line(rules), want, "{rules}");
    }
}

#[test]
fn words_that_are_refused() {
    let cases = [
        ("nothing", "Syntax error"),
        ("%~a", "Syntax error"),
        ("%RR~a", "Syntax error"),
        ("%X~a", "Syntax error"),
        ("~a\tb", "Syntax error"),
        ("+select|", "Syntax error"),
        ("+nope", "Unknown command or category name in ACL"),
        ("-select|0", "Unknown command or category name in ACL"),
        ("+config|nope", "Unknown command or category name in ACL"),
        ("+script|nope", "Unknown command or category name in ACL"),
        ("-eval|x", "Unknown command or category name in ACL"),
        ("+eval|", "Syntax error"),
        ("+script|kill|x", "Allowing first-arg of a subcommand is not supported"),
        ("+@nope", "Unknown command or category name in ACL"),
        ("+config|get|maxmemory", "Allowing first-arg of a subcommand is not supported"),
        ("<x", "The password you are trying to remove from the user does not exist"),
        ("#x", "The password hash must be exactly 64 characters and contain only lowercase hexadecimal characters"),
    ];
    for (word, why) in cases {
        assert_eq!(line(word), format!("Error in ACL SETUSER modifier '{word}': {why}"));
    }
    assert!(line("~* ~a").contains("'~a': Adding a pattern after the * pattern (or the 'allkeys' flag)"));
    assert!(line("&* &a").contains("'&a': Adding a pattern after the * pattern (or the 'allchannels' flag)"));
    // In a file of users such a selector would end too early.
    for selector in ["(~a))", "(+get &a))", "(+get ~a)))"] {
        assert_eq!(line(selector), format!("Error in ACL SETUSER modifier '{selector}': Syntax error"));
    }
    assert!(line("(~a nope)").starts_with("Error in ACL SETUSER modifier '(~a nope)': Syntax error"));
}

/// Seen at redis-server 7.0.15.
#[test]
fn a_word_that_is_refused_is_quoted_as_it_came() {
    let engine = engine();
    let cases: [(&[u8], &[u8]); 3] = [
        (b"+\xff", b"Error in ACL SETUSER modifier '+\xff': Unknown command or category name in ACL"),
        (b"~a\0b", b"Error in ACL SETUSER modifier '~a': Syntax error"),
        (b"(~\xfe", b"Unmatched parenthesis in acl selector starting at '(~\xfe'."),
    ];
    for (word, why) in cases {
        let edited = engine.core.acl.edited("u", &[word], &engine.core.registry);
        assert_eq!(edited.expect_err("refused"), why, "{}", why.escape_ascii());
    }
}

fn verdict(rules: &str, command: &str) -> String {
    let engine = engine();
    let words: Vec<&[u8]> = rules.split(' ').map(str::as_bytes).collect();
    let user = engine.core.acl.edited("u", &words, &engine.core.registry).expect("good rules");
    let args: OwnedArgs = command.split(' ').collect();
    let found = exec::find(&engine.core, args.view()).expect("known");
    match check(&user, found, args.view()) {
        Ok(()) => "yes".to_owned(),
        Err(Denied::Command) => "command".to_owned(),
        Err(Denied::Key(at)) => format!("key {}", String::from_utf8_lossy(args.view().at(at))),
        Err(Denied::Channel(at)) => format!("channel {}", String::from_utf8_lossy(args.view().at(at))),
    }
}

#[test]
fn who_may_run_what() {
    let cases = [
        ("+@all ~*", "GET k", "yes"),
        ("~*", "GET k", "command"),
        ("~*", "AUTH x", "yes"),
        ("+get ~*", "SET k v", "command"),
        ("+@read ~*", "GET k", "yes"),
        ("+@read ~*", "SET k v", "command"),
        ("+@all -@write ~*", "SET k v", "command"),
        ("+@all -@write +set ~*", "SET k v", "yes"),
        ("+@all -config ~*", "CONFIG GET x", "command"),
        ("+config|get", "CONFIG GET x", "yes"),
        ("+config|get", "CONFIG SET x 1", "command"),
        ("+select|0", "SELECT 0", "yes"),
        ("+select|0", "SELECT 1", "command"),
        // Keys, and what is done with them.
        ("+@all ~a*", "MGET a1 b1", "key b1"),
        ("+@all %R~a", "GET a", "yes"),
        ("+@all %R~a", "SET a 1", "key a"),
        ("+@all %W~a", "SET a 1", "yes"),
        ("+@all %W~a", "SET a 1 GET", "key a"),
        ("+@all %W~a", "GET a", "key a"),
        ("+@all %W~a", "EXISTS a", "yes"),
        ("+@all %W~a", "LPUSH a 1", "yes"),
        ("+@all %W~a", "LPOP a", "key a"),
        ("+@all %W~a", "INCR a", "key a"),
        ("+@all %R~a %W~b", "COPY a b", "yes"),
        ("+@all %R~a %W~b", "COPY b a", "key b"),
        ("+@all %R~a %W~b", "SORT a STORE b", "yes"),
        ("+@all %R~a %W~b", "SORT a STORE b STORE a", "key a"),
        ("+@all %R~a %W~b", "SORT a STORE a STORE b", "yes"),
        ("+@all %R~a %W~b", "ZUNIONSTORE b 1 a", "yes"),
        ("+@all %R~a", "BITFIELD a GET u8 0", "yes"),
        ("+@all %R~a", "BITFIELD a SET u8 0 1", "key a"),
        // Channels.
        ("+@all &a*", "PUBLISH abc x", "yes"),
        ("+@all &a*", "PUBLISH b x", "channel b"),
        ("+@all &a*", "SUBSCRIBE abc b", "channel b"),
        ("+@all &a*", "PSUBSCRIBE a*", "yes"),
        ("+@all &a*", "PSUBSCRIBE abc*", "channel abc*"),
        ("+@all", "UNSUBSCRIBE x", "yes"),
        ("+@all", "PUBSUB CHANNELS", "yes"),
        // One selector must allow all of it; the refusal that came furthest is told.
        ("+get ~a (+set ~b)", "GET a", "yes"),
        ("+get ~a (+set ~b)", "SET b 1", "yes"),
        ("+get ~a (+set ~b)", "SET a 1", "key a"),
        ("+get ~a (+@all ~b)", "MGET b a", "key a"),
    ];
    for (rules, command, want) in cases {
        assert_eq!(verdict(rules, command), want, "{rules} | {command}");
    }
}

#[test]
fn a_file_tells_all_that_is_wrong_with_it() {
    let engine = engine();
    let read = |text: &str| text::read(text.as_bytes(), "users.acl", &engine.core.registry, false);
    let users = read("user a on +get ~x\r\n\n  user default off (+set ~y)\n").expect("good");
    assert_eq!(users.iter().map(|user| user.name.as_str()).collect::<Vec<_>>(), ["a", "default"]);
    let cases = [
        ("usr a", "users.acl:1 should start with user keyword followed by the username. "),
        ("user", "users.acl:1 should start with user keyword followed by the username. "),
        ("user a\nuser a", "WARNING: Duplicate user 'a' found on line 2. "),
        ("user a +nope", "users.acl:1: Error in applying operation '+nope': Unknown command or category name in ACL. "),
        ("user a bad >pw", "users.acl:1: Syntax error. "),
        ("user a (~x", "users.acl:1: Unmatched parenthesis in selector definition."),
    ];
    let end = "WARNING: ACL errors detected, no change to the previously active ACL rules was performed";
    for (text, want) in cases {
        assert_eq!(read(text).expect_err(text), format!("{want}{end}"));
    }
}

#[test]
fn what_is_written_is_read_again() {
    let engine = engine();
    let words: Vec<&[u8]> = vec![b"on", b">pw", b"%R~a", b"~\xff*", b"&c", b"+@read", b"-get", b"(+select|0", b"~z)"];
    // All keys beside one of them: where Redis lists `~* %R~b`, it doesn't take its own file.
    let in_front: Vec<&[u8]> = vec![b"%RW~*", b"%R~b"];
    let behind: Vec<&[u8]> = vec![b"%R~b", b"%RW~*"];
    for words in [words, in_front, behind] {
        let user = engine.core.acl.edited("u", &words, &engine.core.registry).expect("good");
        let again = text::read(&user.line(), "x", &engine.core.registry, false).expect("good");
        assert_eq!(again, [user]);
    }
}
