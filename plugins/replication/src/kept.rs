//! What outlives a restart beside the user's file: the role, if it was changed at run time, and what the link knows of the
//! primary it follows.
//!
//! Owns the format of `replication.state`, and in which order its versions go to the disk. One that the disk refuses is
//! written again each second. One that is there and can't be read refuses the start: without it a node that was made a
//! replica would take writes.

use crate::history::History;
use crate::lineage;
use crate::link::{Memory, Target};
use crate::plugin::Replication;
use crate::units::ReplId;
use keystead_plugin::{Error, Result};
use serde::{Deserialize, Serialize};
use std::future::Future;
use std::sync::atomic::{AtomicU64, Ordering};

const UNREADABLE: &str = "replication.state, which has this node's role, can't be read: mend it, or remove it to start in the \
                          role that the configuration file gives";

/// The file.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Kept {
    /// The role as it was changed to.
    replicaof: Option<(String, u16)>,
    /// It never was: the configuration file's holds.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    as_configured: bool,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    link: Option<Known>,
    /// As a primary: its data began with nothing, under these names.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    began: Vec<String>,
    /// As a primary that took its role when it was asked to: the history of the one that asked, and the name under which it
    /// went on from there.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    took: Option<(String, String)>,
}

/// What is known of a primary.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Known {
    primary: (String, u16),
    followed: bool,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    refused: Option<String>,
    /// The names of its history that our data, in memory or on the disk, may have. Files of older versions don't say.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    histories: Vec<String>,
}

impl Kept {
    /// Without a file: nothing was changed.
    fn nothing() -> Kept {
        Kept { as_configured: true, ..Kept::default() }
    }

    fn read(bytes: &[u8]) -> Option<Kept> {
        std::str::from_utf8(bytes).ok().and_then(|text| ron::from_str(text).ok())
    }

    /// What is known of this primary, when our data, of history `ours`, is known to be some primary's. Older versions kept
    /// a changed role only: then it is this one's. A node that never followed anybody has data of its own, and one that fell
    /// before it saved what it took of its primary has that of an earlier life.
    pub(crate) fn memory(&self, target: &Target, ours: ReplId) -> Option<Memory> {
        let Some(known) = &self.link else {
            return (!self.as_configured).then_some(Memory { followed: true, ..Memory::default() });
        };
        let refused = known.refused.as_ref().and_then(|id| ReplId::parse(id.as_bytes()));
        let its = known.histories.is_empty() || known.histories.iter().any(|history| history == ours.as_str());
        (known.is(target) && its).then_some(Memory { followed: known.followed, refused, history: None })
    }

    fn is_news(&self, target: &Target, memory: Memory, names: &[ReplId]) -> bool {
        let mut then = self.clone();
        then.remember(target, memory, names);
        then != *self
    }

    /// `names`: those by which what we have went.
    fn remember(&mut self, target: &Target, memory: Memory, names: &[ReplId]) {
        let before = self.link.take().filter(|known| known.is(target) && memory.followed);
        let mut histories = before.map_or_else(Vec::new, |known| known.histories);
        for name in names.iter().chain(&memory.history) {
            lineage::push(&mut histories, name.to_string());
        }
        let (primary, refused) = ((target.host.clone(), target.port), memory.refused.map(|id| id.to_string()));
        self.link = Some(Known { primary, followed: memory.followed, refused, histories });
    }

    /// The names under which data went that began with nothing.
    pub(crate) fn began(&self) -> Vec<ReplId> {
        self.began.iter().filter_map(|name| ReplId::parse(name.as_bytes())).collect()
    }

    fn change_role(&mut self, target: Option<&Target>) {
        self.replicaof = target.map(|t| (t.host.clone(), t.port));
        self.as_configured = false;
        if target.is_some() {
            self.began.clear();
            self.took = None;
        }
    }

    /// The role was taken of one of history `from`; ours is called so since.
    pub(crate) fn take_role(&mut self, from: ReplId, name: ReplId) {
        self.took = Some((from.to_string(), name.to_string()));
    }

    /// The history of the one whose role this node took, if what it has is what it had then and more. A start gives another
    /// name; the one before is what the files have.
    pub(crate) fn took(&self, history: &History) -> Option<ReplId> {
        let (from, name) = self.took.as_ref()?;
        let mut names = std::iter::once(history.replid).chain(history.second.map(|second| second.replid));
        names.any(|ours| ours.as_str() == name).then(|| ReplId::parse(from.as_bytes())).flatten()
    }
}

impl Known {
    fn is(&self, target: &Target) -> bool {
        self.primary.0 == target.host && self.primary.1 == target.port
    }
}

/// Which versions the disk took, and which it refused. They may end in any order.
#[derive(Debug, Default)]
pub(crate) struct Saves {
    asked: AtomicU64,
    taken: AtomicU64,
    refused: AtomicU64,
}

impl Saves {
    /// A further version is on its way.
    fn begun(&self) -> u64 {
        self.asked.fetch_add(1, Ordering::AcqRel) + 1
    }

