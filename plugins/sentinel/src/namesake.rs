//! Another sentinel with this one's id: a folder or a machine was copied with the state in it. To the others both are one, who
//! moves from here to there with every hello, and each gives votes that the other doesn't know of; to each other they are
//! nobody. Owns telling the operator so. Never acts on it: whoever can forge a hello could stop this sentinel with it.

use crate::actions::Shared;
use crate::events::Level;
use crate::hello::Hello;
use crate::instance::Instance;
use crate::monitor::Monitor;
use crate::types::{Addr, Mono};

/// This sentinel's own hellos from before it had its present address come within so long, and no longer.
const OWN_MS: u64 = 5_000;
/// It is said this often, and one that is silent for so long is gone.
const TELL_MS: u64 = 60_000;

/// The other one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Namesake {
    addr: Addr,
    first: Mono,
    last: Mono,
    told: Option<Mono>,
}

impl Monitor {
    /// A hello under this sentinel's id.
    pub(crate) fn note_namesake(&self, hello: &Hello, s: &mut Shared) {
        if self.is_own(&hello.addr, s) {
            return;
        }
        let now = s.now;
        let known = s.namesake.take().filter(|other| now.since(other.last) < TELL_MS);
        let mut other =
            known.unwrap_or_else(|| Namesake { addr: hello.addr.clone(), first: now, last: now, told: None });
        (other.addr, other.last) = (hello.addr.clone(), now); // there may be several
        if now.since(other.first) >= OWN_MS && other.told.is_none_or(|at| now.since(at) >= TELL_MS) {
            other.told = Some(now);
            s.log(Level::Warning, sentence(&other.addr, &s.id));
        }
        s.namesake = Some(other);
    }

    /// This sentinel says that it is there, over one link or another.
    fn is_own(&self, addr: &Addr, s: &Shared) -> bool {
        let port = s.announce.port;
        let over = |i: &Instance| addr.is(&i.local_ip, port);
        (s.announce_fixed && addr.is(&s.announce.host, port)) || self.instances.values().any(over)
    }
}

/// For EXPLAIN.
pub(crate) fn line(s: &Shared) -> Option<String> {
    let other = s.namesake.as_ref().filter(|other| other.told.is_some() && s.now.since(other.last) < TELL_MS)?;
    Some(format!("blocked: {}", sentence(&other.addr, &s.id)))
}

fn sentence(addr: &Addr, id: &str) -> String {
    format!(
        "the sentinel at {addr} has this one's id ({id}), so both count as one: its folder is a copy. Stop one of them, take \
         sentinel.state out of its folder ('sentinel myid' out of its configuration, if it is a stock one), and start it again"
    )
}
