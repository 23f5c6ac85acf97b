//! The macros that declare a table once and keep it twice: as a `repr(C)` type, and as data from which the test
//! writes the C header and compares sizes and offsets. They never declare anything that is not part of the boundary.

/// How a boundary struct is laid out: its C name, docs, size, and its fields.
#[cfg(feature = "layout")]
#[derive(Debug, Clone, Copy)]
pub struct StructLayout {
    /// The name in Rust.
    pub rust: &'static str,
    /// The name in C.
    pub c: &'static str,
    /// The doc lines.
    pub docs: &'static [&'static str],
    /// `size_of`.
    pub size: usize,
    /// The fields, in order.
    pub fields: &'static [FieldLayout],
}

/// One field of a boundary struct.
#[cfg(feature = "layout")]
#[derive(Debug, Clone, Copy)]
pub struct FieldLayout {
    /// The field's name, the same in C.
    pub name: &'static str,
    /// The field's type as written in Rust.
    pub ty: &'static str,
    /// The doc lines.
    pub docs: &'static [&'static str],
    /// `offset_of!`.
    pub offset: usize,
}

/// One numeric constant of the boundary.
#[cfg(feature = "layout")]
#[derive(Debug, Clone, Copy)]
pub struct ConstLayout {
    /// The name in C (`KS_` and the name in Rust).
    pub name: &'static str,
    /// The doc lines.
    pub docs: &'static [&'static str],
    /// The type as written in Rust.
    pub ty: &'static str,
    /// The value, widened.
    pub value: i128,
}

/// Declares `repr(C)` structs and the constant `$list` that describes them.
macro_rules! tables {
    ($list:ident; $(
        $(#[doc = $doc:literal])*
        $(#[derive($($derive:ident),*)])?
        pub struct $name:ident = $c:literal {
            $( $(#[doc = $fdoc:literal])* pub $field:ident : $ty:ty, )*
        }
    )*) => {
        $(
            $(#[doc = $doc])*
            $(#[derive($($derive),*)])?
            #[repr(C)]
            pub struct $name { $( $(#[doc = $fdoc])* pub $field: $ty, )* }
        )*
        #[cfg(feature = "layout")]
        pub(crate) const $list: &[$crate::macros::StructLayout] = &[$(
            $crate::macros::StructLayout {
                rust: stringify!($name),
                c: $c,
                docs: &[$($doc),*],
                size: size_of::<$name>(),
                fields: &[$( $crate::macros::FieldLayout {
                    name: stringify!($field),
                    ty: stringify!($ty),
                    docs: &[$($fdoc),*],
                    offset: std::mem::offset_of!($name, $field),
                } ),*],
            }
        ),*];
    };
}

/// Declares numeric constants and the constant `$list` that describes them.
macro_rules! consts {
    ($list:ident; $( $(#[doc = $doc:literal])* pub const $name:ident : $ty:ident = $value:expr; )*) => {
        $( $(#[doc = $doc])* pub const $name: $ty = $value; )*
        #[cfg(feature = "layout")]
        pub(crate) const $list: &[$crate::macros::ConstLayout] = &[$(
            $crate::macros::ConstLayout {
                name: concat!("KS_", stringify!($name)),
                docs: &[$($doc),*],
                ty: stringify!($ty),
                value: $name as i128,
            }
        ),*];
    };
}

pub(crate) use {consts, tables};
