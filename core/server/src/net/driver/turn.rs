//! One turn of a driver: decode ahead, lock, execute, unlock, send. Decoding ahead is speculative: a command may park,
//! close or hand over its session, and what was decoded behind it is bytes again.

use super::super::busy;
use super::super::service::mono_us;
use super::poller::{Ready, Wait};
use super::{Clients, Conn};
use keystead_engine::core::Core;
use keystead_engine::limits::Buffers;
use keystead_engine::registry::Known;
use keystead_engine::resp::{ArgRange, Found, Opening, ProtocolError};
use keystead_engine::{Ahead, Args, Engine, OwnedArgs};
use std::cell::Cell;

/// Commands of one client in one turn: a deep pipeline must not starve a client with one command.
const COMMANDS: usize = 128;
/// Commands of all clients after which a turn takes no further client: what a turn holds of them (arguments' places,
/// input, replies) stays within a second-level cache, and replies leave while the next clients are served.
const TURN: usize = 1024;
/// Parts of a turn whose replies leave behind one write of a file. A file system takes a write of 40 KB for half of what four
/// of 10 KB cost; with more parts nothing was gained.
const PARTS: usize = 4;
/// A turn of fewer commands leaves it to a nap to gather others.
const FEW: usize = 48;
/// Replies that wait for so long leave before anybody else is served.
const GATHER_US: u64 = 500;
/// Commands whose keys are asked for at once. Each needs up to eight cache lines (bucket, entry, collection, its elements,
/// its own bytes): those of twice as many would push each other out of a first-level cache of 32 KiB.
const WINDOW: usize = 32;
/// Input beyond this is reported though all of it was executed: INFO shows the largest.
const REPORT_PEAK: usize = 16 * 1024;

/// A decoded command, not yet executed.
pub(super) struct Command {
    /// Whose.
    pub(super) at: usize,
    /// Where it begins and ends in the client's input; the end includes empty lines behind it.
    begin: usize,
    pub(super) end: usize,
    /// Its length, if it came in the form that the journal keeps; else 0.
    canonical: u32,
    /// Its arguments among the batch's ranges.
    ranges: (usize, usize),
    /// An inline command has words of its own.
    words: Option<Box<OwnedArgs>>,
    /// Its name is that of the command before it, which is the same client's, and so is the number of its arguments.
    same: bool,
    /// Which one it is, once it was looked at ahead.
    known: Cell<Option<Known>>,
}

impl Command {
    pub(super) fn args<'a>(&'a self, input: &'a [u8], ranges: &'a [ArgRange]) -> Args<'a> {
        match &self.words {
            None => Args::canonical(&input[self.begin..], &ranges[self.ranges.0..self.ranges.1], self.canonical),
            Some(words) => words.view(),
        }
    }

    /// Looks it up, unless it is the one `before`, and asks for its key.
    #[inline(always)]
    fn look(&self, engine: &Engine, conn: &Conn, ranges: &[ArgRange], before: Option<Known>, ahead: &mut Ahead) {
        let args = self.args(&conn.input, ranges);
        self.known.set(match before.filter(|known| self.same && known.is_by_name()) {
            Some(known) => {
                engine.ahead_of(conn.session, known, args, ahead);
                Some(known)
            }
            None => engine.ahead(conn.session, args, ahead),
        });
    }

    /// Its arguments, and which one it is, as far as that is known.
    #[inline(always)]
    fn seen<'a>(&'a self, input: &'a [u8], ranges: &'a [ArgRange]) -> (Args<'a>, Option<Known>) {
        (self.args(input, ranges), self.known.get())
    }
}

/// Arguments whose places a batch keeps room for between turns: 128 KiB.
const KEPT_RANGES: usize = 16 * 1024;

/// What a turn works on; kept between turns for its memory.
#[derive(Default)]
pub(super) struct Batch {
    /// Clients of this part of the turn.
    served: Vec<usize>,
    /// Those of them who sent much: it is counted before it is executed.
    large: Vec<usize>,
    /// Clients of all its parts: their replies leave at its end.
    answered: Vec<usize>,
    /// What the poller told between two parts.
    ready: Vec<Ready>,
    pub(super) commands: Vec<Command>,
    pub(super) ranges: Vec<ArgRange>,
    pub(super) errors: Vec<(usize, ProtocolError)>,
    ahead: Ahead,
}

/// What is known of a turn with all its parts.
#[derive(Default)]
struct Whole {
    parts: usize,
    commands: usize,
    begun_us: Option<u64>,
    lease_end: Option<u64>,
}

