//! `keystead.persistence`: what survives a restart, and how a node gets it back.
//!
//! A strategy implements [`Strategy`] and calls [`provide`] in its `init`. Several may be loaded; none knows another.
//!
//! **The load at the start.** Nobody is told to load from outside. Every plugin whose start depends on the data (each
//! strategy, and replication) awaits [`Recovery::run`] in its `start`, first thing. That asks every strategy what it
//! found on the disk ([`Request::Survey`]) and lets the one of the highest rank load ([`Request::Load`]): a log of every
//! write before a snapshot, a snapshot before nothing, but no log that was switched off before the snapshot was made
//! ([`Strategy::complete_until`]). A load runs once, whoever came first, and all get its answer. So
//! when `run` returns, the data is there, whichever plugin started first; a strategy that didn't load (an append-only file
//! that was just switched on, say) sees that and begins its own files with the data as it is. An error refuses the start.
//!
//! Clients may connect meanwhile and are answered -LOADING until every plugin has started. Who loads uses
//! [`Host::begin_load`](crate::Host::begin_load) and leaves the journal alone: which history the node goes on with is
//! decided by the replication plugin, from [`Recovered::position`].
//!
//! **The end.** The last chance to save is [`Plugin::before_end`]: an error there refuses SHUTDOWN and SIGTERM.

use crate::error::{Error, Result};
use crate::plugin::Plugin;
use crate::registrar::Registrar;
use crate::service::{Needed, Service};
use futures::lock::Mutex;
use serde::{Deserialize, Serialize};
use std::future::Future;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Rank of a strategy that keeps every write.
pub const LOG: u32 = 200;
/// Rank of a strategy that keeps a state of now and then.
pub const SNAPSHOT: u32 = 100;

/// What is asked of persistence.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub enum Request {
    /// What is there to load? Changes nothing.
    Survey,
    /// Load it, unless that was done already.
    Load,
    /// Another strategy replaced what is in memory by what it has on the disk, while the server runs. Nothing is served yet.
    Reloaded,
    /// An RDB file that has what was in memory when so many changes had been made to the keys, as behind a full sync: who keeps
    /// such files may take it as its own. Then it has another name.
    Adopt {
        /// The file.
        file: PathBuf,
        /// As [`Ctx::changes`](crate::Ctx::changes) counts them: a file that has more is newer.
        changes: u64,
    },
}

/// What persistence answers.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub enum Answer {
    /// What there is to load.
    Found {
        /// The strategy's rank.
        rank: u32,
        /// Its files, for people; `None` if there is nothing.
        what: Option<String>,
        /// See [`Strategy::complete_until`].
        #[serde(default)]
        until_s: Option<u64>,
    },
    /// The data is in the keyspace.
    Loaded(Recovered),
    /// It is known now.
    Noted,
    /// Whether the file was taken.
    Adopted(bool),
}

/// What a load brought back.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Recovered {
    /// Who loaded it.
    pub strategy: String,
    /// Keys that are in memory now.
    pub keys: u64,
    /// The history of which the data is exactly a prefix; `None` if that isn't known. A replica may resume behind it.
    pub position: Option<Position>,
}

/// A place in a history.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Position {
    /// The replication id.
    pub replid: String,
    /// How many bytes of its stream the data has.
    pub offset: u64,
    /// The database that the stream has selected there. 0 where a snapshot or a place says `None`: its next record selects
    /// one itself.
    pub stream_db: u32,
}

/// The service.
pub struct Persistence;

impl Service for Persistence {
    const NAME: &'static str = "keystead.persistence";
    const MAJOR: u32 = 1;
    const MINOR: u32 = 2;
    type Request = Request;
    type Answer = Answer;
}

/// A way to keep data.
pub trait Strategy: Plugin {
    /// Who loads if several could: [`LOG`], [`SNAPSHOT`], or a number of its own.
    const RANK: u32;

    /// What there is to load, for people: `dump.rdb`. `None` if there is nothing, or the strategy is switched off. Changes
    /// nothing; an error refuses the start.
    fn survey(self: Arc<Self>) -> impl Future<Output = Result<Option<String>>> + Send;

