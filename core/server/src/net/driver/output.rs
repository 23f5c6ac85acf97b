//! What a client has yet to be sent, in order. Owns the bytes: a small piece grows as a buffer does, a large one stays as it
//! came, so that what a slow client has waiting takes about as much memory as there are bytes. Knows no socket.

use std::collections::VecDeque;

/// A piece takes more bytes behind its own up to here, and whatever it has room for.
const PIECE: usize = 16 * 1024;
/// Buffers larger than this aren't kept when they run empty.
const KEEP: usize = 64 * 1024;
/// Nor are those beyond this that were mostly empty: what every client was told once would be held for good.
const KEEP_UNUSED: usize = 16 * 1024;

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

    /// The memory they take; an empty buffer that is kept for the next reply counts for nothing.
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
                let (used, room) = (self.first.len(), self.first.capacity());
                self.first.clear();
                if room > KEEP || room > KEEP_UNUSED && used < room / 4 {
                    self.first = Vec::new();
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{KEEP, Output};

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
        assert!(output.first.capacity() <= KEEP);
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
