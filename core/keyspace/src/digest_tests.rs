//! The fingerprints below were answered by redis-server 7.0.15.

use super::*;
use crate::{Create, Options, Ttl, UnixMillis};

fn hex(digest: Fingerprint) -> String {
    digest.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[test]
fn fingerprints_are_those_of_redis() {
    let mut ks = Keyspace::new(Options::default());
    assert_eq!(hex(ks.digest()), "0000000000000000000000000000000000000000");
    ks.set_str(0, b"str", &b"hello"[..], Ttl::Clear);
    assert_eq!(hex(ks.digest()), "d018c2af619b4674e0fab9b8a1d5a21f736e6f8a");
    ks.set_str(0, b"int", 12345, Ttl::Clear);
    ks.append(0, b"raw", b"abc").unwrap();
    let limits = *ks.limits();
    let mut list = ks.list_mut(0, b"list", Create::Yes).unwrap().unwrap();
    [b"a", b"b", b"3", b"a"].iter().for_each(|it| list.push_back(*it, &limits));
    drop(list);
    for (key, members) in [(&b"set"[..], ["1", "2", "3", "3"]), (b"sset", ["x", "y", "z", "7"])] {
        let mut set = ks.set_mut(0, key, Create::Yes).unwrap().unwrap();
        members.iter().for_each(|it| _ = set.add(it.as_bytes(), &limits));
    }
    let mut zset = ks.zset_mut(0, b"zset", Create::Yes).unwrap().unwrap();
    let scores = [1.0, 2.5, 3.1, f64::INFINITY, -1e300, 0.00001, 1e20, 123_456_789.123];
    for (score, member) in scores.iter().zip(["a", "b", "c", "d", "e", "f", "g", "h"]) {
        zset.add(member.as_bytes(), *score, &limits);
    }
    drop(zset);
    let mut hash = ks.hash_mut(0, b"h", Create::Yes).unwrap().unwrap();
    hash.set(b"f1", b"v1", &limits);
    hash.set(b"f2", b"22", &limits);
    drop(hash);
    ks.set_str(0, b"ttl", &b"v"[..], Ttl::At(UnixMillis(u64::MAX)));
    ks.set_str(3, b"other", &b"db"[..], Ttl::Clear);
    assert_eq!(hex(ks.digest()), "53a3669905b1cf4e96a839227979871d5d4d87d8");
    for (key, expected) in [
        ("str", "36b23a1456b2dce2c3ed252c456761301dba8060"),
        ("int", "e1cf90774e995ae03de66e8109dc5cb9d9c2dc83"),
        ("raw", "21ffcd2d36aebffca02995acb412bcb827d4c1db"),
        ("list", "ee0459df5c2bca088b4d9863708e524cbad04efc"),
        ("set", "2a462a3f51a1db89738ebbeef0c47ce1bbc85246"),
        ("sset", "9ff234b0f66c531ac2cc2d841fe223f412f843fe"),
        ("zset", "c895698ec396eece1df5797e760699b3fe1fde5c"),
        ("h", "ace09efefee43cefd37d4713a6e8cf46c6e14058"),
        ("ttl", "311b17018163335616e089f6b951c82c477335ac"),
        ("none", "0000000000000000000000000000000000000000"),
    ] {
        assert_eq!(hex(ks.digest_value(0, key.as_bytes())), expected, "{key}");
    }
}

#[test]
fn scores_are_written_as_c_does() {
    for (n, text) in [
        (0.0, "0"),
        (-0.0, "-0"),
        (1.0, "1"),
        (3.1, "3.1000000000000001"),
        (0.0001, "0.0001"),
        (0.00001, "1.0000000000000001e-05"),
        (1e16, "10000000000000000"),
        (1e17, "1e+17"),
        (123456.789, "123456.789"),
        (-1e300, "-1.0000000000000001e+300"),
        (f64::NEG_INFINITY, "-inf"),
    ] {
        assert_eq!(general_17(n), text);
    }
}
