//! Listening sockets: bound before anything else starts, so that a busy port is found at once. Accepts, sets socket
//! options, hands over; what a connection does is `driver`.

use super::driver::Driver;
use super::keepalive::Keepalive;
use super::socket::{Encrypted, Raw};
use crate::descriptors::leaves_too_few;
use crate::tls::{self, NotShaken, Pending};
use async_io::Async;
use rustix::fs::{Mode, fchmod};
use rustix::io::Errno;
use socket2::{Domain, SockAddr, SockRef, Type};
use std::io::{self, Write};
use std::net::{IpAddr, SocketAddr, ToSocketAddrs};
use std::os::fd::AsFd;
use std::os::unix::fs::{FileTypeExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

/// Pause after a failed accept (no descriptors left), so that the loop doesn't spin.
pub(super) const ACCEPT_PAUSE: Duration = Duration::from_millis(100);
/// How a kernel without IPv6 says so.
const FAMILY_MISSING: [Errno; 5] =
    [Errno::NOPROTOOPT, Errno::PROTONOSUPPORT, Errno::SOCKTNOSUPPORT, Errno::PFNOSUPPORT, Errno::AFNOSUPPORT];

/// What a listener of one engine needs to know.
#[derive(Clone, Debug)]
pub(crate) struct ListenSpec {
    /// Addresses; a leading `-` makes one optional.
    pub(crate) bind: Vec<String>,
    /// Port; 0 opens no TCP listener.
    pub(crate) port: u16,
    /// Port for TLS; 0 opens no such listener.
    pub(crate) tls_port: u16,
    /// Queue of connections not yet accepted.
    pub(crate) backlog: u32,
    /// Path of a unix socket, and its mode if the process' umask is not to say it.
    pub(crate) unix: Option<(PathBuf, Option<u32>)>,
}

/// Bound sockets that don't accept yet.
#[derive(Debug, Default)]
pub(crate) struct Listeners {
    pub(super) tcp: Vec<std::net::TcpListener>,
    unix: Option<(std::os::unix::net::UnixListener, PathBuf)>,
}

/// One accepted connection, with what the engine must know of it.
pub(crate) struct Accepted {
    /// The stream.
    pub(crate) socket: Raw,
    /// The peer as CLIENT LIST shows it.
    pub(crate) peer: String,
    /// Our side.
    pub(crate) local: String,
    /// Over a unix socket.
    pub(crate) unix: bool,
    /// From this machine.
    pub(crate) loopback: bool,
}

impl ListenSpec {
    /// No listener at all.
    pub(crate) fn none() -> ListenSpec {
        ListenSpec { bind: Vec::new(), port: 0, tls_port: 0, backlog: 0, unix: None }
    }

    /// Whether it opens any listener.
    pub(crate) fn reachable(&self) -> bool {
        let over_tcp = (self.port != 0 || self.tls_port != 0) && self.bind.iter().any(|address| !address.is_empty());
        over_tcp || self.unix.is_some()
    }
}

impl Listeners {
    /// What is bound, for the log.
    pub(crate) fn places(&self) -> Vec<String> {
        let tcp = self.tcp.iter().filter_map(|l| l.local_addr().ok()).map(|a| a.to_string());
        tcp.chain(self.unix.iter().map(|(_, path)| path.display().to_string())).collect()
    }

    /// Binds all addresses; a busy port is an error in Redis' words.
    pub(crate) fn bind(spec: &ListenSpec) -> Result<Listeners, String> {
        let mut listeners = Listeners::default();
        if spec.port != 0 {
            listeners.tcp = bind_all(&spec.bind, spec.port, spec.backlog, "TCP")?;
        }
        if let Some((path, mode)) = &spec.unix {
            let bound = bind_unix(path, *mode, spec.backlog);
            let bound = bound.map_err(|e| format!("Failed opening Unix socket {}: bind: {e}", path.display()))?;
            listeners.unix = Some((bound, path.clone()));
        }
        Ok(listeners)
    }

    /// Starts to accept on the unix socket, if there is one: `take` gets each connection, in the accepting task; `None`: one
    /// was turned away.
    pub(crate) fn accept_unix(
        self,
        take: impl Fn(Option<Accepted>) + Send + 'static,
    ) -> io::Result<Option<UnixAccepting>> {
        let Some((listener, path)) = self.unix else { return Ok(None) };
        let task = async_std::task::spawn(accept_unix(Async::new(listener)?, path.clone(), take));
        Ok(Some(UnixAccepting { task, path }))
    }
}

/// The accept loop of a unix socket.
#[derive(Debug)]
pub(crate) struct UnixAccepting {
    task: async_std::task::JoinHandle<()>,
    path: PathBuf,
}

impl UnixAccepting {
    /// Closes the listener and removes the file.
    pub(crate) async fn stop(self) {
        self.task.cancel().await;
        let _ = remove_socket(&self.path);
    }
}

/// Accepting on one address. The socket is shared with who does it, so that its address can be given up at once.
pub(super) enum Accepting {
    /// A driver does, between its turns.
    Driver(Arc<std::net::TcpListener>, Driver),
    /// A loop does: handshakes are none of a driver's.
    Loop(Arc<Async<std::net::TcpListener>>, async_std::task::JoinHandle<()>),
}

impl Accepting {
    /// Accepts plain connections.
    pub(super) fn plain(listener: std::net::TcpListener, keepalive: Keepalive, driver: Driver) -> Accepting {
        let socket = Arc::new(listener);
        driver.listen(socket.clone(), keepalive);
        Accepting::Driver(socket, driver)
    }

    /// Accepts connections that begin with a handshake; `None`: one was turned away.
    pub(super) fn encrypted(
        listener: std::net::TcpListener,
        keepalive: Keepalive,
        (context, pending): (Arc<tls::Context>, Pending),
        take: impl Fn(Option<Accepted>) + Clone + Send + 'static,
    ) -> io::Result<Accepting> {
        let socket = Arc::new(Async::new(listener)?);
        let task = async_std::task::spawn(accept_tls(socket.clone(), keepalive, context, pending, take));
        Ok(Accepting::Loop(socket, task))
    }

    /// The listening socket.
    pub(super) fn socket(&self) -> &std::net::TcpListener {
        match self {
            Accepting::Driver(socket, _) => socket,
            Accepting::Loop(socket, _) => (**socket).get_ref(),
        }
    }

    /// Gives the address up at once, so that nobody more comes; the socket is closed when its loop has ended, or its driver
    /// comes to it.
    pub(super) fn stop(self) -> impl Future<Output = ()> {
        silence(self.socket());
        async {
            match self {
                Accepting::Driver(socket, driver) => driver.deafen(socket),
                Accepting::Loop(_, task) => _ = task.cancel().await,
            }
        }
    }
}

/// Listens no more: another socket can have the address from now on.
pub(super) fn silence(socket: &std::net::TcpListener) {
    let _ = rustix::net::shutdown(socket, rustix::net::Shutdown::Read);
}

/// Takes `silence` back.
pub(super) fn listen_again(socket: &std::net::TcpListener, backlog: u32) {
    if let Err(error) = rustix::net::listen(socket, backlog.try_into().unwrap_or(i32::MAX)) {
        log::warn!("Can't listen again: {error}");
    }
}

/// One listening socket an address. `kind` is for the words of an error.
pub(super) fn bind_all(
    bind: &[String],
    port: u16,
    backlog: u32,
    kind: &str,
) -> Result<Vec<std::net::TcpListener>, String> {
    let mut all = Vec::new();
    for address in bind {
        let (optional, host) = match address.strip_prefix('-') {
            Some(host) => (true, host),
            None => (false, address.as_str()),
        };
        match bind_tcp(host, port, backlog) {
            Ok(bound) => all.extend(bound),
            Err(e) if is_forgiven(&e, optional) => {
                let level = if optional { log::Level::Info } else { log::Level::Warn };
                log::log!(level, "Not listening on {host}:{port}: {e}");
            }
            Err(e) => {
                let busy = e.kind() == io::ErrorKind::AddrInUse;
                let text = if busy { "Address already in use".into() } else { e.to_string() };
                log::warn!("Could not create server TCP listening socket {host}:{port}: bind: {text}");
                return Err(format!("Failed listening on port {port} ({kind}), aborting. bind {host}: {text}"));
            }
        }
    }
    if all.is_empty() && !bind.is_empty() {
        return Err(format!("Failed listening on port {port} ({kind}): no address could be bound"));
    }
    Ok(all)
}

/// Whether the other addresses are enough, as in Redis: a machine that has no such family of addresses is no mistake of who
/// wrote the list, and an optional address may be another machine's. One that is in use is a mistake, optional or not.
fn is_forgiven(error: &io::Error, optional: bool) -> bool {
    let Some(errno) = Errno::from_io_error(error) else { return false };
    FAMILY_MISSING.contains(&errno) || optional && errno == Errno::ADDRNOTAVAIL
}

fn bind_tcp(host: &str, port: u16, backlog: u32) -> io::Result<Vec<std::net::TcpListener>> {
    let addresses: Vec<SocketAddr> = match host {
        "*" => vec![SocketAddr::from(([0, 0, 0, 0], port))],
        "::*" => vec![SocketAddr::from((std::net::Ipv6Addr::UNSPECIFIED, port))],
        host => (host, port).to_socket_addrs()?.collect(),
    };
    addresses.into_iter().map(|address| listen_on(address, backlog)).collect()
}

fn listen_on(address: SocketAddr, backlog: u32) -> io::Result<std::net::TcpListener> {
    let socket = socket2::Socket::new(Domain::for_address(address), Type::STREAM, None)?;
    socket.set_reuse_address(true)?;
    if address.is_ipv6() {
        socket.set_only_v6(true)?;
    }
    socket.bind(&SockAddr::from(address))?;
    socket.listen(backlog.try_into().unwrap_or(i32::MAX))?;
    socket.set_nonblocking(true)?;
    Ok(socket.into())
}

/// Removes a socket's file, if one is there. What is no socket is somebody's data, and an error.
fn remove_socket(path: &Path) -> io::Result<()> {
    match std::fs::symlink_metadata(path) {
        Ok(found) if found.file_type().is_socket() => std::fs::remove_file(path),
        Ok(_) => Err(io::Error::new(io::ErrorKind::AlreadyExists, "a file that is no socket is there, and stays")),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(error) => Err(error),
    }
}

/// The file appears with its final mode, so nobody can connect in between. A socket that nobody listens on any more is
/// replaced.
fn bind_unix(path: &Path, mode: Option<u32>, backlog: u32) -> io::Result<std::os::unix::net::UnixListener> {
    if std::os::unix::net::UnixStream::connect(path).is_ok() {
        return Err(io::Error::new(io::ErrorKind::AddrInUse, "Address already in use"));
    }
    let address = SockAddr::unix(path)?;
    let socket = socket2::Socket::new(Domain::UNIX, Type::STREAM, None)?;
    // The file gets the socket's mode. No name beside the final one is needed for that: it would take from the 107 bytes of
    // a path.
    if let Some(mode) = mode {
        fchmod(&socket, Mode::from_raw_mode(mode))?;
    }
    remove_socket(path)?;
    socket.bind(&address)?;
    // What the process' umask took away.
    let opened = mode.map_or(Ok(()), |mode| std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)));
    let listening = opened.and_then(|()| socket.listen(backlog.try_into().unwrap_or(i32::MAX)));
    if let Err(error) = listening.and_then(|()| socket.set_nonblocking(true)) {
        let _ = std::fs::remove_file(path);
        return Err(error);
    }
    Ok(std::os::fd::OwnedFd::from(socket).into())
}

