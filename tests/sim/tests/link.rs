//! The link's machine against primaries that lie: sessions whose bytes are flipped, cut off, repeated or spliced, in
//! pieces of any size, with anything else that can happen in between.
//!
//! TCP lets none of that through; a broken peer does. The machine must not panic, must keep its promises to the shell at
//! every step, and must follow the next honest primary. `KEYSTEAD_SIM_SEED=n` replays one seed, `KEYSTEAD_SIM_SEEDS=n`
//! runs more.

use keystead_replication::link::{Action, Context, Event, Link, Outcome, Settings, Target};
use keystead_replication::units::{Offset, Position, ReplId};
use keystead_sim::replication::Rng;
use std::time::Duration;

/// What a machine may leave unread at most: a line of the handshake has a limit.
const MAX_UNREAD: usize = 64 * 1024 + 1;

/// What the shell believes, from the actions alone.
#[derive(Debug, Default, PartialEq, Eq, Clone, Copy)]
enum Shell {
    #[default]
    Idle,
    Connecting,
    Open,
    /// A load was begun, its payload is arriving.
    Receiving,
    /// The payload is complete; the machine waits for our word.
    Loading,
    Streaming,
}

struct Bench {
    seed: u64,
    rng: Rng,
    link: Link,
    settings: Settings,
    here: Option<Position>,
    now: Duration,
    inbox: Vec<u8>,
    shell: Shell,
    /// Bytes of the payload that the shell keeps.
    payload: usize,
    applied: usize,
}

fn id(c: u8) -> ReplId {
    ReplId::parse(&[c; 40]).expect("forty letters")
}

impl Bench {
    fn new(seed: u64) -> Bench {
        let mut rng = Rng::new(seed);
        let here = rng.one_in(2).then(|| Position { replid: id(b'a'), offset: Offset(rng.below(1000)) });
        let node = rng.one_in(2).then(|| "1".repeat(40));
        // A stream of nonsense may tell any offset: what is kept from whom isn't this test's.
        let settings = Settings { timeout: Duration::from_secs(10), node, keep_data: false, ..Settings::default() };
        let mut bench = Bench {
            seed,
            rng,
            link: Link::default(),
            settings,
            here,
            now: Duration::from_secs(1),
            inbox: Vec::new(),
            shell: Shell::Idle,
            payload: 0,
            applied: 0,
        };
        bench.step(Event::Follow(Target { host: "h".into(), port: 1 }));
        bench
    }

    fn broken(&self, what: &str) -> ! {
        panic!(
            "{what} (the shell is {:?}, the link {:?})\nreplay: KEYSTEAD_SIM_SEED={} cargo test -p keystead-sim --test link",
            self.shell, self.link, self.seed
        );
    }

    fn step(&mut self, event: Event<'_>) {
        let ctx = Context { settings: &self.settings, here: self.here, durable: None, has_data: true };
        let outcome = self.link.step(self.now, ctx, event);
        if outcome.consumed != 0 {
            self.broken("only bytes are consumed");
        }
        self.act(outcome, 0);
    }

    /// Offers what is unread, as the shell does: everything, again and again until nothing more is taken.
    fn offer(&mut self) {
        let inbox = std::mem::take(&mut self.inbox);
        let ctx = Context { settings: &self.settings, here: self.here, durable: None, has_data: true };
        let outcome = self.link.step(self.now, ctx, Event::Bytes(&inbox));
        if outcome.consumed > inbox.len() {
            self.broken("more was consumed than there was");
        }
        self.inbox = inbox[outcome.consumed..].to_vec();
        self.act(outcome, inbox.len());
        if self.shell != Shell::Loading && self.inbox.len() > MAX_UNREAD {
            self.broken("the unread grows without a limit");
        }
    }

