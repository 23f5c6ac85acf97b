//! The table of keys, value types and their compact encodings, expiry, the snapshot cut. Pure.
