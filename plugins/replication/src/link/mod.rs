//! The replica's side of a replication link: one machine, `step(now, event) → actions`.
//!
//! Owns the order of the handshake, what each answer means, when to give up and when to try again. It holds no
//! socket, no clock and no data: the shell offers the unread bytes, the machine says which of them are payload and
//! which are stream. When our data is kept from a primary is `guard`'s to say. One function, `enter`, changes the state and logs `old → new, why`.

mod guard;
pub mod handshake;
mod status;
#[cfg(test)]
mod tests;
pub mod transfer;
mod types;

pub use status::{Phase, Status, SyncProgress};
pub use types::{Action, Context, Event, Memory, Outcome, Settings, Target};

use crate::text;
use crate::units::{Offset, Position, ReplId};
use handshake::{Step, Verdict};
use std::collections::VecDeque;
use std::time::Duration;
use transfer::{Preamble, Transfer};

/// Time between two attempts that fail.
pub const RETRY: Duration = Duration::from_secs(1);
/// Time between two acknowledgements.
pub const ACK_PERIOD: Duration = Duration::from_secs(1);
/// What keeps a link from being set up is said again this often, while it stays the same.
const SAY_AGAIN: Duration = Duration::from_secs(30);
/// A line of the handshake that is longer than this isn't one.
const MAX_LINE: usize = 64 * 1024;

#[derive(Debug)]
enum State {
    Off,
    Waiting {
        until: Duration,
    },
    Connecting {
        since: Duration,
    },
    Handshake {
        last_io: Duration,
        asked: VecDeque<Step>,
    },
    Psync {
        last_io: Duration,
        offered: Option<Position>,
    },
    /// A payload is expected; after SYNC nobody says where it will be.
    Announced {
        last_io: Duration,
        at: Option<Position>,
        guarded: bool,
    },
    Receiving {
        last_io: Duration,
        signed: Duration,
        at: Option<Position>,
        guarded: bool,
        transfer: Transfer,
    },
    Loading {
        last_sign: Duration,
        at: Option<Position>,
        marked: bool,
    },
    /// `acks`: the primary wants to know how far we are; one that was asked by SYNC doesn't.
    Streaming {
        last_io: Duration,
        acked: Duration,
        acks: bool,
    },
}

impl State {
    fn name(&self) -> &'static str {
        match self {
            State::Off => "off",
            State::Waiting { .. } => "waiting",
            State::Connecting { .. } => "connecting",
            State::Handshake { .. } => "handshake",
            State::Psync { .. } => "psync",
            State::Announced { .. } => "announced",
            State::Receiving { .. } => "receiving",
            State::Loading { .. } => "loading",
            State::Streaming { .. } => "streaming",
        }
    }

    fn connected(&self) -> bool {
        !matches!(self, State::Off | State::Waiting { .. })
    }
}

/// The machine.
#[derive(Debug)]
pub struct Link {
    state: State,
    target: Option<Target>,
    /// This primary's stream was ours before, since the last explicit REPLICAOF.
    followed: bool,
    /// The history of a primary that came back without what we have: nothing of it, nor of another one that we don't
    /// know, is taken until an explicit REPLICAOF.
    refused: Option<ReplId>,
    /// The history that was ours last of this primary.
    history: Option<ReplId>,
    /// The history that the one we are connected to goes on from, if it told.
    goes_on_from: Option<ReplId>,
    /// The history whose role it took when it was asked to, if it told and has what it had then.
    took: Option<ReplId>,
    /// Its data began in its process, and its history went by these names since; if it told.
    anew: Option<Vec<ReplId>>,
    down_since: Option<Duration>,
    /// The next PSYNC asks the replica to take our role.
    handing_over: bool,
    /// It was asked already, over a connection that broke: it may have done so.
    asked_before: bool,
    /// What we are connected to told its run id, as Redis never does.
    told_itself: bool,
    /// The primary follows us: it isn't followed until that is over.
    looped: bool,
    /// It lets our user say no REPLCONF: to acknowledge would cost the link.
    unheard: bool,
    /// Why the last attempt failed.
    why: Said,
    /// What it said to PSYNC, or to REPLCONF, before the attempt went on without.
    psync_refused: Said,
    replconf_refused: Said,
}