impl Clients {
    /// Serves active clients, as many as a turn has commands for; how many they were.
    pub(super) fn turn(&mut self) -> usize {
        let mut batch = std::mem::take(&mut self.batch);
        let mut whole = Whole::default();
        loop {
            self.part(&mut batch, &mut whole);
            batch.answered.extend(&batch.served);
            if !self.may_gather(&whole) || !self.gather(&mut batch) {
                break;
            }
        }
        self.traffic.rounds.file_us += self.service.before_replies.call(&mut self.done);
        // The lease ended inside this turn (the process was stopped, a script ran long): another may write by now, so
        // nothing of it is acknowledged.
        let too_late = whole.lease_end.is_some_and(|end| mono_us() >= end);
        self.rest_writers();
        self.pay(too_late);
        let served = batch.answered.len();
        for at in batch.answered.drain(..) {
            if let Some(conn) = self.conns[at].as_deref_mut() {
                conn.owed = false;
            }
            match too_late {
                true => self.close(at),
                false => self.settle(at),
            }
        }
        batch.trim();
        self.batch = batch;
        served
    }

    /// Serves those who are active now; none of their replies leaves.
    fn part(&mut self, batch: &mut Batch, whole: &mut Whole) {
        batch.served.clear();
        batch.ranges.clear();
        std::mem::swap(&mut batch.served, &mut self.active);
        let mut count = 0;
        while count < batch.served.len() && batch.commands.len() < TURN {
            let at = batch.served[count];
            count += 1;
            if let Some(conn) = self.conns[at].as_deref_mut() {
                conn.listed = false;
                let before = batch.commands.len();
                batch.decode(at, conn);
                // The decoder stands in the input's first command, so that it may go on at once.
                if conn.misses_much() && batch.commands.len() == before {
                    self.traffic.received += conn.fill(&mut self.pool) as u64;
                    batch.decode(at, conn);
                }
            }
        }
        // They stay listed, in front of those who come meanwhile.
        self.active.extend(batch.served.drain(count..));
        whole.parts += 1;
        whole.commands += batch.commands.len();
        let service = self.service.clone();
        let (now_us, lease_end) = service.turn(|engine| {
            self.execute(engine, batch);
            (engine.core.now.mono_us, engine.core.lease_end())
        });
        whole.begun_us.get_or_insert(now_us);
        whole.lease_end = [whole.lease_end, lease_end].into_iter().flatten().min();
        self.count_busy(now_us, &batch.served, whole.commands);
    }

    /// True if others may be served before the replies that wait leave: a file is to be written before that, and one write for
    /// all of them costs less than one for each part.
    fn may_gather(&self, whole: &Whole) -> bool {
        let more = whole.parts < PARTS && whole.commands > FEW && whole.commands < TURN;
        more && self.service.before_replies.is_owed(&self.done)
            && !self.resting.is_any_paced()
            && whole.begun_us.is_none_or(|begun| mono_us() < begun + GATHER_US)
    }

    /// Reads from those who have sent something meanwhile; true if there are any. The replies that wait stay where they are.
    fn gather(&mut self, batch: &mut Batch) -> bool {
        batch.ready.clear();
        // What is wrong with the poller is said where the driver waits.
        if self.poller.poll(&mut batch.ready, Wait::No).is_err() || batch.ready.is_empty() {
            return false;
        }
        for at in &batch.served {
            if let Some(conn) = self.conns[*at].as_deref_mut() {
                conn.owed = true;
            }
        }
        batch.ready.iter().for_each(|event| self.event(*event));
        !self.active.is_empty()
    }

    /// What a long command made wait leaves now, or never.
    fn pay(&mut self, too_late: bool) {
        for at in std::mem::take(&mut self.owed) {
            if let Some(conn) = self.conns[at].as_deref_mut() {
                conn.owed = false;
            }
            if too_late { self.close(at) } else { self.flush(at) }
        }
    }

    fn count_busy(&mut self, now_us: u64, served: &[usize], commands: usize) {
        let window = self.nap.window(now_us);
        self.nap.served(served.len(), commands);
        for at in served {
            if let Some(conn) = self.conns[*at].as_deref_mut()
                && std::mem::replace(&mut conn.window, window) != window
            {
                self.nap.seen();
            }
        }
    }

