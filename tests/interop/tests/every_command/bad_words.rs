//! Every row's example again with bad words in it: integer extremes in the place of each number, line ends in the place of each
//! word. The server lives, answers each command once, and nobody's words become a reply of their own.

use super::{Client, Example, Keystead, examples, is_left_out, node, words};
use std::time::Duration;

const EXTREMES: &[&str] = &[
    "9223372036854775807",
    "-9223372036854775808",
    "-9223372036854775807",
    "18446744073709551615",
    "4611686018427387904",
    "-4611686018427387905",
    "1e308",
    "-1e308",
    "nan",
    "-1",
];
const LINE_ENDS: &[&str] = &["a\r\n+INJECTED\r\n", "\r\n\0"];

/// Rows that are left out, with the reason.
const LEFT_OUT: &[(&str, &str)] = &[
    ("debug|sleep", "does what it says"),
    ("debug|populate", "does what it says"),
    ("debug|error", "answers whatever it is told"),
];

/// How long a command may wait for what never comes.
const PATIENCE: Duration = Duration::from_millis(200);

/// The example with `bad` in the place of word `at`; whether the connection was of use afterwards.
fn attempt(node: &Keystead, example: &Example, at: usize, bad: &str) {
    let mut client = node.client();
    let id = client.command(&["CLIENT", "ID"]).as_int().expect("an id").to_string();
    client.cmd("FLUSHALL");
    let fill = |step: &str| words(&step.replace("{id}", &id));
    let steps: Vec<&str> = example.steps.split(" ; ").collect();
    let (last, first) = steps.split_last().expect("at least one step");
    for step in first {
        client.command(&fill(step));
    }
    let mut command = fill(last);
    let shown = format!("{last}, word {at}: {}", bad.escape_debug());
    command[at] = bad.as_bytes().to_vec();
    client.set_reply_limit(PATIENCE);
    let reply = client.try_command(&command);
    if let Ok(reply) = &reply
        && !example.name.contains("subscribe")
    {
        let next = client.try_command(&["PING"]);
        let own = next.as_ref().is_ok_and(|next| *next == "PONG" || !format!("{next:?}").contains("INJECTED"));
        assert!(own, "{shown}: {reply:?}, then {next:?}");
    }
    drop(client);
    let mut admin = node.client();
    for step in example.after.split(" ; ").filter(|step| !step.is_empty()) {
        admin.command(&words(step));
    }
    assert_eq!(admin.cmd("PING"), "PONG", "{shown}");
}

fn each(bad_words: &[&str], fits: fn(&[u8]) -> bool) -> usize {
    let mut node = node();
    let mut client: Client = node.client();
    // Strings of half a gigabyte are allowed, but no part of this.
    client.ok("CONFIG SET proto-max-bulk-len 1048576");
    let mut tried = 0;
    for example in examples() {
        if is_left_out(LEFT_OUT, &example) {
            continue;
        }
        let last = example.steps.split(" ; ").last().expect("a step");
        for (at, word) in words(last).iter().enumerate().skip(1) {
            if fits(word) {
                bad_words.iter().for_each(|bad| attempt(&node, &example, at, bad));
                tried += 1;
            }
        }
        assert!(node.process.is_alive(), "{}:\n{}", example.name, node.process.log());
    }
    let log = node.process.log();
    assert!(!log.contains("panicked"), "{log}");
    tried
}

#[test]
fn integer_extremes_in_every_number() {
    let number = |word: &[u8]| {
        let text = String::from_utf8_lossy(word);
        let digits = text.trim_start_matches(['(', '[', '-', '#']);
        digits.starts_with(|first: char| first.is_ascii_digit()) && digits.parse::<f64>().is_ok()
    };
    let tried = each(EXTREMES, number);
    assert!(tried > 120, "{tried} numbers");
}

#[test]
fn line_ends_in_every_word() {
    let tried = each(LINE_ENDS, |word| !word.starts_with(b"#!"));
    assert!(tried > 400, "{tried} words");
}