/// What was said last, and when: the same isn't said every second.
#[derive(Debug, Default)]
struct Said {
    text: String,
    at: Duration,
}

impl Said {
    /// Whether to say it now.
    fn is_news(&mut self, now: Duration, text: &str) -> bool {
        let news = self.text != text || now >= self.at + SAY_AGAIN;
        if news {
            (self.text, self.at) = (text.to_string(), now);
        }
        news
    }
}

impl Default for Link {
    fn default() -> Link {
        Link {
            state: State::Off,
            target: None,
            followed: false,
            refused: None,
            history: None,
            goes_on_from: None,
            took: None,
            anew: None,
            down_since: None,
            handing_over: false,
            asked_before: false,
            told_itself: false,
            looped: false,
            unheard: false,
            why: Said::default(),
            psync_refused: Said::default(),
            replconf_refused: Said::default(),
        }
    }
}

impl Link {
    /// One event.
    pub fn step(&mut self, now: Duration, ctx: Context<'_>, event: Event<'_>) -> Outcome {
        let mut out = Outcome::default();
        match event {
            Event::Follow(target) => self.follow(now, target, &mut out),
            Event::FollowedBefore(refused) => {
                self.followed = self.target.is_some();
                self.refused = refused.filter(|_| self.followed);
            }
            Event::HandOver(target) => {
                self.follow(now, target, &mut out);
                self.handing_over = true;
            }
            Event::Unfollow => self.unfollow(&mut out),
            Event::AskAgain => {
                if self.handing_over && matches!(self.state, State::Psync { .. }) {
                    self.fail(now, "the failover's target gives no answer", &mut out);
                }
            }
            Event::Connected => self.connected(now, &mut out),
            Event::Failed(why) => self.fail(now, &why, &mut out),
            Event::Bytes(buf) => self.bytes(now, ctx, buf, &mut out),
            Event::Tick => self.tick(now, ctx, &mut out),
            Event::Loaded => self.loaded(now, ctx, &mut out),
            Event::LoadFailed(why) => {
                self.lose(now, &format!("Failed trying to load the MASTER synchronization DB: {why}"), true, &mut out)
            }
            Event::CameBackEmpty => self.came_back_empty(now, ctx, &mut out),
            Event::AckAsked(offset) => self.ack(now, ctx, offset, &mut out),
            Event::ApplyFailed(why) => {
                self.fail(now, &format!("the primary's stream can't be applied: {why}"), &mut out)
            }
        }
        out
    }

    /// When to call again at the latest, if nothing else happens.
    pub fn deadline(&self, now: Duration, settings: &Settings) -> Option<Duration> {
        let t = settings.timeout;
        match &self.state {
            State::Off => None,
            State::Waiting { until } => Some(*until),
            State::Connecting { since } => Some(*since + t),
            State::Handshake { last_io, .. } | State::Psync { last_io, .. } | State::Announced { last_io, .. } => {
                Some(*last_io + t)
            }
            State::Receiving { last_io, .. } => Some(*last_io + t),
            State::Loading { last_sign, .. } => Some(*last_sign + ACK_PERIOD),
            State::Streaming { last_io, acked, acks: true } => Some((*acked + ACK_PERIOD).min(*last_io + t)),
            State::Streaming { last_io, .. } => Some(*last_io + t),
        }
        // A timeout is over only when it was exceeded.
        .map(|at| at.max(now) + Duration::from_millis(1))
    }

    /// What is answered next may be about our data, see [`Context::has_data`]: PSYNC was asked, or will be of a primary that
    /// was refused.
    pub fn awaits_verdict(&self) -> bool {
        match self.state {
            State::Psync { .. } => true,
            State::Handshake { .. } => self.refused.is_some(),
            _ => false,
        }
    }

