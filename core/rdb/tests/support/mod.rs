//! What the tests of this crate share: values as plain Rust data, and keys listed as the golden texts list them.
#![allow(dead_code, missing_docs)]

use keystead_rdb::listpack::{self, Pack};
use keystead_rdb::stream::StreamWriter;
use keystead_rdb::{
    Elem, EncodeOptions, Event, FileParser, Kind, RdbError, StreamCounters, StreamId, StreamPart, ValueSink,
    decode_value, encode, records,
};

/// A value, decoded.
#[derive(Debug, Clone, PartialEq)]
pub enum Value {
    String(Vec<u8>),
    List(Vec<Vec<u8>>),
    Set(Vec<Vec<u8>>),
    Hash(Vec<(Vec<u8>, Vec<u8>)>),
    Zset(Vec<(Vec<u8>, f64)>),
    Stream(Stream),
}

/// A stream's parts, each as it came.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Stream {
    pub blocks: Vec<(StreamId, Vec<u8>)>,
    pub counters: StreamCounters,
    pub groups: Vec<Group>,
}

#[derive(Debug, Clone, PartialEq)]
pub struct Group {
    pub name: Vec<u8>,
    pub last_id: StreamId,
    pub reads: Option<i64>,
    pub pending: Vec<(StreamId, i64, u64)>,
    /// Name, seen, active, what it owns.
    pub consumers: Vec<(Vec<u8>, i64, i64, Vec<StreamId>)>,
}

/// A sink that keeps everything.
#[derive(Default)]
pub struct Keep(pub Option<Value>);

impl ValueSink for Keep {
    fn begin(&mut self, kind: Kind, _elements: usize) -> Result<(), RdbError> {
        self.0 = Some(match kind {
            Kind::String => Value::String(Vec::new()),
            Kind::List => Value::List(Vec::new()),
            Kind::Set => Value::Set(Vec::new()),
            Kind::Hash => Value::Hash(Vec::new()),
            Kind::Zset => Value::Zset(Vec::new()),
            Kind::Stream => Value::Stream(Stream::default()),
        });
        Ok(())
    }
    fn string(&mut self, value: Elem<'_>) -> Result<(), RdbError> {
        self.0 = Some(Value::String(value.to_vec()));
        Ok(())
    }
    fn list_push(&mut self, value: Elem<'_>) -> Result<(), RdbError> {
        let Some(Value::List(items)) = &mut self.0 else { panic!("not a list") };
        items.push(value.to_vec());
        Ok(())
    }
    fn set_add(&mut self, member: Elem<'_>) -> Result<(), RdbError> {
        let Some(Value::Set(items)) = &mut self.0 else { panic!("not a set") };
        items.push(member.to_vec());
        Ok(())
    }
    fn hash_field(&mut self, field: Elem<'_>, value: Elem<'_>) -> Result<(), RdbError> {
        let Some(Value::Hash(items)) = &mut self.0 else { panic!("not a hash") };
        items.push((field.to_vec(), value.to_vec()));
        Ok(())
    }
    /// Kept as `value@deadline`.
    fn hash_field_until(&mut self, field: Elem<'_>, value: Elem<'_>, expires_ms: u64) -> Result<(), RdbError> {
        let value = [value.to_vec(), format!("@{expires_ms}").into_bytes()].concat();
        self.hash_field(field, Elem::Bytes(&value))
    }
    fn zset_member(&mut self, member: Elem<'_>, score: f64) -> Result<(), RdbError> {
        let Some(Value::Zset(items)) = &mut self.0 else { panic!("not a sorted set") };
        items.push((member.to_vec(), score));
        Ok(())
    }
    fn stream(&mut self, part: StreamPart<'_>) -> Result<(), RdbError> {
        let Some(Value::Stream(stream)) = &mut self.0 else { panic!("not a stream") };
        let group = stream.groups.last_mut();
        match part {
            StreamPart::Block(id, pack) => stream.blocks.push((id, pack.to_vec())),
            StreamPart::Counters(counters) => stream.counters = counters,
            StreamPart::Group(name, last_id, reads) => stream.groups.push(Group {
                name: name.to_vec(),
                last_id,
                reads,
                pending: Vec::new(),
                consumers: Vec::new(),
            }),
            StreamPart::Pending(id, at, count) => group.expect("a group came").pending.push((id, at, count)),
            StreamPart::Consumer(name, seen, active) => {
                group.expect("a group came").consumers.push((name.to_vec(), seen, active, Vec::new()));
            }
            StreamPart::Owned(id) => {
                group.and_then(|group| group.consumers.last_mut()).expect("a consumer came").3.push(id);
            }
        }
        Ok(())
    }
}

pub fn decode(rdb_type: u8, bytes: &[u8]) -> Result<Value, RdbError> {
    let mut keep = Keep::default();
    decode_value(rdb_type, bytes, &mut keep)?;
    Ok(keep.0.expect("begin was called"))
}

