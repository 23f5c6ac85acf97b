//! The tree against naive twins, its shape, and what a change under a snapshot copies.

use super::*;
use proptest::prelude::*;

impl Item for u32 {
    type Key = u32;
    fn key(&self) -> &u32 {
        self
    }
    fn heap_bytes(&self) -> usize {
        1
    }
}

/// A fat item, so that few fit into a node and small tests reach three levels.
#[derive(Clone, PartialEq, Debug)]
struct Fat(u32, [u64; 64]);

impl Item for Fat {
    type Key = u32;
    fn key(&self) -> &u32 {
        &self.0
    }
    fn heap_bytes(&self) -> usize {
        self.0 as usize % 7
    }
}

impl<T: Item> Tree<T> {
    fn check(&self) {
        fn walk<T: Item>(node: &Node<T>, root: bool) -> (usize, usize) {
            assert!(node.slots() <= node.max_slots());
            assert!(node.slots() > 0);
            match node {
                Node::Leaf(items) => (items.len(), 1),
                Node::Inner(children) => {
                    assert!(!root || children.len() > 1);
                    let mut depth = None;
                    let mut total = 0;
                    for c in children {
                        let (n, d) = walk(&c.node, false);
                        assert_eq!(n, c.count);
                        assert_eq!(*depth.get_or_insert(d), d, "uneven tree");
                        total += n;
                    }
                    (total, depth.unwrap() + 1)
                }
            }
        }
        let n = self.root.as_ref().map_or(0, |r| walk(r, true).0);
        assert_eq!(n, self.len);
        assert_eq!(self.heap, self.iter().map(Item::heap_bytes).sum::<usize>());
    }
}

fn fat(n: u32) -> Fat {
    Fat(n, [n as u64; 64])
}

#[test]
fn nodes_stay_under_their_size() {
    let max = |slots: usize, size: usize| assert!(slots * size <= NODE_BYTES);
    max(Node::<u32>::MAX_LEAF, 4);
    max(Node::<u32>::MAX_INNER, size_of::<Child<u32>>());
}

#[test]
fn appending_fills_nodes() {
    let tree: Tree<u32> = (0..100_000).collect();
    tree.check();
    fn leaves(n: &Node<u32>) -> usize {
        match n {
            Node::Leaf(_) => 1,
            Node::Inner(c) => c.iter().map(|c| leaves(&c.node)).sum(),
        }
    }
    assert_eq!(leaves(tree.root.as_ref().unwrap()), 100_000_usize.div_ceil(Node::<u32>::MAX_LEAF));
}

#[derive(Debug, Clone)]
enum Op {
    Insert(usize, u32),
    Remove(usize),
    Update(usize, u32),
    Keep(usize, usize),
    Cut(usize, usize),
    Retain(usize, u32),
    Fork,
}

