//! The sentinels' world: real sentinel machines, simulated data nodes that behave like stock redis-server towards them,
//! a network that can be cut one way, and a clock that only the event queue moves. One seed makes one history.

pub mod check;
pub mod data;
mod deliver;
pub mod faults;
pub mod figures;
mod hard;
mod harm;
pub mod many;
pub mod net;
pub mod run;
pub mod second;
mod sentinels;
pub mod shape;
pub mod strategies;
pub mod world;
