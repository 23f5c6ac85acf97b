//! A wire between a replica and its primary that tests cut: owns the port and the two threads of each connection. Knows
//! nothing of what passes.

use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;

/// A wire between a replica and its primary that can be cut. What is on its way then is lost, in the middle of anything.
#[derive(Debug)]
pub struct Wire {
    port: u16,
    open: Arc<Mutex<Vec<TcpStream>>>,
    stop: Arc<AtomicBool>,
}

impl Wire {
    /// A wire whose near end is a free port of this machine, and its far one `target`.
    pub fn to(target: u16) -> Wire {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let port = listener.local_addr().expect("bound").port();
        let (open, stop) = (Arc::new(Mutex::new(Vec::new())), Arc::new(AtomicBool::new(false)));
        let wire = Wire { port, open: open.clone(), stop: stop.clone() };
        thread::spawn(move || {
            for near in listener.incoming().flatten() {
                if stop.load(Ordering::Acquire) {
                    return;
                }
                let Ok(far) = TcpStream::connect(("127.0.0.1", target)) else { continue };
                let ends = [&near, &far].map(|end| end.try_clone().expect("a descriptor"));
                open.lock().expect("no panic").extend(ends);
                let back = [&far, &near].map(|end| end.try_clone().expect("a descriptor"));
                thread::spawn(move || pass(near, far));
                let [from, to] = back;
                thread::spawn(move || pass(from, to));
            }
        });
        wire
    }

    /// Where a replica finds its primary.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Breaks what is connected now; whoever comes again is let through.
    pub fn cut(&self) {
        for end in self.open.lock().expect("no panic").drain(..) {
            let _ = end.shutdown(Shutdown::Both);
        }
    }
}

impl Drop for Wire {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Release);
        self.cut();
        // Wakes the listener, which then ends.
        let _ = TcpStream::connect(("127.0.0.1", self.port));
    }
}

/// Small pieces, so that a cut falls anywhere.
fn pass(mut from: TcpStream, mut to: TcpStream) {
    let mut piece = [0; 700];
    while let Ok(read) = from.read(&mut piece) {
        if read == 0 || to.write_all(&piece[..read]).is_err() {
            break;
        }
    }
    let _ = to.shutdown(Shutdown::Both);
}
