//! The settings under Redis' names, both spellings, for CONFIG GET and SET.
//!
//! Owns the table from name to field and Redis' error texts for bad values. What a change means for the running
//! node is `Replication::changed`.

use crate::config::{Config, DisklessLoad, OnError};
use crate::plugin::Replication;
use keystead_plugin::prelude::*;
use keystead_plugin::services::filter::is_name;
use std::ops::RangeInclusive;

type Get<T> = fn(&Config) -> T;
type Set<T> = fn(&mut Config, T);

/// Redis takes less and makes this of it.
const BACKLOG_LEAST: u64 = 16 * 1024;
pub(crate) const DISKLESS_LOAD: &[(DisklessLoad, &str)] =
    &[(DisklessLoad::Disabled, "disabled"), (DisklessLoad::OnEmptyDb, "on-empty-db"), (DisklessLoad::Swapdb, "swapdb")];
pub(crate) const ON_ERROR: &[(OnError, &str)] =
    &[(OnError::Ignore, "ignore"), (OnError::Panic, "panic"), (OnError::PanicOnReplicas, "panic-on-replicas")];

/// Declares all of them.
pub(crate) fn register(reg: &mut Registrar<Replication>) {
    flag(reg, "replica-read-only", "slave-read-only", |c| c.read_only, |c, v| c.read_only = v);
    flag(
        reg,
        "replica-serve-stale-data",
        "slave-serve-stale-data",
        |c| c.serve_stale_data,
        |c, v| c.serve_stale_data = v,
    );
    flag(reg, "replica-announced", "", |c| c.announced, |c, v| c.announced = v);
    flag(reg, "repl-diskless-sync", "", |c| c.diskless_sync, |c, v| c.diskless_sync = v);
    flag(
        reg,
        "replica-ignore-disk-write-errors",
        "",
        |c| c.ignore_disk_write_errors,
        |c, v| c.ignore_disk_write_errors = v,
    );
    flag(
        reg,
        "keystead-keep-data-on-empty-primary",
        "",
        |c| c.keep_data_on_empty_primary,
        |c, v| c.keep_data_on_empty_primary = v,
    );
    let int = i64::from(i32::MAX) as u64;
    number(reg, "replica-priority", "slave-priority", 0..=int, |c| c.priority.into(), |c, v| c.priority = narrow(v));
    number(reg, "repl-timeout", "", 1..=int, |c| c.timeout_s, |c, v| c.timeout_s = v);
    number(
        reg,
        "repl-ping-replica-period",
        "repl-ping-slave-period",
        1..=int,
        |c| c.ping_period_s,
        |c, v| c.ping_period_s = v,
    );
    number(reg, "repl-backlog-ttl", "", 0..=u64::MAX >> 1, |c| c.backlog_ttl_s, |c, v| c.backlog_ttl_s = v);
    number(
        reg,
        "min-replicas-to-write",
        "min-slaves-to-write",
        0..=int,
        |c| c.min_replicas_to_write.into(),
        |c, v| c.min_replicas_to_write = narrow(v),
    );
    number(
        reg,
        "min-replicas-max-lag",
        "min-slaves-max-lag",
        0..=int,
        |c| c.min_replicas_max_lag_s,
        |c, v| c.min_replicas_max_lag_s = v,
    );
    number(
        reg,
        "repl-diskless-sync-delay",
        "",
        0..=int,
        |c| c.diskless_sync_delay_s,
        |c, v| c.diskless_sync_delay_s = v,
    );
    number(
        reg,
        "repl-diskless-sync-max-replicas",
        "",
        0..=int,
        |c| c.diskless_sync_max_replicas.into(),
        |c, v| c.diskless_sync_max_replicas = narrow(v),
    );
    number(
        reg,
        "replica-announce-port",
        "slave-announce-port",
        0..=65535,
        |c| c.announce_port.unwrap_or(0).into(),
        |c, v| c.announce_port = u16::try_from(v).ok().filter(|p| *p != 0),
    );
    text(
        reg,
        Param::new("replica-announce-ip", "").alias("slave-announce-ip"),
        |c| c.announce_ip.clone(),
        |c, v| c.announce_ip = v,
    );
    text(reg, Param::new("masteruser", ""), |c| c.auth_user.clone(), |c, v| c.auth_user = v);
    text(reg, Param::new("masterauth", "").secret(), |c| c.auth_password.clone(), |c, v| c.auth_password = v);
    filter(reg);
    backlog_size(reg);
    words(reg, "repl-diskless-load", DISKLESS_LOAD, |c| c.diskless_load, |c, v| c.diskless_load = v);
    words(reg, "propagation-error-behavior", ON_ERROR, |c| c.propagation_errors, |c, v| c.propagation_errors = v);
    reg.config_param(
        Param::new("replicaof", "").alias("slaveof").immutable(),
        |p| p.target().map_or(String::new(), |t| format!("{} {}", t.host, t.port)),
        |_, _| Err("can't set immutable config".into()),
    );
}

