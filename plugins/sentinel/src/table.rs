//! The settings of a monitored primary as one table: the name in RON and in the state file, the name in SENTINEL SET, what
//! it takes, whether SENTINEL MASTER shows it and whether it can be spread to the group. RON (`fields`), SENTINEL SET,
//! the reply of MASTER, the state file and the wire between sentinels all read it; nothing else lists settings.

use crate::settings::Settings;
use crate::wire::integer;
use std::collections::BTreeMap;

/// Where a setting is kept.
pub struct At<T: 'static> {
    of: fn(&Settings) -> &T,
    of_mut: fn(&mut Settings) -> &mut T,
}

/// What a setting takes, and its place.
pub enum Kind {
    /// A number from 1 to 4294967295.
    Count(At<u32>),
    /// Milliseconds, at least 1.
    Ms(At<u64>),
    /// Milliseconds, 0 for never.
    Period(At<u64>),
    /// `yes` or `no`; in RON `true` or `false`.
    YesNo(At<bool>),
    /// A word; nothing takes it away.
    Text(At<Option<String>>),
    /// A password: never shown.
    Secret(At<Option<String>>),
    /// The path of a program, and what Redis calls it.
    Script(At<Option<String>>, &'static str),
    /// A strategy's name; whether there is one of that name is known to the machine.
    Strategy(At<String>),
    /// A command and its other name, one pair at a time.
    Renames(At<BTreeMap<String, String>>),
}

/// When SENTINEL MASTER shows it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shown {
    /// Always.
    Always,
    /// If it isn't what it is by default: Redis has no such field, or shows it only then.
    Changed,
    /// Never here.
    No,
}

/// One setting.
pub struct Setting {
    /// Its field in RON and in the state file.
    pub field: &'static str,
    /// Its name in SENTINEL SET, and in the reply of SENTINEL MASTER.
    pub option: &'static str,
    /// What it takes.
    pub kind: Kind,
    /// `SENTINEL SET … GROUP` takes it: what a primary needs everywhere, and no path or password of one host.
    pub spreads: bool,
    /// In SENTINEL MASTER.
    pub shown: Shown,
}

macro_rules! at {
    ($field:ident) => {
        At { of: |s| &s.$field, of_mut: |s| &mut s.$field }
    };
}

const fn row(field: &'static str, option: &'static str, kind: Kind, spreads: bool, shown: Shown) -> Setting {
    Setting { field, option, kind, spreads, shown }
}

/// All settings, in the order in which SENTINEL MASTER shows them. Defaults are `Settings::new`'s.
pub static TABLE: &[Setting] = &[
    row("quorum", "quorum", Kind::Count(at!(quorum)), true, Shown::Always),
    row("failover_timeout_ms", "failover-timeout", Kind::Ms(at!(failover_timeout_ms)), true, Shown::Always),
    row("parallel_syncs", "parallel-syncs", Kind::Count(at!(parallel_syncs)), true, Shown::Always),
    row(
        "notification_script",
        "notification-script",
        Kind::Script(at!(notification_script), "Notification"),
        false,
        Shown::Changed,
    ),
    row(
        "client_reconfig_script",
        "client-reconfig-script",
        Kind::Script(at!(client_reconfig_script), "Client reconfiguration"),
        false,
        Shown::Changed,
    ),
    row("election", "election-strategy", Kind::Strategy(at!(election)), true, Shown::Changed),
    row("selection", "selection-strategy", Kind::Strategy(at!(selection)), true, Shown::Changed),
    // Every instance shows it, not only the primary.
    row("down_after_ms", "down-after-milliseconds", Kind::Ms(at!(down_after_ms)), true, Shown::No),
    row("fast_detection", "fast-detection", Kind::YesNo(at!(fast_detection)), true, Shown::No),
    row(
        "reboot_down_after_ms",
        "master-reboot-down-after-period",
        Kind::Period(at!(reboot_down_after_ms)),
        true,
        Shown::No,
    ),
    row("forget_after_ms", "forget-sentinels-after", Kind::Period(at!(forget_after_ms)), true, Shown::No),
    row(
        "forget_replicas_after_ms",
        "forget-replicas-after",
        Kind::Period(at!(forget_replicas_after_ms)),
        true,
        Shown::No,
    ),
    row("auth_user", "auth-user", Kind::Text(at!(auth_user)), false, Shown::No),
    row("auth_pass", "auth-pass", Kind::Secret(at!(auth_pass)), false, Shown::No),
    row("renamed_commands", "rename-command", Kind::Renames(at!(renamed_commands)), false, Shown::No),
];

/// The setting that SENTINEL SET calls so.
#[must_use]
pub fn option(name: &str) -> Option<&'static Setting> {
    TABLE.iter().find(|setting| setting.option.eq_ignore_ascii_case(name))
}

/// The setting that RON calls so.
#[must_use]
pub fn field(name: &str) -> Option<&'static Setting> {
    TABLE.iter().find(|setting| setting.field == name)
}

