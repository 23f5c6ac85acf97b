//! An engine's heartbeat: runs its tick at the configured rate, earlier when something is due or when it is asked. A thread
//! of its own: as a task of the runtime each beat woke three threads, and the runtime's own some twenty times more.

use super::service::{Service, now};
use crate::logging;
use keystead_engine::{Gate, Gates};
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Wake, Waker};
use std::thread::{self, JoinHandle, Thread};
use std::time::{Duration, Instant};

/// Pause before another try while a turn runs.
const BUSY: Duration = Duration::from_millis(1);

/// A heartbeat.
#[derive(Debug)]
pub(crate) struct Ticker {
    thread: JoinHandle<()>,
    stopped: Arc<AtomicBool>,
}

/// Wakes the thread from its pause.
struct Unpark(Thread);

impl Wake for Unpark {
    fn wake(self: Arc<Self>) {
        self.0.unpark();
    }
}

/// Starts the heartbeat of an engine. An error when the system has no threads left.
pub(crate) fn start(service: Arc<Service>) -> io::Result<Ticker> {
    let gates = service.turn(|engine| engine.gates());
    let stopped = Arc::new(AtomicBool::new(false));
    let stop = stopped.clone();
    let thread = thread::Builder::new().name("heartbeat".into()).spawn(move || {
        let waker = Waker::from(Arc::new(Unpark(thread::current())));
        while !stop.load(Ordering::Acquire) {
            beat(&service, &gates, &stop, &waker);
        }
    })?;
    Ok(Ticker { thread, stopped })
}

impl Ticker {
    /// Ends it, behind the beat that runs.
    pub(crate) async fn stop(self) {
        self.stopped.store(true, Ordering::Release);
        self.thread.thread().unpark();
        let thread = self.thread;
        // An error is a panic of it, which the log has.
        let _ = async_std::task::spawn_blocking(move || thread.join()).await;
    }
}

/// One tick and the pause behind it.
fn beat(service: &Arc<Service>, gates: &Gates, stop: &AtomicBool, waker: &Waker) {
    let Some((next, hz)) = service.tick() else { return thread::sleep(BUSY) };
    if service.name().is_empty() {
        show_role(gates);
    }
    let period = Duration::from_millis(1000 / hz);
    let due = next.map(|ms| Duration::from_millis(ms.saturating_sub(now().mono_ms())));
    let until = Instant::now() + due.map_or(period, |due| due.min(period)).max(Duration::from_millis(1));
    let mut cx = Context::from_waker(waker);
    while service.tick_soon.poll(&mut cx).is_pending() && !stop.load(Ordering::Acquire) {
        match until.saturating_duration_since(Instant::now()) {
            Duration::ZERO => return,
            left => thread::park_timeout(left),
        }
    }
}

/// Log lines carry the role that clients see: M for a primary, S for a replica. A sentinel's X stays.
fn show_role(gates: &Gates) {
    logging::change_role_letter(if gates.is(Gate::Replica) { b'S' } else { b'M' });
}