    /// The primary to follow, if any.
    pub fn target(&self) -> Option<&Target> {
        self.target.as_ref()
    }

    fn enter(&mut self, next: State, why: &str, out: &mut Outcome) {
        let level = if matches!(next, State::Streaming { .. }) { log::Level::Info } else { log::Level::Debug };
        let peer = self.target.as_ref().map_or("nobody".to_string(), |t| format!("{}:{}", t.host, t.port));
        out.actions.push(Action::Log(level, format!("link {peer}: {} → {}, {why}", self.state.name(), next.name())));
        self.state = next;
    }

    fn follow(&mut self, now: Duration, target: Target, out: &mut Outcome) {
        self.drop_connection(out);
        *self = Link { target: Some(target), ..Link::default() };
        self.connect(now, "asked to follow", out);
    }

    fn unfollow(&mut self, out: &mut Outcome) {
        self.drop_connection(out);
        self.enter(State::Off, "asked to follow nobody", out);
        *self = Link::default();
    }

    /// Closes what is open and throws away what was half received.
    fn drop_connection(&mut self, out: &mut Outcome) {
        if matches!(self.state, State::Announced { .. } | State::Receiving { .. } | State::Loading { .. }) {
            out.actions.push(Action::AbortLoad);
        }
        if self.state.connected() {
            out.actions.push(Action::Disconnect);
        }
    }

    fn connect(&mut self, now: Duration, why: &str, out: &mut Outcome) {
        if let Some(target) = self.target.clone() {
            (self.goes_on_from, self.took, self.anew) = (None, None, None);
            (self.told_itself, self.unheard) = (false, false);
            self.enter(State::Connecting { since: now }, why, out);
            out.actions.push(Action::Connect(target));
        }
    }

    fn fail(&mut self, now: Duration, why: &str, out: &mut Outcome) {
        self.lose(now, why, false, out);
    }

    /// What is `grave` will hardly mend itself (a full disk, say): it is told as a warning, and of each attempt.
    fn lose(&mut self, now: Duration, why: &str, grave: bool, out: &mut Outcome) {
        if !self.state.connected() {
            return;
        }
        self.asked_before |= self.handing_over && matches!(self.state, State::Psync { .. });
        let was_streaming = matches!(self.state, State::Streaming { .. });
        let level = if was_streaming || self.looped || grave { log::Level::Warn } else { log::Level::Info };
        if self.why.is_news(now, why) || grave {
            let what = if was_streaming { "connection with the primary lost" } else { "no link with the primary" };
            out.actions.push(Action::Log(level, format!("{what}: {why}")));
        }
        self.drop_connection(out);
        if was_streaming {
            self.down_since = Some(now);
            self.connect(now, why, out);
        } else {
            self.enter(State::Waiting { until: now + RETRY }, why, out);
        }
    }

    fn connected(&mut self, now: Duration, out: &mut Outcome) {
        if matches!(self.state, State::Connecting { .. }) {
            out.actions.push(Action::Send(text::command(&[b"PING"])));
            self.enter(State::Handshake { last_io: now, asked: VecDeque::from([Step::Ping]) }, "connected", out);
        }
    }

    fn tick(&mut self, now: Duration, ctx: Context<'_>, out: &mut Outcome) {
        let late = |last: Duration| now.saturating_sub(last) > ctx.settings.timeout;
        let why = match &mut self.state {
            State::Waiting { until } if now >= *until => return self.connect(now, "trying again", out),
            State::Connecting { since } if late(*since) => "Timeout connecting to the MASTER...",
            State::Handshake { last_io, .. } | State::Psync { last_io, .. } if late(*last_io) => {
                "Timeout connecting to the MASTER: no answer during the handshake"
            }
            State::Announced { last_io, .. } | State::Receiving { last_io, .. } if late(*last_io) => {
                "Timeout receiving bulk data from MASTER... If the problem persists try to set the 'repl-timeout' parameter to a larger value."
            }
            State::Loading { last_sign, .. } if now >= *last_sign + ACK_PERIOD => {
                *last_sign = now;
                return out.actions.push(Action::Send(b"\n".to_vec()));
            }
            State::Streaming { last_io, .. } if late(*last_io) => "MASTER timeout: no data nor PING received...",
            State::Streaming { acked, acks: true, .. } if now >= *acked + ACK_PERIOD => {
                return self.ack(now, ctx, ctx.here.map_or(Offset(0), |p| p.offset), out);
            }
            _ => return,
        };
        self.fail(now, why, out);
    }

