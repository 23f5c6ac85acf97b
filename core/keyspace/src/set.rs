//! Sets: sorted integers, a compact blob, or a tree ordered by (hash, member).

use crate::compact::{Entries, Forward};
use crate::elem::Elem;
use crate::hash::{Hashed, in_order, place, scan_tree, seek};
use crate::limits::Limits;
use crate::tree::{Item, Iter as TreeIter, Tree};

impl Item for Hashed {
    type Key = Hashed;
    fn key(&self) -> &Hashed {
        self
    }
    fn heap_bytes(&self) -> usize {
        self.bytes.heap_bytes()
    }
}

/// Sorted integers at the narrowest width that holds them all.
#[derive(Clone)]
enum Ints {
    I16(Vec<i16>),
    I32(Vec<i32>),
    I64(Vec<i64>),
}

macro_rules! each {
    ($ints:expr, $v:ident => $body:expr) => {
        match $ints {
            Ints::I16($v) => $body,
            Ints::I32($v) => $body,
            Ints::I64($v) => $body,
        }
    };
}

impl Ints {
    fn len(&self) -> usize {
        each!(self, v => v.len())
    }

    fn mem_bytes(&self) -> usize {
        each!(self, v => std::mem::size_of_val(&v[..]))
    }

    fn get(&self, i: usize) -> Option<i64> {
        #[allow(clippy::useless_conversion)]
        let found = each!(self, v => v.get(i).map(|n| i64::from(*n)));
        found
    }

    fn search(&self, n: i64) -> Result<usize, usize> {
        #[allow(clippy::useless_conversion)]
        let found = each!(self, v => v.binary_search_by(|x| i64::from(*x).cmp(&n)));
        found
    }

    fn insert(&mut self, at: usize, n: i64) {
        match self {
            Ints::I16(v) => match i16::try_from(n) {
                Ok(n) => return v.insert(at, n),
                Err(_) => *self = Ints::I32(v.iter().map(|x| i32::from(*x)).collect()),
            },
            Ints::I32(v) => match i32::try_from(n) {
                Ok(n) => return v.insert(at, n),
                Err(_) => *self = Ints::I64(v.iter().map(|x| i64::from(*x)).collect()),
            },
            Ints::I64(v) => return v.insert(at, n),
        }
        self.insert(at, n);
    }

    fn remove(&mut self, at: usize) {
        each!(self, v => {
            v.remove(at);
        });
    }
}

#[derive(Clone)]
enum Form {
    Ints(Ints),
    Compact(Forward),
    Tree(Tree<Hashed>),
}

/// A member as it is stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Member<'a> {
    /// Held as a number.
    Int(i64),
    /// Held as text.
    Bytes(&'a [u8]),
}

impl<'a> Member<'a> {
    /// The text; numbers are written into `buf`.
    #[inline]
    pub fn text<'b>(&self, buf: &'b mut itoa::Buffer) -> &'b [u8]
    where
        'a: 'b,
    {
        match *self {
            Member::Int(n) => buf.format(n).as_bytes(),
            Member::Bytes(bytes) => bytes,
        }
    }

    /// A copy of the text.
    pub fn to_elem(&self) -> Elem {
        Elem::new(self.text(&mut itoa::Buffer::new()))
    }
}

/// Distinct byte strings.
#[derive(Clone)]
pub struct Set(Form);

impl Default for Set {
    fn default() -> Self {
        Self(Form::Ints(Ints::I16(Vec::new())))
    }
}

/// The number that `bytes` is the canonical text of, as Redis' string2ll sees it.
pub fn as_int(bytes: &[u8]) -> Option<i64> {
    let digits = bytes.strip_prefix(b"-").unwrap_or(bytes);
    let canonical = match digits {
        [b'0'] => bytes.len() == 1,
        [b'1'..=b'9', rest @ ..] => rest.len() < 19 && rest.iter().all(u8::is_ascii_digit),
        _ => false,
    };
    if !canonical {
        return None;
    }
    std::str::from_utf8(bytes).ok()?.parse().ok()
}

