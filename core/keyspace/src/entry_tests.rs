//! Unit tests of the entry layout.

use super::*;

fn bytes_of(entry: &Entry) -> Vec<u8> {
    match entry.value() {
        ValueRef::Int(n) => n.to_string().into_bytes(),
        ValueRef::Inline(b) => b.to_vec(),
        ValueRef::Shared(b) => b.to_vec(),
        ValueRef::Object(_) => panic!("a string was expected"),
    }
}

#[test]
fn every_length_keeps_key_value_and_deadline() {
    for key_len in [0, 1, 15, 16, 127, 128, 300, 20_000] {
        for value_len in [0, 1, 8, 64, 127, 128, 2047, 2048, 2049, 100_000] {
            for deadline in [None, Some(0), Some(u64::MAX)] {
                let key = vec![7_u8; key_len];
                let value = vec![9_u8; value_len];
                let mut e = Entry::new(&key, Value::Bytes(&value), deadline, 0x00ab_cdef);
                assert_eq!((e.key(), e.deadline(), e.access()), (&key[..], deadline, 0x00ab_cdef));
                assert_eq!(bytes_of(&e), value);
                e.set_deadline(Some(77));
                assert_eq!((e.key(), bytes_of(&e), e.deadline()), (&key[..], value.clone(), Some(77)));
                e.set_deadline(None);
                assert_eq!((bytes_of(&e), e.deadline()), (value, None));
                e.replace(Value::Int(-5), deadline);
                assert_eq!((bytes_of(&e), e.deadline(), e.access()), (b"-5".to_vec(), deadline, 0x00ab_cdef));
                e.replace(Value::Bytes(b"abc"), None);
                assert_eq!(bytes_of(&e.snapshot()), b"abc");
                let e = e.with_key(b"other");
                assert_eq!((e.key(), bytes_of(&e)), (&b"other"[..], b"abc".to_vec()));
            }
        }
    }
}

#[test]
fn sixteen_byte_key_with_eight_byte_value_fits_in_32_bytes() {
    assert_eq!(Entry::new(&[1; 16], Value::Bytes(&[2; 8]), None, 0).block_bytes(), 32);
    assert_eq!(Entry::new(&[1; 16], Value::Int(1), None, 0).block_bytes(), 32);
}

#[test]
fn a_long_string_is_shared_with_its_snapshot_until_it_changes() {
    let mut e = Entry::new(b"k", Value::Bytes(&[1; 5000]), None, 0);
    let copy = e.snapshot();
    e.shared_mut().expect("long").push(2);
    assert_eq!((bytes_of(&copy).len(), bytes_of(&e).len()), (5000, 5001));
    let moved = e.with_key(b"k2");
    assert_eq!(bytes_of(&moved).len(), 5001);
}
