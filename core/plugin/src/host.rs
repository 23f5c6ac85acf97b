//! What a plugin may ask of the core outside a turn: tasks, time, sockets, the journal, snapshots, state, services.
//!
//! A `Host` is two words and `Copy`. Asynchronous calls copy their arguments when they are made, so the futures borrow
//! nothing; dropping one cancels what can still be cancelled.
//!
//! **Inside a turn** (a command, a hook, INFO, a parameter, a section, [`Host::with_keyspace`]) the engine's lock is taken.
//! What waits for it is refused there, as an error of the future that is polled ("not possible from inside a turn"):
//! commands, messages, sessions, the role's turn, records, histories, cursors, snapshots, loads, and [`Host::apply`]. Spawn a
//! task for these, or use the [`Ctx`], which has most of them. All else may be called: time, settings, tasks, gates,
//! confirmations, [`Host::journal`], a cursor's `set_class`, `set_name` and `stop_at` (they hold right behind the turn), and
//! dropping whatever was got here. From hooks, parameters and sections, which get no [`Ctx`], the engine can't be asked:
//! there [`Host::journal`] has its ids alone, [`Host::journal_offset`] is 0, and [`Host::setting`] doesn't know what CONFIG SET
//! changed. Nothing may be *waited* for, whichever thread does it: that thread may want the turn.

use crate::args::raw_words;
use crate::ctx::Ctx;
use crate::declare::Endpoint;
use crate::error::{Error, Result};
use crate::io::{Io, Listener, addr_text, connect_error};
use crate::journal::{Cursor, CursorClass, CursorEnd, History, Journal};
use crate::once::{Once, drop_once, finish_once, run_blocking, run_turn};
use crate::reply::Reply;
use crate::snapshot::{Apply, Load, LoadMode, Snapshot};
use crate::task::{Interval, Task};
use crate::words::{ClientFilter, Gate, Origin, PauseKind, Role, ShutdownKind, Targets};
use bytes::Bytes;
use futures::future::Either;
use keystead_abi::glue::{Imported, OwnedBuf, export_future, import_future, with_waker};
use keystead_abi::{self as abi, Object, Str};
use std::ffi::c_void;
use std::future::Future;
use std::mem::MaybeUninit;
use std::net::IpAddr;
use std::pin::pin;
use std::task::{Poll, Waker};
use std::time::Duration;

/// The core, as a plugin sees it.
#[derive(Clone, Copy)]
pub struct Host {
    raw: abi::HostRef,
    endpoint: Endpoint,
}

// SAFETY: every function of the host's table may be called from any thread.
unsafe impl Send for Host {}
// SAFETY: as above.
unsafe impl Sync for Host {}

impl Host {
    /// # Safety
    /// `raw` is a host whose table lives as long as the process.
    pub(crate) unsafe fn from_raw(raw: abi::HostRef) -> Host {
        Host { raw, endpoint: Endpoint::DATA }
    }

