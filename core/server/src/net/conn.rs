//! One connection as one async-std task: the plain way, and the one for sockets that no driver owns.
//!
//! The task reads, runs a turn, writes; other sessions' turns wake it for pushes and for the end of a wait. It goes on
//! reading while output waits (a client may send a whole pipeline before it reads), the engine's output limits close it.

use super::input::{Input, Ready as Decoded};
use super::listen::Accepted;
use super::pump::{self, Stop};
use super::service::{Handover, Owner, Service};
use super::signal::Signal;
use super::socket::Socket;
use async_std::io::WriteExt;
use futures::{AsyncRead, AsyncWrite};
use keystead_engine::engine::{Close, Ready};
use keystead_engine::{ConnInfo, SessionId};
use parking_lot::Mutex;
use std::future::poll_fn;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

/// Commands per turn: the rest waits for the next, so that a deep pipeline doesn't starve others.
const BUDGET: usize = 64;
/// How long a client's next bytes wait while a replica must catch up.
const SLOWED: Duration = Duration::from_millis(2);

const OUTPUT: u8 = 1;
const RESUME: u8 = 2;
const CLOSE_AFTER: u8 = 4;
const CLOSE_NOW: u8 = 8;

/// What others tell the task.
struct Inbox {
    flags: AtomicU8,
    signal: Signal,
    handover: Mutex<Option<Handover>>,
    /// The same socket, to shut it when a plugin holds it.
    socket: Socket,
}

impl Owner for Inbox {
    fn ready(&self, ready: Ready) {
        let resume = if ready.resume { RESUME } else { 0 };
        let close = match ready.close {
            Close::No => 0,
            Close::AfterOutput => CLOSE_AFTER,
            Close::Now => CLOSE_NOW,
        };
        self.flags.fetch_or(OUTPUT | resume | close, Ordering::AcqRel);
        self.signal.notify();
    }

    fn take_over(&self, handover: Handover) {
        *self.handover.lock() = Some(handover);
    }

    fn kill(&self) {
        self.flags.fetch_or(CLOSE_NOW, Ordering::AcqRel);
        self.socket.shutdown();
        self.signal.notify();
    }
}

/// Serves an accepted socket in a task of its own.
pub(crate) fn serve(service: &Arc<Service>, accepted: Accepted) {
    let Accepted { socket, peer, local, unix, loopback } = accepted;
    let info = ConnInfo { addr: peer, laddr: local, fd: i64::from(socket.fd()), unix, loopback };
    let socket = Socket::from(socket);
    let inbox = Arc::new(Inbox {
        flags: AtomicU8::new(0),
        signal: Signal::default(),
        handover: Mutex::new(None),
        socket: socket.clone(),
    });
    match service.connect(info, inbox.clone()) {
        Ok(session) => {
            let conn = Conn::new(service.clone(), session, socket, inbox);
            async_std::task::spawn(conn.run());
        }
        Err(refusal) => {
            async_std::task::spawn(refuse(socket, refusal));
        }
    }
}

async fn refuse(mut socket: Socket, refusal: Vec<u8>) {
    let _ = socket.write_all(&refusal).await;
}

/// How a connection's task ends.
enum End {
    /// The client is gone or must go.
    Closed,
    /// A plugin goes on with the socket.
    TakenOver(Handover),
}

struct Conn {
    service: Arc<Service>,
    session: SessionId,
    socket: Socket,
    inbox: Arc<Inbox>,
    input: Input,
    /// Output on its way, from `sent`.
    out: Vec<u8>,
    sent: usize,
    /// Exchanged with the session's output in a turn.
    fresh: Vec<u8>,
    scratch: Vec<Decoded>,
    parked: bool,
    closing: bool,
    handover: Option<Handover>,
    /// A turn may find commands.
    runnable: bool,
    reported: bool,
    received: u64,
    written: u64,
    slowed: Option<async_io::Timer>,
}

impl Conn {
    fn new(service: Arc<Service>, session: SessionId, socket: Socket, inbox: Arc<Inbox>) -> Conn {
        Conn {
            service,
            session,
            socket,
            inbox,
            input: Input::default(),
            out: Vec::new(),
            sent: 0,
            fresh: Vec::new(),
            scratch: Vec::new(),
            parked: false,
            closing: false,
            handover: None,
            runnable: false,
            reported: false,
            received: 0,
            written: 0,
            slowed: None,
        }
    }

