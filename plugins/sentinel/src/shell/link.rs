//! One link: a task that connects, authenticates, and then carries requests out and answers back (command link) or
//! listens to the hello channel (feed). Owns its socket. Never reconnects: the machine says when.

use super::driver::Input;
use crate::actions::Event;
use crate::types::{Addr, InstanceId, Kind, Lane};
use crate::wire::{HELLO_CHANNEL, Reply, Request};
use futures::channel::mpsc;
use futures::io::{ReadHalf, WriteHalf};
use futures::{AsyncReadExt, AsyncWriteExt, SinkExt, StreamExt};
use keystead_plugin::{Host, Io, Task};
use keystead_resp::{Proto, Reply as Resp, ReplyDecoder, ReplyLimits, Writer};
use std::collections::{BTreeMap, VecDeque};

/// Requests that wait for the socket; the machine keeps fewer without an answer.
const QUEUE: usize = 256;
/// INFO of a node with a thousand replicas is far below this.
const MAX_REPLY: usize = 4 << 20;
const READ: usize = 16 << 10;

/// To whom, and under which numbers.
#[derive(Clone, Debug)]
pub(crate) struct Target {
    pub(crate) instance: InstanceId,
    pub(crate) lane: Lane,
    pub(crate) generation: u64,
    pub(crate) addr: Addr,
    pub(crate) auth: Option<(Option<String>, String)>,
    pub(crate) kind: Kind,
    pub(crate) renamed: BTreeMap<String, String>,
}

/// The driver's end of a link. Dropping it ends the link.
pub(crate) struct LinkHandle {
    generation: u64,
    requests: mpsc::Sender<(Request, u64)>,
    task: Option<Task>,
}

impl LinkHandle {
    /// Queues a request for this incarnation. A full queue loses it: the link is stuck, and the machine will notice.
    pub(crate) fn send(&mut self, generation: u64, request: Request, round: u64) {
        if self.generation == generation && self.requests.try_send((request, round)).is_err() {
            log::debug!("a request was dropped: its link is stuck or gone");
        }
    }
}

impl Drop for LinkHandle {
    fn drop(&mut self) {
        if let Some(task) = self.task.take() {
            task.cancel();
        }
    }
}

/// Opens a link; what becomes of it the driver hears as events.
pub(crate) fn open(host: Host, target: Target, name: String, mut inbox: mpsc::Sender<Input>) -> LinkHandle {
    let (requests, queued) = mpsc::channel(QUEUE);
    let generation = target.generation;
    let task = host.spawn(async move {
        let Target { instance, lane, generation, .. } = target;
        let (kind, addr) = (target.kind, target.addr.clone());
        let mut refused = false;
        if let Err(error) = serve(host, target, name, queued, &mut inbox).await {
            log::debug!("{:?} link to {} {addr}: {error}", lane, kind.wire_name());
            // The boundary tells errors in words: these are the system's for ECONNREFUSED.
            refused = error.contains("Connection refused");
        }
        // Fails only when the driver has ended.
        let _ = inbox.send(Input::Event(Event::LinkDown { instance, lane, generation, refused })).await;
    });
    LinkHandle { generation, requests, task: Some(task) }
}

async fn serve(
    host: Host,
    target: Target,
    name: String,
    requests: mpsc::Receiver<(Request, u64)>,
    inbox: &mut mpsc::Sender<Input>,
) -> Result<(), String> {
    let Target { instance, lane, generation, addr, auth, renamed, .. } = target;
    let put = |out: &mut Vec<u8>, words: &[String]| put(out, words, &renamed);
    let io: Io = host.link_connect(&addr.host, addr.port).await.map_err(|error| error.text().to_owned())?;
    let local = io.local_addr();
    let local_ip = local.rsplit_once(':').map_or(local.as_str(), |(ip, _)| ip).trim_matches(['[', ']']).to_owned();
    let (read, mut write) = io.split();
    let mut hello = Vec::new();
    let mut greetings = 1;
    if let Some((user, password)) = auth {
        greetings += 1;
        let mut words = vec!["AUTH".to_owned()];
        words.extend(user);
        words.push(password);
        put(&mut hello, &words);
    }
    let suffix = if lane == Lane::Command { "cmd" } else { "pubsub" };
    put(&mut hello, &["CLIENT".into(), "SETNAME".into(), format!("{name}-{suffix}")]);
    if lane == Lane::Feed {
        put(&mut hello, &["SUBSCRIBE".into(), HELLO_CHANNEL.into()]);
    }
    write.write_all(&hello).await.map_err(|error| error.to_string())?;
    write.flush().await.map_err(|error| error.to_string())?;
    let up = Event::LinkUp { instance, lane, generation, local_ip };
    inbox.send(Input::Event(up)).await.map_err(|error| error.to_string())?;
    let reader = Reader { io: read, decoder: decoder(), buffer: Vec::new(), start: 0 };
    match lane {
        Lane::Command => commands(reader, write, requests, (instance, generation), (greetings, &renamed), inbox).await,
        Lane::Feed => feed(reader, (instance, generation), inbox).await,
    }
}

