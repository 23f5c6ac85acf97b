//! Hashes: a compact blob of fields and values up to Redis' thresholds, then a tree ordered by (hash, field). Deadlines of
//! fields stand beside them (`times`); these methods show every field that is there, whether its time is up or not.

mod read;
mod times;

pub use read::HashRead;

use crate::compact::{Entries, Forward};
use crate::elem::Elem;
use crate::limits::Limits;
use crate::tree::{Item, Iter as TreeIter, Tree};
use foldhash::quality::FixedState;
use std::cmp::Ordering;
use std::sync::OnceLock;
use times::{Timed, Times};

/// A field or member with its place in hash space; SCAN cursors are such places.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Hashed {
    /// 48 bits, so that every client can carry the cursor, also in a double.
    pub hash: u64,
    /// The bytes.
    pub bytes: Elem,
}

/// One for the whole process: collections move between threads and databases.
static PLACES: OnceLock<FixedState> = OnceLock::new();

/// Has [`place`] begin with this random number, if nothing was placed yet. Without it places are the same in every process.
pub fn seed_places(seed: u64) {
    let _seeded_before = PLACES.set(FixedState::with_seed(seed));
}

/// Place of `bytes` in hash space. Equal hashes are told apart by the bytes, so collisions cost no time; but SCAN's COUNT
/// can't part them, so that who only chooses members should not be able to make them. Who sees cursors can.
#[inline]
pub fn place(bytes: &[u8]) -> u64 {
    use std::hash::{BuildHasher, Hasher};
    let mut hasher = PLACES.get_or_init(|| FixedState::with_seed(0x6b65_7973_7465_6164)).build_hasher();
    hasher.write(bytes);
    hasher.finish() >> 16
}

impl Hashed {
    /// Hashes and copies.
    pub fn new(bytes: &[u8]) -> Self {
        Self { hash: place(bytes), bytes: Elem::new(bytes) }
    }
}

/// Those that many members or fields are of, in the tree's order; none if one occurs twice.
pub(crate) fn in_order<T: Item<Key = Hashed>>(mut items: Vec<T>) -> Option<Tree<T>> {
    let order = |a: &Hashed, b: &Hashed| a.hash.cmp(&b.hash).then_with(|| a.bytes.as_bytes().cmp(b.bytes.as_bytes()));
    items.sort_unstable_by(|a, b| order(a.key(), b.key()));
    let distinct = items.windows(2).all(|pair| order(pair[0].key(), pair[1].key()).is_lt());
    distinct.then(|| items.into_iter().collect())
}

/// Compares keys of a tree to one wanted.
#[inline]
pub(crate) fn seek(bytes: &[u8]) -> impl FnMut(&Hashed) -> Ordering + Copy + '_ {
    let hash = place(bytes);
    move |key| key.hash.cmp(&hash).then_with(|| key.bytes.as_bytes().cmp(bytes))
}

/// One field of a hash in tree form.
#[derive(Clone)]
pub struct Field {
    name: Hashed,
    value: Elem,
}

impl Field {
    pub(crate) fn new(name: &[u8], value: &[u8]) -> Self {
        Self { name: Hashed::new(name), value: Elem::new(value) }
    }
}

impl Item for Field {
    type Key = Hashed;
    fn key(&self) -> &Hashed {
        &self.name
    }
    fn heap_bytes(&self) -> usize {
        self.name.bytes.heap_bytes() + self.value.heap_bytes()
    }
}

#[derive(Clone)]
enum Form {
    Compact(Forward),
    Tree(Tree<Field>),
    Timed(Box<Timed>),
}

/// Fields with values.
#[derive(Clone)]
pub struct Hash(Form);

impl Default for Hash {
    fn default() -> Self {
        Self(Form::Compact(Forward::new()))
    }
}

/// Offsets of a field's entry and of its value's.
fn find(c: &Forward, field: &[u8]) -> Option<(usize, usize)> {
    let mut off = 0;
    while off < c.end() {
        let (name, value) = c.entry(off);
        if name == field {
            return Some((off, value));
        }
        off = c.entry(value).1;
    }
    None
}

impl Hash {
    #[inline]
    pub(crate) fn inside(&self) -> Option<*const u8> {
        match &self.0 {
            Form::Compact(c) => Some(c.front_address()),
            Form::Timed(timed) => Some((&raw const **timed).cast()),
            Form::Tree(_) => None,
        }
    }

    /// An empty hash.
    pub fn new() -> Self {
        Self::default()
    }

    /// A hash of so many fields that no other form holds them; none if one occurs twice.
    pub(crate) fn of_many(fields: Vec<Field>) -> Option<Self> {
        in_order(fields).map(|tree| Self(Form::Tree(tree)))
    }

    /// Number of fields.
    pub fn len(&self) -> usize {
        match &self.0 {
            Form::Compact(c) => c.len() / 2,
            Form::Tree(t) => t.len(),
            Form::Timed(t) => t.plain.len(),
        }
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// `OBJECT ENCODING`
    pub fn encoding(&self) -> &'static str {
        match &self.0 {
            Form::Compact(_) => "listpack",
            Form::Tree(_) => "hashtable",
            Form::Timed(t) if t.plain.is_tree() => "hashtable",
            Form::Timed(_) => "listpackex",
        }
    }

