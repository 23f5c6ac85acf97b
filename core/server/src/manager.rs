//! Who started the process and waits to hear of it. A service manager that listens, by systemd's protocol of datagrams
//! (sd_notify(3)), hears when the instance is ready, how far its start is, and that it ends; the process in which a daemon was
//! started hears whether it serves. Owns the socket's name and the words; when to say what is `instance`'s and `ending`'s.

use crate::early::{self, Starter};
use parking_lot::Mutex;
use std::ffi::OsString;
use std::io;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::time::Duration;

/// The variable in which the socket is named.
pub(crate) const VARIABLE: &str = "NOTIFY_SOCKET";
/// How long a manager with a full queue may hold the instance up.
const PATIENCE: Duration = Duration::from_secs(2);
/// How often it hears how far a start is.
pub(crate) const EVERY: Duration = Duration::from_secs(1);
/// What a start that goes on asks for each time, so that a large file isn't cut short by the manager's limit.
const MORE_TIME: Duration = Duration::from_secs(30);

/// Whom to tell; nobody where the process has no manager.
#[derive(Debug, Default)]
pub(crate) struct Manager {
    systemd: Option<SocketAddr>,
    /// Until it was told.
    starter: Mutex<Option<Starter>>,
}

impl Manager {
    /// The one the environment names. The name is taken out: processes that plugins start are not the service.
    pub(crate) fn take() -> Result<Manager, String> {
        let name = early::take_variable(VARIABLE).filter(|name| !name.is_empty());
        let named = name.map(|name| {
            Manager::named(&name).map_err(|error| format!("{VARIABLE} '{}' can't be used: {error}", name.display()))
        });
        named.unwrap_or_else(|| Ok(Manager::default()))
    }

    /// A path, or a name of the abstract kind behind `@`.
    fn named(name: &OsString) -> io::Result<Manager> {
        let address = match name.as_bytes() {
            [b'@', name @ ..] => SocketAddr::from_abstract_name(name)?,
            [b'/', ..] => SocketAddr::from_pathname(name)?,
            _ => return Err(io::Error::other("neither a path nor an abstract name")),
        };
        Ok(Manager { systemd: Some(address), ..Manager::default() })
    }

    /// This is a daemon, and who started it waits.
    pub(crate) fn tell_starter(&mut self, starter: Starter) {
        self.starter = Mutex::new(Some(starter));
    }

    /// What INFO calls it.
    pub(crate) fn word(&self) -> &'static str {
        if self.is_there() { "systemd" } else { "no" }
    }

    /// Somebody listens.
    pub(crate) fn is_there(&self) -> bool {
        self.systemd.is_some()
    }

    /// Clients are accepted, or told that the data is being loaded: who started a daemon needn't wait for the end of that.
    fn serving(&self) {
        if let Some(starter) = self.starter.lock().take() {
            starter.serves();
        }
    }

    /// The instance ends before it has served.
    pub(crate) fn refused(&self, why: &str) {
        if let Some(starter) = self.starter.lock().take() {
            starter.refused(why);
        }
    }

    /// Clients are accepted and the data is there.
    pub(crate) fn ready(&self) {
        self.serving();
        self.tell("STATUS=Ready to accept connections\nREADY=1");
    }

    /// Somebody wants to hear how far the start is.
    pub(crate) fn waits(&self) -> bool {
        self.is_there() || self.starter.lock().is_some()
    }

    /// The start goes on: so much of the data is loaded, if any is.
    pub(crate) fn starting(&self, loaded: Option<&str>) {
        if loaded.is_some() {
            self.serving();
        }
        let more = MORE_TIME.as_micros();
        match loaded {
            Some(percent) => self.tell(&format!("STATUS=Loading the data: {percent} %\nEXTEND_TIMEOUT_USEC={more}")),
            None => self.tell("STATUS=Starting"),
        }
    }

    /// What goes on, for people.
    pub(crate) fn status(&self, words: &str) {
        self.tell(&format!("STATUS={words}"));
    }

    /// Nothing keeps the instance from ending any more.
    pub(crate) fn stopping(&self) {
        self.tell("STATUS=Stopping\nSTOPPING=1");
    }

    fn tell(&self, words: &str) {
        let Some(address) = &self.systemd else { return };
        let sent = UnixDatagram::unbound().and_then(|socket| {
            socket.set_write_timeout(Some(PATIENCE))?;
            socket.send_to_addr(words.as_bytes(), address)
        });
        if let Err(error) = sent {
            log::warn!("The service manager can't be told '{}': {error}", words.replace('\n', " "));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn heard(socket: &UnixDatagram) -> String {
        let mut bytes = [0; 256];
        socket.set_read_timeout(Some(Duration::from_secs(10))).expect("set");
        let count = socket.recv(&mut bytes).expect("a datagram");
        String::from_utf8_lossy(&bytes[..count]).into_owned()
    }

    #[test]
    fn paths_and_abstract_names_are_told() {
        let dir = tempfile::tempdir().expect("a folder");
        let path = dir.path().join("notify");
        let name = format!("@keystead-manager-{}", std::process::id());
        let abstract_name = SocketAddr::from_abstract_name(&name[1..]).expect("a name");
        let sockets = [
            (path.clone().into_os_string(), UnixDatagram::bind(&path).expect("bound")),
            (name.into(), UnixDatagram::bind_addr(&abstract_name).expect("bound")),
        ];
        for (name, socket) in sockets {
            let manager = Manager::named(&name).expect("a name");
            manager.ready();
            assert_eq!(heard(&socket), "STATUS=Ready to accept connections\nREADY=1");
            manager.starting(Some("25.00"));
            assert_eq!(heard(&socket), "STATUS=Loading the data: 25.00 %\nEXTEND_TIMEOUT_USEC=30000000");
            manager.stopping();
            assert_eq!(heard(&socket), "STATUS=Stopping\nSTOPPING=1");
        }
        assert!(Manager::named(&"vsock:2:1".into()).is_err());
        assert_eq!((Manager::default().word(), Manager::default().is_there()), ("no", false));
    }
}
