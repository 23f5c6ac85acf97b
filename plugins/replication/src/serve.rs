//! A replica's connection after PSYNC or SYNC: the answer, the payload, the stream; its acknowledgements coming back.
//!
//! One task per replica. Reading and writing run side by side and end together; the machine in `primary` decides,
//! this moves bytes. A slow replica's cursor has a limit, and then it is dropped, whatever its socket takes.

use crate::failover;
use crate::filter::{Feed, Reader, TOO_FAR};
use crate::history::History;
use crate::pace::{GATHER, Pace};
use crate::payload::{self, SIGN};
use crate::plugin::{Replication, backlog_of, history_of, to_sdk};
use crate::primary::replconf::{self, Answer, Facts};
use crate::primary::{Action, Event, Limits, Peer, PeerState, Shared};
use crate::psync::{self, Decision, Request, WhyFull};
use crate::units::Offset;
use bytes::Bytes;
use futures::future::{BoxFuture, Either, FutureExt, select};
use futures::io::{AsyncReadExt, AsyncWriteExt, ReadHalf, WriteHalf};
use keystead_plugin::prelude::*;
use keystead_plugin::{Cursor, CursorClass, CursorEnd};
use keystead_resp::{Decoded, Decoder};
use parking_lot::Mutex;
use std::pin::pin;
use std::sync::OnceLock;
use std::sync::atomic::Ordering;
use std::time::Duration;

/// Most bytes of the stream taken from the journal at once.
const STREAM_CHUNK: usize = 256 * 1024;
/// Most bytes of unfinished commands kept from a replica.
const MAX_INBOX: usize = 64 * 1024;

/// Time between two looks whether this node has come up to a replica that is ahead of it.
const BEHIND: Duration = Duration::from_millis(20);

/// What PSYNC without a number is answered.
const WRONG_OFFSET: &str = "ERR value is not an integer or out of range";
/// What a replica is answered that would get the stream of a node without one.
const NOT_CONNECTED: &str = "NOMASTERLINK Can't SYNC while not connected with my master";

/// One replica, as its two halves see it.
pub(crate) struct Replica {
    pub(crate) plugin: Arc<Replication>,
    pub(crate) shared: Arc<Shared>,
    pub(crate) facts: Facts,
    /// The derived history it follows, if it wants only a part.
    pub(crate) feed: Option<Arc<Feed>>,
    peer: Mutex<Peer>,
    generation: u64,
    /// Why its source gives nothing more, once it doesn't.
    ended: Arc<OnceLock<String>>,
}

/// Where the stream comes from.
pub(crate) enum Source {
    /// The journal: the whole.
    Whole(Cursor),
    /// A derived log: what a filter lets through.
    Part(Reader),
}

impl Source {
    async fn read(&mut self) -> Result<Bytes> {
        match self {
            Source::Whole(cursor) => cursor.read(STREAM_CHUNK).await.map_err(|end| Error::new(reason(&end))),
            Source::Part(reader) => reader.read(STREAM_CHUNK).await.map_err(Error::new),
        }
    }

    /// Why it gives nothing more, when it doesn't; lives on its own.
    fn ended(&self) -> BoxFuture<'static, String> {
        match self {
            Source::Whole(cursor) => cursor.ended().map(|end| reason(&end)).boxed(),
            Source::Part(reader) => reader.dropped().boxed(),
        }
    }
}

fn reason(end: &CursorEnd) -> String {
    match end {
        CursorEnd::Behind(_) => TOO_FAR.to_owned(),
        end => end.to_string(),
    }
}

impl Replication {
    /// PSYNC, in its turn: who is refused here stays a client.
    pub(crate) fn may_psync(&self, ctx: &mut Ctx<'_>, args: Args<'_>) -> Result<()> {
        let failover = args.len() > 3 && args.at(3).eq_ignore_ascii_case(b"failover");
        if !failover {
            self.may_sync(ctx, args)?;
        }
        if replconf::number(args.at(2)).is_none() {
            log::warn!("Replica {} asks for synchronization but with a wrong offset", ctx.client().addr);
            return Err(Error::reply(WRONG_OFFSET));
        }
        Ok(())
    }

