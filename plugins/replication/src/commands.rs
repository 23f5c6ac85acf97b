//! The commands: REPLICAOF, ROLE, REPLCONF, WAIT, PSYNC, SYNC, and the INFO sections. FAILOVER is in `failover_task`.
//!
//! Each reads its arguments, asks a pure room, and says its effect. None of them is propagated: roles and links are
//! this node's own affair.

use crate::failover;
use crate::info::{self, Role};
use crate::link::{Target, handshake};
use crate::plugin::{Replication, history_of, to_sdk};
use crate::primary::replconf::{self, Answer, Facts};
use crate::units::Offset;
use crate::wait::{self, DiskWish};
use futures::executor::block_on;
use futures::future::{Either, pending, select};
use keystead_plugin::InfoOut;
use keystead_plugin::prelude::*;
use std::pin::pin;
use std::sync::atomic::Ordering;
use std::time::Duration;

/// How often who waits for the disk looks whether an append-only file is still wanted.
const LOOK: Duration = Duration::from_millis(100);

/// Declares all of them.
pub(crate) fn register(reg: &mut Registrar<Replication>) {
    let admin = Flags::ADMIN | Flags::NO_SCRIPT | Flags::STALE_OK;
    // A primary's data that is being loaded would replace that of a node promoted meanwhile.
    let role = admin | Flags::NO_ASYNC_LOADING;
    let sync = Flags::ADMIN | Flags::NO_SCRIPT | Flags::NO_MULTI | Flags::NO_ASYNC_LOADING;
    let docs = |name: &str, arity, flags, text: &str, since: &str| spec(name, arity, flags).docs(text, "server", since);
    let waits = |name: &str, arity, flags, text: &str, since: &str| {
        spec(name, arity, flags).docs(text, "generic", since).acl(Acl::CONNECTION)
    };
    reg.pages(include_str!("pages.txt"));
    reg.async_command_or(
        docs("REPLICAOF", 3, role, "Configures a server as replica of another, or promotes it to a primary.", "5.0.0"),
        Replication::replicaof_now,
        Replication::replicaof,
    )
    .async_command_or(
        docs("SLAVEOF", 3, role, "Sets a server as a replica of another, or promotes it to being a primary.", "1.0.0"),
        Replication::replicaof_now,
        Replication::replicaof,
    )
    .command(
        docs(
            "ROLE",
            1,
            Flags::NO_SCRIPT | Flags::LOADING_OK | Flags::STALE_OK | Flags::FAST,
            "Returns the replication role.",
            "2.8.12",
        )
        .acl(Acl::ADMIN | Acl::DANGEROUS),
        Replication::role,
    )
    .command(
        docs(
            "REPLCONF",
            -1,
            admin | Flags::LOADING_OK | Flags::ALLOW_BUSY | Flags::MAY_BE_SILENT,
            "An internal command for configuring the replication stream.",
            "3.0.0",
        ),
        Replication::replconf,
    )
    .async_command_or(
        waits(
            "WAIT",
            3,
            Flags::NONE,
            "Blocks until the asynchronous replication of all preceding write commands sent by the connection is completed.",
            "3.0.0",
        ),
        Replication::try_wait,
        Replication::wait,
    )
    .async_command_or(
        docs("FAILOVER", -1, admin, "Starts a coordinated failover from a server to one of its replicas.", "6.2.0"),
        Replication::failover_now,
        Replication::failover_abort,
    )
    .async_command_or(
        waits(
            "WAITAOF",
            4,
            Flags::NO_SCRIPT,
            "Blocks until all of the preceding write commands sent by the connection are written to the append-only file of the primary and/or replicas.",
            "7.2.0",
        ),
        Replication::try_wait_for_disks,
        Replication::wait_for_disks,
    )
    .command(
        docs("DEBUG|CHANGE-REPL-ID", 2, Flags::ADMIN | Flags::NO_SCRIPT | Flags::LOADING_OK | Flags::STALE_OK, "Changes the replication ids: nobody may go on from here.", "6.0.0"),
        Replication::change_repl_id,
    )
    .takeover_if(
        docs("PSYNC", -3, sync, "An internal command used in replication.", "2.8.0"),
        Replication::may_psync,
        Replication::psync,
    )
    .takeover_if(
        docs("SYNC", 1, sync, "An internal command used in replication.", "1.0.0"),
        Replication::may_sync,
        Replication::sync,
    )
    .info("replication", Replication::info_replication)
    .info_append("stats", Replication::info_stats)
    .info_append("server", Replication::info_server)
    .info_append("persistence", Replication::info_persistence);
}

