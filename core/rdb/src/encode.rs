//! Writing values. Each function appends one value (without type and key) and returns its type number; collections
//! come as iterators over neutral elements, so the keyspace's own forms stay its own business.

use crate::prim::{put_len, put_plain, put_text};
use crate::{Elem, Output, RDB_VERSION, intset, listpack::Pack, types};

/// How values are written.
#[derive(Debug, Clone, Copy)]
pub struct EncodeOptions {
    /// Pack strings of more than 20 bytes where that makes them shorter (`rdbcompression`).
    pub compress: bool,
    /// The version of the format: newer ones know types that say more.
    pub version: u16,
}

impl Default for EncodeOptions {
    fn default() -> Self {
        Self { compress: true, version: RDB_VERSION }
    }
}

/// A list's packed nodes are closed at this size, as Redis' default does.
const NODE_BYTES: usize = 8 * 1024;
/// Longer elements get a node of their own that isn't packed: no listpack may grow beyond it.
const PLAIN_ELEMENT: usize = 1 << 30;
const NODE_PLAIN: u64 = 1;
const NODE_PACKED: u64 = 2;

/// A string.
pub fn string<'e>(out: &mut impl Output, value: impl Into<Elem<'e>>, options: EncodeOptions) -> u8 {
    out.begins(types::STRING);
    put_text(out.bytes(), value.into(), options.compress);
    types::STRING
}

/// A list, in packed nodes. `items` is asked for the elements once, or twice where the number of nodes must be known first.
pub fn list<'e, E: Into<Elem<'e>>, I: IntoIterator<Item = E>, O: Output>(
    out: &mut O,
    items: impl Fn() -> I,
    options: EncodeOptions,
) -> u8 {
    out.begins(types::LIST_QUICKLIST_2);
    if O::PIECEWISE {
        let mut count = 0;
        nodes(items(), |_| count += 1);
        put_len(out.bytes(), count);
        nodes(items(), |node| put_node(out, &node, options));
        return types::LIST_QUICKLIST_2;
    }
    let start = out.bytes().len();
    let mut count = 0;
    nodes(items(), |node| {
        put_node(out, &node, options);
        count += 1;
    });
    let out = out.bytes();
    let body = out.len();
    put_len(out, count);
    let header = out.len() - body;
    out[start..].rotate_right(header);
    types::LIST_QUICKLIST_2
}

enum Node<'a> {
    Packed(&'a [u8]),
    Plain(Elem<'a>),
}

fn put_node<O: Output>(out: &mut O, node: &Node<'_>, options: EncodeOptions) {
    let (container, elem) = match node {
        Node::Packed(pack) => (NODE_PACKED, Elem::Bytes(pack)),
        Node::Plain(elem) => (NODE_PLAIN, *elem),
    };
    put_len(out.bytes(), container);
    put_text(out.bytes(), elem, options.compress);
    out.element_ends();
}

/// A list's nodes, one after the other.
fn nodes<'e, E: Into<Elem<'e>>>(items: impl IntoIterator<Item = E>, mut give: impl FnMut(Node<'_>)) {
    let mut scratch = Vec::new();
    let mut open: Option<Pack> = None;
    let close = |pack: Pack, scratch: &mut Vec<u8>, give: &mut dyn FnMut(Node<'_>)| {
        pack.finish(scratch);
        give(Node::Packed(scratch));
        scratch.clear();
    };
    for item in items {
        let elem = item.into();
        let len = elem.with_bytes(<[u8]>::len);
        let full = |pack: &mut Pack| len >= PLAIN_ELEMENT || pack.size(&scratch) + len + 11 > NODE_BYTES;
        if let Some(pack) = open.take_if(full) {
            close(pack, &mut scratch, &mut give);
        }
        if len >= PLAIN_ELEMENT {
            give(Node::Plain(elem));
        } else {
            open.get_or_insert_with(|| Pack::begin(&mut scratch)).push(elem, &mut scratch);
        }
    }
    if let Some(pack) = open {
        close(pack, &mut scratch, &mut give);
    }
}

/// A set of `len` members, one string each.
pub fn set<'e, E: Into<Elem<'e>>>(
    out: &mut impl Output,
    len: usize,
    members: impl IntoIterator<Item = E>,
    options: EncodeOptions,
) -> u8 {
    out.begins(types::SET);
    put_len(out.bytes(), len as u64);
    for member in members {
        put_text(out.bytes(), member.into(), options.compress);
        out.element_ends();
    }
    types::SET
}

/// A set of integers that ascend without repeats.
pub fn set_intset(out: &mut impl Output, values: &[i64], options: EncodeOptions) -> u8 {
    out.begins(types::SET_INTSET);
    let mut blob = Vec::with_capacity(8 + values.len() * 8);
    intset::encode(values, &mut blob);
    put_text(out.bytes(), Elem::Bytes(&blob), options.compress);
    types::SET_INTSET
}

/// A hash of `len` fields, one string each.
pub fn hash<'e, F: Into<Elem<'e>>, V: Into<Elem<'e>>>(
    out: &mut impl Output,
    len: usize,
    pairs: impl IntoIterator<Item = (F, V)>,
    options: EncodeOptions,
) -> u8 {
    out.begins(types::HASH);
    put_len(out.bytes(), len as u64);
    for (field, value) in pairs {
        put_text(out.bytes(), field.into(), options.compress);
        put_text(out.bytes(), value.into(), options.compress);
        out.element_ends();
    }
    types::HASH
}

/// A small hash in one listpack (together below 1 GiB).
pub fn hash_listpack<'e, F: Into<Elem<'e>>, V: Into<Elem<'e>>>(
    out: &mut impl Output,
    pairs: impl IntoIterator<Item = (F, V)>,
    options: EncodeOptions,
) -> u8 {
    out.begins(types::HASH_LISTPACK);
    let mut blob = Vec::new();
    let mut pack = Pack::begin(&mut blob);
    for (field, value) in pairs {
        pack.push(field.into(), &mut blob);
        pack.push(value.into(), &mut blob);
    }
    pack.finish(&mut blob);
    put_text(out.bytes(), Elem::Bytes(&blob), options.compress);
    types::HASH_LISTPACK
}