    /// The same for SYNC.
    pub(crate) fn may_sync(&self, ctx: &mut Ctx<'_>, _args: Args<'_>) -> Result<()> {
        let Some(why) = self.not_now() else { return Ok(()) };
        if why == NOT_CONNECTED {
            self.warn_of_a_loop(ctx);
        }
        Err(Error::reply(why))
    }

    /// Why nobody can be given a stream now. While the role waits for a replica that has everything, those come back whose links
    /// broke: Redis turns them away, and waits for ever for whom it turns away.
    fn not_now(&self) -> Option<&'static str> {
        if matches!(**self.failover.load(), failover::State::InProgress { .. }) {
            return Some("NOMASTERLINK Can't SYNC while failing over");
        }
        (self.target().is_some() && self.link.load().phase != crate::link::Phase::Connected).then_some(NOT_CONNECTED)
    }

    /// `PSYNC replid offset`
    pub(crate) async fn psync(self: Arc<Self>, conn: Conn, args: OwnedArgs) -> Result<()> {
        // `may_psync` has read it once.
        let Some(offset) = replconf::number(args.at(2)) else {
            return refuse(conn, &format!("-{WRONG_OFFSET}\r\n")).await;
        };
        let (request, partial) = Request::parse(args.at(1), offset);
        if args.len() > 3 && args.at(3).eq_ignore_ascii_case(b"failover") {
            let (this, client) = (self.clone(), conn.client().addr.clone());
            let taken = self.host.with_keyspace(move |ctx| this.take_over(ctx, request.replid, &client)).await?;
            if let Err(error) = taken {
                return refuse(conn, &format!("-ERR {}\r\n", error.text())).await;
            }
            // Beside it: the old primary takes no writes until it is answered.
            self.host.spawn(self.save_role());
        }
        self.serve(conn, Some((request, partial))).await
    }

    /// `SYNC`: everything, and no line about where the stream is.
    pub(crate) async fn sync(self: Arc<Self>, conn: Conn, _args: OwnedArgs) -> Result<()> {
        self.serve(conn, None).await
    }

    async fn serve(self: Arc<Self>, mut conn: Conn, request: Option<(Request, bool)>) -> Result<()> {
        let facts: Facts = conn.take_state();
        if let Some((request, true)) = &request
            && (facts.filter.is_none() || self.config().filter.is_some())
        {
            self.come_up_to(&mut conn, request).await?;
        }
        // Asked in the turn too; since then the link may have gone.
        if let Some(why) = self.not_now() {
            return refuse(conn, &format!("-{why}\r\n")).await;
        }
        let client = conn.client().clone();
        if let Some(own) = self.config().filter.as_ref().filter(|own| facts.filter.as_ref() != Some(own))
            && !facts.rdb_only
        {
            // One of Redis asks for the same by SYNC behind the answer, and then again.
            self.host.sleep(payload::HOLD).await;
            return refuse(conn, &format!("-ERR this replica has only what the filter '{own}' lets through\r\n")).await;
        }
        let mut shared = Shared::new(client.id, client.ip().to_string(), &facts);
        shared.acknowledges = request.is_some();
        let shared = Arc::new(shared);
        self.ensure_backlog().await?;
        let name = format!("{}:{}", shared.ip, shared.port);
        let feed = match &facts.filter {
            // What this node has is that part already: its replicas share its stream.
            Some(filter) if self.config().filter.is_none() => match self.feeds.get(&self, filter, &name).await? {
                Some(feed) => Some(feed),
                None => return refuse(conn, &format!("-ERR there is no filter '{filter}' here\r\n")).await,
            },
            _ => None,
        };
        // Listed before the history is read: a change of history behind this line drops us.
        let generation = self.generation();
        let listed = Listed::new(&self, &shared);
        let (source, decision) = match &feed {
            Some(feed) => self.decide_part(&name, request, feed),
            None => self.decide(&name, request).await,
        };
        let now = self.host.now();
        let peer =
            if source.is_some() { Peer::continuing(now, shared.clone()) } else { Peer::waiting(now, shared.clone()) };
        // One that goes on counts at once: min-replicas-to-write waits for it.
        self.refresh_gates();
        let (peer, ended) = (Mutex::new(peer), Arc::default());
        let replica = Replica { plugin: self.clone(), shared, facts, feed, peer, generation, ended };
        let (input, output) = conn.split();
        let writing = pin!(replica.write(output, source, decision));
        let reading = pin!(replica.read(input));
        let watching = pin!(replica.watch());
        let both = pin!(async {
            match select(reading, watching).await {
                Either::Left((why, _)) | Either::Right((why, _)) => why,
            }
        });
        let why = match select(writing, both).await {
            Either::Left((Ok(()), _)) => "done".to_string(),
            Either::Left((Err(error), _)) => error.text().to_string(),
            Either::Right((why, _)) => why,
        };
        drop(listed);
        log::info!("Connection with replica {name} lost: {why}");
        Ok(())
    }

    /// What a replica of ours has that we lack is on its way to us, as behind a restart of this node, whose files are older:
    /// waiting for that costs less than everything. No longer than a replica waits for an answer.
    async fn come_up_to(&self, conn: &mut Conn, request: &Request) -> Result<()> {
        let until = self.host.now() + Duration::from_secs(self.config().timeout_s);
        let mut signed = self.host.now();
        if self.is_behind(request) {
            log::info!("A replica at {} asks for more than this node has yet: it waits for that", conn.client().addr);
        }
        while self.is_behind(request) && self.not_now().is_none() && self.host.now() < until {
            self.host.sleep(BEHIND).await;
            if self.host.now().saturating_sub(signed) >= SIGN {
                signed = self.host.now();
                conn.write_all(b"\n").await?;
                conn.flush().await?;
            }
        }
        Ok(())
    }

    /// The same history is ours, by our primary's stream, but not as much of it.
    fn is_behind(&self, request: &Request) -> bool {
        let journal = self.host.journal();
        let ahead = u64::try_from(request.from).is_ok_and(|from| from > journal.offset.saturating_add(1));
        self.target().is_some() && ahead && request.replid == Some(history_of(&journal).replid)
    }

    /// Two stock nodes that follow each other wait for ever and say nothing. Where one of them is ours, it does.
    fn warn_of_a_loop(&self, ctx: &mut Ctx<'_>) {
        let (client, Some(target)) = (ctx.client(), self.target()) else { return };
        let facts: &Facts = ctx.state();
        let ip = facts.ip_address.clone().unwrap_or_else(|| client.ip().to_string());
        let host = if target.host == "localhost" { "127.0.0.1" } else { &target.host };
        if facts.listening_port == target.port && ip == host && !self.warned_of_loop.swap(true, Ordering::AcqRel) {
            log::warn!("REPLICAOF loop: {ip}:{} follows this node, and this node follows it", target.port);
        }
    }

    /// A cursor at the byte asked for, or none: then it takes everything.
    async fn decide(&self, name: &str, request: Option<(Request, bool)>) -> (Option<Source>, Decided) {
        let Some((request, partial)) = request else {
            log::info!("Replica {name} asks for synchronization (SYNC)");
            self.stats.settle(&self.host).sync_full.fetch_add(1, Ordering::Relaxed);
            return (None, Decided { announce: false, replid: String::new() });
        };
        let journal = self.host.journal();
        let history = history_of(&journal);
        let decided = Decided { announce: true, replid: history.replid.to_string() };
        let mut decision = psync::decide(&request, partial, &history, backlog_of(&journal));
        if let Decision::Continue { from } = decision {
            match self.host.open_cursor(from.0.saturating_sub(1), CursorClass::Replica).await {
                Ok(cursor) => {
                    self.stats.settle(&self.host).sync_partial_ok.fetch_add(1, Ordering::Relaxed);
                    log::info!("Partial resynchronization request from {name} accepted. Sending from offset {from}.");
                    return (Some(Source::Whole(cursor)), decided);
                }
                // The window moved on between the look and the opening.
                Err(_) => decision = Decision::Full { why: WhyFull::TooOld { asked: request.from, first: from } },
            }
        }
        if let Decision::Full { why } = decision {
            let ours = psync::ours(&history, Offset(journal.offset), backlog_of(&journal));
            self.count_full(name, &request, partial, &why, &ours);
        }
        (None, decided)
    }

    /// The same for a replica that wants a part: all is about the derived history.
    fn decide_part(&self, name: &str, request: Option<(Request, bool)>, feed: &Feed) -> (Option<Source>, Decided) {
        let (request, partial) = request.unwrap_or((Request { replid: None, from: -1 }, false));
        let (history, kept) = (History::fresh(feed.replid), feed.backlog());
        let decided = Decided { announce: true, replid: feed.replid.to_string() };
        let mut decision = psync::decide(&request, partial, &history, Some(kept));
        if let Decision::Continue { from } = decision {
            match feed.open(from.0.saturating_sub(1)) {
                Some(reader) => {
                    self.stats.settle(&self.host).sync_partial_ok.fetch_add(1, Ordering::Relaxed);
                    log::info!(
                        "Partial resynchronization request from {name} accepted. Sending from offset {from} of filter '{}'.",
                        feed.name
                    );
                    return (Some(Source::Part(reader)), decided);
                }
                None => decision = Decision::Full { why: WhyFull::TooOld { asked: request.from, first: from } },
            }
        }
        if let Decision::Full { why } = decision {
            let ours = psync::ours(&history, Offset(feed.end()), Some(kept)) + &format!(" of filter '{}'", feed.name);
            self.count_full(name, &request, partial, &why, &ours);
        }
        (None, decided)
    }

    /// Counts a full resync and says why, in one line with both histories.
    fn count_full(&self, name: &str, request: &Request, partial: bool, why: &WhyFull, ours: &str) {
        let stats = self.stats.settle(&self.host);
        if partial {
            stats.sync_partial_err.fetch_add(1, Ordering::Relaxed);
            log::info!("Partial resynchronization not accepted for {name}: {why}. It has {request}; {ours}");
        } else {
            log::info!("Full resync requested by replica {name}");
        }
        stats.sync_full.fetch_add(1, Ordering::Relaxed);
    }

    /// The first replica makes the backlog. What went before was kept by nobody, so the history gets a new name.
    async fn ensure_backlog(self: &Arc<Self>) -> Result<()> {
        let _alone = self.first_replica.lock().await;
        if self.host.journal().active {
            return Ok(());
        }
        self.host.set_backlog(self.config().backlog_size).await?;
        let this = self.clone();
        let named = self.host.with_keyspace(move |ctx| {
            // A replica's is its primary's, also if it became one just now.
            if this.target().is_some() {
                return Ok(None);
            }
            let mut history = history_of(&ctx.journal());
            history.forget(this.new_name());
            ctx.rebase(&to_sdk(&history, None)).map(|()| Some(history.replid))
        });
        if let Some(name) = named.await?? {
            log::info!("Replication backlog created, my new replication ID is '{name}'");
        }
        Ok(())
    }
}

