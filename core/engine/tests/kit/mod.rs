//! A server without sockets: bytes in, bytes out, a clock that moves when told.
#![allow(dead_code)]

use keystead_engine::engine::{Close, TurnEnd};
use keystead_engine::journal::{CursorClass, CursorId, Read};
use keystead_engine::resp::{Decoded, Decoder, Limits};
use keystead_engine::{Action, Ahead, Args, ConnInfo, Engine, EngineMode, EngineOptions, Flow, Now, SessionId};

pub struct Kit {
    pub engine: Engine,
    pub now: Now,
    pub actions: Vec<Action>,
    pub closed: Vec<SessionId>,
    /// Bytes that arrived while their session was parked.
    waiting: Vec<(SessionId, Vec<u8>)>,
}

impl Default for Kit {
    fn default() -> Self {
        Kit::new(EngineMode::Data)
    }
}

impl Kit {
    pub fn new(mode: EngineMode) -> Kit {
        Kit::with(EngineOptions { mode, ..EngineOptions::default() })
    }

    pub fn with(options: EngineOptions) -> Kit {
        let now = Now { unix_ms: 1_700_000_000_000, mono_us: 0 };
        let engine = Engine::new(EngineOptions { now, seeds: [9, 8, 7, 6], ..options });
        Kit { engine, now, actions: Vec::new(), closed: Vec::new(), waiting: Vec::new() }
    }

    pub fn connect(&mut self) -> SessionId {
        let info = ConnInfo {
            addr: "127.0.0.1:50000".to_owned(),
            laddr: "127.0.0.1:6379".to_owned(),
            fd: 8,
            loopback: true,
            ..ConnInfo::default()
        };
        self.engine.connect(info, self.now).expect("accepted")
    }

    /// One turn with these bytes from a session; what it then has to read.
    pub fn send(&mut self, id: SessionId, bytes: impl AsRef<[u8]>) -> String {
        self.feed(id, bytes.as_ref());
        self.read(id)
    }

    /// Words of an inline command.
    pub fn cmd(&mut self, id: SessionId, line: &str) -> String {
        self.send(id, format!("{line}\r\n"))
    }

    pub fn feed(&mut self, id: SessionId, bytes: &[u8]) {
        self.engine.begin_turn(self.now);
        self.run(id, bytes);
        let end = self.engine.end_turn();
        self.end(end);
    }

    /// Bytes that arrive whatever the session does: behind a wait they stay undecoded.
    pub fn push(&mut self, id: SessionId, bytes: &[u8]) {
        match self.waiting.iter_mut().find(|(waiting, _)| *waiting == id) {
            Some((_, rest)) => rest.extend_from_slice(bytes),
            None => self.feed(id, bytes),
        }
    }

    /// The connection is gone.
    pub fn gone(&mut self, id: SessionId) {
        self.waiting.retain(|(waiting, _)| *waiting != id);
        self.turn(|engine| engine.disconnect(id));
    }

    fn run(&mut self, id: SessionId, mut bytes: &[u8]) {
        let mut decoder = Decoder::new();
        while !bytes.is_empty() {
            let limits = self.engine.limits(id);
            let (consumed, flow) = match decoder.decode(bytes, &limits) {
                Err(error) => {
                    self.engine.protocol_error(id, &error);
                    return;
                }
                Ok(Decoded::Need(_)) => panic!("half a command in a test: {:?}", String::from_utf8_lossy(bytes)),
                Ok(Decoded::Skip(consumed)) => (consumed, Flow::Next),
                Ok(Decoded::Command { consumed, args, .. }) => {
                    (consumed, execute(&mut self.engine, id, Args::new(&bytes[..consumed], &args)))
                }
                Ok(Decoded::Inline { consumed, args }) => (consumed, execute(&mut self.engine, id, args.view())),
            };
            bytes = &bytes[consumed..];
            match flow {
                Flow::Next => {}
                Flow::Parked => {
                    self.waiting.push((id, bytes.to_vec()));
                    return;
                }
                Flow::Takeover => return,
                Flow::Close => {
                    self.closed.push(id);
                    return;
                }
            }
        }
    }

    fn end(&mut self, end: TurnEnd) {
        self.actions.extend(end.actions);
        for ready in end.ready {
            if ready.close != Close::No {
                self.closed.push(ready.session);
            }
            if ready.resume {
                let at = self.waiting.iter().position(|(id, _)| *id == ready.session);
                let rest = at.map(|at| self.waiting.remove(at).1).unwrap_or_default();
                self.feed(ready.session, &rest);
            }
        }
    }

    pub fn read(&mut self, id: SessionId) -> String {
        let mut out = Vec::new();
        self.engine.swap_out(id, &mut out);
        String::from_utf8_lossy(&out).into_owned()
    }

    /// A turn of the server's own.
    pub fn turn<R>(&mut self, body: impl FnOnce(&mut Engine) -> R) -> R {
        self.engine.begin_turn(self.now);
        let result = body(&mut self.engine);
        let end = self.engine.end_turn();
        self.end(end);
        result
    }

    /// Lets time pass, in which nothing that is due is done.
    pub fn later(&mut self, ms: u64) {
        self.now.unix_ms += ms;
        self.now.mono_us += ms * 1000;
    }

    /// Lets time pass and does what is due.
    pub fn advance(&mut self, ms: u64) {
        self.later(ms);
        self.engine.begin_turn(self.now);
        self.engine.tick();
        let end = self.engine.end_turn();
        self.end(end);
    }
}

/// Runs a command as drivers do: looked up ahead.
pub fn execute(engine: &mut Engine, id: SessionId, args: Args<'_>) -> Flow {
    let known = engine.ahead(id, args, &mut Ahead::default());
    engine.execute_all(id, &[()], |()| (args, known)).1
}

/// A server and what it sends to a replica.
pub struct Stream {
    pub kit: Kit,
    cursor: CursorId,
}

impl Stream {
    pub fn new() -> Self {
        let mut kit = Kit::default();
        let cursor = kit.engine.core.journal.open_cursor(CursorClass::Replica, None).expect("no limit is reached");
        Self { kit, cursor }
    }

    /// The commands that were recorded since the last call, without SELECTs.
    pub fn records(&mut self) -> Vec<String> {
        let mut bytes = Vec::new();
        while let Read::Data(pieces) = self.kit.engine.core.journal.read(self.cursor, 1 << 20) {
            pieces.iter().for_each(|piece| bytes.extend_from_slice(piece));
        }
        let (mut found, mut decoder, mut at) = (Vec::new(), Decoder::new(), 0);
        while at < bytes.len() {
            match decoder.decode(&bytes[at..], &Limits::default()).expect("the stream is RESP") {
                Decoded::Command { consumed, args, .. } => {
                    let args = Args::new(&bytes[at..], &args);
                    let words: Vec<_> = args.iter().map(|a| String::from_utf8_lossy(a).into_owned()).collect();
                    at += consumed;
                    found.push(words.join(" "));
                }
                other => panic!("not a command in the stream: {other:?}"),
            }
        }
        found.retain(|line| !line.starts_with("SELECT"));
        found
    }
}
