//! What the kernel says of a process: processor time and resident memory. Reads /proc, changes nothing but
//! where and when the calling thread runs.

use std::{
    fs,
    path::PathBuf,
    process::{Command, Stdio},
    time::Duration,
};

/// Processor time all threads of `pid` have used, summed from the scheduler's nanosecond counters.
///
/// Threads that ended in between are missed; the servers measured here keep theirs.
#[must_use]
pub fn cpu(pid: u32) -> Duration {
    let mut nanos = 0u64;
    let Ok(tasks) = fs::read_dir(format!("/proc/{pid}/task")) else { return Duration::ZERO };
    for task in tasks.flatten() {
        if let Ok(text) = fs::read_to_string(task.path().join("schedstat")) {
            nanos += text.split_whitespace().next().and_then(|n| n.parse::<u64>().ok()).unwrap_or(0);
        }
    }
    Duration::from_nanos(nanos)
}

/// Of the processor time of all threads of `pid`, what they spent in code of their own, not in the kernel's; in ticks of the
/// kernel (10 ms), which it divides in proportion to what it saw.
#[must_use]
pub fn cpu_own(pid: u32) -> Duration {
    /// `utime` in /proc/PID/stat, counted behind the process' name.
    const UTIME: usize = 11;
    let text = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    let fields = text.rsplit_once(')').map_or("", |(_, fields)| fields);
    let ticks = fields.split_whitespace().nth(UTIME).and_then(|n| n.parse().ok()).unwrap_or(0);
    Duration::from_secs(ticks) / u32::try_from(rustix::param::clock_ticks_per_second()).unwrap_or(100)
}

/// What the scheduler knows of a thread.
#[derive(Clone, Copy, Debug, Default)]
pub struct Sched {
    /// How long it ran.
    pub ran: Duration,
    /// How long it could have run, but another had the processor.
    pub waited: Duration,
}

impl Sched {
    /// From the text of a `schedstat` file of /proc.
    #[must_use]
    pub fn parse(text: &str) -> Sched {
        let mut nanos = text.split_whitespace().map(|n| Duration::from_nanos(n.parse().unwrap_or(0)));
        Sched { ran: nanos.next().unwrap_or_default(), waited: nanos.next().unwrap_or_default() }
    }
}

/// The `schedstat` files of a process' threads with a thread's name.
#[must_use]
pub fn threads(pid: u32) -> Vec<(String, PathBuf)> {
    let tasks = fs::read_dir(format!("/proc/{pid}/task")).into_iter().flatten().flatten();
    tasks
        .map(|task| {
            let name = fs::read_to_string(task.path().join("comm")).unwrap_or_default();
            (name.trim().to_owned(), task.path().join("schedstat"))
        })
        .collect()
}

/// A field of /proc/PID/status in KiB, such as `VmRSS` or `VmHWM`.
#[must_use]
pub fn status_kib(pid: u32, field: &str) -> u64 {
    let Ok(text) = fs::read_to_string(format!("/proc/{pid}/status")) else { return 0 };
    text.lines()
        .find_map(|line| line.strip_prefix(field)?.strip_prefix(':'))
        .and_then(|rest| rest.split_whitespace().next()?.parse().ok())
        .unwrap_or(0)
}

/// Bytes that a process shares with nobody and has written: what a forked child holds for itself.
#[must_use]
pub fn private_dirty(pid: u32) -> u64 {
    let Ok(text) = fs::read_to_string(format!("/proc/{pid}/smaps_rollup")) else { return 0 };
    text.lines()
        .find_map(|l| l.strip_prefix("Private_Dirty:")?.split_whitespace().next()?.parse::<u64>().ok())
        .unwrap_or(0)
        * 1024
}

/// Children of `pid` (a forked saver, for one).
#[must_use]
pub fn children(pid: u32) -> Vec<u32> {
    fs::read_to_string(format!("/proc/{pid}/task/{pid}/children"))
        .map(|text| text.split_whitespace().filter_map(|p| p.parse().ok()).collect())
        .unwrap_or_default()
}

/// Puts the calling thread on one processor, so that server and client do not share one by accident.
pub fn pin_self(processor: usize) {
    let mut set = rustix::thread::CpuSet::new();
    set.set(processor);
    if let Err(error) = rustix::thread::sched_setaffinity(None, &set) {
        eprintln!("not pinned to processor {processor}: {error}");
    }
}

/// The calling thread gets a processor whenever it wants one, as a client on another machine would. Answers whether it could
/// be arranged: that takes root's rights.
#[must_use]
pub fn go_first() -> bool {
    let thread = rustix::thread::gettid().as_raw_nonzero().to_string();
    let asked = Command::new("chrt").args(["--fifo", "--pid", "1", &thread]).stderr(Stdio::null()).status();
    asked.is_ok_and(|status| status.success())
}

/// How many processors this machine offers.
#[must_use]
pub fn processors() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from)
}
