//! An engine with listeners of its own: the data port, or a port that a plugin asked for (a sentinel's). Each has its own
//! lock, sessions and heartbeat; nothing is shared between two but the process.

use super::driver::Driver;
use super::listen::{Accepting, ListenSpec, Listeners};
use super::service::Service;
use super::ticker;
use async_std::task::JoinHandle;
use parking_lot::Mutex;
use std::sync::Arc;

/// An engine and its listeners, bound but not yet accepting.
pub(crate) struct Port {
    service: Arc<Service>,
    keepalive_s: u32,
    places: Vec<String>,
    bound: Mutex<Option<Listeners>>,
    running: Mutex<Option<(Accepting, JoinHandle<()>)>>,
}

impl Port {
    /// Binds the listeners: a busy port is found here, before anything starts.
    pub(crate) fn bind(service: Arc<Service>, spec: &ListenSpec, keepalive_s: u32) -> Result<Port, String> {
        let listeners = Listeners::bind(spec)?;
        Ok(Port {
            service,
            keepalive_s,
            places: listeners.places(),
            bound: Mutex::new(Some(listeners)),
            running: Mutex::new(None),
        })
    }

    /// The engine.
    pub(crate) fn service(&self) -> &Arc<Service> {
        &self.service
    }

    /// What it listens on.
    pub(crate) fn listening(&self) -> &[String] {
        &self.places
    }

    /// Starts the heartbeat and accepts clients. Does nothing the second time.
    pub(crate) fn open(&self) -> Result<(), String> {
        let Some(listeners) = self.bound.lock().take() else { return Ok(()) };
        let driver = Driver::start(self.service.clone()).map_err(|e| format!("can't start the driver: {e}"))?;
        let accepting = listeners.accept_with(self.keepalive_s, move |accepted| driver.open(accepted));
        let accepting = accepting.map_err(|e| format!("can't watch a listening socket: {e}"))?;
        *self.running.lock() = Some((accepting, ticker::start(self.service.clone())));
        Ok(())
    }

    /// Stops accepting and the heartbeat. Connected clients stay until the process ends.
    pub(crate) async fn close(&self) {
        let running = self.running.lock().take();
        if let Some((accepting, ticker)) = running {
            accepting.stop().await;
            ticker.cancel().await;
        }
    }
}
