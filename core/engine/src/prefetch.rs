//! A look at commands that come next: which command it is, and hints for the memory of the key that it will look up.
//! Changes nothing and decides nothing; the stages are the keyspace's.

use keystead_keyspace::Ahead;
use keystead_resp::Args;

use crate::engine::Engine;
use crate::registry::Known;
use crate::session::SessionId;
use crate::spec::KeySpec;

impl Engine {
    /// Adds a command's first key to a batch; gives the command, for [`execute_all`](Engine::execute_all).
    #[inline]
    pub fn ahead(&self, id: SessionId, args: Args<'_>, ahead: &mut Ahead) -> Option<Known> {
        let known = self.core.registry.look_ahead(args)?;
        self.ahead_of(id, known, args, ahead);
        Some(known)
    }

    /// The same for a command that is known.
    #[inline(always)]
    pub fn ahead_of(&self, id: SessionId, known: Known, args: Args<'_>, ahead: &mut Ahead) {
        if let Some(at) = first_key(&known.command().keys)
            && let (Some(key), Some(session)) = (args.get(at), self.core.sessions.get(id))
        {
            ahead.add(&self.ks, session.state.db, key);
        }
    }

    /// Asks for all that the batch's commands will need.
    pub fn ask_ahead(&self, ahead: &mut Ahead) {
        ahead.ask(&self.ks);
    }
}

/// Where a command's first key stands, as far as that is known without reading its arguments.
#[inline]
fn first_key(keys: &KeySpec) -> Option<usize> {
    match *keys {
        KeySpec::None => None,
        KeySpec::Range { first, .. } => usize::try_from(first).ok(),
        KeySpec::Counted { dest, .. } if dest > 0 => usize::try_from(dest).ok(),
        KeySpec::Counted { count, .. } => usize::try_from(count).ok().map(|at| at + 1),
        // Most put it there.
        KeySpec::Custom(_) | KeySpec::Foreign(_) => Some(1),
    }
}
