//! Sockets and turns: listeners, connections, the lock around an engine, and what happens after each turn.
//!
//! In reading order: `lock`, `service` (one engine behind it, its orders), `driver` (the clients' sockets, in turns), `listen`,
//! `ticker`, `ports` (an engine with listeners: the data port, or a plugin's
//! own), `keepalive`. `before` is what is done before replies leave. Never looks into a command.

mod before;
pub(crate) mod busy;
pub(crate) mod driver;
mod exchange;
mod keepalive;
pub(crate) mod listen;
mod lock;
pub(crate) mod ports;
pub(crate) mod service;
pub(crate) mod signal;
pub(crate) mod socket;
pub(crate) mod ticker;

pub(crate) use keepalive::Keepalive;
pub(crate) use ports::{Places, Port, UNABLE};
pub(crate) use service::{Ending, Order, Service, Waiting};
