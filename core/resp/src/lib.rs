//! RESP2 and RESP3: bounded, resumable decoding and encoding.
//!
//! Owns: the request decoder ([`Decoder`]), the argument views it hands out ([`Args`], [`OwnedArgs`]), the reply
//! writer ([`Writer`]), the client-side reply decoder ([`ReplyDecoder`]) and Redis' rules for numbers ([`number`]).
//! Called by: engine, server, plugins, tests. Never: sockets, clocks, commands, or memory reserved on the word of
//! a peer.

#![forbid(unsafe_code)]

mod args;
mod decode;
mod error;
mod inline;
pub mod long_double;
pub mod number;
mod reply;
mod reply_decode;
mod write;

pub use args::{ArgRange, ArgRanges, Args, OwnedArgs};
pub use decode::{Begun, Decoded, Decoder, Found, Limits, Opening};
pub use error::ProtocolError;
pub use inline::split_args;
pub use reply::Reply;
pub use reply_decode::{ReplyDecoder, ReplyLimits};
pub use write::{Proto, Writer, write_command};

/// No decoder asks for more than this many bytes ahead of what has arrived.
pub const READ_AHEAD: usize = 64 * 1024;
