//! The arguments of one command: a view into the bytes they arrived in, and an owned form of the same shape.

use smallvec::SmallVec;

/// Start and end of one argument, counted from the first byte of its command.
pub type ArgRange = (u32, u32);

/// The arguments of one command as positions: no copy, and no allocation up to eight arguments.
pub type ArgRanges = SmallVec<[ArgRange; 8]>;

/// The arguments of one command, command name first.
#[derive(Clone, Copy)]
pub struct Args<'a> {
    buf: &'a [u8],
    ranges: &'a [ArgRange],
    /// So many bytes at the front of `buf` are what encoding the arguments would give; 0: not known to be.
    canonical: u32,
}

impl<'a> Args<'a> {
    /// A view of `ranges` over `buf`, which begins at the command's first byte.
    pub fn new(buf: &'a [u8], ranges: &'a [ArgRange]) -> Self {
        Self { buf, ranges, canonical: 0 }
    }

    /// A view of a command of which the decoder said that its first `canonical` bytes can be forwarded as they are.
    #[inline]
    pub fn canonical(buf: &'a [u8], ranges: &'a [ArgRange], canonical: u32) -> Self {
        Self { buf, ranges, canonical }
    }

    /// What [`write_command`](crate::write_command) would make of these arguments, where they arrived so.
    #[inline]
    pub fn encoded(&self) -> Option<&'a [u8]> {
        (self.canonical > 0).then(|| &self.buf[..self.canonical as usize])
    }

    /// How many arguments there are, the name included.
    #[inline]
    pub fn len(&self) -> usize {
        self.ranges.len()
    }

    /// True without any argument.
    #[inline]
    pub fn is_empty(&self) -> bool {
        self.ranges.is_empty()
    }

    /// The argument at `index`; panics beyond the end, as a slice does (arity is checked before a handler runs).
    #[inline]
    pub fn at(&self, index: usize) -> &'a [u8] {
        let (start, end) = self.ranges[index];
        &self.buf[start as usize..end as usize]
    }

    /// The argument at `index`, if there is one.
    #[inline]
    pub fn get(&self, index: usize) -> Option<&'a [u8]> {
        self.ranges.get(index).map(|&(start, end)| &self.buf[start as usize..end as usize])
    }

    /// Bytes from the command's first one on that have arrived, those of later commands among them.
    pub fn arrived(&self) -> usize {
        self.buf.len()
    }

    /// Bytes from the command's first one to its last argument's end: what it says in constant time of its size.
    #[inline]
    pub fn span(&self) -> usize {
        self.ranges.last().map_or(0, |&(_, end)| end as usize)
    }

    /// Bytes of the arguments themselves.
    pub fn bytes(&self) -> usize {
        self.ranges.iter().map(|&(start, end)| (end - start) as usize).sum()
    }

    /// All arguments in order.
    pub fn iter(&self) -> impl DoubleEndedIterator<Item = &'a [u8]> + ExactSizeIterator + Clone + use<'a> {
        let buf = self.buf;
        self.ranges.iter().map(move |&(start, end)| &buf[start as usize..end as usize])
    }

    /// The same arguments without the first `count` (all gone if there are fewer).
    pub fn skip(&self, count: usize) -> Args<'a> {
        Args::new(self.buf, self.ranges.get(count..).unwrap_or(&[]))
    }

    /// A copy that owns its bytes.
    pub fn to_owned(&self) -> OwnedArgs {
        self.iter().collect()
    }
}

impl std::ops::Index<usize> for Args<'_> {
    type Output = [u8];
    #[inline]
    fn index(&self, index: usize) -> &[u8] {
        self.at(index)
    }
}

impl std::fmt::Debug for Args<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_list().entries(self.iter().map(String::from_utf8_lossy)).finish()
    }
}

/// Arguments that own their bytes: one buffer and the positions in it (queued commands, rewritten effects).
#[derive(Clone, Default, PartialEq, Eq)]
pub struct OwnedArgs {
    buf: Vec<u8>,
    ranges: ArgRanges,
}

impl OwnedArgs {
    /// No arguments yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// Appends one argument. Together they must stay below 4 GiB.
    pub fn push(&mut self, arg: &[u8]) {
        let start = position(self.buf.len());
        self.buf.extend_from_slice(arg);
        self.ranges.push((start, position(self.buf.len())));
    }

    /// No arguments again; the memory stays.
    pub fn clear(&mut self) {
        self.buf.clear();
        self.ranges.clear();
    }

    /// Appends an integer in decimal.
    pub fn push_int(&mut self, value: i64) {
        self.push(itoa::Buffer::new().format(value).as_bytes());
    }

    /// How many arguments there are.
    pub fn len(&self) -> usize {
        self.ranges.len()
    }

    /// True without any argument.
    pub fn is_empty(&self) -> bool {
        self.ranges.is_empty()
    }

    /// The view that handlers take.
    #[inline]
    pub fn view(&self) -> Args<'_> {
        Args::new(&self.buf, &self.ranges)
    }

    /// Bytes held, for memory limits of queued commands.
    pub fn memory(&self) -> usize {
        self.buf.capacity() + if self.ranges.spilled() { self.ranges.capacity() * size_of::<ArgRange>() } else { 0 }
    }
}

fn position(at: usize) -> u32 {
    u32::try_from(at).expect("a command stays below 4 GiB: the decoder and the query buffer limit hold it")
}

impl<T: AsRef<[u8]>> FromIterator<T> for OwnedArgs {
    fn from_iter<I: IntoIterator<Item = T>>(args: I) -> Self {
        let mut owned = Self::new();
        for arg in args {
            owned.push(arg.as_ref());
        }
        owned
    }
}

impl std::fmt::Debug for OwnedArgs {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.view().fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn views_and_owned_forms_agree() {
        let mut owned: OwnedArgs = ["set", "key", ""].iter().collect();
        owned.push_int(i64::MIN);
        let view = owned.view();
        assert_eq!(view.len(), 4);
        assert_eq!(view.at(1), b"key");
        assert_eq!(&view[2], b"");
        assert_eq!(view.get(3), Some(&b"-9223372036854775808"[..]));
        assert_eq!(view.get(4), None);
        assert_eq!(view.skip(3).iter().collect::<Vec<_>>(), vec![&b"-9223372036854775808"[..]]);
        assert!(view.skip(9).is_empty());
        assert_eq!(view.to_owned(), owned);
    }
}
