//! What the server does with sessions around their commands: new ones, their buffers, what a turn left. It needs no keys,
//! so that it can be done inside a long command too.

use keystead_keyspace::Garbage;
use keystead_resp::Writer;

use super::types::{Close, Now, Ready, Traffic, TurnEnd};
use crate::core::Core;
use crate::foreign::ConnEvent;
use crate::limits::Buffers;
use crate::session::{ConnInfo, Kind, SessionId};

impl Core {
    /// A client connected. Refused with the bytes to send before closing.
    pub fn connect(&mut self, info: ConnInfo, now: Now) -> Result<SessionId, Vec<u8>> {
        self.now = now;
        let live = &self.config.live;
        if self.sessions.len() >= live.maxclients {
            self.stats.rejected_connections += 1;
            return Err(b"-ERR max number of clients reached\r\n".to_vec());
        }
        let open = self.acl.open();
        if live.protected_mode && self.acl.default_user().nopass && !info.loopback && !info.unix {
            self.stats.rejected_connections += 1;
            return Err(PROTECTED.to_vec());
        }
        self.stats.connections += 1;
        let id = self.sessions.insert(info, now.mono_ms(), open);
        if let Some(mut session) = self.sessions.take(id) {
            self.become_default(&mut session.state);
            self.sessions.put(session);
        }
        self.recount(id);
        self.notify_conn(ConnEvent::Open, id);
        Ok(id)
    }

    /// The link to this node's primary, which a plugin reads and writes: a session to be seen and killed, nothing more.
    pub fn show_link(&mut self, info: ConnInfo) -> SessionId {
        let id = self.sessions.insert(info, self.mono_ms(), true);
        if let Some(session) = self.sessions.get_mut(id) {
            session.state.kind = Kind::Primary;
            session.state.taken_over = true;
        }
        id
    }

    /// A buffer for the next output of a session that has none yet. It comes back with `swap_out`, whether it was used or not.
    pub fn lend_out(&mut self, id: SessionId, buffer: Vec<u8>) {
        debug_assert!(buffer.is_empty());
        if let Some(session) = self.sessions.get_mut(id).filter(|session| session.out.is_empty()) {
            session.out = buffer;
        }
    }

    /// Takes a session's output by exchanging it with an empty buffer, which the session keeps for its next output: a small
    /// one, as that may never come. Gives the journal's position that the output, and all before it, depends on: with
    /// barriers it may be shown when that is confirmed.
    pub fn swap_out(&mut self, id: SessionId, buffer: &mut Vec<u8>) -> u64 {
        buffer.clear();
        let now_ms = self.mono_ms();
        let Some(session) = self.sessions.get_mut(id) else { return 0 };
        std::mem::swap(&mut session.out, buffer);
        if !buffer.is_empty() {
            session.state.last_ms = now_ms;
        }
        session.state.seen = session.state.seen.min(self.journal.position());
        let (seen, sealed) = (session.state.seen, !session.state.sealed.is_empty());
        if sealed {
            let mut all = self.sessions.take_sealed(id).concat();
            all.append(buffer);
            *buffer = all;
        }
        self.recount(id);
        seen
    }

    /// True if output of some session must be taken with [`Core::take_sealed`] first, to be had as it is.
    #[inline]
    pub fn has_sealed(&self) -> bool {
        self.sessions.has_sealed()
    }

    /// Takes the large pieces that stand before what `swap_out` gives, which would copy them.
    pub fn take_sealed(&mut self, id: SessionId) -> Vec<Vec<u8>> {
        self.sessions.take_sealed(id)
    }

    /// The server still holds so many bytes of output and of undecoded input for a session. Closes it (by the list of the
    /// next `end_turn`) if that is too much. What is parsed of a command that isn't whole is no longer in Redis' query buffer.
    pub fn report_buffers(&mut self, id: SessionId, buffers: Buffers) {
        let limit = self.config.live.query_limit;
        let (now_ms, now_s) = (self.mono_ms(), self.mono_ms() / 1000);
        let Some(session) = self.sessions.get_mut(id) else { return };
        let Buffers { unsent, unread, spare, begun, peak } = buffers;
        session.state.note_input(unread, now_ms);
        session.state.pending_out = unsent;
        session.state.pending_in = unread;
        session.state.spare_in = spare;
        session.state.begun_in = begun;
        self.stats.buffers.note(now_s, peak.max(unread + spare), unsent);
        // With what is promised: of a large argument all may come at once, and it would be parsed before it is too much.
        if unread.saturating_sub(begun.taken).saturating_add(begun.promised) > limit
            && !session.state.close_now
            && !session.state.taken_over
        {
            log::warn!("Closing client {} that reached max query buffer length", session.state.info.addr);
            session.state.close_now = true;
            self.stats.query_limit_disconnections += 1;
            self.sessions.list(id);
        }
        self.check_output(id);
    }