impl Setting {
    /// Sets it from its text (`rename-command`: two words with a blank between).
    ///
    /// # Errors
    /// What it takes, in words; nothing has changed.
    pub fn set(&self, settings: &mut Settings, value: &str) -> Result<(), &'static str> {
        let word = || (!value.is_empty()).then(|| value.to_owned());
        let number = || integer(value).and_then(|n| u64::try_from(n).ok());
        let positive = || number().filter(|n| *n > 0).ok_or("must be at least 1");
        match &self.kind {
            Kind::Count(at) => {
                *(at.of_mut)(settings) = u32::try_from(positive()?).map_err(|_| "must be below 4294967296")?;
            }
            Kind::Ms(at) => *(at.of_mut)(settings) = positive()?,
            Kind::Period(at) => *(at.of_mut)(settings) = number().ok_or("must be 0 or more")?,
            Kind::YesNo(at) => {
                *(at.of_mut)(settings) = match value.to_ascii_lowercase().as_str() {
                    "yes" => true,
                    "no" => false,
                    _ => return Err("must be yes or no"),
                }
            }
            Kind::Text(at) | Kind::Secret(at) | Kind::Script(at, _) => *(at.of_mut)(settings) = word(),
            Kind::Strategy(at) => value.clone_into((at.of_mut)(settings)),
            Kind::Renames(at) => {
                let pair = value.split_once(' ').filter(|(old, new)| !old.is_empty() && !new.is_empty());
                let (old, new) = pair.ok_or("a command can't have an empty name")?;
                let renames = (at.of_mut)(settings);
                match old.eq_ignore_ascii_case(new) {
                    true => renames.remove(&old.to_ascii_uppercase()),
                    false => renames.insert(old.to_ascii_uppercase(), new.to_owned()),
                };
            }
        }
        Ok(())
    }

    /// Gives it the value that it has in other settings.
    pub fn copy(&self, from: &Settings, to: &mut Settings) {
        match &self.kind {
            Kind::Count(at) => *(at.of_mut)(to) = *(at.of)(from),
            Kind::Ms(at) | Kind::Period(at) => *(at.of_mut)(to) = *(at.of)(from),
            Kind::YesNo(at) => *(at.of_mut)(to) = *(at.of)(from),
            Kind::Text(at) | Kind::Secret(at) | Kind::Script(at, _) => (at.of_mut)(to).clone_from((at.of)(from)),
            Kind::Strategy(at) => (at.of_mut)(to).clone_from((at.of)(from)),
            Kind::Renames(at) => (at.of_mut)(to).clone_from((at.of)(from)),
        }
    }

    /// Its value as the texts that `set` takes: one, or none for what isn't there, or one for each renamed command.
    #[must_use]
    pub fn texts(&self, settings: &Settings) -> Vec<String> {
        match &self.kind {
            Kind::Count(at) => vec![(at.of)(settings).to_string()],
            Kind::Ms(at) | Kind::Period(at) => vec![(at.of)(settings).to_string()],
            Kind::YesNo(at) => vec![if *(at.of)(settings) { "yes" } else { "no" }.to_owned()],
            Kind::Text(at) | Kind::Secret(at) | Kind::Script(at, _) => (at.of)(settings).iter().cloned().collect(),
            Kind::Strategy(at) => vec![(at.of)(settings).clone()],
            Kind::Renames(at) => (at.of)(settings).iter().map(|(old, new)| format!("{old} {new}")).collect(),
        }
    }

    /// What SENTINEL MASTER shows of it.
    #[must_use]
    pub fn shown(&self, settings: &Settings) -> Option<String> {
        let text = self.texts(settings).into_iter().next()?;
        match self.shown {
            Shown::Always => Some(text),
            Shown::Changed => (self.texts(&Settings::new(1)).first() != Some(&text)).then_some(text),
            Shown::No => None,
        }
    }

    /// How many words stand behind it in SENTINEL SET.
    #[must_use]
    pub const fn words(&self) -> usize {
        if matches!(self.kind, Kind::Renames(_)) { 2 } else { 1 }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_setting_is_set_and_read_back_under_each_of_its_names() {
        for setting in TABLE {
            let mut settings = Settings::new(1);
            let value = match setting.kind {
                Kind::Count(_) | Kind::Ms(_) | Kind::Period(_) => "77",
                Kind::YesNo(_) => "yes",
                Kind::Renames(_) => "GET FETCH",
                _ => "word",
            };
            setting.set(&mut settings, value).unwrap();
            assert_eq!(setting.texts(&settings), [value], "{}", setting.option);
            assert_ne!(settings, Settings::new(1), "{}", setting.option);
            let mut copy = Settings::new(1);
            setting.copy(&settings, &mut copy);
            assert_eq!(copy, settings, "{}", setting.option);
            setting.copy(&Settings::new(1), &mut copy);
            assert_eq!(copy, Settings::new(1), "{}", setting.option);
            assert!(std::ptr::eq(option(setting.option).unwrap(), setting));
            assert!(std::ptr::eq(field(setting.field).unwrap(), setting));
        }
    }

    #[test]
    fn what_spreads_is_what_the_room_says() {
        let spread: Vec<&str> = TABLE.iter().filter(|s| s.spreads).map(|s| s.option).collect();
        let said = "quorum failover-timeout parallel-syncs election-strategy selection-strategy \
                    down-after-milliseconds fast-detection master-reboot-down-after-period \
                    forget-sentinels-after forget-replicas-after";
        assert_eq!(spread.join(" "), said);
        assert!(TABLE.iter().all(|s| !s.spreads || !matches!(s.kind, Kind::Secret(_) | Kind::Script(..))));
    }
}
