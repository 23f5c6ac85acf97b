//! The task behind a filter: reads the journal, rewrites it, fills the derived log. One for each filter that is followed.
//!
//! It begins with the first replica that asks for the filter and ends when none came for `repl-backlog-ttl`, when the
//! journal's history changes, or when something happened that no stream of the part can say. With it ends the derived history: its
//! replicas come again and take everything under a new id.

use super::log::{Limits, Log, Mark, Reader};
use super::rewrite::{Now, Place, Rewriter, Step};
use crate::plugin::Replication;
use crate::psync::Backlog;
use crate::units::{Offset, ReplId};
use bytes::Bytes;
use futures::future::{Either, select};
use keystead_plugin::prelude::*;
use keystead_plugin::services::filter::{Answer, Filter, FilterService, Request};
use keystead_plugin::{Cursor, CursorClass, Needed};
use keystead_resp::{Args, Decoded, Decoder};
use std::collections::{BTreeMap, HashMap};
use std::pin::pin;
use std::time::Duration;

/// Most bytes taken from the journal at once.
const CHUNK: usize = 256 * 1024;

/// How long a provider of filters may take to say whether it still means the same.
const WORD: Duration = Duration::from_secs(1);

/// Why a derived history ends whose filter is another one now.
const CHANGED: &str = "the filter lets something else through now";

/// All feeds of this node.
pub(crate) struct Feeds {
    service: Needed<FilterService>,
    by_name: futures::lock::Mutex<BTreeMap<String, Arc<Feed>>>,
}

/// One filter and its derived history.
#[derive(Debug)]
pub(crate) struct Feed {
    /// The filter's name.
    pub(crate) name: String,
    /// What passes.
    pub(crate) filter: Filter,
    /// The plugin that said so; it is our own file's otherwise.
    provider: Option<String>,
    /// The derived history's id: new for each feed, so nothing is ever taken for what it isn't.
    pub(crate) replid: ReplId,
    log: Arc<Log>,
}

impl Feed {
    /// A reader that goes on behind `at` bytes of the derived stream.
    pub(crate) fn open(&self, at: u64) -> Option<Reader> {
        self.log.open(at)
    }

    /// A reader for a full sync, to be had before the cut.
    pub(crate) fn watch(&self) -> Reader {
        self.log.watch()
    }

    /// What is kept for partial resyncs, in Redis' counting.
    pub(crate) fn backlog(&self) -> Backlog {
        let (first, len) = self.log.window();
        Backlog { first: Offset(first + 1), len }
    }

    /// Bytes of the derived stream.
    pub(crate) fn end(&self) -> u64 {
        self.log.end()
    }
}

impl Feeds {
    pub(crate) fn new(service: Needed<FilterService>) -> Feeds {
        Feeds { service, by_name: futures::lock::Mutex::default() }
    }

    /// The feed of this name for a replica, begun if there is none; `None` if nobody knows the name.
    pub(crate) async fn get(&self, plugin: &Arc<Replication>, name: &str, replica: &str) -> Result<Option<Arc<Feed>>> {
        let Some((filter, provider)) = self.filter(plugin, name, replica).await? else { return Ok(None) };
        let mut feeds = self.by_name.lock().await;
        feeds.retain(|_, feed| feed.log.ended().is_none());
        if let Some(feed) = feeds.get(name) {
            if feed.filter == filter {
                return Ok(Some(feed.clone()));
            }
            feed.log.close(CHANGED);
        }
        let feed = begin(plugin, name, filter, provider).await?;
        feeds.insert(name.to_owned(), feed.clone());
        Ok(Some(feed))
    }

