//! Events: what operators and clients are told, under Redis' names with Redis' payloads.
//! Owns the text; the shell publishes it on the channel of that name and writes it to the log.

use crate::types::{Addr, Kind};

/// How loud an event is. All but debug are published.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Level {
    /// Log only.
    Debug,
    /// Published, logged at debug level.
    Verbose,
    /// Published and logged.
    Notice,
    /// Published and logged as a warning.
    Warning,
}

/// One event.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Notice {
    /// How loud.
    pub level: Level,
    /// Name and channel, `+switch-master`.
    pub name: &'static str,
    /// `<type> <name> <ip> <port> @ <primary> <ip> <port>` and what follows.
    pub payload: String,
}

/// Whom an event is about: `%@` in Redis' sources.
#[must_use]
pub fn subject(kind: Kind, label: &str, addr: &Addr, primary: (&str, &Addr)) -> String {
    let (name, at) = primary;
    match kind {
        Kind::Primary => format!("master {name} {} {}", addr.host, addr.port),
        _ => format!("{} {label} {} {} @ {name} {} {}", kind.wire_name(), addr.host, addr.port, at.host, at.port),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn payloads_are_redis() {
        let primary = Addr::new("127.0.0.1", 6379);
        assert_eq!(
            subject(Kind::Primary, "mymaster", &primary, ("mymaster", &primary)),
            "master mymaster 127.0.0.1 6379"
        );
        let replica = Addr::new("127.0.0.1", 6380);
        assert_eq!(
            subject(Kind::Replica, "127.0.0.1:6380", &replica, ("mymaster", &primary)),
            "slave 127.0.0.1:6380 127.0.0.1 6380 @ mymaster 127.0.0.1 6379"
        );
    }
}
