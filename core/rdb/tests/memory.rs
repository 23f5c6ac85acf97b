//! No memory on credit: what reading holds is bounded by the bytes that are there. Only compressed strings grow, and by
//! no more than the format can (264 bytes out of 3).

#[path = "../../resp/tests/counting/mod.rs"]
mod counting;

use counting::peak;
use keystead_rdb::{Elem, Event, FileParser, Kind, RdbError, StreamPart, ValueSink, decode_value, records};
use proptest::prelude::*;

const RATIO: usize = 100;
const SLACK: usize = 8192;

/// Takes everything and keeps nothing.
struct Drop;

impl ValueSink for Drop {
    fn begin(&mut self, _: Kind, _: usize) -> Result<(), RdbError> {
        Ok(())
    }
    fn string(&mut self, _: Elem<'_>) -> Result<(), RdbError> {
        Ok(())
    }
    fn list_push(&mut self, _: Elem<'_>) -> Result<(), RdbError> {
        Ok(())
    }
    fn set_add(&mut self, _: Elem<'_>) -> Result<(), RdbError> {
        Ok(())
    }
    fn hash_field(&mut self, _: Elem<'_>, _: Elem<'_>) -> Result<(), RdbError> {
        Ok(())
    }
    fn zset_member(&mut self, _: Elem<'_>, _: f64) -> Result<(), RdbError> {
        Ok(())
    }
    fn stream(&mut self, _: StreamPart<'_>) -> Result<(), RdbError> {
        Ok(())
    }
}

fn read(bytes: &[u8]) {
    let mut parser = FileParser::default();
    for piece in bytes.chunks(64) {
        parser.feed(piece);
        while let Ok(Some(event)) = parser.next_event() {
            let Event::Batch { bytes, .. } = event else { continue };
            for record in records(bytes).flatten() {
                let _ = decode_value(record.rdb_type, record.value, &mut Drop);
            }
        }
    }
}

/// The hint that a sink may reserve by is bounded as well.
#[test]
fn the_hint_to_a_sink_is_bounded_by_the_bytes() {
    struct Hint(usize);
    impl ValueSink for Hint {
        fn begin(&mut self, _: Kind, elements: usize) -> Result<(), RdbError> {
            self.0 = elements;
            Err(RdbError::Duplicate)
        }
        fn string(&mut self, _: Elem<'_>) -> Result<(), RdbError> {
            Ok(())
        }
        fn list_push(&mut self, _: Elem<'_>) -> Result<(), RdbError> {
            Ok(())
        }
        fn set_add(&mut self, _: Elem<'_>) -> Result<(), RdbError> {
            Ok(())
        }
        fn hash_field(&mut self, _: Elem<'_>, _: Elem<'_>) -> Result<(), RdbError> {
            Ok(())
        }
        fn zset_member(&mut self, _: Elem<'_>, _: f64) -> Result<(), RdbError> {
            Ok(())
        }
        fn stream(&mut self, _: StreamPart<'_>) -> Result<(), RdbError> {
            Ok(())
        }
    }
    for rdb_type in [1, 2, 3, 4, 5, 14, 18] {
        let mut hint = Hint(usize::MAX);
        let bytes = b"\x81\xff\xff\xff\xff\xff\xff\xff\xff0123456789";
        assert!(decode_value(rdb_type, bytes, &mut hint).is_err());
        assert!(hint.0 <= 10, "{rdb_type}: {}", hint.0);
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1000))]

    #[test]
    fn hostile_values_hold_no_more_than_they_can(rdb_type in 0u8..22, parts in proptest::collection::vec(prop_oneof![
        Just(b"\xc3\x03\x80\x00\xff\xff\xff".to_vec()), Just(b"\x81\x00\xff\xff\xff\xff\xff\xff\xff".to_vec()),
        Just(b"\xe0\xff\x00".to_vec()), Just(b"\xc0\x07".to_vec()), proptest::collection::vec(any::<u8>(), 0..12),
    ], 0..60)) {
        let bytes = parts.concat();
        let (held, _) = peak(|| decode_value(rdb_type, &bytes, &mut Drop).is_ok());
        prop_assert!(held <= RATIO * bytes.len() + SLACK, "{held} for {}", bytes.len());
        let file = [b"REDIS0010", &bytes[..]].concat();
        let (held, ()) = peak(|| read(&file));
        prop_assert!(held <= RATIO * file.len() + SLACK, "{held} for {}", file.len());
    }

    /// The best that compression can do is really unpacked, and nothing beyond it.
    #[test]
    fn compressed_strings_hold_what_they_say(runs in 1usize..2000) {
        let mut packed = vec![0, b'a'];
        packed.extend(b"\xe0\xff\x00".repeat(runs));
        let len = 1 + 264 * runs;
        let (held, out) = peak(|| keystead_rdb::lzf_decompress(&packed, len));
        prop_assert_eq!(out.map(|out| out.len()), Ok(len));
        prop_assert!(held <= len + SLACK);
    }
}
