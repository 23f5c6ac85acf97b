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
    flag(reg, "rdbchecksum", |config| &mut config.rdbchecksum);
    flag(reg, "rdb-save-incremental-fsync", |config| &mut config.rdb_save_incremental_fsync);
    flag(reg, "stop-writes-on-bgsave-error", |config| &mut config.stop_writes_on_bgsave_error);
    number(reg, "rdb-key-save-delay", |config| &mut config.rdb_key_save_delay);
    number(reg, "key-load-delay", |config| &mut config.key_load_delay);
}

fn read<T: Copy>(config: &Config, field: Field<T>) -> T {
    *field(&mut config.clone())
}

fn flag(reg: &mut Registrar<PersistenceRdb>, name: &str, field: Field<bool>) {
    let word = |yes: bool| if yes { "yes" } else { "no" };
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
            let value: u64 = value.parse().map_err(|_| "argument couldn't be parsed into an integer")?;
            p.change(|config| *field(config) = value);
            Ok(())
        },
    );
}
