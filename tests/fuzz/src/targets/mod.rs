//! What is tried, one file each: a reader of foreign bytes, and what must hold of it whatever the bytes are. That nothing
//! panics, takes long or takes memory on credit is `run`'s to see.

mod acl;
mod aof;
mod glob;
mod hello;
mod psync;
mod rdb;
mod resp;
mod restore;

/// One target.
#[derive(Debug)]
pub struct Target {
    /// Its name, and its corpus' folder.
    pub name: &'static str,
    /// Words that mean something to it.
    pub words: &'static [&'static str],
    /// Tries an input; an error says which property is broken.
    pub run: fn(&[u8]) -> Result<(), String>,
}

/// All of them.
pub const TARGETS: &[Target] =
    &[resp::TARGET, restore::TARGET, glob::TARGET, acl::TARGET, rdb::TARGET, aof::TARGET, psync::TARGET, hello::TARGET];

/// `Err` with this text unless it holds.
fn hold(holds: bool, what: impl FnOnce() -> String) -> Result<(), String> {
    if holds { Ok(()) } else { Err(what()) }
}

/// Pieces of an input whose lengths come from the input itself.
fn pieces(input: &[u8]) -> impl Iterator<Item = &[u8]> {
    let mut state = input.iter().fold(7u64, |sum, byte| sum.wrapping_mul(31).wrapping_add(u64::from(*byte)));
    let mut rest = input;
    std::iter::from_fn(move || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        let len = (1 + (state >> 33) as usize % 24).min(rest.len());
        let (piece, behind) = rest.split_at(len);
        rest = behind;
        (len > 0).then_some(piece)
    })
}
