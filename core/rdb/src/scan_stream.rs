//! The way through a stream for those who look for a record's end: one small step at a time, so that it can be taken
//! again when the bytes of a step haven't come yet.

use crate::RdbError;
use crate::prim::Reader;
use crate::types;

/// A place in a stream.
#[derive(Debug, Clone, Copy)]
pub(crate) struct StreamPlace {
    rdb_type: u8,
    next: Next,
    groups: u64,
    consumers: u64,
}

/// What comes next. Numbers are how many more of it there are.
#[derive(Debug, Clone, Copy)]
enum Next {
    BlockCount,
    BlockTexts(u64),
    Counters(u64),
    GroupCount,
    GroupName,
    GroupLens(u64),
    PendingCount,
    Pending(u64),
    ConsumerCount,
    ConsumerName,
    OwnedCount,
    Owned(u64),
}

impl StreamPlace {
    pub(crate) fn new(rdb_type: u8) -> Self {
        Self { rdb_type, next: Next::BlockCount, groups: 0, consumers: 0 }
    }

    /// Whether a string comes next.
    pub(crate) fn text_next(&self) -> bool {
        matches!(self.next, Next::BlockTexts(1..) | Next::ConsumerName)
            || matches!(self.next, Next::GroupName if self.groups > 0)
    }

    /// One step; none at the end.
    pub(crate) fn step(mut self, reader: &mut Reader<'_>) -> Result<Option<Self>, RdbError> {
        let first_version = self.rdb_type == types::STREAM_LISTPACKS;
        self.next = match self.next {
            Next::BlockCount => Next::BlockTexts(reader.count()?.saturating_mul(2)),
            // Length and last id; since 7.0 also first and deleted id, and the number ever added.
            Next::BlockTexts(0) => Next::Counters(if first_version { 3 } else { 8 }),
            Next::BlockTexts(left) => {
                reader.skip_text()?;
                Next::BlockTexts(left - 1)
            }
            Next::Counters(0) => Next::GroupCount,
            Next::Counters(left) => {
                reader.count()?;
                Next::Counters(left - 1)
            }
            Next::GroupCount => {
                self.groups = reader.count()?;
                Next::GroupName
            }
            Next::GroupName if self.groups == 0 => return Ok(None),
            Next::GroupName => {
                reader.skip_text()?;
                self.groups -= 1;
                Next::GroupLens(if first_version { 2 } else { 3 })
            }
            Next::GroupLens(0) => Next::PendingCount,
            Next::GroupLens(left) => {
                reader.count()?;
                Next::GroupLens(left - 1)
            }
            Next::PendingCount => Next::Pending(reader.count()?),
            Next::Pending(0) => Next::ConsumerCount,
            Next::Pending(left) => {
                reader.take(16 + 8)?;
                reader.count()?;
                Next::Pending(left - 1)
            }
            Next::ConsumerCount => {
                self.consumers = reader.count()?;
                self.consumer()
            }
            Next::ConsumerName => {
                reader.skip_text()?;
                self.consumers -= 1;
                Next::OwnedCount
            }
            Next::OwnedCount => {
                reader.take(if self.rdb_type == types::STREAM_LISTPACKS_3 { 16 } else { 8 })?;
                Next::Owned(reader.count()?)
            }
            Next::Owned(0) => self.consumer(),
            Next::Owned(left) => {
                reader.take(16)?;
                Next::Owned(left - 1)
            }
        };
        Ok(Some(self))
    }

    fn consumer(&self) -> Next {
        if self.consumers > 0 { Next::ConsumerName } else { Next::GroupName }
    }
}
