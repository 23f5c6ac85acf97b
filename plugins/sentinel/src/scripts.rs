//! The queue of notification and reconfiguration scripts: Redis' limits, retries and time limit.
//! Pure: it says what to start and what to kill; starting is the shell's.

use crate::events::Level;
use crate::tempo::Tempo;
use crate::types::Mono;
use crate::wire::Reply;
use std::collections::VecDeque;

/// Scripts in the queue and running at most; the oldest that waits makes room (Redis' numbers).
const MAX_QUEUE: usize = 256;
/// Scripts running at a time.
const MAX_RUNNING: usize = 16;
/// Tries at most.
const MAX_TRIES: u32 = 10;

/// How a script ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ended {
    /// With this status.
    Exit(i32),
    /// By this signal.
    Signal(i32),
}

/// What is to be done about scripts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Order {
    /// Start it; answers with `Event::ScriptStarted` and `Event::ScriptEnded`.
    Run(u64, Vec<String>),
    /// End it.
    Kill(u64),
    /// An event, as Redis words it.
    Tell(Level, &'static str, String),
}

#[derive(Clone, Debug)]
struct Job {
    id: u64,
    argv: Vec<String>,
    tries: u32,
    /// Running since then, or due then.
    at: Mono,
    running: bool,
    killed: bool,
    pid: u32,
}

/// The queue.
#[derive(Clone, Debug, Default)]
pub struct Scripts {
    jobs: VecDeque<Job>,
    last: u64,
}

impl Scripts {
    /// Puts a script and its arguments into the queue.
    pub fn push(&mut self, argv: Vec<String>, now: Mono) {
        if self.jobs.len() >= MAX_QUEUE
            && let Some(oldest) = self.jobs.iter().position(|job| !job.running)
        {
            self.jobs.remove(oldest);
        }
        self.last += 1;
        self.jobs.push_back(Job { id: self.last, argv, tries: 0, at: now, running: false, killed: false, pid: 0 });
    }

    /// What is due now.
    pub fn tick(&mut self, now: Mono, tempo: &Tempo) -> Vec<Order> {
        let mut orders = Vec::new();
        let mut running = self.running();
        for job in &mut self.jobs {
            if job.running && !job.killed && now.since(job.at) >= tempo.script_max_runtime {
                job.killed = true;
                let text = format!("{} {}", job.argv[0], job.pid);
                orders.push(Order::Tell(Level::Warning, "-script-timeout", text));
                orders.push(Order::Kill(job.id));
            } else if !job.running && now >= job.at && running < MAX_RUNNING {
                (job.running, job.killed, job.at, job.pid) = (true, false, now, 0);
                job.tries += 1;
                running += 1;
                orders.push(Order::Run(job.id, job.argv.clone()));
            }
        }
        orders
    }

    /// The next moment at which something is due.
    #[must_use]
    pub fn next_wake(&self, tempo: &Tempo) -> Mono {
        let room = self.running() < MAX_RUNNING;
        let due = |job: &Job| match job.running {
            true if job.killed => Mono::NEVER,
            true => job.at.plus(tempo.script_max_runtime),
            false if room => job.at,
            false => Mono::NEVER,
        };
        self.jobs.iter().map(due).min().unwrap_or(Mono::NEVER)
    }

    /// One has begun.
    pub fn started(&mut self, id: u64, pid: u32) -> Vec<Order> {
        if let Some(job) = self.jobs.iter_mut().find(|job| job.id == id) {
            job.pid = pid;
        }
        vec![Order::Tell(Level::Debug, "+script-child", pid.to_string())]
    }

    /// One has ended: gone, or tried again if it asks for that (status 1, or a signal).
    pub fn ended(&mut self, id: u64, how: Ended, now: Mono, tempo: &Tempo) -> Vec<Order> {
        let Some(at) = self.jobs.iter().position(|job| job.id == id) else { return Vec::new() };
        let job = &mut self.jobs[at];
        let (status, signal) = match how {
            Ended::Exit(status) => (status, 0),
            Ended::Signal(signal) => (0, signal),
        };
        let mut orders = vec![Order::Tell(Level::Debug, "-script-child", format!("{} {status} {signal}", job.pid))];
        let again = (signal != 0 || status == 1) && job.tries < MAX_TRIES;
        if again {
            let wait = tempo.script_retry_delay.saturating_mul(1 << (job.tries - 1));
            (job.running, job.at, job.pid) = (false, now.plus(wait), 0);
            return orders;
        }
        if signal != 0 || status != 0 {
            let text = format!("{} {signal} {status}", job.argv[0]);
            orders.push(Order::Tell(Level::Warning, "-script-error", text));
        }
        self.jobs.remove(at);
        orders
    }

