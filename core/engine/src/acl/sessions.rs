//! Users and the sessions that are them: who becomes whom, what a changed or deleted user means for those connected, and
//! what a refusal leaves behind. Owns nothing; rules are in the rest of the room.

use std::sync::Arc;

use super::UsersFile;
use super::check::{self, Denied};
use super::log::Event;
use super::text;
use super::user::User;
use crate::args::Args;
use crate::core::Core;
use crate::engine::Engine;
use crate::error::CommandError;
use crate::registry::Command;
use crate::session::{SessionId, State};

impl State {
    /// This session is the user from now on.
    pub(crate) fn become_user(&mut self, user: &Arc<User>) {
        self.authenticated = true;
        self.let_in = false;
        self.user.clone_from(&user.name);
        self.set_rights(user);
    }

    fn set_rights(&mut self, user: &Arc<User>) {
        self.rights = (!user.unrestricted()).then(|| user.clone());
        self.refresh_quick();
    }
}

impl Core {
    /// A session without credentials: the default user, let in at once if that user needs none.
    pub(crate) fn become_default(&self, state: &mut State) {
        state.become_user(self.acl.default_user());
        state.authenticated = self.acl.open();
        state.refresh_quick();
    }

    /// May the session run this? If not, the refusal is kept in ACL LOG, counted, and given as the reply. `context` is
    /// `toplevel`, `multi` or `lua`.
    pub fn permit(
        &mut self,
        state: &State,
        command: &Command,
        args: Args<'_>,
        context: &'static str,
    ) -> Result<(), CommandError> {
        let Some(user) = &state.rights else { return Ok(()) };
        let denied = check::check(user, command, args);
        denied.map_err(|denied| self.denied(state, command, args, denied, context))
    }

    /// Keeps and counts a refusal; gives the reply.
    pub(crate) fn denied(
        &mut self,
        state: &State,
        command: &Command,
        args: Args<'_>,
        denied: Denied,
        context: &'static str,
    ) -> CommandError {
        let object = match denied {
            Denied::Command => command.full_name.as_bytes(),
            Denied::Key(at) | Denied::Channel(at) => args.get(at).unwrap_or_default(),
        };
        match denied {
            Denied::Command => self.stats.acl_denied_cmd += 1,
            Denied::Key(_) => self.stats.acl_denied_key += 1,
            Denied::Channel(_) => self.stats.acl_denied_channel += 1,
        }
        self.log_refusal(state, denied.reason(), context, object, state.user.as_bytes());
        denied.error(&state.user, command)
    }

    /// AUTH or HELLO failed for a user.
    pub(crate) fn denied_auth(&mut self, state: &State, word: &[u8], user: &[u8]) {
        self.stats.acl_denied_auth += 1;
        let context = if state.multi.is_some() { "multi" } else { "toplevel" };
        self.log_refusal(state, "auth", context, word, user);
    }

    fn log_refusal(&mut self, state: &State, reason: &'static str, context: &'static str, object: &[u8], user: &[u8]) {
        let now_ms = self.now_ms();
        let client = crate::commands::client_list::describe(state, 0, self.mono_ms(), None);
        self.acl.log.add(Event { reason, context, object, user, client }, now_ms);
    }

    /// A user came or changed. Listeners that lost a channel are closed, as in Redis; all others go on with the new rights.
    pub(crate) fn change_user(&mut self, me: &mut State, user: User) {
        self.acl.changed = true;
        self.close_listeners(me, &user);
        self.acl.put(user);
        self.renew_rights(me);
    }

    /// Removes a user and closes its clients; false if there is no such user.
    pub(crate) fn delete_user(&mut self, me: &mut State, name: &str) -> bool {
        if !self.acl.remove(name) {
            return false;
        }
        self.acl.changed = true;
        self.close_all(me, |state| state.user == name);
        true
    }

    /// All users at once. Clients whose user is gone are closed.
    pub(crate) fn replace_users(&mut self, me: &mut State, users: Vec<User>) {
        for user in &users {
            self.close_listeners(me, user);
        }
        self.acl.replace(users);
        let names: Vec<String> = self.acl.users().map(|user| user.name.clone()).collect();
        self.close_all(me, |state| !names.contains(&state.user));
        self.renew_rights(me);
    }