impl Replication {
    /// `REPLICAOF host port | NO ONE`: answered when the new role is on the disk, or the disk has refused it: the role holds
    /// then, as in Redis, and an error would make its sender look for another node. INFO shows it (`kept`).
    async fn replicaof(self: Arc<Self>, client: ClientInfo, args: OwnedArgs) -> Result<Reply> {
        let this = self.clone();
        let words = (args.at(1).to_vec(), args.at(2).to_vec());
        let done = self.host.with_keyspace(move |ctx| this.change_role(ctx, &client, &words.0, &words.1)).await?;
        let text = done?;
        if self.changed_role.load(Ordering::Acquire) {
            self.save_role().await;
        }
        Ok(Reply::Simple(text.to_owned()))
    }

    /// Inside MULTI, as sentinels send it, nothing can be waited for. But EXEC's answer says the same of the disk, so the
    /// turn stands still for the one small file, as Redis' does for its CONFIG REWRITE.
    fn replicaof_now(&self, ctx: &mut Ctx<'_>, args: Args<'_>, must: bool) -> Option<Result<Effect>> {
        if !must {
            return None;
        }
        let client = ctx.client();
        Some(self.change_role(ctx, &client, args.at(1), args.at(2)).map(|text| {
            block_on(self.save_role());
            ctx.reply().simple(text);
            Effect::None
        }))
    }

