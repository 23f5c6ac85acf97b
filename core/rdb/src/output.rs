//! Where a value's bytes go while it is written: a buffer that keeps all of them, or one that is emptied between elements,
//! so that a collection of any size takes little memory. Owns the contract; who empties what is the caller's business.

/// Takes a value's bytes.
pub trait Output {
    /// Bytes may be gone before the value ends: what stands in front of it must be right from the start.
    const PIECEWISE: bool;

    /// Where to append.
    fn bytes(&mut self) -> &mut Vec<u8>;

    /// The value begins, and is of this type.
    fn begins(&mut self, rdb_type: u8);

    /// An element is whole: the bytes so far may be taken away.
    fn element_ends(&mut self);
}

impl Output for Vec<u8> {
    const PIECEWISE: bool = false;

    #[inline]
    fn bytes(&mut self) -> &mut Vec<u8> {
        self
    }

    #[inline]
    fn begins(&mut self, _: u8) {}

    #[inline]
    fn element_ends(&mut self) {}
}
