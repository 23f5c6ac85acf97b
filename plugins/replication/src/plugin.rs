//! The plugin itself: what is shared by its commands and tasks, and what it declares to the core.
//!
//! Everything a callback inside a turn reads is an atomic or a published snapshot; no lock is held across an await.

use crate::bell::Bell;
use crate::config::{self, Config};
use crate::failover;
use crate::filter::Feeds;
use crate::follow::Order;
use crate::gates::Gates;
use crate::history::{History, Second};
use crate::info::{Following, View};
use crate::kept::{Kept, Saves};
use crate::lineage::Lineage;
use crate::link::{Status, Target};
use crate::origin::Origin;
use crate::pace::Rounds;
use crate::params;
use crate::primary::{PeerState, Registry, Shared};
use crate::psync::Backlog;
use crate::shown::Shown;
use crate::traffic::Traffic;
use crate::units::{Offset, Position, ReplId};
use arc_swap::{ArcSwap, ArcSwapOption};
use futures::channel::mpsc;
use keystead_plugin::prelude::*;
use keystead_plugin::services::persistence;
use keystead_plugin::{self as sdk, FaultPolicy, Folders, Gate, Journal, Role, Targets};
use parking_lot::Mutex;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

/// How long an end waits for a payload's file to be kept: behind that a restart takes everything again, at worst.
const FOR_A_FILE: Duration = Duration::from_secs(10);
/// How long a plugin that failed lets replicas catch up: the host waits for fifteen seconds at most.
const BEHIND_A_FAULT: Duration = Duration::from_secs(10);

/// Counters that INFO stats shows, since the last CONFIG RESETSTAT.
#[derive(Debug, Default)]
pub(crate) struct Stats {
    pub(crate) sync_full: AtomicU64,
    pub(crate) sync_partial_ok: AtomicU64,
    pub(crate) sync_partial_err: AtomicU64,
    pub(crate) traffic: Traffic,
    /// How many resets were seen.
    resets: AtomicU64,
}

impl Stats {
    /// Begins anew if CONFIG RESETSTAT was called meanwhile.
    pub(crate) fn settle(&self, host: &Host) -> &Stats {
        let resets = host.setting("stat_resets").and_then(|n| n.parse().ok()).unwrap_or(0);
        if self.resets.swap(resets, Ordering::AcqRel) != resets {
            for counter in [&self.sync_full, &self.sync_partial_ok, &self.sync_partial_err] {
                counter.store(0, Ordering::Release);
            }
            self.traffic.reset();
        }
        self
    }
}

