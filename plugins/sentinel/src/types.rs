//! The words every other file uses: monotonic time, epochs, addresses, instance numbers.
//! Owns no behaviour beyond arithmetic that can't wrap; never reads a clock.

use serde::{Deserialize, Serialize};
use std::cmp::Ordering;
use std::fmt;
use std::hash::{Hash, Hasher};

/// A moment on the monotonic clock, in milliseconds since some start that only the shell knows.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Mono(pub u64);

impl Mono {
    /// A moment that never comes.
    pub const NEVER: Mono = Mono(u64::MAX);

    /// The moment `ms` milliseconds later.
    #[must_use]
    pub const fn plus(self, ms: u64) -> Mono {
        Mono(self.0.saturating_add(ms))
    }

    /// Milliseconds from `earlier` to `self`, 0 when `earlier` lies ahead.
    #[must_use]
    pub const fn since(self, earlier: Mono) -> u64 {
        self.0.saturating_sub(earlier.0)
    }
}

/// A configuration or election epoch, as Redis counts them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Epoch(pub u64);

impl Epoch {
    /// An epoch is believed up to here, whatever this sentinel's own is: one that is new, or came back after years, has to
    /// catch up at once. It is half of the signed number that Redis reads in a request for a vote, and out of reach by
    /// failovers (a million a second take 140,000 years): whoever claims it leaves as much again to go on in.
    pub const FAR: Epoch = Epoch(1 << 62);
    /// Beyond `FAR` an epoch may lead by so much: it would take 2^41 forged messages to use the rest up.
    const LEAD: u64 = 1 << 20;
    /// No epoch is greater. What claims to be is no number that sentinels have counted up to.
    pub const LAST: Epoch = Epoch(3 << 61);

    /// The greatest epoch that whoever is at this one believes somebody else.
    #[must_use]
    pub fn reach(self) -> Epoch {
        Epoch(self.0.saturating_add(Epoch::LEAD)).max(Epoch::FAR).min(Epoch::LAST)
    }

    /// The next one, as long as there is one.
    #[must_use]
    pub fn next(self) -> Option<Epoch> {
        Some(Epoch(self.0.saturating_add(1))).filter(|next| *next <= Epoch::LAST)
    }
}

impl fmt::Display for Epoch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// Where an instance listens. Two are the same if host and port are: the name is only another word for the host.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Addr {
    /// An IP address, or a name that is not resolved (yet).
    pub host: String,
    /// TCP port.
    pub port: u16,
    /// The name under which it was given, with `resolve-hostnames`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
}

impl Addr {
    /// An address from its parts.
    #[must_use]
    pub fn new(host: impl Into<String>, port: u16) -> Addr {
        Addr { host: host.into(), port, name: None }
    }

    /// The word others are told: the name with `announce-hostnames`, else the host.
    #[must_use]
    pub fn face(&self, names: bool) -> &str {
        match &self.name {
            Some(name) if names => name,
            _ => &self.host,
        }
    }

    /// The address as others are told it.
    #[must_use]
    pub fn faced(&self, names: bool) -> Addr {
        Addr::new(self.face(names), self.port)
    }

    /// Is it this one, under whatever word?
    #[must_use]
    pub fn is(&self, host: &str, port: u16) -> bool {
        self.port == port && (self.host == host || self.name.as_deref() == Some(host))
    }

    /// Is it this one, written as `host:port`, an IPv6 address with brackets or without?
    #[must_use]
    pub fn is_written(&self, text: &str) -> bool {
        let parts = text.rsplit_once(':');
        let host = parts.map(|(host, _)| host.strip_prefix('[').and_then(|h| h.strip_suffix(']')).unwrap_or(host));
        host == Some(&*self.host) && parts.is_some_and(|(_, port)| port == self.port.to_string())
    }

    fn key(&self) -> (&str, u16) {
        (&self.host, self.port)
    }
}

impl PartialEq for Addr {
    fn eq(&self, other: &Addr) -> bool {
        self.key() == other.key()
    }
}

impl Eq for Addr {}

impl PartialOrd for Addr {
    fn partial_cmp(&self, other: &Addr) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Addr {
    fn cmp(&self, other: &Addr) -> Ordering {
        self.key().cmp(&other.key())
    }
}

impl Hash for Addr {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.key().hash(state);
    }
}

impl fmt::Display for Addr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        keystead_plugin::services::selection::Addr::from(self.clone()).fmt(f)
    }
}

impl From<Addr> for keystead_plugin::services::selection::Addr {
    fn from(Addr { host, port, .. }: Addr) -> Self {
        Self { host, port }
    }
}

impl PartialEq<keystead_plugin::services::selection::Addr> for Addr {
    fn eq(&self, other: &keystead_plugin::services::selection::Addr) -> bool {
        self.host == other.host && self.port == other.port
    }
}

/// The number of an instance inside one sentinel; never reused, so a late answer can't reach a newcomer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct InstanceId(pub u32);

/// What an instance is to the monitor that watches it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    /// The primary of the current configuration.
    Primary,
    /// A replica, or a former primary that is to become one.
    Replica,
    /// Another sentinel.
    Sentinel,
}

impl Kind {
    /// Redis' word for it, as the wire has it.
    #[must_use]
    pub const fn wire_name(self) -> &'static str {
        match self {
            Kind::Primary => "master",
            Kind::Replica => "slave",
            Kind::Sentinel => "sentinel",
        }
    }
}

/// The two connections a sentinel keeps to a data node (peers have the first only).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Lane {
    /// Requests and their answers, in order.
    Command,
    /// Subscribed to the hello channel.
    Feed,
}

/// A small generator (splitmix64): the same seed gives the same election delays in the simulator.
#[derive(Clone, Debug)]
pub struct Rng(u64);

impl Rng {
    /// A generator from a seed that the shell or the simulator passes in.
    #[must_use]
    pub const fn new(seed: u64) -> Rng {
        Rng(seed)
    }

    /// The next 64 bits.
    pub fn next_u64(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }

    /// A number from `low` up to and including `high`.
    pub fn between(&mut self, low: u64, high: u64) -> u64 {
        low.saturating_add(self.next_u64() % high.saturating_sub(low).saturating_add(1))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_ipv6_address_stands_in_brackets_and_is_read_without_them_too() {
        let (four, six) = (Addr::new("10.0.0.1", 1), Addr::new("::1", 20873));
        assert_eq!((four.to_string(), six.to_string()), ("10.0.0.1:1".into(), "[::1]:20873".into()));
        assert!(four.is_written("10.0.0.1:1") && !four.is_written("10.0.0.1:2") && !four.is_written("10.0.0.1"));
        assert!(six.is_written("[::1]:20873") && six.is_written("::1:20873") && !six.is_written("[::1]:2087"));
    }

    #[test]
    fn what_is_believed_leaves_room_to_go_on() {
        let (far, last) = (Epoch::FAR.0, Epoch::LAST.0);
        for (own, reach) in [
            (0, far),
            (far - 1, far + Epoch::LEAD - 1),
            (far, far + Epoch::LEAD),
            (last - 1, last),
            (last, last),
            (u64::MAX, last),
        ] {
            assert_eq!(Epoch(own).reach(), Epoch(reach), "{own}");
        }
        assert_eq!(Epoch(last - 1).next(), Some(Epoch(last)));
        assert_eq!((Epoch(last).next(), Epoch(u64::MAX).next()), (None, None));
        assert!(i64::try_from(last).is_ok(), "a request for a vote can carry it");
    }
}
