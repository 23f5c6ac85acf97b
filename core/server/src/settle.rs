//! Settings and the engine's parameters: what a file says becomes CONFIG's values, what CONFIG SET changed becomes the
//! overlay. What a changed parameter means outside the engine is its group's business (ports, TLS, the log level).

use crate::config::Settings;
use crate::config::overlay::{self, Overlay};
use crate::net::Service;
use crate::users;
use keystead_engine::config::SetError;
use keystead_engine::{Engine, SessionId};
use std::collections::BTreeMap;
use std::sync::Arc;

/// Parameters that belong to the process: an overlay doesn't carry them, the file and the command line do.
const PROCESS: &[&str] = &["dir", "unixsocket", "logfile", "pidfile", "daemonize", "databases"];

/// Gives the engine what the file and the command line say.
pub(crate) fn apply_settings(engine: &mut Engine, settings: &Settings) -> Result<(), String> {
    for setting in settings.settings() {
        let Some(name) = setting.redis else { continue };
        let value = redis_value(name, &setting.value, settings);
        match engine.core.config.init(name, &value) {
            Ok(()) => {}
            Err(SetError::Invalid(_, why)) => return Err(format!("{}: '{value}' is refused: {why}", setting.path)),
            Err(_) => log::debug!("the engine has no parameter '{name}'"),
        }
    }
    engine.apply_config();
    Ok(())
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

/// Gives engines and plugins what CONFIG REWRITE kept. A value that is refused today is told and passed over.
pub(crate) fn apply_overlay(services: &[Arc<Service>], settings: &Settings) {
    let overlay = &settings.overlay;
    for service in services {
        let params =
            if service.name().is_empty() { Some(&overlay.params) } else { overlay.endpoints.get(service.name()) };
        let params = params.into_iter().flatten().map(|(name, value)| (name.clone(), value.clone()));
        // A certificate and its key mean something only together.
        let (tls, single): (Vec<_>, Vec<_>) = params.partition(|(name, _)| name.starts_with("tls-"));
        let sets = single.into_iter().map(|pair| vec![pair]).chain((!tls.is_empty()).then_some(tls));
        for pairs in sets {
            let set = service.turn(|engine| {
                let set = engine.core.config.set(&pairs);
                engine.apply_config();
                set
            });
            let file = settings.overlay_path.display();
            for (name, value) in &pairs {
                match &set {
                    Ok(_) => log::info!("{name} is '{}' by {file}, which CONFIG REWRITE wrote", shown(name, value)),
                    Err(error) => log::warn!("{file}: '{name}' is passed over: {error:?}"),
                }
            }
        }
    }
    users::from_overlay(services, settings);
}

/// Secrets don't reach the log.
fn shown<'a>(name: &str, value: &'a str) -> &'a str {
    if name.contains("pass") || name.contains("auth") || name.contains("user") { "(hidden)" } else { value }
}

/// CONFIG REWRITE: writes the overlay and answers the session that waits.
pub(crate) fn rewrite(
    services: &[Arc<Service>],
    asked: &Arc<Service>,
    settings: &Settings,
    reply: Option<(SessionId, u64)>,
) {
    let answer = match write_overlay(services, settings) {
        Ok(()) => "+OK\r\n".to_owned(),
        Err(why) => {
            log::warn!("CONFIG REWRITE failed: {why}");
            format!("-ERR Rewriting config file: {why}\r\n")
        }
    };
    if let Some((session, ticket)) = reply {
        asked.turn(|engine| engine.complete(session, ticket, answer.as_bytes()));
    }
}

/// Writes what differs from file and command line, of all engines, atomically.
pub(crate) fn write_overlay(services: &[Arc<Service>], settings: &Settings) -> Result<(), String> {
    let mut overlay = Overlay::default();
    for service in services {
        let changed = service.turn(|engine| engine.core.config.changed_params());
        let kept = changed.into_iter().filter(|(name, ..)| !PROCESS.contains(&name.as_str()));
        let params: BTreeMap<String, String> = kept.map(|(name, value, _)| (name, value)).collect();
        if let Some(lines) = service.turn(|engine| engine.changed_users()).filter(|_| !users::in_a_file(service)) {
            overlay.users.insert(service.name().to_owned(), lines);
        }
        if service.name().is_empty() {
            overlay.params = params;
        } else if !params.is_empty() {
            overlay.endpoints.insert(service.name().to_owned(), params);
        }
    }
    overlay::write(&settings.overlay_path, &overlay)
        .map_err(|e| format!("{}: {e}", settings.overlay_path.display()))?;
    log::info!("CONFIG REWRITE wrote {}", settings.overlay_path.display());
    Ok(())
}
