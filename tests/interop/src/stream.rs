//! Two ends of the replication wire made by hand: a replica that only listens to a primary, and a primary that plays a
//! stream back to a stock replica. Blocking sockets and plain code on purpose: nothing here is the server's own.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::time::Duration;

const LIMIT: Duration = Duration::from_secs(30);
const MARK: usize = 40;

/// A replica that takes the full sync and then collects the stream, byte for byte.
#[derive(Debug)]
pub struct Tap {
    input: BufReader<TcpStream>,
    output: TcpStream,
    /// The primary's history.
    pub replid: String,
    /// The offset that the full sync stands for.
    pub start: u64,
    /// The full sync's RDB.
    pub rdb: Vec<u8>,
    /// Everything behind it so far.
    stream: Vec<u8>,
}

impl Tap {
    /// Attaches to the primary at this port of loopback.
    pub fn attach(port: u16) -> io::Result<Tap> {
        let output = TcpStream::connect(("127.0.0.1", port))?;
        output.set_nodelay(true)?;
        output.set_read_timeout(Some(LIMIT))?;
        let mut tap = Tap {
            input: BufReader::new(output.try_clone()?),
            output,
            replid: String::new(),
            start: 0,
            rdb: Vec::new(),
            stream: Vec::new(),
        };
        tap.ask("PING\r\n")?;
        tap.ask("REPLCONF listening-port 1\r\n")?;
        tap.ask("REPLCONF capa eof capa psync2\r\n")?;
        let answer = tap.ask("PSYNC ? -1\r\n")?;
        let fields: Vec<&str> = answer.split_whitespace().collect();
        let [_, replid, offset] = fields[..] else { return Err(nonsense(&answer)) };
        tap.start = offset.parse().map_err(|_| nonsense(&answer))?;
        tap.replid = replid.to_owned();
        tap.rdb = tap.read_rdb()?;
        tap.acknowledge(tap.start)?;
        Ok(tap)
    }

    fn ask(&mut self, request: &str) -> io::Result<String> {
        self.output.write_all(request.as_bytes())?;
        let line = self.line()?;
        if line.starts_with('+') { Ok(line) } else { Err(nonsense(&line)) }
    }

    /// The next line that isn't empty: empty ones only keep the link alive.
    fn line(&mut self) -> io::Result<String> {
        loop {
            let mut line = String::new();
            if self.input.read_line(&mut line)? == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            let line = line.trim_end();
            if !line.is_empty() {
                return Ok(line.to_owned());
            }
        }
    }

    fn read_rdb(&mut self) -> io::Result<Vec<u8>> {
        let header = self.line()?;
        let Some(mark) = header.strip_prefix("$EOF:") else {
            let len = header.strip_prefix('$').and_then(|len| len.parse().ok()).ok_or_else(|| nonsense(&header))?;
            let mut rdb = vec![0; len];
            self.input.read_exact(&mut rdb)?;
            return Ok(rdb);
        };
        let mut rdb = Vec::new();
        loop {
            // The mark's last byte may stand anywhere: read up to it and compare.
            self.input.read_until(mark.as_bytes()[MARK - 1], &mut rdb)?;
            if rdb.ends_with(mark.as_bytes()) {
                rdb.truncate(rdb.len() - MARK);
                return Ok(rdb);
            }
        }
    }

    /// Tells the primary how far this replica is.
    pub fn acknowledge(&mut self, offset: u64) -> io::Result<()> {
        let text = offset.to_string();
        write!(self.output, "*3\r\n$8\r\nREPLCONF\r\n$3\r\nACK\r\n${}\r\n{text}\r\n", text.len())
    }

    /// The offset up to which the stream was collected.
    pub fn offset(&self) -> u64 {
        self.start + self.stream.len() as u64
    }

    /// The stream from `from` to `to`, waiting for it. More than `to` is an error: the primary's offset lags behind
    /// what it sends.
    pub fn between(&mut self, from: u64, to: u64) -> io::Result<&[u8]> {
        while self.offset() < to {
            let available = self.input.fill_buf()?;
            if available.is_empty() {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            let len = available.len();
            self.stream.extend_from_slice(available);
            self.input.consume(len);
        }
        self.acknowledge(to)?;
        Ok(&self.stream[(from - self.start) as usize..(to - self.start) as usize])
    }

    /// Everything collected so far.
    pub fn collected(&self) -> &[u8] {
        &self.stream
    }
}

/// A primary that a stock replica follows, and that sends what it is told.
#[derive(Debug)]
pub struct Player {
    listener: TcpListener,
    replica: Option<TcpStream>,
}

impl Player {
    /// Listens on a free port of loopback.
    pub fn listen() -> io::Result<Player> {
        Ok(Player { listener: TcpListener::bind(("127.0.0.1", 0))?, replica: None })
    }

    /// Where replicas find it.
    pub fn port(&self) -> io::Result<u16> {
        Ok(self.listener.local_addr()?.port())
    }

    /// Takes the next replica and gives it a full sync.
    pub fn serve(&mut self, replid: &str, offset: u64, rdb: &[u8]) -> io::Result<()> {
        let (mut socket, _) = self.listener.accept()?;
        socket.set_read_timeout(Some(LIMIT))?;
        let mut input = BufReader::new(socket.try_clone()?);
        loop {
            let request = read_request(&mut input)?;
            match request.first().map(|name| name.to_ascii_uppercase()).as_deref() {
                Some("PING") => socket.write_all(b"+PONG\r\n")?,
                Some("REPLCONF") => socket.write_all(b"+OK\r\n")?,
                Some("PSYNC") => break,
                _ => socket.write_all(b"-ERR unknown command\r\n")?,
            }
        }
        write!(socket, "+FULLRESYNC {replid} {offset}\r\n${}\r\n", rdb.len())?;
        socket.write_all(rdb)?;
        self.replica = Some(socket);
        Ok(())
    }

    /// Sends bytes of the stream.
    pub fn play(&mut self, bytes: &[u8]) -> io::Result<()> {
        match &mut self.replica {
            Some(replica) => replica.write_all(bytes),
            None => Err(io::ErrorKind::NotConnected.into()),
        }
    }
}

fn read_request(input: &mut impl BufRead) -> io::Result<Vec<String>> {
    let count = header(input, '*')?;
    let mut request = Vec::new();
    for _ in 0..count {
        let mut arg = vec![0; header(input, '$')? + 2];
        input.read_exact(&mut arg)?;
        arg.truncate(arg.len() - 2);
        request.push(String::from_utf8_lossy(&arg).into_owned());
    }
    Ok(request)
}

fn header(input: &mut impl BufRead, kind: char) -> io::Result<usize> {
    let mut line = String::new();
    input.read_line(&mut line)?;
    line.trim_end().strip_prefix(kind).and_then(|n| n.parse().ok()).ok_or_else(|| nonsense(&line))
}

fn nonsense(what: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, format!("unexpected on the replication wire: {what:?}"))
}
