//! DEBUG DIGEST: a fingerprint of the data that doesn't depend on its order in memory, bit for bit Redis' own.
//!
//! SHA-1 here is a mixer for comparing two servers in tests, nothing that security rests on.

use sha1::{Digest, Sha1};

use crate::entry::{Entry, ValueRef};
use crate::keyspace::Keyspace;
use crate::object::Object;
use crate::{DbIndex, KeyType};

/// A fingerprint.
pub type Fingerprint = [u8; 20];

/// The number Redis gives a type.
fn type_number(key_type: KeyType) -> u32 {
    match key_type {
        KeyType::String => 0,
        KeyType::List => 1,
        KeyType::Set => 2,
        KeyType::ZSet => 3,
        KeyType::Hash => 4,
        KeyType::Stream => 6,
    }
}

/// Mixes in without regard to order.
fn xor(digest: &mut Fingerprint, bytes: &[u8]) {
    for (a, b) in digest.iter_mut().zip(Sha1::digest(bytes)) {
        *a ^= b;
    }
}

/// Mixes in with regard to order.
fn mix(digest: &mut Fingerprint, bytes: &[u8]) {
    xor(digest, bytes);
    *digest = Sha1::digest(*digest).into();
}

/// The fingerprint of a pair that is part of something unordered.
fn pair(a: &[u8], b: &[u8]) -> Fingerprint {
    let mut digest = [0; 20];
    mix(&mut digest, a);
    mix(&mut digest, b);
    digest
}

fn mix_object(digest: &mut Fingerprint, object: &Object) {
    let mut buf = itoa::Buffer::new();
    match object {
        Object::List(list) => list.iter().for_each(|element| mix(digest, element)),
        Object::Set(set) => set.iter().for_each(|member| xor(digest, member.text(&mut buf))),
        Object::ZSet(zset) => {
            for (member, score) in zset.iter() {
                xor(digest, &pair(member, general_17(score).as_bytes()));
            }
        }
        Object::Stream(stream) => {
            for entry in stream.iter() {
                mix(digest, format!("{}.{}", entry.id.ms, entry.id.seq).as_bytes());
                for (field, value) in entry.pairs() {
                    field.with_bytes(|field| mix(digest, field));
                    value.with_bytes(|value| mix(digest, value));
                }
            }
        }
        Object::Hash(hash) => {
            for (field, value) in hash.iter() {
                let mut of_field = pair(field, value);
                if hash.deadline(field).is_some() {
                    xor(&mut of_field, b"!!hexpire!!");
                }
                xor(digest, &of_field);
            }
        }
    }
}

fn mix_value(digest: &mut Fingerprint, entry: &Entry) {
    mix(digest, &type_number(crate::keyspace::type_of(entry)).to_be_bytes());
    match entry.value() {
        ValueRef::Int(n) => mix(digest, itoa::Buffer::new().format(n).as_bytes()),
        ValueRef::Inline(bytes) => mix(digest, bytes),
        ValueRef::Shared(bytes) => mix(digest, bytes),
        ValueRef::Object(object) => mix_object(digest, object),
    }
    if entry.deadline().is_some() {
        xor(digest, b"!!expire!!");
    }
}

/// C's `%.17g`.
fn general_17(n: f64) -> String {
    const DIGITS: i32 = 17;
    if n.is_nan() {
        return "nan".into();
    }
    if n.is_infinite() {
        return if n > 0.0 { "inf".into() } else { "-inf".into() };
    }
    let scientific = format!("{n:.16e}");
    let (mantissa, exponent) = scientific.split_once('e').expect("{:e} writes an e");
    let exponent: i32 = exponent.parse().expect("{:e} writes an integer behind the e");
    let trim = |text: &str| match text.contains('.') {
        true => text.trim_end_matches('0').trim_end_matches('.').to_string(),
        false => text.to_string(),
    };
    if (-4..DIGITS).contains(&exponent) {
        return trim(&format!("{n:.*}", (DIGITS - 1 - exponent) as usize));
    }
    let sign = if exponent < 0 { '-' } else { '+' };
    format!("{}e{sign}{:02}", trim(mantissa), exponent.abs())
}

impl Keyspace {
    /// What DEBUG DIGEST answers.
    pub fn digest(&self) -> Fingerprint {
        let mut all = [0; 20];
        for (index, db) in self.dbs.iter().enumerate().filter(|(_, db)| db.table.len() > 0) {
            mix(&mut all, &(index as u32).to_be_bytes());
            for entry in db.table.entries() {
                let mut digest = [0; 20];
                mix(&mut digest, entry.key());
                mix_value(&mut digest, entry);
                xor(&mut all, &digest);
            }
        }
        all
    }

    /// What DEBUG DIGEST-VALUE answers for a key; zeros when there is none.
    pub fn digest_value(&self, db: DbIndex, key: &[u8]) -> Fingerprint {
        let mut digest = [0; 20];
        if let Some(entry) = self.peek(db, key) {
            mix_value(&mut digest, entry);
        }
        digest
    }
}

#[cfg(test)]
#[path = "digest_tests.rs"]
mod tests;
