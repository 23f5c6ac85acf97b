//! The C functions behind the safe surface. Every one catches panics on this side of the boundary.
//! Nothing here is for authors; `export_plugin!` needs [`declaration`].

pub(crate) mod handlers;
pub(crate) mod hooks;
mod instance;

pub use instance::declaration;

use keystead_abi::glue::panic_text;
use std::panic::{AssertUnwindSafe, catch_unwind};

/// Runs a thunk's body; a panic becomes its text.
pub(crate) fn guarded<R>(body: impl FnOnce() -> R) -> Result<R, String> {
    catch_unwind(AssertUnwindSafe(body)).map_err(|payload| panic_text(&*payload))
}
