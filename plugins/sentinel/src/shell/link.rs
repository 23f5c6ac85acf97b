//! One link: a task that connects, authenticates, and then carries requests out and answers back (command link) or
//! listens to the hello channel (feed). Owns its socket. Never reconnects: the machine says when. Who is on it is the
//! business of lines.rs; the answer goes to whoever asked.

use super::driver::Input;
use super::lines::News;
use crate::actions::{Event, Fall};
use crate::types::{Addr, InstanceId, Kind, Lane};
use crate::wire::{HELLO_CHANNEL, Reply, Request};
use futures::channel::mpsc;
use futures::io::{ReadHalf, WriteHalf};
use futures::{AsyncRead, AsyncReadExt, AsyncWriteExt, SinkExt, StreamExt};
use keystead_plugin::{Host, Io, Task};
use keystead_resp::{Proto, Reply as Resp, ReplyDecoder, ReplyLimits, Writer};
use std::collections::{BTreeMap, VecDeque};
use std::future::poll_fn;
use std::io;
use std::pin::Pin;
use std::task::Poll;

/// Requests that are written at once at most.
const BATCH: usize = 64;
/// INFO of a node with a thousand replicas is far below this.
const MAX_REPLY: usize = 4 << 20;
/// What a read has room for: a PONG or a hello at first, so that a link that waits holds little, and as much again as
/// there is while a longer reply comes in, up to the second.
const READ: usize = 512;
const READ_MAX: usize = 16 << 10;

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

/// A request and who wants its answer.
#[derive(Clone, Debug)]
pub(crate) struct Asked {
    pub(crate) instance: InstanceId,
    pub(crate) generation: u64,
    pub(crate) request: Request,
    pub(crate) round: u64,
}

/// The driver's end of a link. Dropping it ends the link.
pub(crate) struct Link {
    requests: mpsc::UnboundedSender<Asked>,
    task: Option<Task>,
}

impl Link {
    /// Queues a request. The machine keeps few for each instance without an answer, so the queue needs no limit of its own.
    pub(crate) fn send(&self, asked: Asked) {
        if self.requests.unbounded_send(asked).is_err() {
            log::debug!("a request was dropped: its link is gone");
        }
    }
}

impl Drop for Link {
    fn drop(&mut self) {
        if let Some(task) = self.task.take() {
            task.cancel();
        }
    }
}

/// Opens a link; what becomes of it the driver hears under this number.
pub(crate) fn open(host: Host, number: u64, target: Target, name: String, mut inbox: mpsc::Sender<Input>) -> Link {
    let (requests, queued) = mpsc::unbounded();
    let task = host.spawn(async move {
        let (lane, kind, addr) = (target.lane, target.kind, target.addr.clone());
        let fall = match serve(host, (number, target), name, queued, &mut inbox).await {
            Ok(()) => Fall::Gone(String::new()),
            Err(fall) => {
                log::debug!("{:?} link to {} {addr}: {fall:?}", lane, kind.wire_name());
                fall
            }
        };
        // Fails only when the driver has ended.
        let _ = inbox.send(Input::Line(number, News::Down(fall))).await;
    });
    Link { requests, task: Some(task) }
}

/// The boundary tells errors in words: these are the system's for ECONNREFUSED, EMFILE and ENFILE.
impl From<String> for Fall {
    fn from(error: String) -> Fall {
        match () {
            () if error.contains("Connection refused") => Fall::Refused,
            () if error.contains("Too many open files") => Fall::Unable(error),
            () => Fall::Gone(error),
        }
    }
}

async fn serve(
    host: Host,
    (number, target): (u64, Target),
    name: String,
    requests: mpsc::UnboundedReceiver<Asked>,
    inbox: &mut mpsc::Sender<Input>,
) -> Result<(), Fall> {
    let Target { instance, lane, generation, addr, auth, renamed, kind } = target;
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
    inbox.send(Input::Line(number, News::Up(local_ip))).await.map_err(|error| error.to_string())?;
    let reader = Reader { io: read, decoder: decoder(), buffer: Vec::new(), start: 0 };
    match lane {
        Lane::Command => {
            let shared = (kind == Kind::Sentinel).then_some(number);
            commands(reader, write, requests, shared, (greetings, &renamed), inbox).await
        }
        Lane::Feed => Ok(feed(reader, (instance, generation), greetings, inbox).await?),
    }
}

/// What is on its way: who asked, and how many replies are still to come. The greeting's nobody waits for.
struct Open {
    asked: Vec<Asked>,
    left: usize,
}

/// What was said on a link. Who turns this sentinel away (protected mode, no more clients) gives an error, nothing else, and
/// closes.
#[derive(Default)]
struct Said {
    refusal: Option<String>,
    answered: bool,
}

impl Said {
    fn hear(&mut self, answer: &Resp) {
        match answer.error() {
            Some(error) => self.refusal = Some(error.to_owned()),
            None => self.answered = true,
        }
    }
}

/// The command link until it ends, and why it does.
async fn commands(
    mut reader: Reader,
    write: WriteHalf<Io>,
    requests: mpsc::UnboundedReceiver<Asked>,
    shared: Option<u64>,
    names: (usize, &BTreeMap<String, String>),
    inbox: &mut mpsc::Sender<Input>,
) -> Result<(), Fall> {
    let mut said = Said::default();
    let Err(error) = exchange((&mut reader, write), requests, shared, names, &mut said, inbox).await else {
        return Ok(());
    };
    // A write fails before that is read which the other side said and closed.
    while !said.answered
        && let Ok(answer) = reader.next().await
    {
        said.hear(&answer);
    }
    Err(match said.refusal.filter(|_| !said.answered) {
        Some(refusal) => Fall::TurnedAway(refusal),
        None => error.into(),
    })
}

