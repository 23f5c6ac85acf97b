//! The process' file descriptors: how many clients each port may have beside files, links and handshakes. All ports share one
//! limit, so what one is given another can't have: whoever fills one port must not keep the others' files from opening.

use keystead_engine::config::ParamGroup;
use parking_lot::Mutex;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use std::collections::BTreeMap;
use std::os::fd::{AsFd, AsRawFd};
use std::sync::Arc;

/// Files beside client sockets: log, state, listeners, replication links.
const RESERVED_FILES: u64 = 32;
/// Clients of a plugin's port beside the data port, unless CONFIG SET there says otherwise: it is for other sentinels, and for
/// clients that ask once who the primary is.
const BESIDE_DATA: u64 = 1000;
/// The same where the limit of open files is low: so many times as many for the data port and the others together.
const DATA_TIMES: u64 = 4;
/// TLS handshakes at once of one port, which are no clients yet: so many where there is room, and under a low limit one for so
/// many descriptors, but some.
const HANDSHAKES: u64 = 256;
const HANDSHAKE_OF: u64 = 16;
const LEAST_HANDSHAKES: u64 = 4;

/// Descriptors that no client gets, whatever `maxclients` promised: a plugin's links may have taken what was reserved, and a
/// vote, a key or a setting that can't be written weighs more than one client.
const KEPT_FILES: u64 = 8;

/// What is given to whom.
#[derive(Default)]
pub(crate) struct Descriptors(Mutex<Given>);

#[derive(Default)]
struct Given {
    /// Handshakes of all TLS ports.
    handshakes: u64,
    /// `maxclients`, by the port's name.
    clients: BTreeMap<String, u64>,
}

impl Given {
    fn reserved(&self) -> u64 {
        RESERVED_FILES + self.handshakes
    }

    fn others(&self, port: &str) -> u64 {
        self.clients.iter().filter(|(name, _)| *name != port).map(|(_, clients)| clients).sum()
    }

    /// How many of so many clients of a port fit beside the others'.
    fn fit(&self, port: &str, asked: u64) -> u64 {
        let others = self.others(port);
        room(others.saturating_add(asked), self.reserved()).saturating_sub(others)
    }
}

/// Places for the TLS handshakes of one port.
pub(crate) struct Handshakes {
    descriptors: Arc<Descriptors>,
    /// So many at once at most.
    pub(crate) places: usize,
    reserved: bool,
}

impl Handshakes {
    /// Places for the handshakes of one more port; they are taken from nobody as long as it has none.
    pub(crate) fn of_port(descriptors: &Arc<Descriptors>, encrypted: bool) -> Handshakes {
        let limit = getrlimit(Resource::Nofile).maximum.unwrap_or(u64::MAX);
        let places = (limit / HANDSHAKE_OF).clamp(LEAST_HANDSHAKES, HANDSHAKES);
        if encrypted {
            descriptors.0.lock().handshakes += places;
        }
        Handshakes { descriptors: descriptors.clone(), places: places as usize, reserved: encrypted }
    }

    /// The port that had none gets TLS while it runs. Clients keep what they were promised, so that there are as many places
    /// as are left, but some. None: it has had its places before.
    pub(crate) fn encrypt(&mut self) -> Option<usize> {
        if std::mem::replace(&mut self.reserved, true) {
            return None;
        }
        let mut given = self.descriptors.0.lock();
        let clients: u64 = given.clients.values().sum();
        let left = room(clients + self.places as u64, given.reserved()).saturating_sub(clients);
        let places = left.clamp(LEAST_HANDSHAKES, self.places as u64);
        given.handshakes += places;
        if places < self.places as u64 {
            log::warn!(
                "Only {places} TLS handshakes go on at once, to compensate for low ulimit: maxclients leaves no room."
            );
        }
        self.places = places as usize;
        Some(self.places)
    }
}

/// What a port came away with.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Granted {
    /// Its `maxclients`.
    pub(crate) clients: u64,
    /// What the data port has left, if that is less than before.
    pub(crate) data: Option<u64>,
}