    /// How many run.
    #[must_use]
    pub fn running(&self) -> usize {
        self.jobs.iter().filter(|job| job.running).count()
    }

    /// How many are in the queue, the running ones included.
    #[must_use]
    pub fn len(&self) -> usize {
        self.jobs.len()
    }

    /// The queue is empty.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.jobs.is_empty()
    }

    /// `SENTINEL PENDING-SCRIPTS`
    #[must_use]
    pub fn describe(&self, now: Mono) -> Reply {
        let bulk = |text: String| Reply::Bulk(text);
        let one = |job: &Job| {
            let argv = job.argv.iter().cloned().map(bulk).collect();
            let (flags, time, ms) = match job.running {
                true => ("running", "run-time", now.since(job.at)),
                false => ("scheduled", "run-delay", job.at.since(now)),
            };
            Reply::Map(vec![
                ("argv".into(), Reply::Array(argv)),
                ("flags".into(), bulk(flags.into())),
                ("pid".into(), bulk(job.pid.to_string())),
                (time.into(), bulk(ms.to_string())),
                ("retry-num".into(), bulk(job.tries.to_string())),
            ])
        };
        Reply::Array(self.jobs.iter().map(one).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tempo::DEFAULT;

    fn runs(orders: &[Order]) -> Vec<u64> {
        orders.iter().filter_map(|order| if let Order::Run(id, _) = order { Some(*id) } else { None }).collect()
    }

    fn told(orders: &[Order]) -> Vec<String> {
        let told = orders.iter().filter_map(|order| match order {
            Order::Tell(Level::Debug, ..) => None,
            Order::Tell(_, name, text) => Some(format!("{name} {text}")),
            _ => None,
        });
        told.collect()
    }

    #[test]
    fn a_script_that_asks_for_it_is_tried_ten_times_with_doubling_waits() {
        let mut scripts = Scripts::default();
        scripts.push(vec!["/s".into()], Mono(0));
        let (mut now, mut waits) = (Mono(0), Vec::new());
        for _ in 0..9 {
            assert_eq!(runs(&scripts.tick(now, &DEFAULT)).len(), 1);
            assert!(told(&scripts.ended(1, Ended::Exit(1), now, &DEFAULT)).is_empty());
            let next = scripts.next_wake(&DEFAULT);
            waits.push(next.since(now));
            assert!(scripts.tick(Mono(next.0 - 1), &DEFAULT).is_empty());
            now = next;
        }
        assert_eq!(waits[..3], [30_000, 60_000, 120_000]);
        scripts.tick(now, &DEFAULT);
        assert_eq!(told(&scripts.ended(1, Ended::Exit(1), now, &DEFAULT)), ["-script-error /s 0 1"]);
        assert!(scripts.is_empty());
    }

    #[test]
    fn status_two_is_final_and_zero_is_silent() {
        for (status, expected) in [(0, 0), (2, 1)] {
            let mut scripts = Scripts::default();
            scripts.push(vec!["/s".into()], Mono(0));
            scripts.tick(Mono(0), &DEFAULT);
            assert_eq!(told(&scripts.ended(1, Ended::Exit(status), Mono(1), &DEFAULT)).len(), expected);
            assert!(scripts.is_empty());
        }
    }

    #[test]
    fn sixteen_run_and_256_are_kept() {
        let mut scripts = Scripts::default();
        for n in 0..300 {
            scripts.push(vec![format!("/{n}")], Mono(0));
        }
        assert_eq!(scripts.len(), 256);
        assert_eq!(runs(&scripts.tick(Mono(0), &DEFAULT)).len(), 16);
        assert_eq!(scripts.next_wake(&DEFAULT), Mono(60_000));
        assert!(runs(&scripts.tick(Mono(1), &DEFAULT)).is_empty());
    }

    #[test]
    fn one_that_runs_too_long_is_killed_once_and_tried_again() {
        let mut scripts = Scripts::default();
        scripts.push(vec!["/s".into()], Mono(0));
        scripts.tick(Mono(0), &DEFAULT);
        scripts.started(1, 77);
        let orders = scripts.tick(Mono(60_000), &DEFAULT);
        assert_eq!(told(&orders), ["-script-timeout /s 77"]);
        assert!(orders.contains(&Order::Kill(1)));
        assert!(scripts.tick(Mono(60_001), &DEFAULT).is_empty());
        scripts.ended(1, Ended::Signal(9), Mono(60_001), &DEFAULT);
        assert_eq!(scripts.next_wake(&DEFAULT), Mono(90_001));
    }
}
