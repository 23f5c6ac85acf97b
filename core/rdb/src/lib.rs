//! RDB: file framing, LZF, checksums, value encodings over neutral iterators. Pure.
