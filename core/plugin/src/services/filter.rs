//! `keystead.replica-filter`: which databases and which keys a filtered replica receives.
//!
//! A replica asks its primary for a filter by name. The primary's replication plugin knows those of its own RON file; for any
//! other name it asks the providers of this service, in their order, and takes the first that knows it. It is asked when
//! a replica comes, and the one that was taken again each second while the replica follows, never for a write: a filter is
//! data, which the replication plugin applies to a snapshot and to the stream alike.
//!
//! The same name must mean the same on every node that may become the primary. An answer that differs from the one before
//! ends the derived history of that name: its replicas come again and take everything. A replica that is granted it no
//! longer is disconnected.

use crate::plugin::Plugin;
use crate::registrar::Registrar;
use crate::service::Service;
use serde::{Deserialize, Serialize};

/// Longest name of a filter, in bytes.
pub const MAX_NAME: usize = 64;

/// What is asked.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub enum Request {
    /// What does this name stand for?
    Named {
        /// The name, as the replica gave it.
        name: String,
        /// The replica's address, `host:port`, for a provider that grants not everything to everybody.
        replica: String,
    },
}

/// What is answered.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub enum Answer {
    /// This.
    Filter(Filter),
    /// The provider knows no such name, or doesn't grant it.
    Unknown,
}

/// A part of the keyspace: a key passes if both its database and its name do.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Filter {
    /// Databases that pass; all if empty.
    pub databases: Vec<u32>,
    /// A key passes if it begins with one of these; any does if empty.
    pub prefixes: Vec<Vec<u8>>,
}

impl Filter {
    /// Whether anything of this database passes.
    #[must_use]
    pub fn passes_db(&self, db: u32) -> bool {
        self.databases.is_empty() || self.databases.contains(&db)
    }

    /// Whether this key of this database passes.
    #[must_use]
    pub fn passes(&self, db: u32, key: &[u8]) -> bool {
        self.passes_db(db)
            && (self.prefixes.is_empty() || self.prefixes.iter().any(|prefix| key.starts_with(prefix.as_slice())))
    }
}

/// Whether this may be a filter's name: letters, digits, `.`, `_` and `-`, at most [`MAX_NAME`]. It is shown in INFO.
#[must_use]
pub fn is_name(name: &str) -> bool {
    let fits = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b'-');
    (1..=MAX_NAME).contains(&name.len()) && name.bytes().all(fits)
}

/// A source of filters.
pub trait ReplicaFilters: Send + Sync {
    /// The filter of this name for the replica at `host:port`; `None` if there is none.
    fn filter(&self, name: &str, replica: &str) -> Option<Filter>;
}

/// The service: a source of filters behind messages.
pub struct FilterService;

impl Service for FilterService {
    const NAME: &'static str = "keystead.replica-filter";
    const MAJOR: u32 = 1;
    const MINOR: u32 = 0;
    type Request = Request;
    type Answer = Answer;
}

/// Declares that the plugin is a source of filters.
pub fn provide<P: Plugin + ReplicaFilters>(reg: &mut Registrar<P>) {
    reg.provide::<FilterService, _, _>(|plugin, request| async move {
        let Request::Named { name, replica } = request;
        Ok(plugin.filter(&name, &replica).map_or(Answer::Unknown, Answer::Filter))
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn database_and_prefix_must_both_pass() {
        let filter = Filter { databases: vec![0, 2], prefixes: vec![b"user:".to_vec(), b"\xff".to_vec()] };
        let cases: &[(u32, &[u8], bool)] = &[
            (0, b"user:1", true),
            (2, b"\xff\x00", true),
            (1, b"user:1", false),
            (0, b"user", false),
            (0, b"User:1", false),
            (0, b"", false),
        ];
        for (db, key, want) in cases {
            assert_eq!(filter.passes(*db, key), *want, "{db} {key:?}");
        }
        let all = Filter::default();
        assert!(all.passes(15, b"") && all.passes_db(15));
    }

    #[test]
    fn names_can_not_forge_a_field_of_info() {
        for (name, good) in [("eu-west.1_a", true), ("", false), ("a,b", false), ("a\n", false), ("ä", false)] {
            assert_eq!(is_name(name), good, "{name:?}");
        }
        assert!(!is_name(&"a".repeat(MAX_NAME + 1)));
    }
}