/// The plugin.
pub struct Replication {
    pub(crate) host: Host,
    pub(crate) recovery: persistence::Recovery,
    config: Arc<ArcSwap<Config>>,
    pub(crate) registry: Registry,
    /// Whether our data began in this process.
    pub(crate) origin: Origin,
    /// The names by which what we have went.
    pub(crate) lineage: Mutex<Lineage>,
    /// Whom we follow was said since the start, by a client, a sentinel or a failover.
    pub(crate) told_whom: AtomicBool,
    /// What filtered replicas follow.
    pub(crate) feeds: Feeds,
    pub(crate) target: ArcSwapOption<Target>,
    /// What is on the disk beside the user's file, or on its way there.
    pub(crate) kept: Mutex<Kept>,
    /// How the writing of it went.
    pub(crate) saves: Arc<Saves>,
    /// Where no other process writes it.
    folders: Folders,
    /// `dir` as it was before CONFIG REWRITE's word for it: it lies there.
    pub(crate) home: PathBuf,
    gates: Gates,
    pub(crate) link: Shown,
    pub(crate) orders: mpsc::UnboundedSender<Order>,
    inbox: Mutex<Option<mpsc::UnboundedReceiver<Order>>>,
    /// The run ids of those we follow over all hops, nearest first, as far as they told.
    pub(crate) upstream: ArcSwap<Vec<String>>,
    /// Held while the first replica's backlog is made: a second one must not name the history again. And while it gets
    /// another size: the newest is the last.
    pub(crate) first_replica: Arc<futures::lock::Mutex<()>>,
    /// The log has it that our primary follows us.
    pub(crate) warned_of_loop: AtomicBool,
    /// Held while a payload's file is offered to who keeps such files.
    pub(crate) offering: futures::lock::Mutex<()>,
    /// Rung when an acknowledgement arrives, a replica's state changes, or replicas must go.
    pub(crate) bell: Bell,
    pub(crate) stats: Stats,
    /// Grows when replicas that wait for others (`repl-diskless-sync-delay`) wait no longer.
    pub(crate) sync_round: AtomicU64,
    /// Payloads being made for replicas.
    pub(crate) payloads: AtomicUsize,
    /// Keys of all of these.
    pub(crate) payload_keys: AtomicU64,
    /// Of these, on their way.
    pub(crate) payload_done: AtomicU64,
    /// Our data belongs to the journal's history at its offset. Not so for a replica that was never synced, from the
    /// beginning of a load on until it is complete, and where a stream made no sense.
    pub(crate) positioned: AtomicBool,
    /// Replicas that came under an older generation must go.
    generation: AtomicU64,
    /// Grows with every change of role: what was begun under an older one must not be finished.
    role_epoch: AtomicU64,
    /// The role was changed at run time.
    pub(crate) changed_role: AtomicBool,
    /// The offset behind the last GETACK.
    pub(crate) getack_at: AtomicU64,
    /// When what is gathered of a fast stream goes out.
    pub(crate) gathering: Rounds,
    /// When the end stops waiting for replicas, in milliseconds of `Host::now`; 0: no end is asked for.
    pub(crate) ends_at_ms: AtomicU64,
    /// Where a FAILOVER stands. Changed inside turns only.
    pub(crate) failover: ArcSwap<failover::State>,
    /// The replica was asked to take our role and hasn't answered: it may have it already. Set inside turns only.
    pub(crate) asked_to_take_over: AtomicBool,
    /// The failover was asked for by a sentinel, which hasn't told the clients yet.
    pub(crate) for_sentinel: AtomicBool,
    /// The plugin failed: nobody is followed any more, and nobody follows.
    failed: AtomicBool,
}

impl Plugin for Replication {
    const NAME: &'static str = "replication";
    const VERSION: &'static str = env!("CARGO_PKG_VERSION");
    const CONFIG_DOCS: &'static [(&'static str, &'static str)] = config::DOCS;
    type Config = Config;

    fn check(config: &Config) -> Result<()> {
        config.check()
    }

    fn init(host: Host, config: Config, reg: &mut Registrar<Self>) -> Result<Self> {
        crate::commands::register(reg);
        params::register(reg);
        // What a primary wrote without it would reach no replica, and be lost with the failover that is due: sentinels take
        // a primary for down whose PING is refused too.
        reg.on_fault(FaultPolicy::StopWrites);
        let recovery = persistence::recovery(reg);
        let feeds = Feeds::new(reg.optional());
        let (orders, inbox) = mpsc::unbounded();
        let this = Replication {
            host,
            recovery,
            config: Arc::new(ArcSwap::from_pointee(config)),
            registry: Registry::default(),
            origin: Origin::default(),
            lineage: Mutex::default(),
            told_whom: AtomicBool::new(false),
            feeds,
            target: ArcSwapOption::empty(),
            kept: Mutex::default(),
            saves: Arc::default(),
            folders: Folders::new(host, Self::NAME),
            home: PathBuf::from(host.setting("dir").unwrap_or_else(|| ".".to_owned())),
            gates: Gates::default(),
            link: Shown::default(),
            orders,
            inbox: Mutex::new(Some(inbox)),
            upstream: ArcSwap::default(),
            first_replica: Arc::default(),
            warned_of_loop: AtomicBool::new(false),
            offering: futures::lock::Mutex::default(),
            bell: Bell::default(),
            stats: Stats::default(),
            sync_round: AtomicU64::new(0),
            payloads: AtomicUsize::new(0),
            payload_keys: AtomicU64::new(0),
            payload_done: AtomicU64::new(0),
            positioned: AtomicBool::new(true),
            generation: AtomicU64::new(0),
            role_epoch: AtomicU64::new(0),
            changed_role: AtomicBool::new(false),
            getack_at: AtomicU64::new(0),
            gathering: Rounds::default(),
            ends_at_ms: AtomicU64::new(0),
            failover: ArcSwap::default(),
            asked_to_take_over: AtomicBool::new(false),
            for_sentinel: AtomicBool::new(false),
            failed: AtomicBool::new(false),
        };
        this.begin_with_role()?;
        Ok(this)
    }

