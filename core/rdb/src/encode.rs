//! Writing values. Each function appends one value (without type and key) and returns its type number; collections
//! come as iterators over neutral elements, so the keyspace's own forms stay its own business.

use crate::prim::{put_len, put_plain, put_text};
use crate::{Elem, RDB_VERSION, intset, listpack::Pack, types};

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
pub fn string<'e>(out: &mut Vec<u8>, value: impl Into<Elem<'e>>, options: EncodeOptions) -> u8 {
    put_text(out, value.into(), options.compress);
    types::STRING
}

/// A list, in packed nodes.
pub fn list<'e, E: Into<Elem<'e>>>(
    out: &mut Vec<u8>,
    items: impl IntoIterator<Item = E>,
    options: EncodeOptions,
) -> u8 {
    let start = out.len();
    let mut nodes = Nodes { out, scratch: Vec::new(), pack: None, count: 0, options };
    for item in items {
        nodes.push(item.into());
    }
    nodes.close();
    let count = nodes.count;
    let body = out.len();
    put_len(out, count);
    let header = out.len() - body;
    out[start..].rotate_right(header);
    types::LIST_QUICKLIST_2
}

struct Nodes<'o> {
    out: &'o mut Vec<u8>,
    scratch: Vec<u8>,
    pack: Option<Pack>,
    count: u64,
    options: EncodeOptions,
}

impl Nodes<'_> {
    fn push(&mut self, elem: Elem<'_>) {
        let len = elem.with_bytes(<[u8]>::len);
        if len >= PLAIN_ELEMENT {
            self.close();
            put_len(self.out, NODE_PLAIN);
            put_text(self.out, elem, self.options.compress);
            self.count += 1;
            return;
        }
        if self.pack.as_ref().is_some_and(|pack| pack.size(&self.scratch) + len + 11 > NODE_BYTES) {
            self.close();
        }
        self.pack.get_or_insert_with(|| Pack::begin(&mut self.scratch)).push(elem, &mut self.scratch);
    }

    fn close(&mut self) {
        let Some(pack) = self.pack.take() else { return };
        pack.finish(&mut self.scratch);
        put_len(self.out, NODE_PACKED);
        put_text(self.out, Elem::Bytes(&self.scratch), self.options.compress);
        self.scratch.clear();
        self.count += 1;
    }
}

/// A set of `len` members, one string each.
pub fn set<'e, E: Into<Elem<'e>>>(
    out: &mut Vec<u8>,
    len: usize,
    members: impl IntoIterator<Item = E>,
    options: EncodeOptions,
) -> u8 {
    put_len(out, len as u64);
    for member in members {
        put_text(out, member.into(), options.compress);
    }
    types::SET
}

/// A set of integers that ascend without repeats.
pub fn set_intset(out: &mut Vec<u8>, values: &[i64], options: EncodeOptions) -> u8 {
    let mut blob = Vec::with_capacity(8 + values.len() * 8);
    intset::encode(values, &mut blob);
    put_text(out, Elem::Bytes(&blob), options.compress);
    types::SET_INTSET
}

/// A hash of `len` fields, one string each.
pub fn hash<'e, F: Into<Elem<'e>>, V: Into<Elem<'e>>>(
    out: &mut Vec<u8>,
    len: usize,
    pairs: impl IntoIterator<Item = (F, V)>,
    options: EncodeOptions,
) -> u8 {
    put_len(out, len as u64);
    for (field, value) in pairs {
        put_text(out, field.into(), options.compress);
        put_text(out, value.into(), options.compress);
    }
    types::HASH
}

/// A small hash in one listpack (together below 1 GiB).
pub fn hash_listpack<'e, F: Into<Elem<'e>>, V: Into<Elem<'e>>>(
    out: &mut Vec<u8>,
    pairs: impl IntoIterator<Item = (F, V)>,
    options: EncodeOptions,
) -> u8 {
    let mut blob = Vec::new();
    let mut pack = Pack::begin(&mut blob);
    for (field, value) in pairs {
        pack.push(field.into(), &mut blob);
        pack.push(value.into(), &mut blob);
    }
    pack.finish(&mut blob);
    put_text(out, Elem::Bytes(&blob), options.compress);
    types::HASH_LISTPACK
}

/// A hash of `len` fields of which some expire, one string each. Needs version 12; `earliest` is the first deadline, in
/// milliseconds since 1970.
pub fn hash_timed<'e, F: Into<Elem<'e>>, V: Into<Elem<'e>>>(
    out: &mut Vec<u8>,
    len: usize,
    earliest: u64,
    fields: impl IntoIterator<Item = (F, V, Option<u64>)>,
    options: EncodeOptions,
) -> u8 {
    out.extend_from_slice(&earliest.to_le_bytes());
    put_len(out, len as u64);
    for (field, value, at) in fields {
        put_len(out, at.map_or(0, |at| at.saturating_sub(earliest) + 1));
        put_text(out, field.into(), options.compress);
        put_text(out, value.into(), options.compress);
    }
    types::HASH_METADATA
}

/// A small hash of which some fields expire in one listpack: by deadline, those without one last. Needs version 12.
pub fn hash_timed_listpack<'e, F: Into<Elem<'e>>, V: Into<Elem<'e>>>(
    out: &mut Vec<u8>,
    earliest: u64,
    fields: impl IntoIterator<Item = (F, V, Option<u64>)>,
    options: EncodeOptions,
) -> u8 {
    out.extend_from_slice(&earliest.to_le_bytes());
    let mut blob = Vec::new();
    let mut pack = Pack::begin(&mut blob);
    for (field, value, at) in fields {
        pack.push(field.into(), &mut blob);
        pack.push(value.into(), &mut blob);
        pack.push(Elem::Int(at.map_or(0, |at| i64::try_from(at).unwrap_or(i64::MAX))), &mut blob);
    }
    pack.finish(&mut blob);
    put_text(out, Elem::Bytes(&blob), options.compress);
    types::HASH_LISTPACK_EX
}

/// A sorted set of `len` members. Any order is allowed; from the highest to the lowest loads fastest into Redis.
pub fn zset<'e, E: Into<Elem<'e>>>(
    out: &mut Vec<u8>,
    len: usize,
    members: impl IntoIterator<Item = (E, f64)>,
    options: EncodeOptions,
) -> u8 {
    put_len(out, len as u64);
    for (member, score) in members {
        put_text(out, member.into(), options.compress);
        out.extend_from_slice(&score.to_le_bytes());
    }
    types::ZSET_2
}

/// A small sorted set in one listpack, members ascending by score and name.
pub fn zset_listpack<'e, E: Into<Elem<'e>>>(
    out: &mut Vec<u8>,
    members: impl IntoIterator<Item = (E, f64)>,
    options: EncodeOptions,
) -> u8 {
    let mut blob = Vec::new();
    let mut pack = Pack::begin(&mut blob);
    for (member, score) in members {
        pack.push(member.into(), &mut blob);
        push_score(&mut pack, score, &mut blob);
    }
    pack.finish(&mut blob);
    put_text(out, Elem::Bytes(&blob), options.compress);
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