    /// Everything that was held for a session is sent.
    pub fn report_sent(&mut self, id: SessionId) {
        self.report_moved(id);
        if let Some(session) = self.sessions.get_mut(id) {
            session.state.pending_out = 0;
        }
        self.recount(id);
    }

    /// Some of a session's output left, and more is to: who reads slowly is not idle.
    pub fn report_moved(&mut self, id: SessionId) {
        let now_ms = self.mono_ms();
        if let Some(session) = self.sessions.get_mut(id) {
            session.state.last_ms = now_ms;
        }
    }

    /// Counts traffic, for INFO.
    pub fn report_traffic(&mut self, traffic: Traffic) {
        self.stats.net_in += traffic.received;
        self.stats.net_out += traffic.sent;
        self.stats.reads += traffic.reads;
        self.stats.writes += traffic.writes;
        self.stats.cycles.report(traffic.rounds, self.stats.total_commands);
    }

    /// What the decoder must allow a session.
    pub fn limits(&self, id: SessionId) -> keystead_resp::Limits {
        let authenticated = self.sessions.get(id).is_some_and(|session| session.state.authenticated);
        keystead_resp::Limits { max_bulk: self.config.live.max_bulk, authenticated, ..Default::default() }
    }

    /// The protocol was broken: answers the error; the server closes the connection behind it.
    pub fn protocol_error(&mut self, id: SessionId, error: &keystead_resp::ProtocolError) {
        if let Some(session) = self.sessions.get_mut(id) {
            log::debug!("Protocol error from client {}: {error}", session.state.info.addr);
            Writer::new(&mut session.out, session.state.proto).error([b"ERR ", error.bytes().as_slice()].concat());
            session.state.close_after_reply = true;
        }
    }

    /// Ends a turn, or one inside a long command: what the server has to do now. Garbage is the keyspace's.
    pub fn end_turn(&mut self) -> TurnEnd {
        if self.journal.is_strained() {
            self.judge_readers();
        }
        self.journal.turn_over();
        let listed = std::mem::take(&mut self.sessions.listed);
        let mut ready = Vec::with_capacity(listed.len());
        for session in listed {
            let Some(found) = self.sessions.get_mut(session) else { continue };
            found.state.listed = false;
            let resume = std::mem::take(&mut found.state.resumed);
            let close = if found.state.close_now {
                Close::Now
            } else if found.state.close_after_reply {
                Close::AfterOutput
            } else {
                Close::No
            };
            ready.push(Ready { session, resume, close });
        }
        let mut wakers = std::mem::take(&mut self.wakers);
        self.journal.take_wakers(&mut wakers);
        TurnEnd {
            ready,
            actions: std::mem::take(&mut self.actions),
            wakers,
            broken: self.broken.take(),
            garbage: Garbage::default(),
        }
    }
}

const PROTECTED: &[u8] =
    b"-DENIED Redis is running in protected mode because protected mode is enabled and no password \
is set for the default user. In this mode connections are only accepted from the loopback interface. If you want to \
connect from external computers to Redis you may adopt one of the following solutions: 1) Just disable protected mode \
sending the command 'CONFIG SET protected-mode no' from the loopback interface by connecting to Redis from the same \
host the server is running, however MAKE SURE Redis is not publicly accessible from internet if you do so. Use CONFIG \
REWRITE to make this change permanent. 2) Alternatively you can just disable the protected mode by editing the Redis \
configuration file, and setting the protected mode option to 'no', and then restarting the server. 3) If you started \
the server manually just for testing, restart it with the '--protected-mode no' option. 4) Setup a an authentication \
password for the default user. NOTE: You only need to do one of the above things in order for the server to start \
accepting connections from the outside.\r\n";
