//! What others tell a driver: new sockets, sessions with output, takeovers, kills. Any thread may send. An event
//! descriptor in the driver's own epoll wakes it, but only while it waits there: what its own turns leave costs no call.

use super::super::listen::Accepted;
use super::super::service::{Handover, Holder, Owner};
use super::super::socket::Socket;
use super::doors::Door;
use crate::ready;
use keystead_engine::SessionId;
use keystead_engine::engine::Ready;
use parking_lot::Mutex;
use rustix::event::{EventfdFlags, eventfd};
use std::io;
use std::net::TcpListener;
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
    /// This session's client must go.
    Kill(SessionId),
    /// More is confirmed: held replies may go.
    Released,
    /// A socket to accept on.
    Listen(Door),
    /// No longer on this one.
    Deafen(Arc<TcpListener>),
    /// Others freed so many bytes, some of which the driver may have allocated.
    Freed(u64),
}

/// A driver's mail box.
pub(super) struct Inbox {
    messages: Mutex<Vec<Message>>,
    event: OwnedFd,
    /// A message waits.
    mail: AtomicBool,
    /// The driver waits in its epoll, or is about to: whoever finds this set wakes it.
    asleep: AtomicBool,
}

impl Inbox {
    /// An empty one; an error when the system has no descriptors left.
    pub(super) fn new() -> io::Result<Inbox> {
        let event = eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?;
        let (mail, asleep) = (AtomicBool::new(false), AtomicBool::new(false));
        Ok(Inbox { messages: Mutex::new(Vec::new()), event, mail, asleep })
    }

    /// Leaves a message and wakes the driver.
    pub(super) fn send(&self, message: Message) {
        self.messages.lock().push(message);
        // One of the two sees what the other has set: both are in the one order of all sequentially consistent accesses.
        self.mail.store(true, Ordering::SeqCst);
        if self.asleep.load(Ordering::SeqCst) && self.asleep.swap(false, Ordering::SeqCst) {
            // The counter can't overflow: it is written once for each wait.
            let _ = rustix::io::write(&self.event, &1u64.to_ne_bytes());
        }
    }

    /// Takes all messages, in order.
    pub(super) fn take(&self) -> Vec<Message> {
        self.mail.store(false, Ordering::SeqCst);
        std::mem::take(&mut *self.messages.lock())
    }

    /// True if a message waits.
    pub(super) fn has_mail(&self) -> bool {
        self.mail.load(Ordering::SeqCst)
    }

    /// The driver is about to wait: from now on it is woken. False if there is mail already.
    pub(super) fn may_wait(&self) -> bool {
        self.asleep.store(true, Ordering::SeqCst);
        let may = !self.has_mail();
        if !may {
            self.awake();
        }
        may
    }

    /// It waits no more.
    pub(super) fn awake(&self) {
        self.asleep.store(false, Ordering::SeqCst);
    }

    /// The calling thread is the driver's: from now on it is told of memory that others freed.
    pub(super) fn hear_of_freed(self: &Arc<Self>) {
        let inbox = Arc::downgrade(self);
        ready::when_others_free(move |bytes| inbox.upgrade().map(|inbox| inbox.send(Message::Freed(bytes))).is_some());
    }

    /// The event was seen.
    pub(super) fn heard(&self) {
        let _ = rustix::io::read(&self.event, &mut [0u8; 8]);
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
    /// Who has the socket.
    pub(super) held: Mutex<Held>,
}

/// Who has a client's socket.
#[derive(Default)]
pub(super) enum Held {
    /// The driver.
    #[default]
    Here,
    /// A plugin: it is shut by this.
    Away(Socket),
    /// It is to be shut: nobody gets it any more.
    Killed,
}

impl Owner for Link {
    fn ready(&self, ready: Ready) {
        self.inbox.send(Message::Ready(ready));
    }

    fn take_over(&self, handover: Handover) {
        self.inbox.send(Message::TakeOver(self.at, handover));
    }

    fn kill(&self, session: SessionId) {
        let mut held = self.held.lock();
        match &*held {
            Held::Away(socket) => socket.shutdown(),
            Held::Here => {
                *held = Held::Killed;
                self.inbox.send(Message::Kill(session));
            }
            Held::Killed => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::poller::{Poller, Wait};
    use super::*;
    use std::thread;
    use std::time::Duration;

    fn woken(poller: &Poller, wait: Wait) -> bool {
        let mut ready = Vec::new();
        poller.poll(&mut ready, wait).expect("polled");
        !ready.is_empty()
    }

    #[test]
    fn only_a_driver_that_waits_is_woken() {
        let (inbox, poller) = (Inbox::new().expect("an inbox"), Poller::new().expect("an epoll"));
        poller.add(&inbox, 0).expect("watched");
        inbox.send(Message::Released);
        assert!(inbox.has_mail() && !woken(&poller, Wait::No), "it is awake and looks itself");
        assert!(!inbox.may_wait(), "it must not wait with mail");
        assert_eq!((inbox.take().len(), inbox.has_mail()), (1, false));
        assert!(inbox.may_wait());
        (0..3).for_each(|_| inbox.send(Message::Released));
        assert!(woken(&poller, Wait::No));
        inbox.heard();
        assert!(!woken(&poller, Wait::No), "once");
        assert_eq!(inbox.take().len(), 3);
    }

    /// A driver that waits while others send: it gets every message, and never waits with one.
    #[test]
    fn no_message_is_slept_over() {
        const EACH: usize = 2_000;
        let (inbox, poller) = (Arc::new(Inbox::new().expect("an inbox")), Poller::new().expect("an epoll"));
        poller.add(&*inbox, 0).expect("watched");
        let senders = [0, 1].map(|_| {
            let inbox = inbox.clone();
            thread::spawn(move || (0..EACH).for_each(|_| inbox.send(Message::Released)))
        });
        let mut got = 0;
        while got < 2 * EACH {
            let wait = inbox.may_wait();
            if wait {
                assert!(woken(&poller, Wait::AtMost(Duration::from_secs(60))), "slept with mail behind {got}");
                inbox.awake();
                inbox.heard();
            }
            got += inbox.take().len();
        }
        senders.into_iter().for_each(|sender| sender.join().expect("sent"));
        assert_eq!(got, 2 * EACH);
    }
}