    pub(crate) fn api(&self) -> &'static abi::HostApi {
        // SAFETY: `from_raw`'s contract.
        unsafe { &*self.raw.api }
    }

    pub(crate) fn data(&self) -> *mut c_void {
        self.raw.data
    }

    fn number(&self) -> u32 {
        self.endpoint.number()
    }

    /// The same host, with an endpoint of the plugin as the engine that turns, commands and messages go to.
    #[must_use]
    pub fn at(&self, endpoint: Endpoint) -> Host {
        Host { endpoint, ..*self }
    }

    // ---- time, chance, facts

    /// Monotonic time since some moment before the server's start.
    pub fn now(&self) -> Duration {
        // SAFETY: plain call.
        Duration::from_micros(unsafe { (self.api().now_us)(self.data()) })
    }

    /// Milliseconds since 1970 by the machine's clock, which may jump.
    pub fn unix_ms(&self) -> u64 {
        // SAFETY: plain call.
        unsafe { (self.api().unix_ms)(self.data()) }
    }

    /// Random bytes of the system.
    pub fn random(&self, buf: &mut [u8]) {
        // SAFETY: the buffer is writable for the call.
        unsafe { (self.api().random)(self.data(), buf.as_mut_ptr(), buf.len()) }
    }

    /// A fact of the server (`port`, `run_id`, `dir`, `version`, …) or any CONFIG parameter under Redis' name. `data_lost` is
    /// `true` while the keys are gone with a load that failed: what is on the disk is not to be replaced by them.
    /// `serves_data` is `no` where there is no data port (a sentinel alone).
    /// `command_line` has the paths that the command line gave, one a line: what a plugin kept gives way to those.
    pub fn setting(&self, name: &str) -> Option<String> {
        let mut out = abi::Buf::EMPTY;
        // SAFETY: the name lives for the call; `out` is ours to own.
        let (status, buf) = unsafe {
            let status = (self.api().setting)(self.data(), self.number(), Str::new(name.as_bytes()), &mut out);
            (status, OwnedBuf::new(out))
        };
        (status == abi::OK).then(|| buf.text())
    }

    // ---- tasks

    /// Runs a future as a task of the plugin's group; the core cancels the group when the plugin stops. Its threads are few
    /// and everybody's (replication's, persistence's, the timers'): a task must not block, compute for long or sleep but by
    /// [`Host::sleep`]. What does goes to [`Host::blocking`].
    pub fn spawn<F: Future<Output = ()> + Send + 'static>(&self, future: F) -> Task {
        // SAFETY: the future is handed over.
        let id = unsafe { (self.api().spawn)(self.data(), export_future(future)) };
        Task::new(*self, id)
    }

    pub(crate) fn cancel(&self, id: u64) {
        // SAFETY: plain call.
        unsafe { (self.api().cancel)(self.data(), id) }
    }

    /// Ready after this time.
    pub fn sleep(&self, time: Duration) -> impl Future<Output = ()> + Send + use<> {
        // SAFETY: the future is ours.
        let sleep = unsafe { import_future((self.api().sleep_us)(self.data(), micros(time))) };
        async move {
            sleep.await;
        }
    }

    /// Ticks at this pace, the first time one period from now.
    pub fn interval(&self, period: Duration) -> Interval {
        Interval::new(*self, period.max(Duration::from_millis(1)))
    }

    /// The future's result, or `None` if the time is over first.
    pub async fn timeout<F: Future>(&self, time: Duration, future: F) -> Option<F::Output> {
        let mut future = pin!(future);
        let mut sleep = pin!(self.sleep(time));
        std::future::poll_fn(|cx| {
            if let Poll::Ready(value) = future.as_mut().poll(cx) {
                return Poll::Ready(Some(value));
            }
            sleep.as_mut().poll(cx).map(|()| None)
        })
        .await
    }

    /// Runs a function on a thread that may block. An error if it panics or the server stops.
    pub fn blocking<T, F>(&self, f: F) -> impl Future<Output = Result<T>> + Send + use<T, F>
    where
        T: Send + 'static,
        F: FnOnce() -> T + Send + 'static,
    {
        let (data, result) = Once::boxed(move |_: ()| f());
        // SAFETY: `data` fits both functions; `drop` is called once.
        let raw = unsafe { (self.api().blocking)(self.data(), run_blocking::<T>, drop_once::<(), T>, data) };
        finish_once(raw, result)
    }

    // ---- sockets

    /// Shows a connection made to a primary as a session of class `master`: CLIENT LIST and CLIENT KILL know it. Ready when
    /// it was killed: closing it is the plugin's business. Hidden again when dropped.
    pub fn show_link(&self, io: &Io) -> impl Future<Output = ()> + Send + use<> {
        let (peer, local) = (io.peer_addr(), io.local_addr());
        let (peer, local) = (Str::new(peer.as_bytes()), Str::new(local.as_bytes()));
        // SAFETY: the strings live for the call, which copies them; the future is ours.
        let killed = unsafe { import_future((self.api().show_link)(self.data(), peer, local)) };
        async move {
            if killed.await.ok().is_err() {
                // A host without an engine for data has nobody who could kill it.
                std::future::pending::<()>().await;
            }
        }
    }

    /// Connects to a host by address or name.
    pub fn tcp_connect(&self, host: &str, port: u16) -> impl Future<Output = Result<Io>> + Send + use<> {
        self.tcp_connect_from(host, port, "")
    }

    /// Connects from this own address; empty leaves the choice to the system.
    pub fn tcp_connect_from(
        &self,
        host: &str,
        port: u16,
        source: &str,
    ) -> impl Future<Output = Result<Io>> + Send + use<> {
        let addr = addr_text(host, port);
        // SAFETY: the strings live for the call, which copies them; the future is ours.
        let raw = unsafe {
            let connect = self.api().tcp_connect;
            import_future(connect(self.data(), Str::new(addr.as_bytes()), Str::new(source.as_bytes())))
        };
        async move { Io::new(raw.await.ok().map_err(|error| connect_error(&addr, error))?.object) }
    }

    /// Connects with TLS, by the engine's `tls-*` parameters; ready when the handshake is done.
    pub fn tls_connect(&self, host: &str, port: u16) -> impl Future<Output = Result<Io>> + Send + use<> {
        self.tls_connect_from(host, port, "")
    }

    /// The same from this own address; empty leaves the choice to the system.
    pub fn tls_connect_from(
        &self,
        host: &str,
        port: u16,
        source: &str,
    ) -> impl Future<Output = Result<Io>> + Send + use<> {
        let addr = addr_text(host, port);
        let covered = self.api().size as usize > std::mem::offset_of!(abi::HostApi, tls_connect);
        // SAFETY: as above; the function is there if the table's size covers it.
        let raw = covered.then(|| unsafe {
            let connect = self.api().tls_connect;
            let (addr, source) = (Str::new(addr.as_bytes()), Str::new(source.as_bytes()));
            import_future(connect(self.data(), self.number(), addr, source))
        });
        async move {
            let raw = raw.ok_or_else(|| Error::new("this server is too old for TLS"))?;
            Io::new(raw.await.ok().map_err(|error| connect_error(&addr, error))?.object)
        }
    }

    /// Connects to another node: with TLS if `tls-replication` is on, which is what its name says and sentinels heed too;
    /// from `bind-source-addr` if that is set.
    pub fn link_connect(&self, host: &str, port: u16) -> impl Future<Output = Result<Io>> + Send + use<> {
        let encrypted = self.setting("tls-replication").is_some_and(|on| on == "yes");
        let source = self.setting("bind-source-addr").unwrap_or_default();
        match encrypted {
            true => Either::Left(self.tls_connect_from(host, port, &source)),
            false => Either::Right(self.tcp_connect_from(host, port, &source)),
        }
    }

    /// The port that other nodes' links come to: the one for TLS if `tls-replication` is on and there is one.
    pub fn link_port(&self) -> u16 {
        let port = |name| self.setting(name).and_then(|port| port.parse().ok()).unwrap_or(0);
        let encrypted = self.setting("tls-replication").is_some_and(|on| on == "yes");
        match port("tls-port") {
            tls @ 1.. if encrypted => tls,
            _ => port("port"),
        }
    }

    /// Listens on `ip:port`.
    pub fn tcp_listen(&self, addr: &str) -> impl Future<Output = Result<Listener>> + Send + use<> {
        // SAFETY: as above.
        let raw = unsafe { import_future((self.api().tcp_listen)(self.data(), Str::new(addr.as_bytes()))) };
        async move { Listener::new(raw.await.ok()?.object) }
    }

    /// The addresses of a host name.
    pub fn resolve(&self, name: &str) -> impl Future<Output = Result<Vec<IpAddr>>> + Send + use<> {
        // SAFETY: as above.
        let raw = unsafe { import_future((self.api().resolve)(self.data(), Str::new(name.as_bytes()))) };
        async move {
            let text = raw.await.ok()?.buf.text();
            text.lines().map(|line| line.parse().map_err(Error::from)).collect()
        }
    }

    // ---- the engine

    /// Runs a function in a turn of the engine: atomically, between commands. An error if called from inside a turn.
    pub fn with_keyspace<T, F>(&self, f: F) -> impl Future<Output = Result<T>> + Send + use<T, F>
    where
        T: Send + 'static,
        F: FnOnce(&mut Ctx<'_>) -> T + Send + 'static,
    {
        let (data, result) = Once::<*const abi::Ctx, T>::boxed(move |raw| {
            // SAFETY: the host's context is alive for the call.
            f(&mut unsafe { Ctx::from_raw(raw) })
        });
        // SAFETY: `data` fits both functions; `drop` is called once.
        let raw = unsafe {
            (self.api().turn)(self.data(), self.number(), run_turn::<T>, drop_once::<*const abi::Ctx, T>, data)
        };
        finish_once(raw, result)
    }

    /// Executes one command as the server's own: guards for clients and rights don't hold. There is no session behind it:
    /// commands about the connection that sends them (MULTI, SUBSCRIBE, AUTH, CLIENT SETNAME) are refused with an error reply,
    /// and those that would wait answer as after their timeout. An error: it gives no reply (SHUTDOWN).
    pub fn exec<T: AsRef<[u8]>>(
        &self,
        db: u32,
        argv: &[T],
        origin: Origin,
    ) -> impl Future<Output = Result<Reply>> + Send + use<T> {
        let words = raw_words(argv);
        // SAFETY: the words live for the call, which copies them; the future is ours.
        let raw = unsafe {
            let exec = self.api().exec;
            import_future(exec(self.data(), self.number(), db, words.as_ptr(), words.len(), origin.to_raw()))
        };
        async move { Reply::decode(raw.await.ok()?.buf.as_ref()) }
    }

    /// Publishes; the number of receivers.
    pub fn publish(&self, channel: &[u8], message: &[u8]) -> impl Future<Output = Result<u64>> + Send + use<> {
        // SAFETY: as above.
        number(unsafe {
            let publish = self.api().publish;
            import_future(publish(self.data(), self.number(), Str::new(channel), Str::new(message)))
        })
    }

    /// Closes sessions; how many.
    pub fn kill_clients(&self, filter: ClientFilter) -> impl Future<Output = Result<u64>> + Send + use<> {
        // SAFETY: as above.
        number(unsafe { import_future((self.api().kill_clients)(self.data(), self.number(), &filter.to_raw())) })
    }

    /// Pauses clients until a unix time in milliseconds; `None` ends the pause.
    pub fn pause(
        &self,
        kind: PauseKind,
        until_unix_ms: Option<u64>,
    ) -> impl Future<Output = Result<()>> + Send + use<> {
        // SAFETY: as above.
        let raw = unsafe { import_future((self.api().pause)(self.data(), kind.to_raw(), until_unix_ms.unwrap_or(0))) };
        async move { raw.await.ok().map(drop).map_err(Error::from) }
    }

    /// Says what this node is, from the next turn on; inside a turn use [`Ctx::set_role`].
    pub fn set_role(&self, role: &Role) {
        // SAFETY: the role lives for the call.
        role.with_raw(|raw| unsafe { (self.api().set_role)(self.data(), raw) });
    }

    /// Closes or opens a gate, at once, from anywhere.
    pub fn set_gate(&self, gate: Gate, closed: bool) {
        // SAFETY: plain call.
        unsafe { (self.api().set_gate)(self.data(), gate.to_raw(), u32::from(closed)) }
    }

    // ---- the journal

    /// The journal as of the last turn's end.
    pub fn journal(&self) -> Journal {
        let mut out = MaybeUninit::uninit();
        // SAFETY: the function fills `out`.
        Journal::from_raw(&unsafe {
            (self.api().journal)(self.data(), out.as_mut_ptr());
            out.assume_init()
        })
    }

    /// The replication offset as of the last turn's end; cheaper than [`Host::journal`].
    pub fn journal_offset(&self) -> u64 {
        // SAFETY: plain call.
        unsafe { (self.api().journal_offset)(self.data()) }
    }

    /// Appends a record that is no client's write (PING, REPLCONF GETACK); the offset behind it.
    pub fn control_record<T: AsRef<[u8]>>(
        &self,
        argv: &[T],
        targets: Targets,
    ) -> impl Future<Output = Result<u64>> + Send + use<T> {
        let words = raw_words(argv);
        // SAFETY: the words live for the call, which copies them; the future is ours.
        number(unsafe {
            let control = self.api().control_record;
            import_future(control(self.data(), words.as_ptr(), words.len(), targets.0))
        })
    }

    /// Gives the journal another history. Every cursor ends as [`CursorEnd::Rebased`], but those of
    /// [`CursorClass::Persistence`] that lose no bytes by it, see there.
    pub fn rebase(&self, history: &History) -> impl Future<Output = Result<()>> + Send + use<> {
        // SAFETY: the history lives for the call, which copies it.
        let raw = unsafe { import_future((self.api().rebase)(self.data(), &history.to_raw())) };
        async move { raw.await.ok().map(drop).map_err(Error::from) }
    }

    /// Creates the backlog or changes its size; 0 drops it.
    pub fn set_backlog(&self, bytes: u64) -> impl Future<Output = Result<()>> + Send + use<> {
        // SAFETY: plain call.
        let raw = unsafe { import_future((self.api().set_backlog)(self.data(), bytes)) };
        async move { raw.await.ok().map(drop).map_err(Error::from) }
    }

    /// A cursor that reads from an offset. [`CursorEnd::Behind`] if that isn't kept any more.
    pub fn open_cursor(
        &self,
        from: u64,
        class: CursorClass,
    ) -> impl Future<Output = Result<Cursor, CursorEnd>> + Send + use<> {
        // SAFETY: plain call.
        let raw = unsafe { import_future((self.api().open_cursor)(self.data(), from, class.to_raw())) };
        async move {
            let done = raw.await;
            match done.status {
                abi::OK => Cursor::new(done.object).map_err(|error| CursorEnd::Closed(error.text().to_owned())),
                abi::BEHIND => Err(CursorEnd::Behind(done.buf.text())),
                _ => Err(CursorEnd::Closed(done.buf.text())),
            }
        }
    }

    /// A cursor that reads from now on.
    pub fn follow(&self, class: CursorClass) -> impl Future<Output = Result<Cursor, CursorEnd>> + Send + use<> {
        self.open_cursor(abi::KEEP_OFFSET, class)
    }

    /// A snapshot in records of this RDB version (10 to 12), and a cursor, cut at the same write: no gap, no overlap. A SELECT
    /// precedes the first record behind the cut.
    pub fn snapshot_and_follow(
        &self,
        rdb_version: u32,
        class: CursorClass,
    ) -> impl Future<Output = Result<(Snapshot, Cursor)>> + Send + use<> {
        // SAFETY: plain call.
        let raw = unsafe {
            let snapshot = self.api().snapshot_and_follow;
            import_future(snapshot(self.data(), rdb_version, class.to_raw()))
        };
        async move {
            let done = raw.await.ok()?;
            // Both are wrapped before either can fail, so that neither leaks.
            let (snapshot, cursor) = (Snapshot::new(done.object), Cursor::new(done.object2));
            Ok((snapshot?, cursor?))
        }
    }

    /// A snapshot in records of this RDB version (10 to 12), without a cursor.
    pub fn snapshot(&self, rdb_version: u32) -> impl Future<Output = Result<Snapshot>> + Send + use<> {
        // SAFETY: plain call.
        let raw = unsafe { import_future((self.api().snapshot)(self.data(), rdb_version)) };
        async move { Snapshot::new(raw.await.ok()?.object) }
    }

    /// A keyspace to fill.
    pub fn begin_load(&self, mode: LoadMode) -> impl Future<Output = Result<Load>> + Send + use<> {
        // SAFETY: plain call.
        let raw = unsafe { import_future((self.api().begin_load)(self.data(), mode.to_raw())) };
        async move { Load::new(raw.await.ok()?.object) }
    }

    /// A primary's stream to execute, from the journal's offset on, with this database selected, which a replica's journal has
    /// selected too from here on. Inside a turn that gives the journal another history it belongs to that: a file that is cut, or a
    /// replica that comes, behind the turn knows the database.
    pub fn apply(&self, db: u32) -> Result<Apply> {
        let mut out = Object::NONE;
        // SAFETY: the function fills `out` if it says OK.
        match unsafe { (self.api().open_apply)(self.data(), db, &mut out) } {
            abi::OK => Apply::new(out),
            _ => Err(Error::new("no stream can be applied here: this engine has no journal, or only looks")),
        }
    }

    /// An append-only file to execute with origin loading, from its first byte; nothing of it is propagated. An error of
    /// `feed_file` means that the file can't be read on.
    pub fn replay(&self) -> Result<Apply> {
        let mut out = Object::NONE;
        // SAFETY: the function fills `out` if it says OK.
        match unsafe { (self.api().open_replay)(self.data(), &mut out) } {
            abi::OK => Apply::new(out),
            _ => Err(Error::new("this engine has no keys to load")),
        }
    }

    // ---- what is on the disk

    /// Holds every reply that shows something behind a journal position until that is confirmed, and confirms everything
    /// before `position`; `None` ends this plugin's hold. When a plugin fails, clients that wait for its word are closed: as soon
    /// as its `stop` is done, or after two seconds.
    pub fn confirm(&self, position: Option<u64>) {
        // SAFETY: plain call.
        unsafe { (self.api().confirm)(self.data(), position.unwrap_or(abi::HOLD_NOTHING)) }
    }

    /// Says up to which offset the replication stream is on the disk; `None`: it isn't kept there.
    pub fn set_durable(&self, offset: Option<u64>) {
        // SAFETY: plain call.
        unsafe { (self.api().set_durable)(self.data(), offset.unwrap_or(abi::NOT_DURABLE)) }
    }

    /// Up to which offset the replication stream is on the disk; `None` if nobody keeps it there.
    pub fn durable(&self) -> Option<u64> {
        // SAFETY: plain call.
        Some(unsafe { (self.api().durable)(self.data()) }).filter(|offset| *offset != abi::NOT_DURABLE)
    }

    /// Ready when the replication stream is on the disk up to an offset.
    pub fn until_durable(&self, offset: u64) -> impl Future<Output = ()> + Send + use<> {
        // SAFETY: plain call; the future is ours.
        let reached = unsafe { import_future((self.api().until_durable)(self.data(), offset)) };
        async move {
            reached.await;
        }
    }

    /// Refuses writes with this text behind `MISCONF `; an empty one takes it back. Each plugin has a text of its own; that of one
    /// that failed goes with it. At once, from anywhere.
    pub fn refuse_writes(&self, reason: &str) {
        // SAFETY: the reason lives for the call.
        unsafe { (self.api().refuse_writes)(self.data(), Str::new(reason.as_bytes())) }
    }

    /// Refuses clients' writes with `READONLY` from this moment of [`Host::now`]'s clock on, whether or not anybody is awake
    /// then; `None`: writes rest on no lease. At once, from anywhere.
    pub fn write_until(&self, end: Option<Duration>) {
        let end = end.map_or(keystead_abi::NO_LEASE, micros);
        // SAFETY: plain call.
        unsafe { (self.api().write_until)(self.data(), end) }
    }

    /// Refuses clients' writes with `NOREPLICAS` from this moment of [`Host::now`]'s clock on, whether or not anybody is awake
    /// then; `None`: as many replicas as there are are enough. At once, from anywhere.
    pub fn enough_replicas_until(&self, end: Option<Duration>) {
        if self.api().abi_minor < 2 {
            // Hosts before boundary 1.2 know the gate alone, which somebody awake has to close.
            return self.set_gate(Gate::FewReplicas, end.is_some_and(|end| end <= self.now()));
        }
        let end = end.map_or(keystead_abi::NO_LEASE, micros);
        // SAFETY: plain call.
        unsafe { (self.api().enough_replicas_until)(self.data(), end) }
    }

    /// Has this woken by the thread that sends clients' replies, before those of a turn behind which the journal had grown
    /// leave, and outside of turns: whatever it does then (a write to a file, unlike other wakers) is done when they leave.
    /// A plugin has one; `None` takes it away.
    pub fn before_replies(&self, waker: Option<&Waker>) {
        let set = self.api().before_replies;
        // SAFETY: the waker lives for the call; null says that there is none.
        match waker {
            Some(waker) => with_waker(waker, |waker| unsafe { set(self.data(), waker) }),
            None => unsafe { set(self.data(), std::ptr::null()) },
        }
    }

    // ---- state, services, the end

    /// Stores the plugin's state: atomic and on the disk when ready.
    pub fn persist_state(&self, bytes: &[u8]) -> impl Future<Output = Result<()>> + Send + use<> {
        // SAFETY: the bytes live for the call, which copies them.
        let raw = unsafe { import_future((self.api().persist_state)(self.data(), Str::new(bytes))) };
        async move { raw.await.ok().map(drop).map_err(Error::from) }
    }

    /// The state stored last, `None` if none ever was. May be called in `init`. Errors: it is there and can't be read; who
    /// goes on as if there was none writes over it.
    pub fn read_state(&self) -> Result<Option<Bytes>> {
        let mut out = abi::Buf::EMPTY;
        // SAFETY: `out` is ours to own.
        let (status, buf) = unsafe { ((self.api().read_state)(self.data(), &mut out), OwnedBuf::new(out)) };
        match status {
            abi::OK => Ok(Some(Bytes::from_owner(buf))),
            _ if buf.as_ref().is_empty() => Ok(None),
            _ => Err(Error::new(buf.text())),
        }
    }

    /// Writes the state overlay, as CONFIG REWRITE does.
    pub fn rewrite_config(&self) -> impl Future<Output = Result<()>> + Send + use<> {
        // SAFETY: plain call.
        let raw = unsafe { import_future((self.api().rewrite_config)(self.data())) };
        async move { raw.await.ok().map(drop).map_err(Error::from) }
    }

    /// Ends the server.
    pub fn shutdown(&self, kind: ShutdownKind) {
        let raw = match kind {
            ShutdownKind::Clean => abi::SHUTDOWN_CLEAN,
            ShutdownKind::Failed => abi::SHUTDOWN_FAILED,
        };
        // SAFETY: plain call.
        unsafe { (self.api().shutdown)(self.data(), raw) }
    }

    /// The plugin gives up: it is stopped and shown as faulted, and its fault policy applies.
    pub fn fault(&self, reason: &str) {
        // SAFETY: the reason lives for the call.
        unsafe { (self.api().fault)(self.data(), Str::new(reason.as_bytes())) }
    }

    pub(crate) fn service_call(&self, service: &str, provider: &str, message: &[u8]) -> Imported {
        let [service, provider] = [service, provider].map(|text| Str::new(text.as_bytes()));
        // SAFETY: the strings live for the call, which copies them.
        unsafe { import_future((self.api().service_call)(self.data(), service, provider, Str::new(message))) }
    }

    pub(crate) fn service_providers(&self, service: &str) -> Vec<String> {
        let mut out = abi::Buf::EMPTY;
        // SAFETY: `out` is ours to own.
        let text = unsafe {
            (self.api().service_providers)(self.data(), Str::new(service.as_bytes()), &mut out);
            OwnedBuf::new(out).text()
        };
        text.lines().map(str::to_owned).collect()
    }

    pub(crate) fn share(&self, object: Object) -> u64 {
        // SAFETY: the object is handed over.
        unsafe { (self.api().share)(self.data(), object) }
    }

    pub(crate) fn take(&self, number: u64, kind: u32) -> Result<Object> {
        let mut out = Object::NONE;
        // SAFETY: the function fills `out` if it says OK.
        match unsafe { (self.api().take)(self.data(), number, kind, &mut out) } {
            abi::OK => Ok(out),
            _ => Err(Error::new(format!("there is no shared object {number} of this kind"))),
        }
    }
}

/// As the boundary counts time.
fn micros(time: Duration) -> u64 {
    u64::try_from(time.as_micros()).unwrap_or(u64::MAX)
}

async fn number(raw: Imported) -> Result<u64> {
    Ok(raw.await.ok()?.a)
}
