//! An engine with listeners of its own: the data port, or a port that a plugin asked for (a sentinel's). Each has its own
//! lock, sessions and heartbeat; nothing is shared between two but the process. The listeners can be moved while it runs.

use super::driver::Driver;
use super::keepalive::Keepalive;
use super::listen::{self, Accepted, Accepting, ListenSpec, Listeners, UnixAccepting};
use super::service::Service;
use super::ticker::{self, Ticker};
use crate::descriptors::Handshakes;
use crate::tls;
use keystead_engine::config::ParamGroup;
use parking_lot::Mutex;
use std::net::TcpListener;
use std::sync::{Arc, Weak};

/// An engine and its listeners, bound but not yet accepting.
pub(crate) struct Port {
    service: Arc<Service>,
    keepalive: Keepalive,
    backlog: u32,
    places: Vec<String>,
    unix: Mutex<Option<Listeners>>,
    running: Mutex<Option<(Option<UnixAccepting>, Ticker)>>,
    sides: Mutex<Sides>,
}

/// Where it listens over TCP.
struct Sides {
    bind: Vec<String>,
    plain: Side,
    tls: Side,
    pending: tls::Pending,
    handshakes: Handshakes,
    /// There once the port is open.
    driver: Option<Driver>,
}

/// The listeners of one port number.
#[derive(Default)]
struct Side {
    port: u16,
    /// Bound, but nobody is accepting before the port is open.
    bound: Vec<TcpListener>,
    accepting: Vec<Accepting>,
}

/// Which of the two.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Plain,
    Tls,
}

impl Kind {
    fn word(self) -> &'static str {
        match self {
            Kind::Plain => "TCP",
            Kind::Tls => "TLS",
        }
    }
}

impl Port {
    /// Binds the listeners: a busy port is found here, before anything starts. So many handshakes go on at once.
    pub(crate) fn bind(
        service: Arc<Service>,
        spec: &ListenSpec,
        keepalive: Keepalive,
        handshakes: Handshakes,
    ) -> Result<Port, String> {
        let mut listeners = Listeners::bind(spec)?;
        let mut places = listeners.places();
        let plain = Side { port: spec.port, bound: std::mem::take(&mut listeners.tcp), ..Side::default() };
        let mut tls = Side { port: spec.tls_port, ..Side::default() };
        if spec.tls_port != 0 {
            tls.bound = listen::bind_all(&spec.bind, spec.tls_port, spec.backlog, "TLS")?;
            places.extend(tls.bound.iter().filter_map(|l| l.local_addr().ok()).map(|addr| format!("{addr} (TLS)")));
        }
        let pending = tls::Pending::new(handshakes.places);
        let sides = Sides { bind: spec.bind.clone(), plain, tls, pending, handshakes, driver: None };
        Ok(Port {
            service,
            keepalive,
            backlog: spec.backlog,
            places,
            unix: Mutex::new(Some(listeners)),
            running: Mutex::new(None),
            sides: Mutex::new(sides),
        })
    }

    /// The engine.
    pub(crate) fn service(&self) -> &Arc<Service> {
        &self.service
    }

    /// What it listened on at first.
    pub(crate) fn listening(&self) -> &[String] {
        &self.places
    }

    /// Addresses and number of the plain port now.
    pub(crate) fn plain(&self) -> (Vec<String>, u16) {
        let sides = self.sides.lock();
        (sides.bind.clone(), sides.plain.port)
    }

    /// Starts the heartbeat and accepts clients. Does nothing the second time.
    pub(crate) fn open(&self) -> Result<(), String> {
        let Some(listeners) = self.unix.lock().take() else { return Ok(()) };
        let driver = Driver::start(self.service.clone()).map_err(|e| format!("can't start the driver: {e}"))?;
        let mut sides = self.sides.lock();
        sides.driver = Some(driver.clone());
        for kind in [Kind::Plain, Kind::Tls] {
            let bound = std::mem::take(&mut sides.side(kind).bound);
            self.accept(&mut sides, kind, bound)?;
        }
        let accepting = listeners.accept_unix(self.taker(driver));
        let accepting = accepting.map_err(|e| format!("can't watch a listening socket: {e}"))?;
        let ticker = ticker::start(self.service.clone()).map_err(|e| format!("can't start the heartbeat: {e}"))?;
        *self.running.lock() = Some((accepting, ticker));
        Ok(())
    }

    /// Accepts on these sockets, at once or when the port is open.
    fn accept(&self, sides: &mut Sides, kind: Kind, bound: Vec<TcpListener>) -> Result<(), String> {
        let Some(driver) = sides.driver.clone() else {
            sides.side(kind).bound = bound;
            return Ok(());
        };
        for listener in bound {
            let (driver, keepalive) = (driver.clone(), self.keepalive.clone());
            let accepting = match kind {
                Kind::Plain => Ok(Accepting::plain(listener, keepalive, driver)),
                Kind::Tls => {
                    let with = (self.service.tls(), sides.pending.clone());
                    Accepting::encrypted(listener, keepalive, with, self.taker(driver))
                }
            };
            sides.side(kind).accepting.push(accepting.map_err(|e| format!("can't watch a listening socket: {e}"))?);
        }
        Ok(())
    }

