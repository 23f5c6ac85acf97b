//! Tasks, timers, blocking work, sockets.

use super::{asynchronous, caller, failed};
use crate::host::guarded;
use crate::host::objects;
use async_std::net::{TcpListener, TcpStream, ToSocketAddrs};
use async_std::task;
use keystead_abi::glue::drop_future;
use keystead_abi::{self as abi, Buf, Future, Out, Str};
use std::ffi::c_void;
use std::io;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

pub(super) unsafe extern "C" fn spawn(host: *mut c_void, future: Future) -> u64 {
    // SAFETY: the contract of `ks_host_api`: the future is handed over.
    let plugin = unsafe { caller(host) };
    if !plugin.live() {
        // SAFETY: as above.
        unsafe { drop_future(future) };
        return 0;
    }
    guarded(|| plugin.spawn(future, |_| ())).unwrap_or(0)
}

pub(super) unsafe extern "C" fn cancel(host: *mut c_void, id: u64) {
    // SAFETY: as above.
    let plugin = unsafe { caller(host) };
    let _ = guarded(|| plugin.tasks.cancel(id));
}

pub(super) unsafe extern "C" fn sleep_us(_host: *mut c_void, us: u64) -> Future {
    // Longer than any process lives, but within what the timer can add up.
    let time = Duration::from_micros(us.min(u64::MAX >> 8));
    asynchronous(move || async move {
        task::sleep(time).await;
        Out::DONE
    })
}

/// A C closure that is called at most once and dropped exactly once.
struct Closure {
    data: *mut c_void,
    drop: unsafe extern "C" fn(*mut c_void),
}

// SAFETY: the contract of `blocking` and `turn`: the closure may run and be dropped on any thread, one at a time.
unsafe impl Send for Closure {}

impl Closure {
    fn data(&self) -> *mut c_void {
        self.data
    }
}

impl Drop for Closure {
    fn drop(&mut self) {
        // SAFETY: called once.
        unsafe { (self.drop)(self.data) }
    }
}

pub(super) unsafe extern "C" fn blocking(
    _host: *mut c_void,
    run: unsafe extern "C" fn(*mut c_void),
    drop: unsafe extern "C" fn(*mut c_void),
    data: *mut c_void,
) -> Future {
    let closure = Closure { data, drop };
    asynchronous(move || {
        // Started at once, whether it is awaited or not.
        let work = task::spawn_blocking(move || {
            // SAFETY: data and functions belong together.
            unsafe { run(closure.data()) }
        });
        async move {
            work.await;
            Out::DONE
        }
    })
}

/// What a ticking callback is called with.
#[derive(Clone, Copy)]
struct Tick {
    tick: unsafe extern "C" fn(*mut c_void) -> u32,
    data: *mut c_void,
}

// SAFETY: the contract of `every_us`: the callback may be called on any thread, one call at a time.
unsafe impl Send for Tick {}

impl Tick {
    fn call(&self) -> bool {
        // SAFETY: data and function belong together.
        unsafe { (self.tick)(self.data) != 0 }
    }
}

pub(super) unsafe extern "C" fn every_us(
    host: *mut c_void,
    us: u64,
    tick: unsafe extern "C" fn(*mut c_void) -> u32,
    data: *mut c_void,
) -> u64 {
    // SAFETY: as above.
    let plugin = unsafe { caller(host) };
    let period = Duration::from_micros(us.clamp(1_000, u64::MAX >> 8));
    let tick = Tick { tick, data };
    guarded(|| {
        plugin.tasks.spawn(async move {
            let mut next = Instant::now() + period;
            loop {
                task::sleep(next.saturating_duration_since(Instant::now())).await;
                if !tick.call() {
                    return;
                }
                next = (next + period).max(Instant::now());
            }
        })
    })
    .unwrap_or(0)
}

pub(super) unsafe extern "C" fn tcp_connect(_host: *mut c_void, addr: Str, source: Str) -> Future {
    // SAFETY: the strings live for the call.
    let (addr, source) = unsafe { (addr.text(), source.text()) };
    asynchronous(move || async move {
        match connect(&addr, &source).await {
            Ok(stream) => Out { object: objects::io::tcp(stream), ..Out::DONE },
            Err(error) => failed(error.to_string()),
        }
    })
}

async fn connect(addr: &str, source: &str) -> io::Result<TcpStream> {
    let stream = if source.is_empty() { TcpStream::connect(addr).await? } else { connect_from(addr, source).await? };
    stream.set_nodelay(true)?;
    Ok(stream)
}

/// Connects from an own address.
async fn connect_from(addr: &str, source: &str) -> io::Result<TcpStream> {
    let source: std::net::IpAddr =
        source.parse().map_err(|_| io::Error::new(io::ErrorKind::InvalidInput, format!("'{source}' is no address")))?;
    let mut last = io::Error::new(io::ErrorKind::NotFound, "the name has no address");
    for target in addr.to_socket_addrs().await? {
        if target.is_ipv4() != source.is_ipv4() {
            continue;
        }
        match dial(target, SocketAddr::new(source, 0)).await {
            Ok(stream) => return Ok(stream),
            Err(error) => last = error,
        }
    }
    Err(last)
}

async fn dial(target: SocketAddr, source: SocketAddr) -> io::Result<TcpStream> {
    let socket = socket2::Socket::new(socket2::Domain::for_address(target), socket2::Type::STREAM, None)?;
    socket.set_nonblocking(true)?;
    socket.bind(&source.into())?;
    match socket.connect(&target.into()) {
        Ok(()) => {}
        Err(error) if error.raw_os_error() == Some(libc::EINPROGRESS) => {}
        Err(error) => return Err(error),
    }
    let stream = async_io::Async::new(std::net::TcpStream::from(socket))?;
    stream.writable().await?;
    if let Some(error) = stream.get_ref().take_error()? {
        return Err(error);
    }
    Ok(TcpStream::from(stream.into_inner()?))
}

pub(super) unsafe extern "C" fn tcp_listen(_host: *mut c_void, addr: Str) -> Future {
    // SAFETY: the string lives for the call.
    let addr = unsafe { addr.text() };
    asynchronous(move || async move {
        match TcpListener::bind(&addr).await {
            Ok(listener) => Out { object: objects::listener::new(listener), ..Out::DONE },
            Err(error) => failed(format!("can't listen on {addr}: {error}")),
        }
    })
}

pub(super) unsafe extern "C" fn resolve(_host: *mut c_void, name: Str) -> Future {
    // SAFETY: the string lives for the call.
    let name = unsafe { name.text() };
    asynchronous(move || async move {
        match (name.as_str(), 0).to_socket_addrs().await {
            Ok(found) => {
                let mut lines: Vec<String> = found.map(|addr| addr.ip().to_string()).collect();
                lines.dedup();
                Out { status: abi::OK, buf: Buf::new(lines.join("\n")), ..Out::DONE }
            }
            Err(error) => failed(format!("{name}: {error}")),
        }
    })
}
