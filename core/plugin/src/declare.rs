//! What declarations are made of: endpoints, parameters, fault policies, and what hooks and INFO sections get.

use crate::args::Args;
use crate::ctx::Ctx;
use crate::journal::Journal;
use crate::session::ClientInfo;
use crate::words::Origin;
use keystead_abi::{self as abi, Str};
use std::ffi::c_void;
use std::fmt::Display;

/// A port of a plugin's own, or the data port.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Endpoint(u32);

impl Endpoint {
    /// The data port.
    pub const DATA: Endpoint = Endpoint(abi::ENDPOINT_DATA);

    pub(crate) fn numbered(number: u32) -> Endpoint {
        Endpoint(number)
    }

    /// Its number.
    pub fn number(self) -> u32 {
        self.0
    }
}

/// A port of the plugin's own: a second engine with its own lock, sessions, pub/sub, AUTH, CONFIG and INFO; no keyspace,
/// no journal.
#[derive(Clone, Debug, Default)]
pub struct EndpointSpec {
    /// What it is called in logs and as `redis_mode` in INFO.
    pub name: String,
    /// Addresses to bind to; empty: as the data port.
    pub bind: Vec<String>,
    /// The port; 0 if there is one for TLS only.
    pub port: u16,
    /// The port for TLS; 0 for none. The server's `tls-*` parameters apply to it.
    pub tls_port: u16,
    /// 40 hex characters.
    pub run_id: String,
    /// The password of the default user, if any.
    pub password: Option<String>,
}

/// A CONFIG parameter under Redis' name.
#[derive(Clone, Debug, Default)]
pub struct Param {
    /// The name.
    pub name: String,
    /// A second name, for those with an old and a new spelling.
    pub alias: String,
    /// The default, as CONFIG GET would show it.
    pub default: String,
    /// CONFIG SET is refused.
    pub immutable: bool,
    /// Never logged.
    pub secret: bool,
}

impl Param {
    /// A parameter with its default.
    pub fn new(name: &str, default: impl Display) -> Param {
        Param { name: name.to_owned(), default: default.to_string(), ..Param::default() }
    }

    /// With a second name.
    #[must_use]
    pub fn alias(mut self, alias: &str) -> Param {
        self.alias = alias.to_owned();
        self
    }

    /// CONFIG SET is refused.
    #[must_use]
    pub fn immutable(mut self) -> Param {
        self.immutable = true;
        self
    }

    /// Never logged.
    #[must_use]
    pub fn secret(mut self) -> Param {
        self.secret = true;
        self
    }
}

/// What a fault (a panic in a hook or in a task that the plugin spawned, [`crate::Host::fault`]) means for the server. The
/// plugin is stopped in any case, and its ports are closed. A panic in a command is none: its client gets an error, or, if
/// it took its connection over, the connection ends. One that fails before it has started refuses the server's start.
///
/// What it held, paused and refused ends with it. Gates that it closed, and moments that it gave ([`crate::Host::write_until`]),
/// stay as they are, whatever the policy: they may be what keeps a second primary from writing. Its `stop`, which is told
/// [`crate::StopReason::Faulted`], may open them. What it keeps as a section stays a part of the data.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FaultPolicy {
    /// The server goes on.
    Continue,
    /// Writes are refused from then on, with an error that names the plugin.
    StopWrites,
    /// The server ends.
    Exit,
}

/// A session began or ended.
#[derive(Clone, Copy, Debug)]
pub enum ConnEvent<'a> {
    /// It began.
    Open(&'a ClientInfo),
    /// It ended.
    Close(&'a ClientInfo),
}

/// One effect that is propagated, as a hook sees it inside the turn.
#[derive(Clone, Copy)]
pub struct WriteEvent<'a> {
    /// The replication offset before the unit it is part of.
    pub offset: u64,
    /// The database.
    pub db: u32,
    /// Where it comes from.
    pub origin: Origin,
    /// The effect's words.
    pub argv: Args<'a>,
}

/// A section of INFO being written.
pub struct InfoOut<'a> {
    pub(crate) ctx: Ctx<'a>,
    pub(crate) sink: *mut c_void,
    pub(crate) line: unsafe extern "C" fn(*mut c_void, Str, Str),
}

impl InfoOut<'_> {
    /// One `name:value` line.
    pub fn field(&mut self, name: &str, value: impl Display) -> &mut Self {
        let value = value.to_string();
        // SAFETY: the strings live for the call; the sink is alive while `self` is.
        unsafe { (self.line)(self.sink, Str::new(name.as_bytes()), Str::new(value.as_bytes())) };
        self
    }

    /// How many changes were made to the keys since the server's start.
    pub fn changes(&self) -> u64 {
        self.ctx.changes()
    }

    /// The journal as it is in this turn.
    pub fn journal(&self) -> Journal {
        self.ctx.journal()
    }
}
