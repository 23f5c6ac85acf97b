//! FAILOVER's shell: pauses writes, waits for acknowledgements, changes the role, and carries out what the link reports.
//!
//! The state is changed inside turns only, so a command and this task can't act on two different ones. It decides nothing.

use crate::failover::{self, Reach, State, Verdict, Waiting, Wish};
use crate::follow::Order;
use crate::link::Target;
use crate::plugin::{Replication, history_of};
use crate::primary::{PeerState, Shared};
use crate::units::{Offset, ReplId};
use keystead_plugin::prelude::*;
use keystead_plugin::{PauseKind, Targets};
use std::sync::atomic::Ordering;
use std::time::Duration;

/// How long a replica that was asked to take over may take to answer, before it is asked over another connection: the answer may
/// be stuck on its way.
const PATIENCE: Duration = Duration::from_secs(1);
/// And then, before the failover is aborted as it was asked for: the link's next try comes after a second.
const LAST_PATIENCE: Duration = Duration::from_secs(2);

/// Redis' sentinels, and ours, name their connections so.
const SENTINEL: &str = "sentinel-";
/// A sentinel closes the old primary's clients within milliseconds behind a failover it asked for. Until then their writes
/// wait, for they would be refused for nothing; at most for so long.
const UNTIL_TOLD_MS: u64 = 2_000;
/// The transaction that tells whom to follow writes files before it closes the clients.
const UNTIL_CLOSED_MS: u64 = 500;

/// What ABORT is answered inside MULTI, where nothing can be awaited.
const ASKED: &str = "ERR The replica was asked to take over already, its answer comes first";

/// Until the plugin stops.
pub(crate) async fn run(plugin: Arc<Replication>) {
    loop {
        let waiting = plugin.bell.until(|| plugin.waiting_for_sync()).await;
        if let Some(verdict) = plugin.await_sync(&waiting).await {
            let this = plugin.clone();
            let concluded = plugin.host.with_keyspace(move |ctx| this.conclude(ctx, &waiting, verdict)).await;
            if let Err(error) | Ok(Err(error)) = concluded {
                log::warn!("the failover couldn't be carried out: {}", error.text());
            }
        }
    }
}

impl Replication {
    /// `FAILOVER [TO host port [FORCE]] [ABORT] [TIMEOUT ms]`; parks where it would be taken back and the replica was asked
    /// already: it may be the primary by now.
    pub(crate) fn failover_now(&self, ctx: &mut Ctx<'_>, args: Args<'_>, must: bool) -> Option<Result<Effect>> {
        let words: Vec<&[u8]> = args.iter().skip(1).collect();
        let wish = match failover::parse(&words) {
            Ok(wish) => wish,
            Err(text) => return Some(Err(Error::reply(text))),
        };
        if wish == Wish::Abort && self.asked_to_take_over.load(Ordering::Acquire) {
            return must.then(|| Err(Error::reply(ASKED)));
        }
        Some(self.failover(ctx, wish))
    }

    /// FAILOVER ABORT, where the replica's answer must be awaited, also over a new connection: it may have taken over. One
    /// that gives none for so long is given up.
    pub(crate) async fn failover_abort(self: Arc<Self>, _: ClientInfo, _: OwnedArgs) -> Result<Reply> {
        let answered = || (!self.asked_to_take_over.load(Ordering::Acquire)).then_some(());
        let mut heard = self.host.timeout(PATIENCE, self.bell.until(answered)).await;
        if heard.is_none() {
            let _ = self.orders.unbounded_send(Order::AskAgain);
            heard = self.host.timeout(LAST_PATIENCE, self.bell.until(answered)).await;
        }
        if heard.is_none() {
            log::warn!(
                "FAILOVER ABORT: the replica was asked to take over and gives no answer; it counts as not promoted"
            );
        }
        let this = self.clone();
        self.host.with_keyspace(move |ctx| this.take_back(ctx)).await??;
        Ok(Reply::Simple("OK".to_owned()))
    }

    fn take_back(&self, ctx: &mut Ctx<'_>) -> Result<()> {
        match failover::refusal(&Wish::Abort, &self.failover.load(), self.target().is_some(), 0, None) {
            Some(text) => Err(Error::reply(text)),
            None => self.abort_failover(ctx, "Failover manually aborted"),
        }
    }

