//! TLS by rustls: which certificates, keys and rules are in force, the handshake with a bound on time and number, and
//! the session of a connection, used by the driver and by plugins' streams alike.
//!
//! In reading order: `values` (the parameters), `files` (certificates and keys), `validity` (from when to when), `words` (protocols, ciphers),
//! `context` (all of it made into rustls' configurations, swapped as a whole), `sessions` (resumption), `verify`,
//! `session`, `handshake`, `crowd` (how many of them at once), `stream`, `params` (CONFIG SET). Never looks into a command; never
//! waits but in `handshake`, `crowd` and `stream`.

mod context;
mod crowd;
mod files;
mod handshake;
mod params;
mod session;
mod sessions;
mod stream;
mod validity;
mod values;
mod verify;
mod words;

pub(crate) use context::{Both, Context, asking};
pub(crate) use crowd::Pending;
pub(crate) use handshake::{NotShaken, accept, connect, server_name, words as words_of};
pub(crate) use params::Switch;
pub(crate) use session::Session;
pub(crate) use stream::Stream;
pub(crate) use values::Values;
