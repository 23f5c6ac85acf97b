//! One client as its driver sees it: socket, undecoded input, unsent output. Knows nothing of commands.

use super::super::service::Handover;
use super::super::socket::{Arrived, Raw};
use super::inbox::Link;
use super::outbox::Outbox;
use super::output::{Output, Spare};
use super::resting::Debt;
use super::socket;
use keystead_engine::resp::{Decoder, Limits};
use keystead_engine::{Flow, SessionId};
use std::io;
use std::sync::Arc;

/// Room made for one read.
const READ_ROOM: usize = 16 * 1024;
/// Bytes taken from one client in one turn: a flood must not starve its neighbours.
const READ_BUDGET: usize = 64 * 1024;
/// The same in the midst of a large argument, which costs no more than its copy.
const READ_LARGE: usize = 1024 * 1024;
/// A parked client's input is read on up to here, to notice when it goes away; then the kernel holds the rest.
const PARKED_INPUT: usize = 1024 * 1024;
/// Buffers larger than this aren't kept when they run empty.
const KEEP: usize = 64 * 1024;
/// How often the engine is told that a slow reader's output moves: `timeout` is a second at least.
const MOVED_EVERY_US: u64 = 200_000;
/// Idle buffers kept for the next clients that have something to say: an idle client holds none.
const POOL: usize = 64;

/// A client.
pub(super) struct Conn {
    pub(super) socket: Raw,
    pub(super) link: Arc<Link>,
    pub(super) session: SessionId,
    pub(super) decoder: Decoder,
    /// What the decoder allows, as of the last turn.
    pub(super) limits: Limits,
    /// Received bytes; those before `start` are executed.
    pub(super) input: Vec<u8>,
    pub(super) start: usize,
    /// What the decoder misses at least of the command that has begun.
    pub(super) missing: usize,
    /// Where the argument stood that had begun when the socket was read last: of a later one the engine doesn't know yet, and
    /// may want none of it.
    known: usize,
    /// Replies.
    pub(super) output: Output,
    /// Replies that wait for a position of the journal to be confirmed.
    pub(super) outbox: Outbox,
    /// Waits for something: nothing is decoded.
    pub(super) parked: bool,
    /// Wrote more than its part while writers are paced: nothing is read until then, µs.
    pub(super) resting: Option<u64>,
    /// What it has yet to rest.
    pub(super) debt: Debt,
    /// Close when the output is sent.
    pub(super) closing: bool,
    /// The peer has ended: nothing more comes.
    pub(super) ended: bool,
    /// In the list of clients to be served in the next turn.
    pub(super) listed: bool,
    /// The window of the driver's naps in which it was served last.
    pub(super) window: u32,
    /// The decoder stopped at its budget: there may be another whole command.
    pub(super) more: bool,
    /// The engine was told of unsent output, so it must be told when it is gone.
    pub(super) reported: bool,
    /// What the engine was told of undecoded input.
    pub(super) unread: usize,
    /// When the engine was told last that its output moves, in steps of `MOVED_EVERY_US`.
    moved: u64,
    /// A plugin waits for the socket until the replies before are sent.
    pub(super) handover: Option<Handover>,
    /// Its replies wait for the end of a turn: a long command makes it long, or others are served before a file is written.
    pub(super) owed: bool,
    /// What the poller was asked to watch: read, write.
    pub(super) watched: (bool, bool),
}

impl Conn {
    pub(super) fn new(socket: Raw, link: Arc<Link>, session: SessionId, limits: Limits) -> Conn {
        Conn {
            socket,
            link,
            session,
            decoder: Decoder::new(),
            limits,
            input: Vec::new(),
            start: 0,
            missing: 0,
            known: 0,
            output: Output::default(),
            outbox: Outbox::default(),
            parked: false,
            resting: None,
            debt: Debt::default(),
            closing: false,
            ended: false,
            listed: false,
            window: 0,
            more: false,
            reported: false,
            unread: 0,
            moved: 0,
            handover: None,
            owed: false,
            watched: (true, false),
        }
    }

    /// Reads what there is, within the budget; gives the number of bytes.
    pub(super) fn fill(&mut self, pool: &mut Vec<Vec<u8>>) -> usize {
        if self.input.capacity() == 0
            && let Some(buffer) = pool.pop()
        {
            self.input = buffer;
        }
        let before = self.input.len();
        self.known = self.decoder.begun().taken;
        let large = self.misses_much();
        let budget = if large { READ_LARGE } else { READ_BUDGET };
        let exact = (large || before >= READ_BUDGET && self.missing > 0) && !self.parked && !self.closing;
        // The decoder asks for a part at a time of what a large argument promised.
        let missing = self.missing.max(if exact { self.decoder.begun().promised } else { 0 });
        while self.input.len() - before < budget {
            let (len, room) = (self.input.len(), self.input.capacity() - self.input.len());
            match missing.saturating_sub(len - before) {
                0 if exact => break,
                missing if exact && missing <= room => {}
                missing if exact && len >= READ_BUDGET => self.input.reserve_exact(growth(missing, len)),
                // Room for what arrives, never for what a header promises.
                _ => self.input.reserve(READ_ROOM),
            }
            match socket::read(&mut self.socket, &mut self.input) {
                Arrived::Bytes { more: true, .. } => {}
                Arrived::Bytes { .. } | Arrived::Nothing => break,
                Arrived::Ended => {
                    self.ended = true;
                    break;
                }
            }
        }
        self.input.len() - before
    }