/// Writes a value in its plain (`packed` false) or packed form.
pub fn encode_value(value: &Value, packed: bool, options: EncodeOptions, out: &mut Vec<u8>) -> u8 {
    match value {
        Value::String(bytes) => encode::string(out, &bytes[..], options),
        Value::List(items) => encode::list(out, || items.iter().map(|item| &item[..]), options),
        Value::Set(items) => {
            let mut ints: Vec<i64> = items.iter().filter_map(|item| Elem::from(&item[..]).as_int()).collect();
            ints.sort_unstable();
            ints.dedup();
            if packed && ints.len() == items.len() {
                encode::set_intset(out, &ints, options)
            } else {
                encode::set(out, items.len(), items.iter().map(|item| &item[..]), options)
            }
        }
        Value::Hash(items) => {
            let pairs = items.iter().map(|(field, value)| (&field[..], &value[..]));
            if packed {
                encode::hash_listpack(out, pairs, options)
            } else {
                encode::hash(out, items.len(), pairs, options)
            }
        }
        Value::Stream(stream) => encode_stream(stream, options, out),
        Value::Zset(items) => {
            let pairs = items.iter().map(|(member, score)| (&member[..], *score));
            if packed {
                encode::zset_listpack(out, pairs, options)
            } else {
                encode::zset(out, items.len(), pairs, options)
            }
        }
    }
}

fn encode_stream(stream: &Stream, options: EncodeOptions, out: &mut Vec<u8>) -> u8 {
    let mut writer = StreamWriter::begin(out, stream.blocks.len(), options);
    stream.blocks.iter().for_each(|(id, pack)| writer.block(*id, pack));
    writer.counters(&stream.counters, stream.groups.len());
    for group in &stream.groups {
        writer.group(&group.name, group.last_id, group.reads.unwrap_or(-1), group.pending.len());
        group.pending.iter().for_each(|(id, at, count)| writer.pending(*id, *at, *count));
        writer.consumers(group.consumers.len());
        for (name, seen, active, owned) in &group.consumers {
            writer.consumer(name, *seen, *active, owned.len());
            owned.iter().for_each(|id| writer.owned(*id));
        }
    }
    writer.rdb_type()
}

/// A block whose entries are `ms-seq` above its id and have one pair each.
pub fn block(entries: &[(i64, i64, &[u8], &[u8])]) -> Vec<u8> {
    let mut out = Vec::new();
    let mut pack = Pack::begin(&mut out);
    let mut push = |elem: Elem<'_>| pack.push(elem, &mut out);
    [entries.len() as i64, 0, 1].iter().for_each(|n| push(Elem::Int(*n)));
    push(Elem::Bytes(entries[0].2));
    push(Elem::Int(0));
    for (ms, seq, field, value) in entries {
        let same = *field == entries[0].2;
        [if same { 2 } else { 0 }, *ms, *seq].iter().for_each(|n| push(Elem::Int(*n)));
        if !same {
            push(Elem::Int(1));
            push(Elem::Bytes(field));
        }
        push(Elem::Bytes(value));
        push(Elem::Int(if same { 4 } else { 6 }));
    }
    pack.finish(&mut out);
    out
}

/// One key of a file.
#[derive(Debug, Clone, PartialEq)]
pub struct Key {
    pub db: u32,
    pub name: Vec<u8>,
    pub meta: keystead_rdb::RecordMeta,
    pub value: Value,
}

/// Everything in a file.
#[derive(Debug, Default)]
pub struct Contents {
    pub version: u16,
    pub aux: Vec<(String, String)>,
    pub functions: Vec<Vec<u8>>,
    pub keys: Vec<Key>,
    pub checksummed: Option<bool>,
    pub rest: Vec<u8>,
}

/// Reads a file that comes in pieces of `piece` bytes.
pub fn read_file(bytes: &[u8], piece: usize) -> Result<Contents, String> {
    let mut parser = FileParser::default();
    let mut contents = Contents::default();
    for part in bytes.chunks(piece.max(1)) {
        parser.feed(part);
        while let Some(event) = parser.next_event().map_err(|error| error.to_string())? {
            contents.take(event)?;
        }
    }
    parser.finish().map_err(|error| error.to_string())?;
    contents.rest = parser.take_rest();
    Ok(contents)
}