    async fn start(self: Arc<Self>) -> Result<()> {
        // Before the first client comes: nobody was heard yet.
        self.refresh_gates();
        self.folders.hold_at_start(&self.home).await?;
        self.expect_kept()?;
        let first_role = self.target().map(|target| Target::clone(&target));
        let data = self.recovery.run().await?;
        let dir = PathBuf::from(self.host.setting("dir").unwrap_or_else(|| ".".into()));
        self.host.blocking(move || crate::temporary::discard_stale(&dir)).await?;
        let nothing = data.is_none() && first_role.is_none() && crate::receive::own_keys(&self).await? == 0;
        let recovered = data.and_then(|data| data.position).and_then(|at| place(&at));
        self.begin_history(recovered, first_role.is_some()).await?;
        if first_role.is_none() {
            self.begin_origin(nothing, recovered.map(|(at, _)| at.replid)).await;
        }
        if let Some(inbox) = self.inbox.lock().take() {
            self.host.spawn(crate::follow::run(self.clone(), inbox));
        }
        self.host.spawn(crate::cron::run(self.clone()));
        self.host.spawn(crate::failover_task::run(self.clone()));
        if let Some(target) = first_role {
            // Without a recovered position, whatever is in memory belongs to no primary's history.
            self.positioned.store(recovered.is_some(), Ordering::Release);
            let memory = recovered.and_then(|(at, _)| self.kept.lock().memory(&target, at.replid));
            let memory = memory.filter(|memory| memory.followed);
            let _ = self.orders.unbounded_send(Order::Follow(target));
            if let Some(memory) = memory {
                let _ = self.orders.unbounded_send(Order::FollowedBefore(memory.refused));
            }
        }
        Ok(())
    }

    async fn before_end(self: Arc<Self>, how: Ending) -> Result<()> {
        if !how.now {
            self.let_replicas_catch_up().await;
        }
        if how.save.is_none() && !how.now {
            // What a full sync brought is found again then, also where nothing is saved.
            drop(self.host.timeout(FOR_A_FILE, self.offering.lock()).await);
        }
        Ok(())
    }

    async fn stop(self: Arc<Self>, why: StopReason) -> Result<()> {
        let faulted = why == StopReason::Faulted;
        if faulted {
            self.failed.store(true, Ordering::Release);
            self.refresh_gates();
        }
        if self.changed_role.load(Ordering::Acquire) {
            // One that was changed inside MULTI may still be on its way to the disk.
            self.save_role().await;
        }
        if faulted {
            // Nothing is written any more. What was answered before is to be on the replica that is promoted.
            self.until_caught_up(Offset(self.host.journal().offset), BEHIND_A_FAULT).await;
        }
        self.drop_replicas();
        // At the end nobody is served any more, and one that failed leaves nobody less safe: no gate is opened.
        self.refresh_gates();
        Ok(())
    }
}

impl Replication {
    /// The settings now.
    pub(crate) fn config(&self) -> Arc<Config> {
        self.config.load_full()
    }

    /// CONFIG SET.
    pub(crate) fn change(&self, edit: impl Fn(&mut Config)) {
        let before = self.config();
        let mut after = Config::clone(&before);
        edit(&mut after);
        let resized = before.backlog_size != after.backlog_size;
        self.config.store(Arc::new(after));
        self.refresh_gates();
        if resized {
            let (host, config, alone) = (self.host, self.config.clone(), self.first_replica.clone());
            self.host.spawn(async move {
                let _alone = alone.lock().await;
                if host.journal().active
                    && let Err(error) = host.set_backlog(config.load_full().backlog_size).await
                {
                    log::warn!("the backlog couldn't be resized: {}", error.text());
                }
            });
        }
    }

