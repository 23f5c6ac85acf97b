//! What every history really said: the writes under each replid, with the offset behind each.
//!
//! Owns the one invariant that matters: data is a function of (replid, offset). A node whose data isn't what its
//! position says has diverged, whatever its link claims.

use keystead_replication::units::{Offset, ReplId};
use std::collections::BTreeMap;

/// One write: the offset behind it, and a digest of everything up to it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Write {
    /// Offset behind the unit that holds it.
    pub end: u64,
    /// Digest of the data with it.
    pub digest: u64,
}

/// Data, as the sequence of writes that made it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Data(pub Vec<Write>);

impl Data {
    /// One more write.
    pub fn push(&mut self, end: u64, value: u64) {
        let before = self.digest();
        let digest = (before ^ value).wrapping_mul(0x0000_0100_0000_01B3).rotate_left(17);
        self.0.push(Write { end, digest });
    }

    /// Of everything.
    pub fn digest(&self) -> u64 {
        self.0.last().map_or(0, |w| w.digest)
    }

    /// The part up to an offset.
    pub fn upto(&self, offset: Offset) -> &[Write] {
        &self.0[..self.0.partition_point(|w| w.end <= offset.0)]
    }
}

/// All histories.
#[derive(Debug, Default)]
pub struct Truth(BTreeMap<ReplId, Data>);

impl Truth {
    /// A node begins a history with the data it has.
    pub fn begin(&mut self, replid: ReplId, data: &Data) {
        self.0.insert(replid, data.clone());
    }

    /// The history's one writer wrote.
    pub fn write(&mut self, replid: ReplId, end: u64, value: u64) {
        self.0.entry(replid).or_default().push(end, value);
    }

    /// Is this what the history says at this offset?
    pub fn check(&self, replid: ReplId, offset: Offset, data: &Data) -> Result<(), String> {
        let Some(truth) = self.0.get(&replid) else { return Err(format!("{replid} is nobody's history")) };
        let want = truth.upto(offset);
        let (want_digest, got_digest) = (want.last().map(|w| w.digest), data.0.last().map(|w| w.digest));
        if want.len() == data.0.len() && want_digest == got_digest {
            return Ok(());
        }
        let same = want.iter().zip(&data.0).take_while(|(a, b)| a == b).count();
        Err(format!(
            "at {replid:?}:{offset} there should be {} writes, there are {}; the first {same} agree",
            want.len(),
            data.0.len()
        ))
    }
}