fn find(c: &Forward, member: &[u8]) -> Option<usize> {
    let mut off = 0;
    while off < c.end() {
        let (bytes, next) = c.entry(off);
        if bytes == member {
            return Some(off);
        }
        off = next;
    }
    None
}

impl Set {
    #[inline]
    pub(crate) fn inside(&self) -> Option<*const u8> {
        match &self.0 {
            Form::Compact(c) => Some(c.front_address()),
            Form::Ints(_) | Form::Tree(_) => None,
        }
    }

    /// An empty set.
    pub fn new() -> Self {
        Self::default()
    }

    /// A set of so many members that no other form holds them; none if one occurs twice.
    pub(crate) fn of_many(members: Vec<Hashed>) -> Option<Self> {
        in_order(members).map(|tree| Self(Form::Tree(tree)))
    }

    /// Number of members.
    pub fn len(&self) -> usize {
        match &self.0 {
            Form::Ints(v) => v.len(),
            Form::Compact(c) => c.len(),
            Form::Tree(t) => t.len(),
        }
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// `OBJECT ENCODING`
    pub fn encoding(&self) -> &'static str {
        match &self.0 {
            Form::Ints(_) => "intset",
            Form::Compact(_) => "listpack",
            Form::Tree(_) => "hashtable",
        }
    }

    /// Memory held, estimated in O(1).
    pub fn mem_bytes(&self) -> usize {
        match &self.0 {
            Form::Ints(v) => v.mem_bytes(),
            Form::Compact(c) => c.mem_bytes(),
            Form::Tree(t) => t.mem_bytes(),
        }
    }

    /// Whether a clone copies nothing but a pointer.
    pub fn is_tree(&self) -> bool {
        matches!(self.0, Form::Tree(_))
    }