    fn ack(&mut self, now: Duration, ctx: Context<'_>, offset: Offset, out: &mut Outcome) {
        if let State::Streaming { acked, .. } = &mut self.state
            && !self.unheard
        {
            *acked = now;
            let (applied, fsynced) = (offset.to_string(), ctx.durable.map(|offset| offset.to_string()));
            let mut words: Vec<&[u8]> = vec![b"REPLCONF", b"ACK", applied.as_bytes()];
            if let Some(fsynced) = &fsynced {
                words.extend([b"FACK".as_slice(), fsynced.as_bytes()]);
            }
            out.actions.push(Action::Send(text::command(&words)));
        }
    }

    fn loaded(&mut self, now: Duration, ctx: Context<'_>, out: &mut Outcome) {
        let State::Loading { at, marked, .. } = self.state else { return };
        self.history = at.map(|at| at.replid);
        // A primary that was asked by SYNC may know no REPLCONF, unless it sent a mark: then it waits for an
        // acknowledgement before it goes on, and may be too busy to heed the first.
        self.stream(now, ctx, at.is_some() || marked, "MASTER <-> REPLICA sync: Finished with success", out);
    }

    /// The data is the primary's; from here on the stream is ours. An acknowledgement at once puts us online.
    fn stream(&mut self, now: Duration, ctx: Context<'_>, acks: bool, why: &str, out: &mut Outcome) {
        let acks = acks && !self.unheard;
        self.enter(State::Streaming { last_io: now, acked: now, acks }, why, out);
        self.followed = true;
        self.looped = false;
        self.refused = None;
        self.why = Said::default();
        self.down_since = None;
        out.actions.push(Action::Began(self.anew.clone()));
        if acks {
            self.ack(now, ctx, ctx.here.map_or(Offset(0), |p| p.offset), out);
        }
    }

    fn bytes(&mut self, now: Duration, ctx: Context<'_>, buf: &[u8], out: &mut Outcome) {
        while out.consumed < buf.len() {
            let at = out.consumed;
            let rest = &buf[at..];
            match &mut self.state {
                State::Off | State::Waiting { .. } | State::Connecting { .. } => return out.consumed = buf.len(),
                State::Loading { .. } => return,
                State::Streaming { last_io, .. } => {
                    *last_io = now;
                    out.actions.push(Action::Apply(at..buf.len()));
                    out.consumed = buf.len();
                }
                State::Receiving { last_io, signed, transfer, at: position, guarded } => {
                    *last_io = now;
                    // Over a slow line the primary has sent all long before it is here.
                    if now >= *signed + ACK_PERIOD {
                        *signed = now;
                        out.actions.push(Action::Send(b"\n".to_vec()));
                    }
                    let (take, done) = transfer.feed(rest);
                    out.actions.push(Action::Payload(at..at + take));
                    out.consumed += take;
                    if done {
                        let (at, guarded, trailer) = (*position, *guarded, transfer.trailer());
                        self.finish(now, at, guarded, trailer, out);
                    }
                }
                _ => match rest.iter().take(MAX_LINE).position(|b| *b == b'\n') {
                    Some(end) => {
                        out.consumed += end + 1;
                        let line = rest[..end].strip_suffix(b"\r").unwrap_or(&rest[..end]);
                        self.line(now, ctx, line, out);
                    }
                    None if rest.len() >= MAX_LINE => {
                        self.fail(now, "the primary doesn't speak the protocol: a line without an end", out);
                    }
                    None => return,
                },
            }
        }
    }

