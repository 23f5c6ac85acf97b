//! The settings under Redis' names, for CONFIG GET and SET.

use crate::config::{Config, check_name};
use crate::plugin::PersistenceRdb;
use crate::points;
use keystead_plugin::prelude::*;

type Field<T> = fn(&mut Config) -> &mut T;

/// Declares all of them.
pub(crate) fn register(reg: &mut Registrar<PersistenceRdb>) {
    let defaults = Config::default();
    reg.config_param(
        Param::new("save", points::text(&defaults.save)),
        |p| points::text(&p.config().save),
        |p, value| {
            let points = points::parse(value)?;
            p.change(|config| config.save = points.clone());
            Ok(())
        },
    );
    reg.config_param(
        Param::new("dbfilename", &defaults.dbfilename),
        |p| p.config().dbfilename.clone(),
        |p, value| {
            check_name(value)?;
            p.change(|config| config.dbfilename = value.to_owned());
            Ok(())
        },
    );
    flag(reg, "rdbcompression", |config| &mut config.rdbcompression);
    reg.config_param(
        // As for Redis, set at the start.
        Param::new("rdbchecksum", word(defaults.rdbchecksum)).immutable(),
        |p| word(p.config().rdbchecksum).to_owned(),
        |_, _| Err("can't set immutable config".into()),
    );
    flag(reg, "rdb-save-incremental-fsync", |config| &mut config.rdb_save_incremental_fsync);
    flag(reg, "stop-writes-on-bgsave-error", |config| &mut config.stop_writes_on_bgsave_error);
    number(reg, "rdb-key-save-delay", |config| &mut config.rdb_key_save_delay);
    number(reg, "key-load-delay", |config| &mut config.key_load_delay);
}

fn read<T: Copy>(config: &Config, field: Field<T>) -> T {
    *field(&mut config.clone())
}

fn word(yes: bool) -> &'static str {
    if yes { "yes" } else { "no" }
}

fn flag(reg: &mut Registrar<PersistenceRdb>, name: &str, field: Field<bool>) {
    reg.config_param(
        Param::new(name, word(read(&Config::default(), field))),
        move |p| word(read(&p.config(), field)).to_owned(),
        move |p, value| {
            let value = match value.to_ascii_lowercase().as_str() {
                "yes" => true,
                "no" => false,
                _ => return Err("argument must be 'yes' or 'no'".into()),
            };
            p.change(|config| *field(config) = value);
            Ok(())
        },
    );
}

fn number(reg: &mut Registrar<PersistenceRdb>, name: &str, field: Field<u64>) {
    reg.config_param(
        Param::new(name, read(&Config::default(), field)),
        move |p| read(&p.config(), field).to_string(),
        move |p, value| {
            let value = keystead_plugin::integer(value, 0..=u64::MAX >> 1)?;
            p.change(|config| *field(config) = value);
            Ok(())
        },
    );
}
