//! The frozen C boundary between the core and its plugins: `repr(C)` tables, the numbers in them, and the few safe
//! wrappers (wakers, futures, buffers) that both sides need. It depends on nothing and decides nothing.
//!
//! Growth: within a major version function pointers are only appended, and one is used only if the table's `size`
//! covers it (see [`covers`]); numbers are `u32` with an unknown case; types passed by value are frozen.
//! The header `include/keystead.h` is written from these tables by the test `header` (`UPDATE=1` rewrites it).

mod basic;
mod ctx;
mod decl;
pub mod glue;
mod host;
mod macros;
mod object;
mod registrar;

pub use basic::*;
pub use ctx::*;
pub use decl::*;
pub use host::*;
pub use object::*;
pub use registrar::*;

/// Every boundary struct and constant, as data.
#[cfg(feature = "layout")]
pub mod layout {
    pub use crate::macros::{ConstLayout, FieldLayout, StructLayout};

    /// The structs, in the order of declaration.
    pub fn structs() -> Vec<&'static StructLayout> {
        let parts = [
            crate::basic::STRUCTS,
            crate::object::STRUCTS,
            crate::host::STRUCTS,
            crate::ctx::STRUCTS,
            crate::registrar::STRUCTS,
            crate::decl::STRUCTS,
        ];
        parts.into_iter().flatten().collect()
    }

    /// The constants, in the order of declaration.
    pub fn consts() -> Vec<&'static ConstLayout> {
        let parts = [
            crate::basic::CONSTS,
            crate::object::CONSTS,
            crate::host::CONSTS,
            crate::host::CONSTS2,
            crate::ctx::CONSTS,
            crate::registrar::CONSTS,
            crate::decl::CONSTS,
        ];
        parts.into_iter().flatten().collect()
    }
}

/// Whether a table of `size` bytes reaches to the end of `$field`, so that the function there may be called.
#[macro_export]
macro_rules! covers {
    ($size:expr, $table:ty, $field:ident) => {
        $size as usize >= std::mem::offset_of!($table, $field) + std::mem::size_of::<*const ()>()
    };
}
