//! Filtered replicas: a part of the keyspace, under a history of its own.
//!
//! Pure rooms: `rewrite` (commands in, commands out), `log` (what is kept of the derived stream). `feed` is the task that reads
//! the journal through them, one for each filter that somebody follows; `part` takes a snapshot's records apart.
//! What a filter's name stands for is the RON file's or a service's to say (`keystead.replica-filter`).

mod feed;
mod log;
mod part;
mod rewrite;

pub(crate) use feed::{Feed, Feeds};
pub(crate) use log::{Reader, TOO_FAR};
pub(crate) use part::part;
