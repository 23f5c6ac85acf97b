//! Tables of Redis' texts, and a naive twin fed the same bytes in one piece.

use super::*;
use proptest::prelude::*;

type Words = Vec<Vec<u8>>;

/// All commands in `bytes`, arriving in pieces that end at `cuts`; the error that ended it, and what was left over.
fn decode_all(bytes: &[u8], cuts: &[usize], limits: &Limits) -> (Vec<Words>, Option<ProtocolError>, usize) {
    let mut decoder = Decoder::new();
    let (mut commands, mut at) = (Vec::new(), 0);
    let mut ends: Vec<usize> = cuts.iter().copied().filter(|cut| *cut < bytes.len()).collect();
    ends.sort_unstable();
    ends.push(bytes.len());
    for end in ends {
        loop {
            let arrived = &bytes[at.min(end)..end];
            match decoder.decode(arrived, limits) {
                Ok(Decoded::Need(hint)) => {
                    assert!((1..=READ_AHEAD).contains(&hint));
                    break;
                }
                Ok(Decoded::Skip(consumed)) => at += consumed,
                Ok(Decoded::Command { consumed, args, canonical }) => {
                    let words: Words = crate::Args::new(arrived, &args).iter().map(<[u8]>::to_vec).collect();
                    let mut again = Vec::new();
                    crate::write_command(&mut again, words.iter().map(Vec::as_slice));
                    assert_eq!(canonical, again == arrived[..consumed]);
                    commands.push(words);
                    at += consumed;
                }
                Ok(Decoded::Inline { consumed, args }) => {
                    commands.push(args.view().iter().map(<[u8]>::to_vec).collect());
                    at += consumed;
                }
                Err(error) => return (commands, Some(error), bytes.len() - at),
            }
        }
    }
    (commands, None, bytes.len() - at)
}

fn whole(bytes: &[u8], limits: &Limits) -> (Vec<Words>, Option<ProtocolError>, usize) {
    decode_all(bytes, &[], limits)
}

fn words(list: &[&[&str]]) -> Vec<Words> {
    list.iter().map(|command| command.iter().map(|word| word.as_bytes().to_vec()).collect()).collect()
}

#[test]
fn requests_that_are_accepted() {
    let eleven = format!("*11\r\n{}", "$1\r\na\r\n".repeat(11));
    let cases: &[(&str, &[&[&str]], usize)] = &[
        ("*1\r\n$4\r\nPING\r\n", &[&["PING"]], 0),
        ("*2\r\n$3\r\nGET\r\n$0\r\n\r\n*1\r\n$1\r\nx\r\n", &[&["GET", ""], &["x"]], 0),
        (&eleven, &[&["a"; 11]], 0),
        ("PING\r\n", &[&["PING"]], 0),
        ("PING\n\n\r\nset a 'b c'\n", &[&["PING"], &["set", "a", "b c"]], 0),
        ("*0\r\n*-5\r\nPING\r\n", &[&["PING"]], 0),
        ("*1\r\n$4\r\nPI", &[], 10),
        ("*1\rx$4\ryPINGzz", &[&["PING"]], 0),
        ("*2\r\n$1\r\na\r\n", &[], 11),
        ("*", &[], 1),
        ("*1\r", &[], 3),
        ("PIN", &[], 3),
        ("", &[], 0),
    ];
    for (bytes, commands, left) in cases {
        let (got, error, rest) = whole(bytes.as_bytes(), &Limits::default());
        assert_eq!((got, error, rest), (words(commands), None, *left), "{bytes:?}");
    }
}

