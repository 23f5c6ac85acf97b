//! Replies of one client that must not be shown before a position of the journal is confirmed, in order. Owns the bytes
//! until then; knows neither sockets nor who confirms.

use std::collections::VecDeque;

/// What is held of one client.
#[derive(Default)]
pub(super) struct Outbox {
    held: VecDeque<(u64, Vec<u8>)>,
    bytes: usize,
}

impl Outbox {
    /// Keeps output that depends on a position.
    pub(super) fn hold(&mut self, position: u64, output: &[u8]) {
        self.bytes += output.len();
        match self.held.back_mut() {
            // What stands behind it leaves with it.
            Some((last, bytes)) if *last >= position => bytes.extend_from_slice(output),
            _ => self.held.push_back((position, output.to_vec())),
        }
    }

    /// Moves what is confirmed into the client's output.
    pub(super) fn release(&mut self, confirmed: u64, output: &mut Vec<u8>) {
        while self.held.front().is_some_and(|(position, _)| *position <= confirmed) {
            let (_, bytes) = self.held.pop_front().unwrap_or_default();
            self.bytes -= bytes.len();
            output.extend_from_slice(&bytes);
        }
    }

    /// Bytes held.
    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    /// True if nothing is held.
    pub(super) fn is_empty(&self) -> bool {
        self.held.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::Outbox;

    #[test]
    fn replies_leave_in_order_and_never_early() {
        let mut outbox = Outbox::default();
        outbox.hold(10, b"a");
        outbox.hold(10, b"b");
        outbox.hold(5, b"c");
        outbox.hold(20, b"d");
        let mut output = Vec::new();
        outbox.release(9, &mut output);
        assert_eq!((output.as_slice(), outbox.bytes()), (&b""[..], 4));
        outbox.release(10, &mut output);
        assert_eq!((output.as_slice(), outbox.bytes()), (&b"abc"[..], 1));
        outbox.release(u64::MAX, &mut output);
        assert_eq!((output.as_slice(), outbox.is_empty()), (&b"abcd"[..], true));
    }
}
