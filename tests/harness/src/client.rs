//! A blocking client for tests: one socket, commands in, replies out, raw bytes when a test wants to be rude.

use crate::reply::{Reply, read_reply};
use std::io::{self, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

/// How long a test waits for one reply before it fails.
const REPLY_LIMIT: Duration = Duration::from_secs(30);

/// What can go wrong with a command: the socket, or an error reply.
pub type ClientError = io::Error;

/// One connection.
#[derive(Debug)]
pub struct Client {
    input: BufReader<TcpStream>,
    output: TcpStream,
}

impl Client {
    /// Connects to a port of loopback; panics when nobody listens.
    #[track_caller]
    pub fn connect(port: u16) -> Client {
        Client::try_connect(port).unwrap_or_else(|e| panic!("can't connect to port {port}: {e}"))
    }

    /// Connects to a port of loopback.
    pub fn try_connect(port: u16) -> io::Result<Client> {
        let address = SocketAddr::from(([127, 0, 0, 1], port));
        let output = TcpStream::connect_timeout(&address, Duration::from_secs(5))?;
        output.set_nodelay(true)?;
        output.set_read_timeout(Some(REPLY_LIMIT))?;
        output.set_write_timeout(Some(REPLY_LIMIT))?;
        Ok(Client { input: BufReader::new(output.try_clone()?), output })
    }

    /// How long to wait for a reply from now on.
    pub fn set_reply_limit(&self, limit: Duration) {
        self.output.set_read_timeout(Some(limit)).expect("a limit above zero");
    }

    /// Sends a command and gives its reply; an error reply is a value, a broken socket panics.
    #[track_caller]
    pub fn command<A: AsRef<[u8]>>(&mut self, args: &[A]) -> Reply {
        self.try_command(args).unwrap_or_else(|e| {
            let short = |arg: &A| String::from_utf8_lossy(arg.as_ref()).chars().take(80).collect::<String>();
            panic!("{:?}: {e}", args.iter().map(short).collect::<Vec<_>>())
        })
    }

    /// A command as one line, split at blanks: `client.cmd("SET a 1")`.
    #[track_caller]
    pub fn cmd(&mut self, line: &str) -> Reply {
        self.command(&line.split_whitespace().collect::<Vec<_>>())
    }

    /// Like [`Client::cmd`], but panics on an error reply.
    #[track_caller]
    pub fn ok(&mut self, line: &str) -> Reply {
        let reply = self.cmd(line);
        assert!(!reply.is_error(), "{line}: {reply:?}");
        reply
    }

    /// Sends a command and gives its reply.
    pub fn try_command<A: AsRef<[u8]>>(&mut self, args: &[A]) -> io::Result<Reply> {
        self.send(args)?;
        self.read()
    }

    /// Sends a command without reading its reply.
    pub fn send<A: AsRef<[u8]>>(&mut self, args: &[A]) -> io::Result<()> {
        self.output.write_all(&encode(args))
    }

    /// Sends bytes as they are.
    pub fn send_raw(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.output.write_all(bytes)
    }

    /// Reads the next reply or push.
    pub fn read(&mut self) -> io::Result<Reply> {
        read_reply(&mut self.input)
    }

    /// Sends all commands at once and reads as many replies.
    #[track_caller]
    pub fn pipeline(&mut self, lines: &[&str]) -> Vec<Reply> {
        let mut bytes = Vec::new();
        for line in lines {
            bytes.extend(encode(&line.split_whitespace().collect::<Vec<_>>()));
        }
        self.send_raw(&bytes).expect("the socket takes a pipeline");
        lines.iter().map(|line| self.read().unwrap_or_else(|e| panic!("{line}: {e}"))).collect()
    }

    /// Whether the server has closed the connection: waits up to `limit` for that, passing over what still arrives.
    pub fn is_closed_within(&mut self, limit: Duration) -> bool {
        self.set_reply_limit(limit);
        let mut sink = [0; 4096];
        let closed = loop {
            match self.input.read(&mut sink) {
                Ok(0) => break true,
                Ok(_) => {}
                Err(e) => break !matches!(e.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut),
            }
        };
        self.set_reply_limit(REPLY_LIMIT);
        closed
    }

    /// Everything the server sends until it closes the connection or stays silent for `limit`.
    pub fn drain(&mut self, limit: Duration) -> Vec<u8> {
        self.set_reply_limit(limit);
        let mut all = Vec::new();
        let mut piece = [0; 4096];
        while let Ok(len @ 1..) = self.input.read(&mut piece) {
            all.extend_from_slice(&piece[..len]);
        }
        self.set_reply_limit(REPLY_LIMIT);
        all
    }

    /// INFO's fields, of one section or of all (`""`).
    #[track_caller]
    pub fn info(&mut self, section: &str) -> std::collections::BTreeMap<String, String> {
        let reply = if section.is_empty() { self.command(&["INFO"]) } else { self.command(&["INFO", section]) };
        let text = reply.as_text().unwrap_or_else(|| panic!("INFO {section}: {reply:?}"));
        text.lines().filter_map(|l| l.split_once(':')).map(|(k, v)| (k.to_owned(), v.to_owned())).collect()
    }
}

/// A command in RESP.
fn encode<A: AsRef<[u8]>>(args: &[A]) -> Vec<u8> {
    let mut out = format!("*{}\r\n", args.len()).into_bytes();
    for arg in args {
        out.extend(format!("${}\r\n", arg.as_ref().len()).into_bytes());
        out.extend_from_slice(arg.as_ref());
        out.extend_from_slice(b"\r\n");
    }
    out
}

/// Text of a reply, for comparisons in asserts; empty when it has none.
pub fn text(reply: &Reply) -> String {
    reply.as_text().unwrap_or_default()
}
