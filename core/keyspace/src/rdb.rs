//! Values to RDB and back: which of RDB's forms a collection is written in, and a sink that builds values.
//! Runs outside every lock: it reads clones and builds values that nobody sees yet. Knows no keys, no framing.

use crate::hash::{Field, Hash, Hashed};
use crate::limits::Limits;
use crate::list::List;
use crate::set::{Member, Set};
use crate::stream::{Loader, Stream};
use crate::zset::ZSet;
use keystead_rdb::{Elem, EncodeOptions, Kind, Output, RdbError, StreamPart, ValueSink, encode};

impl<'a> From<Member<'a>> for Elem<'a> {
    fn from(member: Member<'a>) -> Self {
        match member {
            Member::Int(n) => Elem::Int(n),
            Member::Bytes(bytes) => Elem::Bytes(bytes),
        }
    }
}

impl List {
    /// Appends the value's bytes and gives its type number.
    pub fn encode_rdb(&self, out: &mut impl Output, options: EncodeOptions) -> u8 {
        encode::list(out, || self.iter(), options)
    }
}

impl Hash {
    /// Appends the value's bytes and gives its type number.
    ///
    /// Fields with deadlines need version 12, whatever the options say: [`crate::Keyspace::has_times`] tells beforehand.
    pub fn encode_rdb(&self, out: &mut impl Output, options: EncodeOptions) -> u8 {
        if let Some(earliest) = self.earliest_deadline() {
            if self.is_tree() {
                let fields = self.iter().map(|(field, value)| (field, value, self.deadline(field)));
                return encode::hash_timed(out, self.len(), earliest, fields, options);
            }
            return encode::hash_timed_listpack(out, earliest, self.iter_timed(), options);
        }
        if self.is_tree() {
            encode::hash(out, self.len(), self.iter(), options)
        } else {
            encode::hash_listpack(out, self.iter(), options)
        }
    }
}

impl Set {
    /// Appends the value's bytes and gives its type number.
    pub fn encode_rdb(&self, out: &mut impl Output, options: EncodeOptions) -> u8 {
        match self.ints() {
            Some(ints) => encode::set_intset(out, &ints.collect::<Vec<_>>(), options),
            // SET_LISTPACK came with RDB version 11; every version knows this one.
            None => encode::set(out, self.len(), self.iter(), options),
        }
    }
}

impl ZSet {
    /// Appends the value's bytes and gives its type number.
    pub fn encode_rdb(&self, out: &mut impl Output, options: EncodeOptions) -> u8 {
        if self.is_tree() {
            // From the highest down: Redis' skip list takes each at its head.
            encode::zset(out, self.len(), self.rev_from(usize::MAX), options)
        } else {
            encode::zset_listpack(out, self.iter(), options)
        }
    }
}

/// A value that was read.
pub enum Built {
    /// A string.
    Str(Vec<u8>),
    /// A list.
    List(List),
    /// A set.
    Set(Set),
    /// A hash.
    Hash(Hash),
    /// A sorted set.
    ZSet(ZSet),
    /// A stream.
    Stream(Box<Stream>),
}

/// Elements that aren't in order yet.
enum Many {
    Members(Vec<Hashed>),
    Fields(Vec<Field>),
}

/// Builds one value from what the RDB decoder visits; repeated members of a set, hash or sorted set are refused.
pub struct Builder {
    limits: Limits,
    built: Option<Built>,
    /// Elements of a collection that only a tree holds: they are put in order once, at the end.
    many: Option<Many>,
    /// A stream is put together from many parts.
    stream: Option<Loader>,
    /// A score is -0: whether it stays so depends on the form that the sorted set has in the end.
    negative_zero: bool,
}

impl Builder {
    /// A builder of collections within these thresholds.
    pub fn new(limits: Limits) -> Self {
        Self { limits, built: None, many: None, stream: None, negative_zero: false }
    }

    /// The value that was begun.
    pub fn finish(mut self) -> Result<Built, RdbError> {
        self.settle()?;
        let Builder { stream, mut built, negative_zero, .. } = self;
        if let Some(Built::ZSet(zset)) = built.as_mut().filter(|_| negative_zero) {
            zset.settle();
        }
        match stream {
            Some(loader) => Ok(Built::Stream(Box::new(loader.finish()?))),
            None => built.ok_or(RdbError::Empty),
        }
    }

    /// Makes a tree of what was taken so far.
    fn settle(&mut self) -> Result<(), RdbError> {
        let built = match self.many.take() {
            None => return Ok(()),
            Some(Many::Members(members)) => Set::of_many(members).map(Built::Set),
            Some(Many::Fields(fields)) => Hash::of_many(fields).map(Built::Hash),
        };
        self.built = Some(built.ok_or(REPEATED)?);
        Ok(())
    }

