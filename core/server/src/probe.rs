//! What only the operating system knows, for INFO: resident memory, the machine's memory, processor time.

use crate::alloc;
use crate::net::service::mono_us;
use keystead_engine::core::{Probe, Spent};
use nix::sys::resource::{UsageWho, getrusage};
use nix::sys::time::TimeValLike;
use parking_lot::Mutex;
use std::fs::File;
use std::io::Read;
use std::sync::OnceLock;

/// So long holds what the system said of memory: to ask it takes longer than most sections of INFO. (Redis asks ten times a
/// second, whether anybody wants to know or not.)
const HOLDS_US: u64 = 100_000;

static SEEN: Mutex<Seen> = Mutex::new(Seen(None));

/// When the system was asked, and what it said.
struct Seen(Option<(u64, Probe)>);

impl Seen {
    fn at(&mut self, now_us: u64, ask: impl FnOnce() -> Probe) -> Probe {
        match self.0 {
            Some((then_us, seen)) if now_us.saturating_sub(then_us) < HOLDS_US => seen,
            _ => self.0.insert((now_us, ask())).1,
        }
    }
}

/// The process' memory and the machine's, as of the last tenth of a second. What the system doesn't tell is 0.
pub(crate) fn memory() -> Probe {
    SEEN.lock().at(mono_us(), memory_now)
}

/// MEMORY PURGE: who asks next sees what came of it.
pub(crate) fn purge() {
    alloc::purge();
    SEEN.lock().0 = None;
}

fn memory_now() -> Probe {
    let (resident, of_files) = pages().unwrap_or((0, 0));
    let page = rustix::param::page_size() as u64;
    Probe {
        rss: resident * page,
        anonymous: resident.saturating_sub(of_files) * page,
        total_memory: total_memory().unwrap_or(0),
    }
}

/// Asks it for processor time.
pub(crate) fn processor() -> Spent {
    let usage = getrusage(UsageWho::RUSAGE_SELF).ok();
    let thread = getrusage(UsageWho::RUSAGE_THREAD).ok();
    let us = |time: Option<i64>| time.unwrap_or(0).max(0) as u64;
    Spent {
        sys_us: us(usage.map(|u| u.system_time().num_microseconds())),
        user_us: us(usage.map(|u| u.user_time().num_microseconds())),
        sys_thread_us: us(thread.map(|u| u.system_time().num_microseconds())),
        user_thread_us: us(thread.map(|u| u.user_time().num_microseconds())),
    }
}

/// The system's name, release and machine, as `uname -srm` prints them.
pub(crate) fn system() -> String {
    let uname = rustix::system::uname();
    let text = |part: &std::ffi::CStr| part.to_string_lossy().into_owned();
    format!("{} {} {}", text(uname.sysname()), text(uname.release()), text(uname.machine()))
}

/// Resident pages, and those of them that have a file behind them.
fn pages() -> Option<(u64, u64)> {
    // Seven numbers, read at once.
    let mut text = [0; 256];
    let length = File::open("/proc/self/statm").ok()?.read(&mut text).ok()?;
    let mut words = std::str::from_utf8(&text[..length]).ok()?.split_whitespace().skip(1).map(str::parse);
    Some((words.next()?.ok()?, words.next()?.ok()?))
}

/// It doesn't change.
fn total_memory() -> Option<u64> {
    static TOTAL: OnceLock<Option<u64>> = OnceLock::new();
    *TOTAL.get_or_init(|| {
        // What /proc/meminfo says, for which the kernel counts everything else in it too.
        let info = rustix::system::sysinfo();
        info.totalram.checked_mul(info.mem_unit.into())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_system_tells() {
        let (seen, spent) = (memory_now(), processor());
        assert!(seen.rss > 1 << 20 && seen.total_memory > seen.rss, "{seen:?}");
        assert!((1..seen.rss).contains(&seen.anonymous), "{seen:?}");
        assert!(spent.user_thread_us + spent.sys_thread_us <= spent.user_us + spent.sys_us, "{spent:?}");
        assert!(spent.user_us + spent.sys_us > 0, "{spent:?}");
        assert!(system().starts_with("Linux "));
    }

    #[test]
    fn it_is_asked_ten_times_a_second_at_most() {
        let (mut seen, mut asked) = (Seen(None), 0);
        let mut at = |now_us| {
            let ask = || {
                asked += 1;
                Probe { rss: asked, ..Probe::default() }
            };
            seen.at(now_us, ask).rss
        };
        let told = [5, 6, 5 + HOLDS_US - 1, 5 + HOLDS_US, 6 + HOLDS_US, 5 + 2 * HOLDS_US].map(&mut at);
        assert_eq!(told, [1, 1, 1, 2, 2, 3]);
    }
}
