//! Full blocks of a long stream lie side by side on a shelf, one allocation for about twenty. A listpack of a hundred entries
//! has any size, and alone each is rounded up by the allocator, by a tenth on average. Owns when blocks move to a shelf; what a
//! block reads there is the block's business. A block that changes takes its bytes with it, so a shelf is only ever read,
//! and it goes with the last block that lies on it.

use std::ops::Range;
use std::sync::Arc;

use super::block::Block;
use crate::tree::Tree;

/// A shelf's size: one of the allocator's sizes, large beside what is left over at its end.
const SHELF: usize = if cfg!(test) { 800 } else { 32 << 10 };
/// Larger blocks lose less alone than they would leave over at the end of a shelf.
const WIDE: usize = SHELF / 8;
/// No more lie on a shelf, however small they are: each full block looks back at those that don't lie on one yet.
const MOST: usize = 64;

/// Another block is full, the last one: puts those before it on a shelf as soon as it wouldn't fit beside them any more.
pub(super) fn store(blocks: &mut Tree<Block>) {
    let Some(last) = blocks.len().checked_sub(1) else { return };
    let mut sizes = blocks.rev_from(last).map_while(Block::alone).take_while(|size| *size <= WIDE);
    let Some(mut bytes) = sizes.next() else { return };
    let mut count = 0;
    for size in sizes {
        bytes += size;
        count += 1;
        if bytes > SHELF || count == MOST {
            return fill(blocks, last - count..last);
        }
    }
}

fn fill(blocks: &mut Tree<Block>, which: Range<usize>) {
    let packs: Vec<&[u8]> = blocks.iter_from(which.start).take(which.len()).map(Block::pack).collect();
    let shelf = Arc::new(packs.concat().into_boxed_slice());
    let mut at = 0;
    for i in which {
        blocks.update_at(i, |block| at = block.move_to(&shelf, at));
    }
}
