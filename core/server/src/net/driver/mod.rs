//! A driver owns the sockets of an engine's clients and serves them in turns: read every ready socket, decode, lock the
//! engine once, execute, unlock, send each client's replies with one write. It never waits while it holds the lock, and
//! is never waited for: others leave it messages.
//!
//! One task per connection, used plainly, costs 2.9 reads and an epoll_ctl per request; a driver costs one read. It has a
//! thread of its own, because as a task it pays for every turn with an epoll_ctl, a timer and a second wait, and each
//! `yield` wakes another of the runtime's threads: on two processors that took 12.9 µs a request where this takes 8.

mod busy;
mod conn;
mod doors;
mod inbox;
mod nap;
mod outbox;
mod output;
mod poller;
mod resting;
mod socket;
mod sweep;
mod turn;

use super::before::Done;
use super::keepalive::Keepalive;
use super::listen::Accepted;
use super::service::{Handover, Service, mono_us};
use super::socket::Raw;
use crate::{alloc, sched};
use conn::Conn;
use doors::{Door, Doors};
use inbox::{Held, Inbox, Link, Message};
use keystead_engine::core::Core;
use keystead_engine::engine::{Close, Ready, Traffic};
use keystead_engine::resp::Limits;
use keystead_engine::{ConnInfo, SessionId};
use parking_lot::Mutex;
use poller::{Poller, Wait};
use resting::Debt;
use std::io;
use std::net::TcpListener;
use std::num::NonZeroU64;
use std::sync::Arc;
use std::time::Duration;

/// The inbox' place among the poller's tokens.
const INBOX: u64 = u64::MAX;

/// The way to a driver.
#[derive(Clone)]
pub(crate) struct Driver(Arc<Inbox>);

impl Driver {
    /// Starts the driver of an engine on a thread of its own. An error when the system has no descriptors or threads left.
    pub(crate) fn start(service: Arc<Service>) -> io::Result<Driver> {
        let inbox = Arc::new(Inbox::new()?);
        let poller = Poller::new()?;
        poller.add(&*inbox, INBOX)?;
        service.add_holder(inbox.clone());
        let clients = Clients {
            service,
            poller,
            inbox: inbox.clone(),
            doors: Doors::default(),
            conns: Vec::new(),
            free: Vec::new(),
            by_slot: Vec::new(),
            active: Vec::new(),
            relieved: Vec::new(),
            moved: Vec::new(),
            held: Vec::new(),
            owed: Vec::new(),
            done: Done::default(),
            pool: Vec::new(),
            spare: output::Spare::default(),
            sweep: sweep::Sweep::default(),
            batch: turn::Batch::default(),
            nap: nap::Nap::default(),
            resting: resting::Resting::default(),
            traffic: Traffic::default(),
            inside: false,
            interrupted: false,
        };
        std::thread::Builder::new().name("clients".into()).spawn(move || {
            sched::answer_clients();
            clients.inbox.hear_of_freed();
            clients.serve();
        })?;
        Ok(Driver(inbox))
    }

    /// Gives the driver a new client.
    pub(crate) fn open(&self, accepted: Accepted) {
        self.0.send(Message::Open(accepted));
    }

    /// Has it accept clients itself.
    pub(super) fn listen(&self, socket: Arc<TcpListener>, keepalive: Keepalive) {
        self.0.send(Message::Listen(Door::new(socket, keepalive)));
    }

    /// No longer on this socket: it is closed when the driver comes to it.
    pub(super) fn deafen(&self, socket: Arc<TcpListener>) {
        self.0.send(Message::Deafen(socket));
    }
}

/// The clients of one driver.
struct Clients {
    service: Arc<Service>,
    poller: Poller,
    inbox: Arc<Inbox>,
    /// Where new ones come from.
    doors: Doors,
    conns: Vec<Option<Box<Conn>>>,
    free: Vec<usize>,
    /// A session's slot in the engine → its client's place here.
    by_slot: Vec<usize>,
    /// Clients with something to decode.
    active: Vec<usize>,
    /// Sessions whose large output is sent: the engine is told in the next turn.
    relieved: Vec<SessionId>,
    /// Sessions of which some output left, and more is to: the engine is told too.
    moved: Vec<SessionId>,
    /// Clients with held replies.
    held: Vec<usize>,
    /// Clients whose replies wait for the end of a turn with a long command.
    owed: Vec<usize>,
    /// What was done before replies left.
    done: Done,
    /// Empty buffers, for input and for output.
    pool: Vec<Vec<u8>>,
    spare: output::Spare,
    /// Memory to let go of.
    sweep: sweep::Sweep,
    batch: turn::Batch,
    nap: nap::Nap,
    /// Clients that wrote, while writers are paced.
    resting: resting::Resting,
    /// Traffic since the last turn.
    traffic: Traffic,
    /// A command of this turn is long, and other clients are served from inside of it.
    inside: bool,
    /// That was so in this turn: what was decoded ahead is bytes again.
    interrupted: bool,
}

