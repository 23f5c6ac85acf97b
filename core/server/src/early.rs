//! What must happen while the process has one thread: changes of the environment (the runtime's thread count), the daemon's
//! fork and what its starter is told, the pid file. Owns nothing afterwards.

use crate::config::Settings;
use nix::unistd::ForkResult;
use parking_lot::RwLock;
use std::ffi::OsString;
use std::io::{self, PipeReader, PipeWriter, Read, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// The variable from which async-std takes its number of threads, once.
const THREADS: &str = "ASYNC_STD_THREAD_COUNT";

/// The runtime's threads for an instance whose only long turns are its own: one may wait for the engine, and timers and
/// links go on. Client sockets have threads beside these.
const ALONE: usize = 2;
/// Threads beside those when two engines live in one process: a plugin's tasks may wait for a long turn of the data
/// engine (a script, DEBUG SLEEP), each on a thread, and the sentinel beside it must not miss a ping meanwhile.
const BESIDE_EACH_OTHER: usize = 6;

/// The variable from which the standard library takes the size of threads' stacks, once.
const STACK_VARIABLE: &str = "RUST_MIN_STACK";
/// As much as a main thread has: a script may nest 200 calls of Lua's own library, with some 9 KiB each.
const STACK_BYTES: usize = 8 << 20;

/// Threads beside the runtime's: one for sockets, one for memory, those of the clients of two ports, two that read and
/// write files.
const BESIDE_RUNTIME: usize = 6;

/// The runtime's threads. A larger number in the environment is kept.
fn runtime_threads(settings: &Settings) -> usize {
    let least = if settings.plugins.len() > 1 { ALONE + BESIDE_EACH_OTHER } else { ALONE };
    let given = std::env::var(THREADS).ok().and_then(|v| v.parse::<usize>().ok()).unwrap_or(0);
    given.max(least)
}

/// Says how many threads the runtime starts and how large their stacks are.
pub(crate) fn set_runtime_threads(settings: &Settings) {
    set_variable(THREADS, &runtime_threads(settings).to_string());
    let given = std::env::var(STACK_VARIABLE).ok().and_then(|v| v.parse::<usize>().ok()).unwrap_or(0);
    if given < STACK_BYTES {
        set_variable(STACK_VARIABLE, &STACK_BYTES.to_string());
    }
}

/// Makes as many threads as will be needed, and lets them go: who waits for one that can't be made later waits for ever.
pub(crate) fn enough_threads(settings: &Settings) -> Result<(), String> {
    let needed = runtime_threads(settings) + BESIDE_RUNTIME;
    let (hold, mut made, mut refused) = (Arc::new(RwLock::new(())), Vec::new(), None);
    let holding = hold.write();
    while made.len() < needed && refused.is_none() {
        let hold = hold.clone();
        match std::thread::Builder::new().spawn(move || drop(hold.read())) {
            Ok(thread) => made.push(thread),
            Err(error) => refused = Some(error),
        }
    }
    drop(holding);
    let count = made.len();
    made.into_iter().for_each(|thread| drop(thread.join()));
    refused.map_or(Ok(()), |error| {
        Err(format!(
            "The system gives {count} threads and no more ({error}), about {needed} are needed: see 'ulimit -u', \
             'ulimit -v', TasksMax of systemd and pids.max of a container. Exiting."
        ))
    })
}

#[allow(unsafe_code)]
fn set_variable(name: &str, value: &str) {
    // SAFETY: called from main before any thread is started, so nobody reads the environment at the same time.
    unsafe { std::env::set_var(name, value) };
}

/// A variable's value, which no process started from here on inherits.
#[allow(unsafe_code)]
pub(crate) fn take_variable(name: &str) -> Option<OsString> {
    let value = std::env::var_os(name);
    // SAFETY: as in `set_variable`.
    unsafe { std::env::remove_var(name) };
    value
}

/// What a starter hears when all is well; anything else is why it isn't.
const SERVES: &[u8] = b"+";

/// The process in which a daemon was started: it waits for what becomes of it, and ends with that as its word. A daemon's own
/// standard error is nowhere.
#[derive(Debug)]
pub(crate) struct Starter(PipeWriter);

impl Starter {
    /// The daemon serves, be it that it still loads.
    pub(crate) fn serves(mut self) {
        // Whoever started it may be gone.
        let _ = self.0.write_all(SERVES);
    }

    /// It ends before it has served.
    pub(crate) fn refused(mut self, why: &str) {
        let _ = self.0.write_all(why.as_bytes());
    }
}

/// Detaches from the terminal. Paths were made absolute before, because the folder changes to `/`.
#[allow(unsafe_code)]
pub(crate) fn daemonize() -> io::Result<Starter> {
    let (word, starter) = io::pipe()?;
    // SAFETY: called from run before any thread is started, so the child has all there is.
    match unsafe { nix::unistd::fork() }? {
        ForkResult::Parent { .. } => {
            drop(starter);
            std::process::exit(heard(word))
        }
        ForkResult::Child => {
            drop(word);
            nix::unistd::daemon(false, false)?;
            Ok(Starter(starter))
        }
    }
}

/// The starter's exit status: it waits until the daemon has said its word, or has gone without one.
fn heard(mut word: PipeReader) -> i32 {
    let mut told = Vec::new();
    if word.read_to_end(&mut told).is_ok() && told == SERVES {
        return 0;
    }
    match told.as_slice() {
        [] => eprintln!("keystead: the process that was detached ended before it served"),
        why => eprintln!("{}", String::from_utf8_lossy(why)),
    }
    1
}

/// The pid file: written at the start, removed when the guard is dropped, unless another process has written it since.
#[derive(Debug)]
pub(crate) struct PidFile(PathBuf);

impl PidFile {
    /// Writes this process' id.
    pub(crate) fn write(path: &Path) -> io::Result<PidFile> {
        std::fs::write(path, PidFile::text())?;
        Ok(PidFile(path.to_path_buf()))
    }

    fn text() -> String {
        format!("{}\n", std::process::id())
    }
}

impl Drop for PidFile {
    fn drop(&mut self) {
        if std::fs::read_to_string(&self.0).is_ok_and(|text| text == PidFile::text()) {
            let _ = std::fs::remove_file(&self.0);
        }
    }
}
