//! A blocking client for tests: one socket, commands in, replies out, raw bytes when a test wants to be rude.

use crate::certs::Certs;
use crate::reply::{Reply, read_reply};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned};
use std::io::{self, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::time::Duration;

/// How long a test waits for one reply before it fails.
const REPLY_LIMIT: Duration = Duration::from_secs(30);

/// What can go wrong with a command: the socket, or an error reply.
pub type ClientError = io::Error;

/// One connection.
#[derive(Debug)]
pub struct Client {
    input: BufReader<Wire>,
    socket: TcpStream,
}

/// What carries the bytes.
#[derive(Debug)]
enum Wire {
    Plain(TcpStream),
    Tls(Box<StreamOwned<ClientConnection, TcpStream>>),
}

impl Read for Wire {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        match self {
            Wire::Plain(stream) => stream.read(buf),
            Wire::Tls(stream) => stream.read(buf),
        }
    }
}

impl Write for Wire {
    fn write(&mut self, buf: &[u8]) -> io::Result<usize> {
        match self {
            Wire::Plain(stream) => stream.write(buf),
            Wire::Tls(stream) => stream.write(buf),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        match self {
            Wire::Plain(stream) => stream.flush(),
            Wire::Tls(stream) => stream.flush(),
        }
    }
}

/// Whether a server there answers PING, be it with -NOAUTH, and has loaded its data: stock Redis listens before.
pub(crate) fn serves(port: u16) -> bool {
    let reply = Client::try_connect(port).and_then(|mut client| client.try_command(&["PING"]));
    reply.is_ok_and(|reply| !matches!(&reply, Reply::Error(why) if why.starts_with("LOADING")))
}

/// A connection to a port of loopback.
fn dial(port: u16) -> io::Result<TcpStream> {
    let address = SocketAddr::from(([127, 0, 0, 1], port));
    let socket = TcpStream::connect_timeout(&address, Duration::from_secs(5))?;
    socket.set_nodelay(true)?;
    socket.set_read_timeout(Some(REPLY_LIMIT))?;
    socket.set_write_timeout(Some(REPLY_LIMIT))?;
    Ok(socket)
}

impl Client {
    /// Connects to a port of loopback; panics when nobody listens.
    #[track_caller]
    pub fn connect(port: u16) -> Client {
        Client::try_connect(port).unwrap_or_else(|e| panic!("can't connect to port {port}: {e}"))
    }

    /// Connects to a port of loopback.
    pub fn try_connect(port: u16) -> io::Result<Client> {
        let socket = dial(port)?;
        Ok(Client { input: BufReader::new(Wire::Plain(socket.try_clone()?)), socket })
    }

    /// Connects to a TLS port with the certificate of this name (none for `""`). An error if the handshake fails as far as
    /// this side sees it; with TLS 1.3 a refusal of the certificate comes with the first reply.
    pub fn try_connect_tls(port: u16, certs: &Certs, name: &str) -> io::Result<Client> {
        let mut roots = RootCertStore::empty();
        let pem = |file: &str| std::fs::read(certs.path(file)).expect("a file of certificates");
        roots.add(CertificateDer::from_pem_slice(&pem("ca.crt")).expect("PEM")).expect("an authority");
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let builder = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
        let builder = builder.map_err(io::Error::other)?.with_root_certificates(roots);
        let config = match name {
            "" => builder.with_no_client_auth(),
            name => {
                let chain = vec![CertificateDer::from_pem_slice(&pem(&format!("{name}.crt"))).expect("PEM")];
                let key = PrivateKeyDer::from_pem_slice(&pem(&format!("{name}.key"))).expect("PEM");
                builder.with_client_auth_cert(chain, key).map_err(io::Error::other)?
            }
        };
        let host = ServerName::try_from("localhost").expect("a name");
        let mut connection = ClientConnection::new(Arc::new(config), host).map_err(io::Error::other)?;
        let mut socket = dial(port)?;
        while connection.is_handshaking() {
            connection.complete_io(&mut socket)?;
        }
        let stream = StreamOwned::new(connection, socket.try_clone()?);
        Ok(Client { input: BufReader::new(Wire::Tls(Box::new(stream))), socket })
    }

    /// Connects to a TLS port with the client's certificate; panics when that fails.
    #[track_caller]
    pub fn connect_tls(port: u16, certs: &Certs) -> Client {
        Client::try_connect_tls(port, certs, "client").unwrap_or_else(|e| panic!("no TLS with port {port}: {e}"))
    }

    /// How long to wait for a reply from now on.
    pub fn set_reply_limit(&self, limit: Duration) {
        self.socket.set_read_timeout(Some(limit)).expect("a limit above zero");
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
        self.send_raw(&encode(args))
    }

    /// Sends bytes as they are.
    pub fn send_raw(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.input.get_mut().write_all(bytes)?;
        self.input.get_mut().flush()
    }

    /// Sends bytes past the encryption, for tests that are rude.
    pub fn send_beside(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.socket.write_all(bytes)
    }

    /// Reads the next reply or push.
    pub fn read(&mut self) -> io::Result<Reply> {
        read_reply(&mut self.input)
    }

    /// Sends all commands at once and reads as many replies.
    #[track_caller]
    pub fn pipeline(&mut self, lines: &[&str]) -> Vec<Reply> {
        let words: Vec<Vec<&str>> = lines.iter().map(|line| line.split_whitespace().collect()).collect();
        self.pipeline_words(&words.iter().map(Vec::as_slice).collect::<Vec<_>>())
    }

    /// The same for commands whose words have blanks in them.
    #[track_caller]
    pub fn pipeline_words(&mut self, commands: &[&[&str]]) -> Vec<Reply> {
        let bytes: Vec<u8> = commands.iter().flat_map(|words| encode(words)).collect();
        self.send_raw(&bytes).expect("the socket takes a pipeline");
        commands.iter().map(|words| self.read().unwrap_or_else(|e| panic!("{words:?}: {e}"))).collect()
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
