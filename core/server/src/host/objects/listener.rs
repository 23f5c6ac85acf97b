//! Listening sockets that plugins asked for. What connects goes to the plugin, not to an engine.

use super::{drop_object, io, object, value};
use async_std::net::{TcpListener, TcpStream};
use futures::future::BoxFuture;
use keystead_abi::glue::WakerRef;
use keystead_abi::{self as abi, Buf, ListenerApi, Object, Out, Waker};
use std::ffi::c_void;
use std::net::SocketAddr;
use std::sync::Arc;
use std::task::{Context, Poll};

type Accept = BoxFuture<'static, std::io::Result<(TcpStream, SocketAddr)>>;

struct Listener {
    socket: Arc<TcpListener>,
    accepting: Option<Accept>,
}

static API: ListenerApi = ListenerApi {
    size: size_of::<ListenerApi>() as u32,
    kind: abi::KIND_LISTENER,
    drop: drop_object::<Listener>,
    poll_accept,
    local,
};

/// A listening socket.
pub(crate) fn new(socket: TcpListener) -> Object {
    object(Listener { socket: Arc::new(socket), accepting: None }, &API)
}

fn accept(listener: &mut Listener, cx: &mut Context<'_>) -> Option<Out> {
    let socket = &listener.socket;
    let accepting = listener.accepting.get_or_insert_with(|| {
        let socket = socket.clone();
        Box::pin(async move { socket.accept().await })
    });
    let Poll::Ready(accepted) = accepting.as_mut().poll(cx) else { return None };
    listener.accepting = None;
    Some(match accepted {
        Ok((stream, peer)) => {
            let _ = stream.set_nodelay(true);
            Out { object: io::tcp(stream), buf: Buf::new(peer.to_string()), ..Out::DONE }
        }
        Err(error) => Out::failed(abi::ERR, error.to_string()),
    })
}

unsafe extern "C" fn poll_accept(data: *mut c_void, waker: *const Waker, out: *mut Out) -> u32 {
    // SAFETY: the contract of `ks_listener_api`; the caller gives room for one result.
    unsafe {
        let (listener, waker) = (value::<Listener>(data), WakerRef::new(waker));
        let done = crate::host::guarded(|| accept(listener, &mut Context::from_waker(waker.waker())));
        match done.unwrap_or_else(|reason| Some(Out::failed(abi::ERR, reason))) {
            None => abi::PENDING,
            Some(result) => {
                out.write(result);
                abi::READY
            }
        }
    }
}

unsafe extern "C" fn local(data: *mut c_void, out: *mut Buf) {
    // SAFETY: as above; the caller gives room for one buffer.
    unsafe {
        let addr = value::<Listener>(data).socket.local_addr().map(|addr| addr.to_string());
        out.write(Buf::new(addr.unwrap_or_default()));
    }
}