impl Descriptors {
    /// Clients of the data port: as many as asked for, or as many as fit, which is told in Redis' words. An error if none does.
    pub(crate) fn for_data(&self, asked: u64) -> Result<u64, String> {
        let mut given = self.0.lock();
        let fits = given.fit("", asked);
        let reserved = given.reserved();
        if fits == 0 {
            return Err(too_few(reserved + 1));
        }
        if fits < asked {
            tell_lowered(asked, fits, reserved);
        }
        given.clients.insert(String::new(), fits);
        Ok(fits)
    }

    /// Clients of a plugin's port. Beside a data port it has less than that one, and what doesn't fit is the data port's loss.
    pub(crate) fn for_endpoint(&self, port: &str, asked: u64) -> Result<Granted, String> {
        let mut given = self.0.lock();
        let Some(data) = given.clients.get("").copied() else {
            drop(given);
            return self.alone(port, asked);
        };
        let asked = asked.min(BESIDE_DATA);
        let all = given.others(port).saturating_add(asked);
        let fits = room(all, given.reserved());
        let clients = if fits == all { asked } else { asked.min(fits / DATA_TIMES) };
        let left = data.min(fits.saturating_sub(clients + given.others(port) - data));
        if clients == 0 || left == 0 {
            return Err(too_few(given.reserved() + given.others(port) - data + DATA_TIMES));
        }
        given.clients.insert(port.to_owned(), clients);
        given.clients.insert(String::new(), left);
        Ok(Granted { clients, data: Some(left).filter(|left| *left < data) })
    }

    /// The port is the process' only one, or one of several like it.
    fn alone(&self, port: &str, asked: u64) -> Result<Granted, String> {
        let mut given = self.0.lock();
        let (fits, reserved) = (given.fit(port, asked), given.reserved());
        if fits == 0 {
            return Err(too_few(reserved + given.others(port) + 1));
        }
        if fits < asked {
            tell_lowered(asked, fits, reserved + given.others(port));
        }
        given.clients.insert(port.to_owned(), fits);
        Ok(Granted { clients: fits, data: None })
    }

    /// CONFIG SET maxclients at a port: an error in Redis' words if the system has no descriptors for so many.
    fn change(&self, port: &str, asked: u64) -> Result<(), String> {
        let mut given = self.0.lock();
        let fits = given.fit(port, asked);
        if fits < asked {
            return Err(format!(
                "The operating system is not able to handle the specified number of clients, try with {fits}"
            ));
        }
        given.clients.insert(port.to_owned(), asked);
        Ok(())
    }
}

/// Whether a client's socket is one of the last descriptors. The lowest free number is always given out, so that all below a
/// socket's own are in use.
pub(crate) fn leaves_too_few(socket: &impl AsFd) -> bool {
    let number = u64::try_from(socket.as_fd().as_raw_fd()).unwrap_or(0);
    getrlimit(Resource::Nofile).current.is_some_and(|limit| number.saturating_add(KEPT_FILES) >= limit)
}

/// How many of so many clients have room beside what is reserved, after the limit was raised as far as the system lets it.
fn room(clients: u64, reserved: u64) -> u64 {
    let limit = raised_to(clients.saturating_add(reserved));
    limit.map_or(clients, |limit| clients.min(limit.saturating_sub(reserved)))
}

/// The limit of open files, at least this if the system lets it; None: there is none.
fn raised_to(wanted: u64) -> Option<u64> {
    let now = getrlimit(Resource::Nofile);
    let current = now.current?;
    if current >= wanted {
        return Some(current);
    }
    let reachable = now.maximum.map_or(wanted, |max| max.min(wanted));
    let _ = setrlimit(Resource::Nofile, Rlimit { current: Some(reachable), maximum: now.maximum });
    getrlimit(Resource::Nofile).current
}

fn too_few(least: u64) -> String {
    format!(
        "Your current 'ulimit -n' is not enough for the server to start. Please increase your open file limit to at least \
         {least}. Exiting."
    )
}