    /// In the midst of an argument of which more is missing than is read otherwise.
    pub(super) fn misses_much(&self) -> bool {
        let known = self.known == self.decoder.begun().taken;
        let read_on = !self.ended && !self.parked && !self.closing && self.resting.is_none();
        self.missing >= READ_BUDGET && known && read_on
    }

    /// What a command's end means for the rest of the input: true if nothing more of it may run.
    pub(super) fn stops(&mut self, flow: Flow) -> bool {
        if flow == Flow::Next {
            return false;
        }
        self.decoder.reset();
        self.more = false;
        self.parked |= matches!(flow, Flow::Parked | Flow::Takeover);
        self.closing |= flow == Flow::Close;
        true
    }

    /// Bytes not yet executed.
    pub(super) fn rest(&self) -> &[u8] {
        &self.input[self.start..]
    }

    /// Forgets executed bytes; an empty buffer goes back to the pool.
    pub(super) fn compact(&mut self, pool: &mut Vec<Vec<u8>>) {
        if self.start == self.input.len() {
            let mut buffer = std::mem::take(&mut self.input);
            self.start = 0;
            buffer.clear();
            if (1..=KEEP).contains(&buffer.capacity()) && pool.len() < POOL {
                pool.push(buffer);
            }
        } else if self.start > 0 {
            self.input.drain(..self.start);
            self.start = 0;
        }
    }

    /// Whether the socket should be read: not while a parked or finished client floods us, nor while it rests.
    pub(super) fn wants_input(&self) -> bool {
        !self.ended && !self.closing && self.resting.is_none() && (!self.parked || self.rest().len() < PARKED_INPUT)
    }

    /// Sends what the socket takes; gives the number of bytes. Behind the last a large buffer is spare.
    pub(super) fn flush(&mut self, spare: &mut Spare) -> io::Result<usize> {
        let mut sent = 0;
        while !self.output.is_empty() {
            match socket::write(&mut self.socket, self.output.front())? {
                0 => break,
                count => {
                    self.output.advance(count);
                    sent += count;
                }
            }
        }
        self.output.tidy(spare);
        Ok(sent)
    }

    /// Some of its output left at this time: true if the engine is to be told.
    pub(super) fn moves(&mut self, now_us: u64) -> bool {
        let step = now_us / MOVED_EVERY_US;
        std::mem::replace(&mut self.moved, step) != step
    }

    /// Bytes not yet sent, held ones among them.
    pub(super) fn unsent(&self) -> usize {
        self.sendable() + self.outbox.bytes()
    }

    /// Bytes that only the socket keeps back.
    pub(super) fn sendable(&self) -> usize {
        self.output.len()
    }

    /// The memory that unsent bytes take.
    pub(super) fn unsent_memory(&self) -> usize {
        self.output.memory() + self.outbox.bytes()
    }
}

/// How much room an input of `len` bytes gets that misses so many of a command: those, but no more than there are, and a
/// sixteenth at least, so that many arguments are not copied for each. Doubled without need, a client's input would count twice.
fn growth(missing: usize, len: usize) -> usize {
    missing.clamp(len / 16, len)
}

#[cfg(test)]
mod tests {
    use super::super::inbox::Inbox;
    use super::*;
    use parking_lot::Mutex;

    /// What it sends stays in its socket, a large argument's rest too.
    #[test]
    fn who_rests_is_not_read_in_the_midst_of_a_large_argument() {
        let (socket, _peer) = std::os::unix::net::UnixStream::pair().expect("a pair");
        let inbox = Arc::new(Inbox::new().expect("an inbox"));
        let link = Arc::new(Link { inbox, at: 0, held: Mutex::default() });
        let session = SessionId { slot: 0, id: 1 };
        let mut conn = Conn::new(Raw::Unix(socket), link, session, Limits::default());
        conn.missing = READ_BUDGET;
        assert!(conn.misses_much() && conn.wants_input());
        conn.resting = Some(1);
        assert!(!conn.misses_much() && !conn.wants_input());
    }

    /// Bytes copied while an argument of `whole` bytes grows in a buffer, and the most room there ever is.
    fn grown(whole: usize) -> (usize, usize) {
        let (mut len, mut copied, mut most) = (64 * 1024, 0, 0);
        while len < whole {
            let room = growth(whole - len, len);
            copied += len;
            most = most.max(room);
            len += room;
        }
        assert_eq!(len, whole, "no room is left over");
        (copied, most)
    }

    #[test]
    fn an_argument_is_copied_once_on_its_way_and_never_given_more_room_than_it_has_bytes() {
        for whole in [100_000, 1_000_000, 64 << 20, 512 << 20] {
            let (copied, most) = grown(whole);
            assert!(copied <= whole && most <= whole / 2, "{whole}: {copied} copied, room for {most}");
        }
    }

    /// A command of ten million short arguments.
    #[test]
    fn many_arguments_are_not_copied_for_each() {
        let (mut len, mut times) = (64 * 1024, 0);
        while len < 100_000_000 {
            len += growth(10, len);
            times += 1;
        }
        assert!(times < 130, "{times}");
    }
}