    /// Memory held, estimated in O(1).
    pub fn mem_bytes(&self) -> usize {
        match &self.0 {
            Form::Compact(c) => c.mem_bytes(),
            Form::Tree(t) => t.mem_bytes(),
            Form::Timed(t) => size_of::<Timed>() + t.plain.mem_bytes() + t.times.mem_bytes(),
        }
    }

    /// Whether a clone copies nothing but a pointer.
    pub fn is_tree(&self) -> bool {
        match &self.0 {
            Form::Compact(_) => false,
            Form::Tree(_) => true,
            Form::Timed(t) => t.plain.is_tree(),
        }
    }

    #[inline]
    fn times(&self) -> Option<&Times> {
        if let Form::Timed(timed) = &self.0 { Some(&timed.times) } else { None }
    }

    #[inline]
    fn times_mut(&mut self) -> Option<&mut Times> {
        if let Form::Timed(timed) = &mut self.0 { Some(&mut timed.times) } else { None }
    }

    /// The form that has room for deadlines.
    fn timed(&mut self) -> &mut Timed {
        if !matches!(self.0, Form::Timed(_)) {
            let plain = std::mem::take(self);
            self.0 = Form::Timed(Box::new(Timed { plain, times: Times::default() }));
        }
        let Form::Timed(timed) = &mut self.0 else { unreachable!("it was just made") };
        timed
    }

    /// A field's value.
    pub fn get(&self, field: &[u8]) -> Option<&[u8]> {
        match &self.0 {
            Form::Compact(c) => find(c, field).map(|(_, value)| c.entry(value).0),
            Form::Tree(t) => t.find(seek(field)).map(|f| f.value.as_bytes()),
            Form::Timed(t) => t.plain.get(field),
        }
    }

    /// Whether a field exists.
    pub fn contains(&self, field: &[u8]) -> bool {
        self.get(field).is_some()
    }

    /// Sets a field, which loses its deadline; true if it is new.
    pub fn set(&mut self, field: &[u8], value: &[u8], limits: &Limits) -> bool {
        if let Form::Timed(timed) = &mut self.0 {
            timed.times.clear(field);
        }
        self.set_keeping(field, value, limits)
    }

    /// Sets a field, which keeps its deadline; true if it is new.
    pub fn set_keeping(&mut self, field: &[u8], value: &[u8], limits: &Limits) -> bool {
        if let Form::Compact(c) = &mut self.0 {
            if field.len().max(value.len()) <= limits.hash_value {
                if let Some((_, at)) = find(c, field) {
                    c.replace(at, value);
                    return false;
                }
                if c.len() / 2 < limits.hash_entries {
                    c.push_back(field);
                    c.push_back(value);
                    return true;
                }
            }
            self.make_tree();
        }
        let t = match &mut self.0 {
            Form::Tree(t) => t,
            Form::Timed(timed) => return timed.plain.set_keeping(field, value, limits),
            Form::Compact(_) => unreachable!("it was made a tree"),
        };
        t.upsert_by(seek(field), Field::new(field, value)).is_none()
    }

    fn make_tree(&mut self) {
        let mut tree = Tree::new();
        for (field, value) in self.iter() {
            tree.insert_by(seek(field), Field::new(field, value));
        }
        self.0 = Form::Tree(tree);
    }

    /// Removes a field; false if there is none.
    pub fn remove(&mut self, field: &[u8]) -> bool {
        match &mut self.0 {
            Form::Compact(c) => match find(c, field) {
                Some((at, _)) => {
                    c.remove(at, 2);
                    true
                }
                None => false,
            },
            Form::Tree(t) => t.remove_by(seek(field)).is_some(),
            Form::Timed(t) => {
                t.times.clear(field);
                t.plain.remove(field)
            }
        }
    }

    /// The field at a position in iteration order (for random picks).
    pub fn nth(&self, i: usize) -> Option<(&[u8], &[u8])> {
        match &self.0 {
            Form::Compact(c) => {
                let (field, value) = if i < c.len() / 2 { c.entry(c.offset(i * 2)) } else { return None };
                Some((field, c.entry(value).0))
            }
            Form::Tree(t) => t.get(i).map(pair),
            Form::Timed(t) => t.plain.nth(i),
        }
    }

