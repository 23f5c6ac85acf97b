//! Commands of one client that came together, one behind the other until one stops it. Owns their order and nothing of what
//! they do.

use keystead_resp::Args;

use super::{Engine, Flow};
use crate::registry::Known;
use crate::session::SessionId;
use crate::still::{self, Progress};

impl Engine {
    /// Runs commands of a session in their order. `view` gives a command's arguments, and what [`ahead`](Engine::ahead) has
    /// found of it. Gives how many of them were taken, and how the last of those ended: only that may be anything but
    /// [`Flow::Next`].
    pub fn execute_all<'a, T>(
        &mut self,
        id: SessionId,
        commands: &'a [T],
        view: impl Fn(&'a T) -> (Args<'a>, Option<Known>),
    ) -> (usize, Flow) {
        let mut taken = 0;
        while let Some(next) = commands.get(taken) {
            let (args, known) = view(next);
            let (count, flow) = match still::next(&self.core, args, known) {
                Some(_) => self.execute_still(id, &commands[taken..], &view),
                None => (0, Flow::Next),
            };
            taken += count;
            if flow != Flow::Next {
                return (taken, flow);
            }
            if count > 0 {
                continue;
            }
            taken += 1;
            let flow = self.execute_known(id, args, known);
            if flow != Flow::Next {
                return (taken, flow);
            }
        }
        (taken, Flow::Next)
    }

    /// Runs the commands at the front that change nothing, unless somebody wants to know of such, too. Gives their number.
    fn execute_still<'a, T>(
        &mut self,
        id: SessionId,
        commands: &'a [T],
        view: impl Fn(&'a T) -> (Args<'a>, Option<Known>),
    ) -> (usize, Flow) {
        let Some(mut session) = self.core.sessions.take(id) else { return (1, Flow::Close) };
        let (args, known) = view(&commands[0]);
        let first = still::next(&self.core, args, known)
            .filter(|command| still::is_calm(&self.ks, &mut self.core, &session, command))
            .filter(|_| !self.core.blocking.has_ready() && !self.core.pause_changed);
        let mut progress = Progress::default();
        let flow = match first {
            Some(first) => self.guard_still(&mut session, &mut progress, |ks, core, session, progress| {
                still::run(ks, core, session, first, commands, view, progress);
            }),
            None => Flow::Next,
        };
        let large = session.out.len() as u64 >= self.core.config.live.output_limits.lowest;
        self.core.sessions.put(session);
        if large && progress.done > 0 {
            self.core.settle_large(id);
        }
        (progress.done, flow)
    }
}

#[cfg(test)]
mod tests {
    use keystead_resp::OwnedArgs;

    use crate::registry::{Body, Command};
    use crate::{ConnInfo, Engine, EngineOptions, Flow, Now};

    /// No command of ours panics, so one is made.
    #[test]
    fn a_panic_in_a_row_costs_one_reply_and_the_connection() {
        let mut engine = Engine::new(EngineOptions::default());
        let info = ConnInfo { loopback: true, ..ConnInfo::default() };
        let id = engine.connect(info, Now::default()).expect("accepted");
        let ping = engine.core.registry.find(b"ping").expect("there");
        let trip: &'static Command = Box::leak(Box::new(Command {
            full_name: "trip".to_owned(),
            body: Body::Native(|ctx, _| {
                ctx.reply.simple("half a reply");
                panic!("tripped")
            }),
            ..ping.clone()
        }));
        let row = [ping, ping, trip, ping].map(|command| engine.core.registry.know(command));
        let args: OwnedArgs = ["PING"].iter().collect();
        engine.begin_turn(Now::default());
        let (taken, flow) = engine.execute_all(id, &row, |known| (args.view(), Some(*known)));
        assert_eq!((taken, flow), (3, Flow::Close));
        assert!(engine.end_turn().broken.is_none());
        let mut out = Vec::new();
        engine.swap_out(id, &mut out);
        let out = String::from_utf8_lossy(&out).into_owned();
        assert_eq!(out, "+PONG\r\n+PONG\r\n-ERR internal error, the connection is closed\r\n");
    }
}