    /// The primary we follow.
    pub(crate) fn target(&self) -> Option<Arc<Target>> {
        self.target.load_full()
    }

    /// A node that starts as primary always takes a new id; one that was recovered becomes the second, up to where it
    /// goes. A replica goes on with the recovered one: its data is exactly that prefix.
    async fn begin_history(&self, recovered: Option<(Position, u32)>, replica: bool) -> Result<()> {
        let at = recovered.map(|(at, _)| at);
        let history = match at {
            Some(at) if replica => History::fresh(at.replid),
            at => History::restarted_as_primary(at, self.fresh_id()),
        };
        let names = at.map(|at| at.replid).into_iter().chain([history.replid]);
        names.for_each(|name| self.lineage.lock().renamed(name));
        let began = to_sdk(&history, at.map(|at| at.offset));
        let (host, stream_db) = (self.host, recovered.filter(|_| replica).map(|(_, db)| db));
        let begin = move |ctx: &mut Ctx<'_>| {
            ctx.rebase(&began)?;
            // The journal must know which database the primary's stream has selected there, before a link can go on in it, or
            // a file be cut.
            stream_db.map(|db| host.apply(db)).transpose().map(drop)
        };
        self.host.with_keyspace(begin).await??;
        if let Some(at) = at {
            // Replicas that were there before may go on from here.
            self.host.set_backlog(self.config().backlog_size).await?;
            log::info!("The data is that of {} up to offset {}", at.replid, at.offset);
        }
        Ok(())
    }

    /// Before anybody is answered, and before the data is loaded, which may take long: nobody must take a replica for a
    /// primary meanwhile.
    fn begin_with_role(&self) -> Result<()> {
        if let Some((host, port)) = self.first_role()? {
            self.host.set_role(&Role::Replica { host: host.clone(), port });
            self.show_target(&Target { host, port });
        }
        Ok(())
    }

    /// REPLICAOF host port, inside a turn.
    pub(crate) fn become_replica(&self, ctx: &mut Ctx<'_>, target: Target) {
        self.follow(ctx, &target);
        self.forget_primary(&target);
        let _ = self.orders.unbounded_send(Order::Follow(target));
    }

    /// The link begins again with what was set meanwhile.
    pub(crate) fn follow_anew(&self) {
        if let Some(target) = self.target() {
            let _ = self.orders.unbounded_send(Order::Follow(Target::clone(&target)));
        }
    }

    /// Inside a turn: from here on this node is a replica of `target`; the link's task must be told.
    pub(crate) fn follow(&self, ctx: &mut Ctx<'_>, target: &Target) {
        self.role_epoch.fetch_add(1, Ordering::AcqRel);
        ctx.set_role(&Role::Replica { host: target.host.clone(), port: target.port });
        self.show_target(target);
        // Who waits for acknowledgements of a primary waits no longer.
        self.bell.ring();
    }

    fn show_target(&self, target: &Target) {
        self.target.store(Some(Arc::new(target.clone())));
        self.origin.elsewhere();
        self.upstream.store(Arc::default());
        self.warned_of_loop.store(false, Ordering::Release);
        self.link.begin(self.role_epoch(), Status { phase: crate::link::Phase::Connect, ..Status::default() });
        self.refresh_gates();
    }

    /// A filtered replica has a part of the data: it must not pass for the whole.
    pub(crate) fn refuse_promotion(&self) -> Result<()> {
        match &self.config().filter {
            Some(filter) if self.target().is_some() => Err(Error::new(format!(
                "this replica has only what the filter '{filter}' lets through; CONFIG SET keystead-replica-filter \"\" first"
            ))),
            _ => Ok(()),
        }
    }

    /// REPLICAOF NO ONE, inside a turn: what follows is ours.
    pub(crate) fn become_primary(&self, ctx: &mut Ctx<'_>) -> Result<()> {
        self.role_epoch.fetch_add(1, Ordering::AcqRel);
        let journal = ctx.journal();
        let mut history = history_of(&journal);
        let known = self.positioned.load(Ordering::Acquire);
        match known {
            true => history.promote(Offset(journal.offset), self.new_name()),
            // Whatever is in memory isn't what the journal's history has: nobody may go on from that.
            false => history.forget(self.new_name()),
        }
        // The role first: a primary's new history begins with SELECT, a replica's goes on with the stream's database.
        ctx.set_role(&Role::Primary);
        ctx.rebase(&to_sdk(&history, None))?;
        self.target.store(None);
        self.upstream.store(Arc::default());
        self.link.begin(self.role_epoch(), Status::default());
        self.positioned.store(true, Ordering::Release);
        self.getack_at.store(0, Ordering::Release);
        self.refresh_gates();
        self.drop_replicas();
        let _ = self.orders.unbounded_send(Order::Unfollow);
        match &history.second {
            Some(Second { replid, limit }) => log::info!(
                "Setting secondary replication ID to {replid}, valid up to offset: {limit}. New replication ID is {}",
                history.replid
            ),
            None => log::info!("The data belongs to no known history. New replication ID is {}", history.replid),
        }
        Ok(())
    }

    /// Whom we follow over all hops, as the primary told. Replicas that keep it in mind must hear what changed, or a loop
    /// could be seen where there is none any more.
    pub(crate) fn learn_upstream(&self, path: Vec<String>) {
        if **self.upstream.load() == path {
            return;
        }
        self.upstream.store(Arc::new(path));
        if self.registry.all().iter().any(|replica| replica.node.is_some()) {
            self.drop_replicas();
        }
    }

    /// Which change of role we are at.
    pub(crate) fn role_epoch(&self) -> u64 {
        self.role_epoch.load(Ordering::Acquire)
    }

    /// A new random id.
    pub(crate) fn fresh_id(&self) -> ReplId {
        let mut bytes = [0u8; 20];
        self.host.random(&mut bytes);
        ReplId::from_random(bytes)
    }

    /// A new name for our history.
    pub(crate) fn new_name(&self) -> ReplId {
        let name = self.fresh_id();
        self.lineage.lock().renamed(name);
        if self.origin.renamed(name) {
            self.host.spawn(self.save_origin());
        }
        name
    }

    /// A primary at its start: what it has began in this process, or in one before that began with nothing.
    async fn begin_origin(&self, nothing: bool, recovered: Option<ReplId>) {
        let began = self.kept.lock().began();
        match recovered {
            None if nothing => self.origin.began_as(Vec::new()),
            Some(recovered) if began.contains(&recovered) => self.origin.began_as(began),
            _ => return,
        }
        self.origin.renamed(history_of(&self.host.journal()).replid);
        self.save_origin().await;
    }

    /// Inside a turn: the stream of the primary is ours, and so is what it says of how its data began. Not if somebody said
    /// whom to follow: then that data was meant, for our replicas too.
    pub(crate) fn learn_origin(&self, names: Option<Vec<ReplId>>) {
        match names.filter(|_| !self.told_whom.load(Ordering::Acquire) && self.config().filter.is_none()) {
            Some(names) => self.origin.began_as(names),
            None => self.origin.elsewhere(),
        }
    }

    /// How much of the stream is on our disk, if anybody keeps it there.
    pub(crate) fn durable(&self) -> Option<Offset> {
        self.host.durable().map(Offset)
    }

    /// Our position, if our data has one.
    pub(crate) fn here(&self) -> Option<Position> {
        if !self.positioned.load(Ordering::Acquire) {
            return None;
        }
        let journal = self.host.journal();
        Some(Position { replid: history_of(&journal).replid, offset: Offset(journal.offset) })
    }

    /// Into the stream of a primary, with the offset behind it; `None` for a replica, whose stream is its primary's alone.
    pub(crate) async fn control_record(self: &Arc<Self>, words: &'static [&'static str]) -> Result<Option<u64>> {
        let this = self.clone();
        let turn =
            move |ctx: &mut Ctx<'_>| this.target().is_none().then(|| ctx.control_record(words, Targets::REPLICAS));
        self.host.with_keyspace(turn).await
    }

    /// Before the process ends: waits until every online replica acknowledged all there is, at most
    /// `shutdown-timeout`. Nothing is written meanwhile, the server sees to that.
    async fn let_replicas_catch_up(self: &Arc<Self>) {
        let end = Offset(self.host.journal().offset);
        let lagging = self.lagging(end);
        if lagging > 0 {
            log::info!("{lagging} replicas lag behind. Waiting for replicas before shutting down.");
            let limit_s = self.host.setting("shutdown-timeout").and_then(|s| s.parse().ok()).unwrap_or(10);
            let limit = Duration::from_secs(limit_s);
            let _shown = Countdown::new(&self.ends_at_ms, self.host.now() + limit);
            self.until_caught_up(end, limit).await;
        }
        self.tell_who_is_in_sync(end);
    }

    /// How many online replicas haven't acknowledged all up to `end`.
    fn lagging(&self, end: Offset) -> usize {
        // One that came by SYNC never says how far it is.
        // A filtered one counts in another stream.
        let counts = |p: &Shared| p.acknowledges && p.filter.is_none();
        let waits = |p: &Shared| p.state() == PeerState::Online && counts(p) && p.acked_offset() < end;
        self.registry.all().iter().filter(|p| waits(p)).count()
    }

    /// Until no replica lags behind `end`, at most for `limit`.
    async fn until_caught_up(self: &Arc<Self>, end: Offset, limit: Duration) {
        if self.lagging(end) == 0 {
            return;
        }
        if let Err(error) = self.ask_for_acks(end).await {
            log::debug!("replicas weren't asked how far they are: {}", error.text());
        }
        self.host.timeout(limit, self.bell.until(|| (self.lagging(end) == 0).then_some(()))).await;
    }

    fn tell_who_is_in_sync(&self, end: Offset) {
        let replicas: Vec<_> = self.registry.all().iter().filter(|p| p.filter.is_none()).cloned().collect();
        let behind = replicas.iter().filter(|p| p.state() != PeerState::Online || p.acked_offset() < end);
        let behind: Vec<_> = behind.collect();
        for p in &behind {
            log::warn!(
                "Lagging replica {}:{} reported offset {} behind master, lag={}, state={}.",
                p.ip,
                p.port,
                end.0.saturating_sub(p.acked_offset().0),
                p.lag_secs(self.host.now()),
                p.state().word()
            );
        }
        if !replicas.is_empty() {
            let level = if behind.is_empty() { log::Level::Info } else { log::Level::Warn };
            let (all, fine) = (replicas.len(), replicas.len() - behind.len());
            log::log!(level, "{fine} of {all} replicas are in sync when shutting down.");
        }
    }

    /// Every replica must come again: the history changed under it.
    pub(crate) fn drop_replicas(&self) {
        self.generation.fetch_add(1, Ordering::AcqRel);
        self.bell.ring();
    }

    /// Which generation of replicas is welcome.
    pub(crate) fn generation(&self) -> u64 {
        self.generation.load(Ordering::Acquire)
    }

    /// Read-only, stale and min-replicas, from what is known now.
    pub(crate) fn refresh_gates(&self) {
        let look = || {
            let config = self.config();
            let following = self.target.load().is_some();
            let up = self.link.load().phase == crate::link::Phase::Connected && !self.failed.load(Ordering::Acquire);
            (following && config.read_only, following && !up && !config.serve_stale_data, self.enough_until(&config))
        };
        self.gates.set(look, |(read_only, stale, enough_until)| {
            self.host.set_gate(Gate::ReadOnly, read_only);
            self.host.set_gate(Gate::Stale, stale);
            self.host.enough_replicas_until(enough_until);
        });
    }

    /// min-replicas alone.
    pub(crate) fn refresh_good_replicas(&self) {
        self.gates.set(|| self.enough_until(&self.config()), |until| self.host.enough_replicas_until(until));
    }

    /// min-replicas: up to when there are enough, so that a primary that stood still refuses writes with its first turn.
    fn enough_until(&self, config: &Config) -> Option<Duration> {
        let until = || match self.failed.load(Ordering::Acquire) {
            true => Duration::ZERO,
            false => self.registry.good_until(config.min_replicas_to_write as usize, config.min_replicas_max_lag_s),
        };
        let asked = asks_for_replicas(config) && self.target.load().is_none();
        asked.then(until)
    }

    /// How many replicas are good, if the rule is on.
    fn good_replicas(&self, config: &Config) -> Option<usize> {
        asks_for_replicas(config).then(|| self.registry.good(self.host.now(), config.min_replicas_max_lag_s))
    }

    /// All that INFO and ROLE show.
    pub(crate) fn view(&self, journal: &Journal) -> View {
        let config = self.config();
        View {
            now: self.host.now(),
            following: self.target().map(|target| Following {
                target: Target::clone(&target),
                link: self.link.load(),
                // A part of the data is never promoted, and not shown to those who look for a copy to read from.
                priority: if config.filter.is_some() { 0 } else { config.priority },
                read_only: config.read_only,
                announced: config.announced && config.filter.is_none(),
                filter: config.filter.clone(),
            }),
            replicas: self.registry.all(),
            good: self.good_replicas(&config),
            history: history_of(journal),
            offset: Offset(journal.offset),
            backlog: backlog_of(journal),
            backlog_size: config.backlog_size,
            failover: self.failover.load().word(),
        }
    }
}

