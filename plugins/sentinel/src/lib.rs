//! Sentinel as a plugin.
