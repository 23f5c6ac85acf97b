//! What a panic inside a command costs: its connection, as long as nothing has changed; the process, once something has,
//! because the keys would be ahead of the journal. Owns that decision; ending the process is the server's part.

use std::panic::{AssertUnwindSafe, catch_unwind};

use keystead_keyspace::Keyspace;
use keystead_resp::{Args, Writer};

use super::{Engine, Flow};
use crate::core::Core;
use crate::exec;
use crate::registry::Known;
use crate::session::Session;
use crate::still::Progress;

impl Engine {
    /// Runs one command; a panic in it doesn't leave the engine.
    pub(super) fn execute_guarded(&mut self, session: &mut Session, args: Args<'_>, known: Option<Known>) -> Flow {
        let start = session.out.len();
        let before = self.change_mark();
        let run = catch_unwind(AssertUnwindSafe(|| exec::execute(&mut self.ks, &mut self.core, session, args, known)));
        match run {
            Ok(flow) => flow,
            Err(_) => self.after_panic(session, start, before),
        }
    }

    /// Runs a row of commands that change nothing; a panic in one of them counts as that one's, and doesn't leave the engine.
    pub(super) fn guard_still(
        &mut self,
        session: &mut Session,
        progress: &mut Progress,
        row: impl FnOnce(&mut Keyspace, &mut Core, &mut Session, &mut Progress),
    ) -> Flow {
        let before = self.change_mark();
        let run = catch_unwind(AssertUnwindSafe(|| row(&mut self.ks, &mut self.core, session, progress)));
        match run {
            Ok(()) => Flow::Next,
            Err(_) => {
                progress.done += 1;
                self.after_panic(session, progress.start, before)
            }
        }
    }

    /// Moves with every change of the data or the journal.
    fn change_mark(&self) -> (u64, u64) {
        (self.ks.dirty(), self.core.journal.offset())
    }

    #[cold]
    fn after_panic(&mut self, session: &mut Session, start: usize, before: (u64, u64)) -> Flow {
        let command = session.state.last_command.map_or("?", |command| command.full_name.as_str());
        log::error!("the command '{command}' of client {} panicked", session.state.info.addr);
        session.out.truncate(start);
        session.state.close_after_reply = true;
        // EXEC had no chance to; hooks for connections are still told about this one.
        session.state.in_exec = false;
        self.ks.note_uses(true);
        let core = &mut self.core;
        (core.in_script, core.in_call) = (false, false);
        core.park = None;
        core.in_unit = false;
        core.unit.clear();
        core.forget_own(session.state.id);
        if self.change_mark() != before {
            let text = format!("the command '{command}' panicked behind its first change: the journal lacks it");
            self.core.broken = Some(text);
            return Flow::Close;
        }
        Writer::new(&mut session.out, session.state.proto).error("ERR internal error, the connection is closed");
        Flow::Close
    }
}
