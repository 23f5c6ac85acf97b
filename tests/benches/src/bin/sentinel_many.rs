//! A thousand primaries watched by one process: processor time, memory, sockets, and how regularly each of them is
//! pinged, asked for INFO and told a hello. Three sentinels of one maker watch the same primaries, so that links between
//! sentinels and hellos are real; the primaries are a listener of this program, at an address of 127/8 each. Prints a
//! Markdown table. `sentinel_many [PRIMARIES [SECONDS]]`: 1000 and 60 by default.

use keystead_benches::crowd::{Crowd, Kind, Moment, address};
use keystead_benches::proc::{cpu, status_kib};
use keystead_benches::table::{head, median, row, short};
use keystead_harness::{Client, Keystead, RedisSentinel, free_port, have};
use std::collections::BTreeMap;
use std::io;
use std::process::ExitCode;
use std::thread::sleep;
use std::time::{Duration, Instant};

/// Both makers ping once a second at this down-after.
const DOWN_AFTER_MS: u64 = 30_000;
/// Sentinels that watch.
const SENTINELS: usize = 3;
/// Everybody must know everybody within this time.
const READY: Duration = Duration::from_secs(180);
/// What discovery brought about is to be over.
const CALM: Duration = Duration::from_secs(15);
/// Kinds of words, and the time between two of them as both makers have it.
const TIMERS: [(Kind, Duration); 3] = [
    (Kind::Ping, Duration::from_secs(1)),
    (Kind::Info, Duration::from_secs(10)),
    (Kind::Hello, Duration::from_secs(2)),
];

enum Sentinel {
    Ours(Keystead, u16),
    Stock(RedisSentinel),
}

impl Sentinel {
    fn start(ours: bool, count: usize, port: u16) -> Sentinel {
        let hosts = (0..count).map(|n| (n, address(n)));
        if !ours {
            let lines = |(n, host)| {
                let down = format!("sentinel down-after-milliseconds p{n} {DOWN_AFTER_MS}");
                [format!("sentinel monitor p{n} {host} {port} 2"), down]
            };
            return Sentinel::Stock(RedisSentinel::start(&hosts.flat_map(lines).collect::<Vec<_>>()));
        }
        let own = free_port();
        let monitor = |(n, host)| {
            format!("(name: \"p{n}\", host: \"{host}\", port: {port}, quorum: 2, down_after_ms: {DOWN_AFTER_MS})")
        };
        let monitors = hosts.map(monitor).collect::<Vec<_>>().join(", ");
        let config = format!("(port: {own}, bind: [\"127.0.0.1\"], monitors: [{monitors}])");
        Sentinel::Ours(Keystead::builder().plugin("sentinel", &config).ready_port(own).start(), own)
    }

    fn pid(&self) -> u32 {
        match self {
            Sentinel::Ours(node, _) => node.process.pid(),
            Sentinel::Stock(sentinel) => sentinel.process.pid(),
        }
    }

    /// It knows all others for each primary.
    fn is_ready(&self, count: usize) -> bool {
        let port = match self {
            Sentinel::Ours(_, port) => *port,
            Sentinel::Stock(sentinel) => sentinel.port(),
        };
        // One that is busy with what it has just learnt answers the next time.
        let asked =
            Client::try_connect(port).ok().and_then(|mut client| client.try_command(&["INFO", "sentinel"]).ok());
        let info = asked.and_then(|reply| reply.as_text()).unwrap_or_default();
        info.lines()
            .filter(|line| line.contains("status=ok,") && line.trim_end().ends_with(&format!("sentinels={SENTINELS}")))
            .count()
            == count
    }
}

/// The times between two words of one kind from one sentinel to one primary, in milliseconds.
fn gaps(heard: &[Moment], kind: Kind) -> Vec<f64> {
    let mut last: BTreeMap<(u32, u16), Instant> = BTreeMap::new();
    let of_kind = heard.iter().filter(|moment| moment.kind == kind);
    of_kind
        .filter_map(|moment| {
            let before = last.insert((moment.primary, moment.from), moment.at)?;
            Some(moment.at.duration_since(before).as_secs_f64() * 1000.0)
        })
        .collect()
}

fn measure(ours: bool, count: usize, time: Duration) -> io::Result<Vec<String>> {
    let crowd = Crowd::start()?;
    let sentinels: Vec<Sentinel> = (0..SENTINELS).map(|_| Sentinel::start(ours, count, crowd.port())).collect();
    let begun = Instant::now();
    while !sentinels.iter().all(|sentinel| sentinel.is_ready(count)) {
        if begun.elapsed() > READY {
            return Err(io::Error::other(format!("not everybody knows everybody within {READY:?}")));
        }
        sleep(Duration::from_secs(1));
    }
    let ready = begun.elapsed().as_secs_f64();
    sleep(CALM);
    let pid = sentinels[0].pid();
    let (from, before) = (Instant::now(), cpu(pid));
    drop(crowd.heard());
    sleep(time);
    let heard = crowd.heard();
    let used = (cpu(pid).saturating_sub(before)).as_secs_f64() / from.elapsed().as_secs_f64();
    let links = std::fs::read_dir(format!("/proc/{pid}/fd"))?.flatten();
    let sockets = links
        .filter(|entry| std::fs::read_link(entry.path()).is_ok_and(|to| to.to_string_lossy().starts_with("socket:")))
        .count();
    let mut cells = vec![
        if ours { "keystead" } else { "redis-sentinel" }.to_owned(),
        short(used),
        short(status_kib(pid, "VmRSS") as f64 / 1024.0),
        sockets.to_string(),
        short(ready),
    ];
    for (kind, nominal) in TIMERS {
        let nominal = nominal.as_secs_f64() * 1000.0;
        let gaps = gaps(&heard, kind);
        let worst = gaps.iter().copied().fold(f64::NAN, f64::max);
        let late = gaps.iter().filter(|gap| **gap > nominal * 1.1).count();
        cells.push(format!("{} / {}, {late} of {}", short(median(&gaps)), short(worst), gaps.len()));
    }
    Ok(cells)
}

fn main() -> ExitCode {
    let number = |n: usize, default: u64| std::env::args().nth(n).and_then(|word| word.parse().ok()).unwrap_or(default);
    let (count, seconds) = (number(1, 1000), number(2, 60));
    println!(
        "{count} primaries without replicas, watched by {SENTINELS} sentinels of one maker that share two processors with \
         each other and with the primaries; one of the sentinels, over {seconds} s once all know each other. Intervals in \
         milliseconds as the primaries see them, of all three sentinels: median / worst, and how many were more than a \
         tenth too long.\n"
    );
    println!(
        "{}",
        head(&[
            "sentinel",
            "CPU seconds a second",
            "memory, MB",
            "sockets",
            "all know each other after, s",
            "PING (1000)",
            "INFO (10000)",
            "hello (2000)"
        ])
    );
    for ours in [true, false] {
        if !ours && !have("redis-sentinel") {
            println!("\nSKIPPED: redis-sentinel is not installed");
            continue;
        }
        match measure(ours, usize::try_from(count).unwrap_or(usize::MAX), Duration::from_secs(seconds)) {
            Ok(cells) => println!("{}", row(&cells)),
            Err(error) => {
                eprintln!("sentinel_many: {error}");
                return ExitCode::FAILURE;
            }
        }
    }
    ExitCode::SUCCESS
}
