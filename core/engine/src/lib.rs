//! Sessions, command tables, guards, transactions, blocking, pub/sub, the journal. Pure: the caller brings time and bytes.
