//! One replica of ours, as a machine: waiting for the snapshot, receiving it, online.
//!
//! Owns when the replica counts as online, its timeouts and its signs of life. The shell reports what it sent and
//! what the replica said; the machine never sees a byte of the payload.

use super::registry::{PeerState, Shared};
use crate::units::Offset;
use std::sync::Arc;
use std::time::Duration;

/// Time between two newlines to a replica that waits for its payload.
const SIGN_PERIOD: Duration = Duration::from_secs(1);

/// What the operator chose.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// `repl-timeout`.
    pub timeout: Duration,
}

/// What happened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Event {
    /// The snapshot is there; the payload begins to flow.
    PayloadBegins {
        /// It is sent as it is made.
        diskless: bool,
    },
    /// Some of the payload was taken by the replica's kernel.
    PayloadMoved,
    /// All of it was. `marked`: the replica tells by an acknowledgement that it found the end.
    PayloadSent {
        /// `$EOF:` framing.
        marked: bool,
    },
    /// REPLCONF ACK.
    Ack(Offset),
    /// A newline: alive, still loading.
    SignOfLife,
    /// Time went by.
    Tick,
}

/// What to do about it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Action {
    /// Send an empty line.
    Newline,
    /// The stream may flow from here on.
    StartStream,
    /// Close the connection.
    Close(&'static str),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// Nothing to send yet; a newline now and then.
    WaitSnapshot { last_sign: Duration },
    /// The payload flows.
    SendPayload { moved: Duration },
    /// All sent with a mark; the replica will say when it has loaded it.
    WaitFirstAck { heard: Duration },
    /// The stream flows.
    Online { heard: Duration },
}

/// The machine of one replica.
#[derive(Debug)]
pub struct Peer {
    state: State,
    shared: Arc<Shared>,
}

impl Peer {
    /// A replica that was granted `+CONTINUE`: online at once.
    pub fn continuing(now: Duration, shared: Arc<Shared>) -> Peer {
        shared.heard(now);
        shared.set_state(PeerState::Online);
        Peer { state: State::Online { heard: now }, shared }
    }

    /// A replica that was answered `+FULLRESYNC`, or will be when the snapshot begins.
    pub fn waiting(now: Duration, shared: Arc<Shared>) -> Peer {
        shared.set_state(PeerState::WaitBgsave);
        Peer { state: State::WaitSnapshot { last_sign: now }, shared }
    }

    /// One event.
    pub fn step(&mut self, now: Duration, limits: Limits, event: Event) -> Option<Action> {
        match event {
            Event::PayloadBegins { diskless } => {
                self.shared.set_state(if diskless { PeerState::Streaming } else { PeerState::SendBulk });
                self.state = State::SendPayload { moved: now };
                None
            }
            Event::PayloadMoved => {
                if let State::SendPayload { moved } = &mut self.state {
                    *moved = now;
                }
                None
            }
            Event::PayloadSent { marked: true } => {
                self.shared.set_state(PeerState::SendBulk);
                self.state = State::WaitFirstAck { heard: now };
                None
            }
            Event::PayloadSent { marked: false } => Some(self.online(now)),
            Event::Ack(offset) => self.acked(now, offset),
            Event::SignOfLife => {
                self.heard(now);
                None
            }
            Event::Tick => self.tick(now, limits),
        }
    }

    fn online(&mut self, now: Duration) -> Action {
        self.state = State::Online { heard: now };
        self.shared.heard(now);
        self.shared.set_state(PeerState::Online);
        Action::StartStream
    }

    fn acked(&mut self, now: Duration, offset: Offset) -> Option<Action> {
        self.shared.acked(offset);
        self.heard(now);
        matches!(self.state, State::WaitFirstAck { .. }).then(|| self.online(now))
    }

    fn heard(&mut self, now: Duration) {
        self.shared.heard(now);
        // One that is still being sent its payload takes of it what is on the line.
        let (State::WaitFirstAck { heard: last } | State::Online { heard: last } | State::SendPayload { moved: last }) =
            &mut self.state
        else {
            return;
        };
        *last = now;
    }