impl Contents {
    fn take(&mut self, event: Event<'_>) -> Result<(), String> {
        let text = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).into_owned();
        match event {
            Event::Version(version) => self.version = version,
            Event::Aux(name, value) => self.aux.push((text(name), text(value))),
            Event::SelectDb(_) | Event::ResizeDb { .. } | Event::SlotInfo { .. } => {}
            Event::Function(source) => self.functions.push(source),
            Event::Eof { checksummed } => self.checksummed = Some(checksummed),
            Event::Batch { db, count, bytes } => {
                let before = self.keys.len();
                for record in records(bytes) {
                    let record = record.map_err(|error| error.to_string())?;
                    let value = decode(record.rdb_type, record.value).map_err(|error| error.to_string())?;
                    self.keys.push(Key { db, name: record.key.into_owned(), meta: record.meta, value });
                }
                assert_eq!(self.keys.len() - before, count as usize);
            }
        }
        Ok(())
    }
}

/// The keys as the golden texts show them.
pub fn listing(keys: &[Key]) -> String {
    let mut lines: Vec<String> = keys.iter().map(line).collect();
    lines.sort();
    lines.iter().map(|line| format!("{line}\n")).collect()
}

fn line(key: &Key) -> String {
    let sorted = |mut words: Vec<String>| {
        words.sort();
        words
    };
    let (kind, mut words) = match &key.value {
        Value::String(bytes) => ("string", vec![shown(bytes)]),
        Value::List(items) => ("list", items.iter().map(|item| shown(item)).collect()),
        Value::Set(items) => ("set", sorted(items.iter().map(|item| shown(item)).collect())),
        Value::Hash(items) => {
            ("hash", sorted(items.iter().map(|(f, v)| format!("{}={}", shown(f), shown(v))).collect()))
        }
        Value::Stream(stream) => ("stream", stream_words(stream)),
        Value::Zset(items) => {
            ("zset", sorted(items.iter().map(|(m, s)| format!("{}={:016x}", shown(m), s.to_bits())).collect()))
        }
    };
    if words.len() > 40 {
        let tail = words.split_off(words.len() - 20);
        let all = words.len() + tail.len();
        words.truncate(20);
        words.push(format!("...{all}"));
        words.extend(tail);
    }
    let expiry = key.meta.expire_ms.map_or("-".into(), |at| at.to_string());
    format!("{} {} {kind} {expiry} {}", key.db, shown(&key.name), words.join(" "))
}

fn stream_words(stream: &Stream) -> Vec<String> {
    let mut words: Vec<String> = stream.blocks.iter().flat_map(|(id, pack)| entries(*id, pack)).collect();
    let counters = &stream.counters;
    words.push(format!("last={}", counters.last_id));
    words.push(format!("first={}", counters.first_id));
    words.push(format!("deleted={}", counters.max_deleted_id));
    words.push(format!("added={}", counters.entries_added));
    for group in &stream.groups {
        words.push(format!("group={}@{}:{}", shown(&group.name), group.last_id, group.reads.unwrap_or(-1)));
        words.extend(group.pending.iter().map(|(id, at, count)| format!("pending={id}@{at}*{count}")));
        for (name, seen, _, owned) in &group.consumers {
            words.push(format!("consumer={}@{seen}", shown(name)));
            words.extend(owned.iter().map(|id| format!("owned={id}")));
        }
    }
    words
}

/// The live entries of a block.
fn entries(block: StreamId, pack: &[u8]) -> Vec<String> {
    let mut elems = Vec::new();
    listpack_elems(pack, &mut elems);
    let int = |at: usize| elems[at].parse::<i64>().expect("an integer");
    let shared = int(2) as usize;
    let (mut at, mut found) = (3 + shared + 1, Vec::new());
    while at < elems.len() {
        let id = keystead_rdb::stream::add(block, int(at + 1), int(at + 2));
        let (flags, mut pairs) = (int(at), Vec::new());
        at += 3;
        if flags & 2 != 0 {
            pairs.extend((0..shared).map(|i| format!("{}={}", elems[3 + i], elems[at + i])));
            at += shared + 1;
        } else {
            let fields = int(at) as usize;
            pairs.extend((0..fields).map(|i| format!("{}={}", elems[at + 1 + 2 * i], elems[at + 2 + 2 * i])));
            at += 2 + 2 * fields;
        }
        if flags & 1 == 0 {
            found.push(format!("{id}:{}", pairs.join(",")));
        }
    }
    found
}

fn listpack_elems(pack: &[u8], found: &mut Vec<String>) {
    let mut at = listpack::FIRST;
    while let Some((elem, next)) = listpack::get(pack, at) {
        assert_eq!((listpack::skip(pack, at), listpack::prev(pack, next)), (Some(next), Some(at)));
        found.push(shown(&elem.to_vec()));
        at = next;
    }
    assert_eq!(at, listpack::end(pack));
}

fn shown(bytes: &[u8]) -> String {
    let mut text = String::new();
    for &byte in bytes {
        match byte {
            b'\\' => text.push_str("\\x5c"),
            33..=126 => text.push(byte.into()),
            _ => text.push_str(&format!("\\x{byte:02x}")),
        }
    }
    if text.len() <= 120 { text } else { format!("{}...{}", &text[..60], bytes.len()) }
}
