//! Changes of a tree: insert, replace, remove, cut to a range. Copies the shared nodes on its way, nothing else.

use super::{At, By, Child, Item, Node, Seek, Tree, Upsert};
use std::cmp::Ordering;
use std::sync::Arc;

/// Which borders of the tree a descent still runs along: there a full node is not halved but left full, so that a
/// queue or a bulk load fills its nodes.
#[derive(Clone, Copy)]
struct Edge {
    left: bool,
    right: bool,
}

/// What an insertion did to the node it entered.
struct Grown<T: Item> {
    /// The item that had the same key, where that is wanted; then nothing grew.
    replaced: Option<T>,
    /// A new right neighbour.
    split: Option<Child<T>>,
    first_changed: bool,
}

fn child_of<T: Item>(node: Node<T>) -> Child<T> {
    let (count, first) = (node.count(), node.first_key().clone());
    Child { node: Arc::new(node), count, first }
}

fn insert<T: Item>(node: &mut Arc<Node<T>>, seek: &mut impl Seek<T>, item: T, edge: Edge) -> Grown<T> {
    match Arc::make_mut(node) {
        Node::Leaf(items) => {
            let at = seek.item(items);
            if let Some(old) = items.get_mut(at).filter(|old| seek.replaces(old)) {
                let replaced = Some(std::mem::replace(old, item));
                return Grown { replaced, split: None, first_changed: false };
            }
            let split = insert_slot(items, Node::<T>::MAX_LEAF, at, item, edge);
            let split = split.map(|right| child_of(Node::Leaf(right)));
            Grown { replaced: None, split, first_changed: at == 0 }
        }
        Node::Inner(children) => {
            let i = seek.child(children);
            let below = Edge { left: edge.left && i == 0, right: edge.right && i + 1 == children.len() };
            let child = &mut children[i];
            let weight = item.weight();
            let grown = insert(&mut child.node, seek, item, below);
            if grown.replaced.is_some() {
                return grown;
            }
            child.count += weight;
            if grown.first_changed {
                child.first = child.node.first_key().clone();
            }
            let Some(right) = grown.split else {
                return Grown { replaced: None, split: None, first_changed: grown.first_changed && i == 0 };
            };
            child.count -= right.count;
            let split = insert_slot(children, Node::<T>::MAX_INNER, i + 1, right, Edge { left: false, ..edge });
            Grown {
                replaced: None,
                split: split.map(|right| child_of(Node::Inner(right))),
                first_changed: grown.first_changed && i == 0,
            }
        }
    }
}

/// Inserts into a node's slots; a full node gives its right part away.
fn insert_slot<S>(slots: &mut Vec<S>, max: usize, at: usize, slot: S, edge: Edge) -> Option<Vec<S>> {
    if slots.len() < max {
        if slots.len() == slots.capacity() {
            // Doubling, but never past the node's size.
            let more = slots.len().max(4).min(max - slots.len());
            slots.reserve_exact(more);
        }
        slots.insert(at, slot);
        return None;
    }
    if edge.right && at == slots.len() {
        return Some(vec![slot]);
    }
    if edge.left && at == 0 {
        return Some(std::mem::replace(slots, vec![slot]));
    }
    let middle = slots.len() / 2;
    let mut right = slots.split_off(middle);
    slots.shrink_to_fit();
    if at <= middle {
        slots.insert(at, slot)
    } else {
        right.insert(at - middle, slot)
    }
    Some(right)
}

fn remove<T: Item>(node: &mut Arc<Node<T>>, seek: &mut impl Seek<T>) -> T {
    match Arc::make_mut(node) {
        Node::Leaf(items) => {
            let at = seek.item(items);
            items.remove(at)
        }
        Node::Inner(children) => {
            let i = seek.child(children);
            let child = &mut children[i];
            let item = remove(&mut child.node, seek);
            child.count -= item.weight();
            if child.count == 0 {
                children.remove(i);
            } else {
                child.first = child.node.first_key().clone();
                merge_small(children, i);
            }
            item
        }
    }
}

/// Joins a node that shrank to under a quarter with a neighbour when both fit into three quarters of a node.
fn merge_small<T: Item>(children: &mut Vec<Child<T>>, i: usize) {
    let (slots, max) = (children[i].node.slots(), children[i].node.max_slots());
    if slots * 4 >= max || children.len() < 2 {
        return;
    }
    let left = if i + 1 < children.len() { i } else { i - 1 };
    if (children[left].node.slots() + children[left + 1].node.slots()) * 4 > max * 3 {
        return;
    }
    let right = children.remove(left + 1);
    let child = &mut children[left];
    child.count += right.count;
    let right = Arc::try_unwrap(right.node).unwrap_or_else(|shared| (*shared).clone());
    match (Arc::make_mut(&mut child.node), right) {
        (Node::Leaf(items), Node::Leaf(more)) => items.extend(more),
        (Node::Inner(nodes), Node::Inner(more)) => nodes.extend(more),
        _ => unreachable!("neighbours have the same height"),
    }
}