/// Requests out, answers back in order. The first answers belong to the greeting. On a link that others may share they
/// are told that it lives.
async fn exchange(
    (reader, mut write): (&mut Reader, WriteHalf<Io>),
    mut requests: mpsc::UnboundedReceiver<Asked>,
    shared: Option<u64>,
    (greetings, renamed): (usize, &BTreeMap<String, String>),
    said: &mut Said,
    inbox: &mut mpsc::Sender<Input>,
) -> Result<(), String> {
    let mut open = VecDeque::from([Open { asked: Vec::new(), left: greetings }]);
    loop {
        let answer = futures::select_biased! {
            asked = requests.next() => {
                let Some(asked) = asked else { return Ok(()) };
                let mut out = Vec::new();
                ask(asked, &mut open, &mut out, renamed);
                for _ in 1..BATCH {
                    let Ok(asked) = requests.try_recv() else { break };
                    ask(asked, &mut open, &mut out, renamed);
                }
                write.write_all(&out).await.map_err(|error| error.to_string())?;
                write.flush().await.map_err(|error| error.to_string())?;
                continue;
            }
            answer = futures::FutureExt::fuse(reader.next()) => answer?,
        };
        said.hear(&answer);
        let Some(front) = open.front_mut() else { return Err("a reply to nothing".into()) };
        front.left -= 1;
        if front.asked.is_empty() {
            // AUTH or CLIENT SETNAME: a node that wants no password, or has forgotten this user, says so, and may answer
            // all the same. One that doesn't answers the first ping with NOAUTH.
            if let Some(error) = answer.error() {
                log::debug!("greeting: {error}");
            }
        }
        if front.left > 0 {
            continue;
        }
        let Some(Open { asked, .. }) = open.pop_front() else { continue };
        let answer = convert(answer);
        let alive = shared.filter(|_| answer.text() == Some("PONG"));
        for Asked { instance, generation, request, round } in asked {
            let event = Event::Answer { instance, generation, request, reply: answer.clone(), round };
            inbox.send(Input::Event(event)).await.map_err(|error| error.to_string())?;
        }
        if let Some(number) = alive {
            inbox.send(Input::Line(number, News::Pong)).await.map_err(|error| error.to_string())?;
        }
    }
}

/// Writes a request down, unless the same question is on its way: then its answer is for both.
fn ask(asked: Asked, open: &mut VecDeque<Open>, out: &mut Vec<u8>, renamed: &BTreeMap<String, String>) {
    if matches!(asked.request, Request::Ping | Request::InfoServer) {
        let same = |o: &&mut Open| o.asked.first().is_some_and(|first| first.request == asked.request);
        if let Some(on_its_way) = open.iter_mut().find(same) {
            on_its_way.asked.push(asked);
            return;
        }
    }
    let commands = asked.request.commands();
    commands.iter().for_each(|words| put(out, words, renamed));
    open.push_back(Open { left: commands.len(), asked: vec![asked] });
}

/// Messages of the hello channel, behind the answers to the greeting (AUTH, CLIENT SETNAME) and to SUBSCRIBE.
async fn feed(
    mut reader: Reader,
    (instance, generation): (InstanceId, u64),
    greetings: usize,
    inbox: &mut mpsc::Sender<Input>,
) -> Result<(), String> {
    for _ in 0..greetings {
        // What was wrong with it the command link is told.
        reader.next().await?;
    }
    loop {
        let reply = reader.next().await?;
        if let Some(error) = reply.error() {
            let event = Event::FeedRefused { instance, generation, error: error.to_owned() };
            inbox.send(Input::Event(event)).await.map_err(|error| error.to_string())?;
            continue;
        }
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
            if self.fill().await.map_err(|error| error.to_string())? == 0 {
                return Err("closed by the other side".into());
            }
        }
    }

    /// Reads once, behind what is there.
    async fn fill(&mut self) -> io::Result<usize> {
        let Reader { io, buffer, .. } = self;
        let had = buffer.len();
        if had == 0 && buffer.capacity() > READ_MAX {
            *buffer = Vec::new();
        }
        poll_fn(|cx| {
            buffer.resize(had + had.clamp(READ, READ_MAX), 0);
            let polled = Pin::new(&mut *io).poll_read(cx, &mut buffer[had..]);
            let count = if let Poll::Ready(Ok(count)) = polled { count } else { 0 };
            buffer.truncate(had + count);
            polled
        })
        .await
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_question_that_is_on_its_way_is_not_asked_twice() {
        let asked = |instance, request| Asked { instance: InstanceId(instance), generation: 1, request, round: 0 };
        let (mut open, mut out) = (VecDeque::new(), Vec::new());
        for request in [asked(1, Request::Ping), asked(2, Request::Ping), asked(2, Request::Hello("h".into()))] {
            ask(request, &mut open, &mut out, &BTreeMap::new());
        }
        ask(asked(3, Request::Hello("h".into())), &mut open, &mut out, &BTreeMap::new());
        let text = String::from_utf8(out).unwrap();
        assert_eq!((text.matches("PING").count(), text.matches("PUBLISH").count()), (1, 2));
        assert_eq!(open.iter().map(|o| o.asked.len()).collect::<Vec<_>>(), [2, 1, 1]);
    }
}
