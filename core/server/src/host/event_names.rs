//! The names of plugins' keyspace events. Owns the words, which the log of touched keys refers to and which therefore live
//! as long as the process; who is told of an event, the engine decides.

use std::collections::BTreeSet;
use std::sync::{Mutex, PoisonError};

/// Redis' own are at most 20 bytes long.
const LONGEST: usize = 64;
/// Plugins have a handful each. More of them means that somebody makes names out of data, which would never be freed.
const MOST: usize = 1000;

static NAMES: Mutex<BTreeSet<&'static str>> = Mutex::new(BTreeSet::new());

/// The word that lives as long as the process; none if it isn't a name, or too many are kept already.
pub(super) fn kept(name: &[u8]) -> Option<&'static str> {
    let name = std::str::from_utf8(name).ok().filter(|name| (1..=LONGEST).contains(&name.len()))?;
    let mut names = NAMES.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(known) = names.get(name) {
        return Some(known);
    }
    if names.len() == MOST {
        return None;
    }
    let name: &'static str = Box::leak(Box::from(name));
    names.insert(name);
    Some(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_kept_once_and_not_without_end() {
        let first = kept(b"favoured").unwrap_or_default();
        assert!(std::ptr::eq(first, kept(b"favoured").unwrap_or_default()));
        for refused in [&b""[..], b"\xff", &[b'x'; LONGEST + 1]] {
            assert_eq!(kept(refused), None);
        }
        let more = (0..MOST).filter(|at| kept(format!("event {at}").as_bytes()).is_some()).count();
        assert_eq!(more, MOST - 1);
        assert_eq!(kept(b"favoured"), Some("favoured"));
    }
}
