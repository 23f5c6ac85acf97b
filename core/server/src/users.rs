//! Users and files: those of the configuration at the start, ACL LOAD and SAVE, those that CONFIG REWRITE kept. The rules
//! are the engine's; this reads and writes texts.

use crate::config::Settings;
use crate::net::Service;
use keystead_engine::SessionId;
use std::fs::File;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Gives every engine the users of the configuration. Plugins must have brought their commands: rules name them.
pub(crate) fn load(services: &[Arc<Service>], settings: &Settings) -> Result<(), String> {
    let server = &settings.server;
    for service in services {
        let lines =
            if service.name().is_empty() { Some(&server.users) } else { server.endpoint_users.get(service.name()) };
        let lines = lines.map(|lines| lines.iter().map(|line| as_line(line)).collect::<Vec<_>>()).unwrap_or_default();
        if in_a_file(service) {
            if !lines.is_empty() {
                return Err("server.users and server.aclfile can't both be set: users are in one place".into());
            }
            read(service, settings)?;
        } else {
            let place = if service.name().is_empty() { "server.users" } else { "server.endpoint_users" };
            service.turn(|engine| engine.add_users(lines.join("\n").as_bytes(), place))?;
        }
    }
    let known = |name: &&String| services.iter().any(|service| service.name() == name.as_str());
    match server.endpoint_users.keys().find(|name| !known(name)) {
        Some(name) => Err(format!("server.endpoint_users: no plugin has a port called '{name}'")),
        None => Ok(()),
    }
}

/// The word `user` may be left out in the configuration.
fn as_line(text: &str) -> String {
    if text.starts_with("user ") { text.to_owned() } else { format!("user {text}") }
}

/// The engine's users are in an ACL file. Ports of plugins have none.
pub(crate) fn in_a_file(service: &Arc<Service>) -> bool {
    service.name().is_empty() && service.turn(|engine| engine.core.config.get("aclfile")).is_some_and(|f| !f.is_empty())
}

/// The file and how it was written in the configuration.
fn place(service: &Arc<Service>, settings: &Settings) -> (PathBuf, String) {
    let name = service.turn(|engine| engine.core.config.get("aclfile")).unwrap_or_default();
    (settings.dir.join(&name), name)
}

fn read(service: &Arc<Service>, settings: &Settings) -> Result<(), String> {
    let (path, name) = place(service, settings);
    let text = std::fs::read(path).map_err(|e| format!("Error loading ACLs, opening file '{name}': {e}"))?;
    service.turn(|engine| engine.load_users(&text, &name))
}

/// ACL LOAD (without a text) and ACL SAVE.
pub(crate) fn file(
    service: &Arc<Service>,
    settings: &Settings,
    save: Option<Vec<u8>>,
    reply: Option<(SessionId, u64)>,
) {
    let done = match save {
        None => read(service, settings),
        Some(text) => write(&place(service, settings).0, &text).map_err(|e| {
            log::warn!("ACL SAVE failed: {e}");
            "There was an error trying to save the ACLs. Please check the server logs for more information".to_owned()
        }),
    };
    let answer = match done {
        Ok(()) => "+OK\r\n".to_owned(),
        Err(why) => format!("-ERR {}\r\n", why.replace(['\r', '\n'], " ")),
    };
    if let Some((session, ticket)) = reply {
        service.turn(|engine| engine.complete(session, ticket, answer.as_bytes()));
    } else if answer.starts_with('-') {
        log::warn!("An ACL file command of a transaction failed: {}", answer.trim_end());
    }
}

/// A crash leaves the old file or the new one.
fn write(path: &Path, text: &[u8]) -> io::Result<()> {
    let temporary = path.with_extension(format!("tmp-{}", std::process::id()));
    let mut file = File::create(&temporary)?;
    file.write_all(text)?;
    file.sync_all()?;
    std::fs::rename(&temporary, path)?;
    let dir = path.parent().filter(|dir| !dir.as_os_str().is_empty()).unwrap_or(Path::new("."));
    File::open(dir)?.sync_all()
}

/// Users that CONFIG REWRITE kept. Those that can't be used today are told and passed over.
pub(crate) fn from_overlay(services: &[Arc<Service>], settings: &Settings) {
    for (name, lines) in &settings.overlay.users {
        let Some(service) = services.iter().find(|service| service.name() == name && !in_a_file(service)) else {
            continue;
        };
        let file = settings.overlay_path.display().to_string();
        let set = service.turn(|engine| {
            engine.load_users(lines.join("\n").as_bytes(), &file)?;
            engine.keep_users();
            Ok::<(), String>(())
        });
        match set {
            Ok(()) => log::info!("{} users by {file}, which CONFIG REWRITE wrote", lines.len()),
            Err(why) => log::warn!("The users in {file} are passed over: {why}"),
        }
    }
}