/// Drops everything outside `from..to`, which isn't empty; no item is cut in two.
fn keep<T: Item>(node: &mut Arc<Node<T>>, from: usize, to: usize) {
    match Arc::make_mut(node) {
        Node::Leaf(items) => {
            let (from, to) = (At(from).item(items), At(to).item(items));
            items.truncate(to);
            items.drain(..from);
        }
        Node::Inner(children) => {
            let mut start = 0;
            children.retain_mut(|child| {
                let end = start + child.count;
                let (a, b) = (from.max(start), to.min(end));
                let (base, whole) = (start, child.count);
                start = end;
                if a >= b {
                    return false;
                }
                if b - a < whole {
                    keep(&mut child.node, a - base, b - base);
                    child.count = b - a;
                    child.first = child.node.first_key().clone();
                }
                true
            });
        }
    }
}

/// Drops the items at `from..to`, which aren't all; no item is cut in two.
fn cut<T: Item>(node: &mut Arc<Node<T>>, from: usize, to: usize) {
    match Arc::make_mut(node) {
        Node::Leaf(items) => {
            let (from, to) = (At(from).item(items), At(to).item(items));
            items.drain(from..to);
        }
        Node::Inner(children) => {
            let (mut start, mut left, mut border) = (0, 0, None);
            children.retain_mut(|child| {
                let (base, whole) = (start, child.count);
                start += whole;
                let (a, b) = (from.max(base), to.min(start));
                if a < b {
                    if b - a == whole {
                        return false;
                    }
                    cut(&mut child.node, a - base, b - base);
                    child.count = whole - (b - a);
                    child.first = child.node.first_key().clone();
                    border.get_or_insert(left);
                }
                left += 1;
                true
            });
            if let Some(border) = border {
                merge_small(children, border);
            }
        }
    }
}

/// Drops the items that `keep` doesn't want, asked once for each, in order; false if none is left. A leaf that stays as it is
/// isn't copied.
fn retain<T: Item>(node: &mut Arc<Node<T>>, keep: &mut impl FnMut(&T) -> bool) -> bool {
    if let Node::Leaf(items) = &**node {
        let Some(first) = items.iter().position(|item| !keep(item)) else { return true };
        match Arc::get_mut(node) {
            Some(Node::Leaf(items)) => {
                let mut at = 0;
                items.retain(|item| {
                    at += 1;
                    at <= first || at > first + 1 && keep(item)
                });
            }
            _ => {
                let Node::Leaf(items) = &**node else { return true };
                let mut kept = items[..first].to_vec();
                kept.extend(items[first + 1..].iter().filter(|item| keep(item)).cloned());
                *node = Arc::new(Node::Leaf(kept));
            }
        }
        return node.slots() > 0;
    }
    let Node::Inner(children) = Arc::make_mut(node) else { return true };
    children.retain_mut(|child| {
        let left = retain(&mut child.node, keep);
        if left {
            child.count = child.node.count();
            child.first = child.node.first_key().clone();
        }
        left
    });
    let mut at = 0;
    while at < children.len() {
        let before = children.len();
        merge_small(children, at);
        at += usize::from(children.len() == before);
    }
    !children.is_empty()
}

/// Changes an item; gives by how much its weight grew.
fn update<T: Item>(node: &mut Arc<Node<T>>, seek: &mut impl Seek<T>, change: impl FnOnce(&mut T)) -> isize {
    match Arc::make_mut(node) {
        Node::Leaf(items) => {
            let at = seek.item(items);
            let item = &mut items[at];
            let before = item.weight();
            change(item);
            item.weight() as isize - before as isize
        }
        Node::Inner(children) => {
            let i = seek.child(children);
            let child = &mut children[i];
            let grown = update(&mut child.node, seek, change);
            child.count = child.count.wrapping_add_signed(grown);
            grown
        }
    }
}

impl<T: Item> Tree<T> {
    /// Inserts an item; gives the one it replaced.
    pub(super) fn insert_with(&mut self, mut seek: impl Seek<T>, item: T) -> Option<T> {
        self.len += item.weight();
        self.heap += item.heap_bytes();
        let Some(root) = &mut self.root else {
            self.root = Some(Arc::new(Node::Leaf(vec![item])));
            return None;
        };
        let grown = insert(root, &mut seek, item, Edge { left: true, right: true });
        if let Some(old) = grown.replaced {
            self.len -= old.weight();
            self.heap -= old.heap_bytes();
            return Some(old);
        }
        if let Some(right) = grown.split {
            let left = Arc::clone(root);
            let (count, first) = (left.count(), left.first_key().clone());
            *root = Arc::new(Node::Inner(vec![Child { node: left, count, first }, right]));
        }
        None
    }

