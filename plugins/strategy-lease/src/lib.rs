//! Election strategy `lease`: who may take writes is decided by a lease in etcd, held by the data node itself, which closes
//! its write gate before the lease ends. Sentinels see falls, vote and promote as ever; the lease keeps a promoted node
//! from writing before the one before it has stopped, and sentinels from standing while it holds.
//!
//! `agent` decides (pure), `stand` says whether a sentinel may stand, `etcd` asks etcd over its HTTP gateway, `members` keeps
//! what was said of members, `config`, `plugin` (the agent's task, LEASE.VOUCH, the strategy's service). Never promotes or
//! demotes anybody.
#![forbid(unsafe_code)]

pub mod agent;
pub mod config;
pub mod etcd;
mod members;
pub mod plugin;
pub mod stand;

pub use plugin::Lease;

keystead_plugin::export_plugin!(Lease, KEYSTEAD_PLUGIN_lease);
