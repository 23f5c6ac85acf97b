//! Settings and the engine's parameters: what a file says becomes CONFIG's values, what CONFIG SET changed becomes the
//! overlay. What a changed parameter means outside the engine is its group's business (ports, TLS, the log level).

use crate::config::overlay::{self, Overlay};
use crate::config::report::nearest;
use crate::config::{ConfigError, Settings};
use crate::net::Service;
use crate::users;
use keystead_engine::Engine;
use keystead_engine::config::{Config, SetError};
use parking_lot::Mutex;
use std::collections::BTreeMap;
use std::sync::Arc;

/// Gives the engine what the file and the command line say.
pub(crate) fn apply_settings(engine: &mut Engine, settings: &Settings) -> Result<(), ConfigError> {
    for setting in settings.settings() {
        let Some(name) = setting.redis else { continue };
        let value = redis_value(name, &setting.value, settings);
        match engine.core.config.init(name, &value) {
            Ok(()) => {}
            Err(SetError::Invalid(_, why)) => {
                let meant = meant(&value, &why).map(|word| format!("did you mean '{word}'?"));
                let message = format!("{}: '{value}' is refused: {why}", setting.path);
                return Err(settings.source.blame(setting.path, message, meant));
            }
            Err(_) => log::debug!("the engine has no parameter '{name}'"),
        }
    }
    engine.apply_config();
    Ok(())
}

/// The word that was meant, of those that the refusal lists.
fn meant<'w>(value: &str, why: &'w str) -> Option<&'w str> {
    let (_, words) = why.split_once("one of the following: ")?;
    nearest(value, words.split(", "))
}

/// What CONFIG shows where it differs from the file's word.
fn redis_value(name: &str, value: &str, settings: &Settings) -> String {
    match name {
        "dir" => settings.dir.display().to_string(),
        "loglevel" if value == "info" => "notice".into(),
        "loglevel" if value == "error" => "warning".into(),
        "unixsocketperm" if value.is_empty() => "0".into(),
        _ => value.into(),
    }
}

/// Gives engines and plugins what CONFIG REWRITE kept. What the command line gives passes it over: `given` are the
/// parameters of plugins, each with its path. A value that is refused today is told and passed over too; only a folder
/// that can't be worked in is an error, because the data would seem to be gone, and a user that can't be read. Gives what
/// the log was warned of.
pub(crate) fn apply_overlay(
    services: &[Arc<Service>],
    settings: &Settings,
    given: &BTreeMap<String, String>,
) -> Result<Vec<String>, String> {
    let (mut overlay, file) = (settings.overlay.clone(), settings.overlay_path.display());
    let gave_way = overlay.give_way(|_, param| given.get(param).cloned());
    let gave_way = gave_way.iter().map(|gone| gone.told(&settings.overlay_path));
    let mut warnings: Vec<String> = settings.remarks.iter().cloned().chain(gave_way).collect();
    warnings.iter().for_each(|line| log::warn!("{line}"));
    for service in services {
        let params =
            if service.name().is_empty() { Some(&overlay.params) } else { overlay.endpoints.get(service.name()) };
        for pairs in in_order(params.into_iter().flatten()) {
            let set = service.turn(|engine| set_beside(engine, &pairs, given));
            for (name, value) in &pairs {
                match &set {
                    Ok(()) => {
                        let secret = service.turn(|engine| is_secret(&engine.core.config, name));
                        let shown = if secret { "(hidden)" } else { value };
                        log::info!("{name} is '{shown}' by {file}, which CONFIG REWRITE wrote");
                    }
                    Err(SetError::Invalid(_, why)) if name == "dir" => {
                        return Err(format!("{file}: can't work in the folder {value} that 'dir' names: {why}"));
                    }
                    Err(error) => {
                        let line = format!("{file}: '{name}' is passed over: {}", words(error));
                        log::warn!("{line}");
                        warnings.push(line);
                    }
                }
            }
        }
    }
    users::from_overlay(services, settings)?;
    Ok(warnings)
}

/// An error of CONFIG SET for the log.
fn words(error: &SetError) -> String {
    match error {
        SetError::Unknown(_) => "no such parameter; the plugin that had it may not be loaded".into(),
        SetError::Invalid(_, why) => why.clone(),
        SetError::Immutable(_) => "it can't be set at run time".into(),
        SetError::Twice(_) => "it is there twice".into(),
    }
}

/// What is set together, in order: the folder first, from which other files are named; a certificate with its key.
fn in_order<'p>(params: impl Iterator<Item = (&'p String, &'p String)>) -> Vec<Vec<(String, String)>> {
    let pairs = params.map(|(name, value)| (name.clone(), value.clone()));
    let (tls, single): (Vec<_>, Vec<_>) = pairs.partition(|(name, _)| name.starts_with("tls-"));
    let (dir, others): (Vec<_>, Vec<_>) = single.into_iter().partition(|(name, _)| name == "dir");
    let single = dir.into_iter().chain(others).map(|pair| vec![pair]);
    single.chain((!tls.is_empty()).then_some(tls)).collect()
}