    fn remove_with(&mut self, mut seek: impl Seek<T>) -> Option<T> {
        let item = remove(self.root.as_mut()?, &mut seek);
        self.len -= item.weight();
        self.heap -= item.heap_bytes();
        self.lower();
        Some(item)
    }

    /// Takes away levels that hold a single child.
    fn lower(&mut self) {
        while let Some(root) = &mut self.root {
            match &**root {
                Node::Leaf(items) if items.is_empty() => self.root = None,
                Node::Inner(children) if children.is_empty() => self.root = None,
                Node::Inner(children) if children.len() == 1 => {
                    let only = Arc::clone(&children[0].node);
                    *root = only;
                }
                _ => return,
            }
        }
    }

    /// Inserts before the item at `pos`, or at the end.
    pub fn insert_at(&mut self, pos: usize, item: T) {
        self.insert_with(At(pos), item);
    }

    /// Inserts where `cmp` says; there is no item with that key yet.
    pub fn insert_by(&mut self, cmp: impl FnMut(&T::Key) -> Ordering, item: T) {
        self.insert_with(By(cmp), item);
    }

    /// Puts an item where `cmp` says, in the place of the one with the same key; gives that.
    pub fn upsert_by(&mut self, cmp: impl FnMut(&T::Key) -> Ordering, item: T) -> Option<T> {
        self.insert_with(Upsert(By(cmp)), item)
    }

    /// Removes the item at `pos`.
    pub fn remove_at(&mut self, pos: usize) -> Option<T> {
        if pos >= self.len {
            return None;
        }
        self.remove_with(At(pos))
    }

    /// Removes the item whose key compares equal; copies nothing when there is none.
    pub fn remove_by(&mut self, mut cmp: impl FnMut(&T::Key) -> Ordering) -> Option<T> {
        self.find(&mut cmp)?;
        self.remove_with(By(cmp))
    }

    /// Changes the item whose key compares equal, but never its key.
    pub fn update_by(&mut self, mut cmp: impl FnMut(&T::Key) -> Ordering, change: impl FnOnce(&mut T)) -> bool {
        self.find(&mut cmp).is_some() && self.update_with(By(cmp), change)
    }

    /// Changes the item at `pos`, but never its key.
    pub fn update_at(&mut self, pos: usize, change: impl FnOnce(&mut T)) -> bool {
        pos < self.len && self.update_with(At(pos), change)
    }

    fn update_with(&mut self, mut seek: impl Seek<T>, change: impl FnOnce(&mut T)) -> bool {
        let Some(root) = &mut self.root else { return false };
        let heap = &mut self.heap;
        let grown = update(root, &mut seek, |item| {
            *heap -= item.heap_bytes();
            change(item);
            *heap += item.heap_bytes();
        });
        self.len = self.len.wrapping_add_signed(grown);
        true
    }

    /// Keeps the items at `from..to` and drops the rest, whole nodes at a time. No item lies across a border.
    pub fn keep_range(&mut self, from: usize, to: usize) {
        let to = to.min(self.len);
        if from >= to {
            *self = Self::default();
            return;
        }
        let kept = to - from;
        if kept == self.len {
            return;
        }
        // Count on the shorter side what the items hold.
        let heap = if kept <= self.len / 2 {
            self.held(from, to)
        } else {
            self.heap - self.held(0, from) - self.held(to, self.len)
        };
        if let Some(root) = &mut self.root {
            keep(root, from, to);
        }
        (self.len, self.heap) = (kept, heap);
        self.lower();
    }

    /// Drops the items at `from..to`, whole nodes at a time. No item lies across a border.
    pub fn cut_range(&mut self, from: usize, to: usize) {
        let to = to.min(self.len);
        if from >= to {
            return;
        }
        if to - from == self.len {
            *self = Self::default();
            return;
        }
        self.heap -= self.held(from, to);
        self.len -= to - from;
        if let Some(root) = &mut self.root {
            cut(root, from, to);
        }
        self.lower();
    }

    /// Drops the items that `keep` doesn't want: a pass over all, much faster than a descent for each when they are many.
    pub fn retain(&mut self, mut keep: impl FnMut(&T) -> bool) {
        let (mut len, mut heap) = (self.len, self.heap);
        let mut counted = |item: &T| {
            let keep = keep(item);
            if !keep {
                len -= item.weight();
                heap -= item.heap_bytes();
            }
            keep
        };
        if let Some(root) = &mut self.root
            && !retain(root, &mut counted)
        {
            self.root = None;
        }
        (self.len, self.heap) = (len, heap);
        self.lower();
    }

    /// What the items at `from..to` hold.
    fn held(&self, from: usize, to: usize) -> usize {
        let (mut at, mut held) = (from, 0);
        for item in self.iter_from(from) {
            if at >= to {
                break;
            }
            at += item.weight();
            held += item.heap_bytes();
        }
        held
    }
}
