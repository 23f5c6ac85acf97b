//! An engine's heartbeat: runs its tick at the configured rate, earlier when something is due or when it is asked.

use super::service::{Service, now};
use crate::logging;
use async_std::task::JoinHandle;
use futures::future::{Either, select};
use keystead_engine::{Gate, Gates};
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

/// Pause before another try while a turn runs.
const BUSY: Duration = Duration::from_millis(1);

/// Starts the heartbeat of an engine; cancel the handle to end it.
pub(crate) fn start(service: Arc<Service>) -> JoinHandle<()> {
    let gates = service.turn(|engine| engine.gates());
    async_std::task::spawn(async move {
        loop {
            let Some((next, hz)) = service.tick() else {
                async_io::Timer::after(BUSY).await;
                continue;
            };
            if service.name().is_empty() {
                show_role(&gates);
            }
            let period = Duration::from_millis(1000 / hz);
            let due = next.map(|ms| Duration::from_millis(ms.saturating_sub(now().unix_ms)));
            let pause = due.map_or(period, |due| due.min(period)).max(Duration::from_millis(1));
            let timer = pin!(async_io::Timer::after(pause));
            let asked = pin!(service.tick_soon.wait());
            match select(timer, asked).await {
                Either::Left(_) | Either::Right(_) => {}
            }
        }
    })
}

/// Log lines carry the role that clients see: M for a primary, S for a replica. A sentinel's X stays.
fn show_role(gates: &Gates) {
    logging::change_role_letter(if gates.is(Gate::Replica) { b'S' } else { b'M' });
}
