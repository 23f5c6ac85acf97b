//! The payload of a full resync, from the snapshot to the replica's socket.
//!
//! Owns the framing (`$EOF:` as it is made, or `$<len>` through a file for those that can't find an end). The records come
//! encoded from the core; here they are only framed.

use crate::filter::part;
use crate::plugin::Replication;
use crate::primary::Event;
use crate::serve::{Replica, Source};
use crate::temporary::{self, Temporary};
use bytes::Bytes;
use futures::future::{Either, select};
use futures::io::{AsyncWriteExt, WriteHalf};
use keystead_plugin::failpoint;
use keystead_plugin::prelude::*;
use keystead_plugin::services::filter::Filter;
use keystead_plugin::{Cursor, CursorClass, Progress, RDB_PIECES, RDB_PLAIN, RdbVersions, Snapshot};
use keystead_rdb::{FileHead, FileWriter, StreamPoint};
use std::fs::File;
use std::future::Future;
use std::io::{Read, Seek, Write};
use std::path::PathBuf;
use std::pin::pin;
use std::sync::atomic::Ordering;
use std::time::Duration;

type Out = WriteHalf<Conn>;

/// Where a test lets the disk of a payload's file be slow.
const SPOOL: &str = "payload-write";

/// Bytes gathered before they are written.
const CHUNK: usize = 256 * 1024;
/// Time between two signs of life while there is nothing to send.
pub(crate) const SIGN: Duration = Duration::from_secs(1);
/// So long a replica is held that can't be given what it wants. One of Redis asks again at once, hundreds of times a second, and
/// what is wrong here (a full disk, say) is so a moment later.
pub(crate) const HOLD: Duration = Duration::from_secs(1);

/// Sends everything there is, at one cut; the cursor that goes on from there.
pub(crate) async fn send(replica: &Replica, out: &mut Out, announce: bool) -> Result<Source> {
    wait_for_others(replica, out).await?;
    let host = replica.plugin.host;
    // Before the cut: what the derived stream says behind it must still be there.
    let watch = replica.feed.as_ref().map(|feed| feed.watch());
    let (mut snapshot, cursor, version) = cut(replica, out).await?;
    let making = Making::new(&replica.plugin, snapshot.keys());
    // A replica's stream is its primary's bytes: no SELECT can be put behind the cut, so the head tells the database.
    let (point, mut source) = match (watch, &replica.feed) {
        (Some(mut reader), Some(feed)) => {
            drop(cursor);
            let place = alive(replica, out, reader.settle(snapshot.offset())).await?.map_err(Error::new)?;
            let (replid, stream_db) = (feed.replid.to_string(), place.db.unwrap_or(0));
            (StreamPoint { replid, offset: place.derived, stream_db }, Source::Part(reader))
        }
        _ => {
            let (replid, stream_db) = (snapshot.history().replid.to_string(), snapshot.stream_db().unwrap_or(0));
            (StreamPoint { replid, offset: snapshot.offset(), stream_db }, Source::Whole(cursor))
        }
    };
    replica.look_after(&mut source);
    if announce {
        out.write_all(format!("+FULLRESYNC {} {}\r\n", point.replid, point.offset).as_bytes()).await?;
        out.flush().await?;
    }
    let head = FileHead { created_s: Some(host.unix_ms() / 1000), stream: Some(point), ..FileHead::default() };
    let marked = replica.facts.eof && replica.plugin.config().diskless_sync;
    let started = host.now();
    let sent = if marked {
        stream(replica, out, &mut snapshot, (&head, version), making).await
    } else {
        through_file(replica, out, &mut snapshot, (&head, version), making).await
    };
    drop(snapshot);
    if sent.is_err() {
        // With the source, whose end would end the connection. Who hangs up isn't held.
        host.sleep(HOLD).await;
    }
    let sent = sent?;
    let took = host.now().saturating_sub(started);
    log::info!(
        "Full resync of replica {}:{}: {sent} bytes in {} ms",
        replica.shared.ip,
        replica.shared.port,
        took.as_millis()
    );
    if replica.facts.rdb_only {
        // redis-cli --rdb takes the payload and hangs up. Closing first could cost it what is still on its way.
        replica.step(Event::PayloadSent { marked: true });
        return futures::future::pending().await;
    }
    replica.step(Event::PayloadSent { marked });
    Ok(source)
}

