//! Walks a tree's items in either direction without touching reference counts.

use super::{At, Child, Item, Node, Seek};

/// Iterator over a tree; its direction is fixed when it is made.
pub struct Iter<'a, T: Item> {
    /// Inner nodes above the leaf, each with the index of the child we are in.
    above: Vec<(&'a [Child<T>], usize)>,
    leaf: &'a [T],
    /// Next index in the leaf (forward), or one past the next (backward).
    at: usize,
    /// The position inside the first item.
    inside: usize,
    backward: bool,
}

impl<'a, T: Item> Iter<'a, T> {
    pub(super) fn forward(root: Option<&'a Node<T>>, pos: usize, len: usize) -> Self {
        Self::start(root.filter(|_| pos < len), pos, false)
    }

    pub(super) fn backward(root: Option<&'a Node<T>>, pos: usize, len: usize) -> Self {
        Self::start(root, pos.min(len.saturating_sub(1)), true)
    }

    fn start(root: Option<&'a Node<T>>, pos: usize, backward: bool) -> Self {
        let mut it = Self { above: Vec::new(), leaf: &[], at: 0, inside: 0, backward };
        let Some(mut node) = root else { return it };
        let mut seek = At(pos);
        loop {
            match node {
                Node::Leaf(items) => {
                    it.leaf = items;
                    it.at = seek.item(items) + usize::from(backward);
                    it.inside = seek.0;
                    return it;
                }
                Node::Inner(children) => {
                    let i = seek.child(children);
                    it.above.push((children, i));
                    node = &children[i].node;
                }
            }
        }
    }

    /// Where inside its first item the iteration was to start.
    pub fn inside(&self) -> usize {
        self.inside
    }

    /// Moves to the neighbouring leaf, if there is one.
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
}
