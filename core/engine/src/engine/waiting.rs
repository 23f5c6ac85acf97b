//! Sessions that wait: for keys, for a plugin's answer. Owns how they are served and go on.

use keystead_keyspace::KeyType;

use super::Engine;
use crate::blocking::{Key, Wait};
use crate::commands;
use crate::effect::Origin;
use crate::exec;
use crate::guards::Verdict;
use crate::registry::Command;
use crate::session::{Parked, Session, SessionId, State};
use crate::spec::BLOCKING;

/// True of a plugin's command that waits for others, and not for its own work. WAIT and WAITAOF do, which in Redis 7.2 have neither
/// flag nor category for it: they are about the connection.
fn is_blocking(command: &Command) -> bool {
    let says = |category| command.categories.contains(&category);
    command.plugin.is_some() && (command.flags.has(BLOCKING) || says("blocking") || says("connection"))
}

impl Engine {
    /// Serves those who wait for keys that changed, in the order in which they came, until nothing more changes.
    pub(crate) fn serve_ready(&mut self) {
        while let Some((key, came)) = self.core.blocking.pop_ready() {
            self.serve_key(&key, came);
        }
        exec::settle_observation(&mut self.ks, &mut self.core);
    }

    fn serve_key(&mut self, key: &Key, came: Option<KeyType>) {
        let (mut behind, last) = (0, self.core.blocking.newest());
        let mut changed = true;
        while let Some((since, id)) = self.core.blocking.next_waiting(key, behind, last) {
            // What the first took the thousands behind it needn't be asked about.
            if changed && self.is_used_up(key) {
                return;
            }
            behind = since;
            changed = self.retry(id, &key.1, came);
        }
    }

    /// Nobody who waits for a key can find anything there, nor wants to know that.
    fn is_used_up(&self, key: &Key) -> bool {
        self.ks.glance(key.0, &key.1).is_none() && !self.core.blocking.wants_loss(key)
    }

    /// Runs a waiting session's command again. It goes on waiting if it still finds nothing. True if it ran.
    fn retry(&mut self, id: SessionId, key: &[u8], came: Option<KeyType>) -> bool {
        let Some(mut session) = self.core.sessions.take(id) else { return false };
        // Nothing may be popped for a session that is about to be closed: the element would be lost.
        let lives = !session.state.close_now;
        let ran = match session.state.parked.take() {
            Some(Parked::Keys(wait)) if lives && commands::may_find(&self.ks, key, &wait, came) => {
                self.run_again(&mut session, wait);
                true
            }
            parked => {
                session.state.parked = parked;
                false
            }
        };
        self.core.sessions.put(session);
        if ran {
            // It may have news of its own even if it goes on waiting.
            self.core.sessions.list(id);
            self.core.check_output(id);
        }
        ran
    }

    /// The wait ends, goes on, or becomes that for the end of a pause.
    fn run_again(&mut self, session: &mut Session, wait: Wait) {
        let core = &mut self.core;
        let (id, command, begin) = (session.state.id, wait.command, session.out.len());
        let selected = std::mem::replace(&mut session.state.db, wait.db);
        // The user's rights may have changed while it waited, or the server's state (Redis 7.2, #11012).
        match exec::judge_again(core, &session.state, command, wait.args.view()) {
            Verdict::Wait => {
                session.state.db = selected;
                core.blocking.remove(id, &wait);
                return exec::postpone(core, &mut session.state, wait.args);
            }
            Verdict::Refuse(error) => exec::refuse(core, session, Some(command), wait.args.view(), error),
            _ => {
                let Session { out, state } = &mut *session;
                exec::call(&mut self.ks, core, state, out, command, wait.args.view(), Origin::Client, false);
            }
        }
        let Session { out, state } = &mut *session;
        state.db = selected;
        if core.park.take().is_some() {
            out.truncate(begin);
            state.parked = Some(Parked::Keys(wait));
            return core.tell_myself(session);
        }
        core.blocking.remove(id, &wait);
        exec::drop_reply_if_off(state, out, begin);
        state.resume(core.mono_ms());
        core.tell_myself(session);
        exec::caching_is_over(&mut session.state, Some(command));
    }

    /// An asynchronous command is done: `reply` is RESP. Nothing happens if the session no longer waits for it.
    pub fn complete(&mut self, id: SessionId, ticket: u64, reply: impl Into<Vec<u8>>) {
        if self.complete_unseen(id, ticket, reply)
            && let Some(session) = self.core.sessions.get_mut(id)
        {
            session.state.shows_all();
        }
    }

    /// The same for a reply that tells nothing of the data: it needn't wait until what was written is on the disk. False if
    /// the session no longer waited.
    pub fn complete_unseen(&mut self, id: SessionId, ticket: u64, reply: impl Into<Vec<u8>>) -> bool {
        let now_ms = self.core.mono_ms();
        let Some(session) = self.core.sessions.get_mut(id) else { return false };
        let command = match &session.state.parked {
            Some(Parked::Async { ticket: waits, command, .. }) if *waits == ticket => *command,
            _ => return false,
        };
        session.state.parked = None;
        session.state.resume(now_ms);
        let late = session.state.late.take();
        let reply = match late {
            Some(late) => late.answered(&reply.into()),
            None => reply.into(),
        };
        let begin = session.out.len();
        // Replies of jobs are large: usually nothing stands before them, and they are taken as they are.
        match session.out.is_empty() {
            true => session.out = reply,
            false => session.out.extend_from_slice(&reply),
        }
        exec::drop_reply_if_off(&mut session.state, &mut session.out, begin);
        exec::caching_is_over(&mut session.state, Some(command));
        session.state.refresh_quick();
        self.core.sessions.list(id);
        self.core.recount(id);
        true
    }

    /// This node became a replica, or one of another primary: whoever waits for keys or for other nodes is told so and closed, as
    /// by Redis. The writes that would have woken it don't come from clients any more, or not from that primary.
    pub fn unblock_all(&mut self) {
        let waits = |state: &State| match &state.parked {
            Some(Parked::Keys(_)) => true,
            Some(Parked::Async { command, .. }) => is_blocking(command),
            _ => false,
        };
        let blocked = self.core.sessions.iter().filter(|session| waits(&session.state));
        let ids: Vec<SessionId> = blocked.map(|session| session.state.id).collect();
        for id in ids {
            crate::tick::unblock(&mut self.ks, &mut self.core, id, crate::tick::Unblock::Demoted);
        }
    }
}
