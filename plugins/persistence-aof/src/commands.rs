//! BGREWRITEAOF and INFO persistence.

use crate::plugin::Aof;
use crate::writer::Order;
use keystead_plugin::prelude::*;
use std::sync::atomic::Ordering;

pub(crate) fn register(reg: &mut Registrar<Aof>) {
    let flags = Flags::ADMIN | Flags::NO_SCRIPT | Flags::NO_ASYNC_LOADING;
    let text = "Asynchronously rewrites the append-only file to disk.";
    reg.command(spec("BGREWRITEAOF", 1, flags).docs(text, "server", "1.0.0"), Aof::bgrewriteaof)
        .info_append("persistence", |plugin, out| plugin.shown.info(plugin.host.now(), out));
}

impl Aof {
    fn bgrewriteaof(&self, ctx: &mut Ctx<'_>, _args: Args<'_>) -> Result<Effect> {
        if self.shown.rewriting.swap(true, Ordering::AcqRel) {
            return Err("Background append only file rewriting already in progress".into());
        }
        self.send(Order::Rewrite);
        ctx.reply().simple("Background append only file rewriting started");
        Ok(Effect::None)
    }
}