    /// Reads one value.
    pub fn build(limits: Limits, rdb_type: u8, bytes: &[u8]) -> Result<Built, RdbError> {
        let mut builder = Self::new(limits);
        keystead_rdb::decode_value(rdb_type, bytes, &mut builder)?;
        builder.finish()
    }
}

const REPEATED: RdbError = RdbError::Corrupt("an element occurs twice");

fn unique(new: bool) -> Result<(), RdbError> {
    if new { Ok(()) } else { Err(REPEATED) }
}

impl ValueSink for Builder {
    fn begin(&mut self, kind: Kind, elements: usize) -> Result<(), RdbError> {
        self.stream = (kind == Kind::Stream).then(Loader::new);
        self.many = match kind {
            Kind::Set if elements > self.limits.set_ints.max(self.limits.set_entries) => {
                Some(Many::Members(Vec::new()))
            }
            Kind::Hash if elements > self.limits.hash_entries => Some(Many::Fields(Vec::new())),
            _ => None,
        };
        self.built = Some(match kind {
            Kind::Stream => return Ok(()),
            Kind::String => Built::Str(Vec::new()),
            Kind::List => Built::List(List::new()),
            Kind::Set => Built::Set(Set::new()),
            Kind::Hash => Built::Hash(Hash::new()),
            Kind::Zset => Built::ZSet(ZSet::new()),
        });
        Ok(())
    }

    fn string(&mut self, value: Elem<'_>) -> Result<(), RdbError> {
        self.built = Some(Built::Str(value.to_vec()));
        Ok(())
    }

    fn list_push(&mut self, value: Elem<'_>) -> Result<(), RdbError> {
        let Some(Built::List(list)) = &mut self.built else { return Err(RdbError::Empty) };
        value.with_bytes(|bytes| list.push_back(bytes, &self.limits));
        Ok(())
    }

    fn set_add(&mut self, member: Elem<'_>) -> Result<(), RdbError> {
        if let Some(Many::Members(members)) = &mut self.many {
            members.push(member.with_bytes(Hashed::new));
            return Ok(());
        }
        let Some(Built::Set(set)) = &mut self.built else { return Err(RdbError::Empty) };
        unique(member.with_bytes(|bytes| set.add(bytes, &self.limits)))
    }

    fn hash_field(&mut self, field: Elem<'_>, value: Elem<'_>) -> Result<(), RdbError> {
        if let Some(Many::Fields(fields)) = &mut self.many {
            fields.push(field.with_bytes(|field| value.with_bytes(|value| Field::new(field, value))));
            return Ok(());
        }
        let Some(Built::Hash(hash)) = &mut self.built else { return Err(RdbError::Empty) };
        unique(field.with_bytes(|field| value.with_bytes(|value| hash.set(field, value, &self.limits))))
    }

    fn hash_field_until(&mut self, field: Elem<'_>, value: Elem<'_>, expires_ms: u64) -> Result<(), RdbError> {
        // Deadlines are told of fields that are there.
        self.settle()?;
        self.hash_field(field, value)?;
        let Some(Built::Hash(hash)) = &mut self.built else { return Err(RdbError::Empty) };
        field.with_bytes(|field| hash.set_deadline(field, Some(expires_ms)));
        Ok(())
    }

    fn zset_member(&mut self, member: Elem<'_>, score: f64) -> Result<(), RdbError> {
        let Some(Built::ZSet(zset)) = &mut self.built else { return Err(RdbError::Empty) };
        self.negative_zero |= score == 0.0 && score.is_sign_negative();
        unique(member.with_bytes(|member| zset.add_unsettled(member, score, &self.limits)) == crate::zset::Added::New)
    }

