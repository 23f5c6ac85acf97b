//! Keys of commands that come next, so that the table's memory is on its way before the first of them needs it. Owns the
//! order of the stages; each stage is taken for every key before the next one, so that what it asked for had time to
//! arrive. Changes nothing: a wrong guess costs a few nanoseconds.

use crate::DbIndex;
use crate::keyspace::Keyspace;
use crate::table::Place;

/// A batch of keys that will be looked up soon; kept between batches for its memory.
#[derive(Default)]
pub struct Ahead {
    keys: Vec<(DbIndex, u64)>,
    found: Vec<Option<Place>>,
}

impl Ahead {
    /// A new batch.
    pub fn clear(&mut self) {
        self.keys.clear();
    }

    /// Adds a key: its bucket is asked for.
    #[inline]
    pub fn add(&mut self, ks: &Keyspace, db: DbIndex, key: &[u8]) {
        let hash = ks.hashing.hash(key);
        ks.dbs[db].table.prefetch_bucket(hash);
        self.keys.push((db, hash));
    }

    /// Asks for the rest of all keys: entries, values, for collections what lies inside, for long lists and streams their ends.
    pub fn ask(&mut self, ks: &Keyspace) {
        let Ahead { keys, found } = self;
        let table = |db: DbIndex| &ks.dbs[db].table;
        found.clear();
        found.extend(keys.iter().map(|&(db, hash)| table(db).prefetch_entry(hash)));
        let mut collections = false;
        for (&(db, hash), at) in keys.iter().zip(&*found) {
            match at {
                Some(at) => collections |= table(db).prefetch_value(*at),
                None => table(db).prefetch_behind(hash),
            }
        }
        if collections {
            let found = || keys.iter().zip(&*found).filter_map(|(key, at)| Some((key.0, (*at)?)));
            let mut more = found().fold(false, |more, (db, at)| table(db).prefetch_inside(at) | more);
            let mut step = 0;
            while more {
                more = found().fold(false, |more, (db, at)| table(db).prefetch_ends(at, step) | more);
                step += 1;
            }
        }
    }
}
