//! Users and files: those of the configuration at the start, ACL LOAD and SAVE, those that CONFIG REWRITE kept. The rules
//! are the engine's; this reads and writes texts.

use crate::config::Settings;
use crate::net::Service;
use crate::replace::replace;
use keystead_engine::{Engine, SessionId};
use std::io;
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

/// What the file holds, and its name.
fn text(service: &Arc<Service>, settings: &Settings) -> Result<(Vec<u8>, String), String> {
    let (path, name) = place(service, settings);
    let text = std::fs::read(path);
    let text = text.map_err(|e| format!("Error loading ACLs, opening file '{name}': {}", as_c_says(&e)))?;
    Ok((text, name))
}

/// An error of the system without its number.
fn as_c_says(error: &io::Error) -> String {
    let text = error.to_string();
    text.split(" (os error ").next().unwrap_or(&text).to_owned()
}

fn read(service: &Arc<Service>, settings: &Settings) -> Result<(), String> {
    let (text, name) = text(service, settings)?;
    service.turn(|engine| engine.load_users(&text, &name))
}

/// ACL LOAD (without a text) and ACL SAVE.
pub(crate) fn file(
    service: &Arc<Service>,
    settings: &Settings,
    save: Option<Vec<u8>>,
    reply: Option<(SessionId, u64)>,
) {
    match save {
        None => {
            let text = text(service, settings);
            service.turn(|engine| {
                let done = text.and_then(|(text, name)| match reply {
                    Some((session, _)) => engine.load_users_for(session, &text, &name),
                    None => engine.load_users(&text, &name),
                });
                answer(engine, done, reply);
            });
        }
        Some(text) => {
            let done = write(&place(service, settings).0, &text).map_err(|e| {
                log::warn!("ACL SAVE failed: {e}");
                "There was an error trying to save the ACLs. Please check the server logs for more information"
                    .to_owned()
            });
            service.turn(|engine| answer(engine, done, reply));
        }
    }
}

fn answer(engine: &mut Engine, done: Result<(), String>, reply: Option<(SessionId, u64)>) {
    let answer = match done {
        Ok(()) => "+OK\r\n".to_owned(),
        Err(why) => format!("-ERR {}\r\n", why.replace(['\r', '\n'], " ")),
    };
    if let Some((session, ticket)) = reply {
        engine.complete(session, ticket, answer.as_bytes());
    } else if answer.starts_with('-') {
        log::warn!("An ACL file command of a transaction failed: {}", answer.trim_end());
    }
}

fn write(path: &Path, text: &[u8]) -> io::Result<()> {
    replace(path, &path.with_extension(format!("tmp-{}", std::process::id())), text)
}

/// Users that CONFIG REWRITE kept. One that can't be read refuses the start: without it, who was locked out would be in.
pub(crate) fn from_overlay(services: &[Arc<Service>], settings: &Settings) -> Result<(), String> {
    let file = settings.overlay_path.display().to_string();
    for (name, lines) in &settings.overlay.users {
        let Some(service) = services.iter().find(|service| service.name() == name) else { continue };
        if in_a_file(service) {
            log::warn!("The users in {file} are passed over: those of aclfile count");
            continue;
        }
        service.turn(|engine| {
            engine.load_users(lines.join("\n").as_bytes(), &file).map_err(|why| blame(engine, lines, &file, why))?;
            engine.keep_users();
            Ok::<(), String>(())
        })?;
        log::info!("{} users by {file}, which CONFIG REWRITE wrote", lines.len());
    }
    Ok(())
}

/// Whose line it is. The lines are read one by one for that: the start is refused in any case.
fn blame(engine: &mut Engine, lines: &[String], file: &str, whole: String) -> String {
    let refused = |line: &String| engine.load_users(line.as_bytes(), file).err().map(|why| (line.clone(), why));
    let Some((line, why)) = lines.iter().find_map(refused) else { return format!("{file}: {whole}") };
    let user = line.split(' ').nth(1).unwrap_or_default();
    let why = why.strip_prefix(&format!("{file}:1: ")).unwrap_or(&why);
    let why = why.split(" WARNING: ").next().unwrap_or(why).trim_end();
    format!(
        "{file}: the user '{user}', which CONFIG REWRITE kept, can't be read: {why} Correct or delete the line there"
    )
}

#[cfg(test)]
mod tests {
    use super::as_c_says;

    #[test]
    fn an_error_of_the_system_has_no_number() {
        let error = std::fs::read("/no/such/file").expect_err("it isn't there");
        assert_eq!(as_c_says(&error), "No such file or directory");
    }
}
