//! Tests: benches.