    /// Until when (seconds since 1970) what was found has all that was written; asked behind [`survey`](Strategy::survey).
    /// `None`: to the end, or nobody knows. A fuller record that is known to have ended gives way to one that goes further.
    fn complete_until(self: Arc<Self>) -> impl Future<Output = Option<u64>> + Send {
        async { None }
    }

    /// Loads it into the empty keyspace. Called once, before or inside the plugin's own `start`.
    fn load(self: Arc<Self>) -> impl Future<Output = Result<Recovered>> + Send;

    /// See [`Request::Reloaded`].
    fn reloaded(self: Arc<Self>) -> impl Future<Output = ()> + Send {
        async {}
    }

    /// See [`Request::Adopt`]; true: it was taken, and a restart finds what it has. An error is for the strategy to tell.
    fn adopt(self: Arc<Self>, _file: PathBuf, _changes: u64) -> impl Future<Output = Result<bool>> + Send {
        async { Ok(false) }
    }
}

/// Declares a strategy; what it awaits in its `start`.
pub fn provide<P: Strategy>(reg: &mut Registrar<P>) -> Recovery {
    let done = Arc::new(Mutex::new(None));
    reg.provide::<Persistence, _, _>(move |plugin, request| answer(plugin, request, done.clone()));
    Recovery { strategies: Needed::new(reg.host), of: P::NAME }
}

/// For plugins that are no strategy but depend on the data in their `start`: they are started behind all strategies.
pub fn recovery<P: Plugin>(reg: &mut Registrar<P>) -> Recovery {
    Recovery { strategies: reg.optional::<Wanted>(), of: P::NAME }
}

async fn answer<P: Strategy>(
    plugin: Arc<P>,
    request: Request,
    done: Arc<Mutex<Option<Result<Recovered, String>>>>,
) -> Result<Answer> {
    match request {
        Request::Survey => {
            let what = plugin.clone().survey().await?;
            let until_s = if what.is_some() { plugin.complete_until().await } else { None };
            Ok(Answer::Found { rank: P::RANK, what, until_s })
        }
        Request::Load => {
            let mut done = done.lock().await;
            if done.is_none() {
                *done = Some(plugin.load().await.map_err(|error| error.text().to_owned()));
            }
            let loaded = done.clone().unwrap_or_else(|| Ok(Recovered::default()));
            loaded.map(Answer::Loaded).map_err(Error::new)
        }
        Request::Reloaded => {
            plugin.reloaded().await;
            Ok(Answer::Noted)
        }
        Request::Adopt { file, changes } => Ok(Answer::Adopted(plugin.adopt(file, changes).await?)),
    }
}

/// The service as it is needed: who asks gets along with strategies that know nothing of what was added since, and they are
/// started before it.
struct Wanted;

impl Service for Wanted {
    const NAME: &'static str = Persistence::NAME;
    const MAJOR: u32 = Persistence::MAJOR;
    const MINOR: u32 = 0;
    type Request = Request;
    type Answer = Answer;
}

/// The load at the start, for whoever depends on it.
pub struct Recovery {
    strategies: Needed<Wanted>,
    /// The plugin that asks.
    of: &'static str,
}

/// Why the data isn't there.
#[derive(Debug)]
pub struct Failure {
    /// The strategy that couldn't load it. Its own start is refused with the same error, which names it for people.
    pub of: String,
    /// What it says.
    pub error: Error,
}

impl Recovery {
    /// Has the data loaded, if there is any and nobody has done so yet; what came of it.
    pub async fn run(&self) -> Result<Option<Recovered>> {
        self.try_run().await.map_err(|failure| failure.error)
    }

    /// The same; an error says whose it is.
    pub async fn try_run(&self) -> Result<Option<Recovered>, Failure> {
        let failure = |of: &str, error| Failure { of: of.to_owned(), error };
        let mut found = Vec::new();
        for name in self.strategies.providers() {
            let answer = self.strategies.call_at(&name, &Request::Survey).await;
            if let Answer::Found { rank, what: Some(what), until_s } = answer.map_err(|error| failure(&name, error))? {
                found.push(Offer { rank, what, name, until_s });
            }
        }
        let Some(best) = choose(found, self.of) else { return Ok(None) };
        match self.strategies.call_at(&best, &Request::Load).await.map_err(|error| failure(&best, error))? {
            Answer::Loaded(recovered) => Ok(Some(recovered)),
            other => Err(failure(&best, Error::new(format!("{best} answered a load with {other:?}")))),
        }
    }

