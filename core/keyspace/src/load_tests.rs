//! What a cut writes, a load reads.

use crate::{Lfu, Policy};
use keystead_rdb::{EncodeOptions, records};

use super::*;
use crate::{Create, CutBudget, Options, Ttl};

fn filled() -> Keyspace {
    let mut ks = Keyspace::new(Options::default());
    let limits = *ks.limits();
    for i in 0..300_i64 {
        ks.set_str(0, format!("s{i}").as_bytes(), format!("value {i}").repeat(i as usize).as_bytes(), Ttl::Clear);
        ks.set_str(1, format!("i{i}").as_bytes(), i * 1_000_003, Ttl::At(UnixMillis(5000 + i as u64)));
        for (key, n) in [(&b"small"[..], 10), (b"big", 300)] {
            if i < n {
                let text = format!("element {i}").into_bytes();
                let key = |kind: &str| [kind.as_bytes(), key].concat();
                ks.list_mut(2, &key("l"), Create::Yes).unwrap().unwrap().push_back(&text, &limits);
                ks.set_mut(2, &key("s"), Create::Yes).unwrap().unwrap().add(&text, &limits);
                ks.hash_mut(2, &key("h"), Create::Yes).unwrap().unwrap().set(&text, b"v", &limits);
                ks.zset_mut(2, &key("z"), Create::Yes).unwrap().unwrap().add(&text, i as f64 / 7.0, &limits);
            }
        }
    }
    ks
}

fn cut(ks: &mut Keyspace) -> Vec<(DbIndex, Vec<u8>)> {
    let id = ks.begin_cut().unwrap();
    let mut out = Vec::new();
    loop {
        let step = ks.cut_step(id, CutBudget { records: 7, bytes: 10_000 });
        for record in &step.records {
            let mut bytes = Vec::new();
            record.encode(&mut bytes, EncodeOptions::default());
            out.push((record.db(), bytes));
        }
        if step.done {
            return out;
        }
    }
}

fn load(ks: &mut Keyspace, batches: &[(DbIndex, Vec<u8>)]) -> Vec<Put> {
    let mut put = Vec::new();
    for (db, bytes) in batches {
        for record in records(bytes) {
            put.push(ks.put_record(*db, &record.unwrap()).unwrap());
        }
    }
    put
}

#[test]
fn a_shadow_filled_from_a_cut_equals_the_original() {
    let mut ks = filled();
    let digest = ks.digest();
    let batches = cut(&mut ks);
    let mut shadow = ks.shadow();
    assert!(load(&mut shadow, &batches).iter().all(|put| *put == Put::Stored));
    assert_eq!(shadow.digest(), digest);
    ks.flush_all();
    ks.swap_in(shadow);
    assert_eq!(ks.digest(), digest);
    assert_eq!(load(&mut ks, &batches[..3]), [Put::Replaced; 3]);
    assert_eq!(ks.digest(), digest);
}

#[test]
fn expired_records_are_left_out_only_where_expired_keys_are_deleted() {
    let batches = cut(&mut filled());
    for (mode, kept) in [(ExpiryMode::Delete, 0), (ExpiryMode::Hide, 300), (ExpiryMode::Ignore, 300)] {
        let mut ks = Keyspace::new(Options::default());
        ks.set_now(UnixMillis(1_000_000));
        ks.set_expiry_mode(mode);
        load(&mut ks, &batches);
        assert_eq!((ks.len(0), ks.len(1)), (300, kept));
    }
}

#[test]
fn damaged_values_are_refused() {
    let mut ks = Keyspace::new(Options::default());
    // A set that names a member twice.
    let bytes = b"\x02\x01k\x02\x01a\x01a";
    let record = records(bytes).next().unwrap().unwrap();
    assert!(ks.put_record(0, &record).is_err());
    assert!(ks.is_empty());
}

/// Under an LRU or LFU policy a file tells how keys were used, as Redis' does, and who reads it goes on from there.
#[test]
fn how_keys_were_used_is_told_where_the_policy_goes_by_it() {
    for policy in [Policy::NoEviction, Policy::AllKeysLru, Policy::VolatileLfu] {
        let mut ks = Keyspace::new(Options::default());
        ks.set_lfu(policy.lfu().then_some(Lfu { log_factor: 10, decay_minutes: 1 }));
        ks.set_policy(policy);
        ks.set_now(UnixMillis(1_700_000_000_000));
        ks.set_str(0, b"k", &b"v"[..], crate::Ttl::At(UnixMillis(1_800_000_000_000)));
        ks.set_frequency(0, b"k", 77);
        ks.set_idle_secs(0, b"k", 70_000);
        let cut = ks.begin_cut().unwrap();
        let mut bytes = Vec::new();
        for record in ks.cut_step(cut, CutBudget::default()).records {
            record.encode(&mut bytes, EncodeOptions::default());
        }
        let record = records(&bytes).next().unwrap().unwrap();
        let told = (record.meta.idle_s, record.meta.freq);
        let wanted = match policy {
            Policy::NoEviction => (None, None),
            Policy::AllKeysLru => (Some(70_000), None),
            _ => (None, Some(77)),
        };
        assert_eq!(told, wanted, "{policy:?}");
        assert_eq!(record.meta.expire_ms, Some(1_800_000_000_000));
        ks.remove(0, b"k");
        ks.put_record(0, &record).unwrap();
        match policy {
            Policy::NoEviction => assert_eq!(ks.idle_secs(0, b"k"), Some(0)),
            Policy::AllKeysLru => assert_eq!(ks.idle_secs(0, b"k"), Some(70_000)),
            _ => assert_eq!(ks.frequency(0, b"k"), Some(Some(77))),
        }
    }
}