    fn tick(&mut self, now: Duration, limits: Limits) -> Option<Action> {
        let late = |last: Duration| now.saturating_sub(last) > limits.timeout;
        match &mut self.state {
            State::WaitSnapshot { last_sign } => {
                let due = now.saturating_sub(*last_sign) >= SIGN_PERIOD;
                if due {
                    *last_sign = now;
                }
                due.then_some(Action::Newline)
            }
            State::SendPayload { moved } => {
                late(*moved).then_some(Action::Close("Disconnecting timedout replica (full sync)"))
            }
            State::WaitFirstAck { heard } => {
                late(*heard).then_some(Action::Close("Disconnecting timedout replica (full sync)"))
            }
            State::Online { heard } => (self.shared.acknowledges && late(*heard))
                .then_some(Action::Close("Disconnecting timedout replica (streaming sync)")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::replconf::Facts;
    use super::*;

    const LIMITS: Limits = Limits { timeout: Duration::from_secs(10) };

    fn secs(n: u64) -> Duration {
        Duration::from_secs(n)
    }

    fn shared() -> Arc<Shared> {
        Arc::new(Shared::new(1, "127.0.0.1".into(), &Facts { listening_port: 7000, ..Facts::default() }))
    }

    #[test]
    fn a_marked_payload_goes_online_with_the_first_ack() {
        let s = shared();
        let mut p = Peer::waiting(secs(0), s.clone());
        assert_eq!(s.state(), PeerState::WaitBgsave);
        assert_eq!(p.step(secs(0), LIMITS, Event::Tick), None);
        assert_eq!(p.step(secs(1), LIMITS, Event::Tick), Some(Action::Newline));
        assert_eq!(p.step(secs(1), LIMITS, Event::PayloadBegins { diskless: true }), None);
        assert_eq!((s.state(), s.state().word()), (PeerState::Streaming, "wait_bgsave"), "it is being made");
        assert_eq!(p.step(secs(2), LIMITS, Event::PayloadSent { marked: true }), None);
        assert_eq!(s.state(), PeerState::SendBulk, "loading is not online");
        assert_eq!(p.step(secs(9), LIMITS, Event::SignOfLife), None);
        assert_eq!(p.step(secs(15), LIMITS, Event::Tick), None, "a newline is a sign of life");
        assert_eq!(p.step(secs(16), LIMITS, Event::Ack(Offset(9))), Some(Action::StartStream));
        assert_eq!((s.state(), s.acked_offset()), (PeerState::Online, Offset(9)));
    }

    #[test]
    fn a_sized_payload_goes_online_when_sent() {
        let s = shared();
        let mut p = Peer::waiting(secs(0), s.clone());
        p.step(secs(0), LIMITS, Event::PayloadBegins { diskless: false });
        assert_eq!(s.state(), PeerState::SendBulk);
        assert_eq!(p.step(secs(1), LIMITS, Event::PayloadSent { marked: false }), Some(Action::StartStream));
        assert_eq!(s.state(), PeerState::Online);
    }

    #[test]
    fn silence_closes() {
        let close = |a: Option<Action>| matches!(a, Some(Action::Close(_)));
        let mut p = Peer::continuing(secs(0), shared());
        assert!(!close(p.step(secs(10), LIMITS, Event::Tick)));
        assert!(close(p.step(secs(11), LIMITS, Event::Tick)));
        let mut p = Peer::waiting(secs(0), shared());
        p.step(secs(0), LIMITS, Event::PayloadBegins { diskless: true });
        p.step(secs(9), LIMITS, Event::PayloadMoved);
        assert!(!close(p.step(secs(19), LIMITS, Event::Tick)), "slow is not dead");
        p.step(secs(19), LIMITS, Event::SignOfLife);
        assert!(!close(p.step(secs(29), LIMITS, Event::Tick)), "what is on the line is taken");
        assert!(close(p.step(secs(30), LIMITS, Event::Tick)));
        let mut p = Peer::waiting(secs(0), shared());
        assert!(!close(p.step(secs(100), LIMITS, Event::Tick)), "waiting is our own slowness");
    }

    #[test]
    fn silence_of_one_that_acknowledges_nothing_is_none() {
        let mut quiet = Shared::new(1, "127.0.0.1".into(), &Facts::default());
        quiet.acknowledges = false;
        let mut p = Peer::waiting(secs(0), Arc::new(quiet));
        p.step(secs(0), LIMITS, Event::PayloadBegins { diskless: false });
        p.step(secs(0), LIMITS, Event::PayloadSent { marked: false });
        assert_eq!(p.step(secs(100), LIMITS, Event::Tick), None);
    }

    #[test]
    fn offsets_acknowledged_never_fall() {
        let s = shared();
        let mut p = Peer::continuing(secs(0), s.clone());
        p.step(secs(1), LIMITS, Event::Ack(Offset(100)));
        p.step(secs(2), LIMITS, Event::Ack(Offset(90)));
        assert_eq!(s.acked_offset(), Offset(100));
    }
}