    fn finish(&mut self, now: Duration, at: Option<Position>, guarded: bool, trailer: usize, out: &mut Outcome) {
        out.actions.push(Action::FinishLoad { trailer, guarded, at });
        self.enter(State::Loading { last_sign: now, at, marked: trailer > 0 }, "the payload is complete", out);
    }

    fn line(&mut self, now: Duration, ctx: Context<'_>, line: &[u8], out: &mut Outcome) {
        match &mut self.state {
            State::Handshake { last_io, asked } => {
                *last_io = now;
                let step = asked.pop_front();
                self.answered(now, ctx, step, line, out);
            }
            State::Psync { last_io, .. } if line.is_empty() => *last_io = now,
            State::Psync { offered, .. } => {
                let offered = *offered;
                self.psync_answer(now, ctx, offered, line, out);
            }
            State::Announced { .. } => self.announced(now, line, out),
            _ => {}
        }
    }

    fn answered(&mut self, now: Duration, ctx: Context<'_>, step: Option<Step>, line: &[u8], out: &mut Outcome) {
        let Some(step) = step else { return };
        match handshake::judge(step, line) {
            Verdict::Fatal(why) => return self.lose(now, &why, true, out),
            Verdict::Ignored(what) => out.actions.push(Action::Log(log::Level::Info, what)),
            Verdict::Forbidden(said) => self.goes_unheard(now, &said, out),
            Verdict::Fine => {}
        }
        if step == Step::Capabilities {
            (self.goes_on_from, self.anew) = (handshake::goes_on_from(line), handshake::began_anew(line));
            (self.took, self.told_itself) = (handshake::took(line), handshake::path(line).is_some());
        }
        if step == Step::Capabilities
            && let Some(path) = handshake::path(line)
            && !self.upstream(now, ctx, path, out)
        {
            return;
        }
        let State::Handshake { asked, .. } = &mut self.state else { return };
        if step == Step::Ping {
            let (steps, bytes): (Vec<Step>, Vec<Vec<u8>>) = handshake::questions(ctx.settings).into_iter().unzip();
            asked.extend(steps);
            out.actions.push(Action::Send(bytes.concat()));
        } else if asked.is_empty() {
            self.ask_psync(now, ctx, out);
        }
    }

    /// Nothing of us is known there: the link holds for `repl-timeout`, which is more than a refused acknowledgement leaves of it.
    fn goes_unheard(&mut self, now: Duration, said: &str, out: &mut Outcome) {
        self.unheard = true;
        if self.replconf_refused.is_news(now, said) {
            let text = format!(
                "The primary lets this user say no REPLCONF: it doesn't know our port, counts on nothing of what we have, and \
                 closes the link each time its repl-timeout is over. A replica's user needs +psync +replconf +ping. It said: {said}"
            );
            out.actions.push(Action::Log(log::Level::Warn, text));
        }
    }

    /// Notes whom we would follow, over all hops; false if that is ourselves.
    fn upstream(&mut self, now: Duration, ctx: Context<'_>, mut path: Vec<String>, out: &mut Outcome) -> bool {
        let own = ctx.settings.node.as_ref().and_then(|own| path.iter().position(|id| id == own));
        if let Some(at) = own {
            path.truncate(at + 1);
        }
        // Also in a loop: the others learn of it by what we tell them.
        out.actions.push(Action::Upstream(path));
        // A replica that shall take our role follows us still: its promotion is what we ask for.
        let Some(hops) = own.filter(|_| !self.handing_over) else { return true };
        self.looped = true;
        let why = match hops {
            0 => "REPLICAOF loop: the address is this node's own".to_string(),
            n => format!("REPLICAOF loop: that node follows this one, {n} hop{} up", if n == 1 { "" } else { "s" }),
        };
        self.fail(now, &why, out);
        false
    }