    /// What became of it; tells when that changes what INFO shows.
    fn ended(&self, version: u64, taken: bool) -> bool {
        let before = self.failed();
        let last = if taken { &self.taken } else { &self.refused };
        last.fetch_max(version, Ordering::AcqRel);
        before != self.failed()
    }

    /// What is on the disk is older than one that it refused.
    pub(crate) fn failed(&self) -> bool {
        self.refused.load(Ordering::Acquire) > self.taken.load(Ordering::Acquire)
    }

    /// And none is on its way that would mend it.
    fn is_due_again(&self) -> bool {
        self.failed() && self.refused.load(Ordering::Acquire) == self.asked.load(Ordering::Acquire)
    }
}

impl Replication {
    /// The role to start with: the command line's, the one kept from the last change at run time, the file's.
    pub(crate) fn first_role(&self) -> Result<Option<(String, u16)>> {
        let configured = self.config().replicaof.clone();
        let kept = self.read_kept()?;
        *self.kept.lock() = kept.clone();
        let command_line = self.host.setting("command_line").unwrap_or_default();
        if kept.as_configured || command_line.lines().any(|path| path == "replication.replicaof") {
            return Ok(configured);
        }
        if kept.replicaof != configured {
            let words = kept.replicaof.as_ref().map_or("primary".into(), |(h, p)| format!("replica of {h}:{p}"));
            log::info!("Role kept from a change at run time: {words} (the configuration file says otherwise)");
        }
        Ok(kept.replicaof)
    }

    fn read_kept(&self) -> Result<Kept> {
        match self.host.read_state()? {
            None => Ok(Kept::nothing()),
            Some(bytes) => Kept::read(&bytes).ok_or_else(|| Error::new(UNREADABLE)),
        }
    }

    /// At the start, once nobody else can write it any more: it must be what the role was taken from.
    pub(crate) fn expect_kept(&self) -> Result<()> {
        if self.read_kept()? == *self.kept.lock() {
            return Ok(());
        }
        let file = self.home.join("replication.state");
        Err(Error::new(format!("{} was written by another process that has just ended: start again", file.display())))
    }

    /// Keeps the role beside the user's file. Calls overtake each other in no order but their own.
    pub(crate) fn save_role(&self) -> impl Future<Output = ()> + Send + use<> {
        let target = self.target();
        self.save(&|kept| kept.change_role(target.as_deref()))
    }

    /// Inside a turn that made us follow `target`, or again: what was known of it is no longer so.
    pub(crate) fn forget_primary(&self, target: &Target) {
        self.told_whom.store(true, Ordering::Release);
        self.kept.lock().remember(target, Memory::default(), &[]);
    }

    /// Keeps what the link knows of its primary, where that is news.
    pub(crate) fn keep_memory(&self, target: &Target, memory: Memory) {
        let names = self.lineage.lock().names().to_vec();
        if memory.followed && self.kept.lock().is_news(target, memory, &names) {
            self.host.spawn(self.save(&|kept| kept.remember(target, memory, &names)));
        }
    }

    /// Keeps how the data began.
    pub(crate) fn save_origin(&self) -> impl Future<Output = ()> + Send + use<> {
        let names = self.origin.names().unwrap_or_default();
        self.save(&|kept| kept.began = names.iter().map(ToString::to_string).collect())
    }

    fn save(&self, edit: &dyn Fn(&mut Kept)) -> impl Future<Output = ()> + Send + use<> {
        let mut kept = self.kept.lock();
        edit(&mut kept);
        let text = ron::to_string(&*kept).unwrap_or_default();
        let (saves, version) = (self.saves.clone(), self.saves.begun());
        let written = self.host.persist_state(text.as_bytes());
        drop(kept);
        async move {
            let written = written.await;
            match (saves.ended(version, written.is_ok()), written) {
                (true, Err(error)) => {
                    log::warn!("the role couldn't be saved, a restart would not know it: {}", error.text());
                }
                (true, Ok(())) => log::info!("the role is saved now"),
                (false, _) => {}
            }
        }
    }

    /// Behind this the disk has what is known now, or has refused it.
    pub(crate) fn save_now(&self) -> impl Future<Output = ()> + Send + use<> {
        self.save(&|_| {})
    }