impl Clients {
    fn serve(mut self) {
        // A nap is shorter than the slack the kernel gives a timer unless told otherwise.
        if let Err(error) = rustix::thread::set_current_timer_slack(NonZeroU64::new(1)) {
            log::debug!("The driver's naps are longer than asked: {error}");
        }
        let mut ready = Vec::new();
        loop {
            ready.clear();
            let patience = self.patience();
            let polled = self.poller.poll(&mut ready, patience);
            self.inbox.awake();
            if let Err(error) = polled {
                return log::error!("The driver can't look at its clients: {error}");
            }
            let begun = mono_us();
            self.wake_rested(begun);
            for event in &ready {
                self.event(*event);
            }
            self.read_mail();
            let served = if self.has_turn() { self.turn() } else { 0 };
            // What this turn left others is theirs at once: publishers who have their replies would else be served a few at
            // a time, each time with a write to every subscriber.
            self.read_mail();
            let ended = mono_us();
            self.traffic.rounds.add(ended - begun);
            if self.sweep.is_time(ended, served > 0) {
                alloc::let_go();
                self.sweep.done(mono_us() - ended);
            }
            if let Some(nap) = self.nap.behind(served).filter(|_| !self.has_work()) {
                std::thread::sleep(nap);
            }
        }
    }

    /// Somebody is to be served, or the engine to be told something.
    fn has_turn(&self) -> bool {
        !self.active.is_empty() || !self.relieved.is_empty() || !self.moved.is_empty()
    }

    fn has_work(&self) -> bool {
        self.has_turn() || self.inbox.has_mail()
    }

    /// How long to look for something to do.
    fn patience(&self) -> Wait {
        // Others need not wake a driver that is awake.
        if self.has_turn() || !self.inbox.may_wait() {
            return Wait::No;
        }
        let dates = [self.resting.next_us(), self.doors.next_us(), self.sweep.next_us()];
        match dates.into_iter().flatten().min() {
            None => Wait::ForAnything,
            Some(until) => Wait::AtMost(Duration::from_micros(until.saturating_sub(mono_us()))),
        }
    }

    /// What those sent meanwhile whose rest is over is read from now on.
    fn wake_rested(&mut self, now_us: u64) {
        self.doors.reopen(&self.poller, now_us);
        while let Some((until_us, at, session)) = self.resting.take_rested(now_us) {
            if self.place(session) == Some(at) {
                self.end_rest(at, now_us - until_us);
            }
        }
    }

    /// Its rest is over, in time or before.
    fn end_rest(&mut self, at: usize, late_us: u64) {
        if let Some(conn) = self.conns[at].as_deref_mut()
            && let Some(until_us) = conn.resting.take()
        {
            self.resting.cut_short(until_us, at, conn.session);
            conn.debt = Debt::rested(late_us);
            self.activate(at);
            self.flush(at);
        }
    }

    /// Whoever wrote in this turn rests, if writers are paced.
    fn rest_writers(&mut self) {
        let mut now_us = None;
        for (at, rest_ns) in self.resting.take_writers() {
            if let Some(conn) = self.conns[at].as_deref_mut().filter(|conn| !conn.closing)
                && let Some(rest_us) = conn.debt.grow(rest_ns)
            {
                let until_us = *now_us.get_or_insert_with(mono_us) + rest_us;
                if let Some(before) = conn.resting.replace(until_us) {
                    self.resting.cut_short(before, at, conn.session);
                }
                self.resting.add(until_us, at, conn.session);
            }
        }
    }