    fn ask_psync(&mut self, now: Duration, ctx: Context<'_>, out: &mut Outcome) {
        if self.is_still_without(ctx) {
            return self.refuse_again(now, out);
        }
        let psync = match ctx.here {
            Some(here) => {
                let next = here.offset.plus(1).to_string();
                let words: [&[u8]; 4] = [b"PSYNC", here.replid.as_str().as_bytes(), next.as_bytes(), b"FAILOVER"];
                text::command(&words[..if self.handing_over { 4 } else { 3 }])
            }
            None => text::command(&[b"PSYNC", b"?", b"-1"]),
        };
        let why = match ctx.here {
            Some(here) => {
                format!("Trying a partial resynchronization (request {}:{})", here.replid, here.offset.plus(1))
            }
            None => "Partial resynchronization not possible (no cached master)".to_string(),
        };
        if self.handing_over {
            out.actions.push(Action::AskToTakeOver);
        }
        out.actions.push(Action::Send(psync));
        self.enter(State::Psync { last_io: now, offered: ctx.here }, &why, out);
    }

    fn psync_answer(
        &mut self,
        now: Duration,
        ctx: Context<'_>,
        offered: Option<Position>,
        line: &[u8],
        out: &mut Outcome,
    ) {
        let said = String::from_utf8_lossy(line).into_owned();
        let handing_over = std::mem::take(&mut self.handing_over);
        let asked_before = handing_over && std::mem::take(&mut self.asked_before);
        if asked_before && line.starts_with(b"-LOADING") {
            (self.handing_over, self.asked_before) = (true, true);
            return self.fail(now, &format!("the failover's target can't say yet whether it took over: {said}"), out);
        }
        if asked_before && line.starts_with(IS_MASTER) && self.took_over(offered) {
            let text = "The failover's target is a primary since it was asked: it took over, only its answer was lost";
            out.actions.push(Action::Log(log::Level::Warn, text.to_string()));
            out.actions.push(Action::HandedOver(Ok(())));
            return self.ask_psync(now, ctx, out);
        }
        if asked_before && line.starts_with(IS_MASTER) {
            let text =
                "The failover's target is a primary without what this node has: it isn't followed, and there are two";
            out.actions.push(Action::Log(log::Level::Warn, text.to_string()));
        }
        if handing_over {
            let accepted = line.starts_with(b"+FULLRESYNC ") || line.starts_with(b"+CONTINUE");
            out.actions.push(Action::HandedOver(if accepted { Ok(()) } else { Err(said.clone()) }));
        }
        if let Some(rest) = line.strip_prefix(b"+FULLRESYNC ") {
            return match parse_full(rest) {
                Some(at) => self.full_resync(now, ctx, offered, at, out),
                None => self.fail(now, &format!("Master replied with wrong +FULLRESYNC syntax: {said}"), out),
            };
        }
        if let Some(rest) = line.strip_prefix(b"+CONTINUE") {
            let replid = ReplId::parse(rest.trim_ascii());
            if offered.is_none() || (replid.is_none() && !rest.trim_ascii().is_empty()) {
                return self.fail(now, &format!("unexpected reply to PSYNC: {said}"), out);
            }
            out.actions.push(Action::Resume(replid));
            self.history = replid.or(offered.map(|ours| ours.replid));
            // The id may be new now, the offset is the one we offered.
            return self.stream(now, ctx, true, "Successful partial resynchronization with master", out);
        }
        if !handing_over && knows_no_psync(line) {
            return self.fall_back(now, &said, out);
        }
        let transient = line.starts_with(b"-NOMASTERLINK") || line.starts_with(b"-LOADING");
        if transient {
            let why = format!("Master is currently unable to PSYNC but should be in the future: {said}");
            return self.fail(now, &why, out);
        }
        self.lose(now, &format!("Unexpected reply to PSYNC from master: {said}"), true, out);
    }

    /// A primary that was our replica when it was asked. One that tells what it goes on from must name our history, be it as the
    /// one it took over from before it was started again; of any other the promotion is believed, for two primaries would be
    /// worse.
    fn took_over(&self, offered: Option<Position>) -> bool {
        let ours = offered.map(|ours| ours.replid);
        !self.told_itself || (ours.is_some() && (self.goes_on_from == ours || self.took == ours))
    }

