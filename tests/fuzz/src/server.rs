//! An engine without sockets: a command in, its reply out.

use keystead_engine::{Ahead, ConnInfo, Engine, EngineOptions, Now, OwnedArgs, SessionId};
use std::cell::RefCell;

/// An engine with one session.
pub struct Server {
    /// The engine.
    pub engine: Engine,
    session: SessionId,
    now: Now,
}

thread_local! {
    static SERVER: RefCell<Server> = RefCell::default();
}

/// Tries something on this thread's server, as empty as a new one: making one takes longer than most cases do.
pub fn fresh<R>(body: impl FnOnce(&mut Server) -> R) -> R {
    SERVER.with_borrow_mut(|server| {
        server.run(&[b"FLUSHALL"]);
        server.engine.load_users(b"user default on nopass ~* &* +@all", "fresh").expect("a good line");
        body(server)
    })
}

impl Default for Server {
    fn default() -> Server {
        let now = Now { unix_ms: 1_700_000_000_000, mono_us: 0 };
        let mut engine = Engine::new(EngineOptions { now, ..EngineOptions::default() });
        let info = ConnInfo { loopback: true, ..ConnInfo::default() };
        let session = engine.connect(info, now).expect("the first client");
        Server { engine, session, now }
    }
}

impl Server {
    /// Runs a command; gives the reply's bytes.
    pub fn run(&mut self, words: &[&[u8]]) -> Vec<u8> {
        let args: OwnedArgs = words.iter().collect();
        self.engine.begin_turn(self.now);
        // As drivers do: looked up ahead.
        let known = self.engine.ahead(self.session, args.view(), &mut Ahead::default());
        let _ = self.engine.execute_all(self.session, &[()], |()| (args.view(), known));
        let _ = self.engine.end_turn();
        let mut reply = Vec::new();
        self.engine.swap_out(self.session, &mut reply);
        reply
    }
}
