//! RDB: file framing, LZF, checksums, DUMP payloads, and value encodings over neutral iterators.
//!
//! A *record* is exactly the bytes of one key in an RDB file: `[expiry]? [idle or frequency]? type key value`. A
//! *batch* is concatenated records of one database. Save, load, full sync and snapshots all move these two.
//! Called by: keyspace, engine, plugins, tests. Never: files, sockets, clocks, or memory reserved on the word of a
//! length field.

#![forbid(unsafe_code)]

mod crc;
mod decode;
mod dump;
pub mod encode;
mod error;
mod head;
mod intset;
pub mod listpack;
mod lzf;
mod output;
mod parser;
mod prim;
mod record;
mod repeated;
mod scan;
mod scan_stream;
pub mod stream;
pub mod types;
mod writer;
mod ziplist;

pub use crc::{Crc64, crc64};
pub use decode::{ValueSink, decode_value, with_string};
pub use dump::{
    dump_payload, dump_payload_of, function_record, functions_payload, parse_dump, parse_functions,
    parse_functions_payload, version_of,
};
pub use encode::EncodeOptions;
pub use error::{FileError, RdbError, shown_key};
pub use head::{FileHead, StreamPoint};
pub use output::Output;
pub use parser::{Event, FileParser, ParserLimits};
pub use prim::Elem;
pub use record::{Batch, Record, RecordMeta, Records, records, write_record_head};
pub use repeated::{Repeated, RepeatedKeys};
pub use scan::{RecordScanner, Scan};
pub use stream::{StreamCounters, StreamId, StreamPart};
pub use types::{Kind, OP_FUNCTION2};
pub use writer::FileWriter;

pub use lzf::{compress as lzf_compress, decompress as lzf_decompress};

/// The version that is written: Redis 7.0 reads it.
pub const RDB_VERSION: u16 = 10;

/// The newest version that is read: every value type it adds is known here or refused by name.
pub const MAX_RDB_VERSION: u16 = 12;
