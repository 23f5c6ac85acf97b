//! What a node does by the clock: PING into the stream, the gates, the backlog's end, a role that the disk refused.
//!
//! One task, once a second. Owns no state but when things were done last.

use crate::plugin::{Replication, history_of, to_sdk};
use keystead_plugin::failpoint;
use keystead_plugin::prelude::*;
use std::time::Duration;

/// Where a test lets the plugin fail.
const CRON: &str = "replication-cron";

/// Until the plugin stops.
pub(crate) async fn run(plugin: Arc<Replication>) {
    let mut second = plugin.host.interval(Duration::from_secs(1));
    let mut last_ping = plugin.host.now();
    let mut last_replica = plugin.host.now();
    loop {
        second.tick().await;
        failpoint::pass(CRON).expect("the failpoint wants the plugin to fail");
        plugin.refresh_gates();
        plugin.save_again();
        plugin.stats.traffic.second();
        let now = plugin.host.now();
        let config = plugin.config();
        let following = plugin.target().is_some();
        if following || !plugin.registry.all().is_empty() {
            last_replica = now;
        }
        // A replica passes its primary's PINGs on and makes none.
        let due = now.saturating_sub(last_ping) >= Duration::from_secs(config.ping_period_s);
        if due && !following && !plugin.registry.all().is_empty() {
            last_ping = now;
            if let Err(error) = plugin.control_record(&["PING"]).await {
                log::debug!("no PING for the replicas: {}", error.text());
            }
        }
        let alone = now.saturating_sub(last_replica);
        if config.backlog_ttl_s > 0 && alone > Duration::from_secs(config.backlog_ttl_s) {
            free_backlog(&plugin).await;
        }
    }
}

/// Nobody may assume anything about bytes that nobody keeps: a new history begins. A replica's is its primary's.
async fn free_backlog(plugin: &Arc<Replication>) {
    if !plugin.host.journal().active {
        return;
    }
    let this = plugin.clone();
    let forgotten = plugin.host.with_keyspace(move |ctx| {
        if this.target().is_some() || !this.registry.all().is_empty() {
            return Ok(false);
        }
        let mut history = history_of(&ctx.journal());
        history.forget(this.new_name());
        ctx.rebase(&to_sdk(&history, None)).map(|()| true)
    });
    let freed = match forgotten.await {
        Ok(Ok(true)) => plugin.host.set_backlog(0).await,
        Ok(Ok(false)) => return,
        Ok(Err(error)) | Err(error) => Err(error),
    };
    match freed {
        Ok(()) => log::info!(
            "Replication backlog freed after {} seconds without connected replicas.",
            plugin.config().backlog_ttl_s
        ),
        Err(error) => log::warn!("the backlog couldn't be freed: {}", error.text()),
    }
}
