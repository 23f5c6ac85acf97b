//! A command's words: borrowed inside a turn, owned outside.

use bytes::Bytes;
use keystead_abi::Str;
use std::marker::PhantomData;

/// A command's words, borrowed; the command's name is the first.
#[derive(Clone, Copy)]
pub struct Args<'a> {
    words: &'a [Str],
    _borrow: PhantomData<&'a [u8]>,
}

impl<'a> Args<'a> {
    /// # Safety
    /// `argv` points to `argc` words, readable for `'a`.
    pub(crate) unsafe fn from_raw(argv: *const Str, argc: usize) -> Args<'a> {
        // SAFETY: the caller's.
        Args { words: unsafe { Str::array(argv, argc) }, _borrow: PhantomData }
    }

    /// The word at a position.
    pub fn get(&self, index: usize) -> Option<&'a [u8]> {
        // SAFETY: the words are readable for 'a.
        self.words.get(index).map(|word| unsafe { word.bytes() })
    }

    /// The word at a position that the arity guarantees; empty if there is none.
    pub fn at(&self, index: usize) -> &'a [u8] {
        self.get(index).unwrap_or_default()
    }

    /// How many words.
    pub fn len(&self) -> usize {
        self.words.len()
    }

    /// Never true for a command; for completeness.
    pub fn is_empty(&self) -> bool {
        self.words.is_empty()
    }

    /// All words.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = &'a [u8]> + use<'a> {
        // SAFETY: the words are readable for 'a.
        self.words.iter().map(|word| unsafe { word.bytes() })
    }

    /// A copy that outlives the turn.
    pub fn to_owned(&self) -> OwnedArgs {
        OwnedArgs(self.iter().map(Bytes::copy_from_slice).collect())
    }
}

/// A command's words, owned.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct OwnedArgs(pub Vec<Bytes>);

impl OwnedArgs {
    /// The word at a position.
    pub fn get(&self, index: usize) -> Option<&[u8]> {
        self.0.get(index).map(Bytes::as_ref)
    }

    /// The word at a position that the arity guarantees; empty if there is none.
    pub fn at(&self, index: usize) -> &[u8] {
        self.get(index).unwrap_or_default()
    }

    /// How many words.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there are no words.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// All words.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = &[u8]> {
        self.0.iter().map(Bytes::as_ref)
    }
}

impl<T: Into<Bytes>> FromIterator<T> for OwnedArgs {
    fn from_iter<I: IntoIterator<Item = T>>(words: I) -> Self {
        OwnedArgs(words.into_iter().map(Into::into).collect())
    }
}

/// Words as the boundary wants them; valid while `argv` is.
pub(crate) fn raw_words<T: AsRef<[u8]>>(argv: &[T]) -> Vec<Str> {
    argv.iter().map(|word| Str::new(word.as_ref())).collect()
}

/// The same for the length of a call, without an allocation for up to eight.
pub(crate) fn with_raw_words<T: AsRef<[u8]>, R>(argv: &[T], call: impl FnOnce(&[Str]) -> R) -> R {
    const INLINE: usize = 8;
    if argv.len() > INLINE {
        return call(&raw_words(argv));
    }
    let mut inline = [Str::new(b""); INLINE];
    for (slot, word) in inline.iter_mut().zip(argv) {
        *slot = Str::new(word.as_ref());
    }
    call(&inline[..argv.len()])
}
