//! Hints ahead of execution: which key a command that comes next will look up. Changes nothing and decides nothing; the
//! stages are the keyspace's.

use keystead_keyspace::Ahead;
use keystead_resp::Args;

use crate::engine::Engine;
use crate::session::SessionId;

impl Engine {
    /// Adds a command's first key to a batch. The first argument is taken for it: nearly every command puts its key there.
    #[inline]
    pub fn ahead(&self, id: SessionId, args: Args<'_>, ahead: &mut Ahead) {
        if let (Some(key), Some(session)) = (args.get(1), self.core.sessions.get(id)) {
            ahead.add(&self.ks, session.state.db, key);
        }
    }

    /// Asks for all that the batch's commands will need.
    pub fn ask_ahead(&self, ahead: &mut Ahead) {
        ahead.ask(&self.ks);
    }
}
