//! The two sides: a stock server behind a socket, and our engine called directly.

use keystead_engine::{Ahead, ConnInfo, Engine, EngineOptions, Now, SessionId};
use keystead_harness::RedisServer;
use keystead_resp::OwnedArgs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::time::{SystemTime, UNIX_EPOCH};

/// A stock redis-server.
pub struct Redis {
    _server: RedisServer,
    stream: Connection,
}

struct Connection(BufReader<TcpStream>);

/// A subscriber of a stock server.
pub struct RedisListener(Connection);

impl RedisListener {
    /// What came since the last call.
    pub fn heard(&mut self) -> Vec<Vec<u8>> {
        let mut heard = vec![self.0.run(&words("PING"))];
        while !heard.last().unwrap().starts_with(b"*2\r\n$4\r\npong") {
            let mut next = Vec::new();
            self.0.read_one(&mut next);
            heard.push(next);
        }
        heard.pop();
        heard
    }
}

fn words(line: &str) -> Vec<Vec<u8>> {
    line.split(' ').map(|w| w.as_bytes().to_vec()).collect()
}

impl Redis {
    pub fn start() -> Self {
        let server = RedisServer::start(&["--enable-debug-command", "yes", "--save", ""]);
        let stream = TcpStream::connect(("127.0.0.1", server.port())).unwrap();
        stream.set_nodelay(true).unwrap();
        Self { _server: server, stream: Connection(BufReader::new(stream)) }
    }

    /// A second connection that hears of every keyspace event.
    pub fn listener(&mut self) -> RedisListener {
        self.run(&words("CONFIG SET notify-keyspace-events KEAmn"));
        let stream = TcpStream::connect(("127.0.0.1", self._server.port())).unwrap();
        let mut connection = Connection(BufReader::new(stream));
        connection.run(&words("PSUBSCRIBE __key*"));
        RedisListener(connection)
    }

    pub fn reset(&mut self, resp3: bool) {
        self.run(&words(if resp3 { "HELLO 3" } else { "HELLO 2" }));
        self.run(&words("FLUSHALL"));
        self.run(&words("SELECT 0"));
    }

    /// Runs a command; gives the reply's bytes.
    pub fn run(&mut self, argv: &[Vec<u8>]) -> Vec<u8> {
        self.stream.run(argv)
    }
}

impl Connection {
    fn run(&mut self, argv: &[Vec<u8>]) -> Vec<u8> {
        let mut request = Vec::new();
        keystead_resp::Writer::new(&mut request, keystead_resp::Proto::Resp2).command(argv);
        self.0.get_mut().write_all(&request).unwrap();
        let mut reply = Vec::new();
        self.read_one(&mut reply);
        reply
    }

    fn read_one(&mut self, reply: &mut Vec<u8>) {
        let start = reply.len();
        self.0.read_until(b'\n', reply).unwrap();
        let line = reply[start..].to_vec();
        let number = || std::str::from_utf8(&line[1..line.len() - 2]).unwrap().parse::<i64>().unwrap();
        match line[0] {
            b'$' | b'=' if number() >= 0 => {
                let from = reply.len();
                reply.resize(from + number() as usize + 2, 0);
                self.0.read_exact(&mut reply[from..]).unwrap();
            }
            b'*' | b'~' | b'>' => (0..number().max(0)).for_each(|_| self.read_one(reply)),
            b'%' => (0..number() * 2).for_each(|_| self.read_one(reply)),
            _ => {}
        }
    }
}

/// Our engine with one session.
pub struct Ours {
    engine: Engine,
    session: SessionId,
}

fn now() -> Now {
    let unix_ms = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_millis() as u64;
    Now { unix_ms, mono_us: unix_ms * 1000 }
}

impl Ours {
    pub fn start() -> Self {
        let mut engine = Engine::new(EngineOptions::default());
        let session = engine.connect(ConnInfo { loopback: true, ..ConnInfo::default() }, now()).unwrap();
        Self { engine, session }
    }

    pub fn reset(&mut self, resp3: bool) {
        self.run(&words(if resp3 { "HELLO 3" } else { "HELLO 2" }));
        self.run(&words("FLUSHALL"));
    }

    /// A second session that hears of every keyspace event.
    pub fn listener(&mut self) -> SessionId {
        self.run(&words("CONFIG SET notify-keyspace-events KEAmn"));
        let session = self.engine.connect(ConnInfo { loopback: true, ..ConnInfo::default() }, now()).unwrap();
        self.run_as(session, &words("PSUBSCRIBE __key*"));
        session
    }

    /// What came since the last call.
    pub fn heard(&mut self, session: SessionId) -> Vec<u8> {
        let mut heard = Vec::new();
        self.engine.swap_out(session, &mut heard);
        heard
    }

    /// Runs a command; gives the reply's bytes.
    pub fn run(&mut self, argv: &[Vec<u8>]) -> Vec<u8> {
        self.run_as(self.session, argv)
    }

    fn run_as(&mut self, session: SessionId, argv: &[Vec<u8>]) -> Vec<u8> {
        let args: OwnedArgs = argv.iter().collect();
        self.engine.begin_turn(now());
        // As drivers do: looked up ahead.
        let known = self.engine.ahead(session, args.view(), &mut Ahead::default());
        let _ = self.engine.execute_all(session, &[()], |()| (args.view(), known));
        let _ = self.engine.end_turn();
        let mut reply = Vec::new();
        self.engine.swap_out(session, &mut reply);
        reply
    }
}
