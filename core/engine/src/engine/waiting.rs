//! Sessions that wait: for keys, for a plugin's answer. Owns how they are served and go on.

use keystead_keyspace::KeyType;

use super::Engine;
use crate::commands;
use crate::effect::Origin;
use crate::exec;
use crate::session::{Parked, Session, SessionId};

impl Engine {
    /// Serves those who wait for keys that changed, in the order in which they came, until nothing more changes.
    pub(crate) fn serve_ready(&mut self) {
        while let Some((db, key, appeared)) = self.core.blocking.pop_ready() {
            for id in self.core.blocking.queue(db, &key) {
                // A key that expired meanwhile wakes nobody, and its deletion is for whoever asks for it next.
                self.retry(id, self.ks.glance(db, &key), appeared);
            }
        }
        exec::settle_observation(&mut self.ks, &mut self.core);
    }

    /// Runs a waiting session's command again. It goes on waiting if it still finds nothing.
    fn retry(&mut self, id: SessionId, kind: Option<KeyType>, appeared: bool) {
        let Some(mut session) = self.core.sessions.take(id) else { return };
        let Some(Parked::Keys(wait)) = session.state.parked.take() else {
            self.core.sessions.put(session);
            return;
        };
        if !commands::blocks_on(wait.command, kind, appeared) {
            session.state.parked = Some(Parked::Keys(wait));
            self.core.sessions.put(session);
            return;
        }
        let (selected, begin) = (session.state.db, session.out.len());
        session.state.db = wait.db;
        let core = &mut self.core;
        // The user's rights may have changed while it waited, or the server's state (Redis 7.2, #11012).
        if let Some(error) = exec::refused_now(core, &session.state, wait.command, wait.args.view()) {
            exec::refuse(core, &mut session, Some(wait.command), wait.args.view(), error);
        } else {
            let Session { out, state } = &mut *session;
            exec::call(&mut self.ks, core, state, out, wait.command, wait.args.view(), Origin::Client, false);
        }
        let Session { out, state } = &mut *session;
        state.db = selected;
        if core.park.take().is_some() {
            out.truncate(begin);
            state.parked = Some(Parked::Keys(wait));
            core.sessions.put(session);
            return;
        }
        core.blocking.remove(id, &wait);
        exec::drop_reply_if_off(state, out, begin);
        state.resumed = true;
        core.tell_myself(&mut session);
        self.core.sessions.put(session);
        self.core.sessions.list(id);
        self.core.check_output(id);
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
        let Some(session) = self.core.sessions.get_mut(id) else { return false };
        let waits = matches!(&session.state.parked, Some(Parked::Async { ticket: t, .. }) if *t == ticket);
        if !waits {
            return false;
        }
        session.state.parked = None;
        session.state.resumed = true;
        let begin = session.out.len();
        // Replies of jobs are large: usually nothing stands before them, and they are taken as they are.
        match session.out.is_empty() {
            true => session.out = reply.into(),
            false => session.out.extend_from_slice(&reply.into()),
        }
        exec::drop_reply_if_off(&mut session.state, &mut session.out, begin);
        self.core.sessions.list(id);
        self.core.recount(id);
        true
    }

    /// This node became a replica: whoever waits for keys is told so, for the writes that would have woken it don't come
    /// from clients any more.
    pub fn unblock_all(&mut self) {
        let ids: Vec<SessionId> = self.core.sessions.ids().collect();
        for id in ids {
            if self.session(id).is_some_and(|state| matches!(state.parked, Some(Parked::Keys(_)))) {
                crate::tick::unblock(&mut self.ks, &mut self.core, id, crate::tick::Unblock::Demoted);
            }
        }
    }
}