    /// The sorted integers, if the set is held so.
    pub fn ints(&self) -> Option<impl ExactSizeIterator<Item = i64> + '_> {
        match &self.0 {
            Form::Ints(v) => Some((0..v.len()).map(|i| v.get(i).unwrap_or(0))),
            _ => None,
        }
    }

    /// Whether `member` is in the set.
    pub fn contains(&self, member: &[u8]) -> bool {
        match &self.0 {
            Form::Ints(v) => as_int(member).is_some_and(|n| v.search(n).is_ok()),
            Form::Compact(c) => find(c, member).is_some(),
            Form::Tree(t) => t.find(seek(member)).is_some(),
        }
    }

    /// Whether a member of another set is in this one.
    pub fn contains_member(&self, member: Member<'_>) -> bool {
        match (&self.0, member) {
            (Form::Ints(v), Member::Int(n)) => v.search(n).is_ok(),
            _ => self.contains(member.text(&mut itoa::Buffer::new())),
        }
    }

    /// Adds; true if it is new.
    pub fn add(&mut self, member: &[u8], limits: &Limits) -> bool {
        match &mut self.0 {
            Form::Ints(v) => match as_int(member) {
                Some(n) => {
                    let Err(at) = v.search(n) else { return false };
                    v.insert(at, n);
                    if v.len() > limits.set_ints {
                        self.make_tree();
                    }
                    true
                }
                None => {
                    self.leave_ints(member.len(), limits);
                    self.add(member, limits)
                }
            },
            Form::Compact(c) => {
                if find(c, member).is_some() {
                    return false;
                }
                if c.len() < limits.set_entries && member.len() <= limits.set_value {
                    c.push_back(member);
                    return true;
                }
                self.make_tree();
                self.add(member, limits)
            }
            Form::Tree(t) => {
                let seek = seek(member);
                if t.find(seek).is_some() {
                    return false;
                }
                t.insert_by(seek, Hashed::new(member));
                true
            }
        }
    }

    /// Before so many members are added by one command: takes the form that Redis takes then, which doesn't know yet how many
    /// of them differ.
    pub fn expect(&mut self, members: usize, first: &[u8], limits: &Limits) {
        if self.is_empty() {
            match members {
                n if n <= limits.set_ints && as_int(first).is_some() => {}
                n if n <= limits.set_entries => self.0 = Form::Compact(Forward::new()),
                _ => self.make_tree(),
            }
            return;
        }
        let most = match &self.0 {
            Form::Ints(_) => limits.set_ints,
            Form::Compact(_) => limits.set_entries,
            Form::Tree(_) => return,
        };
        if members > most {
            self.make_tree();
        }
    }

    /// Turns integers into a compact set if one more member of `len` bytes would fit, else into a tree.
    fn leave_ints(&mut self, len: usize, limits: &Limits) {
        let Form::Ints(v) = &self.0 else { return };
        // The longest is the lowest or the highest.
        let ends = [v.get(0), v.len().checked_sub(1).and_then(|last| v.get(last))];
        let longest = ends.into_iter().flatten().map(|n| itoa::Buffer::new().format(n).len()).fold(len, usize::max);
        if v.len() < limits.set_entries && longest <= limits.set_value {
            let mut compact = Forward::new();
            self.iter().for_each(|m| compact.push_back(m.text(&mut itoa::Buffer::new())));
            self.0 = Form::Compact(compact);
        } else {
            self.make_tree();
        }
    }

    fn make_tree(&mut self) {
        let mut tree = Tree::new();
        for member in self.iter() {
            let mut buf = itoa::Buffer::new();
            let text = member.text(&mut buf);
            tree.insert_by(seek(text), Hashed::new(text));
        }
        self.0 = Form::Tree(tree);
    }

    /// Removes; false if it isn't there.
    pub fn remove(&mut self, member: &[u8]) -> bool {
        match &mut self.0 {
            Form::Ints(v) => match as_int(member).map(|n| v.search(n)) {
                Some(Ok(at)) => {
                    v.remove(at);
                    true
                }
                _ => false,
            },
            Form::Compact(c) => match find(c, member) {
                Some(off) => {
                    c.remove(off, 1);
                    true
                }
                None => false,
            },
            Form::Tree(t) => t.remove_by(seek(member)).is_some(),
        }
    }

    /// The member at a position in iteration order (for random picks).
    pub fn nth(&self, i: usize) -> Option<Member<'_>> {
        match &self.0 {
            Form::Ints(v) => v.get(i).map(Member::Int),
            Form::Compact(c) => c.get(i).map(Member::Bytes),
            Form::Tree(t) => t.get(i).map(|h| Member::Bytes(h.bytes.as_bytes())),
        }
    }

    /// Takes the member at a position.
    pub fn remove_nth(&mut self, i: usize) -> Option<Elem> {
        match &mut self.0 {
            Form::Ints(v) => {
                let n = v.get(i)?;
                v.remove(i);
                Some(Member::Int(n).to_elem())
            }
            Form::Compact(c) => {
                let elem = Elem::new(c.get(i)?);
                c.remove(c.offset(i), 1);
                Some(elem)
            }
            Form::Tree(t) => t.remove_at(i).map(|h| h.bytes),
        }
    }

    /// Takes the members at some positions, which ascend: one pass over a large set, where taking one after the other would
    /// descend for each.
    pub fn remove_all_at(&mut self, positions: &[usize]) -> Vec<Elem> {
        let Form::Tree(tree) = &mut self.0 else {
            let mut taken: Vec<Elem> = positions.iter().rev().filter_map(|at| self.remove_nth(*at)).collect();
            taken.reverse();
            return taken;
        };
        let (mut taken, mut at, mut wanted) = (Vec::with_capacity(positions.len()), 0, positions.iter().peekable());
        tree.retain(|member| {
            let goes = wanted.next_if_eq(&&at).is_some();
            at += 1;
            if goes {
                taken.push(member.bytes.clone());
            }
            !goes
        });
        taken
    }

    /// Iterates: integers in order, a compact set in order of insertion, a tree by hash.
    pub fn iter(&self) -> SetIter<'_> {
        SetIter(match &self.0 {
            Form::Ints(v) => Iter::Ints(v, 0),
            Form::Compact(c) => Iter::Compact(c.iter()),
            Form::Tree(t) => Iter::Tree(t.iter()),
        })
    }

    /// The members in the order of their places, if the set is held so.
    pub fn placed(&self) -> Option<TreeIter<'_, Hashed>> {
        match &self.0 {
            Form::Tree(t) => Some(t.iter()),
            Form::Ints(_) | Form::Compact(_) => None,
        }
    }

    /// Visits at least `count` members from a cursor on (all of a small set); gives the next cursor, 0 at the end.
    pub fn scan(&self, cursor: u64, count: usize, mut visit: impl FnMut(Member<'_>)) -> u64 {
        match &self.0 {
            Form::Tree(t) => scan_tree(t, cursor, count, |k| k.hash, |h| visit(Member::Bytes(h.bytes.as_bytes()))),
            _ => {
                self.iter().for_each(visit);
                0
            }
        }
    }

    /// The place in hash space that [`Set::scan`]'s cursors speak of.
    pub fn place(member: &[u8]) -> u64 {
        place(member)
    }
}