/// A hash of `len` fields of which some expire, one string each. Needs version 12; `earliest` is the first deadline, in
/// milliseconds since 1970.
pub fn hash_timed<'e, F: Into<Elem<'e>>, V: Into<Elem<'e>>>(
    out: &mut impl Output,
    len: usize,
    earliest: u64,
    fields: impl IntoIterator<Item = (F, V, Option<u64>)>,
    options: EncodeOptions,
) -> u8 {
    out.begins(types::HASH_METADATA);
    out.bytes().extend_from_slice(&earliest.to_le_bytes());
    put_len(out.bytes(), len as u64);
    for (field, value, at) in fields {
        put_len(out.bytes(), at.map_or(0, |at| at.saturating_sub(earliest) + 1));
        put_text(out.bytes(), field.into(), options.compress);
        put_text(out.bytes(), value.into(), options.compress);
        out.element_ends();
    }
    types::HASH_METADATA
}

/// A small hash of which some fields expire in one listpack: by deadline, those without one last. Needs version 12.
pub fn hash_timed_listpack<'e, F: Into<Elem<'e>>, V: Into<Elem<'e>>>(
    out: &mut impl Output,
    earliest: u64,
    fields: impl IntoIterator<Item = (F, V, Option<u64>)>,
    options: EncodeOptions,
) -> u8 {
    out.begins(types::HASH_LISTPACK_EX);
    out.bytes().extend_from_slice(&earliest.to_le_bytes());
    let mut blob = Vec::new();
    let mut pack = Pack::begin(&mut blob);
    for (field, value, at) in fields {
        pack.push(field.into(), &mut blob);
        pack.push(value.into(), &mut blob);
        pack.push(Elem::Int(at.map_or(0, |at| i64::try_from(at).unwrap_or(i64::MAX))), &mut blob);
    }
    pack.finish(&mut blob);
    put_text(out.bytes(), Elem::Bytes(&blob), options.compress);
    types::HASH_LISTPACK_EX
}

/// A sorted set of `len` members. Any order is allowed; from the highest to the lowest loads fastest into Redis.
pub fn zset<'e, E: Into<Elem<'e>>>(
    out: &mut impl Output,
    len: usize,
    members: impl IntoIterator<Item = (E, f64)>,
    options: EncodeOptions,
) -> u8 {
    out.begins(types::ZSET_2);
    put_len(out.bytes(), len as u64);
    for (member, score) in members {
        put_text(out.bytes(), member.into(), options.compress);
        out.bytes().extend_from_slice(&score.to_le_bytes());
        out.element_ends();
    }
    types::ZSET_2
}

/// A small sorted set in one listpack, members ascending by score and name.
pub fn zset_listpack<'e, E: Into<Elem<'e>>>(
    out: &mut impl Output,
    members: impl IntoIterator<Item = (E, f64)>,
    options: EncodeOptions,
) -> u8 {
    out.begins(types::ZSET_LISTPACK);
    let mut blob = Vec::new();
    let mut pack = Pack::begin(&mut blob);
    for (member, score) in members {
        pack.push(member.into(), &mut blob);
        push_score(&mut pack, score, &mut blob);
    }
    pack.finish(&mut blob);
    put_text(out.bytes(), Elem::Bytes(&blob), options.compress);
    types::ZSET_LISTPACK
}

/// Scores in a listpack are text that strtod reads back exactly.
fn push_score(pack: &mut Pack, score: f64, blob: &mut Vec<u8>) {
    const EXACT: f64 = (1i64 << 53) as f64;
    if score.is_infinite() {
        pack.push(Elem::Bytes(if score > 0.0 { b"inf" } else { b"-inf" }), blob);
    } else if score == 0.0 && score.is_sign_negative() {
        pack.push(Elem::Bytes(b"-0"), blob);
    } else if score.abs() <= EXACT && score.fract() == 0.0 {
        pack.push(Elem::Int(score as i64), blob);
    } else {
        pack.push(Elem::Bytes(zmij::Buffer::new().format_finite(score).as_bytes()), blob);
    }
}

/// A string as it stands in a file where no value type is told, e.g. a key.
pub(crate) fn plain(out: &mut Vec<u8>, bytes: &[u8]) {
    put_plain(out, bytes);
}
