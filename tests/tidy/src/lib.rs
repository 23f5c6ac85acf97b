//! Tests that hold what a reviewer would repeat: who may import whom, file heads and lengths, words. No code of its own.
