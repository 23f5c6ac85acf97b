//! BGREWRITEAOF, DEBUG LOADAOF and INFO persistence.

use crate::plugin::Aof;
use crate::writer::Order;
use futures::channel::oneshot;
use keystead_plugin::prelude::*;

pub(crate) fn register(reg: &mut Registrar<Aof>) {
    let flags = Flags::ADMIN | Flags::NO_SCRIPT | Flags::NO_ASYNC_LOADING;
    let text = "Asynchronously rewrites the append-only file to disk.";
    let rewrite = spec("BGREWRITEAOF", 1, flags).docs(text, "server", "1.0.0").page("~ O(1)");
    reg.command(rewrite, Aof::bgrewriteaof)
        .async_command(
            spec("DEBUG|LOADAOF", 2, Flags::ADMIN | Flags::NO_SCRIPT | Flags::NO_ASYNC_LOADING).docs(
                "Replaces the data by what the append-only files have.",
                "server",
                "1.0.0",
            ),
            Aof::loadaof,
        )
        .info_append("persistence", |plugin, out| {
            plugin.shown.settle(resets(&plugin.host));
            plugin.shown.info(plugin.host.now(), out);
        });
}

/// How often CONFIG RESETSTAT was called. In a turn.
fn resets(host: &Host) -> u64 {
    host.setting("stat_resets").and_then(|n| n.parse().ok()).unwrap_or(0)
}

impl Aof {
    /// What is counted next is behind every CONFIG RESETSTAT so far.
    pub(crate) async fn settle(&self) {
        let host = self.host;
        if let Ok(resets) = host.with_keyspace(move |_| resets(&host)).await {
            self.shown.settle(resets);
        }
    }

    /// Nothing else is served meanwhile but what is served while loading; what was written before is in the files.
    async fn loadaof(self: Arc<Self>, _: ClientInfo, _: OwnedArgs) -> Result<Reply> {
        let (done, loaded) = oneshot::channel();
        self.send(Order::Load(done));
        match loaded.await {
            Ok(Ok(())) => Ok(Reply::Simple("OK".to_owned())),
            Ok(Err(why)) => {
                log::warn!("DEBUG LOADAOF: {why}");
                Err("Error trying to load the AOF files, check server logs.".into())
            }
            Err(_) => Err("the append-only file's writer has ended".into()),
        }
    }

    /// Inside MULTI, as in Redis, the rewrite begins behind EXEC: who asks twice there is told twice that it will.
    fn bgrewriteaof(&self, ctx: &mut Ctx<'_>, _args: Args<'_>) -> Result<Effect> {
        let in_exec = ctx.in_transaction();
        let asked = self.shown.rewrites_now();
        if asked && (!in_exec || self.shown.is_rewriting()) {
            return Err("Background append only file rewriting already in progress".into());
        }
        if !asked {
            self.shown.asked();
            self.send(Order::Rewrite);
        }
        let begun = if in_exec { "scheduled" } else { "started" };
        ctx.reply().simple(&format!("Background append only file rewriting {begun}"));
        Ok(Effect::None)
    }
}
