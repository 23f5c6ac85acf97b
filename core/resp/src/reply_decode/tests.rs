//! Every reply type, bad bytes, and what the writer writes read back in any pieces.

use super::*;
use crate::{Proto, Writer};
use proptest::prelude::*;

fn decode(bytes: &[u8]) -> Result<Option<(usize, Reply)>, ProtocolError> {
    ReplyDecoder::default().decode(bytes)
}

fn shown(bytes: &str) -> String {
    match decode(bytes.as_bytes()) {
        Ok(Some((len, reply))) if len == bytes.len() => reply.to_string(),
        Ok(Some((len, reply))) => format!("{reply} +{}", bytes.len() - len),
        Ok(None) => "…".into(),
        Err(error) => error.to_string(),
    }
}

#[test]
fn replies_of_both_protocols() {
    for (bytes, want) in [
        ("+OK\r\n", "OK"),
        ("-ERR no\r\n", "(error) ERR no"),
        (":-12\r\n", "-12"),
        ("$3\r\na\r\n\r\n", "\"a\\r\\n\""),
        ("$-1\r\n", "(nil)"),
        ("*-1\r\n", "(nil)"),
        ("_\r\n", "(nil)"),
        ("*0\r\n", "[]"),
        ("*2\r\n:1\r\n*1\r\n$0\r\n\r\n", "[1, [\"\"]]"),
        ("%1\r\n+a\r\n:1\r\n", "{a: 1}"),
        ("~1\r\n#t\r\n", "[true]"),
        (">2\r\n+message\r\n#f\r\n", "[message, false]"),
        (",1.5\r\n", "1.5"),
        (",-inf\r\n", "-inf"),
        (",nan\r\n", "nan"),
        ("(123456789012345678901234567890\r\n", "123456789012345678901234567890"),
        ("=7\r\ntxt:abc\r\n", "\"abc\""),
        ("!5\r\nERR x\r\n", "(error) ERR x"),
        ("|1\r\n+ttl\r\n:3\r\n*1\r\n:7\r\n", "[7]"),
        ("*2\r\n|1\r\n+ttl\r\n:3\r\n:7\r\n:8\r\n", "[7, 8]"),
        ("+OK\r\n+next", "OK +5"),
        ("*2\r\n:1\r\n", "…"),
        ("$5\r\nabc", "…"),
        ("", "…"),
        ("?\r\n", "Protocol error: unknown reply type"),
        ("$x\r\n", "Protocol error: length is not a number"),
        ("*-2\r\n", "Protocol error: negative length"),
        ("$1\r\nabc", "Protocol error: missing line end behind a string"),
        (":1.5\r\n", "Protocol error: integer reply is not a number"),
        (",x\r\n", "Protocol error: double reply is not a number"),
        ("#x\r\n", "Protocol error: truth value is neither t nor f"),
        ("=3\r\nabc\r\n", "Protocol error: verbatim string without a format"),
        ("\n", "Protocol error: bad header line"),
        ("$9223372036854775807\r\n", "Protocol error: reply too long"),
        ("%9223372036854775807\r\n", "Protocol error: reply too long"),
    ] {
        assert_eq!(shown(bytes), want, "{bytes:?}");
    }
    assert!(shown(&"*1\r\n".repeat(65)).contains("nested too deeply"));
    assert_eq!(shown(&"*1\r\n".repeat(64)), "…");
    assert!(shown(&"x".repeat(70_000)).contains("too long"));
}

#[test]
fn accessors_read_what_is_there() {
    let reply = Reply::Array(vec![Reply::Bulk(b"a".to_vec()), Reply::Bulk(b"12".to_vec())]);
    let (key, value) = reply.pairs().unwrap()[0];
    assert_eq!((key.text(), value.int()), (Some("a"), Some(12)));
    assert!(Reply::Simple(b"OK".to_vec()).is_ok());
    assert_eq!(Reply::Error(b"ERR x".to_vec()).error(), Some("ERR x"));
    assert_eq!(reply.items().map(<[_]>::len), Some(2));
}

fn reply() -> impl Strategy<Value = Reply> {
    let leaf = prop_oneof![
        "[a-z ]{0,12}".prop_map(|s| Reply::Simple(s.into_bytes())),
        "[A-Z ]{1,12}".prop_map(|s| Reply::Error(s.into_bytes())),
        any::<i64>().prop_map(Reply::Int),
        any::<Vec<u8>>().prop_map(Reply::Bulk),
        Just(Reply::Null),
        any::<f64>().prop_filter("comparable", |v| !v.is_nan()).prop_map(Reply::Double),
        any::<bool>().prop_map(Reply::Bool),
        "[0-9]{1,30}".prop_map(|s| Reply::BigNumber(s.into_bytes())),
        any::<Vec<u8>>().prop_map(|text| Reply::Verbatim { format: *b"txt", text }),
    ];
    leaf.prop_recursive(4, 40, 6, |inner| {
        prop_oneof![
            proptest::collection::vec(inner.clone(), 0..6).prop_map(Reply::Array),
            proptest::collection::vec(inner.clone(), 0..6).prop_map(Reply::Set),
            proptest::collection::vec(inner.clone(), 0..6).prop_map(Reply::Push),
            proptest::collection::vec((inner.clone(), inner), 0..4).prop_map(Reply::Map),
        ]
    })
}

fn write(reply: &Reply, w: &mut Writer<'_>) {
    let all = |items: &[Reply], w: &mut Writer<'_>| items.iter().for_each(|item| write(item, w));
    match reply {
        Reply::Simple(text) => w.simple(std::str::from_utf8(text).unwrap()),
        Reply::Error(text) => w.error(text),
        Reply::Int(value) => w.int(*value),
        Reply::Bulk(bytes) => w.bulk(bytes),
        Reply::Null => w.null(),
        Reply::Double(value) => w.double(*value),
        Reply::Bool(value) => w.bool(*value),
        Reply::BigNumber(digits) => w.bignum(std::str::from_utf8(digits).unwrap()),
        Reply::Verbatim { format, text } => w.verbatim(*format, text),
        Reply::Array(items) => {
            w.array(items.len());
            all(items, w);
        }
        Reply::Set(items) => {
            w.set(items.len());
            all(items, w);
        }
        Reply::Push(items) => {
            w.push(items.len());
            all(items, w);
        }
        Reply::Map(pairs) => {
            w.map(pairs.len());
            for (key, value) in pairs {
                write(key, w);
                write(value, w);
            }
        }
    }
}

proptest! {
    #[test]
    fn what_is_written_is_read_in_any_pieces(reply in reply(), mut cuts in proptest::collection::vec(0usize..300, 0..10)) {
        let mut bytes = Vec::new();
        write(&reply, &mut Writer::new(&mut bytes, Proto::Resp3));
        let len = bytes.len();
        bytes.extend_from_slice(b"+next\r\n");
        cuts.retain(|cut| *cut < len);
        cuts.sort_unstable();
        let mut decoder = ReplyDecoder::default();
        for cut in cuts {
            prop_assert_eq!(decoder.decode(&bytes[..cut]), Ok(None));
        }
        prop_assert_eq!(decoder.decode(&bytes), Ok(Some((len, reply))));
        prop_assert_eq!(decoder.decode(&bytes[len..]), Ok(Some((7, Reply::Simple(b"next".to_vec())))));
    }

    #[test]
    fn random_bytes_never_panic(bytes: Vec<u8>, first in "[+:$*%~>,#(=!|_-][0-9]{0,3}\r\n") {
        let _ = decode(&bytes);
        let _ = decode(&[first.as_bytes(), &bytes].concat());
    }
}