    /// Why a replica can't go on with its feed, when its provider says something else of the name by now. One that is gone or
    /// doesn't answer says nothing else.
    pub(crate) async fn changed(&self, plugin: &Replication, feed: &Feed, replica: &str) -> Option<&'static str> {
        let provider = feed.provider.as_deref()?;
        let asked = plugin.host.timeout(WORD, self.ask(provider, &feed.name, replica)).await?.ok()?;
        match asked {
            Some(filter) if filter == feed.filter => None,
            Some(_) => {
                feed.log.close(CHANGED);
                Some(CHANGED)
            }
            None => Some("the filter isn't there for it any more"),
        }
    }

    /// A filter, and who said it.
    async fn filter(
        &self,
        plugin: &Replication,
        name: &str,
        replica: &str,
    ) -> Result<Option<(Filter, Option<String>)>> {
        if let Some(own) = plugin.config().filters.iter().find(|filter| filter.name == name) {
            return Ok(Some((own.filter(), None)));
        }
        for provider in self.service.providers() {
            if let Some(filter) = self.ask(&provider, name, replica).await? {
                return Ok(Some((filter, Some(provider))));
            }
        }
        Ok(None)
    }

    async fn ask(&self, provider: &str, name: &str, replica: &str) -> Result<Option<Filter>> {
        let request = Request::Named { name: name.to_owned(), replica: replica.to_owned() };
        let answer = self.service.call_at(provider, &request).await?;
        Ok(if let Answer::Filter(filter) = answer { Some(filter) } else { None })
    }
}

/// Begins a derived history where the journal is now.
async fn begin(plugin: &Arc<Replication>, name: &str, filter: Filter, provider: Option<String>) -> Result<Arc<Feed>> {
    let host = plugin.host;
    let (offset, db) = host.with_keyspace(|ctx| (ctx.journal().offset, ctx.journal().db)).await?;
    // It is pinned like a sync: writers are paced for it, and far beyond the replicas' limit it ends.
    let cursor = host.open_cursor(offset, CursorClass::Syncing).await;
    let mut cursor = cursor.map_err(|end| Error::new(end.to_string()))?;
    cursor.set_name(&format!("Filter '{name}'"));
    let log = Arc::new(Log::new(offset));
    let (name, replid) = (name.to_owned(), plugin.fresh_id());
    let feed = Arc::new(Feed { name, filter: filter.clone(), provider, replid, log });
    log::info!("Filter '{}': derived history {replid} begins at offset {offset} of this node's", feed.name);
    let worker = Worker {
        plugin: plugin.clone(),
        feed: feed.clone(),
        rewriter: Rewriter::new(filter, offset, db),
        shapes: HashMap::new(),
        marks: Vec::new(),
        appended: 0,
    };
    host.spawn(worker.run(cursor));
    Ok(feed)
}

/// Where a command's keys are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Shape {
    /// It has none.
    None,
    /// From the first to the last (counted from the end if negative), each so many arguments further on.
    Range(usize, i64, usize),
    /// It depends on the arguments.
    Ask,
    /// Its subcommands have them.
    Container,
}

struct Worker {
    plugin: Arc<Replication>,
    feed: Arc<Feed>,
    rewriter: Rewriter,
    shapes: HashMap<Vec<u8>, Shape>,
    marks: Vec<Mark>,
    /// Bytes of the derived stream that are in the log.
    appended: u64,
}

impl Worker {
    async fn run(mut self, cursor: Cursor) {
        let why = match self.follow(cursor).await {
            Ok(never) => match never {},
            Err(error) => error.text().to_owned(),
        };
        log::info!("Filter '{}': derived history {} ends: {why}", self.feed.name, self.feed.replid);
        self.feed.log.close(&format!("the filtered history ended: {why}"));
    }

    async fn follow(&mut self, mut cursor: Cursor) -> Result<std::convert::Infallible> {
        let host = self.plugin.host;
        let (mut decoder, mut inbox) = (Decoder::new(), Vec::new());
        // A primary's stream is as trusted as its data.
        let limits = keystead_resp::Limits { max_bulk: u64::MAX, ..keystead_resp::Limits::default() };
        let mut followed = host.now();
        loop {
            self.feed.log.room().await;
            let read = match select(pin!(cursor.read(CHUNK)), pin!(host.sleep(Duration::from_secs(1)))).await {
                Either::Left((read, _)) => Some(read.map_err(|end| Error::new(end.to_string()))?),
                Either::Right(_) => None,
            };
            if self.feed.log.readers() > 0 {
                followed = host.now();
            }
            let ttl = self.plugin.config().backlog_ttl_s;
            if ttl > 0 && host.now().saturating_sub(followed) > Duration::from_secs(ttl) {
                return Err(Error::new(format!("nobody followed it for {ttl} seconds")));
            }
            if let Some(why) = self.feed.log.ended() {
                return Err(Error::new(why));
            }
            let Some(bytes) = read else { continue };
            inbox.extend_from_slice(&bytes);
            let mut done = 0;
            loop {
                let rest = &inbox[done..];
                match decoder.decode(rest, &limits) {
                    Ok(Decoded::Need(_)) => break,
                    Ok(Decoded::Skip(n)) => {
                        self.rewriter.skip(n);
                        done += n;
                    }
                    Ok(Decoded::Command { consumed, args, .. }) => {
                        self.command(&rest[..consumed], Args::new(rest, &args)).await?;
                        done += consumed;
                    }
                    Ok(Decoded::Inline { consumed, args }) => {
                        self.command(&rest[..consumed], args.view()).await?;
                        done += consumed;
                    }
                    Err(error) => return Err(Error::new(format!("this node's own stream is broken: {error}"))),
                }
                self.mark();
            }
            inbox.drain(..done);
            self.append();
        }
    }