    /// The locked part.
    fn execute(&mut self, engine: &mut Engine, batch: &mut Batch) {
        for session in self.relieved.drain(..) {
            engine.report_sent(session);
        }
        for session in self.moved.drain(..) {
            engine.core.report_moved(session);
        }
        engine.report_traffic(std::mem::take(&mut self.traffic));
        self.report_large(engine, &mut batch.large);
        let pace = engine.core.pace();
        self.resting.set_pace(pace.unwrap_or(0));
        let commands = std::mem::take(&mut batch.commands);
        let (mut rest, mut asked) = (commands.as_slice(), 0);
        while let Some(first) = rest.first().filter(|_| !self.interrupted) {
            let (at, count) = (first.at, rest.iter().take_while(|command| command.at == first.at).count());
            let deep = asked == 0 && count > WINDOW;
            if asked == 0 && !deep {
                asked = self.prefetch(engine, rest, &batch.ranges, &mut batch.ahead);
            }
            let (own, others) = rest.split_at(count);
            rest = others;
            asked = asked.saturating_sub(count);
            // Out of its place while its commands run: those who are served from inside a long one can't meet it.
            let Some(mut conn) = self.conns[at].take() else { continue };
            if conn.output.wants_room()
                && let Some(room) = self.spare.take()
            {
                engine.core.lend_out(conn.session, room);
            }
            let before = engine.core.before_client();
            let Batch { ranges, ahead, .. } = &mut *batch;
            busy::while_serving(self, || match deep {
                true => run_deep(engine, &mut conn, own, ranges, ahead),
                false => _ = run(engine, &mut conn, own, ranges),
            });
            self.conns[at] = Some(conn);
            let wrote = engine.core.written_since(before);
            if pace.is_some() && wrote > 0 {
                self.resting.wrote(at, wrote);
            }
        }
        batch.commands = commands;
        batch.commands.clear();
        if std::mem::take(&mut self.interrupted) {
            // What was decoded ahead is bytes again, what is wrong with them too.
            for (at, _) in batch.errors.drain(..) {
                if let Some(conn) = self.conns[at].as_deref_mut() {
                    conn.decoder.reset();
                    conn.more = true;
                }
            }
        }
        for (at, error) in batch.errors.drain(..) {
            if let Some(conn) = self.conns[at].as_deref_mut().filter(|conn| !conn.parked && !conn.closing) {
                engine.protocol_error(conn.session, &error);
                conn.closing = true;
            }
        }
        for at in &batch.served {
            self.collect(&mut engine.core, *at);
        }
    }

    /// Large input counts before a command of it runs: whoever has too much of it is closed instead (`maxmemory-clients`), and
    /// CLIENT LIST tells of it.
    fn report_large(&mut self, engine: &mut Engine, large: &mut Vec<usize>) {
        if large.is_empty() {
            return;
        }
        for at in large.drain(..) {
            if let Some(conn) = self.conns[at].as_deref_mut() {
                conn.unread = conn.rest().len();
                let (spare, begun) = (conn.input.capacity() - conn.input.len(), conn.decoder.begun());
                engine.report_arrived(conn.session, conn.unread, spare, begun);
            }
        }
        engine.evict_clients();
    }

    /// Passes over the keys of the commands that come next, so that the table's memory is on its way before the
    /// first of them needs it. Asks for a window of them, whole clients' commands, and tells how many.
    fn prefetch(&self, engine: &Engine, next: &[Command], ranges: &[ArgRange], ahead: &mut Ahead) -> usize {
        let mut window = next.len().min(WINDOW);
        while window < next.len() && next[window].at == next[window - 1].at {
            window += 1;
        }
        if window < 2 {
            return window;
        }
        ahead.clear();
        let mut before = None;
        for command in &next[..window] {
            if let Some(conn) = &self.conns[command.at] {
                command.look(engine, conn, ranges, before, ahead);
            }
            before = command.known.get();
        }
        engine.ask_ahead(ahead);
        window
    }

    /// Takes a session's output, and tells the engine what is held for it.
    pub(super) fn collect(&mut self, core: &mut Core, at: usize) {
        let Some(conn) = self.conns[at].as_deref_mut() else { return };
        if conn.output.is_empty() && !self.service.holds() && !core.has_sealed() {
            core.swap_out(conn.session, conn.output.buffer());
        } else {
            let sealed = core.take_sealed(conn.session);
            let mut last = Vec::new();
            let position = core.swap_out(conn.session, &mut last);
            let some = !sealed.is_empty() || !last.is_empty();
            let pieces = sealed.into_iter().chain([last]);
            if conn.outbox.is_empty() && position <= self.service.confirmed() {
                pieces.for_each(|piece| conn.output.push(piece));
            } else if some {
                if conn.outbox.is_empty() {
                    self.held.push(at);
                }
                let lease_end = core.lease_end();
                pieces.for_each(|piece| conn.outbox.hold(position, lease_end, piece));
            }
        }
        // AUTH, RESET and CONFIG SET may have changed what the next commands may be.
        conn.limits = core.limits(conn.session);
        let (unsent, unread, peak) = (conn.unsent(), conn.rest().len(), conn.input.len());
        // Less unsent output exceeds no limit. Who exceeded one is looked at until it has less, too.
        let much = conn.reported || unsent as u64 >= core.config.live.output_limits.lowest;
        if much || unread != conn.unread || peak > REPORT_PEAK {
            conn.unread = unread;
            conn.reported = unsent > 0;
            // A buffer without unread bytes goes back to the pool.
            let spare = if unread > 0 { conn.input.capacity() - unread } else { 0 };
            let unsent = conn.unsent_memory();
            core.report_buffers(conn.session, Buffers { unsent, unread, spare, begun: conn.decoder.begun(), peak });
        }
    }

