//! SLOWLOG: the commands that took longest lately. Owns a bounded list; times come from outside.

use std::collections::VecDeque;

use keystead_resp::Args;

/// Redis keeps at most so many arguments of a command …
const MAX_ARGS: usize = 32;
/// … and so many bytes of each.
const MAX_ARG_LEN: usize = 128;

/// One slow command.
#[derive(Clone, Debug)]
pub struct SlowEntry {
    /// Counts up, never reused.
    pub id: u64,
    /// Seconds since the epoch.
    pub time_s: u64,
    /// How long it ran.
    pub usec: u64,
    /// Its arguments, shortened.
    pub args: Vec<Vec<u8>>,
    /// Who sent it.
    pub addr: String,
    /// CLIENT SETNAME.
    pub name: String,
}

/// The slow log.
#[derive(Default)]
pub struct SlowLog {
    entries: VecDeque<SlowEntry>,
    next_id: u64,
}

impl SlowLog {
    /// Adds a command and drops what is over the limit.
    pub fn add(&mut self, max_len: usize, time_s: u64, usec: u64, args: Args<'_>, addr: &str, name: &str) {
        let entry = SlowEntry {
            id: self.next_id,
            time_s,
            usec,
            args: shorten(args),
            addr: addr.to_owned(),
            name: name.to_owned(),
        };
        self.next_id += 1;
        self.entries.push_front(entry);
        self.shorten(max_len);
    }

    /// Drops what is over the limit.
    pub fn shorten(&mut self, max_len: usize) {
        self.entries.truncate(max_len);
    }

    /// Newest first.
    pub fn entries(&self) -> impl ExactSizeIterator<Item = &SlowEntry> {
        self.entries.iter()
    }

    /// SLOWLOG RESET.
    pub fn clear(&mut self) {
        self.entries.clear();
    }
}

fn shorten(args: Args<'_>) -> Vec<Vec<u8>> {
    let shown = if args.len() > MAX_ARGS { MAX_ARGS - 1 } else { args.len() };
    let mut list: Vec<Vec<u8>> = args.iter().take(shown).map(shorten_one).collect();
    if shown < args.len() {
        list.push(format!("... ({} more arguments)", args.len() - shown).into_bytes());
    }
    list
}

fn shorten_one(arg: &[u8]) -> Vec<u8> {
    if arg.len() <= MAX_ARG_LEN {
        return arg.to_vec();
    }
    let mut short = arg[..MAX_ARG_LEN].to_vec();
    short.extend_from_slice(format!("... ({} more bytes)", arg.len() - MAX_ARG_LEN).as_bytes());
    short
}