/// A payload is being made: a background save, to whoever asks INFO, and its keys are on their way.
struct Making<'a> {
    plugin: &'a Replication,
    keys: u64,
    done: u64,
}

impl<'a> Making<'a> {
    fn new(plugin: &'a Replication, keys: u64) -> Making<'a> {
        plugin.payloads.fetch_add(1, Ordering::Relaxed);
        plugin.payload_keys.fetch_add(keys, Ordering::Relaxed);
        Making { plugin, keys, done: 0 }
    }

    /// So many keys are framed.
    fn reached(&mut self, done: u64) {
        self.plugin.payload_done.fetch_add(done.saturating_sub(self.done), Ordering::Relaxed);
        self.done = done.max(self.done);
    }
}

impl Drop for Making<'_> {
    fn drop(&mut self) {
        self.plugin.payload_done.fetch_sub(self.done, Ordering::Relaxed);
        self.plugin.payload_keys.fetch_sub(self.keys, Ordering::Relaxed);
        self.plugin.payloads.fetch_sub(1, Ordering::Relaxed);
    }
}

/// `repl-diskless-sync-delay`, with signs of life, cut short when enough replicas wait. Whose wait ends takes all others
/// that wait along.
async fn wait_for_others(replica: &Replica, out: &mut Out) -> Result<()> {
    let plugin = &replica.plugin;
    let config = plugin.config();
    let enough = config.diskless_sync_max_replicas as usize;
    let waiting =
        || plugin.registry.all().iter().filter(|r| r.state() == crate::primary::PeerState::WaitBgsave).count();
    let delay = if config.diskless_sync { Duration::from_secs(config.diskless_sync_delay_s) } else { Duration::ZERO };
    let until = plugin.host.now() + delay;
    let round = plugin.sync_round.load(Ordering::Acquire);
    while plugin.sync_round.load(Ordering::Acquire) == round {
        if plugin.host.now() >= until || enough > 0 && waiting() >= enough {
            plugin.sync_round.fetch_add(1, Ordering::AcqRel);
            break;
        }
        plugin.host.sleep(SIGN.min(until.saturating_sub(plugin.host.now()))).await;
        out.write_all(b"\n").await?;
        out.flush().await?;
    }
    Ok(())
}

/// The cut. There may be two at a time; a third replica waits for its turn.
async fn cut(replica: &Replica, out: &mut Out) -> Result<(Snapshot, Cursor, u16)> {
    let host = replica.plugin.host;
    let give_up = host.now() + Duration::from_secs(replica.plugin.config().timeout_s);
    loop {
        let RdbVersions { configured, needed } = host.rdb_versions();
        let version = if replica.facts.rdb12 { configured.max(needed) } else { configured };
        // The cut has all keys, also where none of them is sent.
        let of_cut = if replica.facts.no_keys { configured.max(needed) } else { version };
        // Records that are looked at must be whole.
        let pieces = if replica.feed.is_some() { 0 } else { RDB_PIECES };
        let plain = if host.setting("rdbcompression").as_deref() == Some("no") { RDB_PLAIN } else { 0 };
        let cut = host.snapshot_and_follow(u32::from(of_cut) | pieces | plain, CursorClass::Syncing);
        match alive(replica, out, cut).await? {
            Err(error) if needed > of_cut => {
                // One of Redis asks for the same by SYNC behind the answer.
                alive(replica, out, host.sleep(HOLD)).await?;
                out.write_all(format!("-ERR {}\r\n", error.text()).as_bytes()).await?;
                out.flush().await?;
                return Err(error);
            }
            Err(error) if host.now() < give_up => {
                log::debug!("no snapshot yet for {}:{}: {}", replica.shared.ip, replica.shared.port, error.text());
                alive(replica, out, host.sleep(Duration::from_millis(100))).await?;
            }
            done => return done.map(|(snapshot, cursor)| (snapshot, cursor, version)),
        }
    }
}

