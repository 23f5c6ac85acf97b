//! What the interop tests share: random commands from a seed, a replica that only listens, a primary that only plays back, a wire
//! that can be cut.

#![forbid(unsafe_code)]

pub mod compare;
pub mod pair;
pub mod random;
pub mod stream;
pub mod wire;
