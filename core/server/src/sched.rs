//! How the server's threads share the processors with each other, as far as a thread may say so without privileges. Owns
//! the calls to the system; a system that knows no such thing is used as it is.
//!
//! A snapshot, a load or a replica on the same machine works for seconds without a pause. The scheduler lets a thread that
//! wakes wait until the one that runs had its slice, up to a tick of 4 ms, unless the waking thread's own slice is shorter
//! (Linux 6.12 and later, sched(7)). Who answers clients needs a processor often and for tens of microseconds, so it asks
//! for the shortest slice there is: it runs at once, and gets no more time than before.
#![allow(unsafe_code)]

use std::io;

/// The shortest slice that Linux gives, in nanoseconds.
const SHORTEST: u64 = 100_000;
/// A quarter of a processor beside another who wants it, instead of half.
const BEHIND: i32 = 5;

/// The calling thread answers clients: when it wakes, it goes before threads that work on. Threads that it starts don't
/// inherit that.
pub(crate) fn answer_clients() {
    let asked = attributes().and_then(|mut now| {
        // Whoever started the server for another class had a reason.
        if !has_slices(&now) {
            return Ok(());
        }
        now.sched_flags |= libc::SCHED_FLAG_RESET_ON_FORK as u64;
        now.sched_runtime = SHORTEST;
        set(&now)
    });
    if let Err(error) = asked {
        log::debug!("The clients' thread has no slice of its own: {error}");
    }
}

/// The calling thread does what can wait: it leaves others more of a processor that they want too.
pub(crate) fn stay_behind() {
    let nice = rustix::process::getpriority_process(None);
    if let Err(error) = nice.and_then(|nice| rustix::process::setpriority_process(None, nice.max(BEHIND))) {
        log::debug!("A thread's priority stays as it is: {error}");
    }
}

/// Whether a thread is of the usual class, whose threads get slices by their share.
fn has_slices(of: &libc::sched_attr) -> bool {
    [libc::SCHED_OTHER, libc::SCHED_BATCH].map(libc::c_int::cast_unsigned).contains(&of.sched_policy)
}

/// The calling thread's scheduling attributes.
fn attributes() -> io::Result<libc::sched_attr> {
    // SAFETY: a structure of integers.
    let mut now: libc::sched_attr = unsafe { std::mem::zeroed() };
    let size = size_of_val(&now) as libc::c_uint;
    // SAFETY: the kernel writes at most `size` bytes, those of `now`.
    let got = unsafe { libc::syscall(libc::SYS_sched_getattr, 0, &raw mut now, size, 0) };
    if got == 0 { Ok(now) } else { Err(io::Error::last_os_error()) }
}

fn set(wanted: &libc::sched_attr) -> io::Result<()> {
    // SAFETY: the kernel reads as many bytes as `wanted.size` says, which `attributes` filled in.
    let done = unsafe { libc::syscall(libc::SYS_sched_setattr, 0, &raw const *wanted, 0) };
    if done == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::thread;

    #[test]
    fn the_slice_is_short_and_nothing_else_changes_and_nobody_inherits_it() {
        let [before, after, child] = thread::spawn(|| {
            let before = attributes().unwrap();
            answer_clients();
            let child = thread::spawn(|| attributes().unwrap()).join().unwrap();
            [before, attributes().unwrap(), child]
        })
        .join()
        .unwrap();
        // Kernels before 6.12 know no slice of one thread, and answer 0.
        let known = before.sched_runtime != 0 && has_slices(&before);
        assert_eq!(after.sched_runtime, if known { SHORTEST } else { before.sched_runtime });
        assert_eq!(child.sched_runtime, before.sched_runtime);
        let rest = |a: &libc::sched_attr| (a.sched_policy, a.sched_nice, a.sched_priority);
        assert_eq!(rest(&after), rest(&before));
        assert_eq!(rest(&child), rest(&before));
    }

    #[test]
    fn only_the_thread_that_says_so_stays_behind() {
        let nice = || attributes().unwrap().sched_nice;
        let before = nice();
        let behind = thread::spawn(move || {
            stay_behind();
            nice()
        });
        assert_eq!(behind.join().unwrap(), before.max(BEHIND));
        assert_eq!(nice(), before);
    }
}
