//! Reading values: every encoding of versions 1 to 12 is visited as neutral elements. Validation is always on.

use std::borrow::Cow;

use crate::prim::{Reader, Text, text_to_score};
use crate::{Elem, Kind, RdbError, StreamPart, intset, listpack, stream, types, ziplist};

/// Who receives the elements of one value. A sink that already has a member answers [`RdbError::Duplicate`].
pub trait ValueSink {
    /// What comes, and about how many elements of it (bounded by the bytes that are there). Comes first.
    fn begin(&mut self, kind: Kind, elements: usize) -> Result<(), RdbError>;
    /// The value of a string.
    fn string(&mut self, value: Elem<'_>) -> Result<(), RdbError>;
    /// The next element of a list.
    fn list_push(&mut self, value: Elem<'_>) -> Result<(), RdbError>;
    /// A member of a set.
    fn set_add(&mut self, member: Elem<'_>) -> Result<(), RdbError>;
    /// A field of a hash.
    fn hash_field(&mut self, field: Elem<'_>, value: Elem<'_>) -> Result<(), RdbError>;
    /// A field of a hash that expires, at a time in milliseconds since 1970. Who can't keep the time refuses it.
    fn hash_field_until(&mut self, field: Elem<'_>, value: Elem<'_>, expires_ms: u64) -> Result<(), RdbError> {
        let _ = (field, value, expires_ms);
        Err(RdbError::Unsupported("hash with field expiry"))
    }
    /// A member of a sorted set; never with a score that isn't a number.
    fn zset_member(&mut self, member: Elem<'_>, score: f64) -> Result<(), RdbError>;
    /// The next part of a stream.
    fn stream(&mut self, part: StreamPart<'_>) -> Result<(), RdbError>;
}

/// Visits the value of type `rdb_type` that `bytes` hold exactly. Empty collections are refused,
/// but for streams, which may be empty.
pub fn decode_value(rdb_type: u8, bytes: &[u8], sink: &mut impl ValueSink) -> Result<(), RdbError> {
    let kind = Kind::of(rdb_type)?;
    let mut reader = Reader::new(bytes);
    let elements = match rdb_type {
        types::STRING => {
            sink.begin(kind, 1)?;
            sink.string(reader.text()?.elem())?;
            1
        }
        types::LIST | types::SET | types::ZSET | types::ZSET_2 | types::HASH => {
            singles(rdb_type, kind, &mut reader, sink)?
        }
        types::STREAM_LISTPACKS | types::STREAM_LISTPACKS_2 | types::STREAM_LISTPACKS_3 => {
            sink.begin(kind, 1)?;
            stream::decode(rdb_type, &mut reader, sink)?;
            1
        }
        types::LIST_QUICKLIST | types::LIST_QUICKLIST_2 => quicklist(rdb_type, &mut reader, sink)?,
        types::HASH_METADATA | types::HASH_METADATA_PRE_GA => timed_fields(rdb_type, &mut reader, sink)?,
        types::HASH_LISTPACK_EX | types::HASH_LISTPACK_EX_PRE_GA => {
            if rdb_type == types::HASH_LISTPACK_EX {
                // Each field has its own: the earliest of them says nothing more.
                reader.take(8)?;
            }
            sink.begin(kind, 0)?;
            let text = reader.text()?;
            in_threes(text.blob()?, |field, value, at| timed(sink, field, value, at))?
        }
        _ => {
            let text = reader.text()?;
            packed(rdb_type, kind, text.blob()?, sink)?
        }
    };
    if reader.remaining() > 0 {
        return Err(RdbError::Corrupt("bytes behind the end of the value"));
    }
    if elements == 0 { Err(RdbError::Empty) } else { Ok(()) }
}

/// The value of a string ([`types::STRING`]) that `bytes` hold exactly, for whoever keeps it at once: it may be as long as half of
/// the memory. One that is stored plainly isn't copied on its way, one that was packed is given away.
pub fn with_string<R>(bytes: &[u8], take: impl FnOnce(Cow<'_, [u8]>) -> R) -> Result<R, RdbError> {
    let mut reader = Reader::new(bytes);
    let text = reader.text()?;
    if reader.remaining() > 0 {
        return Err(RdbError::Corrupt("bytes behind the end of the value"));
    }
    Ok(match text {
        Text::Unpacked(bytes) => take(Cow::Owned(bytes)),
        text => text.elem().with_bytes(|bytes| take(Cow::Borrowed(bytes))),
    })
}

/// Types whose elements are single strings behind a count.
fn singles(rdb_type: u8, kind: Kind, reader: &mut Reader<'_>, sink: &mut impl ValueSink) -> Result<u64, RdbError> {
    let count = reader.count()?;
    sink.begin(kind, count.min(reader.remaining() as u64) as usize)?;
    for _ in 0..count {
        let text = reader.text()?;
        match rdb_type {
            types::LIST => sink.list_push(text.elem())?,
            types::SET => sink.set_add(text.elem())?,
            types::HASH => sink.hash_field(text.elem(), reader.text()?.elem())?,
            types::ZSET => sink.zset_member(text.elem(), reader.score_text()?)?,
            _ => sink.zset_member(text.elem(), reader.score()?)?,
        }
    }
    Ok(count)
}

/// The latest time a field may expire at, as in Redis: 48 bits.
const LATEST: u64 = (1 << 48) - 1;

/// A field with its deadline, 0 if it has none.
fn timed(sink: &mut impl ValueSink, field: Elem<'_>, value: Elem<'_>, at: u64) -> Result<(), RdbError> {
    match at {
        0 => sink.hash_field(field, value),
        1..=LATEST => sink.hash_field_until(field, value, at),
        _ => Err(RdbError::Corrupt("a hash field's deadline is out of range")),
    }
}

/// Fields behind a count, each with its deadline in front.
fn timed_fields(rdb_type: u8, reader: &mut Reader<'_>, sink: &mut impl ValueSink) -> Result<u64, RdbError> {
    let earliest = if rdb_type == types::HASH_METADATA { Some(u64::from_le_bytes(reader.array()?)) } else { None };
    let count = reader.count()?;
    sink.begin(Kind::Hash, count.min(reader.remaining() as u64) as usize)?;
    for _ in 0..count {
        let at = match (reader.count()?, earliest) {
            (0, _) => 0,
            (at, None) => at,
            // 0 stands for none, so they count from 1.
            (at, Some(earliest)) => earliest.saturating_add(at - 1),
        };
        let (field, value) = (reader.text()?, reader.text()?);
        timed(sink, field.elem(), value.elem(), at)?;
    }
    Ok(count)
}

/// Visits the fields, values and deadlines of a listpack.
fn in_threes(
    blob: &[u8],
    mut visit: impl FnMut(Elem<'_>, Elem<'_>, u64) -> Result<(), RdbError>,
) -> Result<u64, RdbError> {
    let mut waiting = [None, None];
    let count = listpack::visit(blob, |elem| {
        let [field, value] = &mut waiting;
        if field.is_none() {
            *field = Some(elem.to_vec());
        } else if value.is_none() {
            *value = Some(elem.to_vec());
        } else if let (Some(field), Some(value)) = (field.take(), value.take()) {
            let at = elem.as_int().and_then(|at| u64::try_from(at).ok());
            let at = at.ok_or(RdbError::Corrupt("a hash field's deadline is no time"))?;
            return visit(Elem::Bytes(&field), Elem::Bytes(&value), at);
        }
        Ok(())
    })?;
    if waiting[0].is_some() {
        return Err(RdbError::Corrupt("packed fields, values and deadlines that aren't complete"));
    }
    Ok(count / 3)
}

fn quicklist(rdb_type: u8, reader: &mut Reader<'_>, sink: &mut impl ValueSink) -> Result<u64, RdbError> {
    let nodes = reader.count()?;
    sink.begin(Kind::List, nodes.min(reader.remaining() as u64) as usize)?;
    let mut elements = 0;
    for _ in 0..nodes {
        let container = if rdb_type == types::LIST_QUICKLIST_2 { reader.count()? } else { 0 };
        let text = reader.text()?;
        elements += match container {
            0 if rdb_type == types::LIST_QUICKLIST => ziplist::visit(text.blob()?, |elem| sink.list_push(elem))?,
            1 => {
                sink.list_push(text.elem())?;
                1
            }
            2 => listpack::visit(text.blob()?, |elem| sink.list_push(elem))?,
            _ => return Err(RdbError::Corrupt("unknown list container")),
        };
    }
    Ok(elements)
}

/// Types that are one packed string.
fn packed(rdb_type: u8, kind: Kind, blob: &[u8], sink: &mut impl ValueSink) -> Result<u64, RdbError> {
    sink.begin(kind, 0)?;
    match rdb_type {
        types::LIST_ZIPLIST => ziplist::visit(blob, |elem| sink.list_push(elem)),
        types::SET_LISTPACK => listpack::visit(blob, |elem| sink.set_add(elem)),
        types::SET_INTSET => {
            let mut count = 0;
            intset::visit(blob, |value| {
                count += 1;
                sink.set_add(Elem::Int(value))
            })?;
            Ok(count)
        }
        types::HASH_ZIPMAP => {
            ziplist::visit_zipmap(blob, |field, value| sink.hash_field(Elem::Bytes(field), Elem::Bytes(value)))
        }
        types::HASH_ZIPLIST => {
            in_pairs(|each| ziplist::visit(blob, each), |field, value| sink.hash_field(field, value))
        }
        types::HASH_LISTPACK => {
            in_pairs(|each| listpack::visit(blob, each), |field, value| sink.hash_field(field, value))
        }
        types::ZSET_ZIPLIST => in_pairs(|each| ziplist::visit(blob, each), |member, score| scored(sink, member, score)),
        types::ZSET_LISTPACK => {
            in_pairs(|each| listpack::visit(blob, each), |member, score| scored(sink, member, score))
        }
        other => Err(RdbError::UnknownType(other)),
    }
}

fn scored(sink: &mut impl ValueSink, member: Elem<'_>, score: Elem<'_>) -> Result<(), RdbError> {
    let score = match score {
        Elem::Int(value) => value as f64,
        Elem::Bytes(text) => text_to_score(text)?,
    };
    sink.zset_member(member, score)
}

/// Visits elements two by two. The first of a pair is kept until the second comes: without a copy for bytes up to
/// the size of a buffer that is used again.
fn in_pairs(
    visit: impl FnOnce(&mut dyn FnMut(Elem<'_>) -> Result<(), RdbError>) -> Result<u64, RdbError>,
    mut pair: impl FnMut(Elem<'_>, Elem<'_>) -> Result<(), RdbError>,
) -> Result<u64, RdbError> {
    let mut first = Vec::new();
    let mut first_int = None;
    let mut waiting = false;
    let count = visit(&mut |elem| {
        if waiting {
            waiting = false;
            return pair(first_int.map_or(Elem::Bytes(&first), Elem::Int), elem);
        }
        waiting = true;
        first_int = None;
        match elem {
            Elem::Int(value) => first_int = Some(value),
            Elem::Bytes(bytes) => {
                first.clear();
                first.extend_from_slice(bytes);
            }
        }
        Ok(())
    })?;
    if waiting { Err(RdbError::Corrupt("packed pairs with an odd number of elements")) } else { Ok(count / 2) }
}
