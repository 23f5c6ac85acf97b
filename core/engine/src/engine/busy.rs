//! A turn inside a long command (a script that runs for seconds): commands that are allowed while busy run for other
//! sessions, all else is told to wait. Owns what is put aside meanwhile: neither the unit of the long command nor what its
//! own session is to be told behind the reply is theirs.

use keystead_keyspace::Keyspace;
use keystead_resp::Args;

use crate::core::Core;
use crate::engine::{Flow, TurnEnd};
use crate::error::CommandError;
use crate::exec;
use crate::journal::Unit;
use crate::session::SessionId;
use crate::tracking::Own;

/// Open while other sessions are served from inside a command.
pub struct BusyTurn<'b> {
    ks: &'b mut Keyspace,
    core: &'b mut Core,
    unit: Unit,
    in_unit: bool,
    own: Option<Own>,
}

impl<'b> BusyTurn<'b> {
    /// Puts the running command's unit aside. `reply` is what commands that must wait are told, code first.
    pub fn begin(ks: &'b mut Keyspace, core: &'b mut Core, reply: &str) -> BusyTurn<'b> {
        core.busy = Some(CommandError::new(reply));
        core.watchful = true;
        // Redis too: a script that waits for a moment must see it come.
        core.wall.go_on();
        let (unit, in_unit) = (std::mem::take(&mut core.unit), std::mem::take(&mut core.in_unit));
        let own = Some(core.put_own_aside());
        BusyTurn { ks, core, unit, in_unit, own }
    }

    /// Sessions and everything else but the keys.
    pub fn core(&mut self) -> &mut Core {
        self.core
    }

    /// Runs one command of a session that isn't the busy one.
    pub fn execute(&mut self, id: SessionId, args: Args<'_>) -> Flow {
        let Some(mut session) = self.core.sessions.take(id) else { return Flow::Close };
        let flow = match (session.state.close_now || session.state.close_after_reply, session.state.parked.is_some()) {
            (true, _) => Flow::Close,
            (false, true) => Flow::Parked,
            (false, false) => exec::execute(self.ks, self.core, &mut session, args, None),
        };
        self.core.sessions.put(session);
        flow
    }

    /// What the server has to do now, and whether the long command must stop: the server goes down, whatever the command
    /// has done so far.
    pub fn end(&mut self) -> (TurnEnd, bool) {
        let end = self.core.end_turn();
        self.core.torn |= self.core.shutting_down;
        (end, self.core.torn)
    }
}

impl Drop for BusyTurn<'_> {
    fn drop(&mut self) {
        self.core.unit = std::mem::take(&mut self.unit);
        self.core.in_unit = self.in_unit;
        if let Some(own) = self.own.take() {
            self.core.take_own_back(own);
        }
        self.core.busy = None;
        self.core.refresh_watchful();
    }
}