    fn event(&mut self, event: poller::Ready) {
        if event.token == INBOX {
            return self.inbox.heard();
        }
        if let Some(place) = doors::place(event.token) {
            let (inbox, service) = (&self.inbox, &self.service);
            return self.doors.accept(&self.poller, place, mono_us(), |new| match new {
                Some(accepted) => inbox.send(Message::Open(accepted)),
                None => service.note_turned_away(),
            });
        }
        let Ok(at) = usize::try_from(event.token) else { return };
        let Some(conn) = self.conns.get_mut(at).and_then(Option::as_deref_mut) else { return };
        if event.hung && conn.resting.is_some() {
            // It waits for no answer any more, and an epoll can't be told to look away from that.
            return self.end_rest(at, 0);
        }
        if event.hung && !conn.wants_input() {
            return self.close(at);
        }
        // Who has commands left, or waits for its turn, is read when they are done: else a long pipeline piled up here
        // instead of in its socket.
        if event.readable && conn.wants_input() && !conn.more && !conn.listed {
            self.traffic.received += conn.fill(&mut self.pool) as u64;
            self.traffic.reads += 1;
            self.activate(at);
        }
        if event.writable {
            self.flush(at);
        }
    }

    /// Puts a client on the list for the next turn.
    fn activate(&mut self, at: usize) {
        if let Some(conn) = self.conns[at].as_deref_mut()
            && !conn.listed
            && conn.resting.is_none()
        {
            conn.listed = true;
            self.active.push(at);
        }
    }

    fn read_mail(&mut self) {
        if !self.inbox.has_mail() {
            return;
        }
        let (mut news, mut released) = (Vec::new(), false);
        for message in self.inbox.take() {
            match message {
                Message::Open(accepted) => self.admit(accepted, None),
                Message::Ready(ready) => news.push(ready),
                Message::TakeOver(at, handover) => {
                    if let Some(conn) = self.conns.get_mut(at).and_then(Option::as_deref_mut)
                        && conn.session == handover.session
                    {
                        conn.handover = Some(handover);
                        self.flush(at);
                    }
                }
                Message::Kill(session) => self.kill(session),
                Message::Released => released = true,
                Message::Listen(door) => self.doors.add(&self.poller, door),
                Message::Deafen(socket) => self.doors.remove(&self.poller, &socket),
                Message::Freed(bytes) => self.sweep.add(bytes, mono_us()),
            }
        }
        if !news.is_empty() {
            self.fetch(&news);
        }
        if released {
            self.release();
        }
    }

    /// Sends the held replies that are confirmed by now.
    fn release(&mut self) {
        let confirmed = self.service.confirmed();
        for at in std::mem::take(&mut self.held) {
            let Some(conn) = self.conns[at].as_deref_mut() else { continue };
            if !conn.outbox.release(confirmed, mono_us(), &mut conn.output) {
                self.close(at);
                continue;
            }
            if !conn.outbox.is_empty() {
                self.held.push(at);
            }
            self.flush(at);
        }
    }

    /// Fetches the output of sessions that other turns served, before anybody's next command.
    fn fetch(&mut self, news: &[Ready]) {
        let service = self.service.clone();
        service.turn(|engine| {
            for ready in news {
                if let Some(at) = self.place(ready.session) {
                    self.collect(&mut engine.core, at);
                }
            }
        });
        self.traffic.rounds.file_us += self.service.before_replies.call(&mut self.done);
        for ready in news {
            if let Some(at) = self.place(ready.session) {
                self.heed(at, *ready);
            }
        }
    }

    /// Where a session's client is.
    fn place(&self, session: SessionId) -> Option<usize> {
        let at = *self.by_slot.get(session.slot as usize)?;
        self.conns.get(at)?.as_deref().filter(|conn| conn.session == session).map(|_| at)
    }

    /// Acts on what a turn said of a session, after its output was collected.
    fn heed(&mut self, at: usize, ready: Ready) {
        let Some(conn) = self.conns[at].as_deref_mut() else { return };
        match ready.close {
            Close::No => {}
            Close::AfterOutput => conn.closing = true,
            Close::Now => return self.close(at),
        }
        if ready.resume {
            conn.parked = false;
            self.activate(at);
        }
        self.flush(at);
    }

