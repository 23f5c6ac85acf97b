//! The SDK: what a plugin author sees.
