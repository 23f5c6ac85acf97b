//! The stream of a whole keyspace → the stream of the part that a filter lets through.
//!
//! Pure: it is handed one command of the stream after the other with its keys, and appends to `out` what of it a filtered
//! replica shall see. A transaction goes whole or not at all. What can't be decided from the command (it reads keys that
//! the replica doesn't have) is asked back: the shell reads the key as it is *now*, and effects on it are left out until the
//! stream has come to that point.

use keystead_plugin::services::filter::Filter;
use keystead_resp::{Args, write_command};
use std::collections::HashMap;

/// A key and its database.
pub(crate) type Place = (u32, Vec<u8>);

/// What became of a command.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Step {
    /// It was passed on, rewritten or left out.
    Done,
    /// Some of its keys pass and some don't: which of them does it write? Those go to [`Rewriter::changed`].
    Mixed,
    /// These must be read as they are now, and go to [`Rewriter::refreshed`].
    Read(Vec<Place>),
    /// No stream of the part can say this: everything must be taken anew.
    Broken(String),
}

/// A key's value as it is now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Now {
    /// As DUMP gives it.
    pub(crate) dump: Vec<u8>,
    /// When it expires, in milliseconds since 1970.
    pub(crate) expire_ms: Option<u64>,
}

/// The rewriter of one derived history.
#[derive(Debug)]
pub(crate) struct Rewriter {
    filter: Filter,
    /// Bytes of the whole stream behind us.
    at: u64,
    /// The database that the whole stream has selected, and that the derived one has.
    db: Option<u32>,
    out_db: Option<u32>,
    /// What is to be sent on.
    out: Vec<u8>,
    /// Where the transaction that is open began in `out`, and the derived database there.
    block: Option<(usize, Option<u32>)>,
    /// Keys that were read at an offset that the stream hasn't come to yet.
    fresh: HashMap<Place, u64>,
}

impl Rewriter {
    /// Begins behind `at` bytes of a stream that has selected `db` there.
    pub(crate) fn new(filter: Filter, at: u64, db: Option<u32>) -> Rewriter {
        Rewriter { filter, at, db, out_db: None, out: Vec::new(), block: None, fresh: HashMap::new() }
    }

    /// Bytes of the whole stream behind us.
    pub(crate) fn at(&self) -> u64 {
        self.at
    }

    /// The database that the derived stream has selected; `None` while its next effect carries a SELECT.
    pub(crate) fn out_db(&self) -> Option<u32> {
        self.out_db
    }

    /// What is to be sent on; `None` inside a transaction.
    pub(crate) fn pending(&self) -> Option<usize> {
        self.block.is_none().then_some(self.out.len())
    }

    /// Takes it.
    pub(crate) fn take(&mut self) -> Vec<u8> {
        debug_assert!(self.block.is_none(), "a transaction goes whole");
        std::mem::take(&mut self.out)
    }

    /// Bytes that are no command.
    pub(crate) fn skip(&mut self, len: usize) {
        self.at += len as u64;
    }

    /// The next command, its bytes, and its keys in order.
    pub(crate) fn command(&mut self, raw: &[u8], args: Args<'_>, keys: &[&[u8]]) -> Step {
        self.at += raw.len() as u64;
        if self.fresh.values().all(|until| *until < self.at) {
            self.fresh.clear();
        }
        let name = args.at(0).to_ascii_lowercase();
        match name.as_slice() {
            b"select" => self.select(args),
            b"multi" => {
                self.block = Some((self.out.len(), self.out_db));
                self.out.extend_from_slice(raw);
                Step::Done
            }
            b"exec" => {
                self.exec(raw);
                Step::Done
            }
            b"flushall" => {
                self.out.extend_from_slice(raw);
                self.read_again(|_| true)
            }
            b"flushdb" => {
                let Some(db) = self.db else { return no_database() };
                if self.filter.passes_db(db) {
                    self.pass(db, raw);
                }
                self.read_again(|at| at == db)
            }
            b"swapdb" => self.swap(raw, args),
            b"move" if keys.len() == 1 => self.across(raw, (keys[0], keys[0]), number(args.get(2)), true),
            b"copy" if keys.len() == 2 => self.across(raw, (keys[0], keys[1]), copy_db(args), false),
            // PING, REPLCONF GETACK, PUBLISH, FUNCTION, SCRIPT: about no key. SPUBLISH names its channel as one.
            _ if keys.is_empty() || name == b"spublish" => {
                self.out.extend_from_slice(raw);
                Step::Done
            }
            b"del" | b"unlink" => self.each(raw, args, keys, 1),
            b"mset" | b"msetnx" => self.each(raw, args, keys, 2),
            b"sort" => self.sort(raw, args, keys),
            _ => self.effect(raw, keys),
        }
    }