    /// Sends a client's output and watches for what it waits for. A broken or finished client is closed.
    fn flush(&mut self, at: usize) {
        let Some(conn) = self.conns[at].as_deref_mut().filter(|conn| !conn.owed) else { return };
        match conn.flush(&mut self.spare) {
            Ok(0) => {}
            Ok(count) => {
                self.traffic.sent += count as u64;
                self.traffic.writes += 1;
                if conn.unsent() > 0 && conn.moves(mono_us()) {
                    self.moved.push(conn.session);
                }
            }
            Err(_) => return self.close(at),
        }
        if conn.unsent() == 0 {
            if conn.closing {
                return self.close(at);
            }
            if let Some(handover) = conn.handover.take() {
                match self.inside {
                    // Behind the long command: nothing else would remember it.
                    true => self.inbox.send(Message::TakeOver(at, handover)),
                    false => return self.hand_over(at, handover),
                }
            }
            if conn.reported {
                conn.reported = false;
                self.relieved.push(conn.session);
            }
        }
        let wanted = (conn.wants_input(), conn.sendable() > 0);
        if wanted != conn.watched {
            conn.watched = wanted;
            if self.poller.modify(&conn.socket, at as u64, wanted.0, wanted.1).is_err() {
                self.close(at);
            }
        }
    }

    /// Ends a client and its session.
    fn close(&mut self, at: usize) {
        if let Some(conn) = self.forget(at) {
            self.disconnect(conn.session);
        }
    }

    /// The same for whoever has this session, if it is here still.
    fn kill(&mut self, session: SessionId) {
        if let Some(at) = self.place(session) {
            self.close(at);
        }
    }

    fn disconnect(&self, session: SessionId) {
        match self.inside {
            true => self.service.disconnect_later(session),
            false => self.service.disconnect(session),
        }
    }

    /// Gives a socket to the plugin that asked for it, with everything not yet executed.
    fn hand_over(&mut self, at: usize, handover: Handover) {
        let Some(mut conn) = self.forget(at) else { return };
        let rest = conn.input.split_off(conn.start);
        let socket = match conn.socket.into_socket() {
            Ok(socket) => socket,
            Err(error) => {
                log::warn!("A client can't be handed over: {error}");
                return self.disconnect(conn.session);
            }
        };
        let mut held = conn.link.held.lock();
        if matches!(*held, Held::Killed) {
            // Killed between the turn that gave it away and now.
            drop(held);
            return self.disconnect(conn.session);
        }
        *held = Held::Away(socket.clone());
        drop(held);
        self.service.hand_over(handover, socket, rest);
    }

    fn forget(&mut self, at: usize) -> Option<Box<Conn>> {
        let conn = self.conns.get_mut(at)?.take()?;
        // It fails only for a descriptor that epoll has dropped itself.
        let _ = self.poller.remove(&conn.socket);
        self.free.push(at);
        self.active.retain(|other| *other != at);
        self.held.retain(|other| *other != at);
        if let Some(until_us) = conn.resting {
            self.resting.cut_short(until_us, at, conn.session);
        }
        Some(conn)
    }

    /// Gives a new client its session and place; inside a long command with what is locked already.
    fn admit(&mut self, accepted: Accepted, inside: Option<&mut Core>) {
        let Accepted { mut socket, peer, local, unix, loopback } = accepted;
        let info = ConnInfo { addr: peer, laddr: local, fd: i64::from(socket.fd()), unix, loopback };
        let at = self.free.pop().unwrap_or_else(|| {
            self.conns.push(None);
            self.conns.len() - 1
        });
        let link = Arc::new(Link { inbox: self.inbox.clone(), at, held: Mutex::default() });
        let connected = match inside {
            Some(core) => self.service.connect_inside(core, info, link.clone()),
            None => self.service.connect(info, link.clone()),
        };
        match connected {
            Ok((session, limits)) => self.settle_in(at, socket, link, session, limits),
            Err(refusal) => {
                // Best effort: a refused client that doesn't read loses the reason.
                let _ = socket::write(&mut socket, &refusal);
                self.free.push(at);
            }
        }
    }

    fn settle_in(&mut self, at: usize, socket: Raw, link: Arc<Link>, session: SessionId, limits: Limits) {
        if let Err(error) = self.poller.add(&socket, at as u64) {
            log::warn!("A client can't be watched: {error}");
            self.disconnect(session);
            return self.free.push(at);
        }
        let slot = session.slot as usize;
        if self.by_slot.len() <= slot {
            self.by_slot.resize(slot + 1, usize::MAX);
        }
        self.by_slot[slot] = at;
        let encrypted = matches!(socket, Raw::Tls(_));
        self.conns[at] = Some(Box::new(Conn::new(socket, link, session, limits)));
        if encrypted {
            // What came with the handshake's end is nowhere an epoll sees it.
            self.event(poller::Ready { token: at as u64, readable: true, writable: false, hung: false });
        }
    }
}
