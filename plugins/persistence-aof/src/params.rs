//! The settings under Redis' names, for CONFIG GET and SET. Owns the table from name to field and Redis' error texts.

use crate::config::Config;
use crate::machine::Fsync;
use crate::plugin::Aof;
use keystead_plugin::prelude::*;

type Get<T> = fn(&Config) -> T;
type Set<T> = fn(&mut Config, T);

/// Declares all of them.
pub(crate) fn register(reg: &mut Registrar<Aof>) {
    flag(reg, "appendonly", |c| c.enabled, |c, v| c.enabled = v);
    flag(reg, "no-appendfsync-on-rewrite", |c| c.no_fsync_on_rewrite, |c, v| c.no_fsync_on_rewrite = v);
    flag(reg, "aof-rewrite-incremental-fsync", |c| c.rewrite_incremental_fsync, |c, v| c.rewrite_incremental_fsync = v);
    flag(reg, "aof-load-truncated", |c| c.load_truncated, |c, v| c.load_truncated = v);
    flag(reg, "aof-use-rdb-preamble", |c| c.rdb_preamble, |c, v| c.rdb_preamble = v);
    flag(reg, "aof-disable-auto-gc", |c| c.keep_history, |c, v| c.keep_history = v);
    flag(reg, "aof-timestamp-enabled", |c| c.timestamps, |c, v| c.timestamps = v);
    reg.config_param(
        Param::new("auto-aof-rewrite-percentage", Config::default().rewrite_percentage),
        |p| p.config().rewrite_percentage.to_string(),
        |p, value| {
            let value = keystead_plugin::integer(value, 0..=i32::MAX as u64)?;
            p.change(|c| c.rewrite_percentage = value);
            Ok(())
        },
    );
    reg.config_param(
        Param::new("auto-aof-rewrite-min-size", Config::default().rewrite_min_size),
        |p| p.config().rewrite_min_size.to_string(),
        |p, value| {
            let bytes = keystead_plugin::memory(value, 0..=u64::MAX >> 1)?;
            p.change(|c| c.rewrite_min_size = bytes);
            Ok(())
        },
    );
    fsync(reg);
    name(reg, "appendfilename", |c| c.file_name.clone());
    name(reg, "appenddirname", |c| c.dir_name.clone());
}

fn flag(reg: &mut Registrar<Aof>, name: &str, get: Get<bool>, set: Set<bool>) {
    let word = |yes: bool| if yes { "yes" } else { "no" };
    reg.config_param(
        Param::new(name, word(get(&Config::default()))),
        move |p| word(get(&p.config())).to_owned(),
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

fn fsync(reg: &mut Registrar<Aof>) {
    const WORDS: [(Fsync, &str); 3] = [(Fsync::Everysec, "everysec"), (Fsync::Always, "always"), (Fsync::No, "no")];
    reg.config_param(
        Param::new("appendfsync", "everysec"),
        |p| WORDS.iter().find(|(mode, _)| *mode == p.config().fsync).map_or("", |(_, word)| word).to_owned(),
        |p, value| match WORDS.iter().find(|(_, word)| word.eq_ignore_ascii_case(value)) {
            Some((mode, _)) => {
                p.change(|c| c.fsync = *mode);
                Ok(())
            }
            None => Err("argument(s) must be one of the following: everysec, always, no".into()),
        },
    );
}

fn name(reg: &mut Registrar<Aof>, name: &str, get: Get<String>) {
    let param = Param::new(name, get(&Config::default())).immutable();
    reg.config_param(param, move |p| get(&p.config()), |_, _| Err("can't set immutable config".into()));
}
