//! Safe wrappers over the shared shapes, used by the SDK and by the host alike: buffers, wakers, futures,
//! panics.
//! Statics here exist once per library; nothing relies on both sides sharing one.

mod buf;
mod future;
mod panics;
mod waker;

pub use buf::OwnedBuf;
pub use future::{Completion, Imported, IntoOut, drop_future, export_future, import_future};
pub use panics::guarded;
pub use waker::{WakerRef, with_waker};