/// Accepts one plain connection, if somebody waits; `None`: it was turned away.
pub(super) fn accept_plain(listener: &std::net::TcpListener, keepalive: &Keepalive) -> io::Result<Option<Accepted>> {
    let (stream, peer) = listener.accept()?;
    set_options(&stream, keepalive);
    if takes_a_file_s_place(&stream, &stream) {
        return Ok(None);
    }
    let local = stream.local_addr().map(|a| a.to_string()).unwrap_or_default();
    let loopback = is_loopback(peer.ip());
    Ok(Some(Accepted { socket: Raw::Tcp(stream), peer: peer.to_string(), local, unix: false, loopback }))
}

/// Accepts on the TLS port. Each handshake is a task of its own; who fails it is never seen by the engine.
async fn accept_tls(
    listener: Arc<Async<std::net::TcpListener>>,
    keepalive: Keepalive,
    context: Arc<tls::Context>,
    pending: Pending,
    take: impl Fn(Option<Accepted>) + Clone + Send + 'static,
) {
    loop {
        let place = pending.place().await;
        match accept_one(&listener, |l| l.accept()).await {
            Ok((stream, _)) if leaves_too_few(&stream) => {
                drop(stream);
                take(None);
            }
            Ok((stream, peer)) => {
                set_options(&stream, &keepalive);
                let local = stream.local_addr().map(|a| a.to_string()).unwrap_or_default();
                // CONFIG SET may have changed what is in force since the last one.
                let Some(both) = context.now() else { continue };
                let take = take.clone();
                async_std::task::spawn(async move {
                    match tls::accept(stream, place, &both).await {
                        Ok((socket, session)) => {
                            let socket = Raw::Tls(Box::new(Encrypted::new(socket, session)));
                            let loopback = is_loopback(peer.ip());
                            take(Some(Accepted { socket, peer: peer.to_string(), local, unix: false, loopback }));
                        }
                        Err(NotShaken::Crowded) => {}
                        Err(NotShaken::Failed(why)) => {
                            log::warn!("Error accepting a client connection: {why} (addr={peer} laddr={local})");
                        }
                    }
                });
            }
            Err(e) => pause_after(&e).await,
        }
    }
}

