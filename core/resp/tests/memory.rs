//! No memory on credit: what decoding holds is bounded by the bytes that arrived, whatever they promise; and a command of
//! up to eight arguments costs no allocation at all.

mod counting;

use counting::peak;
use keystead_resp::{Decoded, Decoder, Limits, Proto, ReplyDecoder, Writer};
use proptest::prelude::*;

/// Positions take 8 bytes for at least 5 on the wire, growing by doubling with both halves alive while copying.
const ARGS_RATIO: usize = 8;
/// A reply's node takes 32 bytes for at least 3 on the wire, doubling likewise.
const REPLY_RATIO: usize = 64;
const SLACK: usize = 4096;

fn drain(bytes: &[u8]) {
    let (mut decoder, mut at) = (Decoder::new(), 0);
    let limits = Limits::default();
    while let Ok(decoded) = decoder.decode(&bytes[at..], &limits) {
        at += match decoded {
            Decoded::Need(_) => return,
            Decoded::Skip(consumed) | Decoded::Command { consumed, .. } | Decoded::Inline { consumed, .. } => consumed,
        };
    }
}

#[test]
fn small_commands_cost_no_allocation() {
    let requests = b"*3\r\n$3\r\nSET\r\n$3\r\nkey\r\n$5\r\nvalue\r\n*8\r\n$1\r\na\r\n$1\r\na\r\n$1\r\na\r\n$1\r\na\r\n$1\r\na\r\n$1\r\na\r\n$1\r\na\r\n$1\r\na\r\n".repeat(100);
    assert_eq!(peak(|| drain(&requests)).0, 0);
    let mut ranges = Vec::with_capacity(16);
    let (held, _) = peak(|| Decoder::new().decode_into(&requests, &Limits::default(), &mut ranges).is_ok());
    assert_eq!(held, 0);
    let mut out = Vec::with_capacity(4096);
    let (held, ()) = peak(|| {
        let mut writer = Writer::new(&mut out, Proto::Resp3);
        writer.bulk("value");
        writer.int(i64::MIN);
        writer.double(0.1);
        writer.bulk_int(7);
        writer.null();
    });
    assert_eq!(held, 0);
}

#[test]
fn promises_cost_nothing() {
    for bytes in [&b"*1000000000\r\n$1\r\na\r\n"[..], b"*2\r\n$536870912\r\nx", b"*1000000000\r\n$536870912\r\nx"] {
        assert_eq!(peak(|| drain(bytes)).0, 0);
    }
    for bytes in [&b"*1000000000\r\n:1\r\n"[..], b"$1000000000\r\nx", b"%1000000000\r\n", b"~9223372036854775807\r\n"] {
        let (held, _) = peak(|| ReplyDecoder::default().decode(bytes).is_ok());
        assert!(held < SLACK, "{held}");
    }
}

proptest! {
    #[test]
    fn hostile_bytes_hold_no_more_than_they_are(
        parts in proptest::collection::vec(prop_oneof![
            Just(b"*3\r\n".to_vec()), Just(b"*999999999\r\n".to_vec()), Just(b"$0\r\n\r\n".to_vec()), Just(b"$1\r\na\r\n".to_vec()),
            Just(b"$500000000\r\n".to_vec()), Just(b"%9\r\n".to_vec()), Just(b":1\r\n".to_vec()), Just(b"a 'b' \"c\"\r\n".to_vec()),
            proptest::collection::vec(any::<u8>(), 0..8),
        ], 0..300)
    ) {
        let bytes = parts.concat();
        let (held, ()) = peak(|| drain(&bytes));
        prop_assert!(held <= ARGS_RATIO * bytes.len() + SLACK, "{held} for {}", bytes.len());
        let (held, _) = peak(|| ReplyDecoder::default().decode(&bytes).is_ok());
        prop_assert!(held <= REPLY_RATIO * bytes.len() + SLACK, "{held} for {}", bytes.len());
    }
}