/// What was decided, beside the cursor.
pub(crate) struct Decided {
    /// Answer with `+CONTINUE` or `+FULLRESYNC`; SYNC wants neither.
    pub(crate) announce: bool,
    /// Our history at that moment.
    replid: String,
}

/// In the list of replicas, until dropped.
struct Listed<'a> {
    plugin: &'a Replication,
    shared: Arc<Shared>,
}

impl<'a> Listed<'a> {
    fn new(plugin: &'a Replication, shared: &Arc<Shared>) -> Listed<'a> {
        plugin.registry.add(shared);
        Listed { plugin, shared: shared.clone() }
    }
}

impl Drop for Listed<'_> {
    fn drop(&mut self) {
        self.plugin.registry.remove(&self.shared);
        self.plugin.refresh_gates();
        self.plugin.bell.ring();
    }
}

async fn refuse(mut conn: Conn, line: &str) -> Result<()> {
    conn.write_all(line.as_bytes()).await?;
    conn.flush().await?;
    Ok(())
}

impl Replica {
    /// Reports an event to the machine; the writer looks at the published state, so the bell is rung.
    pub(crate) fn step(&self, event: Event) -> Option<Action> {
        let limits = Limits { timeout: Duration::from_secs(self.plugin.config().timeout_s) };
        let before = self.shared.state();
        let action = self.peer.lock().step(self.plugin.host.now(), limits, event);
        if before != self.shared.state() {
            self.plugin.refresh_gates();
        } else if matches!(event, Event::Ack(_)) {
            self.plugin.refresh_good_replicas();
        }
        if matches!(event, Event::Ack(_)) || action.is_some() {
            self.plugin.bell.ring();
        }
        action
    }