    fn full_resync(
        &mut self,
        now: Duration,
        ctx: Context<'_>,
        offered: Option<Position>,
        at: Position,
        out: &mut Outcome,
    ) {
        if let Some(why) = offered.and_then(|ours| self.keeps_ours(ctx, ours, at)) {
            return self.keep(now, ctx, at.replid, why, out);
        }
        let guarded = offered.is_some_and(|ours| self.guards(ctx) && !self.is_of(ours.replid, at));
        // Offsets of different histories say nothing of each other.
        let lost = offered
            .filter(|ours| ctx.has_data && self.followed && self.is_of(ours.replid, at) && at.offset < ours.offset);
        if let Some(bytes) = lost.map(|ours| ours.offset.0 - at.offset.0) {
            let text = format!(
                "The primary came back with an older state: {bytes} bytes of the stream that we have are dropped"
            );
            out.actions.push(Action::Log(log::Level::Warn, text));
        }
        let ours = offered.map_or("none".to_string(), |p| format!("{}:{}", p.replid, p.offset));
        let why = format!("Full resync from master: {}:{} (our history: {ours})", at.replid, at.offset);
        self.announce(now, Some(at), guarded, (log::Level::Info, why), out);
    }

    /// An old primary: everything is taken, under a name that only we know.
    fn fall_back(&mut self, now: Duration, said: &str, out: &mut Outcome) {
        out.actions.push(Action::Send(b"SYNC\r\n".to_vec()));
        let why = format!("Master does not support PSYNC (reply: {said}). Retrying with SYNC...");
        // It may refuse that too, and be asked again in a second.
        let level = if self.psync_refused.is_news(now, said) { log::Level::Info } else { log::Level::Debug };
        self.announce(now, None, false, (level, why), out);
    }

    fn announce(
        &mut self,
        now: Duration,
        at: Option<Position>,
        guarded: bool,
        (level, why): (log::Level, String),
        out: &mut Outcome,
    ) {
        out.actions.push(Action::BeginLoad(at));
        out.actions.push(Action::Log(level, why.clone()));
        self.enter(State::Announced { last_io: now, at, guarded }, &why, out);
    }

    fn announced(&mut self, now: Duration, line: &[u8], out: &mut Outcome) {
        let State::Announced { last_io, at, guarded } = &mut self.state else { return };
        match transfer::preamble(line) {
            Preamble::StillPreparing => *last_io = now,
            Preamble::Payload(framing) => {
                let (at, guarded, transfer) = (*at, *guarded, Transfer::new(framing));
                let empty = transfer.total() == Some(0);
                self.enter(
                    State::Receiving { last_io: now, signed: now, at, guarded, transfer },
                    "MASTER <-> REPLICA sync: receiving",
                    out,
                );
                if empty {
                    self.finish(now, at, guarded, 0, out);
                }
            }
            Preamble::Refused(why) => self.fail(now, &format!("MASTER aborted replication with an error: {why}"), out),
            Preamble::Nonsense => {
                let said = String::from_utf8_lossy(line).into_owned();
                self.fail(
                    now,
                    &format!("Bad protocol from MASTER, the first byte is not '$' (we received '{said}')"),
                    out,
                );
            }
        }
    }
}

/// What a primary answers when it is asked to take over.
const IS_MASTER: &[u8] = b"-ERR PSYNC FAILOVER can't be sent to a master";

/// Errors that say that PSYNC doesn't exist there. Any other one may be over in a second: everything isn't taken for it.
fn knows_no_psync(line: &[u8]) -> bool {
    let line = line.to_ascii_lowercase();
    line.starts_with(b"-err unknown command") || line.starts_with(b"-noperm")
}

/// `<replid> <offset>` behind `+FULLRESYNC`.
fn parse_full(rest: &[u8]) -> Option<Position> {
    let space = rest.iter().position(|b| *b == b' ')?;
    let replid = ReplId::parse(&rest[..space])?;
    let offset = Offset::parse(std::str::from_utf8(&rest[space + 1..]).ok()?.trim())?;
    Some(Position { replid, offset })
}
