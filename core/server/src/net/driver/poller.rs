//! The epoll of a driver. Sockets are registered once, level-triggered. Owns no sockets.

use rustix::event::Timespec;
use rustix::event::epoll::{self, EventData, EventFlags};
use rustix::io::Errno;
use std::io;
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, OwnedFd};
use std::time::Duration;

/// Most events taken at once; the rest is still there at the next look.
const MAX_EVENTS: usize = 256;

/// What a socket is ready for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Ready {
    /// The number under which it was registered.
    pub(super) token: u64,
    /// It can be read, or has ended.
    pub(super) readable: bool,
    /// It can be written.
    pub(super) writable: bool,
    /// Both directions are closed, or it broke.
    pub(super) hung: bool,
}

/// How long to look.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Wait {
    /// Only what is ready already.
    No,
    /// Until something is.
    ForAnything,
    /// Until something is, but no longer than this.
    AtMost(Duration),
}

/// The set of sockets a driver waits for.
pub(super) struct Poller {
    epoll: OwnedFd,
}

impl Poller {
    /// An empty set.
    ///
    /// # Errors
    /// When the system has no descriptors left.
    pub(super) fn new() -> io::Result<Self> {
        Ok(Self { epoll: epoll::create(epoll::CreateFlags::CLOEXEC)? })
    }

    /// Adds a socket, to be told when it can be read.
    ///
    /// # Errors
    /// As epoll_ctl.
    pub(super) fn add(&self, socket: impl AsFd, token: u64) -> io::Result<()> {
        Ok(epoll::add(&self.epoll, socket, EventData::new_u64(token), EventFlags::IN | EventFlags::RDHUP)?)
    }

    /// Chooses what to be told of: a parked client is not read, a slow one is waited for to write.
    ///
    /// # Errors
    /// As epoll_ctl.
    pub(super) fn modify(&self, socket: impl AsFd, token: u64, read: bool, write: bool) -> io::Result<()> {
        let mut flags = EventFlags::empty();
        flags.set(EventFlags::IN | EventFlags::RDHUP, read);
        flags.set(EventFlags::OUT, write);
        Ok(epoll::modify(&self.epoll, socket, EventData::new_u64(token), flags)?)
    }

    /// Removes a socket.
    ///
    /// # Errors
    /// As epoll_ctl.
    pub(super) fn remove(&self, socket: impl AsFd) -> io::Result<()> {
        Ok(epoll::delete(&self.epoll, socket)?)
    }

    /// What is ready.
    ///
    /// # Errors
    /// As epoll_wait.
    pub(super) fn poll(&self, ready: &mut Vec<Ready>, wait: Wait) -> io::Result<()> {
        let mut room = [const { MaybeUninit::<epoll::Event>::uninit() }; MAX_EVENTS];
        let most = match wait {
            Wait::No => Some(Duration::ZERO),
            Wait::ForAnything => None,
            Wait::AtMost(most) => Some(most),
        };
        let timeout = most.and_then(|most| Timespec::try_from(most).ok());
        let (events, _) = match epoll::wait(&self.epoll, &mut room, timeout.as_ref()) {
            Err(Errno::INTR) => return Ok(()),
            waited => waited?,
        };
        for event in events {
            let (flags, data) = (event.flags, event.data);
            ready.push(Ready {
                token: data.u64(),
                readable: flags.intersects(EventFlags::IN | EventFlags::HUP | EventFlags::ERR | EventFlags::RDHUP),
                writable: flags.contains(EventFlags::OUT),
                hung: flags.intersects(EventFlags::HUP | EventFlags::ERR),
            });
        }
        Ok(())
    }
}
