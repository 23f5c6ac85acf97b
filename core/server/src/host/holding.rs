//! What waits for a plugin's word: replies behind its barrier, the writes it wants done before replies leave, those it
//! refuses, what it said of the disk. Owns whether it has said so, since all of that ends with the plugin: nobody may wait for
//! one that failed.

use super::DATA;
use super::durable::Durable;
use super::plugin::Plugin;
use crate::net::Service;
use keystead_abi::NOT_DURABLE;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::Waker;

/// A plugin's. What it says while it is being taken away is taken back by whoever sees the other's mark: each sets its own
/// first.
#[derive(Default)]
pub(super) struct Holding {
    /// It has a barrier.
    barrier: AtomicBool,
    /// The durable offset is its word.
    durable: AtomicBool,
    /// It was stopped.
    over: AtomicBool,
    /// It was stopped while the server goes on.
    freed: AtomicBool,
}

fn is(mark: &AtomicBool) -> bool {
    mark.load(Ordering::SeqCst)
}

impl Holding {
    /// Everything before a position is confirmed; None: it holds nothing.
    pub(super) fn confirm(&self, service: &Service, plugin: &str, position: Option<u64>) {
        if is(&self.freed) {
            return;
        }
        self.barrier.store(position.is_some(), Ordering::SeqCst);
        service.confirm(plugin, position);
        if is(&self.freed) {
            service.confirm(plugin, None);
        }
    }

    /// Who is called before replies leave.
    pub(super) fn before_replies(&self, service: &Service, plugin: &str, waker: Option<Waker>) {
        if is(&self.over) {
            return;
        }
        service.before_replies.set(plugin, waker);
        if is(&self.over) {
            service.before_replies.set(plugin, None);
        }
    }

    /// How far the stream is on the disk.
    pub(super) fn set_durable(&self, durable: &Durable, offset: u64) {
        if is(&self.over) {
            return;
        }
        self.durable.store(offset != NOT_DURABLE, Ordering::SeqCst);
        durable.set(offset);
        if is(&self.over) {
            durable.set(NOT_DURABLE);
        }
    }

    /// Why it refuses writes; empty: it doesn't.
    pub(super) fn refuse_writes(&self, plugin: &Plugin, why: &str) {
        let say = |why: &str| plugin.host().refuse(|refusals| refusals.set(plugin.slot, why));
        if is(&self.freed) {
            return;
        }
        say(why);
        if is(&self.freed) {
            say("");
        }
    }

    /// The plugin was asked to stop, and has, or takes too long for it. Where the server goes on, replies that still wait for it
    /// are for nobody: their clients are closed, as they can't be told that what they see is on the disk. At the end they wait
    /// with the rest.
    pub(super) fn end(&self, plugin: &Plugin, goes_on: bool) {
        self.over.store(true, Ordering::SeqCst);
        if self.durable.swap(false, Ordering::SeqCst) {
            plugin.host().durable.set(NOT_DURABLE);
        }
        let Some(service) = plugin.engine(DATA) else { return };
        service.before_replies.set(&plugin.name, None);
        if goes_on {
            self.freed.store(true, Ordering::SeqCst);
            plugin.host().refuse(|refusals| refusals.set(plugin.slot, ""));
            self.cut_off(plugin, &service);
        }
    }

    fn cut_off(&self, plugin: &Plugin, service: &Arc<Service>) {
        if !self.barrier.swap(false, Ordering::SeqCst) {
            return;
        }
        let closed = service.turn(|engine| {
            let confirmed = engine.core.barriers.confirmed();
            engine.kill_clients(|state| state.seen > confirmed)
        });
        if closed > 0 {
            log::warn!("plugin {}: {closed} clients that waited for its word are closed", plugin.name);
        }
        service.confirm(&plugin.name, None);
    }
}
