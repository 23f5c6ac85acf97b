//! The part of a snapshot's batch that a filter lets through.

use bytes::Bytes;
use keystead_plugin::Batch;
use keystead_plugin::prelude::*;
use keystead_plugin::services::filter::Filter;

/// The records that pass, in a batch of whole ones.
pub(crate) fn part(filter: &Filter, batch: Batch) -> Result<Batch> {
    let Batch { db, count, bytes } = batch;
    if !filter.passes_db(db) {
        return Ok(Batch { db, count: 0, bytes: Bytes::new() });
    }
    if filter.prefixes.is_empty() {
        return Ok(Batch { db, count, bytes });
    }
    let (mut kept, mut passed) = (Vec::new(), 0);
    for record in keystead_rdb::records(&bytes) {
        let record = record.map_err(|error| Error::new(format!("the snapshot can't be filtered: {error}")))?;
        if filter.passes(db, &record.key) {
            kept.extend_from_slice(record.raw);
            passed += 1;
        }
    }
    Ok(Batch { db, count: passed, bytes: Bytes::from(kept) })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn records_pass_whole() {
        let mut bytes = Vec::new();
        for (key, value) in [("u:1", "a"), ("x", "b"), ("u:2", "c")] {
            let meta = keystead_rdb::RecordMeta { expire_ms: Some(5), ..Default::default() };
            keystead_rdb::write_record_head(&mut bytes, &meta, 0, key.as_bytes());
            bytes.extend_from_slice(&[1, value.as_bytes()[0]]);
        }
        let batch = |db| Batch { db, count: 3, bytes: Bytes::from(bytes.clone()) };
        let filter = |databases: &[u32], prefix: &[u8]| Filter {
            databases: databases.to_vec(),
            prefixes: if prefix.is_empty() { vec![] } else { vec![prefix.to_vec()] },
        };
        let got = part(&filter(&[], b"u:"), batch(0)).expect("whole records");
        let keys: Vec<_> = keystead_rdb::records(&got.bytes).map(|r| r.expect("whole").key.into_owned()).collect();
        assert_eq!((keys, got.count), (vec![b"u:1".to_vec(), b"u:2".to_vec()], 2));
        assert_eq!(part(&filter(&[1], b""), batch(1)).expect("all"), batch(1));
        assert_eq!(part(&filter(&[1], b"u:"), batch(0)).expect("none").count, 0);
        let broken = Batch { db: 0, count: 1, bytes: Bytes::from_static(b"\x00\x05a") };
        assert!(part(&filter(&[], b"u:"), broken).is_err());
    }
}
