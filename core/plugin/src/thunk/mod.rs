//! The C functions behind the safe surface. Every one catches panics on this side of the boundary.
//! Nothing here is for authors; `export_plugin!` needs [`declaration`].

pub(crate) mod handlers;
pub(crate) mod hooks;
mod instance;

pub use instance::declaration;

pub(crate) use keystead_abi::glue::guarded;
