//! How many links a sentinel opens where the limit of open files is low. One that watches many primaries can use all
//! descriptors up: then its state can't be written, so that it can neither vote nor lead, and nobody can ask it who the primary
//! is. Owns the numbers; that a link isn't opened is told like any other that this process has no descriptor for.

use crate::types::{Kind, Lane};
use rustix::process::{Resource, getrlimit};

/// Descriptors that no link gets: the log, listeners, and above all the state file (the core's own number for that).
const FILES: u64 = 32;
/// Of the rest peers and clients that come here are left this part, and at most so many.
const CLIENTS_OF: u64 = 8;
const MOST_CLIENTS: u64 = 64;

/// Why a link isn't opened. The first words are the system's.
pub(super) const WORDS: &str = "Too many open files, the rest is kept for this sentinel's state and its clients";

/// Whether one more link may be opened beside so many.
pub(super) fn is_left(links: usize, kind: Kind, lane: Lane) -> bool {
    let limit = getrlimit(Resource::Nofile).current;
    limit.is_none_or(|limit| (links as u64) < room(limit, kind, lane))
}

/// Who fell must be found out, and the peers must hear of it: requests to primaries and sentinels may take the clients' part,
/// for the others' links would take the place of one that broke, and its primary would never be looked at again.
fn room(limit: u64, kind: Kind, lane: Lane) -> u64 {
    let links = limit.saturating_sub(FILES);
    match (kind, lane) {
        (Kind::Primary | Kind::Sentinel, Lane::Command) => links,
        _ => links - (links / CLIENTS_OF).min(MOST_CLIENTS),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_primary_that_fell_is_looked_at_when_all_other_links_have_their_places() {
        let cases = [(1024, 992, 928), (256, 224, 196), (64, 32, 28), (32, 0, 0), (8, 0, 0)];
        for (limit, primaries, others) in cases {
            let room = [Kind::Primary, Kind::Sentinel, Kind::Replica].map(|kind| room(limit, kind, Lane::Command));
            assert_eq!(room, [primaries, primaries, others], "{limit}");
            assert_eq!(super::room(limit, Kind::Primary, Lane::Feed), others, "{limit}");
        }
    }
}