    /// Iterates over fields and values: in order of insertion while compact, by hash later.
    pub fn iter(&self) -> HashIter<'_> {
        match &self.0 {
            Form::Compact(c) => HashIter::Compact(c.iter()),
            Form::Tree(t) => HashIter::Tree(t.iter()),
            Form::Timed(t) => t.plain.iter(),
        }
    }

    /// Visits at least `count` fields from a cursor on (all of a compact hash); gives the next cursor, 0 at the end.
    pub fn scan(&self, cursor: u64, count: usize, mut visit: impl FnMut(&[u8], &[u8])) -> u64 {
        let plain = if let Form::Timed(timed) = &self.0 { &timed.plain.0 } else { &self.0 };
        match plain {
            Form::Compact(_) => {
                self.iter().for_each(|(f, v)| visit(f, v));
                0
            }
            Form::Timed(_) => 0,
            Form::Tree(t) => scan_tree(t, cursor, count, |k| k.hash, |f| visit(f.name.bytes.as_bytes(), &f.value)),
        }
    }
}

/// Walks a tree in hash order from `cursor`. Items of one hash are never parted, so nothing is missed.
pub(crate) fn scan_tree<T: Item>(
    tree: &Tree<T>,
    cursor: u64,
    count: usize,
    hash: impl Fn(&T::Key) -> u64,
    mut visit: impl FnMut(&T),
) -> u64 {
    let start = tree.rank_where(|k| hash(k) < cursor);
    let (mut seen, mut last) = (0, 0);
    for item in tree.iter_from(start) {
        let at = hash(item.key());
        if seen >= count && at != last {
            return at;
        }
        (seen, last) = (seen + 1, at);
        visit(item);
    }
    0
}

fn pair(f: &Field) -> (&[u8], &[u8]) {
    (f.name.bytes.as_bytes(), f.value.as_bytes())
}

/// Fields and values of a hash.
pub enum HashIter<'a> {
    /// Of a compact hash.
    Compact(Entries<'a, false>),
    /// Of a tree.
    Tree(TreeIter<'a, Field>),
}

impl<'a> Iterator for HashIter<'a> {
    type Item = (&'a [u8], &'a [u8]);
    #[inline]
    fn next(&mut self) -> Option<Self::Item> {
        match self {
            HashIter::Compact(it) => Some((it.next()?, it.next()?)),
            HashIter::Tree(it) => it.next().map(pair),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::{BTreeMap, BTreeSet};

    fn name(n: u16) -> Vec<u8> {
        format!("field-with-a-name-{}", n % 300).into_bytes()
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(48))]
        #[test]
        fn is_a_map(ops in prop::collection::vec((0..10_u8, any::<u16>(), prop::collection::vec(any::<u8>(), 0..70)), 1..900)) {
            let (mut hash, mut twin, limits) = (Hash::new(), BTreeMap::<Vec<u8>, Vec<u8>>::new(), Limits::default());
            let mut forks = Vec::new();
            for (op, n, value) in ops {
                let field = name(n);
                match op {
                    0..=5 => {
                        prop_assert_eq!(hash.set(&field, &value, &limits), !twin.contains_key(&field));
                        twin.insert(field, value);
                    }
                    6..=8 => prop_assert_eq!(hash.remove(&field), twin.remove(&field).is_some()),
                    _ if n % 16 == 0 => forks.push((hash.clone(), twin.clone())),
                    _ => prop_assert_eq!(hash.get(&field), twin.get(&field).map(|v| &v[..])),
                }
            }
            forks.push((hash, twin));
            for (hash, twin) in forks {
                prop_assert_eq!(hash.len(), twin.len());
                let all: BTreeMap<_, _> = hash.iter().map(|(f, v)| (f.to_vec(), v.to_vec())).collect();
                prop_assert_eq!(&all, &twin);
                let nth: BTreeSet<_> = (0..twin.len()).map(|i| hash.nth(i).unwrap().0.to_vec()).collect();
                prop_assert_eq!(nth.len(), twin.len());
                prop_assert!(hash.nth(twin.len()).is_none());
            }
        }
    }

    #[test]
    fn scan_sees_all_that_stayed_while_fields_come_and_go() {
        let (mut hash, limits) = (Hash::new(), Limits::default());
        for n in 0..5000 {
            hash.set(format!("stay{n}").as_bytes(), b"x", &limits);
        }
        let (mut seen, mut cursor, mut round) = (BTreeSet::new(), 0, 0);
        loop {
            cursor = hash.scan(cursor, 10, |f, _| {
                seen.insert(f.to_vec());
            });
            hash.set(format!("new{round}").as_bytes(), b"x", &limits);
            hash.remove(format!("new{}", round / 2).as_bytes());
            round += 1;
            if cursor == 0 {
                break;
            }
        }
        assert!((0..5000).all(|n| seen.contains(format!("stay{n}").as_bytes())));
    }

    #[test]
    fn leaves_the_compact_form_at_redis_thresholds() {
        let limits = Limits::default();
        let mut hash = Hash::new();
        for n in 0..128 {
            hash.set(&name(n), &[b'v'; 64], &limits);
        }
        assert_eq!(hash.encoding(), "listpack");
        hash.set(b"one more", b"", &limits);
        assert_eq!(hash.encoding(), "hashtable");
        let mut hash = Hash::new();
        hash.set(b"f", &[b'v'; 65], &limits);
        assert_eq!((hash.encoding(), hash.len()), ("hashtable", 1));
    }
}