    fn failover(&self, ctx: &mut Ctx<'_>, wish: Wish) -> Result<Effect> {
        let replicas = self.reachable();
        let target = match &wish {
            Wish::HandOver { to: Some(to), .. } => replicas.iter().find(|(t, _)| t == to).map(|(_, reach)| *reach),
            _ => None,
        };
        let state = self.failover.load_full();
        if let Some(text) = failover::refusal(&wish, &state, self.target().is_some(), replicas.len(), target) {
            return Err(Error::reply(text));
        }
        match wish {
            Wish::Abort => self.take_back(ctx)?,
            Wish::HandOver { to, force, timeout } => {
                log::info!(
                    "FAILOVER requested{}.",
                    to.as_ref().map_or(String::new(), |t| format!(" to {}:{}", t.host, t.port))
                );
                self.for_sentinel.store(ctx.client().name.starts_with(SENTINEL), Ordering::Release);
                let writes_end = Offset(ctx.journal().offset);
                // In front of the pause, behind which nothing moves the offset.
                ctx.control_record(&["REPLCONF", "GETACK", "*"], Targets::REPLICAS);
                ctx.pause(PauseKind::Write, Some(u64::MAX));
                let deadline = timeout.map(|time| self.host.now() + time);
                let stream_end = Offset(ctx.journal().offset);
                self.enter_failover(State::WaitingForSync(Waiting { to, force, deadline, writes_end, stream_end }));
            }
        }
        ctx.reply().ok();
        Ok(Effect::None)
    }

    /// `PSYNC replid offset FAILOVER`, inside a turn: the primary we follow asks us to take its role.
    pub(crate) fn take_over(&self, ctx: &mut Ctx<'_>, replid: Option<ReplId>, client: &str) -> Result<()> {
        self.refuse_promotion()?;
        let ours = self.here().map(|here| here.replid);
        log::warn!("Failover request received for replid {}.", replid.map_or("?".into(), |id| id.to_string()));
        if self.target().is_none() {
            return Err("PSYNC FAILOVER can't be sent to a master.".into());
        }
        if ours.is_none() || ours != replid {
            return Err("PSYNC FAILOVER replid must match my replid.".into());
        }
        self.become_primary(ctx)?;
        if let Some(from) = ours {
            self.kept.lock().take_role(from, history_of(&ctx.journal()).replid);
        }
        self.clients_are_told(ctx, false);
        self.changed_role.store(true, Ordering::Release);
        log::info!("MASTER MODE enabled (failover request from '{client}')");
        Ok(())
    }

    /// The question is about to be sent by the link of this change of role; false if it must not be, because the failover was
    /// taken back.
    pub(crate) async fn asks_to_take_over(self: &Arc<Self>, role_epoch: u64) -> bool {
        let this = self.clone();
        let asking = self.host.with_keyspace(move |_| {
            if this.role_epoch() != role_epoch {
                return false;
            }
            let wanted = matches!(**this.failover.load(), State::InProgress { .. });
            this.asked_to_take_over.store(wanted, Ordering::Release);
            wanted
        });
        asking.await.unwrap_or(false)
    }

    /// The replica answered the link of this change of role. Behind another one the answer is about a failover that was taken back,
    /// and must not end the next.
    pub(crate) async fn handed_over(self: &Arc<Self>, role_epoch: u64, answer: std::result::Result<(), String>) {
        let (this, accepted) = (self.clone(), answer.is_ok());
        let ended = self.host.with_keyspace(move |ctx| match answer {
            _ if this.role_epoch() != role_epoch => Err("its target answers too late".into()),
            Ok(()) => {
                let told_soon = this.for_sentinel.load(Ordering::Acquire);
                this.end_failover(ctx, told_soon.then_some(UNTIL_TOLD_MS));
                Ok(())
            }
            Err(said) => this.abort_failover(ctx, &format!("Failover target rejected psync request: {said}")),
        });
        if let Err(error) | Ok(Err(error)) = ended.await {
            log::warn!("the failover couldn't be ended: {}", error.text());
        }
        if accepted {
            self.changed_role.store(true, Ordering::Release);
            // Beside it: the new primary's stream is here already.
            self.host.spawn(self.save_role());
        }
    }