    /// Looks after the end of its source: the writer doesn't see it while the replica takes nothing.
    pub(crate) fn look_after(&self, source: &mut Source) {
        if let Source::Whole(cursor) = source {
            cursor.set_name(&format!("Replica {}:{}", self.shared.ip, self.shared.port));
        }
        let (plugin, ended, end) = (self.plugin.clone(), self.ended.clone(), source.ended());
        self.plugin.host.spawn(async move {
            // The first and only one.
            let _ = ended.set(end.await);
            plugin.bell.ring();
        });
    }

    /// Everything that goes out.
    async fn write(&self, mut out: WriteHalf<Conn>, source: Option<Source>, decided: Decided) -> Result<()> {
        let mut source = match source {
            Some(mut source) => {
                self.look_after(&mut source);
                let line = if self.facts.psync2 {
                    format!("+CONTINUE {}\r\n", decided.replid)
                } else {
                    "+CONTINUE\r\n".into()
                };
                out.write_all(line.as_bytes()).await?;
                source
            }
            None => {
                let source = payload::send(self, &mut out, decided.announce).await?;
                self.plugin.bell.until(|| (self.shared.state() == PeerState::Online).then_some(())).await;
                log::info!("Synchronization with replica {}:{} succeeded", self.shared.ip, self.shared.port);
                source
            }
        };
        let (mut catching_up, mut pace) = (true, Pace::default());
        loop {
            if catching_up && self.caught_up(&source) {
                catching_up = false;
                match &mut source {
                    Source::Whole(cursor) => cursor.set_class(CursorClass::Replica),
                    Source::Part(reader) => reader.online(),
                }
            }
            let bytes = source.read().await?;
            out.write_all(&bytes).await?;
            out.flush().await?;
            self.plugin.stats.traffic.sent.add(bytes.len());
            if pace.sent(self.plugin.host.now(), bytes.len())
                && let Source::Whole(cursor) = &source
                && cursor.place().is_some()
            {
                self.gather(cursor.offset()).await;
                pace.gathered(self.plugin.host.now());
            }
        }
    }

