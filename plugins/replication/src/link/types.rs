//! What goes into the link's machine and what comes out of it.
//!
//! Plain data: whom to follow, the settings, events, actions. Decides nothing.

use crate::units::{Offset, Position, ReplId};
use std::ops::Range;
use std::time::Duration;

/// A primary's address as it was given.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Target {
    /// Name or address.
    pub host: String,
    /// Port.
    pub port: u16,
}

/// What a link knows of its primary that must not be forgotten in a restart.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Memory {
    /// Its stream was ours, since the last explicit REPLICAOF.
    pub followed: bool,
    /// It came back without what we have, with this history.
    pub refused: Option<ReplId>,
    /// The history of its that was ours last, as far as this process knows.
    pub history: Option<ReplId>,
}

/// What the operator chose.
#[derive(Clone, Debug)]
pub struct Settings {
    /// The port our own clients use.
    pub listening_port: u16,
    /// A port to tell instead.
    pub announce_port: Option<u16>,
    /// An address to tell; the primary takes the socket's otherwise.
    pub announce_ip: Option<String>,
    /// `masteruser`.
    pub auth_user: Option<Vec<u8>>,
    /// `masterauth`.
    pub auth_password: Option<Vec<u8>>,
    /// `repl-timeout`.
    pub timeout: Duration,
    /// Keep our data when the primary we followed comes back with less than we have, or with no keys.
    pub keep_data: bool,
    /// Our run id, by which a loop of replicas is noticed; `None` says nothing about us.
    pub node: Option<String>,
    /// The filter of the primary's that we ask for.
    pub filter: Option<String>,
}

impl Default for Settings {
    fn default() -> Settings {
        Settings {
            listening_port: 6379,
            announce_port: None,
            announce_ip: None,
            auth_user: None,
            auth_password: None,
            timeout: Duration::from_secs(60),
            keep_data: true,
            node: None,
            filter: None,
        }
    }
}

/// What the machine may look at beside the event.
#[derive(Clone, Copy, Debug)]
pub struct Context<'a> {
    /// Settings, which may change between two steps.
    pub settings: &'a Settings,
    /// How far our data goes in which history; `None` when it belongs to none.
    pub here: Option<Position>,
    /// How much of the stream is on our disk; `None` when nobody keeps it there.
    pub durable: Option<Offset>,
    /// There are keys that could be lost. Looked at only where [`super::Link::awaits_verdict`].
    pub has_data: bool,
}

/// What happened.
#[derive(Clone, Debug)]
pub enum Event<'a> {
    /// REPLICAOF, from a file, a client or a sentinel.
    Follow(Target),
    /// The one followed now was followed before a restart too, and our data is a recovered part of its history; the
    /// history of its that was refused then.
    FollowedBefore(Option<ReplId>),
    /// FAILOVER: follow this replica of ours, which is to take our role with its PSYNC.
    HandOver(Target),
    /// REPLICAOF NO ONE.
    Unfollow,
    /// Whoever was asked to take our role gives no answer: is to be asked over another connection.
    AskAgain,
    /// The connection asked for is there.
    Connected,
    /// It isn't, or is no more.
    Failed(String),
    /// All bytes read and not yet consumed.
    Bytes(&'a [u8]),
    /// Time went by.
    Tick,
    /// The payload is in the keyspace; `Context::here` is its position.
    Loaded,
    /// The payload couldn't be used.
    LoadFailed(String),
    /// The payload has no keys, and the load was guarded: nothing was changed.
    CameBackEmpty,
    /// The stream asked for an acknowledgement when this much was applied.
    AckAsked(Offset),
    /// The stream couldn't be applied.
    ApplyFailed(String),
}

/// What to do about it. Ranges point into the bytes of the event.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Action {
    /// Open a connection.
    Connect(Target),
    /// Close it.
    Disconnect,
    /// Write this.
    Send(Vec<u8>),
    /// A payload is coming. SYNC doesn't tell its position.
    BeginLoad(Option<Position>),
    /// A piece of it.
    Payload(Range<usize>),
    /// That was all; cut this many bytes off the end, then load it.
    FinishLoad {
        /// Bytes behind the RDB.
        trailer: usize,
        /// Answer `CameBackEmpty` instead of loading, if it has no keys and we have.
        guarded: bool,
        /// Where the data will be; `None` behind SYNC: nobody knows this history's name.
        at: Option<Position>,
    },
    /// Throw away what was received.
    AbortLoad,
    /// `+CONTINUE`: our history goes on, under this id if it is given.
    Resume(Option<ReplId>),
    /// The stream is ours: all of the primary's data began with nothing and went by these names since, if it told.
    Began(Option<Vec<ReplId>>),
    /// A piece of the stream.
    Apply(Range<usize>),
    /// The run ids of the primary and of those it follows, nearest first.
    Upstream(Vec<String>),
    /// What is sent next asks the replica to take our role: not to be sent if that isn't wanted any more.
    AskToTakeOver,
    /// How the replica answered FAILOVER: it is the primary now, or its refusal.
    HandedOver(Result<(), String>),
    /// Tell the operator.
    Log(log::Level, String),
}

/// What came of one step.
#[derive(Debug, Default)]
pub struct Outcome {
    /// In order.
    pub actions: Vec<Action>,
    /// How many of the offered bytes are used up.
    pub consumed: usize,
}
