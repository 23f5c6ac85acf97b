//! Side-by-side measurements: a load generator that costs less than the servers it drives, process figures read from
//! the kernel, and tables in Markdown. The binaries in `src/bin` each measure one thing; `tests/run benches` runs them.

#![forbid(unsafe_code)]

pub mod crowd;
pub mod hosts;
pub mod load;
pub mod netns;
pub mod pair;
pub mod peer;
pub mod probe;
pub mod proc;
pub mod table;
pub mod watch;
