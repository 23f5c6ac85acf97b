//! Commands that the server or a plugin runs itself: no client stands behind them, guards for clients don't hold.

use keystead_resp::{OwnedArgs, Proto, Writer};

use super::Engine;
use crate::commands;
use crate::effect::Origin;
use crate::error::CommandError;
use crate::exec;
use crate::session::State;

impl Engine {
    /// Runs a command for the server or a plugin, in a turn; gives the reply as RESP (of the wanted protocol). Guards
    /// for clients don't hold.
    pub fn exec(&mut self, db: usize, argv: &[&[u8]], origin: Origin, proto: Proto) -> Vec<u8> {
        let args: OwnedArgs = argv.iter().collect();
        // Nobody stands behind this call who could wait.
        let origin = if origin == Origin::Client { Origin::Internal } else { origin };
        let mut state = State::nobody(self.core.mono_ms());
        state.db = db;
        state.proto = proto;
        let mut out = Vec::new();
        let known = match args.is_empty() {
            true => Err(CommandError::SYNTAX),
            false => exec::find(&self.core, args.view()),
        };
        match known {
            Err(error) => Writer::new(&mut out, proto).error(error.bytes()),
            Ok(command) if !command.arity_ok(args.len()) => {
                let error = CommandError::arity(&command.full_name);
                Writer::new(&mut out, proto).error(error.bytes());
            }
            Ok(command) => {
                let core = &mut self.core;
                exec::call(&mut self.ks, core, &mut state, &mut out, command, args.view(), origin, core.in_unit);
                commands::connection::forget(core, &mut state);
                exec::settle_observation(&mut self.ks, core);
            }
        }
        if self.core.blocking.has_ready() && !self.core.in_unit {
            self.serve_ready();
        }
        out
    }

    /// Everything inside is one unit: between MULTI and EXEC in the journal if it has more than one effect.
    pub fn atomic<R>(&mut self, body: impl FnOnce(&mut Engine) -> R) -> R {
        let outer = std::mem::replace(&mut self.core.in_unit, true);
        let result = body(self);
        self.core.in_unit = outer;
        if !outer {
            let mut state = State::nobody(self.core.mono_ms());
            exec::finish_unit(&mut self.core, &mut state);
            if self.core.blocking.has_ready() {
                self.serve_ready();
            }
        }
        result
    }
}