#[test]
fn errors_in_the_words_of_redis() {
    let open = Limits::default();
    let before_auth = Limits { authenticated: false, ..Limits::default() };
    let long = "x".repeat(64 * 1024 + 1);
    let (long_star, long_dollar) = (format!("*{long}"), format!("*1\r\n${long}"));
    let cases: &[(&str, &Limits, &str)] = &[
        (&long, &open, "too big inline request"),
        (&long_star, &open, "too big mbulk count string"),
        (&long_dollar, &open, "too big bulk count string"),
        ("*a\r\n", &open, "invalid multibulk length"),
        ("*\r\n", &open, "invalid multibulk length"),
        ("*01\r\n", &open, "invalid multibulk length"),
        ("* 1\r\n", &open, "invalid multibulk length"),
        ("*2147483648\r\n", &open, "invalid multibulk length"),
        ("*9999999999999999999999\r\n", &open, "invalid multibulk length"),
        ("*1\r\nPING\r\n", &open, "expected '$', got 'P'"),
        ("*1\r\n\r\n", &open, "expected '$', got ' '"),
        ("*1\r\n$a\r\n", &open, "invalid bulk length"),
        ("*1\r\n$-1\r\n", &open, "invalid bulk length"),
        ("*1\r\n$536870913\r\n", &open, "invalid bulk length"),
        ("*1\r\n$99999999999999999999\r\n", &open, "invalid bulk length"),
        ("*11\r\n", &before_auth, "unauthenticated multibulk length"),
        ("*1\r\n$16385\r\n", &before_auth, "unauthenticated bulk length"),
        ("set \"a\r\n", &open, "unbalanced quotes in request"),
    ];
    for (bytes, limits, text) in cases {
        let (_, error, _) = whole(bytes.as_bytes(), limits);
        assert_eq!(error.map(|e| e.to_string()), Some(format!("Protocol error: {text}")), "{bytes:.40}");
    }
    for accepted in ["*10\r\n", "*1\r\n$16384\r\n", "*1\r\n$536870912\r\n", "*2147483647\r\n"] {
        assert_eq!(whole(accepted.as_bytes(), &open).1, None, "{accepted}");
    }
    assert_eq!(whole(b"*10\r\n$16384\r\n", &before_auth).1, None);
    let link = Limits { max_bulk: u64::MAX, ..Limits::default() };
    assert_eq!(whole(b"*1\r\n$536870913\r\n", &link).1, None);
    assert_eq!(whole(b"*1\r\n$4294967296\r\n", &link).1, Some(ProtocolError::TooBigCommand));
}

/// A 512 MB header with one byte behind it asks for no more than the read-ahead.
#[test]
fn promises_reserve_nothing() {
    let mut decoder = Decoder::new();
    let decoded = decoder.decode(b"*1000000000\r\n$536870912\r\nx", &Limits::default()).unwrap();
    assert!(matches!(decoded, Decoded::Need(READ_AHEAD)));
    assert!(decoder.in_command());
    assert!(!decoder.args.spilled());
    decoder.reset();
    assert!(!decoder.in_command());
}

/// What is parsed is not looked at again: a bulk of 8 MB in pieces of 16 bytes takes a moment, not minutes.
#[test]
fn pieces_cost_linear_time() {
    let mut bytes = b"*2\r\n$3\r\nSET\r\n$8388608\r\n".to_vec();
    bytes.resize(bytes.len() + 8_388_608, b'v');
    bytes.extend_from_slice(b"\r\n");
    let cuts: Vec<usize> = (0..bytes.len()).step_by(16).collect();
    let (commands, error, left) = decode_all(&bytes, &cuts, &Limits::default());
    assert_eq!((commands.len(), error, left), (1, None, 0));
    let line = vec![b'x'; 64 * 1024];
    let every: Vec<usize> = (0..line.len()).collect();
    assert_eq!(decode_all(&line, &every, &Limits::default()).2, line.len());
}

/// The twin: reads multibulk requests with the plainest code there is.
fn naive(mut bytes: &[u8]) -> Vec<Words> {
    fn number(bytes: &mut &[u8], kind: u8) -> Option<usize> {
        let text = String::from_utf8_lossy(bytes);
        let (line, _) = text.split_once("\r\n")?;
        let value = line.strip_prefix(char::from(kind))?.parse().ok()?;
        *bytes = &bytes[line.len() + 2..];
        Some(value)
    }
    let mut commands = Vec::new();
    loop {
        let mut command = Words::new();
        let Some(count) = number(&mut bytes, b'*') else { return commands };
        for _ in 0..count {
            let Some(len) = number(&mut bytes, b'$') else { return commands };
            if bytes.len() < len + 2 {
                return commands;
            }
            command.push(bytes[..len].to_vec());
            bytes = &bytes[len + 2..];
        }
        commands.push(command);
    }
}

