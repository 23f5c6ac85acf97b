//! What others tell a driver: new sockets, sessions with output, takeovers, kills. Any thread may send; an event
//! descriptor in the driver's own epoll wakes it, once per batch.

use super::super::listen::Accepted;
use super::super::service::{Handover, Holder, Owner};
use super::super::socket::Socket;
use keystead_engine::engine::Ready;
use parking_lot::Mutex;
use rustix::event::{EventfdFlags, eventfd};
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// A message to a driver.
pub(super) enum Message {
    /// A new client.
    Open(Accepted),
    /// A session has output, may go on, or must be closed.
    Ready(Ready),
    /// A plugin takes the socket of the client at this place.
    TakeOver(usize, Handover),
    /// The client at this place must go.
    Kill(usize),
    /// More is confirmed: held replies may go.
    Released,
}

/// A driver's mail box.
pub(super) struct Inbox {
    messages: Mutex<Vec<Message>>,
    event: OwnedFd,
    signalled: AtomicBool,
}

impl Inbox {
    /// An empty one; an error when the system has no descriptors left.
    pub(super) fn new() -> io::Result<Inbox> {
        let event = eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?;
        Ok(Inbox { messages: Mutex::new(Vec::new()), event, signalled: AtomicBool::new(false) })
    }

    /// Leaves a message and wakes the driver.
    pub(super) fn send(&self, message: Message) {
        self.messages.lock().push(message);
        if !self.signalled.swap(true, Ordering::AcqRel) {
            // The counter can't overflow: it is read before the next signal.
            let _ = rustix::io::write(&self.event, &1u64.to_ne_bytes());
        }
    }

    /// Takes all messages, in order.
    pub(super) fn take(&self) -> Vec<Message> {
        if self.signalled.swap(false, Ordering::AcqRel) {
            let _ = rustix::io::read(&self.event, &mut [0u8; 8]);
        }
        std::mem::take(&mut *self.messages.lock())
    }

    /// True if a message waits.
    pub(super) fn has_mail(&self) -> bool {
        self.signalled.load(Ordering::Acquire)
    }
}

impl Holder for Inbox {
    fn released(&self) {
        self.send(Message::Released);
    }
}

impl AsFd for Inbox {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.event.as_fd()
    }
}

/// A session's owner: its place in a driver, and the socket once a plugin holds it.
pub(super) struct Link {
    /// The driver's mail box.
    pub(super) inbox: Arc<Inbox>,
    /// The client's place.
    pub(super) at: usize,
    /// The socket, to shut it, when it is no longer the driver's.
    pub(super) taken: Mutex<Option<Socket>>,
}

impl Owner for Link {
    fn ready(&self, ready: Ready) {
        self.inbox.send(Message::Ready(ready));
    }

    fn take_over(&self, handover: Handover) {
        self.inbox.send(Message::TakeOver(self.at, handover));
    }

    fn kill(&self) {
        match &*self.taken.lock() {
            Some(socket) => socket.shutdown(),
            None => self.inbox.send(Message::Kill(self.at)),
        }
    }
}
