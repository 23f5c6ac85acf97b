//! Streams of bytes: connections that were made, accepted, or taken over from a client.

use super::{drop_object, object, value};
use crate::net::service::SessionGuard;
use crate::net::socket::Socket;
use crate::tls;
use async_std::net::TcpStream;
use futures::io::{AsyncRead, AsyncWrite};
use keystead_abi::glue::WakerRef;
use keystead_abi::{self as abi, Buf, IoApi, Object, Waker};
use std::ffi::c_void;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

/// Any stream.
struct Io {
    socket: Socket,
    /// What was received before the socket came here, from `rest_at` on.
    rest: Vec<u8>,
    rest_at: usize,
    peer: String,
    local: String,
    /// Ends the session of a connection that was taken over, after the socket is closed.
    _guard: Option<SessionGuard>,
}

static API: IoApi = IoApi {
    size: size_of::<IoApi>() as u32,
    kind: abi::KIND_IO,
    drop: drop_object::<Io>,
    poll_read,
    poll_write,
    poll_flush,
    poll_close,
    peer,
    local,
};

/// A connection over TCP.
pub(crate) fn tcp(stream: TcpStream) -> Object {
    let text = |addr: io::Result<std::net::SocketAddr>| addr.map(|addr| addr.to_string()).unwrap_or_default();
    let (peer, local) = (text(stream.peer_addr()), text(stream.local_addr()));
    object(Io { socket: Socket::Tcp(stream), rest: Vec::new(), rest_at: 0, peer, local, _guard: None }, &API)
}

/// A connection with TLS.
pub(crate) fn encrypted(stream: tls::Stream) -> Object {
    let text = |addr: io::Result<std::net::SocketAddr>| addr.map(|addr| addr.to_string()).unwrap_or_default();
    let (peer, local) = (text(stream.socket().peer_addr()), text(stream.socket().local_addr()));
    let socket = Socket::Tls(Arc::new(stream));
    object(Io { socket, rest: Vec::new(), rest_at: 0, peer, local, _guard: None }, &API)
}

/// A client's connection with what it has sent already.
pub(crate) fn taken(socket: Socket, rest: Vec<u8>, guard: SessionGuard, peer: String, local: String) -> Object {
    object(Io { socket, rest, rest_at: 0, peer, local, _guard: Some(guard) }, &API)
}

/// A poll's result as the boundary has it.
fn raw(polled: Poll<io::Result<usize>>) -> i64 {
    match polled {
        Poll::Pending => abi::IO_PENDING,
        Poll::Ready(Ok(count)) => count as i64,
        Poll::Ready(Err(error)) => -i64::from(error.raw_os_error().unwrap_or(libc::EIO)),
    }
}

/// Polls with a received waker; a panic is an I/O error.
///
/// # Safety
/// `data` is an [`Io`], `waker` is alive.
unsafe fn poll(
    data: *mut c_void,
    waker: *const Waker,
    body: impl FnOnce(&mut Io, &mut Context<'_>) -> Poll<io::Result<usize>>,
) -> i64 {
    // SAFETY: the caller's.
    let (io, waker) = unsafe { (value::<Io>(data), WakerRef::new(waker)) };
    let polled = crate::host::guarded(|| body(io, &mut Context::from_waker(waker.waker())));
    raw(polled.unwrap_or_else(|reason| Poll::Ready(Err(io::Error::other(reason)))))
}

unsafe extern "C" fn poll_read(data: *mut c_void, waker: *const Waker, buf: *mut u8, len: usize) -> i64 {
    if len == 0 {
        return 0;
    }
    // SAFETY: the contract of `ks_io_api`: the buffer is writable for the call.
    unsafe {
        let buf = std::slice::from_raw_parts_mut(buf, len);
        poll(data, waker, |io, cx| {
            let rest = &io.rest[io.rest_at..];
            if rest.is_empty() {
                return Pin::new(&mut io.socket).poll_read(cx, buf);
            }
            let count = rest.len().min(buf.len());
            buf[..count].copy_from_slice(&rest[..count]);
            io.rest_at += count;
            if io.rest_at == io.rest.len() {
                io.rest = Vec::new();
                io.rest_at = 0;
            }
            Poll::Ready(Ok(count))
        })
    }
}

unsafe extern "C" fn poll_write(data: *mut c_void, waker: *const Waker, buf: *const u8, len: usize) -> i64 {
    if len == 0 {
        return 0;
    }
    // SAFETY: as above; the buffer is readable for the call.
    unsafe {
        let buf = std::slice::from_raw_parts(buf, len);
        poll(data, waker, |io, cx| Pin::new(&mut io.socket).poll_write(cx, buf))
    }
}

unsafe extern "C" fn poll_flush(data: *mut c_void, waker: *const Waker) -> i64 {
    // SAFETY: as above.
    unsafe { poll(data, waker, |io, cx| Pin::new(&mut io.socket).poll_flush(cx).map_ok(|()| 0)) }
}

unsafe extern "C" fn poll_close(data: *mut c_void, waker: *const Waker) -> i64 {
    // SAFETY: as above.
    unsafe { poll(data, waker, |io, cx| Pin::new(&mut io.socket).poll_close(cx).map_ok(|()| 0)) }
}

unsafe extern "C" fn peer(data: *mut c_void, out: *mut Buf) {
    // SAFETY: as above; the caller gives room for one buffer.
    unsafe { out.write(Buf::new(value::<Io>(data).peer.clone())) };
}

unsafe extern "C" fn local(data: *mut c_void, out: *mut Buf) {
    // SAFETY: as above.
    unsafe { out.write(Buf::new(value::<Io>(data).local.clone())) };
}