    fn act(&mut self, outcome: Outcome, offered: usize) {
        let consumed = outcome.consumed;
        let mut at = 0;
        for action in outcome.actions {
            if let Action::Payload(range) | Action::Apply(range) = &action {
                if range.start < at || range.end > consumed || range.end > offered || range.start > range.end {
                    self.broken("a range lies outside of what was consumed, or comes twice");
                }
                at = range.end;
            }
            self.shell = match (self.shell, action) {
                (Shell::Idle, Action::Connect(_)) => Shell::Connecting,
                (
                    Shell::Connecting | Shell::Open | Shell::Receiving | Shell::Loading | Shell::Streaming,
                    Action::Disconnect,
                ) => {
                    self.inbox.clear();
                    Shell::Idle
                }
                (Shell::Connecting, Action::Send(_)) => Shell::Open,
                (Shell::Open, Action::BeginLoad(_)) => {
                    self.payload = 0;
                    Shell::Receiving
                }
                (Shell::Receiving, Action::Payload(range)) => {
                    self.payload += range.len();
                    Shell::Receiving
                }
                (Shell::Receiving, Action::FinishLoad { trailer, .. }) => {
                    if trailer > self.payload {
                        self.broken("more is to be cut off than there is");
                    }
                    Shell::Loading
                }
                (Shell::Receiving | Shell::Loading, Action::AbortLoad) => self.shell,
                (Shell::Open, Action::Resume(_)) => {
                    if self.here.is_none() {
                        self.broken("a history goes on that we don't have");
                    }
                    Shell::Streaming
                }
                (Shell::Streaming, Action::Apply(range)) => {
                    self.applied += range.len();
                    Shell::Streaming
                }
                (same, Action::Log(..)) => same,
                (Shell::Open | Shell::Receiving | Shell::Loading | Shell::Streaming, Action::Send(_)) => self.shell,
                (Shell::Streaming, Action::Began(_)) => Shell::Streaming,
                (Shell::Open, Action::Upstream(path)) => {
                    if path.len() > 64 {
                        self.broken("a path without a limit is kept");
                    }
                    Shell::Open
                }
                (_, other) => self.broken(&format!("{other:?} makes no sense here")),
            };
        }
        let waits = self.link.target().is_some() && self.link.deadline(self.now, &self.settings).is_none();
        if waits {
            self.broken("it waits for ever");
        }
    }

    /// Something that isn't bytes.
    fn happens(&mut self) {
        match self.rng.below(8) {
            0 => {
                self.now += Duration::from_millis(self.rng.below(12_000));
                self.step(Event::Tick);
            }
            1 if self.shell == Shell::Connecting => self.step(Event::Connected),
            2 if self.shell != Shell::Idle => self.step(Event::Failed("closed".into())),
            3 | 4 if self.shell == Shell::Loading => self.loaded(),
            5 if self.shell == Shell::Loading => self.step(Event::LoadFailed("nonsense".into())),
            6 if self.shell == Shell::Loading => self.step(Event::CameBackEmpty),
            7 if self.shell == Shell::Streaming => self.step(Event::AckAsked(Offset(1))),
            _ => {}
        }
    }

    fn loaded(&mut self) {
        self.here = Some(Position { replid: id(b'b'), offset: Offset(7) });
        self.shell = Shell::Streaming;
        self.step(Event::Loaded);
        self.offer();
    }

    /// An honest session's bytes.
    fn session(&mut self) -> Vec<u8> {
        let mut bytes = b"+PONG\r\n+OK\r\n".to_vec();
        match self.rng.below(3) {
            0 => bytes.extend(format!("+OK keystead-path {} {}\r\n", "2".repeat(40), "3".repeat(40)).bytes()),
            _ => bytes.extend(b"+OK\r\n"),
        }
        let body: Vec<u8> = (0..self.rng.below(300)).map(|_| self.rng.next_u64() as u8).collect();
        match self.rng.below(4) {
            0 => bytes.extend(format!("+CONTINUE {}\r\n", "b".repeat(40)).bytes()),
            1 => bytes.extend(b"-ERR unknown command 'PSYNC'\r\n"),
            _ => bytes.extend(format!("+FULLRESYNC {} 7\r\n\n\n", "b".repeat(40)).bytes()),
        }
        if self.rng.one_in(2) {
            bytes.extend(format!("${}\r\n", body.len()).bytes());
            bytes.extend(&body);
        } else {
            bytes.extend([b"$EOF:", &[b'e'; 40][..], b"\r\n", &body, &[b'e'; 40]].concat());
        }
        bytes.extend(b"*1\r\n$4\r\nPING\r\n*3\r\n$8\r\nREPLCONF\r\n$6\r\nGETACK\r\n$1\r\n*\r\n");
        bytes
    }