    /// Notes the end of a unit.
    fn mark(&mut self) {
        if let Some(pending) = self.rewriter.pending() {
            let derived = self.appended + pending as u64;
            self.marks.push(Mark { whole: self.rewriter.at(), derived, db: self.rewriter.out_db() });
        }
    }

    /// Gives what is there to the log, but nothing of a transaction that is still open.
    fn append(&mut self) {
        if self.rewriter.pending().is_none() {
            return;
        }
        let bytes = Bytes::from(self.rewriter.take());
        self.appended += bytes.len() as u64;
        let config = self.plugin.config();
        let limits = limits(&self.plugin.host, config.backlog_size);
        self.feed.log.append(bytes, &self.marks, config.backlog_size, limits, self.plugin.host.now());
        self.marks.clear();
    }

    async fn command(&mut self, raw: &[u8], args: Args<'_>) -> Result<()> {
        let mut asked = Vec::new();
        let keys: Vec<&[u8]> = match self.shape(args).await? {
            Shape::None | Shape::Container => Vec::new(),
            Shape::Range(first, last, step) => range(args, first, last, step),
            Shape::Ask => {
                asked = self.uses(args).await?;
                asked.iter().map(|(key, _)| key.as_slice()).collect()
            }
        };
        let mut step = self.rewriter.command(raw, args, &keys);
        if step == Step::Mixed {
            if asked.is_empty() {
                asked = self.uses(args).await?;
            }
            let written: Vec<Vec<u8>> = asked.into_iter().filter(|(_, writes)| *writes).map(|(key, _)| key).collect();
            step = self.rewriter.changed(&written);
        }
        match step {
            Step::Done | Step::Mixed => Ok(()),
            Step::Read(places) => self.refresh(places).await,
            Step::Broken(why) => Err(Error::new(why)),
        }
    }

    async fn refresh(&mut self, places: Vec<Place>) -> Result<()> {
        for place in places {
            let (db, key) = place.clone();
            let read = move |ctx: &mut Ctx<'_>| -> Result<(Option<Now>, u64)> {
                let expire_ms = ctx.call(db, &[b"PEXPIRETIME".as_slice(), &key])?.into_result()?;
                let expire_ms = u64::try_from(int(&expire_ms)).ok();
                let dump = ctx.call(db, &[b"DUMP".as_slice(), &key])?.into_result()?;
                let now = dump.as_bytes().map(|dump| Now { dump: dump.to_vec(), expire_ms });
                // Behind the reading: a key that was found expired is deleted in the stream first.
                Ok((now, ctx.journal().offset))
            };
            let (now, offset) = self.plugin.host.with_keyspace(read).await??;
            self.rewriter.refreshed(place, now.as_ref(), offset);
        }
        Ok(())
    }

    /// Where this command's keys are, asked once for each name.
    async fn shape(&mut self, args: Args<'_>) -> Result<Shape> {
        let mut name = args.at(0).to_ascii_lowercase();
        for _ in 0..2 {
            let shape = match self.shapes.get(&name) {
                Some(shape) => *shape,
                None => {
                    let ask = name.clone();
                    let info = move |ctx: &mut Ctx<'_>| ctx.call(0, &[b"COMMAND".as_slice(), b"INFO", &ask]);
                    let shape = shape_of(&self.plugin.host.with_keyspace(info).await??);
                    self.shapes.insert(name.clone(), shape);
                    shape
                }
            };
            match args.get(1) {
                Some(sub) if shape == Shape::Container && !name.contains(&b'|') => {
                    name.push(b'|');
                    name.extend(sub.to_ascii_lowercase());
                }
                _ => return Ok(shape),
            }
        }
        Ok(Shape::None)
    }

    /// The keys of a command, and whether it writes them.
    async fn uses(&self, args: Args<'_>) -> Result<Vec<(Vec<u8>, bool)>> {
        let mut words = vec![b"COMMAND".to_vec(), b"GETKEYSANDFLAGS".to_vec()];
        words.extend(args.iter().map(<[u8]>::to_vec));
        // One without keys, as it may be, is answered with an error.
        let reply = self.plugin.host.with_keyspace(move |ctx| ctx.call(0, &words)).await??;
        let reads = |flags: &Reply| items(flags).iter().any(|flag| flag.as_bytes() == Some(b"RO"));
        let pair = |item: &Reply| {
            let [key, flags] = items(item) else { return None };
            Some((key.as_bytes()?.to_vec(), !reads(flags)))
        };
        Ok(items(&reply).iter().filter_map(pair).collect())
    }
}