    /// What the disk refused last, once more: in memory it holds.
    pub(crate) fn save_again(&self) {
        if self.saves.is_due_again() {
            self.host.spawn(self.save_now());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::units::{Offset, Position};

    fn id(digit: u8) -> ReplId {
        ReplId::parse(&[digit; 40]).expect("forty digits")
    }

    fn target(port: u16) -> Target {
        Target { host: "h".into(), port }
    }

    #[test]
    fn what_the_disk_refused_is_due_until_it_took_as_much() {
        let saves = Saves::default();
        let (first, second) = (saves.begun(), saves.begun());
        assert!(saves.ended(second, false) && saves.failed() && saves.is_due_again());
        assert!(!saves.ended(first, true) && saves.failed(), "an older one that comes late");
        let third = saves.begun();
        assert!(!saves.is_due_again(), "it is on its way");
        assert!(!saves.ended(third, false) && saves.is_due_again());
        let fourth = saves.begun();
        assert!(saves.ended(fourth, true) && !saves.failed() && !saves.is_due_again());
    }

    #[test]
    fn files_of_older_versions_are_read() {
        let old = Kept::read(b"(replicaof:Some((\"h\",1)))").expect("an old file");
        assert_eq!((old.replicaof.clone(), old.as_configured), (Some(("h".into(), 1)), false));
        let followed = Memory { followed: true, ..Memory::default() };
        assert_eq!(old.memory(&target(1), id(b'a')), Some(followed));
        let known = Kept::read(b"(replicaof:None,link:Some((primary:(\"h\",1),followed:true)))").expect("an old file");
        assert_eq!(known.memory(&target(1), id(b'a')), Some(followed), "its histories aren't known");
        assert_eq!(Kept::read(b"(replicaof:None)").map(|kept| kept.as_configured), Some(false));
        assert_eq!(Kept::read(b"(replicaof:7)"), None);
    }

    #[test]
    fn what_is_written_is_read() {
        let mut kept = Kept::nothing();
        let (refused, ours) = (Some(id(b'a')), id(b'b'));
        let memory = Memory { followed: true, refused, history: Some(ours) };
        kept.remember(&target(1), memory, &[]);
        kept.began = vec![ours.to_string()];
        let read = Kept::read(ron::to_string(&kept).expect("plain data").as_bytes()).expect("what we wrote");
        assert_eq!(read, kept);
        assert!(read.as_configured, "no role was changed");
        assert_eq!(Kept::nothing().memory(&target(1), ours), None, "its data is its own");
        assert!(Kept::nothing().is_news(&target(1), memory, &[]) && !read.is_news(&target(1), memory, &[]));
        let told = Memory { history: None, ..memory };
        assert!(!read.is_news(&target(1), told, &[]), "a link that isn't there yet knows of no history");
        assert_eq!(read.memory(&target(1), ours), Some(told));
        assert_eq!(read.memory(&target(1), id(b'c')), None, "ours is of an earlier life");
        assert_eq!(read.memory(&target(2), ours), None, "another primary, by the configuration file");
        assert_eq!(read.began(), [ours]);
        kept.change_role(Some(&target(2)));
        assert_eq!(kept.began(), [], "what it will have is another's");
        kept.remember(&target(2), Memory::default(), &[]);
        let read = Kept::read(ron::to_string(&kept).expect("plain data").as_bytes()).expect("what we wrote");
        assert_eq!((read.replicaof.clone(), read.as_configured), (Some(("h".into(), 2)), false));
        assert_eq!(read.memory(&target(2), ours), Some(Memory::default()), "asked for, and not synced yet");
    }

    #[test]
    fn whose_role_was_taken_is_known_behind_a_restart_with_that_data() {
        let mut kept = Kept::nothing();
        kept.change_role(None);
        kept.take_role(id(b'a'), id(b'b'));
        let read = Kept::read(ron::to_string(&kept).expect("plain data").as_bytes()).expect("what we wrote");
        let restarted = |of| {
            let at = Position { replid: id(of), offset: Offset(7) };
            History::restarted_as_primary(Some(at), id(b'f'))
        };
        assert_eq!(read.took(&History::fresh(id(b'b'))), Some(id(b'a')));
        assert_eq!(read.took(&restarted(b'b')), Some(id(b'a')));
        assert_eq!(read.took(&restarted(b'a')), None, "the file is older, and names that history itself");
        assert_eq!(read.took(&History::fresh(id(b'f'))), None, "it has nothing any more");
        kept.change_role(Some(&target(1)));
        assert_eq!(kept.took(&History::fresh(id(b'b'))), None);
    }

    /// The file that a promotion finds on the disk has the old name until the next save.
    #[test]
    fn a_primary_in_anothers_place_has_the_names_of_our_data() {
        let mut kept = Kept::nothing();
        let followed = |name| Memory { followed: true, refused: None, history: Some(id(name)) };
        kept.remember(&target(1), followed(b'a'), &[id(b'a')]);
        kept.remember(&target(2), Memory::default(), &[]);
        kept.remember(&target(2), followed(b'b'), &[id(b'a'), id(b'b')]);
        let known = |kept: &Kept, name| kept.memory(&target(2), id(name)).is_some();
        assert!(known(&kept, b'a') && known(&kept, b'b'));
        // It was started again from its own file, under a new name.
        kept.remember(&target(2), followed(b'c'), &[id(b'c')]);
        assert!([b'a', b'b', b'c'].iter().all(|name| known(&kept, *name)));
        // One with data of its own.
        kept.remember(&target(2), Memory::default(), &[]);
        kept.remember(&target(2), followed(b'd'), &[id(b'd')]);
        assert!(!known(&kept, b'a') && known(&kept, b'd'));
    }
}