/// Awaits, and sends an empty line each second meanwhile.
async fn alive<F: Future>(replica: &Replica, out: &mut Out, work: F) -> Result<F::Output> {
    let mut work = pin!(work);
    loop {
        match select(work.as_mut(), pin!(replica.plugin.host.sleep(SIGN))).await {
            Either::Left((done, _)) => return Ok(done),
            Either::Right(_) => {
                out.write_all(b"\n").await?;
                out.flush().await?;
            }
        }
    }
}

/// Frames the snapshot's batches; `None` behind the last piece.
struct Framer {
    writer: FileWriter,
    host: Host,
    /// `rdb-key-save-delay`: tests make a sync last with it.
    delay_us: u64,
    /// Keys framed that weren't waited for yet.
    framed: u64,
    /// How many there are, and how many were framed.
    progress: (Option<Progress>, u64),
    /// What is left of the last batch. A collection is one record, of any size: it is taken in pieces.
    rest: Bytes,
    /// What passes, if not all does.
    filter: Option<Filter>,
    keys: bool,
    /// What plugins keep beside the keys was written.
    sections: bool,
    ended: bool,
}

impl Framer {
    fn new(replica: &Replica) -> Framer {
        let (writer, rest) = (FileWriter::new(true), Bytes::new());
        let delay_us = delay(&replica.plugin, "rdb-key-save-delay");
        let filter = replica.feed.as_ref().map(|feed| feed.filter.clone());
        let keys = !replica.facts.no_keys;
        Framer {
            writer,
            delay_us,
            framed: 0,
            progress: (None, 0),
            host: replica.plugin.host,
            rest,
            filter,
            keys,
            sections: false,
            ended: false,
        }
    }

    /// So many more of the keys are on their way.
    fn tell(&mut self, keys: u64, count: u32) {
        let now = self.host.now();
        self.progress.1 += u64::from(count);
        let progress = &mut self.progress.0;
        let progress = progress.get_or_insert_with(|| Progress::new(now, "Full resync of a replica", keys, "keys"));
        progress.tell(now, self.progress.1);
    }

    /// How long a test wants it to take.
    fn pause(&mut self) -> Duration {
        Duration::from_micros(std::mem::take(&mut self.framed).saturating_mul(self.delay_us))
    }

    /// Fills `out` up to about a chunk; false when that was the end.
    async fn fill(&mut self, snapshot: &mut Snapshot, out: &mut Vec<u8>) -> Result<bool> {
        if !std::mem::replace(&mut self.sections, true) {
            self.writer.records(out, &snapshot.sections());
        }
        while !self.ended && out.len() < CHUNK {
            if !self.rest.is_empty() {
                let piece = self.rest.split_to(CHUNK.min(self.rest.len()));
                self.writer.records(out, &piece);
                continue;
            }
            let batch = if self.keys { snapshot.next().await? } else { None };
            match batch {
                Some(batch) => {
                    self.tell(snapshot.keys(), batch.count);
                    let batch = match &self.filter {
                        Some(filter) => part(filter, batch)?,
                        None => batch,
                    };
                    if batch.bytes.is_empty() {
                        continue;
                    }
                    self.writer.batch(out, batch.db, &[]);
                    self.framed += u64::from(batch.count);
                    self.rest = batch.bytes;
                    if self.delay_us > 0 {
                        break;
                    }
                }
                None => {
                    self.writer.eof(out);
                    self.ended = true;
                }
            }
        }
        Ok(!self.ended)
    }
}

/// A setting of so many microseconds a key, for tests; 0 where nobody has it.
pub(crate) fn delay(plugin: &Replication, name: &str) -> u64 {
    plugin.host.setting(name).and_then(|us| us.parse().ok()).unwrap_or(0)
}

/// Waits in small steps, so that the peer counts as moving.
async fn slowly(replica: &Replica, time: Duration) {
    let mut left = time;
    while !left.is_zero() {
        let step = left.min(SIGN);
        replica.plugin.host.sleep(step).await;
        replica.step(Event::PayloadMoved);
        left -= step;
    }
}

