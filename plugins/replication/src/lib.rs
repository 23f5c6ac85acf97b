//! Replication as a plugin.