fn narrow(value: u64) -> u32 {
    u32::try_from(value).unwrap_or(u32::MAX)
}

fn flag(reg: &mut Registrar<Replication>, name: &str, alias: &str, get: Get<bool>, set: Set<bool>) {
    let word = |yes: bool| if yes { "yes" } else { "no" };
    let param = Param::new(name, word(get(&Config::default()))).alias(alias);
    reg.config_param(
        param,
        move |p| word(get(&p.config())).to_string(),
        move |p, value| {
            let value = match value.to_ascii_lowercase().as_str() {
                "yes" => true,
                "no" => false,
                _ => return Err("argument must be 'yes' or 'no'".into()),
            };
            p.change(|c| set(c, value));
            Ok(())
        },
    );
}

fn number(
    reg: &mut Registrar<Replication>,
    name: &str,
    alias: &str,
    range: RangeInclusive<u64>,
    get: Get<u64>,
    set: Set<u64>,
) {
    let param = Param::new(name, get(&Config::default())).alias(alias);
    reg.config_param(
        param,
        move |p| get(&p.config()).to_string(),
        move |p, value| {
            let value = keystead_plugin::integer(value, range.clone())?;
            p.change(|c| set(c, value));
            Ok(())
        },
    );
}

fn text(reg: &mut Registrar<Replication>, param: Param, get: Get<Option<String>>, set: Set<Option<String>>) {
    reg.config_param(
        param,
        move |p| get(&p.config()).unwrap_or_default(),
        move |p, value| {
            let value = (!value.is_empty()).then(|| value.to_string());
            p.change(|c| set(c, value.clone()));
            Ok(())
        },
    );
}

fn filter(reg: &mut Registrar<Replication>) {
    reg.config_param(
        Param::new("keystead-replica-filter", ""),
        |p| p.config().filter.clone().unwrap_or_default(),
        |p, value| {
            if !value.is_empty() && !is_name(value) {
                return Err("argument must be a filter's name: letters, digits, '.', '_' and '-'".into());
            }
            let value = (!value.is_empty()).then(|| value.to_string());
            if p.config().filter != value {
                p.change(|c| c.filter.clone_from(&value));
                // What we have is another part than what we want: the link must ask anew.
                p.follow_anew();
            }
            Ok(())
        },
    );
}

fn backlog_size(reg: &mut Registrar<Replication>) {
    reg.config_param(
        Param::new("repl-backlog-size", Config::default().backlog_size),
        |p| p.config().backlog_size.to_string(),
        |p, value| {
            let bytes = keystead_plugin::memory(value, 1..=u64::MAX >> 1)?;
            p.change(|c| c.backlog_size = bytes.max(BACKLOG_LEAST));
            Ok(())
        },
    );
}

fn words<T: Copy + PartialEq + Sync + 'static>(
    reg: &mut Registrar<Replication>,
    name: &str,
    words: &'static [(T, &'static str)],
    get: Get<T>,
    set: Set<T>,
) {
    let word = |value: T| words.iter().find(|(of, _)| *of == value).map_or("", |(_, word)| word);
    reg.config_param(
        Param::new(name, word(get(&Config::default()))),
        move |p| word(get(&p.config())).to_string(),
        move |p, value| match words.iter().find(|(_, word)| word.eq_ignore_ascii_case(value)) {
            Some((value, _)) => {
                p.change(|c| set(c, *value));
                Ok(())
            }
            None => {
                let all: Vec<&str> = words.iter().map(|(_, word)| *word).collect();
                Err(Error::new(format!("argument(s) must be one of the following: {}", all.join(", "))))
            }
        },
    );
}