/// `$EOF:<mark>`, the RDB as it is made, the mark.
async fn stream(
    replica: &Replica,
    out: &mut Out,
    snapshot: &mut Snapshot,
    (head, version): (&FileHead, u16),
    mut making: Making<'_>,
) -> Result<u64> {
    let mark = replica.plugin.fresh_id();
    let mut framer = Framer::new(replica);
    let mut buf = format!("$EOF:{mark}\r\n").into_bytes();
    let mut sent = 0u64;
    head.write(&mut framer.writer, &mut buf, version);
    replica.step(Event::PayloadBegins { diskless: true });
    loop {
        let more = framer.fill(snapshot, &mut buf).await?;
        making.reached(framer.progress.1);
        if !more {
            buf.extend_from_slice(mark.as_str().as_bytes());
        }
        push(replica, out, &buf).await?;
        out.flush().await?;
        sent += buf.len() as u64;
        buf.clear();
        slowly(replica, framer.pause()).await;
        if !more {
            drop(making);
            out.flush().await?;
            return Ok(sent);
        }
    }
}

/// Writes, and notes each step that the replica's kernel lets it go on: over a slow line a chunk may take minutes.
async fn push(replica: &Replica, out: &mut Out, bytes: &[u8]) -> Result<()> {
    let mut rest = bytes;
    while !rest.is_empty() {
        let n = out.write(rest).await?;
        if n == 0 {
            return Err(Error::new("the replica takes no more bytes"));
        }
        rest = &rest[n..];
        replica.step(Event::PayloadMoved);
        replica.plugin.stats.traffic.sent.add(n);
    }
    Ok(())
}

fn disk_failed(replica: &Replica, error: &std::io::Error) -> Error {
    let (ip, port) = (&replica.shared.ip, replica.shared.port);
    log::warn!("SYNC failed: the file with the payload for replica {ip}:{port} can't be written: {error}");
    Error::new(error.to_string())
}

/// Through a file, because the replica wants to know the length first (`repl-diskless-sync no`, or an old one).
async fn through_file(
    replica: &Replica,
    out: &mut Out,
    snapshot: &mut Snapshot,
    (head, version): (&FileHead, u16),
    mut making: Making<'_>,
) -> Result<u64> {
    let host = replica.plugin.host;
    let dir = host.setting("dir").unwrap_or_else(|| ".".into());
    let path = PathBuf::from(dir).join(temporary::going(replica.shared.client));
    let made = host.blocking(move || Temporary::create(path, File::options().read(true).write(true))).await?;
    let (_temporary, mut file) = made.map_err(|error| disk_failed(replica, &error))?;
    let mut framer = Framer::new(replica);
    let mut buf = Vec::with_capacity(CHUNK);
    head.write(&mut framer.writer, &mut buf, version);
    let mut signed = host.now();
    let mut more = true;
    while more {
        more = framer.fill(snapshot, &mut buf).await?;
        making.reached(framer.progress.1);
        let write = host.blocking(move || -> std::io::Result<(File, Vec<u8>)> {
            failpoint::pass(SPOOL).and_then(|()| file.write_all(&buf))?;
            buf.clear();
            Ok((file, buf))
        });
        // A disk that stands still is the primary's affair: the replica waits for it.
        (file, buf) = alive(replica, out, write).await??.map_err(|error| disk_failed(replica, &error))?;
        let pause = framer.pause();
        if !pause.is_zero() {
            alive(replica, out, host.sleep(pause)).await?;
        }
        if host.now().saturating_sub(signed) >= SIGN {
            signed = host.now();
            out.write_all(b"\n").await?;
            out.flush().await?;
        }
    }
    drop(making);
    replica.step(Event::PayloadBegins { diskless: false });
    let len = framer.writer.written();
    out.write_all(format!("${len}\r\n").as_bytes()).await?;
    file = host.blocking(move || file.rewind().map(|()| file)).await??;
    loop {
        let (back, piece) = host
            .blocking(move || -> std::io::Result<(File, Vec<u8>)> {
                let mut piece = vec![0; CHUNK];
                let n = file.read(&mut piece)?;
                piece.truncate(n);
                Ok((file, piece))
            })
            .await??;
        file = back;
        if piece.is_empty() {
            break;
        }
        push(replica, out, &piece).await?;
    }
    out.flush().await?;
    Ok(len)
}
