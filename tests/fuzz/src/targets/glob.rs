//! Glob patterns: a line for the pattern, the rest is the text. Two implementations that know nothing of each other (the
//! engine's and the sentinel's) agree.

use super::{Target, hold};
use keystead_engine::glob::matches;
use keystead_sentinel::glob::glob;

pub const TARGET: Target = Target {
    name: "glob",
    words: &["*", "**", "?", "[", "]", "[^", "[a-z]", "[z-a]", "\\", "-", "\\]", "a*a*a*a*b", "^", "[]", "[-]"],
    run,
};

fn run(input: &[u8]) -> Result<(), String> {
    let at = input.iter().position(|byte| *byte == b'\n').unwrap_or(input.len());
    let (pattern, text) = (&input[..at], &input[(at + 1).min(input.len())..]);
    let ours = matches(pattern, text, false);
    // Classes mean something else without regard to case: what is negated, and what lies between A and z.
    let classless = !pattern.contains(&b'[');
    hold(matches(pattern, text, true) || !ours || !classless, || "matches, but not without regard to case".to_owned())?;
    // A text matches itself with every byte quoted.
    let quoted: Vec<u8> = text.iter().flat_map(|byte| [b'\\', *byte]).collect();
    hold(matches(&quoted, text, false), || "a quoted text doesn't match itself".to_owned())?;
    let (Ok(pattern), Ok(text)) = (std::str::from_utf8(pattern), std::str::from_utf8(text)) else { return Ok(()) };
    hold(glob(pattern, text) == ours, || format!("engine {ours}, sentinel {}", !ours))
}