fn requests() -> impl Strategy<Value = Vec<Words>> {
    let word = prop_oneof![
        proptest::collection::vec(any::<u8>(), 0..20),
        proptest::collection::vec(any::<u8>(), 90..130),
        Just(b"\r\n$3\r\n*1\r\n".to_vec()),
    ];
    proptest::collection::vec(proptest::collection::vec(word, 1..12), 0..8)
}

/// Bytes that look like the protocol often enough to reach its corners.
fn noise() -> impl Strategy<Value = Vec<u8>> {
    let token = prop_oneof![
        Just(b"\r\n".to_vec()),
        Just(b"*".to_vec()),
        Just(b"$".to_vec()),
        Just(b"1".to_vec()),
        Just(b"-1".to_vec()),
        Just(b"999999999".to_vec()),
        Just(b"\"".to_vec()),
        Just(b"*1\r\n$4\r\nPING\r\n".to_vec()),
        Just(b"*3\r\n$".to_vec()),
        proptest::collection::vec(any::<u8>(), 0..6),
    ];
    proptest::collection::vec(token, 0..40).prop_map(|tokens| tokens.concat())
}

proptest! {
    #[test]
    fn what_is_written_is_read_in_any_pieces(requests in requests(), cuts in proptest::collection::vec(0usize..2000, 0..30), drop in 0usize..40) {
        let mut bytes = Vec::new();
        for request in &requests {
            crate::write_command(&mut bytes, request.iter().map(Vec::as_slice));
        }
        prop_assert_eq!(&whole(&bytes, &Limits::default()).0, &requests);
        bytes.truncate(bytes.len().saturating_sub(drop));
        let (commands, error, _) = decode_all(&bytes, &cuts, &Limits::default());
        prop_assert_eq!(error, None);
        prop_assert_eq!(commands, naive(&bytes));
    }

    #[test]
    fn noise_means_the_same_in_any_pieces(bytes in noise(), cuts in proptest::collection::vec(0usize..100, 0..20), authenticated: bool) {
        let limits = Limits { authenticated, max_inline: 64, ..Limits::default() };
        let (one, in_pieces) = (whole(&bytes, &limits), decode_all(&bytes, &cuts, &limits));
        // A line that is too long is noticed when it arrives, or only after the error behind it: both end the connection.
        if one.1.is_none() || in_pieces.1 == one.1 {
            prop_assert_eq!(one, in_pieces);
        }
    }

    #[test]
    fn both_ways_to_decode_agree(requests in requests(), noise in noise()) {
        let mut bytes = Vec::new();
        for request in &requests {
            crate::write_command(&mut bytes, request.iter().map(Vec::as_slice));
        }
        bytes.extend(noise);
        let (mut one, mut flat, mut at) = (Decoder::new(), Decoder::new(), 0);
        let limits = Limits::default();
        loop {
            let mut ranges = vec![(9, 9)];
            let (a, b) = (one.decode(&bytes[at..], &limits), flat.decode_into(&bytes[at..], &limits, &mut ranges));
            match (a, b) {
                (Ok(Decoded::Command { consumed, args, canonical }), Ok(Found::Command { consumed: c, canonical: k })) => {
                    prop_assert_eq!((consumed, &args[..], canonical), (c, &ranges[1..], k));
                    at += consumed;
                }
                (Ok(Decoded::Skip(n)), Ok(Found::Skip(m))) => {
                    prop_assert_eq!(n, m);
                    at += n;
                }
                (Ok(Decoded::Inline { consumed, args }), Ok(Found::Inline { consumed: c, args: b })) => {
                    prop_assert_eq!((consumed, args), (c, *b));
                    at += consumed;
                }
                (Ok(Decoded::Need(n)), Ok(Found::Need(m))) => {
                    prop_assert_eq!((n, ranges.len()), (m, 1));
                    break;
                }
                (a, b) => {
                    prop_assert_eq!(a.unwrap_err(), b.unwrap_err());
                    break;
                }
            }
        }
    }

    #[test]
    fn random_bytes_never_panic(bytes: Vec<u8>) {
        whole(&bytes, &Limits::default());
        let _ = crate::split_args(&bytes);
    }
}

