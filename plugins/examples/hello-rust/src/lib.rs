//! An example plugin.
