//! Streams of the core as `futures` sees them: sockets, listeners, and client connections handed over.

use crate::error::{Error, Result};
use crate::journal::{Owned, poll_out};
use crate::session::{ClientInfo, State};
use futures::io::{AsyncRead, AsyncWrite};
use keystead_abi::{self as abi, Buf, Object, glue::OwnedBuf, glue::with_waker};
use std::any::Any;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

/// A stream of bytes: a connection made, accepted, or handed over. Dropping it closes it.
pub struct Io(Owned);

impl Io {
    pub(crate) fn new(object: Object) -> Result<Io> {
        Ok(Io(Owned::of_kind(object, abi::KIND_IO)?))
    }

    fn api(&self) -> &abi::IoApi {
        // SAFETY: `new` checked the kind.
        unsafe { self.0.api() }
    }

    /// The peer's address as `ip:port`.
    pub fn peer_addr(&self) -> String {
        let mut out = Buf::EMPTY;
        // SAFETY: `out` is ours to own.
        unsafe {
            (self.api().peer)(self.0.0.data, &mut out);
            OwnedBuf::new(out).text()
        }
    }

    /// The own address as `ip:port`.
    pub fn local_addr(&self) -> String {
        let mut out = Buf::EMPTY;
        // SAFETY: `out` is ours to own.
        unsafe {
            (self.api().local)(self.0.0.data, &mut out);
            OwnedBuf::new(out).text()
        }
    }
}

fn polled(result: i64) -> Poll<io::Result<usize>> {
    match result {
        abi::IO_PENDING => Poll::Pending,
        errno if errno < 0 => Poll::Ready(Err(io::Error::from_raw_os_error((-errno) as i32))),
        count => Poll::Ready(Ok(count as usize)),
    }
}

impl AsyncRead for Io {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut [u8]) -> Poll<io::Result<usize>> {
        // SAFETY: the object is alive; the buffer is writable for the call.
        polled(with_waker(cx.waker(), |waker| unsafe {
            (self.api().poll_read)(self.0.0.data, waker, buf.as_mut_ptr(), buf.len())
        }))
    }
}

impl AsyncWrite for Io {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        // SAFETY: the object is alive; the buffer is readable for the call.
        polled(with_waker(cx.waker(), |waker| unsafe {
            (self.api().poll_write)(self.0.0.data, waker, buf.as_ptr(), buf.len())
        }))
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        // SAFETY: the object is alive.
        polled(with_waker(cx.waker(), |waker| unsafe { (self.api().poll_flush)(self.0.0.data, waker) })).map_ok(|_| ())
    }

    fn poll_close(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        // SAFETY: the object is alive.
        polled(with_waker(cx.waker(), |waker| unsafe { (self.api().poll_close)(self.0.0.data, waker) })).map_ok(|_| ())
    }
}

/// A listening socket.
pub struct Listener(Owned);

impl Listener {
    pub(crate) fn new(object: Object) -> Result<Listener> {
        Ok(Listener(Owned::of_kind(object, abi::KIND_LISTENER)?))
    }

    fn api(&self) -> &abi::ListenerApi {
        // SAFETY: `new` checked the kind.
        unsafe { self.0.api() }
    }

    /// The next connection.
    pub async fn accept(&self) -> Result<Io> {
        // SAFETY: the object is alive; the waker and the result are borrowed for the call.
        let done = poll_out(|waker, out| unsafe { (self.api().poll_accept)(self.0.0.data, waker, out) }).await;
        Io::new(done.ok()?.object)
    }

    /// The own address as `ip:port`.
    pub fn local_addr(&self) -> String {
        let mut out = Buf::EMPTY;
        // SAFETY: `out` is ours to own.
        unsafe {
            (self.api().local)(self.0.0.data, &mut out);
            OwnedBuf::new(out).text()
        }
    }
}

/// A client's connection, handed over. The session stays in the session table as a replica until this is dropped.
pub struct Conn {
    /// The stream; what the client had sent already comes first.
    pub io: Io,
    client: ClientInfo,
    state: Option<State>,
}

impl Conn {
    pub(crate) fn new(io: Io, client: ClientInfo, state: Option<State>) -> Conn {
        Conn { io, client, state }
    }

    /// Who it is.
    pub fn client(&self) -> &ClientInfo {
        &self.client
    }

    /// What this plugin kept for the session ([`crate::Ctx::state`]); the default if nothing.
    pub fn take_state<T: Any + Send + Default>(&mut self) -> T {
        let boxed = self.state.take().and_then(|state| state.downcast::<T>().ok());
        boxed.map(|state| *state).unwrap_or_default()
    }

    /// Closes the connection.
    pub fn kill(self) {}

    /// Gives up the session's facts and keeps the stream.
    pub fn into_io(self) -> Io {
        self.io
    }
}

impl AsyncRead for Conn {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut [u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.io).poll_read(cx, buf)
    }
}

impl AsyncWrite for Conn {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.io).poll_write(cx, buf)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_flush(cx)
    }

    fn poll_close(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_close(cx)
    }
}

/// An address that the host may parse; used for errors.
pub(crate) fn addr_text(host: &str, port: u16) -> String {
    if host.contains(':') && !host.starts_with('[') { format!("[{host}]:{port}") } else { format!("{host}:{port}") }
}

/// The error of a connection that could not be made.
pub(crate) fn connect_error(addr: &str, error: String) -> Error {
    Error::new(format!("{addr}: {error}"))
}
