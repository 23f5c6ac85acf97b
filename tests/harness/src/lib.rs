//! Starts real processes for tests, benches and demos: keystead with its plugin libraries, redis-server, redis-sentinel.
//!
//! It owns free ports, temporary folders, waiting with deadlines, killing, stopping and a blocking client. It never
//! looks into a process: whatever a test learns, it learns over a socket, from a log line or from an exit code.
#![forbid(unsafe_code)]

mod bins;
mod certs;
mod client;
mod group;
mod keystead;
mod ports;
mod process;
mod redis;
mod reply;
mod wait;

pub use bins::{bin_dir, have, keystead_bin, plugin_lib};
pub use certs::Certs;
pub use client::{Client, ClientError, text};
pub use group::{Group, Maker, Member, PRIMARY, Shape, sentinel_config};
pub use keystead::{Keystead, KeysteadBuilder, ron_str};

pub use ports::free_port;
pub use process::{Process, ProcessSpec};
pub use redis::{RedisSentinel, RedisServer};
pub use reply::{Reply, read_reply};
pub use wait::{DEADLINE, eventually, wait_until};
