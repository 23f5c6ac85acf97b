//! Walks a tree's items in either direction without touching reference counts.

use super::{Child, Item, Node};

/// Iterator over a tree; its direction is fixed when it is made.
pub struct Iter<'a, T: Item> {
    /// Inner nodes above the leaf, each with the index of the child we are in.
    above: Vec<(&'a [Child<T>], usize)>,
    leaf: &'a [T],
    /// Next index in the leaf (forward), or one past the next (backward).
    at: usize,
    left: usize,
    backward: bool,
}

impl<'a, T: Item> Iter<'a, T> {
    pub(super) fn forward(root: Option<&'a Node<T>>, pos: usize, len: usize) -> Self {
        let left = len.saturating_sub(pos);
        Self::start(root, pos, left, false)
    }

    pub(super) fn backward(root: Option<&'a Node<T>>, pos: usize, len: usize) -> Self {
        let left = if len == 0 { 0 } else { pos.min(len - 1) + 1 };
        Self::start(root, left.saturating_sub(1), left, true)
    }

    fn start(root: Option<&'a Node<T>>, mut pos: usize, left: usize, backward: bool) -> Self {
        let mut it = Self { above: Vec::new(), leaf: &[], at: 0, left, backward };
        let Some(mut node) = root.filter(|_| left > 0) else { return it };
        loop {
            match node {
                Node::Leaf(items) => {
                    it.leaf = items;
                    it.at = if backward { pos + 1 } else { pos };
                    return it;
                }
                Node::Inner(children) => {
                    let mut i = 0;
                    while pos >= children[i].count {
                        pos -= children[i].count;
                        i += 1;
                    }
                    it.above.push((children, i));
                    node = &children[i].node;
                }
            }
        }
    }

    /// Moves to the neighbouring leaf; the caller knows that there is one.
    fn next_leaf(&mut self) -> Option<()> {
        let mut node = loop {
            let (children, i) = self.above.pop()?;
            let next = if self.backward { i.checked_sub(1) } else { Some(i + 1).filter(|n| *n < children.len()) };
            if let Some(n) = next {
                self.above.push((children, n));
                break &*children[n].node;
            }
        };
        loop {
            match node {
                Node::Leaf(items) => {
                    self.leaf = items;
                    self.at = if self.backward { items.len() } else { 0 };
                    return Some(());
                }
                Node::Inner(children) => {
                    let i = if self.backward { children.len() - 1 } else { 0 };
                    self.above.push((children, i));
                    node = &children[i].node;
                }
            }
        }
    }
}

impl<'a, T: Item> Iterator for Iter<'a, T> {
    type Item = &'a T;

    #[inline]
    fn next(&mut self) -> Option<&'a T> {
        if self.left == 0 {
            return None;
        }
        self.left -= 1;
        if self.backward {
            if self.at == 0 {
                self.next_leaf()?;
            }
            self.at -= 1;
            self.leaf.get(self.at)
        } else {
            if self.at == self.leaf.len() {
                self.next_leaf()?;
            }
            self.at += 1;
            self.leaf.get(self.at - 1)
        }
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        (self.left, Some(self.left))
    }
}

impl<T: Item> ExactSizeIterator for Iter<'_, T> {}
