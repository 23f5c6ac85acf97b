//! How the command line sees running nodes: short blocking conversations in RESP. Never part of a running server.

use super::picture::Seen;
use super::wire::Wire;
use rustls::ClientConfig;
use std::{
    io::{self, BufRead, BufReader, Read, Write},
    net::{Ipv4Addr, SocketAddr, TcpStream, ToSocketAddrs},
    path::Path,
    sync::Arc,
    time::Duration,
};

/// A local node that takes longer is treated as down.
const ANSWER_TIME: Duration = Duration::from_millis(500);
/// Of another host, or over TLS, an operator waits for an answer.
const FAR_ANSWER_TIME: Duration = Duration::from_secs(5);
/// Longest reply line or bulk string taken from a node.
const MAX_REPLY: usize = 1 << 20;

/// A blocking connection to one node.
pub struct Client {
    reader: BufReader<Wire>,
}

impl Client {
    /// Connects to a port of this machine.
    ///
    /// # Errors
    /// When nobody listens there.
    pub fn connect(port: u16) -> io::Result<Self> {
        Self::open(SocketAddr::from((Ipv4Addr::LOCALHOST, port)), ANSWER_TIME)
            .map(|socket| Self::over(Wire::Plain(socket)))
    }

    /// Connects to a host by name or address, with TLS if there is a configuration for that.
    ///
    /// # Errors
    /// When the name is unknown, nobody listens there, or one side doesn't trust the other.
    pub fn connect_to(host: &str, port: u16, tls: Option<Arc<ClientConfig>>) -> io::Result<Self> {
        let mut last = io::Error::new(io::ErrorKind::NotFound, format!("{host} has no address"));
        for addr in (host, port).to_socket_addrs()? {
            match Self::open(addr, FAR_ANSWER_TIME) {
                Ok(socket) => {
                    let wire = match tls {
                        Some(config) => Wire::encrypted(socket, host, config)?,
                        None => Wire::Plain(socket),
                    };
                    return Ok(Self::over(wire));
                }
                Err(error) => last = error,
            }
        }
        Err(last)
    }

    fn over(wire: Wire) -> Self {
        Self { reader: BufReader::new(wire) }
    }

    fn open(addr: SocketAddr, limit: Duration) -> io::Result<TcpStream> {
        let stream = TcpStream::connect_timeout(&addr, limit)?;
        stream.set_read_timeout(Some(limit))?;
        stream.set_write_timeout(Some(limit))?;
        stream.set_nodelay(true)?;
        Ok(stream)
    }

    /// Lets reads wait without end: a subscriber waits for events.
    ///
    /// # Errors
    /// When the socket refuses.
    pub fn wait_for_ever(&self) -> io::Result<()> {
        self.reader.get_ref().socket().set_read_timeout(None)
    }

    /// Sends a command without waiting.
    ///
    /// # Errors
    /// When the connection is gone.
    pub fn send(&mut self, words: &[&str]) -> io::Result<()> {
        let mut request = format!("*{}\r\n", words.len());
        for word in words {
            request.push_str(&format!("${}\r\n{word}\r\n", word.len()));
        }
        self.reader.get_mut().write_all(request.as_bytes())?;
        self.reader.get_mut().flush()
    }

    /// Sends a command and gives its reply flattened to texts; an error reply is an error.
    ///
    /// # Errors
    /// When the connection is gone, the reply is no RESP2, or it is an error.
    pub fn call(&mut self, words: &[&str]) -> io::Result<Vec<String>> {
        self.send(words)?;
        self.reply()
    }

    /// Reads one reply, flattened.
    ///
    /// # Errors
    /// As [`Client::call`].
    pub fn reply(&mut self) -> io::Result<Vec<String>> {
        let mut texts = Vec::new();
        let mut left = 1usize;
        while left > 0 {
            left -= 1;
            let line = self.line()?;
            let (kind, rest) = line.split_at_checked(1).ok_or_else(|| bad("an empty line"))?;
            match kind {
                "+" | ":" => texts.push(rest.to_owned()),
                "-" => return Err(io::Error::other(rest.to_owned())),
                "$" => texts.extend(self.bulk(rest)?),
                "*" => left += usize::try_from(number(rest)?.max(0)).unwrap_or(0),
                _ => return Err(bad(&line)),
            }
        }
        Ok(texts)
    }

    fn line(&mut self) -> io::Result<String> {
        let mut line = Vec::new();
        let limit = u64::try_from(MAX_REPLY).unwrap_or(u64::MAX);
        if (&mut self.reader).take(limit).read_until(b'\n', &mut line)? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        Ok(String::from_utf8_lossy(&line).trim_end().to_owned())
    }

    fn bulk(&mut self, length: &str) -> io::Result<Option<String>> {
        let Ok(length) = usize::try_from(number(length)?) else { return Ok(None) };
        if length > MAX_REPLY {
            return Err(bad("a bulk string of more than 1 MiB"));
        }
        let mut bytes = vec![0; length + 2];
        self.reader.read_exact(&mut bytes)?;
        bytes.truncate(length);
        Ok(Some(String::from_utf8_lossy(&bytes).into_owned()))
    }
}

fn number(text: &str) -> io::Result<i64> {
    text.parse().map_err(|_| bad(text))
}

fn bad(what: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, format!("not a reply: {what}"))
}

/// Asks a node what it is. A node that doesn't answer is `Seen::default()`.
#[must_use]
pub fn look(port: u16) -> Seen {
    try_look(port).unwrap_or_default()
}

/// The process that serves a port from this configuration file; nothing if somebody else's does, or it doesn't answer.
#[must_use]
pub fn process_of(port: u16, file: &Path) -> Option<i32> {
    let info = Client::connect(port).ok()?.call(&["INFO", "server"]).ok()?.concat();
    let same = Path::new(field(&info, "config_file")?).canonicalize().ok()? == file.canonicalize().ok()?;
    field(&info, "process_id").filter(|_| same)?.parse().ok()
}

/// A line of INFO.
fn field<'a>(info: &'a str, name: &str) -> Option<&'a str> {
    info.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'))
}

fn try_look(port: u16) -> io::Result<Seen> {
    let info = Client::connect(port)?.call(&["INFO"])?.concat();
    let field = |name: &str| field(&info, name);
    if field("redis_mode") == Some("sentinel") {
        return Ok(Seen { role: Some("sentinel".into()), ..Seen::default() });
    }
    let role = field("role").map(str::to_owned);
    let offset = if role.as_deref() == Some("slave") { "slave_repl_offset" } else { "master_repl_offset" };
    Ok(Seen {
        offset: field(offset).and_then(|n| n.parse().ok()).unwrap_or(0),
        link_up: field("master_link_status") == Some("up"),
        follows: field("master_port").and_then(|n| n.parse().ok()),
        role,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::TcpListener;

    #[test]
    fn replies_are_flattened() {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let port = listener.local_addr().unwrap().port();
        let server = std::thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            stream.write_all(b"*3\r\n$1\r\na\r\n*2\r\n:1\r\n$-1\r\n+OK\r\n-ERR no\r\n").unwrap();
            stream
        });
        let mut client = Client::connect(port).unwrap();
        assert_eq!(client.reply().unwrap(), ["a", "1", "OK"]);
        assert_eq!(client.reply().unwrap_err().to_string(), "ERR no");
        drop(server.join().unwrap());
    }
}