fn items(reply: &Reply) -> &[Reply] {
    match reply {
        Reply::Array(items) | Reply::Set(items) => items,
        _ => &[],
    }
}

fn int(reply: &Reply) -> i64 {
    if let Reply::Int(number) = reply { *number } else { -1 }
}

/// What COMMAND INFO says of a command's keys.
fn shape_of(info: &Reply) -> Shape {
    let [command] = items(info) else { return Shape::None };
    let fields = items(command);
    let number = |n: usize| fields.get(n).map_or(0, int);
    let flags = fields.get(2).map(items).unwrap_or_default();
    if fields.get(9).is_some_and(|subs| !items(subs).is_empty()) {
        Shape::Container
    } else if flags.iter().any(|flag| flag.as_bytes() == Some(b"movablekeys")) {
        Shape::Ask
    } else if let (Ok(first @ 1..), Ok(step @ 1..)) = (usize::try_from(number(3)), usize::try_from(number(5))) {
        Shape::Range(first, number(4), step)
    } else {
        Shape::None
    }
}

fn range<'a>(args: Args<'a>, first: usize, last: i64, step: usize) -> Vec<&'a [u8]> {
    let last = match usize::try_from(last) {
        Ok(last) => last,
        Err(_) => args.len().saturating_sub(usize::try_from(last.unsigned_abs()).unwrap_or(usize::MAX)),
    };
    (first..=last).step_by(step).filter_map(|n| args.get(n)).collect()
}

/// `client-output-buffer-limit replica`; like Redis, never below the backlog.
fn limits(host: &Host, backlog: u64) -> Limits {
    let text = host.setting("client-output-buffer-limit").unwrap_or_default();
    let words: Vec<&str> = text.split_whitespace().collect();
    let class = words.chunks_exact(4).find(|class| ["slave", "replica"].contains(&class[0]));
    let number = |n: usize| class.and_then(|class| class[n].parse::<u64>().ok()).unwrap_or(0);
    let at_least = |limit: u64| if limit == 0 { 0 } else { limit.max(backlog) };
    Limits { hard: at_least(number(1)), soft: at_least(number(2)), soft_for: Duration::from_secs(number(3)) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn info(flags: &[&str], keys: [i64; 3], subs: usize) -> Reply {
        let set = Reply::Set(flags.iter().map(|f| Reply::Simple((*f).to_owned())).collect());
        let mut fields = vec![Reply::bulk(b"x"), Reply::Int(-1), set];
        fields.extend(keys.map(Reply::Int));
        fields.extend([Reply::Array(vec![]), Reply::Array(vec![]), Reply::Array(vec![])]);
        fields.push(Reply::Array(vec![Reply::Null; subs]));
        Reply::Array(vec![Reply::Array(fields)])
    }

    #[test]
    fn shapes() {
        assert_eq!(shape_of(&info(&["write"], [1, -1, 2], 0)), Shape::Range(1, -1, 2));
        assert_eq!(shape_of(&info(&["write", "movablekeys"], [1, 1, 1], 0)), Shape::Ask);
        assert_eq!(shape_of(&info(&["fast"], [0, 0, 0], 0)), Shape::None);
        assert_eq!(shape_of(&info(&[], [0, 0, 0], 3)), Shape::Container);
        assert_eq!(shape_of(&Reply::Array(vec![Reply::Null])), Shape::None, "a command nobody knows");
    }
}
