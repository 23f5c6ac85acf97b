//! The bytes of one element of a collection: short ones inline, long ones behind a shared pointer.
//!
//! A node of a tree is copied when a snapshot still reads it, so cloning an element must never copy much:
//! at most 22 bytes inline, or one reference count. It never holds more than the bytes themselves.

use std::cmp::Ordering;
use std::fmt;
use std::sync::Arc;

const INLINE: usize = 22;

#[derive(Clone)]
enum Repr {
    Inline { len: u8, buf: [u8; INLINE] },
    Heap(Arc<[u8]>),
}

/// One element's bytes; 24 bytes in a node, cheap to clone.
#[derive(Clone)]
pub struct Elem(Repr);

impl Elem {
    /// Copies `bytes`.
    pub fn new(bytes: &[u8]) -> Self {
        if bytes.len() <= INLINE {
            let mut buf = [0; INLINE];
            buf[..bytes.len()].copy_from_slice(bytes);
            Self(Repr::Inline { len: bytes.len() as u8, buf })
        } else {
            Self(Repr::Heap(bytes.into()))
        }
    }

    /// The bytes.
    #[inline]
    pub fn as_bytes(&self) -> &[u8] {
        match &self.0 {
            Repr::Inline { len, buf } => &buf[..*len as usize],
            Repr::Heap(bytes) => bytes,
        }
    }

    /// Bytes held outside the element itself.
    #[inline]
    pub fn heap_bytes(&self) -> usize {
        match &self.0 {
            Repr::Inline { .. } => 0,
            Repr::Heap(bytes) => bytes.len() + 16,
        }
    }
}

impl std::ops::Deref for Elem {
    type Target = [u8];
    fn deref(&self) -> &[u8] {
        self.as_bytes()
    }
}

impl AsRef<[u8]> for Elem {
    fn as_ref(&self) -> &[u8] {
        self.as_bytes()
    }
}

impl From<&[u8]> for Elem {
    fn from(bytes: &[u8]) -> Self {
        Self::new(bytes)
    }
}

impl fmt::Debug for Elem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", String::from_utf8_lossy(self.as_bytes()))
    }
}

impl PartialEq for Elem {
    fn eq(&self, other: &Self) -> bool {
        self.as_bytes() == other.as_bytes()
    }
}
impl Eq for Elem {}
impl PartialOrd for Elem {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}
impl Ord for Elem {
    fn cmp(&self, other: &Self) -> Ordering {
        self.as_bytes().cmp(other.as_bytes())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn is_small_and_keeps_bytes_of_any_length() {
        assert_eq!(std::mem::size_of::<Elem>(), 24);
        for len in [0, 1, 21, 22, 23, 24, 1000] {
            let bytes: Vec<u8> = (0..len).map(|i| i as u8).collect();
            let elem = Elem::new(&bytes);
            assert_eq!(elem.as_bytes(), &bytes[..]);
            assert_eq!(elem.clone(), elem);
            assert_eq!(elem.heap_bytes() == 0, len <= 22);
        }
    }
}