    /// Offers a file, see [`Request::Adopt`]; true: a strategy took it.
    pub async fn offer(&self, file: &Path, changes: u64) -> bool {
        for name in self.strategies.providers() {
            match self.strategies.call_at(&name, &Request::Adopt { file: file.to_owned(), changes }).await {
                Ok(Answer::Adopted(true)) => return true,
                Ok(_) => {}
                // Also one that was built before such files were offered.
                Err(error) => log::debug!("{name} takes no file: {}", error.text()),
            }
        }
        false
    }

    /// Tells all strategies that what is in memory is what one of them has on the disk.
    pub async fn tell_reloaded(&self) {
        for name in self.strategies.providers() {
            if let Err(error) = self.strategies.call_at(&name, &Request::Reloaded).await {
                log::debug!("{name} doesn't know that the data was loaded again: {}", error.text());
            }
        }
    }
}

/// What a strategy could load.
struct Offer {
    rank: u32,
    what: String,
    name: String,
    until_s: Option<u64>,
}

/// The strategy that loads: the highest rank, the first of equals. But not one whose record ended, say a log that was switched
/// off, where another's goes on behind that: what was written since would be lost with the next save. Each plugin asks; the one
/// whose record gives way says so.
fn choose(found: Vec<Offer>, asks: &str) -> Option<String> {
    let best = found.iter().map(|offer| offer.rank).max()?;
    let first = found.iter().find(|offer| offer.rank == best)?;
    let further = |offer: &&Offer| first.until_s.is_some_and(|end| offer.until_s.is_some_and(|until| until > end));
    let newest = found.iter().filter(further).max_by_key(|offer| offer.until_s);
    if let Some(newest) = newest.filter(|_| first.name == asks) {
        log::warn!(
            "{} ended at {} (seconds since 1970), {} of {} is newer and is loaded instead",
            first.what,
            first.until_s.unwrap_or(0),
            newest.what,
            newest.name
        );
    }
    let chosen = newest.unwrap_or(first);
    for other in found.iter().filter(|other| !std::ptr::eq(*other, chosen)) {
        log::debug!("{} of {} is not loaded: {} has a fuller record", other.what, other.name, chosen.what);
    }
    Some(chosen.name.clone())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn chosen(offers: &[(u32, &str, Option<u64>)]) -> Option<String> {
        let offer = |(rank, name, until_s): &(u32, &str, Option<u64>)| Offer {
            rank: *rank,
            what: String::new(),
            name: (*name).to_owned(),
            until_s: *until_s,
        };
        choose(offers.iter().map(offer).collect(), "")
    }

    #[test]
    fn the_fullest_record_is_loaded() {
        let offers = |offers: &[(u32, &str)]| {
            chosen(&offers.iter().map(|(rank, name)| (*rank, *name, None)).collect::<Vec<_>>())
        };
        assert_eq!(offers(&[]), None);
        assert_eq!(offers(&[(SNAPSHOT, "rdb")]).as_deref(), Some("rdb"));
        assert_eq!(offers(&[(SNAPSHOT, "rdb"), (LOG, "aof")]).as_deref(), Some("aof"));
        assert_eq!(offers(&[(SNAPSHOT, "a"), (SNAPSHOT, "b")]).as_deref(), Some("a"), "the first of equals");
    }

    #[test]
    fn a_log_that_ended_gives_way_to_what_was_saved_behind_that() {
        for (log, rdb, want) in [
            (None, Some(9), "aof"),
            (Some(5), Some(6), "rdb"),
            (Some(5), Some(5), "aof"),
            (Some(5), Some(4), "aof"),
            (Some(5), None, "aof"),
        ] {
            let offers = [(SNAPSHOT, "rdb", rdb), (LOG, "aof", log)];
            assert_eq!(chosen(&offers).as_deref(), Some(want), "{log:?} {rdb:?}");
        }
        let offers = [(LOG, "aof", Some(5)), (SNAPSHOT, "old", Some(7)), (SNAPSHOT - 1, "new", Some(8))];
        assert_eq!(chosen(&offers).as_deref(), Some("new"));
    }
}