fn tell_lowered(asked: u64, fits: u64, beside: u64) {
    log::warn!("You requested maxclients of {asked} requiring at least {} max file descriptors.", asked + beside);
    log::warn!(
        "Current maximum open files is {}. maxclients has been reduced to {fits} to compensate for low ulimit. If you need \
         higher maxclients increase 'ulimit -n'.",
        fits + beside
    );
}

/// `maxclients` behind CONFIG SET: what the system has no descriptors for is refused.
pub(crate) struct ClientLimit {
    /// All ports'.
    pub(crate) descriptors: Arc<Descriptors>,
    /// Of which one this is.
    pub(crate) port: String,
}

impl ParamGroup for ClientLimit {
    fn has(&self, name: &str) -> bool {
        name == "maxclients"
    }

    fn apply(&self, value: &dyn Fn(&str) -> String) -> Result<(), String> {
        self.descriptors.change(&self.port, value("maxclients").parse().unwrap_or(u64::MAX))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Far beyond any limit: the system's own decides.
    const TOO_MANY: u64 = u32::MAX as u64;

    #[test]
    fn ports_share_what_there_is() {
        let descriptors = Descriptors::default();
        let data = descriptors.for_data(100).expect("there is room");
        assert_eq!((data, descriptors.for_endpoint("sentinel", 100_000)), (100, Ok(granted(BESIDE_DATA, None))));
        assert_eq!(descriptors.for_endpoint("other", 7), Ok(granted(7, None)));
        let fits = descriptors.change("", TOO_MANY).expect_err("no system has so many");
        let fits: u64 = fits.rsplit(' ').next().and_then(|number| number.parse().ok()).expect("a number");
        descriptors.change("", fits).expect("what was told");
        assert!(descriptors.change("other", 8).is_err(), "nothing is left");
        descriptors.change("sentinel", BESIDE_DATA - 1).expect("less is always possible");
        descriptors.change("other", 8).expect("one is left");
    }

    #[test]
    fn a_data_port_that_has_everything_gives_some_away() {
        let descriptors = Descriptors::default();
        let all = descriptors.for_data(TOO_MANY).expect("there is room");
        let own = BESIDE_DATA.min(all / DATA_TIMES);
        assert_eq!(descriptors.for_endpoint("sentinel", TOO_MANY), Ok(granted(own, Some(all - own))));
        assert!(descriptors.change("", all).is_err());
        descriptors.change("", all - own).expect("its own");
    }

    #[test]
    fn handshakes_are_no_clients() {
        let descriptors = Arc::new(Descriptors::default());
        let none = Handshakes::of_port(&descriptors, false).places;
        let two = [true, true].map(|encrypted| Handshakes::of_port(&descriptors, encrypted).places);
        assert_eq!(two, [none, none]);
        assert_eq!(descriptors.0.lock().reserved(), none as u64 * 2 + RESERVED_FILES);
    }

    #[test]
    fn handshakes_of_a_port_that_gets_tls_later_take_what_is_left() {
        let descriptors = Arc::new(Descriptors::default());
        let mut handshakes = Handshakes::of_port(&descriptors, false);
        let all = descriptors.for_data(TOO_MANY).expect("there is room");
        descriptors.change("", all - LEAST_HANDSHAKES - 1).expect("less is always possible");
        assert_eq!(handshakes.encrypt(), Some(LEAST_HANDSHAKES as usize + 1));
        descriptors.change("", all).expect_err("they are reserved");
        assert_eq!(handshakes.encrypt(), None, "once");
        assert_eq!(descriptors.0.lock().handshakes, LEAST_HANDSHAKES + 1);

        let mut other = Handshakes::of_port(&descriptors, false);
        assert_eq!(other.encrypt(), Some(LEAST_HANDSHAKES as usize), "out of what is kept for files");
    }

    fn granted(clients: u64, data: Option<u64>) -> Granted {
        Granted { clients, data }
    }
}
