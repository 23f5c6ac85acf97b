//! A stream that names databases which this server hasn't got: what is for them is passed over, and what leads into or out of
//! them is followed as far as it can be known. Where it can't, the stream is given up, and everything is taken anew.

use keystead_resp::{Args, OwnedArgs};

use super::{ApplyState, Place, diverged};
use crate::args::ArgsExt;
use crate::commands::common::database;
use crate::effect::Origin;
use crate::engine::Engine;
use crate::error::CommandError;
use crate::exec;
use crate::registry::Command;

impl Engine {
    /// A stream may go on in a database that was there in another life of this server.
    pub(super) fn stay_home(&mut self, state: &mut ApplyState) {
        let db = state.session.db;
        if db >= self.ks.databases() {
            state.session.db = 0;
            self.not_here(state, &db.to_string(), CommandError::DB_RANGE.text().as_ref());
        }
    }

    /// Follows the stream into another database, if this server has it.
    pub(super) fn follow_select(&mut self, state: &mut ApplyState, args: Args<'_>) -> bool {
        match database(args.at(1), self.ks.databases()) {
            Ok(_) => state.away = None,
            Err(error) => self.not_here(state, &args.text(1), &error.text()),
        }
        state.away.is_none() && state.failed.is_none()
    }

    #[cold]
    fn not_here(&mut self, state: &mut ApplyState, db: &str, error: &str) {
        let databases = self.ks.databases();
        if state.origin == Origin::Loading {
            state.failed = Some(format!("{error} ('select|{db}', and this server has {databases} databases)"));
            return;
        }
        state.away = Some(db.parse().unwrap_or(u32::MAX));
        state.partial = true;
        let then = "what follows is passed over until the primary selects one that is here";
        let what = format!("{error} (database {db}: this server has {databases}; {then})");
        diverged(&mut self.core, Origin::Replication, "select", &what);
    }

    /// What leads from a database that isn't here into one that is can't be known, and only everything anew tells.
    #[cold]
    pub(super) fn passes_over(&self, state: &mut ApplyState, command: &Command, args: Args<'_>) {
        state.partial = true;
        let leads_here = |other| database(other, self.ks.databases()).is_ok();
        if state.away.is_some() && other_database(command, args).is_some_and(leads_here) {
            self.loses_track(state, args);
        }
    }

    /// A command errs because of a database that isn't here.
    pub(super) fn names_one_away(&self, command: &Command, args: Args<'_>) -> bool {
        other_database(command, args).is_some_and(|other| database(other, self.ks.databases()).is_err())
    }

    fn loses_track(&self, state: &mut ApplyState, args: Args<'_>) {
        let words = args.iter().map(String::from_utf8_lossy).collect::<Vec<_>>().join(" ");
        let (error, databases) = (CommandError::DB_RANGE, self.ks.databases());
        let error = error.text();
        state.failed.get_or_insert_with(|| format!("{error} ('{words}', and this server has {databases} databases)"));
    }

    /// Of a command that errs because one of its databases isn't here: what it did to the other, which is. A key that was
    /// moved away is gone; what a database was swapped for isn't known, and only everything anew tells.
    #[cold]
    pub(super) fn reaches_away(
        &mut self,
        state: &mut ApplyState,
        db: u32,
        command: &'static Command,
        args: Args<'_>,
        nested: bool,
    ) -> Option<Place> {
        let databases = self.ks.databases();
        let is_here = |word: Option<&[u8]>| word.is_some_and(|word| database(word, databases).is_ok());
        state.partial = true;
        let name = &*command.full_name;
        if name == "swapdb" && (is_here(args.get(1)) || is_here(args.get(2))) {
            self.loses_track(state, args);
            return None;
        }
        let gone: OwnedArgs = [b"DEL".as_slice(), args.get(1).filter(|_| name == "move")?].into_iter().collect();
        let delete = exec::find(&self.core, gone.view()).ok()?;
        let ApplyState { session, nowhere, origin, .. } = state;
        exec::call(&mut self.ks, &mut self.core, session, nowhere, delete, gone.view(), *origin, nested);
        state.nowhere.clear();
        exec::settle_observation(&mut self.ks, &mut self.core);
        Some(Place { db, instead: Some(gone) })
    }
}

/// The database that a command names beside its session's: of two, one that isn't a number of any server, or the larger.
fn other_database<'a>(command: &Command, args: Args<'a>) -> Option<&'a [u8]> {
    match &*command.full_name {
        "move" => args.get(2),
        "copy" => args.get((3..args.len()).find(|at| args.is(*at, "db"))? + 1),
        "swapdb" => [args.get(1)?, args.get(2)?].into_iter().max_by_key(|word| number(word)),
        _ => None,
    }
}

/// One that no database has is the largest.
fn number(word: &[u8]) -> u64 {
    std::str::from_utf8(word).ok().and_then(|text| text.parse().ok()).unwrap_or(u64::MAX)
}