    /// Lets a fast stream grow, unless somebody waits for an acknowledgement of what is behind `sent`.
    async fn gather(&self, sent: u64) {
        let (plugin, host) = (&self.plugin, self.plugin.host);
        let (round, first) = plugin.gathering.join();
        if first {
            let plugin = plugin.clone();
            host.spawn(async move {
                host.sleep(GATHER).await;
                plugin.gathering.end();
                plugin.bell.ring();
            });
        }
        let asked = || plugin.getack_at.load(Ordering::Acquire) > sent;
        let go = || (plugin.gathering.is_over(round) || asked()).then_some(());
        plugin.bell.until(go).await;
    }

    /// Until a replica has caught up once behind its full sync, writers are paced for it at its limit, and it is dropped only
    /// at twice of that. Else a sync under many writes would be followed by the next one.
    fn caught_up(&self, source: &Source) -> bool {
        let behind = match source {
            Source::Whole(cursor) => self.plugin.host.journal_offset().saturating_sub(cursor.offset()),
            Source::Part(reader) => reader.behind(),
        };
        behind <= self.plugin.config().backlog_size
    }

    /// Everything that comes back; the reason why nothing more will.
    async fn read(&self, mut input: ReadHalf<Conn>) -> String {
        let mut decoder = Decoder::new();
        let limits = keystead_resp::Limits { max_bulk: MAX_INBOX as u64, ..keystead_resp::Limits::default() };
        let mut inbox = Vec::new();
        let mut chunk = [0u8; 4096];
        loop {
            match input.read(&mut chunk).await {
                Ok(0) => return "the replica closed the connection".into(),
                Ok(n) => inbox.extend_from_slice(&chunk[..n]),
                Err(error) => return error.to_string(),
            }
            loop {
                let (consumed, words): (usize, Vec<Vec<u8>>) = match decoder.decode(&inbox, &limits) {
                    Ok(Decoded::Need(_)) if inbox.len() > MAX_INBOX => return "the replica says too much".into(),
                    Ok(Decoded::Need(_)) => break,
                    Ok(Decoded::Skip(n)) => (n, Vec::new()),
                    Ok(Decoded::Command { consumed, args, .. }) => {
                        (consumed, keystead_resp::Args::new(&inbox, &args).iter().map(<[u8]>::to_vec).collect())
                    }
                    Ok(Decoded::Inline { consumed, args }) => {
                        (consumed, args.view().iter().map(<[u8]>::to_vec).collect())
                    }
                    Err(error) => return format!("protocol error from the replica: {error}"),
                };
                inbox.drain(..consumed);
                if let Some(name) = words.first().filter(|name| !name.eq_ignore_ascii_case(b"REPLCONF")) {
                    let name = name.to_ascii_lowercase();
                    let name = name.escape_ascii();
                    return format!(
                        "Replica generated a reply to command '{name}', disconnecting it: replicas say REPLCONF"
                    );
                }
                self.said(&words);
            }
        }
    }

