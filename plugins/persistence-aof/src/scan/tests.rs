//! Cut at any byte, changed at any byte: what is found is whole, and what isn't is said with its place.

use super::*;
use proptest::prelude::*;

const SELECT: &str = "*2\r\n$6\r\nSELECT\r\n$1\r\n0\r\n";
const SET: &str = "*3\r\n$3\r\nSET\r\n$1\r\na\r\n$1\r\n1\r\n";
const MULTI: &str = "*1\r\n$5\r\nMULTI\r\n";
const EXEC: &str = "*1\r\n$4\r\nEXEC\r\n";

fn scan(text: &[u8], piece: usize) -> Result<(Vec<u8>, End), Damage> {
    let mut scanner = Scanner::default();
    let mut out = Vec::new();
    for piece in text.chunks(piece.max(1)) {
        out.extend(scanner.feed(piece)?);
    }
    Ok((out, scanner.end()?))
}

#[test]
fn units_come_whole_and_annotations_do_not() {
    let id = "a".repeat(40);
    let text = format!("#TS:1\r\n{SELECT}{MULTI}{SET}#TS:2\r\n{SET}{EXEC}#KS:77:0:{id}\r\n{SET}#KS:99:0\r\n");
    for piece in [1, 7, 1000] {
        let (units, end) = scan(text.as_bytes(), piece).expect("a file");
        assert_eq!(String::from_utf8(units).expect("text"), format!("{SELECT}{MULTI}{SET}{SET}{EXEC}{SET}"));
        let note = Note { replid: id.clone(), offset: 99, db: 0 };
        assert_eq!(end, End { whole: text.len() as u64, rest: 0, units: 3, note: Some(note), damaged_note: None });
    }
}

/// What a large value takes is what it is: the bytes that were fed are given out, not a copy of them.
#[test]
fn a_large_value_is_given_out_as_it_was_gathered() {
    let value = "v".repeat(3 << 20);
    let text = format!("*3\r\n$3\r\nSET\r\n$1\r\na\r\n${}\r\n{value}\r\n{SET}", value.len());
    let mut scanner = Scanner::default();
    let (begin, rest) = text.as_bytes().split_at(value.len());
    assert_eq!(scanner.feed(begin), Ok(Vec::new()));
    scanner.buf.reserve_exact(rest.len());
    let held = scanner.buf.as_ptr();
    let units = scanner.feed(rest).expect("whole commands");
    assert_eq!((units.as_ptr(), units.as_slice()), (held, text.as_bytes()));
}

#[test]
fn a_note_holds_only_at_the_end() {
    let text = format!("{SET}#KS:77:0:{}\r\n{SET}", "a".repeat(40));
    assert_eq!(scan(text.as_bytes(), 9).expect("a file").1.note, None);
}

/// A note that isn't as it was written tells no place, and neither does what stands before it; a whole one behind it does.
#[test]
fn a_damaged_note_tells_no_place() {
    let id = "a".repeat(40);
    let first = format!("{SET}#KS:77:0:{id}\r\n");
    let note = |offset| Some(Note { replid: id.clone(), offset, db: 0 });
    let bad = "#KS:99:0:c00000000\r\n";
    let end = |text: String, piece| scan(text.as_bytes(), piece).expect("a file").1;
    for piece in [1, 9, 1000] {
        for (behind, found) in [("", None), (SET, None), ("#KS:99:0\r\n", note(99)), (bad, None)] {
            let end = end(format!("{first}{bad}{behind}"), piece);
            let at = first.len() + if behind == bad { bad.len() } else { 0 };
            assert_eq!((end.note, end.damaged_note), (found, Some(at as u64)), "{behind}");
        }
        let whole = end(first.clone(), piece);
        assert_eq!((whole.note, whole.damaged_note), (note(77), None));
    }
}

/// Taken for a missing end, it would cost all that follows it.
#[test]
fn an_exec_that_is_damaged_is_no_missing_end() {
    let note = format!("#KS:77:0:{}\r\n", "a".repeat(40));
    let bad = "*1\r\n$4\r\nEYEC\r\n";
    for (behind, what) in [(note, "a MULTI without EXEC"), (format!("{MULTI}{SET}{EXEC}"), "a MULTI inside of another")]
    {
        let text = format!("{SET}{MULTI}{SET}{bad}{SET}{behind}");
        for piece in [1, 9, 1000] {
            let damage = scan(text.as_bytes(), piece).expect_err("damage");
            assert_eq!((damage.at, damage.what.as_str()), (SET.len() as u64, what));
        }
    }
}