    /// The same, as a broken peer sends it.
    fn harmed(&mut self) -> Vec<u8> {
        let mut bytes = self.session();
        for _ in 0..self.rng.below(4) {
            let at = self.rng.below(bytes.len() as u64) as usize;
            match self.rng.below(6) {
                0 => bytes[at] ^= 1 << self.rng.below(8),
                1 => bytes.truncate(at.max(1)),
                2 => bytes.insert(at, self.rng.next_u64() as u8),
                3 => {
                    let again = bytes[at..].to_vec();
                    bytes.extend(again);
                }
                4 => {
                    let other = self.session();
                    let from = self.rng.below(other.len() as u64) as usize;
                    bytes.splice(at.., other[from..].iter().copied());
                }
                // A line that never ends.
                _ => bytes.splice(at..at, std::iter::repeat_n(b'x', 70_000)).for_each(drop),
            }
        }
        bytes
    }

    /// An honest primary after all that: within a few attempts the stream is ours.
    fn heals(&mut self) {
        for _ in 0..20 {
            self.now += Duration::from_secs(11);
            self.step(Event::Tick);
            // A load ends some day, and its word is the shell's.
            if self.shell == Shell::Loading {
                self.step(Event::LoadFailed("nonsense".into()));
            }
            if self.shell != Shell::Connecting {
                continue;
            }
            self.step(Event::Connected);
            // Another history each time: one that came back empty is refused for ever.
            let name = format!("{:040x}", self.rng.next_u64());
            self.inbox = format!("+PONG\r\n+OK\r\n+OK\r\n+FULLRESYNC {name} 7\r\n$3\r\nrdb").into_bytes();
            self.offer();
            if self.shell == Shell::Loading {
                self.loaded();
                if self.link.up() {
                    return;
                }
            }
        }
        self.broken("it doesn't follow an honest primary any more");
    }
}

fn seeds(count: u64) -> std::ops::Range<u64> {
    let number = |name: &str| std::env::var(name).ok().and_then(|text| text.parse::<u64>().ok());
    let one = number("KEYSTEAD_SIM_SEED");
    one.map_or(0..number("KEYSTEAD_SIM_SEEDS").unwrap_or(count), |seed| seed..seed + 1)
}

#[test]
fn corrupted_and_truncated_streams() {
    let (mut applied, mut loads) = (0, 0);
    for seed in seeds(2000) {
        let mut bench = Bench::new(seed);
        for _ in 0..6 {
            if bench.shell == Shell::Connecting {
                bench.step(Event::Connected);
            }
            let bytes = bench.harmed();
            let mut rest = &bytes[..];
            while !rest.is_empty() {
                let take = match bench.rng.below(3) {
                    0 => 1 + bench.rng.below(5) as usize,
                    1 => 1 + bench.rng.below(200) as usize,
                    _ => rest.len(),
                };
                let (piece, behind) = rest.split_at(take.min(rest.len()));
                rest = behind;
                if matches!(bench.shell, Shell::Idle | Shell::Connecting) {
                    break;
                }
                bench.inbox.extend(piece);
                bench.offer();
                if bench.shell == Shell::Loading && bench.rng.one_in(2) {
                    loads += 1;
                    bench.loaded();
                }
                if bench.rng.one_in(6) {
                    bench.happens();
                }
            }
            bench.happens();
            bench.now += Duration::from_secs(2);
            bench.step(Event::Tick);
        }
        bench.heals();
        applied += bench.applied;
    }
    assert!(applied > 0 && loads > 0, "nothing of it came through: {applied} {loads}");
}