/// Sets what was kept. A plugin may have two names for one thing: what the command line gives stays what it is.
fn set_beside(
    engine: &mut Engine,
    pairs: &[(String, String)],
    given: &BTreeMap<String, String>,
) -> Result<(), SetError> {
    let now = |engine: &Engine, name: &String| engine.core.config.get(name).map(|value| (name.clone(), value));
    let before: Vec<_> = given.keys().filter_map(|name| now(engine, name)).collect();
    let set = engine.core.config.set(pairs);
    let moved = before.into_iter().filter(|(name, value)| engine.core.config.get(name).as_ref() != Some(value));
    for pair in moved.collect::<Vec<_>>() {
        log::warn!("'{}' stays as the command line gives it, beside what CONFIG REWRITE kept", pair.0);
        engine.core.config.set(&[pair])?;
    }
    engine.apply_config();
    set
}

/// What doesn't reach the log.
fn is_secret(config: &Config, name: &str) -> bool {
    name.contains("pass") || name.contains("auth") || name.contains("user") || config.is_plugins_secret(name)
}

/// Somebody cares whether it was chosen, whatever it is (`Config::rdb_version_is_chosen`).
const CHOSEN: &str = "rdb-version";

/// What CONFIG REWRITE goes by: what is in the overlay, and what would hold without one.
#[derive(Default)]
pub(crate) struct Basis(Mutex<Known>);

#[derive(Default)]
struct Known {
    /// As it was read, then as it was written last.
    overlay: Overlay,
    /// Parameters by file and command line, by the port's name.
    given: BTreeMap<String, BTreeMap<String, Given>>,
}

/// A parameter before the overlay.
struct Given {
    value: String,
    /// The plugin that has it.
    owner: Option<String>,
}

impl Basis {
    /// Looks at all parameters: the plugins are there, and the overlay isn't in force yet.
    pub(crate) fn look(&self, services: &[Arc<Service>], settings: &Settings) {
        let mut known = self.0.lock();
        known.overlay.clone_from(&settings.overlay);
        known.given = services.iter().map(|service| (service.name().to_owned(), service.turn(given))).collect();
    }

    /// Writes what differs from file and command line, of all engines, atomically.
    pub(crate) fn write_overlay(&self, services: &[Arc<Service>], settings: &Settings) -> Result<(), String> {
        // One at a time: a plugin may ask for it as well as a client.
        let mut known = self.0.lock();
        let overlay = known.overlay_now(services)?;
        overlay::write(&settings.overlay_path, &overlay)
            .map_err(|e| format!("{}: {e}", settings.overlay_path.display()))?;
        log::info!("CONFIG REWRITE wrote {}", settings.overlay_path.display());
        known.overlay = overlay;
        Ok(())
    }

    /// CONFIG REWRITE: writes the overlay; what is to be answered.
    pub(crate) fn rewrite(&self, services: &[Arc<Service>], settings: &Settings) -> String {
        match self.write_overlay(services, settings) {
            Ok(()) => "+OK\r\n".to_owned(),
            Err(why) => {
                log::warn!("CONFIG REWRITE failed: {why}");
                not_rewritten(&why)
            }
        }
    }
}

/// CONFIG REWRITE's error.
pub(crate) fn not_rewritten(why: &str) -> String {
    format!("-ERR Rewriting config file: {why}\r\n")
}

fn given(engine: &mut Engine) -> BTreeMap<String, Given> {
    let config = &engine.core.config;
    let owned = |name: &str| config.owner(name).map(str::to_owned);
    let all = config.matching(&[b"*"]).into_iter();
    all.map(|(name, value)| (name.clone(), Given { value, owner: owned(&name) })).collect()
}

impl Known {
    fn overlay_now(&self, services: &[Arc<Service>]) -> Result<Overlay, String> {
        // What was kept for ports of plugins that aren't loaded today: they may be back tomorrow.
        let mut overlay = self.overlay.clone();
        let gone = |port: &String| services.iter().all(|service| service.name() != port.as_str());
        overlay.endpoints.retain(|port, _| gone(port));
        overlay.users.retain(|port, _| gone(port));
        for service in services {
            let name = service.name();
            let params = service.turn(|engine| self.params(name, &engine.core.config));
            let users = if users::in_a_file(service) { None } else { service.turn(|engine| engine.changed_users())? };
            if let Some(lines) = users {
                overlay.users.insert(name.to_owned(), lines);
            }
            if name.is_empty() {
                overlay.params = params;
            } else if !params.is_empty() {
                overlay.endpoints.insert(name.to_owned(), params);
            }
        }
        Ok(overlay)
    }

    /// The parameters of one engine that go into the overlay. One whose plugin isn't there any more, or not today, stays as
    /// it was kept; one that is as file and command line give it would only hide later changes of the file.
    fn params(&self, port: &str, config: &Config) -> BTreeMap<String, String> {
        let given = |name: &str| self.given.get(port).and_then(|all| all.get(name));
        let lost = |name: &str| given(name).is_some_and(|given| given.owner.as_deref() != config.owner(name));
        let kept = if port.is_empty() { Some(&self.overlay.params) } else { self.overlay.endpoints.get(port) };
        let absent = kept.into_iter().flatten().filter(|(name, _)| config.get(name).is_none() || lost(name));
        let absent = absent.map(|(name, value)| (name.clone(), value.clone()));
        let changed = config.changed_params().into_iter().map(|(name, value, _)| (name, value));
        let same = |name: &str, value: &str| name != CHOSEN && given(name).is_some_and(|given| given.value == value);
        absent.chain(changed.filter(|(name, value)| !lost(name) && !same(name, value))).collect()
    }
}