/// Shows until when an end waits, until it is dropped: the end may be taken back.
struct Countdown<'a>(&'a AtomicU64);

impl<'a> Countdown<'a> {
    fn new(place: &'a AtomicU64, until: Duration) -> Countdown<'a> {
        place.store(u64::try_from(until.as_millis()).unwrap_or(u64::MAX), Ordering::Release);
        Countdown(place)
    }
}

impl Drop for Countdown<'_> {
    fn drop(&mut self) {
        self.0.store(0, Ordering::Release);
    }
}

/// The rule of min-replicas is on.
fn asks_for_replicas(config: &Config) -> bool {
    config.min_replicas_to_write > 0 && config.min_replicas_max_lag_s > 0
}

/// The core's journal as our history.
pub(crate) fn history_of(journal: &Journal) -> History {
    let id = |id: sdk::ReplId| ReplId::parse(id.as_str().as_bytes());
    let second = u64::try_from(journal.second_offset).ok();
    let second = second.and_then(|limit| Some(Second { replid: id(journal.replid2)?, limit: Offset(limit) }));
    History { replid: id(journal.replid).expect("the journal has an id"), second }
}

/// What the journal keeps, in Redis' counting: the first byte of a history is 1.
pub(crate) fn backlog_of(journal: &Journal) -> Option<Backlog> {
    journal.active.then(|| Backlog { first: Offset(journal.first + 1), len: journal.len })
}

