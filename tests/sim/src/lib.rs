//! The simulator: whole clusters in one thread, with virtual time, faults and a seed.

pub mod replication;