fn ops() -> impl Strategy<Value = Vec<Op>> {
    let op = prop_oneof![
        12 => (any::<usize>(), any::<u32>()).prop_map(|(p, v)| Op::Insert(p, v)),
        2 => any::<u32>().prop_map(|v| Op::Insert(usize::MAX, v)),
        2 => any::<u32>().prop_map(|v| Op::Insert(0, v)),
        9 => any::<usize>().prop_map(Op::Remove),
        2 => (any::<usize>(), any::<u32>()).prop_map(|(p, v)| Op::Update(p, v)),
        1 => (any::<usize>(), any::<usize>()).prop_map(|(a, b)| Op::Keep(a, b)),
        1 => (any::<usize>(), any::<usize>()).prop_map(|(a, b)| Op::Cut(a, b)),
        1 => (any::<usize>(), any::<u32>()).prop_map(|(p, v)| Op::Retain(p, v)),
        1 => Just(Op::Fork),
    ];
    prop::collection::vec(op, 1..600)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(32))]

    #[test]
    fn by_position_is_a_vec(ops in ops()) {
        let (mut tree, mut twin) = (Tree::<Fat>::new(), Vec::<Fat>::new());
        let mut forks = Vec::new();
        for op in ops {
            match op {
                Op::Insert(p, v) => {
                    let p = if p == usize::MAX { twin.len() } else { p % (twin.len() + 1) };
                    tree.insert_at(p, fat(v));
                    twin.insert(p, fat(v));
                }
                Op::Remove(p) if !twin.is_empty() => {
                    prop_assert_eq!(tree.remove_at(p % twin.len()), Some(twin.remove(p % twin.len())));
                }
                Op::Update(p, v) if !twin.is_empty() => {
                    let p = p % twin.len();
                    tree.update_at(p, |t| t.1[0] = v as u64);
                    twin[p].1[0] = v as u64;
                }
                Op::Keep(a, b) => {
                    let (a, b) = (a % (twin.len() + 1), b % (twin.len() + 1));
                    // Rarely cut much, else the tree stays small.
                    let (a, b) = (a.min(b) / 8, twin.len() - (twin.len() - a.max(b)) / 8);
                    tree.keep_range(a, b);
                    twin.truncate(b.max(a));
                    twin.drain(..a);
                }
                Op::Cut(a, b) => {
                    let a = a % (twin.len() + 1);
                    // A few leaves of seven or eight.
                    let b = (a + b % 40).min(twin.len());
                    tree.cut_range(a, b);
                    twin.drain(a..b);
                }
                Op::Retain(p, v) => {
                    // Some leaves stay whole, some lose a part, some go.
                    let (p, mut seen) = (p % (twin.len() + 1), 0);
                    let mut keep = |item: &Fat| {
                        seen += 1;
                        seen <= p || item.0 % 8 != v % 8 && seen > p + 12
                    };
                    tree.retain(&mut keep);
                    seen = 0;
                    twin.retain(|item| {
                        seen += 1;
                        seen <= p || item.0 % 8 != v % 8 && seen > p + 12
                    });
                }
                Op::Fork => forks.push((tree.clone(), twin.clone())),
                _ => {}
            }
        }
        forks.push((tree, twin));
        for (tree, twin) in forks {
            tree.check();
            prop_assert!(tree.iter().eq(twin.iter()));
            prop_assert!(tree.rev_from(usize::MAX).eq(twin.iter().rev()));
            for p in [0, 1, twin.len() / 2, twin.len()] {
                prop_assert_eq!(tree.get(p), twin.get(p));
                prop_assert!(tree.iter_from(p).eq(twin.iter().skip(p)));
                prop_assert!(p >= twin.len() || tree.rev_from(p).eq(twin[..=p].iter().rev()));
            }
        }
    }

    #[test]
    fn by_key_is_an_ordered_map(keys in prop::collection::vec((any::<bool>(), 0_u32..400), 1..1500)) {
        let (mut tree, mut twin) = (Tree::<Fat>::new(), std::collections::BTreeMap::new());
        for (add, k) in keys {
            prop_assert_eq!(tree.find(|x| x.cmp(&k)).is_some(), twin.contains_key(&k));
            if add && !twin.contains_key(&k) {
                if k % 2 == 0 {
                    tree.insert_by(|x| x.cmp(&k), fat(k));
                } else {
                    prop_assert_eq!(tree.upsert_by(|x| x.cmp(&k), fat(k)), None);
                }
                twin.insert(k, fat(k));
            } else if add && k % 3 == 0 {
                let mut new = fat(k);
                new.1[2] = 7;
                prop_assert_eq!(tree.upsert_by(|x| x.cmp(&k), new.clone()), twin.insert(k, new));
            } else if add {
                prop_assert!(tree.update_by(|x| x.cmp(&k), |t| t.1[1] += 1));
                twin.get_mut(&k).unwrap().1[1] += 1;
            } else {
                prop_assert_eq!(tree.remove_by(|x| x.cmp(&k)), twin.remove(&k));
            }
            prop_assert_eq!(tree.rank_where(|x| *x < k), twin.range(..k).count());
        }
        tree.check();
        prop_assert!(tree.iter().eq(twin.values()));
    }
}

/// Nodes that only this tree holds.
fn own_nodes<T: Item>(tree: &Tree<T>) -> usize {
    fn walk<T: Item>(node: &Arc<Node<T>>) -> usize {
        if Arc::strong_count(node) > 1 {
            return 0;
        }
        1 + match &**node {
            Node::Leaf(_) => 0,
            Node::Inner(children) => children.iter().map(|c| walk(&c.node)).sum(),
        }
    }
    tree.root.as_ref().map_or(0, walk)
}

#[test]
fn a_change_under_a_snapshot_copies_one_path_only() {
    let tree: Tree<Fat> = (0..100_000).map(|n| fat(n * 2)).collect();
    type Change = fn(&mut Tree<Fat>);
    let changes: [Change; 6] = [
        |t| assert!(t.remove_at(50_000).is_some()),
        |t| t.insert_at(50_000, fat(1)),
        |t| t.push_front(fat(0)),
        |t| t.push_back(fat(0)),
        |t| assert!(t.update_by(|k| k.cmp(&1000), |item| item.1[0] = 9)),
        |t| assert!(t.upsert_by(|k| k.cmp(&1001), fat(1001)).is_none()),
    ];
    for change in changes {
        let mut copy = tree.clone();
        assert_eq!(own_nodes(&copy), 0);
        change(&mut copy);
        // Six levels of few slots each (an item is half a kilobyte); a split or a merge adds a neighbour per level.
        let own = own_nodes(&copy);
        assert!((1..=14).contains(&own), "{own} nodes copied");
        copy.check();
    }
    // Looking for what isn't there copies nothing.
    let mut copy = tree.clone();
    assert!(copy.remove_by(|k| k.cmp(&1001)).is_none() && !copy.update_by(|k| k.cmp(&1001), |_| {}));
    assert_eq!(own_nodes(&copy), 0);
}
