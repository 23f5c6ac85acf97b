//! A counted B+tree of reference-counted nodes: the one structure behind every big collection.
//!
//! Cloning a tree copies one pointer; afterwards a writer copies only the nodes on its way (`Arc::make_mut`), at most
//! 4 KiB each. That is what lets a snapshot take a collection of any size without stopping writers. Items are
//! reached by position or, where they are ordered, by key. The order is the caller's: the tree never compares items itself.

mod edit;
mod iter;
#[cfg(test)]
mod tests;

pub use iter::Iter;
use std::cmp::Ordering;
use std::sync::Arc;

/// What a tree holds: something small and cheap to clone, with the key it is ordered by (`()` for a plain sequence).
pub trait Item: Clone {
    /// What inner nodes repeat of the first item below them.
    type Key: Clone;
    /// The key of this item.
    fn key(&self) -> &Self::Key;
    /// Bytes this item holds outside the node.
    fn heap_bytes(&self) -> usize;
    /// Whether items take more than one position; then [`Item::heap_bytes`] counts the item itself too.
    const WEIGHED: bool = false;
    /// How many positions the item takes, at least one.
    #[inline]
    fn weight(&self) -> usize {
        1
    }
}

/// No node is larger, so no copy for a snapshot costs more.
pub const NODE_BYTES: usize = 4096;

/// A sequence of items; O(1) to clone, O(log n) for everything else.
pub struct Tree<T: Item> {
    root: Option<Arc<Node<T>>>,
    len: usize,
    heap: usize,
}

#[derive(Clone)]
enum Node<T: Item> {
    Leaf(Vec<T>),
    Inner(Vec<Child<T>>),
}

struct Child<T: Item> {
    node: Arc<Node<T>>,
    count: usize,
    first: T::Key,
}

impl<T: Item> Clone for Child<T> {
    fn clone(&self) -> Self {
        Self { node: Arc::clone(&self.node), count: self.count, first: self.first.clone() }
    }
}

impl<T: Item> Clone for Tree<T> {
    fn clone(&self) -> Self {
        Self { root: self.root.clone(), len: self.len, heap: self.heap }
    }
}

impl<T: Item> Default for Tree<T> {
    fn default() -> Self {
        Self { root: None, len: 0, heap: 0 }
    }
}

/// How a descent chooses its way: by position or by key.
trait Seek<T: Item> {
    /// The child to enter.
    fn child(&mut self, children: &[Child<T>]) -> usize;
    /// The place in the leaf; may be one past its end.
    fn item(&mut self, items: &[T]) -> usize;
    /// Whether an insertion replaces the item at that place.
    fn replaces(&mut self, _item: &T) -> bool {
        false
    }
}

/// Seeks the item at a position; what is left in it then is the position inside the item.
struct At(usize);

impl<T: Item> Seek<T> for At {
    fn child(&mut self, children: &[Child<T>]) -> usize {
        for (i, child) in children.iter().enumerate() {
            if self.0 < child.count {
                return i;
            }
            self.0 -= child.count;
        }
        // One past the end (an insertion at the tail): the end of the last child.
        let last = children.len() - 1;
        self.0 += children[last].count;
        last
    }
    fn item(&mut self, items: &[T]) -> usize {
        if !T::WEIGHED {
            return std::mem::take(&mut self.0).min(items.len());
        }
        for (i, item) in items.iter().enumerate() {
            if self.0 < item.weight() {
                return i;
            }
            self.0 -= item.weight();
        }
        items.len()
    }
}

/// Seeks the end.
struct End;

impl<T: Item> Seek<T> for End {
    fn child(&mut self, children: &[Child<T>]) -> usize {
        children.len() - 1
    }
    fn item(&mut self, items: &[T]) -> usize {
        items.len()
    }
}

/// Seeks the first item whose key isn't less than the wanted one; the closure tells how a key compares to it.
struct By<F>(F);

impl<T: Item, F: FnMut(&T::Key) -> Ordering> Seek<T> for By<F> {
    fn child(&mut self, children: &[Child<T>]) -> usize {
        children.partition_point(|c| (self.0)(&c.first) != Ordering::Greater).saturating_sub(1)
    }
    fn item(&mut self, items: &[T]) -> usize {
        items.partition_point(|t| (self.0)(t.key()) == Ordering::Less)
    }
}

/// As [`By`], and an item of that key is replaced.
struct Upsert<F>(By<F>);

impl<T: Item, F: FnMut(&T::Key) -> Ordering> Seek<T> for Upsert<F> {
    fn child(&mut self, children: &[Child<T>]) -> usize {
        self.0.child(children)
    }
    fn item(&mut self, items: &[T]) -> usize {
        self.0.item(items)
    }
    fn replaces(&mut self, item: &T) -> bool {
        (self.0.0)(item.key()) == Ordering::Equal
    }
}