/// Our history as the core takes it.
pub(crate) fn to_sdk(history: &History, offset: Option<Offset>) -> sdk::History {
    let id = |id: &ReplId| sdk::ReplId::parse(id.as_str().as_bytes()).unwrap_or(sdk::ReplId::NONE);
    sdk::History {
        replid: id(&history.replid),
        replid2: history.second.map_or(sdk::ReplId::NONE, |s| id(&s.replid)),
        second_offset: history.second.map_or(-1, |s| i64::try_from(s.limit.0).unwrap_or(i64::MAX)),
        offset: offset.map(|o| o.0),
    }
}

/// A recovered position in our words; `None` if its id is none.
fn place(at: &persistence::Position) -> Option<(Position, u32)> {
    let replid = ReplId::parse(at.replid.as_bytes())?;
    let Some(offset) = Offset::checked(at.offset) else {
        log::warn!("The data's place in its history is ignored: {} is no replication offset", at.offset);
        return None;
    };
    Some((Position { replid, offset }, at.stream_db))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_recovered_offset_that_no_stream_can_have_is_no_place() {
        let at = |offset| persistence::Position { replid: "a".repeat(40), offset, stream_db: 3 };
        assert_eq!(place(&at(i64::MAX as u64)).map(|(at, db)| (at.offset, db)), Some((Offset::MAX, 3)));
        for offset in [1 << 63, u64::MAX - 5, u64::MAX] {
            assert_eq!(place(&at(offset)), None);
        }
    }
}
