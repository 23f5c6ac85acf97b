//! From bytes to executed commands: what every connection does inside a turn, whoever owns its socket. Pure: no socket,
//! no waiting, no clock.

use super::input::{Input, Ready};
use keystead_engine::{Engine, Flow, SessionId};

/// Commands decoded ahead at once.
const BATCH: usize = 64;

/// Why the pump stopped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Stop {
    /// No complete command is left.
    Drained,
    /// The budget is used up and commands may be left.
    Budget,
    /// The session waits; bytes stay raw until it goes on.
    Parked,
    /// A plugin takes the socket with the rest of the bytes.
    Takeover,
    /// Send the output, then close.
    Close,
}

/// Executes complete commands of `input` until something stops it. `scratch` is reused between turns.
pub(crate) fn run(
    engine: &mut Engine,
    session: SessionId,
    input: &mut Input,
    budget: usize,
    scratch: &mut Vec<Ready>,
) -> Stop {
    let mut left = budget;
    while input.len() > 0 {
        if left == 0 {
            return Stop::Budget;
        }
        let limits = engine.limits(session);
        // Before AUTH one command at a time: it changes what the next may be.
        let ahead = if limits.authenticated { BATCH.min(left) } else { 1 };
        let error = input.decode(ahead, &limits, scratch);
        for ready in scratch.iter() {
            let flow = engine.execute(session, input.args(ready));
            input.done(ready);
            left -= 1;
            let stop = match flow {
                Flow::Next => continue,
                Flow::Parked => Stop::Parked,
                Flow::Takeover => Stop::Takeover,
                Flow::Close => Stop::Close,
            };
            input.forget_ahead();
            return stop;
        }
        if let Some(error) = error {
            engine.protocol_error(session, &error);
            return Stop::Close;
        }
        if scratch.len() < ahead {
            break;
        }
    }
    input.trim();
    Stop::Drained
}
