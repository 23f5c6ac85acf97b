//! `tcp-keepalive` of one engine's connections: the listeners of a port read it with each one that they accept, CONFIG SET
//! changes it. Who is connected keeps what it began with, as in Redis.

use keystead_engine::config::ParamGroup;
use rustix::net::sockopt::set_tcp_keepcnt;
use socket2::{SockRef, TcpKeepalive};
use std::net::TcpStream;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

/// A peer that leaves so many questions in a row unanswered is gone, as in Redis: after twice `tcp-keepalive` without a word. The
/// system would ask three times as often.
const UNANSWERED: u32 = 3;

/// Seconds without traffic after which a peer is asked whether it lives; 0: never.
#[derive(Clone, Debug)]
pub(crate) struct Keepalive(Arc<AtomicU32>);

impl Keepalive {
    pub(crate) fn new(seconds: u32) -> Keepalive {
        Keepalive(Arc::new(AtomicU32::new(seconds)))
    }

    /// For a connection that was just accepted.
    pub(super) fn watch(&self, stream: &TcpStream) {
        let seconds = self.0.load(Ordering::Relaxed);
        if seconds == 0 {
            return;
        }
        let time = Duration::from_secs(u64::from(seconds));
        let interval = Duration::from_secs(u64::from((seconds / 3).max(1)));
        let keepalive = TcpKeepalive::new().with_time(time).with_interval(interval);
        let _ = SockRef::from(stream).set_tcp_keepalive(&keepalive);
        let _ = set_tcp_keepcnt(stream, UNANSWERED);
    }
}

impl ParamGroup for Keepalive {
    fn has(&self, name: &str) -> bool {
        name == "tcp-keepalive"
    }

    fn apply(&self, value: &dyn Fn(&str) -> String) -> Result<(), String> {
        self.0.store(value("tcp-keepalive").parse().unwrap_or(0), Ordering::Relaxed);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rustix::net::sockopt::{tcp_keepcnt, tcp_keepidle, tcp_keepintvl};
    use std::net::TcpListener;

    /// Whether a connection accepted now is watched: after how long, and when a silent peer is given up.
    fn accepted(keepalive: &Keepalive) -> Option<(Duration, Duration)> {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let _client = TcpStream::connect(listener.local_addr().expect("bound")).expect("connected");
        let (stream, _) = listener.accept().expect("one");
        keepalive.watch(&stream);
        let watched = SockRef::from(&stream).keepalive().expect("a socket");
        watched.then(|| {
            let (idle, between) = (tcp_keepidle(&stream).expect("set"), tcp_keepintvl(&stream).expect("set"));
            (idle, idle + between * tcp_keepcnt(&stream).expect("set"))
        })
    }

    #[test]
    fn what_config_set_says_holds_for_whoever_comes_then() {
        let keepalive = Keepalive::new(300);
        let times = |(asked, given_up)| (Duration::from_secs(asked), Duration::from_secs(given_up));
        assert_eq!(accepted(&keepalive), Some(times((300, 600))));
        let group: &dyn ParamGroup = &keepalive.clone();
        assert!(group.has("tcp-keepalive") && !group.has("timeout"));
        for (value, seconds) in [("0", None), ("60", Some((60, 120))), ("1", Some((1, 4)))] {
            group.apply(&|_| value.to_owned()).expect("any number does");
            assert_eq!(accepted(&keepalive), seconds.map(times), "{value}");
        }
    }
}