#[test]
fn a_half_command_is_known_by_its_parts() {
    let (mut decoder, limits) = (Decoder::new(), Limits::default());
    let whole = format!("*3\r\n$3\r\nSET\r\n$1\r\nk\r\n${LARGE_ARGUMENT}\r\n{}\r\n", "v".repeat(LARGE_ARGUMENT));
    let value_at = whole.len() - LARGE_ARGUMENT - 2;
    for (end, taken, words, promised) in [
        (0, 0, 0, 0),
        (3, 0, 0, 0),
        (10, 8, 0, 0),
        (13, 13, 3, 0),
        (22, 20, 4, 0),
        (value_at + 100, value_at, 4, LARGE_ARGUMENT - 98),
        (value_at + LARGE_ARGUMENT, value_at, 4, 2),
        (whole.len(), 0, 0, 0),
    ] {
        let decoded = decoder.decode(&whole.as_bytes()[..end], &limits);
        assert_eq!(matches!(decoded, Ok(Decoded::Command { .. })), end == whole.len(), "{end}");
        assert_eq!(decoder.begun(), Begun { taken, words, promised }, "{end}");
    }
    // A small one's header promises nothing that counts.
    assert!(matches!(decoder.decode(b"*1\r\n$100\r\nab", &limits), Ok(Decoded::Need(_))));
    assert_eq!(decoder.begun(), Begun { taken: 10, words: 0, promised: 0 });
    decoder.reset();
    assert_eq!(decoder.begun(), Begun::default());
}

/// As a driver decodes what came of a pipeline: what each command is, and where it ends.
fn decode_with_openings(bytes: &[u8], limits: &Limits) -> Vec<(Words, usize, bool)> {
    let (mut decoder, mut found, mut at) = (Decoder::new(), Vec::new(), 0);
    let mut opening = Opening::NONE;
    loop {
        let (rest, mut ranges) = (&bytes[at..], Vec::new());
        let (consumed, canonical) = match decoder.decode_like(opening, rest, limits, &mut ranges) {
            Some(consumed) => (consumed, true),
            None => match decoder.decode_into(rest, limits, &mut ranges) {
                Ok(Found::Command { consumed, canonical }) => (consumed, canonical),
                _ => return found,
            },
        };
        opening = if canonical { Opening::of(rest, &ranges) } else { Opening::NONE };
        at += consumed;
        found.push((crate::Args::new(rest, &ranges).iter().map(<[u8]>::to_vec).collect(), at, canonical));
    }
}

fn decode_one_by_one(bytes: &[u8], limits: &Limits) -> Vec<(Words, usize, bool)> {
    let (mut decoder, mut found, mut at) = (Decoder::new(), Vec::new(), 0);
    while let Ok(Decoded::Command { consumed, args, canonical }) = decoder.decode(&bytes[at..], limits) {
        let words = crate::Args::new(&bytes[at..], &args).iter().map(<[u8]>::to_vec).collect();
        at += consumed;
        found.push((words, at, canonical));
    }
    found
}

proptest! {
    /// Names and numbers of arguments repeat, or nearly; the last command may be cut, lengths may be written loosely.
    #[test]
    fn openings_change_nothing(
        commands in prop::collection::vec(prop::collection::vec(0..6_usize, 1..11), 1..12),
        loose in prop::option::of(0..200_usize),
        cut in 0..40_usize,
        max_bulk in prop_oneof![Just(1000_u64), Just(1 << 20), Just(2)],
    ) {
        let pool: [&[u8]; 6] = [b"GET", b"GETS", b"", b"$3\r\nGET\r\n", &[b'x'; 99], &[b'y'; 1001]];
        let mut bytes = Vec::new();
        for command in &commands {
            crate::write_command(&mut bytes, command.iter().map(|at| pool[*at]));
        }
        if let Some(at) = loose.filter(|at| *at < bytes.len()) {
            bytes[at] ^= 0x20;
        }
        bytes.truncate(bytes.len().saturating_sub(cut));
        let limits = Limits { max_bulk, ..Limits::default() };
        prop_assert_eq!(decode_with_openings(&bytes, &limits), decode_one_by_one(&bytes, &limits));
    }
}
