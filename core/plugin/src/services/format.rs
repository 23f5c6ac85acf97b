//! `keystead.snapshot-format`: writes a snapshot of the core into a file and reads one back.

use super::{SharedLoad, SharedSnapshot};
use crate::service::Service;
use serde::{Deserialize, Serialize};

/// What is asked of a format.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub enum Request {
    /// Which format is it, and which files are its own?
    Describe,
    /// Write a snapshot to a file that doesn't exist yet; on the disk when answered.
    Save {
        /// The cut.
        snapshot: SharedSnapshot,
        /// The file.
        path: String,
    },
    /// Read a file into a load; the receiver doesn't commit.
    Load {
        /// The file.
        path: String,
        /// Where the records go.
        load: SharedLoad,
    },
}

/// What a format answers.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub enum Answer {
    /// Its name and the suffix of its files.
    Format {
        /// The name.
        id: String,
        /// The suffix, without the dot.
        suffix: String,
    },
    /// Written.
    Saved {
        /// Bytes of the file.
        bytes: u64,
        /// Keys in it.
        keys: u64,
    },
    /// Read.
    Loaded {
        /// Keys in it.
        keys: u64,
        /// The replication id it was saved with, if it says.
        replid: Option<String>,
        /// The replication offset it was saved at.
        offset: Option<u64>,
    },
    /// It can't be done.
    Failed {
        /// Why.
        reason: String,
    },
}

/// The service.
pub struct SnapshotFormat;

impl Service for SnapshotFormat {
    const NAME: &'static str = "keystead.snapshot-format";
    const MAJOR: u32 = 1;
    const MINOR: u32 = 0;
    type Request = Request;
    type Answer = Answer;
}
