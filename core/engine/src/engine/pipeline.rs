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
    use crate::{ConnInfo, Engine, EngineOptions, Flow, Now, SessionId};

    /// No command of ours panics, so one is made.
    fn trip(engine: &Engine) -> &'static Command {
        let ping = engine.core.registry.find(b"ping").expect("there");
        Box::leak(Box::new(Command {
            full_name: "trip".to_owned(),
            body: Body::Native(|ctx, _| {
                ctx.reply.simple("half a reply");
                panic!("tripped")
            }),
            ..ping.clone()
        }))
    }

    /// Runs a row with the same arguments for all; its end, and the replies.
    fn run(engine: &mut Engine, id: SessionId, row: &[&'static Command], words: &[&str]) -> (usize, Flow, String) {
        let row: Vec<_> = row.iter().map(|command| engine.core.registry.know(command)).collect();
        let args: OwnedArgs = words.iter().collect();
        let (taken, flow) = engine.execute_all(id, &row, |known| (args.view(), Some(*known)));
        let mut out = Vec::new();
        engine.swap_out(id, &mut out);
        (taken, flow, String::from_utf8_lossy(&out).into_owned())
    }

    fn connected() -> (Engine, SessionId) {
        let mut engine = Engine::new(EngineOptions::default());
        let info = ConnInfo { loopback: true, ..ConnInfo::default() };
        let id = engine.connect(info, Now::default()).expect("accepted");
        (engine, id)
    }

    const PANICKED: &str = "-ERR internal error, the connection is closed\r\n";

    #[test]
    fn a_panic_in_a_row_costs_one_reply_and_the_connection() {
        let (mut engine, id) = connected();
        let (ping, trip) = (engine.core.registry.find(b"ping").expect("there"), trip(&engine));
        engine.begin_turn(Now::default());
        let (taken, flow, out) = run(&mut engine, id, &[ping, ping, trip, ping], &["PING"]);
        assert_eq!((taken, flow, out), (3, Flow::Close, format!("+PONG\r\n+PONG\r\n{PANICKED}")));
        assert!(engine.end_turn().broken.is_none());
    }

    /// Its DEL is in the journal, as the key is gone: that a later command panics tears nothing.
    #[test]
    fn a_key_that_expired_before_a_panic_costs_no_more() {
        let (mut engine, id) = connected();
        let (set, get) = (engine.core.registry.find(b"set").expect("there"), engine.core.registry.find(b"get"));
        let (get, trip) = (get.expect("there"), trip(&engine));
        engine.begin_turn(Now { unix_ms: 1, mono_us: 1 });
        assert_eq!(run(&mut engine, id, &[set], &["SET", "k", "v", "PX", "1"]).2, "+OK\r\n");
        engine.end_turn();
        engine.begin_turn(Now { unix_ms: 9, mono_us: 9 });
        let (taken, flow, out) = run(&mut engine, id, &[get, trip], &["GET", "k"]);
        assert_eq!((taken, flow, out), (2, Flow::Close, format!("$-1\r\n{PANICKED}")));
        assert!(engine.end_turn().broken.is_none());
    }
}