    fn close_listeners(&mut self, me: &mut State, user: &User) {
        let lost = |state: &State| {
            let channels = state.channels.iter().chain(state.shard_channels.iter()).map(|name| (name, false));
            let mut all = channels.chain(state.patterns.iter().map(|name| (name, true)));
            state.user == user.name && all.any(|(name, pattern)| !check::may_listen(user, name, pattern))
        };
        self.close_all(me, lost);
    }

    /// All users anew from the lines of a file; nothing changes if anything is wrong with it.
    pub(crate) fn load_users(&mut self, lines: &[u8], place: &str, me: &mut State) -> Result<(), String> {
        let users = text::read(lines, place, &self.registry, self.acl.pubsub_all)?;
        self.replace_users(me, users);
        Ok(())
    }

    /// Closes those chosen; the running session gets its reply first.
    fn close_all(&mut self, me: &mut State, choose: impl Fn(&State) -> bool) {
        self.kill_clients(&choose);
        me.close_after_reply |= me.id.id != 0 && choose(me);
    }

    /// Every session gets the rights that its user has now; those who were asked for a password are let in while none is
    /// needed. Who came when none was needed stays in, as in Redis.
    pub(crate) fn renew_rights(&mut self, me: &mut State) {
        let acl = &self.acl;
        let renew = |state: &mut State| {
            if state.let_in || !state.authenticated {
                (state.authenticated, state.let_in) = (acl.open(), acl.open());
                state.refresh_quick();
            }
            // A client of a deleted user is being closed and runs nothing more.
            if let Some(user) = acl.user(&state.user) {
                state.set_rights(user);
            }
        };
        self.sessions.each_mut(renew);
        if me.id.id != 0 {
            renew(me);
        }
    }
}

impl Engine {
    /// Takes users from the lines of the configuration, each in place of one of its name.
    pub fn add_users(&mut self, lines: &[u8], place: &str) -> Result<(), String> {
        let acl = &self.core.acl;
        let users = text::read(lines, place, &self.core.registry, acl.pubsub_all)?;
        users.into_iter().for_each(|user| self.core.acl.put(user));
        self.core.renew_rights(&mut State::nobody(0));
        Ok(())
    }

    /// Takes all users from an ACL file; nothing changes if anything is wrong with it.
    pub fn load_users(&mut self, lines: &[u8], place: &str) -> Result<(), String> {
        self.replace_users(lines, place, &mut State::nobody(0))
    }

    /// The same for a session that asked for it: if its user is gone, it is closed behind its reply, which must be given
    /// within the same turn.
    pub fn load_users_for(&mut self, asked: SessionId, lines: &[u8], place: &str) -> Result<(), String> {
        let Some(mut session) = self.core.sessions.take(asked) else { return self.load_users(lines, place) };
        let loaded = self.replace_users(lines, place, &mut session.state);
        self.core.sessions.put(session);
        loaded
    }

    fn replace_users(&mut self, lines: &[u8], place: &str, me: &mut State) -> Result<(), String> {
        self.core.load_users(lines, place, me)
    }

    /// Users are in a file, to which commands of a transaction turn themselves: their reply says what came of it.
    pub fn set_users_file(&mut self, file: Arc<dyn UsersFile>) {
        self.core.acl.file = Some(file);
    }

    /// All users as lines, if ACL commands changed any: what an overlay must keep. It can hold text only: a pattern that is
    /// none is an error, for another one would be kept in its place.
    pub fn changed_users(&self) -> Result<Option<Vec<String>>, String> {
        let acl = &self.core.acl;
        let told =
            |user: &User| format!("a pattern of the user '{}' isn't UTF-8: only an aclfile can keep it", user.name);
        let lines = acl.users().map(|user| String::from_utf8(user.line()).map_err(|_| told(user)));
        acl.changed.then(|| lines.collect()).transpose()
    }

    /// What an overlay kept is in use: it must be kept again.
    pub fn keep_users(&mut self) {
        self.core.acl.changed = true;
    }
}
