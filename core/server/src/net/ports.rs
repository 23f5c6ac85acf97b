//! An engine with listeners of its own: the data port, or a port that a plugin asked for (a sentinel's). Each has its own
//! lock, sessions and heartbeat; nothing is shared between two but the process. The TLS listeners can be moved while it
//! runs.

use super::driver::Driver;
use super::listen::{self, Accepting, ListenSpec, Listeners};
use super::service::Service;
use super::ticker;
use crate::tls;
use async_io::Async;
use async_std::task::JoinHandle;
use parking_lot::Mutex;
use std::net::TcpListener;
use std::sync::Arc;

/// An engine and its listeners, bound but not yet accepting.
pub(crate) struct Port {
    service: Arc<Service>,
    keepalive_s: u32,
    bind: Vec<String>,
    backlog: u32,
    places: Vec<String>,
    bound: Mutex<Option<Listeners>>,
    running: Mutex<Option<(Accepting, JoinHandle<()>)>>,
    tls: Mutex<TlsSide>,
}

/// The listeners for TLS.
#[derive(Default)]
struct TlsSide {
    port: u16,
    /// Bound, but nobody is accepted before the port is open.
    bound: Vec<TcpListener>,
    accepting: Vec<JoinHandle<()>>,
    pending: tls::Pending,
    /// There once the port is open.
    driver: Option<Driver>,
}

impl Port {
    /// Binds the listeners: a busy port is found here, before anything starts.
    pub(crate) fn bind(service: Arc<Service>, spec: &ListenSpec, keepalive_s: u32) -> Result<Port, String> {
        let listeners = Listeners::bind(spec)?;
        let (bind, backlog, mut places) = (spec.bind.clone(), spec.backlog, listeners.places());
        let mut tls = TlsSide { port: spec.tls_port, ..TlsSide::default() };
        if spec.tls_port != 0 {
            tls.bound = listen::bind_all(&bind, spec.tls_port, backlog, "TLS")?;
            places.extend(tls.bound.iter().filter_map(|l| l.local_addr().ok()).map(|addr| format!("{addr} (TLS)")));
        }
        Ok(Port {
            service,
            keepalive_s,
            bind,
            backlog,
            places,
            bound: Mutex::new(Some(listeners)),
            running: Mutex::new(None),
            tls: Mutex::new(tls),
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
        let mut tls = self.tls.lock();
        tls.driver = Some(driver.clone());
        let bound = std::mem::take(&mut tls.bound);
        tls.accept(bound, &self.service, self.keepalive_s)?;
        let accepting = listeners.accept_with(self.keepalive_s, move |accepted| driver.open(accepted));
        let accepting = accepting.map_err(|e| format!("can't watch a listening socket: {e}"))?;
        *self.running.lock() = Some((accepting, ticker::start(self.service.clone())));
        Ok(())
    }

    /// Listens for TLS on another port, or on none. The old one stays if that one can't be had. Clients stay.
    pub(crate) fn move_tls(&self, port: u16) -> Result<(), String> {
        let mut tls = self.tls.lock();
        if port == tls.port {
            return Ok(());
        }
        let bound = if port == 0 { Vec::new() } else { listen::bind_all(&self.bind, port, self.backlog, "TLS")? };
        for task in tls.accepting.drain(..) {
            // Cancelling waits until the task is done with its last step; nobody has to wait for that here.
            async_std::task::spawn(task.cancel());
        }
        tls.port = port;
        tls.accept(bound, &self.service, self.keepalive_s)
    }

    /// Stops accepting and the heartbeat. Connected clients stay until the process ends.
    pub(crate) async fn close(&self) {
        let accepting = std::mem::take(&mut self.tls.lock().accepting);
        for task in accepting {
            task.cancel().await;
        }
        let running = self.running.lock().take();
        if let Some((accepting, ticker)) = running {
            accepting.stop().await;
            ticker.cancel().await;
        }
    }
}

impl TlsSide {
    /// Accepts on these sockets, at once or when the port is open.
    fn accept(&mut self, bound: Vec<TcpListener>, service: &Arc<Service>, keepalive_s: u32) -> Result<(), String> {
        let Some(driver) = &self.driver else {
            self.bound = bound;
            return Ok(());
        };
        for listener in bound {
            let listener = Async::new(listener).map_err(|e| format!("can't watch a listening socket: {e}"))?;
            let (driver, context, pending) = (driver.clone(), service.tls(), self.pending.clone());
            let take = move |accepted| driver.open(accepted);
            let accept = listen::accept_tls(listener, keepalive_s, context, pending, take);
            self.accepting.push(async_std::task::spawn(accept));
        }
        Ok(())
    }
}
