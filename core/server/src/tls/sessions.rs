//! Sessions that clients may resume: at most so many, each for so long, the oldest go first. As OpenSSL's cache, whose
//! size and timeout Redis lets one set.

use parking_lot::Mutex;
use rustls::server::StoresServerSessions;
use std::collections::{HashMap, VecDeque};
use std::fmt;
use std::time::{Duration, Instant};

/// What size 0 means, which is no limit for OpenSSL.
const UNLIMITED: usize = 1 << 20;

#[derive(Default)]
struct Kept {
    by_key: HashMap<Vec<u8>, (Vec<u8>, Instant)>,
    /// Keys from the oldest on; those of taken sessions too, until they are reached.
    order: VecDeque<Vec<u8>>,
}

/// The cache of one context.
pub(super) struct Sessions {
    size: usize,
    timeout: Duration,
    kept: Mutex<Kept>,
}

impl fmt::Debug for Sessions {
    /// Never the secrets.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Sessions({})", self.size)
    }
}

impl Sessions {
    pub(super) fn new(size: usize, timeout: Duration) -> Sessions {
        Sessions { size: if size == 0 { UNLIMITED } else { size }, timeout, kept: Mutex::default() }
    }

    fn fresh(&self, (value, since): (Vec<u8>, Instant)) -> Option<Vec<u8>> {
        (since.elapsed() < self.timeout).then_some(value)
    }
}

impl StoresServerSessions for Sessions {
    fn put(&self, key: Vec<u8>, value: Vec<u8>) -> bool {
        let mut kept = self.kept.lock();
        if kept.order.len() >= self.size
            && let Some(oldest) = kept.order.pop_front()
        {
            kept.by_key.remove(&oldest);
        }
        if kept.by_key.insert(key.clone(), (value, Instant::now())).is_none() {
            kept.order.push_back(key);
        }
        true
    }

    fn get(&self, key: &[u8]) -> Option<Vec<u8>> {
        let found = self.kept.lock().by_key.get(key).cloned()?;
        self.fresh(found)
    }

    fn take(&self, key: &[u8]) -> Option<Vec<u8>> {
        let found = self.kept.lock().by_key.remove(key)?;
        self.fresh(found)
    }

    fn can_cache(&self) -> bool {
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_oldest_goes_first_and_nothing_outlives_its_time() {
        let sessions = Sessions::new(2, Duration::from_secs(60));
        for key in [b"a", b"b", b"c"] {
            assert!(sessions.put(key.to_vec(), b"secret".to_vec()));
        }
        assert_eq!((sessions.get(b"a"), sessions.get(b"b")), (None, Some(b"secret".to_vec())));
        assert_eq!((sessions.take(b"b"), sessions.take(b"b")), (Some(b"secret".to_vec()), None));
        let brief = Sessions::new(2, Duration::ZERO);
        assert!(brief.put(b"a".to_vec(), Vec::new()));
        assert_eq!(brief.take(b"a"), None);
    }

    #[test]
    fn taken_sessions_leave_no_memory_behind() {
        let sessions = Sessions::new(8, Duration::from_secs(60));
        for number in 0..1000u32 {
            sessions.put(number.to_le_bytes().to_vec(), Vec::new());
            sessions.take(&number.to_le_bytes());
        }
        let kept = sessions.kept.lock();
        assert!(kept.order.len() <= 8 && kept.by_key.is_empty());
    }
}
