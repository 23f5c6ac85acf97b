//! Users and files: those of the configuration at the start, ACL LOAD and SAVE, those that CONFIG REWRITE kept. The rules
//! are the engine's; this reads and writes texts.

use crate::config::{NoStart, Settings};
use crate::net::Service;
use crate::replace::{discard_left, own_temporary, replace, sync_folder};
use keystead_engine::acl::UsersFile;
use keystead_engine::{Engine, SessionId};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Gives every engine the users of the configuration. Plugins must have brought their commands: rules name them.
pub(crate) fn load(services: &[Arc<Service>], settings: &Settings) -> Result<(), NoStart> {
    let (server, source) = (&settings.server, &settings.source);
    for service in services {
        let lines =
            if service.name().is_empty() { Some(&server.users) } else { server.endpoint_users.get(service.name()) };
        let lines = lines.map(|lines| lines.iter().map(|line| as_line(line)).collect::<Vec<_>>()).unwrap_or_default();
        if let Some(file) = InFile::of(service, settings) {
            if !lines.is_empty() {
                let message = "server.users and server.aclfile can't both be set: users are in one place".into();
                return Err(source.blame("server.users", message, None).into());
            }
            let (text, name) = file.read().map_err(|why| source.blame("server.aclfile", why, None))?;
            file.keep_name(&settings.dir);
            service.turn(|engine| {
                engine.set_users_file(Arc::new(file));
                engine.load_users(&text, &name)
            })?;
        } else {
            let place = if service.name().is_empty() { "server.users" } else { "server.endpoint_users" };
            let added = service.turn(|engine| add(engine, &lines, place));
            added.map_err(|(index, why)| source.blame(&format!("{place}.{index}"), format!("{place}: {why}"), None))?;
        }
    }
    let known = |name: &&String| services.iter().any(|service| service.name() == name.as_str());
    match server.endpoint_users.keys().find(|name| !known(name)) {
        Some(name) => {
            let message = format!("server.endpoint_users: no plugin has a port called '{name}'");
            Err(source.blame("server.endpoint_users", message, None).into())
        }
        None => Ok(()),
    }
}

/// Gives an engine these users; the first that can't be read, counted from 0, and why.
fn add(engine: &mut Engine, lines: &[String], place: &str) -> Result<(), (usize, String)> {
    let mut first = |count: usize| engine.add_users(lines[..count].join("\n").as_bytes(), place);
    let Err(mut why) = first(lines.len()) else { return Ok(()) };
    // There may be thousands: so many are good, and with so many one isn't.
    let (mut good, mut bad) = (0, lines.len());
    while bad - good > 1 {
        let middle = good.midpoint(bad);
        match first(middle) {
            Ok(()) => good = middle,
            Err(error) => (bad, why) = (middle, error),
        }
    }
    Err((good, bare(&why, &format!("{place}:{bad}: ")).to_owned()))
}

/// An error of one line without its place and without what is said of the whole.
fn bare<'w>(why: &'w str, place: &str) -> &'w str {
    let why = why.strip_prefix(place).unwrap_or(why);
    why.split(" WARNING: ").next().unwrap_or(why).trim_end()
}

/// The word `user` may be left out in the configuration.
fn as_line(text: &str) -> String {
    if text.starts_with("user ") { text.to_owned() } else { format!("user {text}") }
}

/// The ACL file.
struct InFile {
    path: PathBuf,
    /// As the configuration calls it.
    name: String,
}

impl InFile {
    /// The engine's; None: its users are in none. Ports of plugins have none.
    fn of(service: &Arc<Service>, settings: &Settings) -> Option<InFile> {
        let name = service.turn(|engine| engine.core.config.get("aclfile")).filter(|name| !name.is_empty())?;
        service.name().is_empty().then(|| InFile { path: settings.dir.join(&name), name })
    }

    /// Puts the file's name on the disk, if it isn't in the instance's own folder, where all are already: a process that was
    /// killed in ACL SAVE may not have got that far, and what is in force now must not be older behind the machine's next end.
    fn keep_name(&self, dir: &Path) {
        let Some(folder) = self.path.parent().filter(|folder| *folder != dir) else { return };
        if let Err(why) = sync_folder(folder) {
            log::warn!("Names in {} can't be put on the disk: {why}", folder.display());
        }
    }
}

impl UsersFile for InFile {
    fn read(&self) -> Result<(Vec<u8>, String), String> {
        let text = std::fs::read(&self.path);
        let text = text.map_err(|e| format!("Error loading ACLs, opening file '{}': {}", self.name, as_c_says(&e)))?;
        Ok((text, self.name.clone()))
    }

    fn write(&self, text: &[u8]) -> Result<(), String> {
        replace(&self.path, &own_temporary(&self.path), text).map_err(|e| {
            log::warn!("ACL SAVE failed: {e}");
            "There was an error trying to save the ACLs. Please check the server logs for more information".to_owned()
        })
    }
}

/// Deletes what a process left that was killed in ACL SAVE.
pub(crate) fn clear_up(services: &[Arc<Service>], settings: &Settings) {
    services.iter().filter_map(|service| InFile::of(service, settings)).for_each(|file| discard_left(&file.path));
}

/// The engine's users are in an ACL file.
pub(crate) fn in_a_file(service: &Arc<Service>) -> bool {
    service.name().is_empty() && service.turn(|engine| engine.core.config.get("aclfile")).is_some_and(|f| !f.is_empty())
}

/// An error of the system without its number.
fn as_c_says(error: &io::Error) -> String {
    let text = error.to_string();
    text.split(" (os error ").next().unwrap_or(&text).to_owned()
}

/// ACL LOAD (without a text) and ACL SAVE.
pub(crate) fn file(
    service: &Arc<Service>,
    settings: &Settings,
    save: Option<Vec<u8>>,
    (session, ticket): (SessionId, u64),
) {
    // The command came only so far because there is one.
    let Some(file) = InFile::of(service, settings) else { return };
    let loaded = match save {
        Some(text) => file.write(&text).map(|()| None),
        None => file.read().map(Some),
    };
    service.turn(|engine| {
        let done = loaded.and_then(|loaded| match loaded {
            Some((text, name)) => engine.load_users_for(session, &text, &name),
            None => Ok(()),
        });
        let answer = match done {
            Ok(()) => "+OK\r\n".to_owned(),
            Err(why) => format!("-ERR {}\r\n", why.replace(['\r', '\n'], " ")),
        };
        engine.complete(session, ticket, answer.as_bytes());
    });
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
    let why = bare(&why, &format!("{file}:1: "));
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