/// Requests out, answers back in order. The first answers belong to the greeting.
async fn commands(
    mut reader: Reader,
    mut write: WriteHalf<Io>,
    mut requests: mpsc::Receiver<(Request, u64)>,
    (instance, generation): (InstanceId, u64),
    (greetings, renamed): (usize, &BTreeMap<String, String>),
    inbox: &mut mpsc::Sender<Input>,
) -> Result<(), String> {
    let mut open: VecDeque<(Option<(Request, u64)>, usize)> = VecDeque::from([(None, greetings)]);
    loop {
        let answer = futures::select_biased! {
            request = requests.next() => {
                let Some((request, round)) = request else { return Ok(()) };
                let mut out = Vec::new();
                let commands = request.commands();
                commands.iter().for_each(|words| put(&mut out, words, renamed));
                open.push_back((Some((request, round)), commands.len()));
                write.write_all(&out).await.map_err(|error| error.to_string())?;
                write.flush().await.map_err(|error| error.to_string())?;
                continue;
            }
            answer = futures::FutureExt::fuse(reader.next()) => answer?,
        };
        let Some((asked, left)) = open.front_mut() else { return Err("a reply to nothing".into()) };
        *left -= 1;
        if asked.is_none() {
            // AUTH or CLIENT SETNAME: a node that wants no password, or has forgotten this user, says so, and may answer
            // all the same. One that doesn't answers the first ping with NOAUTH.
            if let Some(error) = answer.error() {
                log::debug!("greeting: {error}");
            }
        }
        if *left > 0 {
            continue;
        }
        let Some((asked, _)) = open.pop_front() else { continue };
        if let Some((request, round)) = asked {
            let event = Event::Answer { instance, generation, request, reply: convert(answer), round };
            inbox.send(Input::Event(event)).await.map_err(|error| error.to_string())?;
        }
    }
}

/// Messages of the hello channel.
async fn feed(
    mut reader: Reader,
    (instance, generation): (InstanceId, u64),
    inbox: &mut mpsc::Sender<Input>,
) -> Result<(), String> {
    loop {
        let reply = reader.next().await?;
        let text = match reply.items() {
            Some([kind, _, text]) if kind.bytes() == Some(b"message") => {
                text.bytes().map(|bytes| String::from_utf8_lossy(bytes).into_owned())
            }
            _ => None,
        };
        let event = Event::Feed { instance, generation, text };
        inbox.send(Input::Event(event)).await.map_err(|error| error.to_string())?;
    }
}

fn decoder() -> ReplyDecoder {
    ReplyDecoder::new(ReplyLimits { max_bytes: MAX_REPLY, max_depth: 8 })
}

struct Reader {
    io: ReadHalf<Io>,
    decoder: ReplyDecoder,
    buffer: Vec<u8>,
    start: usize,
}

impl Reader {
    /// The next reply. Nothing is lost when the future is dropped: bytes are taken into the buffer in one step.
    async fn next(&mut self) -> Result<Resp, String> {
        loop {
            if let Some((used, reply)) = self.decoder.decode(&self.buffer[self.start..]).map_err(|e| e.to_string())? {
                self.start += used;
                if self.start == self.buffer.len() {
                    self.buffer.clear();
                    self.start = 0;
                }
                return Ok(reply);
            }
            if self.start > 0 {
                self.buffer.drain(..self.start);
                self.start = 0;
            }
            let mut chunk = [0; READ];
            let count = self.io.read(&mut chunk).await.map_err(|error| error.to_string())?;
            if count == 0 {
                return Err("closed by the other side".into());
            }
            self.buffer.extend_from_slice(&chunk[..count]);
        }
    }
}

/// A command, under the name that it has there.
fn put(out: &mut Vec<u8>, words: &[String], renamed: &BTreeMap<String, String>) {
    let mut words: Vec<&[u8]> = words.iter().map(String::as_bytes).collect();
    if let Some(name) = words.first().and_then(|name| renamed.get(std::str::from_utf8(name).ok()?)) {
        words[0] = name.as_bytes();
    }
    Writer::new(out, Proto::Resp2).command(&words);
}

fn convert(reply: Resp) -> Reply {
    if let Some(text) = reply.error() {
        return Reply::Error(text.to_owned());
    }
    if let Some(n) = reply.int() {
        return Reply::Int(n);
    }
    if let Some(items) = reply.items() {
        return Reply::Array(items.iter().cloned().map(convert).collect());
    }
    match (&reply, reply.bytes()) {
        (Resp::Simple(_), Some(bytes)) => Reply::Status(String::from_utf8_lossy(bytes).into_owned()),
        (_, Some(bytes)) => Reply::Bulk(String::from_utf8_lossy(bytes).into_owned()),
        _ => Reply::Null,
    }
}
