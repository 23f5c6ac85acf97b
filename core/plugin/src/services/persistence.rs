//! `keystead.persistence`: what survives a restart.

use crate::service::Service;
use serde::{Deserialize, Serialize};

/// What is asked of persistence.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub enum Request {
    /// Save everything now.
    Save {
        /// Why, for the log.
        reason: String,
    },
    /// Make everything up to this journal offset durable.
    Flush {
        /// The offset.
        up_to: u64,
    },
    /// What was recovered at the start?
    Recovered,
}

/// What persistence answers.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub enum Answer {
    /// Done: durable up to this offset.
    Durable {
        /// The offset.
        offset: u64,
    },
    /// What was recovered.
    Recovered {
        /// The replication id of the data, if it had one.
        replid: Option<String>,
        /// The replication offset of the data.
        offset: u64,
        /// The data is exactly the prefix of that history, so a replica may resume with it.
        exact: bool,
    },
    /// It can't be done.
    Failed {
        /// Why.
        reason: String,
    },
}

/// The service.
pub struct Persistence;

impl Service for Persistence {
    const NAME: &'static str = "keystead.persistence";
    const MAJOR: u32 = 1;
    const MINOR: u32 = 0;
    type Request = Request;
    type Answer = Answer;
}
