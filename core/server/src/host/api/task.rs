//! Tasks, timers, blocking work, sockets.

use super::{asynchronous, caller, failed};
use crate::host::guarded;
use crate::host::objects;
use crate::tls;
use async_io::Async;
use async_std::net::{TcpListener, ToSocketAddrs};
use async_std::task;
use keystead_abi::glue::drop_future;
use keystead_abi::{self as abi, Buf, Future, Out, Str};
use std::ffi::c_void;
use std::io;
use std::net::{IpAddr, SocketAddr, TcpStream as Socket};
use std::time::{Duration, Instant};

pub(super) unsafe extern "C" fn spawn(host: *mut c_void, future: Future) -> u64 {
    // SAFETY: the contract of `ks_host_api`: the future is handed over.
    let plugin = unsafe { caller(host) };
    if !plugin.live() {
        // SAFETY: as above.
        unsafe { drop_future(future) };
        return 0;
    }
    guarded(|| plugin.spawn(future)).unwrap_or(0)
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
    host: *mut c_void,
    run: unsafe extern "C" fn(*mut c_void),
    drop: unsafe extern "C" fn(*mut c_void),
    data: *mut c_void,
) -> Future {
    // SAFETY: the contract of `ks_host_api`.
    let plugin = unsafe { caller(host) };
    let closure = Closure { data, drop };
    asynchronous(move || {
        // Started at once, whether it is awaited or not.
        let work = plugin.tasks.hold().map(|hold| {
            task::spawn_blocking(move || {
                // SAFETY: data and functions belong together.
                unsafe { run(closure.data()) }
                // In this order: it is in the plugin's code until the closure is dropped.
                std::mem::drop(closure);
                std::mem::drop(hold);
            })
        });
        async move {
            match work {
                Some(work) => work.await,
                None => return failed("the plugin was stopped"),
            }
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
            Ok(stream) => Out { object: objects::io::tcp(stream.into()), ..Out::DONE },
            Err(error) => failed(error.to_string()),
        }
    })
}

pub(super) unsafe extern "C" fn tls_connect(host: *mut c_void, endpoint: u32, addr: Str, source: Str) -> Future {
    // SAFETY: as above.
    let (plugin, addr, source) = unsafe { (caller(host), addr.text(), source.text()) };
    asynchronous(move || async move {
        let both = plugin.engine(endpoint).and_then(|service| service.tls().now());
        let stream = match connect(&addr, &source).await {
            Ok(stream) => stream,
            Err(error) => return failed(error.to_string()),
        };
        match encrypt(stream, &addr, both.as_deref()).await {
            Ok(stream) => Out { object: objects::io::encrypted(stream), ..Out::DONE },
            Err(why) => failed(why),
        }
    })
}

/// Shakes hands over a connection that is there.
async fn encrypt(stream: Socket, addr: &str, both: Option<&tls::Both>) -> Result<tls::Stream, String> {
    let host = addr.rsplit_once(':').map_or(addr, |(host, _)| host).trim_matches(['[', ']']);
    tls::connect(stream, host, both).await
}

/// Connects, from an own address if one is given.
async fn connect(addr: &str, source: &str) -> io::Result<Socket> {
    let source = match source {
        "" => None,
        text => Some(text.parse::<IpAddr>().map_err(|_| invalid(format!("'{text}' is no address")))?),
    };
    let mut last = io::Error::new(io::ErrorKind::NotFound, "the name has no address");
    for target in addr.to_socket_addrs().await? {
        let dialled = match source {
            None => Async::<Socket>::connect(target).await.and_then(Async::into_inner),
            Some(source) if source.is_ipv4() == target.is_ipv4() => dial(target, SocketAddr::new(source, 0)).await,
            Some(_) => continue,
        };
        match dialled {
            Ok(stream) => {
                stream.set_nodelay(true)?;
                return Ok(stream);
            }
            Err(error) => last = error,
        }
    }
    Err(last)
}

fn invalid(why: String) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidInput, why)
}

async fn dial(target: SocketAddr, source: SocketAddr) -> io::Result<Socket> {
    let socket = socket2::Socket::new(socket2::Domain::for_address(target), socket2::Type::STREAM, None)?;
    socket.set_nonblocking(true)?;
    socket.bind(&source.into())?;
    match socket.connect(&target.into()) {
        Ok(()) => {}
        Err(error) if error.raw_os_error() == Some(libc::EINPROGRESS) => {}
        Err(error) => return Err(error),
    }
    let stream = Async::new(Socket::from(socket))?;
    stream.writable().await?;
    if let Some(error) = stream.get_ref().take_error()? {
        return Err(error);
    }
    stream.into_inner()
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
