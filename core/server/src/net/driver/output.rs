//! What a client has yet to be sent, in order. Owns the bytes: a small piece grows as a buffer does, a large one stays as it
//! came, so that what a slow client has waiting takes about as much memory as there are bytes. Once all is sent a large buffer
//! goes to the spare ones, of which a driver has a few: who has nothing to say holds none. Knows no socket.

use std::collections::VecDeque;

/// A piece takes more bytes behind its own up to here, and whatever it has room for.
const PIECE: usize = 16 * 1024;
/// An empty buffer of this size stays with its client: short replies need no other.
const OWN: usize = 2 * 1024;
/// Buffers larger than this aren't kept when they run empty.
const KEEP: usize = 64 * 1024;
/// Spare buffers take no more than this: as much as the large replies of one turn usually do.
const SPARE: usize = 1024 * 1024;
/// Who had a large reply is lent a buffer until so many short ones came behind it.
const BULKY: u8 = 8;

/// Empty buffers, for clients whose replies are large.
#[derive(Default)]
pub(super) struct Spare {
    buffers: Vec<Vec<u8>>,
    /// The room they take.
    room: usize,
}

impl Spare {
    /// One of them, that which was used last.
    pub(super) fn take(&mut self) -> Option<Vec<u8>> {
        let buffer = self.buffers.pop()?;
        self.room -= buffer.capacity();
        Some(buffer)
    }

    /// An empty buffer; freed if there are enough, or if it is very large.
    fn add(&mut self, buffer: Vec<u8>) {
        debug_assert!(buffer.is_empty());
        if buffer.capacity() <= KEEP && self.room + buffer.capacity() <= SPARE {
            self.room += buffer.capacity();
            self.buffers.push(buffer);
        }
    }
}

/// Bytes to be sent.
#[derive(Default)]
pub(super) struct Output {
    first: Vec<u8>,
    /// Those of `first` that are sent.
    sent: usize,
    /// Pieces behind the first; none of them is empty.
    behind: VecDeque<Vec<u8>>,
    /// Bytes in `behind`, and the room they take.
    more: usize,
    room: usize,
    /// How many outputs from now it counts as bulky.
    bulky: u8,
}

impl Output {
    /// Nothing is to be sent.
    pub(super) fn is_empty(&self) -> bool {
        self.sent == self.first.len()
    }

    /// Bytes to be sent.
    pub(super) fn len(&self) -> usize {
        self.first.len() - self.sent + self.more
    }

    /// The memory they take; a small empty buffer that is kept for the next reply counts for nothing.
    pub(super) fn memory(&self) -> usize {
        if self.is_empty() { 0 } else { self.first.capacity() + self.room }
    }

    /// The buffer of an empty output, to be exchanged for one with bytes.
    pub(super) fn buffer(&mut self) -> &mut Vec<u8> {
        debug_assert!(self.is_empty() && self.behind.is_empty());
        &mut self.first
    }

    /// Puts bytes behind the others.
    pub(super) fn push(&mut self, bytes: Vec<u8>) {
        if bytes.is_empty() {
            return;
        }
        if self.is_empty() {
            (self.first, self.sent) = (bytes, 0);
            return;
        }
        let last = self.behind.back_mut().unwrap_or(&mut self.first);
        let (free, before) = (last.capacity() - last.len(), last.capacity());
        if bytes.len() <= free || last.len() + bytes.len() <= PIECE {
            last.extend_from_slice(&bytes);
            if !self.behind.is_empty() {
                self.more += bytes.len();
                self.room += self.behind.back().map_or(0, Vec::capacity) - before;
            }
            return;
        }
        self.more += bytes.len();
        self.room += bytes.capacity();
        self.behind.push_back(bytes);
    }

    /// What is to be sent, piece by piece.
    pub(super) fn into_pieces(mut self) -> impl Iterator<Item = Vec<u8>> {
        self.first.drain(..self.sent);
        std::iter::once(self.first).chain(self.behind)
    }

    /// The bytes to be sent next.
    pub(super) fn front(&self) -> &[u8] {
        &self.first[self.sent..]
    }

    /// So many of those are sent.
    pub(super) fn advance(&mut self, count: usize) {
        self.sent += count;
        if !self.is_empty() {
            return;
        }
        self.sent = 0;
        match self.behind.pop_front() {
            Some(next) => {
                self.more -= next.len();
                self.room -= next.capacity();
                self.first = next;
            }
            None => {
                let large = (OWN + 1..=KEEP).contains(&self.first.len());
                self.bulky = if large { BULKY } else { self.bulky.saturating_sub(1) };
                self.first.clear();
            }
        }
    }

    /// The next replies are probably large, and should find a spare buffer. Behind bytes that wait they take their own: it has
    /// no more room than they need.
    pub(super) fn wants_room(&self) -> bool {
        self.bulky > 0 && self.is_empty()
    }