    /// An effect on keys: it goes as it is, or not at all, or it depends on what the replica doesn't have.
    fn effect(&mut self, raw: &[u8], keys: &[&[u8]]) -> Step {
        let Some(db) = self.db else { return no_database() };
        let passing = keys.iter().filter(|key| self.filter.passes(db, key)).count();
        let fresh = keys.iter().filter(|key| self.is_fresh(db, key)).count();
        if passing == 0 || fresh == keys.len() {
            Step::Done
        } else if passing == keys.len() && fresh == 0 {
            self.pass(db, raw);
            Step::Done
        } else {
            Step::Mixed
        }
    }

    /// SORT … STORE. Patterns behind BY and GET name keys that aren't among its keys: what came of them must be read, where the
    /// replica hasn't got them all as they are at this place.
    fn sort(&mut self, raw: &[u8], args: Args<'_>, keys: &[&[u8]]) -> Step {
        let patterns = args.iter().skip(2).any(|word| word.contains(&b'*'));
        let all_here = self.filter.prefixes.is_empty() && self.fresh.is_empty();
        if patterns && !all_here && self.db.is_some() { Step::Mixed } else { self.effect(raw, keys) }
    }

    /// A command that does the same to each of its keys: it goes with those that pass. `width`: arguments a key.
    fn each(&mut self, raw: &[u8], args: Args<'_>, keys: &[&[u8]], width: usize) -> Step {
        let Some(db) = self.db else { return no_database() };
        let mut words: Vec<&[u8]> = vec![args.at(0)];
        for (n, _) in keys.iter().enumerate().filter(|(_, key)| self.wants(db, key)) {
            words.extend((0..width).filter_map(|k| args.get(1 + n * width + k)));
        }
        if words.len() == args.len() {
            self.pass(db, raw);
        } else if words.len() > 1 {
            self.say(db, &words);
        }
        Step::Done
    }

    /// MOVE and COPY: source and destination may be in two databases.
    fn across(&mut self, raw: &[u8], (from, to): (&[u8], &[u8]), other: Option<u32>, moves: bool) -> Step {
        let Some(db) = self.db else { return no_database() };
        let other = other.unwrap_or(db);
        let places = [(db, from), (other, to)];
        if places.iter().all(|(db, key)| self.wants(*db, key)) {
            self.pass(db, raw);
            return Step::Done;
        }
        let written = places.iter().skip(usize::from(!moves));
        let read = written.filter(|(db, key)| self.wants(*db, key)).map(|(db, key)| (*db, key.to_vec())).collect();
        read_or_done(read)
    }

    /// SWAPDB: of two databases that pass, or of none.
    fn swap(&mut self, raw: &[u8], args: Args<'_>) -> Step {
        let (Some(a), Some(b)) = (number(args.get(1)), number(args.get(2))) else {
            return Step::Broken("SWAPDB without two databases".into());
        };
        match (self.filter.passes_db(a), self.filter.passes_db(b)) {
            (true, true) => {
                self.out.extend_from_slice(raw);
                let both = |key: &Vec<u8>| [(a, key.clone()), (b, key.clone())];
                let still = self.fresh.iter().filter(|((db, _), until)| [a, b].contains(db) && **until >= self.at);
                let mut read: Vec<Place> = still.flat_map(|((_, key), _)| both(key)).collect();
                read.sort();
                read.dedup();
                read_or_done(read)
            }
            (false, false) => Step::Done,
            _ => Step::Broken(format!("SWAPDB {a} {b} brought in a database that isn't let through")),
        }
    }