    async fn run(mut self) {
        let end = poll_fn(|cx| self.poll(cx)).await;
        match end {
            End::Closed => {
                self.socket.shutdown();
                self.service.disconnect(self.session);
            }
            End::TakenOver(handover) => {
                let rest = self.input.take_rest();
                self.service.hand_over(handover, self.socket, rest);
            }
        }
    }

    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<End> {
        let mut turns = 0;
        loop {
            let _ = self.inbox.signal.poll(cx);
            let flags = self.inbox.flags.swap(0, Ordering::AcqRel);
            if flags & CLOSE_NOW != 0 {
                return Poll::Ready(End::Closed);
            }
            if flags & RESUME != 0 {
                self.parked = false;
                self.runnable = true;
            }
            self.closing |= flags & CLOSE_AFTER != 0;
            if flags & OUTPUT != 0 || (self.runnable && !self.parked && !self.closing && self.handover.is_none()) {
                self.turn();
                turns += 1;
            }
            if self.flush(cx).is_err() {
                return Poll::Ready(End::Closed);
            }
            if self.out.is_empty() {
                if self.closing {
                    return Poll::Ready(End::Closed);
                }
                if let Some(handover) = self.handover.take() {
                    return Poll::Ready(End::TakenOver(handover));
                }
            }
            if self.runnable && !self.parked && !self.closing {
                // Others first: this client had its turn.
                if turns > 0 {
                    cx.waker().wake_by_ref();
                    return Poll::Pending;
                }
                continue;
            }
            if self.closing || self.handover.is_some() || self.is_slowed(cx) {
                return Poll::Pending;
            }
            match Pin::new(&mut self.socket).poll_read(cx, self.input.room()) {
                Poll::Ready(Ok(0) | Err(_)) => return Poll::Ready(End::Closed),
                Poll::Ready(Ok(bytes)) => {
                    self.input.advance(bytes);
                    self.received += bytes as u64;
                    self.runnable = true;
                    if self.parked {
                        self.report();
                    }
                }
                Poll::Pending => return Poll::Pending,
            }
        }
    }

    /// Executes what is complete and takes the session's output.
    fn turn(&mut self) {
        let service = self.service.clone();
        let stop = service.turn(|engine| {
            let may_run = !self.parked && !self.closing && self.handover.is_none();
            let stop = match may_run {
                true => Some(pump::run(engine, self.session, &mut self.input, BUDGET, &mut self.scratch)),
                false => None,
            };
            engine.swap_out(self.session, &mut self.fresh);
            let (waiting, held) = (self.out.len() - self.sent, self.input.len());
            let notable = waiting > 0 || held > 0;
            if notable || self.reported {
                engine.report_buffers(self.session, waiting + self.fresh.len(), held);
                self.reported = notable;
            }
            engine.report_traffic(std::mem::take(&mut self.received), std::mem::take(&mut self.written));
            stop
        });
        match stop {
            Some(Stop::Drained) => self.runnable = false,
            Some(Stop::Parked) => self.parked = true,
            Some(Stop::Close) => self.closing = true,
            Some(Stop::Takeover) => self.handover = self.inbox.handover.lock().take(),
            Some(Stop::Budget) | None => {}
        }
        if self.out.is_empty() {
            std::mem::swap(&mut self.out, &mut self.fresh);
        } else {
            self.out.extend_from_slice(&self.fresh);
        }
    }

    /// Bytes arrived that can't be executed yet: the engine must know, it limits them.
    fn report(&mut self) {
        let (out, held) = (self.out.len() - self.sent, self.input.len());
        self.service.turn(|engine| engine.report_buffers(self.session, out, held));
        self.reported = true;
    }

    /// Writes what waits, as far as the socket takes it.
    fn flush(&mut self, cx: &mut Context<'_>) -> std::io::Result<()> {
        while self.sent < self.out.len() {
            match Pin::new(&mut self.socket).poll_write(cx, &self.out[self.sent..]) {
                Poll::Ready(Ok(0)) => return Err(std::io::ErrorKind::WriteZero.into()),
                Poll::Ready(Ok(bytes)) => {
                    self.sent += bytes;
                    self.written += bytes as u64;
                }
                Poll::Ready(Err(e)) => return Err(e),
                Poll::Pending => return Ok(()),
            }
        }
        if self.out.capacity() > 64 << 10 {
            self.out = Vec::new();
        }
        self.out.clear();
        self.sent = 0;
        Ok(())
    }

    /// While a replica must catch up, each read waits a moment.
    fn is_slowed(&mut self, cx: &mut Context<'_>) -> bool {
        if let Some(timer) = &mut self.slowed {
            if futures::Future::poll(Pin::new(timer), cx).is_pending() {
                return true;
            }
            self.slowed = None;
            return false;
        }
        if !self.service.slow_writers() {
            return false;
        }
        self.slowed = Some(async_io::Timer::after(SLOWED));
        self.is_slowed(cx)
    }
}