    /// Who was accepted is the driver's; who was turned away is counted.
    fn taker(&self, driver: Driver) -> impl Fn(Option<Accepted>) + Clone + Send + use<> {
        let service = self.service.clone();
        move |accepted| match accepted {
            Some(accepted) => driver.open(accepted),
            None => service.note_turned_away(),
        }
    }

    /// Listens for TLS on another port, or on none. The old one stays if that one can't be had. Clients stay.
    pub(crate) fn move_tls(&self, port: u16) -> Result<(), String> {
        let mut sides = self.sides.lock();
        if port == sides.tls.port {
            return Ok(());
        }
        let bind = sides.bind.clone();
        self.replace(&mut sides, Kind::Tls, &bind, port)?;
        if port != 0
            && let Some(places) = sides.handshakes.encrypt()
        {
            sides.pending.limit(places);
        }
        Ok(())
    }

    /// Listens on other addresses or another plain port, or on no plain port. What was stays if that can't be had.
    /// Clients stay.
    fn move_plain(&self, bind: &[String], port: u16) -> Result<(), String> {
        let mut sides = self.sides.lock();
        let before = (sides.bind.clone(), sides.plain.port);
        if before.0 == bind && before.1 == port {
            return Ok(());
        }
        self.replace(&mut sides, Kind::Plain, bind, port)?;
        let tls = sides.tls.port;
        if before.0 != bind
            && tls != 0
            && let Err(why) = self.replace(&mut sides, Kind::Tls, bind, tls)
        {
            self.replace(&mut sides, Kind::Plain, &before.0, before.1)?;
            return Err(why);
        }
        sides.bind = bind.to_vec();
        Ok(())
    }

    /// New listeners in the place of the old ones.
    fn replace(&self, sides: &mut Sides, kind: Kind, bind: &[String], port: u16) -> Result<(), String> {
        let side = sides.side(kind);
        // Nobody can listen twice on one address, and a wildcard covers others: of the same port the old ones go first.
        let same = port == side.port;
        if same {
            side.sockets().for_each(listen::silence);
        }
        let bound = if port == 0 { Ok(Vec::new()) } else { listen::bind_all(bind, port, self.backlog, kind.word()) };
        let bound = match bound {
            Ok(bound) => bound,
            Err(why) => {
                if same {
                    side.sockets().for_each(|old| listen::listen_again(old, self.backlog));
                }
                return Err(why);
            }
        };
        side.port = port;
        side.bound.clear();
        for old in side.accepting.drain(..) {
            // It waits until its loop is done with its last step; nobody has to wait for that here.
            async_std::task::spawn(old.stop());
        }
        self.accept(sides, kind, bound)
    }

    /// Stops accepting and the heartbeat. Connected clients stay until the process ends.
    pub(crate) async fn close(&self) {
        let accepting = {
            let mut sides = self.sides.lock();
            let plain = std::mem::take(&mut sides.plain.accepting);
            plain.into_iter().chain(std::mem::take(&mut sides.tls.accepting)).collect::<Vec<_>>()
        };
        for accepting in accepting {
            accepting.stop().await;
        }
        let running = self.running.lock().take();
        if let Some((unix, ticker)) = running {
            if let Some(unix) = unix {
                unix.stop().await;
            }
            ticker.stop().await;
        }
    }
}

impl Side {
    fn sockets(&self) -> impl Iterator<Item = &TcpListener> {
        self.bound.iter().chain(self.accepting.iter().map(Accepting::socket))
    }
}

impl Sides {
    fn side(&mut self, kind: Kind) -> &mut Side {
        match kind {
            Kind::Plain => &mut self.plain,
            Kind::Tls => &mut self.tls,
        }
    }
}

/// `bind` and `port` behind CONFIG SET. (`tls-port` belongs to the TLS parameters.)
#[derive(Default)]
pub(crate) struct Places(Mutex<Weak<Port>>);

impl Places {
    /// The listeners are there from now on.
    pub(crate) fn moves(&self, port: &Arc<Port>) {
        *self.0.lock() = Arc::downgrade(port);
    }
}

impl ParamGroup for Places {
    fn has(&self, name: &str) -> bool {
        matches!(name, "bind" | "port")
    }

    fn apply(&self, value: &dyn Fn(&str) -> String) -> Result<(), String> {
        let Some(port) = self.0.lock().upgrade() else { return Ok(()) };
        let bind: Vec<String> = value("bind").split_whitespace().map(str::to_owned).collect();
        let moved = bind != port.plain().0;
        port.move_plain(&bind, value("port").parse().unwrap_or(0)).map_err(|why| {
            log::warn!("{why}");
            // Redis' words.
            let text = if moved { "Failed to bind to specified addresses." } else { UNABLE };
            text.to_owned()
        })
    }
}

/// What CONFIG SET is answered when the log has the reason, as in Redis.
pub(crate) const UNABLE: &str = "Unable to listen on this port. Check server logs.";