async fn accept_unix(
    listener: Async<std::os::unix::net::UnixListener>,
    path: PathBuf,
    take: impl Fn(Option<Accepted>),
) {
    let name = format!("{}:0", path.display());
    loop {
        match accept_one(&listener, |l| l.accept()).await {
            Ok((stream, _)) => {
                let _ = stream.set_nonblocking(true);
                if takes_a_file_s_place(&stream, &stream) {
                    take(None);
                    continue;
                }
                let socket = Raw::Unix(stream);
                take(Some(Accepted { socket, peer: name.clone(), local: name.clone(), unix: true, loopback: true }));
            }
            Err(e) => pause_after(&e).await,
        }
    }
}

/// One accept; waits only when nobody is there.
async fn accept_one<L, T>(listener: &Async<L>, accept: impl Fn(&L) -> io::Result<T>) -> io::Result<T> {
    loop {
        match accept(listener.get_ref()) {
            Err(e) if e.kind() == io::ErrorKind::WouldBlock => listener.readable().await?,
            result => return result,
        }
    }
}

/// Who takes one of the descriptors that are kept for files is told what Redis says, and is turned away.
fn takes_a_file_s_place(socket: &impl AsFd, mut told: impl Write) -> bool {
    let last = leaves_too_few(socket);
    if last {
        let _ = told.write(b"-ERR max number of clients reached\r\n");
    }
    last
}