    fn change_role(&self, ctx: &mut Ctx<'_>, client: &ClientInfo, host: &[u8], port: &[u8]) -> Result<&'static str> {
        if **self.failover.load() != failover::State::None {
            return Err("REPLICAOF not allowed while failing over.".into());
        }
        if client.is_replica {
            return Err("Command is not valid when client is a replica.".into());
        }
        if host.eq_ignore_ascii_case(b"no") && port.eq_ignore_ascii_case(b"one") {
            if self.target().is_some() {
                self.refuse_promotion()?;
                self.become_primary(ctx)?;
                self.clients_are_told(ctx, false);
                self.changed_role.store(true, Ordering::Release);
                log::info!("MASTER MODE enabled (user request from '{}')", client.addr);
            }
            return Ok("OK");
        }
        let port = std::str::from_utf8(port).ok().and_then(|p| p.parse::<u16>().ok());
        let port = port.ok_or("Invalid master port")?;
        let host = String::from_utf8_lossy(host).into_owned();
        if host.is_empty() || host.chars().any(|c| c.is_control() || c.is_whitespace()) {
            return Err("Invalid master host".into());
        }
        let target = Target { host, port };
        self.clients_are_told(ctx, true);
        // Asked for again while its empty data set is refused: now it is meant.
        let insists = self.link.load().kept_data;
        if !insists && self.target().is_some_and(|now| *now == target) {
            return Ok("OK Already connected to specified master");
        }
        log::info!("REPLICAOF {}:{port} enabled (user request from '{}')", target.host, client.addr);
        self.become_replica(ctx, target);
        self.changed_role.store(true, Ordering::Release);
        Ok("OK")
    }

    /// For tests of replication. Who follows must come again, and gets everything; so do we where we follow.
    fn change_repl_id(&self, ctx: &mut Ctx<'_>, _args: Args<'_>) -> Result<Effect> {
        log::info!("Changing replication IDs after receiving DEBUG change-repl-id");
        let mut history = history_of(&ctx.journal());
        history.forget(self.new_name());
        ctx.rebase(&to_sdk(&history, None))?;
        self.drop_replicas();
        ctx.reply().ok();
        Ok(Effect::None)
    }

    fn role(&self, ctx: &mut Ctx<'_>, _args: Args<'_>) -> Result<Effect> {
        let journal = ctx.journal();
        let role = info::role(&self.view(&journal));
        let mut out = ctx.reply();
        match role {
            Role::Primary { offset, replicas } => {
                out.array(3).text("master").int(signed(offset)).array(replicas.len());
                for (ip, port, acked) in replicas {
                    out.array(3).text(&ip).text(&port.to_string()).text(&acked.to_string());
                }
            }
            Role::Replica { target, state, offset } => {
                out.array(5).text("slave").text(&target.host).int(target.port.into()).text(state).int(offset);
            }
        }
        Ok(Effect::None)
    }

    /// Before PSYNC: facts for the session's slot. Behind it the replica's own task reads them off the connection.
    fn replconf(&self, ctx: &mut Ctx<'_>, args: Args<'_>) -> Result<Effect> {
        let words: Vec<&[u8]> = args.iter().skip(1).collect();
        match replconf::handle(ctx.state::<Facts>(), &words) {
            Answer::Ok => {
                ctx.reply().ok();
            }
            Answer::Path => {
                let own = self.host.setting("run_id").unwrap_or_default();
                let history = history_of(&ctx.journal());
                let (anew, took) = (self.origin.names(), self.kept.lock().took(&history));
                ctx.reply().simple(&handshake::path_answer(&own, &self.upstream.load(), &history, anew, took));
            }
            Answer::Silent | Answer::Ack { .. } | Answer::AckAsked => {}
            Answer::Error(text) => return Err(Error::reply(text)),
        }
        Ok(Effect::None)
    }

    fn try_wait(&self, ctx: &mut Ctx<'_>, args: Args<'_>, must: bool) -> Option<Result<Effect>> {
        if self.target().is_some() {
            return Some(Err(Error::reply(wait::ON_REPLICA)));
        }
        let wish = match wait::parse(args.at(1), args.at(2)) {
            Ok(wish) => wish,
            Err(text) => return Some(Err(Error::reply(text))),
        };
        let reached = i64::try_from(self.registry.reached(Offset(ctx.write_offset()))).unwrap_or(i64::MAX);
        if reached < wish.replicas && !must {
            return None;
        }
        ctx.reply().int(reached);
        Some(Ok(Effect::None))
    }

    async fn wait(self: Arc<Self>, client: ClientInfo, args: OwnedArgs) -> Result<Reply> {
        let wish = wait::parse(args.at(1), args.at(2)).map_err(Error::reply)?;
        let (offset, since, reign) = (Offset(client.write_offset), self.host.now(), self.role_epoch());
        self.ask_for_acks(offset).await?;
        let reached = || self.registry.reached(offset);
        let verdict = || self.demoted(reign).or_else(|| wait::verdict(wish, since, since, reached()).map(Ok));
        let enough = self.bell.until(verdict);
        let count = match wish.timeout {
            None => enough.await?,
            Some(time) => match self.host.timeout(time, enough).await {
                Some(count) => count?,
                None => i64::try_from(reached()).unwrap_or(i64::MAX),
            },
        };
        Ok(Reply::Int(count))
    }

    /// Ends a wait that began under another role.
    fn demoted<T>(&self, reign: u64) -> Option<Result<T>> {
        let so = self.role_epoch() != reign || self.target().is_some();
        so.then(|| Err(Error::reply(wait::DEMOTED)))
    }

    /// One GETACK behind the write serves everybody who waits for it.
    pub(crate) async fn ask_for_acks(self: &Arc<Self>, offset: Offset) -> Result<()> {
        if self.getack_at.load(Ordering::Acquire) <= offset.0
            && let Some(behind) = self.control_record(&["REPLCONF", "GETACK", "*"]).await?
        {
            self.getack_at.fetch_max(behind, Ordering::AcqRel);
            // Who gathers the stream sends it now.
            self.bell.ring();
        }
        Ok(())
    }

    fn try_wait_for_disks(&self, ctx: &mut Ctx<'_>, args: Args<'_>, must: bool) -> Option<Result<Effect>> {
        let wish = match DiskWish::parse(args.at(1), args.at(2), args.at(3)) {
            Ok(wish) => wish,
            Err(text) => return Some(Err(Error::reply(text))),
        };
        if let Some(text) = wish.refusal(self.target().is_some(), keeps_file(&self.host)) {
            return Some(Err(Error::reply(text)));
        }
        let (local, replicas) = self.on_disks(Offset(ctx.write_offset()));
        if !wish.is_met(local, replicas) && !must {
            return None;
        }
        ctx.reply().array(2).int(i64::from(local)).int(i64::try_from(replicas).unwrap_or(i64::MAX));
        Some(Ok(Effect::None))
    }

    async fn wait_for_disks(self: Arc<Self>, client: ClientInfo, args: OwnedArgs) -> Result<Reply> {
        let wish = DiskWish::parse(args.at(1), args.at(2), args.at(3)).map_err(Error::reply)?;
        let (offset, reign) = (Offset(client.write_offset), self.role_epoch());
        if wish.replicas > 0 {
            self.ask_for_acks(offset).await?;
        }
        let own = async {
            if wish.local {
                self.host.until_durable(offset.0).await;
            }
        };
        let off = async {
            match wish.local {
                true => self.until_no_file().await,
                false => pending().await,
            }
        };
        let others = self.bell.until(|| (self.registry.fsynced(offset) as u64 >= wish.replicas).then_some(()));
        let (demoted, off) = (pin!(self.bell.until(|| self.demoted::<()>(reign))), pin!(off));
        let refused = pin!(async {
            match select(demoted, off).await {
                Either::Left((demoted, _)) => demoted,
                Either::Right(_) => Err(Error::reply(wait::NO_FILE)),
            }
        });
        let enough = pin!(futures::future::join(own, others));
        let either = select(refused, enough);
        let ended = match wish.timeout {
            None => Some(either.await),
            Some(time) => self.host.timeout(time, either).await,
        };
        if let Some(Either::Left((refused, _))) = ended {
            refused?;
        }
        let (local, replicas) = self.on_disks(offset);
        Ok(Reply::Array(vec![Reply::Int(i64::from(local)), Reply::Int(i64::try_from(replicas).unwrap_or(i64::MAX))]))
    }

    /// Until no append-only file is wanted any more.
    async fn until_no_file(&self) {
        let host = self.host;
        loop {
            host.sleep(LOOK).await;
            if let Ok(false) = host.with_keyspace(move |_| keeps_file(&host)).await {
                return;
            }
        }
    }

    /// Whether a client's writes are on our disk, and on how many replicas'.
    fn on_disks(&self, offset: Offset) -> (bool, usize) {
        let local = self.durable().is_some_and(|durable| durable >= offset);
        (local, self.registry.fsynced(offset))
    }

    fn info_replication(&self, out: &mut InfoOut<'_>) {
        let view = self.view(&out.journal());
        info::replication(&view, &mut |name, value| {
            out.field(name, value);
        });
    }

    fn info_stats(&self, out: &mut InfoOut<'_>) {
        let stats = self.stats.settle(&self.host);
        out.field("sync_full", stats.sync_full.load(Ordering::Relaxed))
            .field("sync_partial_ok", stats.sync_partial_ok.load(Ordering::Relaxed))
            .field("sync_partial_err", stats.sync_partial_err.load(Ordering::Relaxed))
            .field("total_net_repl_input_bytes", stats.traffic.received.total())
            .field("total_net_repl_output_bytes", stats.traffic.sent.total())
            .field("instantaneous_input_repl_kbps", stats.traffic.received.kbps())
            .field("instantaneous_output_repl_kbps", stats.traffic.sent.kbps())
            .field("keystead_repl_reads", stats.traffic.received.times())
            .field("keystead_repl_writes", stats.traffic.sent.times());
    }

    /// To Redis, what is made for replicas is a background save: tools wait for its end, or for its begin.
    fn info_persistence(&self, out: &mut InfoOut<'_>) {
        if self.payloads.load(Ordering::Relaxed) > 0 {
            out.field("current_save_keys_processed", self.payload_done.load(Ordering::Relaxed))
                .field("current_save_keys_total", self.payload_keys.load(Ordering::Relaxed))
                .field("rdb_bgsave_in_progress", 1);
        }
        out.field("keystead_role_save_status", if self.saves.failed() { "err" } else { "ok" });
    }

    fn info_server(&self, out: &mut InfoOut<'_>) {
        let ends_at = Duration::from_millis(self.ends_at_ms.load(Ordering::Acquire));
        if !ends_at.is_zero() {
            out.field("shutdown_in_milliseconds", ends_at.saturating_sub(self.host.now()).as_millis());
        }
    }
}

/// Whether writes are to be on our disk; the first file may still be on its way. In a turn.
fn keeps_file(host: &Host) -> bool {
    match host.setting("appendonly") {
        Some(word) => word == "yes",
        None => host.durable().is_some(),
    }
}

fn signed(offset: Offset) -> i64 {
    i64::try_from(offset.0).unwrap_or(i64::MAX)
}