    /// What a mixed command has written: of these, the ones that pass must be read.
    pub(crate) fn changed(&self, written: &[Vec<u8>]) -> Step {
        let Some(db) = self.db else { return no_database() };
        read_or_done(written.iter().filter(|key| self.wants(db, key)).map(|key| (db, key.clone())).collect())
    }

    /// A key was read when the whole stream was `offset` bytes long.
    pub(crate) fn refreshed(&mut self, (db, key): Place, now: Option<&Now>, offset: u64) {
        match now {
            Some(now) => {
                let expire = now.expire_ms.unwrap_or(0).to_string();
                let words: [&[u8]; 6] = [b"RESTORE", &key, expire.as_bytes(), &now.dump, b"REPLACE", b"ABSTTL"];
                self.say(db, &words);
            }
            None => self.say(db, &[b"DEL", &key]),
        }
        self.fresh.insert((db, key), offset);
    }

    fn select(&mut self, args: Args<'_>) -> Step {
        match number(args.get(1)) {
            Some(db) => {
                self.db = Some(db);
                Step::Done
            }
            None => Step::Broken("SELECT without a database".into()),
        }
    }

    fn exec(&mut self, raw: &[u8]) {
        let Some((begin, out_db)) = self.block.take() else { return };
        const MULTI: usize = b"*1\r\n$5\r\nMULTI\r\n".len();
        if self.out.len() > begin + MULTI {
            self.out.extend_from_slice(raw);
        } else {
            // Nothing of it passes.
            self.out.truncate(begin);
            self.out_db = out_db;
        }
    }

    /// Behind a command that emptied databases: keys read later than that must be there again.
    fn read_again(&self, emptied: impl Fn(u32) -> bool) -> Step {
        let still = self.fresh.iter().filter(|((db, _), until)| emptied(*db) && **until >= self.at);
        let mut read: Vec<Place> = still.map(|(place, _)| place.clone()).collect();
        read.sort();
        read_or_done(read)
    }

    fn is_fresh(&self, db: u32, key: &[u8]) -> bool {
        // Mostly there are none, and no key is copied.
        !self.fresh.is_empty() && self.fresh.get(&(db, key.to_vec())).is_some_and(|until| *until >= self.at)
    }

    fn wants(&self, db: u32, key: &[u8]) -> bool {
        self.filter.passes(db, key) && !self.is_fresh(db, key)
    }

    fn pass(&mut self, db: u32, raw: &[u8]) {
        self.choose(db);
        self.out.extend_from_slice(raw);
    }

    fn say(&mut self, db: u32, words: &[&[u8]]) {
        self.choose(db);
        write_command(&mut self.out, words.iter().copied());
    }

    fn choose(&mut self, db: u32) {
        if self.out_db != Some(db) {
            self.out_db = Some(db);
            write_command(&mut self.out, [b"SELECT".as_slice(), db.to_string().as_bytes()].into_iter());
        }
    }
}

fn read_or_done(read: Vec<Place>) -> Step {
    if read.is_empty() { Step::Done } else { Step::Read(read) }
}

fn no_database() -> Step {
    Step::Broken("the stream names no database".into())
}

fn number(word: Option<&[u8]>) -> Option<u32> {
    std::str::from_utf8(word?).ok()?.parse().ok()
}

/// `COPY source destination [DB n] [REPLACE]`.
fn copy_db(args: Args<'_>) -> Option<u32> {
    let at = (3..args.len()).find(|n| args.at(*n).eq_ignore_ascii_case(b"db"))?;
    number(args.get(at + 1))
}

#[cfg(test)]
#[path = "rewrite_tests.rs"]
mod tests;
