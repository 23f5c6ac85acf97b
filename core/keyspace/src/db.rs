//! One numbered database: its table, and which cuts it belongs to.

use crate::snapshot::CUTS;
use crate::table::{Hashing, Table};

/// That a database belongs to a cut, and under which number it is written there (SWAPDB may move it later).
#[derive(Clone, Copy)]
pub(crate) struct CutStamp {
    pub(crate) epoch: u32,
    pub(crate) index: usize,
}

/// A database.
pub(crate) struct Db {
    pub(crate) table: Table,
    pub(crate) stamps: [Option<CutStamp>; CUTS],
    /// Bytes of all entries and their values.
    pub(crate) value_bytes: usize,
    /// The segment at which the expiry cycle goes on.
    pub(crate) expiry_hand: usize,
}

impl Db {
    pub(crate) fn new(hashing: Hashing) -> Self {
        Db { table: Table::new(hashing), stamps: [None; CUTS], value_bytes: 0, expiry_hand: 0 }
    }
}