    /// An output without bytes gives a large buffer back.
    pub(super) fn tidy(&mut self, spare: &mut Spare) {
        if self.is_empty() && self.first.capacity() > OWN {
            spare.add(std::mem::take(&mut self.first));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{BULKY, KEEP, OWN, Output, SPARE, Spare};

    /// Takes all of it, some bytes at a time.
    fn drain(output: &mut Output, step: usize) -> Vec<u8> {
        let mut all = Vec::new();
        while !output.is_empty() {
            let part = output.front();
            let part = part[..part.len().min(step)].to_vec();
            output.advance(part.len());
            all.extend(part);
        }
        all
    }

    #[test]
    fn bytes_leave_in_order_whatever_their_pieces() {
        let sizes = [1, 3, 10_000, 5_000, 2_000, 100_000, 7, 20_000, 20_000, 1];
        let (mut output, mut all) = (Output::default(), Vec::new());
        for (at, size) in sizes.into_iter().enumerate() {
            let piece = vec![b'a' + at as u8; size];
            all.extend_from_slice(&piece);
            output.push(piece);
            assert_eq!(output.len(), all.len());
        }
        assert_eq!(drain(&mut output, 777), all);
        assert_eq!((output.len(), output.memory(), output.more, output.room), (0, 0, 0, 0));
    }

    /// A turn of a client whose reply has so many bytes: the session's buffer, lent or its own, is exchanged with the output's,
    /// as `swap_out` does. Gives the room that the reply found.
    fn turn(session: &mut Vec<u8>, output: &mut Output, spare: &mut Spare, reply: usize) -> usize {
        if output.wants_room()
            && let Some(room) = spare.take()
        {
            *session = room;
        }
        let found = session.capacity();
        session.resize(reply, b'x');
        std::mem::swap(session, output.buffer());
        output.advance(reply);
        output.tidy(spare);
        found
    }

    #[test]
    fn whoever_was_told_much_holds_no_room_for_it() {
        let mut spare = Spare::default();
        for reply in [60_000, 60_000, 5, 20_000, 100_000, 5] {
            let (mut session, mut output) = (Vec::new(), Output::default());
            (0..3).for_each(|_| _ = turn(&mut session, &mut output, &mut spare, reply));
            assert!(session.capacity() <= OWN && output.first.capacity() <= OWN, "behind {reply} bytes");
        }
        assert!((1..=3).contains(&spare.buffers.len()), "{} for one client at a time", spare.buffers.len());
    }

    /// The same replies again and again find room that is there.
    #[test]
    fn replies_that_go_on_need_no_new_room() {
        for reply in [5, OWN, OWN + 1, 16_000, KEEP] {
            let mut spare = Spare::default();
            let mut clients: Vec<(Vec<u8>, Output)> = (0..50).map(|_| Default::default()).collect();
            for round in 0..10 {
                for (session, output) in &mut clients {
                    let found = turn(session, output, &mut spare, reply);
                    assert!(round < 2 || found >= reply, "{found} for {reply} in round {round}");
                }
            }
        }
    }

    #[test]
    fn short_replies_in_between_change_nothing_until_there_are_many() {
        let (mut spare, mut session, mut output) = (Spare::default(), Vec::new(), Output::default());
        turn(&mut session, &mut output, &mut spare, 10_000);
        (1..BULKY).for_each(|_| _ = turn(&mut session, &mut output, &mut spare, 5));
        assert!(output.wants_room());
        turn(&mut session, &mut output, &mut spare, 5);
        assert!(!output.wants_room() && spare.buffers.len() == 1);
    }

    #[test]
    fn what_is_spare_has_an_end() {
        let mut spare = Spare::default();
        (0..1000).for_each(|_| spare.add(Vec::with_capacity(10_000)));
        spare.add(Vec::with_capacity(KEEP + 1));
        assert_eq!(spare.room, spare.buffers.iter().map(Vec::capacity).sum::<usize>());
        assert!(spare.room <= SPARE && spare.room > SPARE - 10_000);
        while spare.take().is_some() {}
        assert_eq!(spare.room, 0);
    }

    /// A client that doesn't read a hundred replies of 100 kB.
    #[test]
    fn what_waits_takes_as_much_as_there_is() {
        let mut output = Output::default();
        (0..100).for_each(|_| output.push(vec![b'x'; 100_000]));
        assert!(output.memory() < output.len() + output.len() / 50, "{} for {}", output.memory(), output.len());
        let mut output = Output::default();
        (0..100_000).for_each(|_| output.push(b"+PONG\r\n".to_vec()));
        assert!(output.memory() < output.len() * 9 / 8, "{} for {}", output.memory(), output.len());
        assert_eq!(drain(&mut output, 5000).len(), 700_000);
    }
}
