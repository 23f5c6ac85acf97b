//! SAVE, BGSAVE, LASTSAVE.

use crate::plugin::PersistenceRdb;
use futures::channel::oneshot;
use keystead_plugin::prelude::*;

const STARTED: &str = "Background saving started";
const SCHEDULED: &str = "Background saving scheduled";
const RUNNING: &str = "Background save already in progress";

/// Declares them.
pub(crate) fn register(reg: &mut Registrar<PersistenceRdb>) {
    let docs = |name: &str, arity, flags, text: &str| spec(name, arity, flags).docs(text, "server", "1.0.0");
    let admin = Flags::ADMIN | Flags::NO_SCRIPT | Flags::NO_ASYNC_LOADING;
    reg.async_command(
        docs("SAVE", 1, admin | Flags::NO_MULTI, "Synchronously saves the database(s) to disk.")
            .page("~ O(N), N: keys of all databases"),
        PersistenceRdb::save_command,
    )
    .async_command_or(
        docs("BGSAVE", -1, admin, "Asynchronously saves the database(s) to disk.").page("~ O(1)\n[SCHEDULE@3.2.2]"),
        PersistenceRdb::bgsave_now,
        PersistenceRdb::bgsave_command,
    )
    .command(
        docs(
            "LASTSAVE",
            1,
            Flags::LOADING_OK | Flags::STALE_OK | Flags::FAST | Flags::REPLACES,
            "Returns the Unix timestamp of the last successful save to disk.",
        )
        .acl(Acl::ADMIN | Acl::DANGEROUS)
        .page("~ O(1)"),
        PersistenceRdb::lastsave_command,
    )
    .info_append("persistence", PersistenceRdb::info);
}

impl PersistenceRdb {
    /// The client waits, nobody else does: what is saved is a cut.
    async fn save_command(self: Arc<Self>, _: ClientInfo, _: OwnedArgs) -> Result<Reply> {
        if self.board.read().running_since.is_some() {
            return Err(RUNNING.into());
        }
        self.settle();
        self.board.edit(|status| status.saves += 1);
        let (done, saved) = oneshot::channel();
        let me = self.clone();
        // A task of its own: what it came to is noted though the client may be gone.
        self.host.spawn(async move { drop(done.send(me.save(None).await)) });
        match saved.await.unwrap_or_else(|_| Err("the server ends".into())) {
            Ok(()) => Ok(Reply::Simple("OK".to_owned())),
            Err(error) => Err(Error::new(format!("the file couldn't be written: {}", error.text()))),
        }
    }

    /// `BGSAVE [SCHEDULE]`: nothing but another save stands in its way, so there is nothing to schedule it behind. The answer
    /// comes when the cut is made: what the client does next isn't in the file.
    async fn bgsave_command(self: Arc<Self>, _: ClientInfo, _: OwnedArgs) -> Result<Reply> {
        let Some(cut) = self.begin_background() else { return Err(RUNNING.into()) };
        // An error is the save's own, and in the log.
        let _ = cut.await;
        Ok(Reply::Simple(STARTED.to_owned()))
    }

    /// What needs no cut: refusals, and inside MULTI all of it. There, as in Redis, the save is of what is there behind EXEC.
    fn bgsave_now(&self, ctx: &mut Ctx<'_>, args: Args<'_>, must: bool) -> Option<Result<Effect>> {
        if args.len() > 2 || args.len() == 2 && !args.at(1).eq_ignore_ascii_case(b"schedule") {
            return Some(Err("syntax error".into()));
        }
        if !must {
            return None;
        }
        if self.board.read().running_since.is_some() {
            return Some(Err(RUNNING.into()));
        }
        self.schedule_background();
        ctx.reply().simple(SCHEDULED);
        Some(Ok(Effect::None))
    }

    fn lastsave_command(&self, ctx: &mut Ctx<'_>, _: Args<'_>) -> Result<Effect> {
        ctx.reply().int(i64::try_from(self.board.read().last_save_s).unwrap_or(i64::MAX));
        Ok(Effect::None)
    }
}