    /// One REPLCONF of the replica, or an empty line. Nothing is ever answered here.
    fn said(&self, words: &[Vec<u8>]) {
        if words.is_empty() {
            self.step(Event::SignOfLife);
            return;
        }
        let args: Vec<&[u8]> = words[1..].iter().map(Vec::as_slice).collect();
        if let Answer::Ack { offset, fsynced } = replconf::handle(&mut Facts::default(), &args) {
            // Nobody can have more than was written; such a number would satisfy every WAIT.
            let most = self.feed.as_ref().map_or_else(|| self.plugin.host.journal_offset(), |feed| feed.end());
            if let Some(fsynced) = fsynced {
                self.shared.fsynced(Offset(fsynced.0.min(most)));
            }
            self.step(Event::Ack(Offset(offset.0.min(most))));
        }
    }

    /// Why it must go, whatever its socket does.
    fn must_go(&self) -> Option<String> {
        if self.plugin.generation() != self.generation {
            return Some("the history changed, it must ask again".into());
        }
        self.ended.get().cloned()
    }

    /// Timeouts, the end of its source, changes of the history and of its filter; the reason to end.
    async fn watch(&self) -> String {
        let name = format!("{}:{}", self.shared.ip, self.shared.port);
        loop {
            let gone = self.plugin.bell.until(|| self.must_go());
            if let Some(why) = self.plugin.host.timeout(Duration::from_secs(1), gone).await {
                return why;
            }
            if let Some(feed) = &self.feed
                && let Some(why) = self.plugin.feeds.changed(&self.plugin, feed, &name).await
            {
                return why.into();
            }
            // Newlines are the writer's: it knows when the connection is idle.
            if self.shared.state() != PeerState::WaitBgsave
                && let Some(Action::Close(why)) = self.step(Event::Tick)
            {
                return why.into();
            }
        }
    }
}
