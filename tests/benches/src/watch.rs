//! What a client's wait is made of. A client may also wait because the machine gave the processor to somebody else; the
//! scheduler says how long threads waited for one. Reads the kernel's counters of a server's threads and of the own one.

use crate::proc::{self, Sched};
use std::{fs::File, os::unix::fs::FileExt, path::Path, time::Duration};

/// A thread's counters, with what they were when last looked at.
struct Thread {
    file: File,
    last: Sched,
}

impl Thread {
    fn open(path: &Path) -> Option<Self> {
        Some(Self { file: File::open(path).ok()?, last: Sched::default() })
    }

    fn step(&mut self) -> Sched {
        let mut text = [0; 64];
        let read = self.file.read_at(&mut text, 0).unwrap_or(0);
        let now = Sched::parse(&String::from_utf8_lossy(&text[..read]));
        let past =
            Sched { ran: now.ran.saturating_sub(self.last.ran), waited: now.waited.saturating_sub(self.last.waited) };
        self.last = now;
        past
    }
}

/// The threads that may keep a client waiting.
pub struct Watch {
    server: Vec<Thread>,
    own: Option<Thread>,
}

impl Watch {
    /// All threads that a server has now but its snapshot's: who waits for that one's lock waits for the server. The other
    /// side is the calling thread, the only one that may look.
    #[must_use]
    pub fn new(pid: u32) -> Self {
        Self::of(pid, |name| name != "snapshot")
    }

    /// Only the threads that `counts` chooses by their names.
    #[must_use]
    pub fn of(pid: u32, counts: impl Fn(&str) -> bool) -> Self {
        let threads = proc::threads(pid).into_iter().filter(|(name, _)| counts(name));
        let server = threads.filter_map(|(_, path)| Thread::open(&path)).collect();
        let mut watch = Self { server, own: Thread::open(Path::new("/proc/thread-self/schedstat")) };
        watch.look();
        watch
    }

    /// Since the last look: the most that one server thread ran, and how long it and this thread waited to run.
    pub fn look(&mut self) -> Sched {
        let own = self.own.as_mut().map_or_else(Sched::default, Thread::step);
        let most = self.server.iter_mut().map(Thread::step).fold(Sched::default(), |most, one| Sched {
            ran: most.ran.max(one.ran),
            waited: most.waited.max(one.waited),
        });
        Sched { ran: most.ran, waited: most.waited + own.waited }
    }
}

/// What writes at a steady pace would have waited on a machine with processors enough: each takes what it took less the
/// waiting for a processor, and those behind it wait for what is left of that when they are due.
#[derive(Default)]
pub struct Queue {
    behind: Duration,
}

impl Queue {
    /// One more, due `every` after the one before: from when it was due to its reply.
    pub fn add(&mut self, took: Duration, every: Duration) -> Duration {
        let latency = self.behind + took;
        self.behind = latency.saturating_sub(every);
        latency
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stall_delays_those_behind_it_too() {
        let (mut queue, ms) = (Queue::default(), Duration::from_millis);
        assert_eq!(queue.add(ms(1), ms(10)), ms(1));
        assert_eq!(queue.add(ms(25), ms(10)), ms(25));
        assert_eq!(queue.add(ms(1), ms(10)), ms(16));
        assert_eq!(queue.add(ms(1), ms(10)), ms(7));
        assert_eq!(queue.add(ms(1), ms(10)), ms(1));
    }

    #[test]
    fn this_thread_has_run() {
        let mut watch = Watch::new(std::process::id());
        let begun = std::time::Instant::now();
        while begun.elapsed() < Duration::from_millis(20) {}
        assert!(watch.look().ran >= Duration::from_millis(1));
    }
}