    fn stream(&mut self, part: StreamPart<'_>) -> Result<(), RdbError> {
        self.stream.as_mut().ok_or(RdbError::Empty)?.take(part)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn back(rdb_type: u8, bytes: &[u8]) -> Built {
        Builder::build(Limits::default(), rdb_type, bytes).unwrap()
    }

    #[test]
    fn every_form_of_every_collection_comes_back() {
        let limits = Limits::default();
        for n in [1, 5, 100, 3000] {
            let text = |i: usize| format!("element number {i}").into_bytes();
            let (mut list, mut hash, mut set, mut ints, mut zset) =
                (List::new(), Hash::new(), Set::new(), Set::new(), ZSet::new());
            for i in 0..n {
                list.push_back(&text(i), &limits);
                hash.set(&text(i), &text(i * 7), &limits);
                set.add(&text(i), &limits);
                ints.add((i * 100_003).to_string().as_bytes(), &limits);
                zset.add(&text(i), (i as f64 - 50.0) / 3.0, &limits);
            }
            let mut out = Vec::new();
            let Built::List(l) = back(list.encode_rdb(&mut out, EncodeOptions::default()), &out) else {
                panic!("type")
            };
            assert!(l.iter().eq(list.iter()));
            out.clear();
            let Built::Hash(h) = back(hash.encode_rdb(&mut out, EncodeOptions::default()), &out) else {
                panic!("type")
            };
            assert_eq!((h.len(), h.encoding()), (hash.len(), hash.encoding()));
            assert!(hash.iter().all(|(f, v)| h.get(f) == Some(v)));
            (0..n).step_by(3).for_each(|i| _ = hash.set_deadline(&text(i), Some(1 << 41 | (n - i) as u64)));
            out.clear();
            let Built::Hash(h) = back(hash.encode_rdb(&mut out, EncodeOptions::default()), &out) else {
                panic!("type")
            };
            assert_eq!((h.len(), h.encoding()), (hash.len(), hash.encoding()));
            assert!(hash.iter().all(|(f, v)| h.get(f) == Some(v) && h.deadline(f) == hash.deadline(f)));
            for set in [set, ints] {
                out.clear();
                let Built::Set(s) = back(set.encode_rdb(&mut out, EncodeOptions::default()), &out) else {
                    panic!("type")
                };
                assert_eq!((s.len(), s.encoding()), (set.len(), set.encoding()));
                assert!(set.iter().all(|m| s.contains_member(m)));
            }
            out.clear();
            let Built::ZSet(z) = back(zset.encode_rdb(&mut out, EncodeOptions::default()), &out) else {
                panic!("type")
            };
            assert!(z.iter().eq(zset.iter()));
        }
    }

    /// Large ones are put in order at once: what is in them twice is found all the same.
    #[test]
    fn an_element_that_is_there_twice_is_refused() {
        let text = |out: &mut Vec<u8>, text: &str| {
            out.push(text.len() as u8);
            out.extend(text.as_bytes());
        };
        for rdb_type in [keystead_rdb::types::SET, keystead_rdb::types::HASH] {
            for (n, again) in [(3u32, 1), (600, 0), (600, 300), (600, 599), (5000, 4999), (600, 9999)] {
                let mut out = vec![0x80];
                out.extend((n + 1).to_be_bytes());
                for i in (0..n).chain([again]) {
                    text(&mut out, &format!("element {i}"));
                    if rdb_type == keystead_rdb::types::HASH {
                        text(&mut out, &i.to_string());
                    }
                }
                let built = Builder::build(Limits::default(), rdb_type, &out);
                match built {
                    Ok(Built::Set(set)) => {
                        assert!(again == 9999 && (0..n).all(|i| set.contains(format!("element {i}").as_bytes())))
                    }
                    Ok(Built::Hash(hash)) => assert!(
                        again == 9999
                            && (0..n)
                                .all(|i| hash.get(format!("element {i}").as_bytes()) == Some(i.to_string().as_bytes()))
                    ),
                    Ok(_) => panic!("type"),
                    Err(error) => assert!(again < n && error == REPEATED, "{n} {again} {error}"),
                }
            }
        }
    }

    /// Scores come from the highest down, or in any order: what decides about -0 may come behind it.
    #[test]
    fn minus_zero_stays_where_redis_keeps_it() {
        let limits = Limits::default();
        let long = vec![b'x'; limits.zset_value + 1];
        for (below, last, sign_stays) in [(129, b"m".as_slice(), true), (5, &long, true), (5, b"m", false)] {
            let mut zset = ZSet::new();
            zset.add(last, -1000.0, &limits);
            (0..below).for_each(|i| _ = zset.add(format!("m{i}").as_bytes(), f64::from(i) - 200.0, &limits));
            zset.add(b"zero", -0.0, &limits);
            let mut out = Vec::new();
            encode::zset(&mut out, zset.len(), zset.rev_from(usize::MAX), EncodeOptions::default());
            // In the compact form Redis before 7.2 keeps the sign; here it goes, as in 7.2.
            let zero = out.windows(8).position(|bytes| bytes == 0.0f64.to_le_bytes());
            if let Some(at) = zero {
                out[at + 7] = 0x80;
            }
            let Built::ZSet(read) = back(keystead_rdb::types::ZSET_2, &out) else { panic!("type") };
            assert_eq!((read.encoding(), read.len()), (zset.encoding(), zset.len()));
            assert_eq!(read.score(b"zero").map(f64::is_sign_negative), Some(sign_stays), "{below}");
            assert!(read.iter().eq(zset.iter()));
        }
    }
}