    /// After the turn: sends, gives buffers back, comes back to a client with more commands in its input.
    pub(super) fn settle(&mut self, at: usize) {
        let Some(conn) = self.conns[at].as_deref_mut() else { return };
        conn.compact(&mut self.pool);
        let more = conn.more && !conn.parked && !conn.closing;
        let finished = conn.ended && !more;
        if more {
            self.activate(at);
        }
        self.flush(at);
        if finished {
            match self.conns[at].as_deref_mut().filter(|conn| !conn.outbox.is_empty()) {
                Some(conn) => conn.closing = true,
                // Its last commands were executed, and answered as far as the socket takes it, as Redis does.
                None => self.close(at),
            }
        }
    }
}

/// Runs the commands of one client, until one stops it; false if one did.
fn run(engine: &mut Engine, conn: &mut Conn, commands: &[Command], ranges: &[ArgRange]) -> bool {
    let view = |command| Command::seen(command, &conn.input, ranges);
    let (taken, flow) = engine.execute_all(conn.session, commands, view);
    if let Some(last) = commands[..taken].last() {
        conn.start = last.end;
    }
    !conn.stops(flow)
}

/// The same for more commands than are asked for at once: one window after the other.
fn run_deep(engine: &mut Engine, conn: &mut Conn, commands: &[Command], ranges: &[ArgRange], ahead: &mut Ahead) {
    for window in commands.chunks(WINDOW) {
        ahead.clear();
        let mut before = None;
        for command in window {
            command.look(engine, conn, ranges, before, ahead);
            before = command.known.get();
        }
        engine.ask_ahead(ahead);
        if !run(engine, conn, window, ranges) {
            return;
        }
    }
}

impl Batch {
    /// What one command with very many arguments needed isn't kept for the next turns.
    fn trim(&mut self) {
        if self.ranges.capacity() > KEPT_RANGES {
            self.ranges = Vec::new();
        }
    }

    /// Decodes up to the budget. A client that has not authenticated gets one command at a time.
    pub(super) fn decode(&mut self, at: usize, conn: &mut Conn) {
        if conn.resting.is_some() {
            // It was listed before its rest began, and is again when that is over.
            return;
        }
        conn.more = false;
        if conn.parked || conn.closing {
            return;
        }
        conn.missing = 0;
        if conn.rest().len() > REPORT_PEAK {
            self.large.push(at);
        }
        let budget = if conn.limits.authenticated { COMMANDS } else { 1 };
        let mut begin = conn.start;
        let mut count = 0;
        let mut opening = Opening::NONE;
        while count < budget {
            let first = self.ranges.len();
            let rest = &conn.input[begin..];
            let like = conn.decoder.decode_like(opening, rest, &conn.limits, &mut self.ranges);
            let same = like.is_some();
            let (consumed, canonical, words) = match like {
                Some(consumed) => (consumed, true, None),
                None => match conn.decoder.decode_into(rest, &conn.limits, &mut self.ranges) {
                    Ok(Found::Command { consumed, canonical }) => (consumed, canonical, None),
                    Ok(Found::Inline { consumed, args }) => (consumed, false, Some(args)),
                    Ok(Found::Need(missing)) => {
                        conn.missing = missing;
                        return;
                    }
                    Ok(Found::Skip(length)) => {
                        begin += length;
                        // The decoder goes on behind the empty line, so the input must as well.
                        match self.commands.last_mut().filter(|_| count > 0) {
                            Some(before) => before.end = begin,
                            None => conn.start = begin,
                        }
                        continue;
                    }
                    Err(error) => return self.errors.push((at, error)),
                },
            };
            let (end, ranges) = (begin + consumed, (first, self.ranges.len()));
            let canonical = if canonical { u32::try_from(consumed).unwrap_or(0) } else { 0 };
            if !same {
                opening = match canonical {
                    0 => Opening::NONE,
                    _ => Opening::of(rest, &self.ranges[first..]),
                };
            }
            self.commands.push(Command { at, begin, end, canonical, ranges, words, same, known: Cell::new(None) });
            begin = end;
            count += 1;
        }
        conn.more = true;
    }
}
