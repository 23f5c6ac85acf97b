//! A damaged library may end the process in which it is opened: the dynamic linker believes what it reads, and a signal says
//! nothing to whoever looks for the reason. Owns what the log gets then, and the handlers of those signals meanwhile.

use crate::logging;
use nix::sys::signal::Signal::{SIGABRT, SIGBUS, SIGFPE, SIGILL, SIGSEGV};
use nix::sys::signal::{SaFlags, SigAction, SigHandler, SigSet, Signal, sigaction};
use parking_lot::{Mutex, MutexGuard};
use std::ffi::c_int;
use std::path::Path;
use std::ptr::null_mut;
use std::sync::atomic::{AtomicI32, AtomicPtr, AtomicUsize, Ordering};

const FATAL: [Signal; 5] = [SIGSEGV, SIGBUS, SIGILL, SIGFPE, SIGABRT];

/// What the handler writes, and where: a handler may neither allocate nor lock.
static LINE: AtomicPtr<u8> = AtomicPtr::new(null_mut());
static LENGTH: AtomicUsize = AtomicUsize::new(0);
static DESCRIPTOR: AtomicI32 = AtomicI32::new(-1);

/// One library is opened at a time.
static ONE: Mutex<()> = Mutex::new(());

/// As long as it lives, the end of the process by one of the signals is told.
pub(super) struct Told {
    line: String,
    /// The handlers that were there: the runtime's for a stack that overflows.
    before: Vec<(Signal, SigAction)>,
    _one: MutexGuard<'static, ()>,
}

impl Told {
    pub(super) fn opening(path: &Path) -> Told {
        let one = ONE.lock();
        let words = format!("{}: can't be loaded: it is damaged, and opening it ends the process", path.display());
        let (descriptor, line) = logging::last_line(&words);
        let mut told = Told { line, before: Vec::new(), _one: one };
        LENGTH.store(told.line.len(), Ordering::Relaxed);
        DESCRIPTOR.store(descriptor, Ordering::Relaxed);
        LINE.store(told.line.as_mut_ptr(), Ordering::Release);
        // Once: what comes behind the handler is the signal's own way.
        let flags = SaFlags::SA_RESETHAND | SaFlags::SA_ONSTACK;
        let tells = SigAction::new(SigHandler::Handler(fell), flags, SigSet::empty());
        for signal in FATAL {
            // SAFETY: the handler does nothing that one may not do.
            if let Ok(before) = unsafe { sigaction(signal, &tells) } {
                told.before.push((signal, before));
            }
        }
        told
    }
}

impl Drop for Told {
    fn drop(&mut self) {
        for (signal, before) in &self.before {
            // SAFETY: it was in force before.
            let _ = unsafe { sigaction(*signal, before) };
        }
        LINE.store(null_mut(), Ordering::Release);
    }
}

extern "C" fn fell(_signal: c_int) {
    let line = LINE.load(Ordering::Acquire);
    if !line.is_null() {
        let (descriptor, length) = (DESCRIPTOR.load(Ordering::Relaxed), LENGTH.load(Ordering::Relaxed));
        // SAFETY: the line lives until `LINE` says otherwise, and has so many bytes.
        unsafe { libc::write(descriptor, line.cast(), length) };
    }
}