async fn pause_after(error: &io::Error) {
    if rests_after(error) {
        async_std::task::sleep(ACCEPT_PAUSE).await;
    }
}

/// Whether the next accept would fail as this one did. A peer that went away before it was accepted is no news; no
/// descriptors left is.
pub(super) fn rests_after(error: &io::Error) -> bool {
    if matches!(error.kind(), io::ErrorKind::ConnectionAborted | io::ErrorKind::Interrupted) {
        return false;
    }
    // A listener that gave its address up says this until it is closed, or listens again.
    if error.kind() != io::ErrorKind::InvalidInput {
        log::warn!("Error accepting a client connection: {error}");
    }
    true
}

fn set_options(stream: &std::net::TcpStream, keepalive: &Keepalive) {
    let _ = stream.set_nonblocking(true);
    let _ = SockRef::from(stream).set_tcp_nodelay(true);
    keepalive.watch(stream);
}

fn is_loopback(ip: IpAddr) -> bool {
    match ip {
        IpAddr::V4(v4) => v4.is_loopback(),
        IpAddr::V6(v6) => v6.is_loopback() || v6.to_ipv4_mapped().is_some_and(|v4| v4.is_loopback()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn spec(port: u16) -> ListenSpec {
        ListenSpec { bind: vec!["127.0.0.1".into()], port, tls_port: 0, backlog: 16, unix: None }
    }

    #[test]
    fn a_busy_port_is_told_in_redis_words() {
        let busy = std::net::TcpListener::bind("127.0.0.1:0").expect("a free port");
        let port = busy.local_addr().expect("bound").port();
        let told = Listeners::bind(&spec(port)).expect_err("busy");
        let words = format!("Failed listening on port {port} (TCP), aborting. bind 127.0.0.1: Address already in use");
        assert_eq!(told, words);
        let mut optional = spec(port);
        optional.bind = vec!["-127.0.0.1".into()];
        assert_eq!(Listeners::bind(&optional).expect_err("busy all the same"), words);
    }

    #[test]
    fn another_machines_address_is_skipped_if_it_is_optional() {
        let port = std::net::TcpListener::bind("127.0.0.1:0").and_then(|free| free.local_addr()).expect("free").port();
        let mut both = spec(port);
        // An address of a network for documentation.
        both.bind = ["-192.0.2.1", "127.0.0.1"].map(String::from).to_vec();
        assert_eq!(Listeners::bind(&both).map(|bound| bound.tcp.len()), Ok(1));
        both.bind.truncate(1);
        assert!(Listeners::bind(&both).expect_err("nothing left").contains("no address could be bound"));
        both.bind = ["127.0.0.1", "192.0.2.1"].map(String::from).to_vec();
        assert!(Listeners::bind(&both).is_err());
    }

    #[test]
    fn a_machine_without_ipv6_is_no_error() {
        let forgiven = |errno: Errno| [true, false].map(|optional| is_forgiven(&errno.into(), optional));
        for missing in FAMILY_MISSING {
            assert_eq!(forgiven(missing), [true, true], "{missing}");
        }
        assert_eq!(forgiven(Errno::ADDRNOTAVAIL), [true, false]);
        assert_eq!(forgiven(Errno::ADDRINUSE), [false, false]);
        assert_eq!(forgiven(Errno::ACCESS), [false, false]);
    }

    #[test]
    fn a_unix_socket_has_its_mode_from_the_start_and_a_dead_one_is_replaced() {
        let dir = tempfile::tempdir().expect("a folder");
        let path = dir.path().join("k.sock");
        let mut with_unix = spec(0);
        with_unix.unix = Some((path.clone(), Some(0o600)));
        let first = Listeners::bind(&with_unix).expect("bound");
        let mode = std::fs::metadata(&path).expect("there").permissions().mode() & 0o777;
        assert_eq!(mode, 0o600);
        assert!(Listeners::bind(&with_unix).expect_err("alive").contains("already in use"));
        drop(first);
        assert!(Listeners::bind(&with_unix).is_ok());
    }

    #[test]
    fn only_a_socket_is_replaced() {
        let dir = tempfile::tempdir().expect("a folder");
        let (file, link) = (dir.path().join("dump.rdb"), dir.path().join("link"));
        std::fs::write(&file, "precious").expect("written");
        std::os::unix::fs::symlink(&file, &link).expect("a link");
        for path in [&file, &link] {
            let mut with_unix = spec(0);
            with_unix.unix = Some((path.clone(), Some(0o600)));
            let told = Listeners::bind(&with_unix).expect_err("it is no socket");
            assert!(told.ends_with("bind: a file that is no socket is there, and stays"), "{told}");
        }
        assert_eq!(std::fs::read_to_string(&link).expect("both are there"), "precious");
    }

    #[test]
    fn a_unix_sockets_path_has_107_bytes_and_nothing_stays_beside_it() {
        let dir = tempfile::tempdir().expect("a folder");
        let bind = |bytes: usize| {
            let name = "s".repeat(bytes - dir.path().as_os_str().len() - 1);
            bind_unix(&dir.path().join(name), Some(0o777), 16)
        };
        let bound = [103, 107].map(|bytes| bind(bytes).expect("it fits"));
        let files: Vec<_> =
            std::fs::read_dir(dir.path()).expect("a folder").map(|file| file.expect("a file")).collect();
        assert_eq!(files.len(), bound.len(), "{files:?}");
        for file in files {
            assert_eq!(file.metadata().expect("there").permissions().mode() & 0o777, 0o777);
        }
        assert!(bind(108).is_err());
        let taken = dir.path().join("folder");
        std::fs::create_dir_all(&taken).expect("a folder");
        assert!(bind_unix(&taken, Some(0o700), 16).is_err());
        assert_eq!(std::fs::read_dir(dir.path()).expect("a folder").count(), 3);
    }
}