enum Iter<'a> {
    Ints(&'a Ints, usize),
    Compact(Entries<'a, false>),
    Tree(TreeIter<'a, Hashed>),
}

/// Members of a set.
pub struct SetIter<'a>(Iter<'a>);

impl<'a> Iterator for SetIter<'a> {
    type Item = Member<'a>;
    #[inline]
    fn next(&mut self) -> Option<Member<'a>> {
        match &mut self.0 {
            Iter::Ints(v, at) => {
                *at += 1;
                v.get(*at - 1).map(Member::Int)
            }
            Iter::Compact(it) => it.next().map(Member::Bytes),
            Iter::Tree(it) => it.next().map(|h| Member::Bytes(h.bytes.as_bytes())),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeSet;

    fn texts(set: &Set) -> BTreeSet<Vec<u8>> {
        set.iter().map(|m| m.to_elem().to_vec()).collect()
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(48))]
        #[test]
        fn is_a_set(words in 0..3_u8, ops in prop::collection::vec((0..10_u8, any::<i64>()), 1..900)) {
            let (mut set, mut twin, limits) = (Set::new(), BTreeSet::<Vec<u8>>::new(), Limits::default());
            let mut forks = Vec::new();
            for (op, n) in ops {
                let member = match (words, n % 3) {
                    (0, _) => (n % 700).to_string(),
                    (1, 0) => n.to_string(),
                    (1, 1) => (n % 100_000).to_string(),
                    (2, 0) => format!("word {}", n % 100),
                    _ => (n % 100).to_string(),
                }.into_bytes();
                match op {
                    0..=5 => prop_assert_eq!(set.add(&member, &limits), twin.insert(member)),
                    6..=8 => prop_assert_eq!(set.remove(&member), twin.remove(&member)),
                    _ if n % 16 == 0 => forks.push((set.clone(), twin.clone())),
                    _ if n % 16 == 1 && !twin.is_empty() => {
                        let gone = set.remove_nth(n.unsigned_abs() as usize % twin.len()).unwrap();
                        prop_assert!(twin.remove(&gone.to_vec()));
                    }
                    _ if n % 16 == 2 => {
                        let step = 2 + n.unsigned_abs() as usize % 50;
                        let positions: Vec<usize> = (0..set.len()).skip(1).step_by(step).collect();
                        let there: Vec<_> = positions.iter().map(|at| set.nth(*at).unwrap().to_elem()).collect();
                        let gone = set.remove_all_at(&positions);
                        prop_assert_eq!(&gone, &there);
                        prop_assert!(gone.iter().all(|member| twin.remove(&member.to_vec())));
                    }
                    _ => prop_assert_eq!(set.contains(&member), twin.contains(&member)),
                }
            }
            forks.push((set, twin));
            for (set, twin) in forks {
                prop_assert_eq!(set.len(), twin.len());
                prop_assert_eq!(&texts(&set), &twin);
                let nth: BTreeSet<_> = (0..set.len()).map(|i| set.nth(i).unwrap().to_elem().to_vec()).collect();
                prop_assert_eq!(&nth, &twin);
                if let Some(ints) = set.ints() {
                    prop_assert!(ints.is_sorted());
                }
            }
        }
    }

    #[test]
    fn encodings_change_at_redis_thresholds() {
        let limits = Limits::default();
        let mut set = Set::new();
        (0..512).for_each(|n| assert!(set.add(n.to_string().as_bytes(), &limits)));
        assert_eq!(set.encoding(), "intset");
        set.add(b"512", &limits);
        assert_eq!((set.encoding(), set.len()), ("hashtable", 513));
        let mut set = Set::new();
        (0..127).for_each(|n| assert!(set.add(n.to_string().as_bytes(), &limits)));
        set.add(b"word", &limits);
        assert_eq!((set.encoding(), set.len()), ("listpack", 128));
        set.add(b"more", &limits);
        assert_eq!((set.encoding(), set.len()), ("hashtable", 129));
        let mut set = Set::new();
        set.add(&[b'x'; 65], &limits);
        assert_eq!((set.encoding(), set.len()), ("hashtable", 1));
    }

    /// Seen at redis-server 7.2.4.
    #[test]
    fn encodings_follow_changed_thresholds() {
        let defaults = Limits::default();
        let (ints, short) = (Limits { set_ints: 2, ..defaults }, Limits { set_value: 5, ..defaults });
        let one = Limits { set_entries: 1, ..defaults };
        let cases: [(Limits, &[&[&str]], &str); 14] = [
            (ints, &[&["1", "2", "3"]], "listpack"),
            (ints, &[&["1", "2"], &["3"]], "hashtable"),
            (ints, &[&["6", "2", "2"]], "listpack"),
            (ints, &[&["1"], &["1", "1", "1"]], "hashtable"),
            (ints, &[&["1"], &["2"], &["a"]], "listpack"),
            (short, &[&["a"]], "listpack"),
            (short, &[&["aaaaaa"]], "hashtable"),
            (short, &[&["12345"], &["a"]], "listpack"),
            (short, &[&["-12345"], &["a"]], "hashtable"),
            (short, &[&["-12345", "1"], &["a"]], "hashtable"),
            (short, &[&["a", "12345"], &["123456"]], "hashtable"),
            (one, &[&["a", "a"]], "hashtable"),
            (one, &[&["a"]], "listpack"),
            (one, &[&["1", "2"]], "intset"),
        ];
        for (limits, commands, encoding) in cases {
            let mut set = Set::new();
            for members in commands {
                set.expect(members.len(), members[0].as_bytes(), &limits);
                members.iter().for_each(|member| _ = set.add(member.as_bytes(), &limits));
            }
            assert_eq!(set.encoding(), encoding, "{commands:?}");
        }
    }

    #[test]
    fn only_canonical_numbers_are_numbers() {
        for text in ["0", "-1", "9223372036854775807", "-9223372036854775808"] {
            assert_eq!(as_int(text.as_bytes()), Some(text.parse().unwrap()));
        }
        for text in ["", "-", "-0", "+1", "01", " 1", "1 ", "9223372036854775808", "1e3", "99999999999999999999"] {
            assert_eq!(as_int(text.as_bytes()), None, "{text:?}");
        }
    }
}
