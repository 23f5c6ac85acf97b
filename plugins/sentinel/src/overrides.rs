//! What SENTINEL SET left in the state file, beside a configuration file that says otherwise: told at the start, setting by
//! setting, and taken back by `SENTINEL SET name UNSET option`. Owns that comparison and the record; SET's words are
//! spread.rs'.

use crate::actions::Shared;
use crate::events::Level;
use crate::monitor::Monitor;
use crate::settings::{Settings, unknown};
use crate::table::{self, Kind, Setting, TABLE};

/// Behind SENTINEL SET, in an option's place: no option is called so, so no value can be taken for it.
pub(crate) const UNSET: &str = "unset";

/// One setting that changes at run time.
pub(crate) struct Change {
    pub(crate) setting: &'static Setting,
    /// Its new value; nothing: what the configuration file says.
    pub(crate) value: Option<String>,
}

impl Change {
    pub(crate) const fn to(setting: &'static Setting, value: String) -> Change {
        Change { setting, value: Some(value) }
    }
}

impl Monitor {
    /// Gives a setting back the value of the configuration file.
    ///
    /// # Errors
    /// No such option, or a primary that SENTINEL MONITOR added.
    pub(crate) fn unset(&self, option: Option<&String>, settings: &mut Settings) -> Result<Change, String> {
        let setting = option.and_then(|option| table::option(option));
        let setting = setting.ok_or_else(|| unknown(option.map_or(UNSET, String::as_str)))?;
        let file = self.file.as_ref().ok_or_else(|| {
            format!("ERR '{}' isn't in the configuration file, so there is nothing to go back to", self.name)
        })?;
        setting.copy(file, settings);
        Ok(Change { setting, value: None })
    }

    /// What is kept for the next start. Each renamed command is an option of its own, until all are given back.
    pub(crate) fn note_override(&mut self, change: &Change) {
        let Change { setting, value } = change;
        let same = |known: &str, of: &str| {
            let one = value.as_ref().filter(|_| setting.words() > 1);
            known == setting.option && one.is_none_or(|value| first_word(of) == first_word(value))
        };
        self.overrides.retain(|(known, of)| !same(known, of));
        self.overrides.extend(value.iter().map(|value| (setting.option.to_owned(), value.clone())));
    }

    /// At a start: whoever edited the file hears what isn't taken from it, and how to change that.
    pub(crate) fn tell_overrides(&self, s: &mut Shared) {
        let Some(file) = &self.file else { return };
        let kept = |setting: &&Setting| self.overrides.iter().any(|(option, _)| option == setting.option);
        for setting in TABLE.iter().filter(kept) {
            if setting.texts(&self.settings) == setting.texts(file) {
                continue;
            }
            let (now, given) = (shown(setting, &self.settings), shown(setting, file));
            let (name, option) = (&self.name, setting.option);
            let group = self.spread.entries.iter().any(|entry| entry.option == option);
            let how = if group { "SENTINEL SET ... GROUP" } else { "SENTINEL SET" };
            s.log(
                Level::Warning,
                format!(
                    "{name}: {option} {now} from the state file ({how}) overrides {given} from the configuration file; \
                     SENTINEL SET {name} UNSET {option} takes it back"
                ),
            );
        }
    }
}

/// A setting's value for people.
pub(crate) fn shown(setting: &Setting, settings: &Settings) -> String {
    let texts = setting.texts(settings);
    match &setting.kind {
        _ if texts.is_empty() => "(none)".into(),
        Kind::Secret(_) => "******".into(),
        _ => texts.join(", "),
    }
}

fn first_word(text: &str) -> String {
    text.split(' ').next().unwrap_or_default().to_ascii_uppercase()
}
