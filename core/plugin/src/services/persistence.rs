//! `keystead.persistence`: what survives a restart, and how a node gets it back.
//!
//! A strategy implements [`Strategy`] and calls [`provide`] in its `init`. Several may be loaded; none knows another.
//!
//! **The load at the start.** Nobody is told to load from outside. Every plugin whose start depends on the data (each
//! strategy, and replication) awaits [`Recovery::run`] in its `start`, first thing. That asks every strategy what it
//! found on the disk ([`Request::Survey`]) and lets the one of the highest rank load ([`Request::Load`]): a log of every
//! write before a snapshot, a snapshot before nothing. A load runs once, whoever came first, and all get its answer. So
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
    Recovery(Needed::new(reg.host))
}

/// For plugins that are no strategy but depend on the data in their `start`: they are started behind all strategies.
pub fn recovery<P: Plugin>(reg: &mut Registrar<P>) -> Recovery {
    Recovery(reg.optional::<Wanted>())
}

async fn answer<P: Strategy>(
    plugin: Arc<P>,
    request: Request,
    done: Arc<Mutex<Option<Result<Recovered, String>>>>,
) -> Result<Answer> {
    match request {
        Request::Survey => Ok(Answer::Found { rank: P::RANK, what: plugin.survey().await? }),
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
pub struct Recovery(Needed<Wanted>);

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
        for name in self.0.providers() {
            let answer = self.0.call_at(&name, &Request::Survey).await;
            if let Answer::Found { rank, what: Some(what) } = answer.map_err(|error| failure(&name, error))? {
                found.push((rank, what, name));
            }
        }
        let Some(best) = choose(found) else { return Ok(None) };
        match self.0.call_at(&best, &Request::Load).await.map_err(|error| failure(&best, error))? {
            Answer::Loaded(recovered) => Ok(Some(recovered)),
            other => Err(failure(&best, Error::new(format!("{best} answered a load with {other:?}")))),
        }
    }

    /// Offers a file, see [`Request::Adopt`]; true: a strategy took it.
    pub async fn offer(&self, file: &Path, changes: u64) -> bool {
        for name in self.0.providers() {
            match self.0.call_at(&name, &Request::Adopt { file: file.to_owned(), changes }).await {
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
        for name in self.0.providers() {
            if let Err(error) = self.0.call_at(&name, &Request::Reloaded).await {
                log::debug!("{name} doesn't know that the data was loaded again: {}", error.text());
            }
        }
    }
}

/// The strategy that loads: the highest rank, the first of equals.
fn choose(found: Vec<(u32, String, String)>) -> Option<String> {
    let best = found.iter().map(|(rank, ..)| *rank).max()?;
    let at = found.iter().position(|(rank, ..)| *rank == best)?;
    for (_, what, name) in found.iter().enumerate().filter(|(other, _)| *other != at).map(|(_, other)| other) {
        log::debug!("{what} of {name} is not loaded: {} has a fuller record", found[at].2);
    }
    Some(found[at].2.clone())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_fullest_record_is_loaded() {
        let offers = |offers: &[(u32, &str)]| {
            choose(offers.iter().map(|(rank, name)| (*rank, String::new(), (*name).to_owned())).collect())
        };
        assert_eq!(offers(&[]), None);
        assert_eq!(offers(&[(SNAPSHOT, "rdb")]).as_deref(), Some("rdb"));
        assert_eq!(offers(&[(SNAPSHOT, "rdb"), (LOG, "aof")]).as_deref(), Some("aof"));
        assert_eq!(offers(&[(SNAPSHOT, "a"), (SNAPSHOT, "b")]).as_deref(), Some("a"), "the first of equals");
    }
}