    /// Waits for the verdict; `None` when the failover was aborted meanwhile.
    async fn await_sync(&self, waiting: &Waiting) -> Option<Verdict> {
        let look = || {
            let current = self.waiting_for_sync().as_ref() == Some(waiting);
            if current { waiting.verdict(self.host.now(), self.reachable()).map(Some) } else { Some(None) }
        };
        let Some(deadline) = waiting.deadline else { return self.bell.until(look).await };
        let left = deadline.saturating_sub(self.host.now()) + Duration::from_millis(1);
        match self.host.timeout(left, self.bell.until(look)).await {
            Some(verdict) => verdict,
            None => look().flatten(),
        }
    }

    /// Inside a turn: carries out the verdict, unless the failover it is about is no longer.
    fn conclude(&self, ctx: &mut Ctx<'_>, waiting: &Waiting, verdict: Verdict) -> Result<()> {
        if self.waiting_for_sync().as_ref() != Some(waiting) {
            return Ok(());
        }
        let end = Offset(ctx.journal().offset);
        match verdict {
            // Even when time is over: then the next verdict aborts, or hands over because it is forced.
            Verdict::HandOver { .. } if end != waiting.stream_end => {
                self.enter_failover(State::WaitingForSync(waiting.for_more(end)));
                Ok(())
            }
            Verdict::Abort(why) => self.abort_failover(ctx, why),
            Verdict::HandOver { to, why } => {
                log::info!("{why}");
                self.enter_failover(State::InProgress { to: to.clone() });
                self.follow(ctx, &to);
                self.forget_primary(&to);
                let _ = self.orders.unbounded_send(Order::HandOver(to));
                Ok(())
            }
        }
    }

    /// Inside a turn: back to being the primary, with writes allowed.
    fn abort_failover(&self, ctx: &mut Ctx<'_>, why: &str) -> Result<()> {
        let state = self.failover.load_full();
        let to = state.target().map_or(String::new(), |t| format!(" to {}:{}", t.host, t.port));
        log::info!("Aborting failover{to} while {}: {why}", state.word());
        if matches!(*state, State::InProgress { .. }) {
            self.become_primary(ctx)?;
        }
        self.end_failover(ctx, None);
        Ok(())
    }

    /// Back to no failover; writes wait on for so many milliseconds.
    fn end_failover(&self, ctx: &mut Ctx<'_>, waits_ms: Option<u64>) {
        self.asked_to_take_over.store(false, Ordering::Release);
        self.enter_failover(State::None);
        if waits_ms.is_none() {
            self.for_sentinel.store(false, Ordering::Release);
        }
        ctx.pause(PauseKind::Write, waits_ms.map(|ms| ctx.now_unix_ms() + ms));
    }

    /// Somebody says whom to follow, as a sentinel does when all are to know of a failover: the same transaction closes
    /// the connections of whoever waits, behind this. A primary takes their writes.
    pub(crate) fn clients_are_told(&self, ctx: &mut Ctx<'_>, follows: bool) {
        if self.for_sentinel.swap(false, Ordering::AcqRel) {
            ctx.pause(PauseKind::Write, follows.then(|| ctx.now_unix_ms() + UNTIL_CLOSED_MS));
        }
    }

    fn enter_failover(&self, next: State) {
        self.failover.store(Arc::new(next));
        self.bell.ring();
    }

    fn waiting_for_sync(&self) -> Option<Waiting> {
        match &**self.failover.load() {
            State::WaitingForSync(waiting) => Some(waiting.clone()),
            _ => None,
        }
    }

    /// Our replicas by the address they told.
    fn reachable(&self) -> Vec<(Target, Reach)> {
        let reach = |p: &Shared| Reach { online: p.state() == PeerState::Online, acked: p.acked_offset() };
        let all = self.registry.all();
        // One that has a part of the data is none of them.
        all.iter()
            .filter(|p| p.filter.is_none())
            .map(|p| (Target { host: p.ip.clone(), port: p.port }, reach(p)))
            .collect()
    }
}
