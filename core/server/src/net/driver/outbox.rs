//! Replies of one client that must not be shown before a position of the journal is confirmed, in order, nor behind the
//! end of the lease under which they were made. Owns the bytes until then; knows neither sockets nor who confirms.

use super::output::Output;
use std::collections::VecDeque;

/// One piece of output.
struct Held {
    position: u64,
    /// The end of the lease, in microseconds of the monotonic clock.
    until_us: u64,
    bytes: Output,
}

/// What is held of one client.
#[derive(Default)]
pub(super) struct Outbox {
    held: VecDeque<Held>,
    bytes: usize,
}

impl Outbox {
    /// Keeps output that depends on a position, and on a lease if it was made under one.
    pub(super) fn hold(&mut self, position: u64, lease_end_us: Option<u64>, output: Vec<u8>) {
        self.bytes += output.len();
        let until_us = lease_end_us.unwrap_or(u64::MAX);
        match self.held.back_mut() {
            // What stands behind it leaves with it.
            Some(last) if last.position >= position => {
                last.bytes.push(output);
                last.until_us = last.until_us.min(until_us);
            }
            _ => {
                let mut bytes = Output::default();
                bytes.push(output);
                self.held.push_back(Held { position, until_us, bytes });
            }
        }
    }

    /// Moves what is confirmed into the client's output. False if its lease has ended meanwhile: another may write by
    /// now, so it must not be acknowledged, and nothing behind it can leave either.
    #[must_use]
    pub(super) fn release(&mut self, confirmed: u64, now_us: u64, output: &mut Output) -> bool {
        while let Some(first) = self.held.front().filter(|first| first.position <= confirmed) {
            if now_us >= first.until_us {
                return false;
            }
            self.bytes -= first.bytes.len();
            if let Some(first) = self.held.pop_front() {
                first.bytes.into_pieces().for_each(|piece| output.push(piece));
            }
        }
        true
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
    use super::super::output::Output;
    use super::Outbox;

    #[test]
    fn replies_leave_in_order_and_never_early() {
        let mut outbox = Outbox::default();
        outbox.hold(10, None, b"a".to_vec());
        outbox.hold(10, None, b"b".to_vec());
        outbox.hold(5, None, b"c".to_vec());
        outbox.hold(20, None, b"d".to_vec());
        let mut output = Output::default();
        assert!(outbox.release(9, 0, &mut output));
        assert_eq!((output.front(), outbox.bytes()), (&b""[..], 4));
        assert!(outbox.release(10, 0, &mut output));
        assert_eq!((output.front(), outbox.bytes()), (&b"abc"[..], 1));
        assert!(outbox.release(u64::MAX, 0, &mut output));
        assert_eq!((output.front(), outbox.is_empty()), (&b"abcd"[..], true));
    }

    /// The disk took longer than the lease: who would hear OK now might be told by another primary that it isn't there.
    #[test]
    fn nothing_leaves_behind_the_end_of_its_lease() {
        let mut outbox = Outbox::default();
        outbox.hold(10, Some(1_000), b"in time".to_vec());
        outbox.hold(20, Some(1_000), b"late".to_vec());
        outbox.hold(20, Some(5_000), b", with what stands behind it".to_vec());
        let mut output = Output::default();
        assert!(outbox.release(10, 999, &mut output));
        assert!(outbox.release(19, 2_000, &mut output), "not confirmed yet: nothing to decide");
        assert!(!outbox.release(20, 2_000, &mut output));
        assert_eq!(output.front(), b"in time");
    }
}