impl<T: Item> Node<T> {
    const MAX_LEAF: usize = {
        let n = NODE_BYTES / size_of::<T>();
        if n < 4 { 4 } else { n }
    };
    const MAX_INNER: usize = {
        let n = NODE_BYTES / size_of::<Child<T>>();
        if n < 4 { 4 } else { n }
    };

    fn slots(&self) -> usize {
        match self {
            Node::Leaf(items) => items.len(),
            Node::Inner(children) => children.len(),
        }
    }

    fn max_slots(&self) -> usize {
        match self {
            Node::Leaf(_) => Self::MAX_LEAF,
            Node::Inner(_) => Self::MAX_INNER,
        }
    }

    fn count(&self) -> usize {
        match self {
            Node::Leaf(items) if T::WEIGHED => items.iter().map(Item::weight).sum(),
            Node::Leaf(items) => items.len(),
            Node::Inner(children) => children.iter().map(|c| c.count).sum(),
        }
    }

    fn first_key(&self) -> &T::Key {
        match self {
            Node::Leaf(items) => items[0].key(),
            Node::Inner(children) => &children[0].first,
        }
    }
}

impl<T: Item> Tree<T> {
    /// An empty tree.
    pub fn new() -> Self {
        Self::default()
    }

    /// Number of positions: of items, where they aren't weighed.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Memory held, estimated: exact for what the items hold, nodes counted three quarters full.
    pub fn mem_bytes(&self) -> usize {
        if T::WEIGHED { self.heap } else { self.heap + self.len * size_of::<T>() * 4 / 3 }
    }

    /// The item at `pos`.
    pub fn get(&self, pos: usize) -> Option<&T> {
        self.find_at(pos).map(|(item, _)| item)
    }

    /// Where the root lies, for prefetching.
    #[inline]
    pub(crate) fn root_address(&self) -> Option<*const u8> {
        self.root.as_ref().map(|root| Arc::as_ptr(root).cast())
    }

    /// All items, where one node holds them.
    #[inline]
    pub(crate) fn only_leaf(&self) -> Option<&[T]> {
        match self.root.as_deref()? {
            Node::Leaf(items) => Some(items),
            Node::Inner(_) => None,
        }
    }

    /// The item at `pos`, and the position inside it.
    pub fn find_at(&self, pos: usize) -> Option<(&T, usize)> {
        if pos >= self.len {
            return None;
        }
        let mut seek = At(pos);
        let mut node = self.root.as_ref()?;
        loop {
            match &**node {
                Node::Leaf(items) => return items.get(seek.item(items)).map(|item| (item, seek.0)),
                Node::Inner(children) => node = &children[seek.child(children)].node,
            }
        }
    }

    /// The item whose key compares equal, in a tree ordered by `cmp`.
    #[inline]
    pub fn find(&self, mut cmp: impl FnMut(&T::Key) -> Ordering) -> Option<&T> {
        let mut node = self.root.as_ref()?;
        loop {
            match &**node {
                Node::Leaf(items) => {
                    let i = items.partition_point(|t| cmp(t.key()) == Ordering::Less);
                    return items.get(i).filter(|t| cmp(t.key()) == Ordering::Equal);
                }
                Node::Inner(children) => node = &children[By(&mut cmp).child(children)].node,
            }
        }
    }

    /// How many leading items satisfy `before`, which must be true for a prefix of the tree only.
    pub fn rank_where(&self, mut before: impl FnMut(&T::Key) -> bool) -> usize {
        let mut rank = 0;
        let Some(mut node) = self.root.as_ref() else { return 0 };
        loop {
            match &**node {
                Node::Leaf(items) => return rank + items.partition_point(|t| before(t.key())),
                Node::Inner(children) => {
                    let i = children.partition_point(|c| before(&c.first)).saturating_sub(1);
                    rank += children[..i].iter().map(|c| c.count).sum::<usize>();
                    node = &children[i].node;
                }
            }
        }
    }

    /// Iterates forward from the item at `pos`.
    pub fn iter_from(&self, pos: usize) -> Iter<'_, T> {
        Iter::forward(self.root.as_deref(), pos, self.len)
    }

    /// Iterates backward from the item at `pos` (inclusive) to the first.
    pub fn rev_from(&self, pos: usize) -> Iter<'_, T> {
        Iter::backward(self.root.as_deref(), pos, self.len)
    }

    /// Iterates over all items in order.
    pub fn iter(&self) -> Iter<'_, T> {
        self.iter_from(0)
    }

    /// Adds at the end.
    pub fn push_back(&mut self, item: T) {
        self.insert_with(End, item);
    }

    /// Adds in front.
    pub fn push_front(&mut self, item: T) {
        self.insert_at(0, item);
    }
}

impl<T: Item> FromIterator<T> for Tree<T> {
    fn from_iter<I: IntoIterator<Item = T>>(iter: I) -> Self {
        let mut tree = Self::new();
        iter.into_iter().for_each(|item| tree.push_back(item));
        tree
    }
}
