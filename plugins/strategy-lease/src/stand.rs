//! May a sentinel stand, given who holds the lease? Pure but for names, which are looked up. Votes and their count are Redis'.
//!
//! Only the fallen primary's own lease keeps sentinels still: whoever else holds it was promoted already, and takes writes
//! that would be lost if nobody finished that failover.

use crate::config::split;
use keystead_plugin::services::election::{Advice, Question, redis};
use keystead_plugin::services::selection::Addr;
use std::net::{IpAddr, ToSocketAddrs};

/// Who holds the lease, as etcd says, or why it doesn't say.
pub type Holder = Result<Option<String>, String>;

/// The answer to a sentinel's question. May look up a name, so it may block.
#[must_use]
pub fn advise(question: &Question, holder: &Holder) -> Advice {
    let Question::Stand { primary_addr, .. } = question else { return redis(question) };
    match holder {
        Ok(Some(node)) if primary_addr.as_ref().is_none_or(|primary| may_be(node, primary)) => {
            Advice::Abstain { reason: format!("the lease in etcd is still held by {node}") }
        }
        Ok(_) => redis(question),
        Err(why) => Advice::Abstain {
            reason: format!("etcd doesn't say who holds the lease, so no new primary could get it: {why}"),
        },
    }
}

/// The holder names itself as its own file says, and may use a name where the sentinel has an address. What can't be looked up
/// may be the primary.
fn may_be(node: &str, primary: &Addr) -> bool {
    let Some((host, port)) = split(node) else { return true };
    if port != primary.port || host.eq_ignore_ascii_case(&primary.host) {
        return port == primary.port;
    }
    match (addresses(host), addresses(&primary.host)) {
        (Some(holders), Some(primaries)) => holders.iter().any(|ip| primaries.contains(ip)),
        _ => true,
    }
}

fn addresses(host: &str) -> Option<Vec<IpAddr>> {
    if let Ok(ip) = host.parse() {
        return Some(vec![ip]);
    }
    let found = (host, 0).to_socket_addrs().ok()?;
    Some(found.map(|addr| addr.ip()).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asked(primary: Option<(&str, u16)>) -> Question {
        Question::Stand {
            primary: "m".into(),
            me: "a".into(),
            usable: vec!["a".into()],
            write_ms: 0,
            confirmed: false,
            primary_addr: primary.map(|(host, port)| Addr { host: host.into(), port }),
        }
    }

    #[test]
    fn only_the_fallen_primary_s_own_lease_keeps_sentinels_still() {
        let fallen = Some(("10.0.0.1", 6379));
        for (primary, holder, stands) in [
            (fallen, Ok(None), true),
            (fallen, Ok(Some("10.0.0.1:6379")), false),
            (fallen, Ok(Some("10.0.0.2:6379")), true), // the promoted one, whose leader died
            (fallen, Ok(Some("10.0.0.1:6380")), true),
            (fallen, Ok(Some("nobody.invalid:6379")), false),
            (fallen, Ok(Some("what is this")), false),
            (Some(("::1", 6379)), Ok(Some("[::1]:6379")), false),
            (Some(("127.0.0.1", 6379)), Ok(Some("localhost:6379")), false),
            (Some(("10.0.0.1", 6379)), Ok(Some("localhost:6379")), true),
            (fallen, Err("away"), false),
            (None, Ok(Some("10.0.0.2:6379")), false), // a sentinel that doesn't say whose
            (None, Ok(None), true),
        ] {
            let holder = holder.map(|node| node.map(str::to_owned)).map_err(str::to_owned);
            let advice = advise(&asked(primary), &holder);
            assert_eq!(matches!(advice, Advice::StandAfter { .. }), stands, "{primary:?} {holder:?}: {advice:?}");
        }
    }
}