#[test]
fn damage_has_a_place() {
    let cases = [
        (format!("{SET}SET a 1\r\n"), SET.len(), "instead of '*'"),
        (format!("{SET}*3\r\n$x\r\n"), SET.len(), ""),
        (format!("{SET}{}{SET}{SET}", SET.replacen("$1", "$90", 1)), SET.len(), "followed by others"),
        (format!("{SET}#{}", "x".repeat(2000)), SET.len(), "annotation"),
    ];
    for (text, at, what) in cases {
        let damage = scan(text.as_bytes(), 16).expect_err(&text);
        assert_eq!(damage.at, at as u64, "{text}: {damage:?}");
        assert!(damage.what.contains(what), "{damage:?}");
    }
}

/// Each beginning that such a text holds promises more than there is, and takes all that follows for its own.
#[test]
fn a_value_made_to_be_looked_at_for_hours_is_given_up() {
    let begins = "$14\r\n*999999\r\n$1\r\nX\r\n".repeat(400);
    let cut = format!("*3\r\n$3\r\nSET\r\n$1\r\na\r\n$99999\r\nxx\r\n*999999\r\n$3\r\nSET\r\n{begins}");
    let long = cut.len() * cut.len();
    assert_eq!(next_command(cut.as_bytes(), long), Behind::None);
    assert_eq!(next_command(cut.as_bytes(), long / 100), Behind::Unknown);
    assert_eq!(next_command(format!("{cut}{SET}").as_bytes(), long), Behind::Command(cut.len()));
    // Anything that nobody made for it is told from little.
    let plain = format!("*3\r\n$3\r\nSET\r\n$1\r\na\r\n$9999\r\n{}", "\r\n*text".repeat(1000));
    assert_eq!(next_command(plain.as_bytes(), plain.len() * 4), Behind::None);
}

#[test]
fn a_command_that_acts_on_the_server_is_refused_with_its_own_place() {
    let shutdown = "*1\r\n$8\r\nSHUTDOWN\r\n";
    for (before, command, name) in [
        (SET.to_owned(), shutdown, "shutdown"),
        (format!("{SET}{MULTI}{SET}"), shutdown, "shutdown"),
        (String::new(), "*3\r\n$9\r\nreplicaof\r\n$1\r\na\r\n$1\r\n1\r\n", "replicaof"),
    ] {
        let damage = scan(format!("{before}{command}{SET}").as_bytes(), 16).expect_err(name);
        assert_eq!((damage.at, damage.command.as_deref()), (before.len() as u64, Some(name)));
    }
}

proptest! {
    /// A file that is cut anywhere loses its last unit at most, and never half of one.
    #[test]
    fn a_cut_file_keeps_its_whole_units(counts in prop::collection::vec(0..4usize, 1..8), cut in any::<prop::sample::Index>(),
                                        piece in 1..50usize) {
        let mut ends = vec![0];
        let mut text = String::new();
        for count in counts {
            match count {
                0 => text.push_str(SET),
                count => text.push_str(&format!("{MULTI}{}{EXEC}", SET.repeat(count))),
            }
            ends.push(text.len());
        }
        let cut = cut.index(text.len() + 1);
        let whole = ends.iter().copied().filter(|end| *end <= cut).max().unwrap_or(0);
        let (units, end) = scan(&text.as_bytes()[..cut], piece).expect("only cut");
        prop_assert_eq!((units.len(), end.whole, end.rest), (whole, whole as u64, (cut - whole) as u64));
    }

    #[test]
    fn any_change_is_survived(bytes in prop::collection::vec(any::<u8>(), 0..40), at in 0..200usize, piece in 1..50usize) {
        let mut text = format!("{SELECT}{MULTI}{SET}{EXEC}{}", SET.repeat(4)).into_bytes();
        let at = at.min(text.len());
        text.splice(at.., bytes);
        if let Err(damage) = scan(&text, piece) {
            prop_assert!(damage.at <= text.len() as u64);
        }
    }
}
