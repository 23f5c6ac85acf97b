//! Host names: which IP address each one stands for, as far as the shell has found out, and which are to be looked up.
//! Owns the table; looking up is the shell's, off the driver, so that a slow resolver delays nobody's ping.

use crate::types::Addr;
use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

/// Most names remembered, and most looked up at a time: hellos bring names, and anybody can send one.
const MAX_NAMES: usize = 4096;
const MAX_OPEN: usize = 64;

/// The names.
#[derive(Clone, Debug, Default)]
pub struct Names {
    /// `resolve-hostnames`: names are taken where IP addresses are.
    pub resolve: bool,
    /// `announce-hostnames`: others are told names where they are known.
    pub announce: bool,
    table: BTreeMap<String, String>,
    open: BTreeSet<String>,
    wanted: Vec<String>,
}

impl Names {
    /// What is known from the start.
    #[must_use]
    pub fn new(resolve: bool, announce: bool, table: BTreeMap<String, String>) -> Names {
        Names { resolve, announce, table, ..Names::default() }
    }

    /// The address behind a host and port that somebody gave. Nothing for a name that isn't known yet (it is looked up
    /// then, and the giver will say it again) or that isn't taken.
    pub fn locate(&mut self, host: &str, port: u16) -> Option<Addr> {
        if host.parse::<IpAddr>().is_ok() {
            return Some(Addr::new(host, port));
        }
        if !self.resolve {
            return None;
        }
        let Some(ip) = self.table.get(host) else {
            self.look_up(host);
            return None;
        };
        Some(Addr { host: ip.clone(), port, name: Some(host.to_owned()) })
    }

    /// Like `locate`, but a name that isn't known yet gives an address that isn't resolved yet.
    pub fn locate_later(&mut self, host: &str, port: u16) -> Addr {
        let unresolved = || Addr { name: self.resolve.then(|| host.to_owned()), ..Addr::new(host, port) };
        let later = unresolved();
        self.locate(host, port).unwrap_or(later)
    }

    /// Asks for a name's address (again).
    pub fn look_up(&mut self, name: &str) {
        if self.resolve && self.open.len() < MAX_OPEN && self.open.insert(name.to_owned()) {
            self.wanted.push(name.to_owned());
        }
    }

    /// The shell found out, or didn't. True if that is news.
    pub fn found(&mut self, name: &str, ip: Option<&str>) -> bool {
        self.open.remove(name);
        let Some(ip) = ip else { return false };
        let room = self.table.len() < MAX_NAMES || self.table.contains_key(name);
        room && self.table.insert(name.to_owned(), ip.to_owned()).as_deref() != Some(ip)
    }

    /// The names to look up now.
    pub fn take_wanted(&mut self) -> Vec<String> {
        std::mem::take(&mut self.wanted)
    }
}

/// Is this a name that a resolver could know: labels of letters, digits, `-` and `_`?
#[must_use]
pub fn plausible(host: &str) -> bool {
    host.len() <= 253
        && host.split('.').all(|label| {
            !label.is_empty()
                && label.len() <= 63
                && label.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_')
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_looked_up_once_and_known_then() {
        let mut names = Names::new(true, false, BTreeMap::new());
        assert_eq!(names.locate("10.0.0.1", 1), Some(Addr::new("10.0.0.1", 1)));
        assert_eq!(names.locate("db", 1), None);
        assert_eq!(names.locate("db", 2), None);
        assert_eq!(names.take_wanted(), ["db"]);
        assert!(names.found("db", Some("10.0.0.2")));
        assert!(!names.found("db", Some("10.0.0.2")));
        let addr = names.locate("db", 1).unwrap();
        assert_eq!(addr, Addr::new("10.0.0.2", 1));
        assert_eq!((addr.face(false), addr.face(true)), ("10.0.0.2", "db"));
        assert!(addr.is("db", 1) && addr.is("10.0.0.2", 1) && !addr.is("db", 2));
    }

    #[test]
    fn without_the_option_names_are_not_taken() {
        let mut names = Names::default();
        assert_eq!(names.locate("db", 1), None);
        assert!(names.take_wanted().is_empty());
    }

    #[test]
    fn strangers_cannot_fill_the_table() {
        let mut names = Names::new(true, false, BTreeMap::new());
        for n in 0..10_000 {
            names.locate(&format!("h{n}"), 1);
        }
        assert_eq!(names.take_wanted().len(), MAX_OPEN);
        assert!(plausible("db-1.example_x") && !plausible("a b") && !plausible("a..b") && !plausible(""));
    }
}
