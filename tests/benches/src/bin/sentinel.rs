//! What a fault costs, with real processes in network namespaces: kill -9, SIGSTOP, a pulled cable, a replica cut off
//! just before, an empty restart, frozen sentinels, and a failover asked for under load. Ours and stock redis-server with
//! redis-sentinel by the same harness. Prints a Markdown table. Needs root; makes namespaces of its own and removes them.
//! `sentinel [ROUNDS [STOCK_ROUNDS [MINUTES [FAULTS]]]]`; 20, 3 and 14 by default, and every fault, or those named with
//! commas between: kill, stop, cable, fast (a kill with fast detection), cut, empty, frozen, asked. What time leaves no room
//! for is left out, and said.

use keystead_benches::hosts::{
    DATA_PORT, HOSTS, Hosts, Link, Maker, PRIMARY, SENTINEL_PORT, Setting, first_write_elsewhere,
};
use keystead_benches::netns::{Net, possible};
use keystead_benches::table::{head, median, row, short, spread};
use keystead_harness::{Reply, have, wait_until};
use std::io;
use std::process::{Command, ExitCode};
use std::time::{Duration, Instant};

/// A failover that takes longer counts as none.
const NEVER: Duration = Duration::from_secs(40);
/// For what must come sooner or later, stock ways included.
const LIMIT: Duration = Duration::from_secs(60);
/// Writers of the load.
const WRITERS: usize = 4;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fault {
    Kill,
    Stop,
    Partition,
    ReplicaCut,
    EmptyRestart,
    Frozen,
    AskedFor,
}

impl Fault {
    /// As the command line names it.
    const fn name(self) -> &'static str {
        match self {
            Fault::Kill => "kill",
            Fault::Stop => "stop",
            Fault::Partition => "cable",
            Fault::ReplicaCut => "cut",
            Fault::EmptyRestart => "empty",
            Fault::Frozen => "frozen",
            Fault::AskedFor => "asked",
        }
    }

    const fn words(self) -> &'static str {
        match self {
            Fault::Kill => "kill -9",
            Fault::Stop => "SIGSTOP",
            Fault::Partition => "cable pulled",
            Fault::ReplicaCut => "a replica cut off for 300 ms, then kill -9",
            Fault::EmptyRestart => "kill -9 and an empty restart at once",
            Fault::Frozen => "two sentinels frozen for 2.5 s, then kill -9",
            Fault::AskedFor => "SENTINEL FAILOVER under load",
        }
    }
}

/// What one round gave.
#[derive(Clone, Copy, Debug, Default)]
struct Round {
    /// Seconds to the first write on the new primary.
    write: Option<f64>,
    /// Seconds until the old primary was a replica, from when it could be reached again.
    demoted: Option<f64>,
    promotions: usize,
    /// Acknowledged writes (or keys) that are gone.
    lost: Option<u64>,
}

struct Row {
    maker: Maker,
    setting: Setting,
    fault: Fault,
    rounds: usize,
}

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    if let [inside, id, rest @ ..] = &args[..]
        && inside == "--inside"
    {
        let net = Net::of(id.parse().unwrap_or(0), HOSTS);
        return done(observe(&net, rest));
    }
    if !possible() || !have("ip") {
        println!("SKIPPED: network namespaces can't be made here (root and ip are needed)");
        return ExitCode::SUCCESS;
    }
    done(outside(&args))
}

fn done(result: io::Result<()>) -> ExitCode {
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("sentinel bench: {error}");
            ExitCode::FAILURE
        }
    }
}

/// Makes the net and runs this program again inside it.
fn outside(args: &[String]) -> io::Result<()> {
    let net = Net::new(HOSTS)?;
    let me = std::env::current_exe()?;
    let status = Command::new("ip")
        .args(["netns", "exec", &net.hub()])
        .arg(me)
        .args(["--inside", &std::process::id().to_string()])
        .args(args)
        .status()?;
    if status.success() { Ok(()) } else { Err(io::Error::other(format!("inside: {status}"))) }
}

fn observe(net: &Net, args: &[String]) -> io::Result<()> {
    let number = |n: usize, default: usize| args.get(n).and_then(|text| text.parse().ok()).unwrap_or(default);
    let (ours, theirs) = (number(0, 20), number(1, 3));
    let end = Instant::now() + Duration::from_secs(60 * number(2, 14) as u64);
    let stock = have("redis-server") && have("redis-sentinel");
    println!(
        "Three hosts (network namespaces on one bridge), a data node and a sentinel on each, quorum 2, failover-timeout \
         3000, no persistence. Seconds to the first write on the new primary by a client that asks the sentinels.\n"
    );
    println!(
        "{}",
        head(&[
            "fault",
            "down-after",
            "who",
            "rounds",
            "median",
            "worst",
            "promoted more than once",
            "old primary follows after",
            "lost"
        ])
    );
    let wanted = |plan: &Row| {
        let name = if plan.setting.fast { "fast" } else { plan.fault.name() };
        args.get(3).is_none_or(|names| names.split(',').any(|wanted| wanted == name))
    };
    let (mut rounds, mut again) = (0, 0);
    for plan in plans(ours, if stock { theirs } else { 0 }).into_iter().filter(wanted) {
        let made = run(net, &plan, end)?;
        if plan.maker == Maker::Keystead {
            rounds += made.len();
            again += made.iter().filter(|round| round.promotions > 1).count();
        }
        if made.is_empty() {
            println!("{}", row(&left_out(&plan)));
        } else {
            println!("{}", row(&cells(&plan, &made)));
        }
    }
    println!("\nKeystead promoted more than once for one fault: in {again} of {rounds} rounds.");
    if !stock {
        println!("\nSKIPPED: redis-server or redis-sentinel is not installed");
    }
    Ok(())
}

/// Everything of ours first, with fewer rounds where a fault is rarer; then the stock ones.
fn plans(ours: usize, theirs: usize) -> Vec<Row> {
    let setting = |down_after_ms, fast| Setting { down_after_ms, fast };
    let few = ours.div_ceil(4);
    let mine = [
        (Fault::Kill, setting(1000, false), ours),
        (Fault::Stop, setting(1000, false), ours),
        (Fault::Partition, setting(1000, false), ours),
        (Fault::Kill, setting(200, false), ours),
        (Fault::Stop, setting(200, false), ours),
        (Fault::Partition, setting(200, false), ours),
        (Fault::Kill, setting(1000, true), ours),
        (Fault::ReplicaCut, setting(1000, false), few),
        (Fault::EmptyRestart, setting(1000, false), few),
        (Fault::Frozen, setting(1000, false), few),
        (Fault::AskedFor, setting(1000, false), few),
    ];
    let row = |maker, (fault, setting, rounds): (Fault, Setting, usize)| Row { maker, setting, fault, rounds };
    // `fast` is ours alone.
    let stock: Vec<Row> = mine
        .iter()
        .filter(|(_, setting, _)| !setting.fast)
        .map(|(fault, setting, _)| row(Maker::Redis, (*fault, *setting, theirs)))
        .collect();
    mine.into_iter().map(|plan| row(Maker::Keystead, plan)).chain(stock).filter(|plan| plan.rounds > 0).collect()
}

fn run(net: &Net, plan: &Row, end: Instant) -> io::Result<Vec<Round>> {
    let mut made = Vec::new();
    if Instant::now() >= end {
        return Ok(made);
    }
    let mut group = Hosts::start(net, plan.maker, plan.setting)?;
    for n in 1..=plan.rounds {
        if Instant::now() >= end {
            break;
        }
        let round = one(net, &mut group, plan.fault)?;
        let who = name(plan.maker);
        eprintln!("{who}, {} at {}, {n}: {round:?}", plan.fault.words(), plan.setting.down_after_ms);
        if plan.maker == Maker::Keystead && (round.lost.unwrap_or(0) > 0 || round.promotions > 1 || slow(plan, &round))
        {
            // What happened, for whoever reads the bench's messages.
            eprintln!("{}", group.logs());
        }
        made.push(round);
        let last = n == plan.rounds || Instant::now() >= end;
        if !last && (round.write.is_none() || group.settle().is_err()) && plan.fault != Fault::EmptyRestart {
            // It won't come to itself within the time: the next round begins with a new one.
            drop(group);
            group = Hosts::start(net, plan.maker, plan.setting)?;
        } else if !last && plan.fault == Fault::EmptyRestart {
            group.settle()?;
        }
    }
    Ok(made)
}

/// Slower than down-after and half a second, or never; or the old primary took writes for longer than 0.3 s.
fn slow(plan: &Row, round: &Round) -> bool {
    let limit = if plan.setting.fast { 0.35 } else { plan.setting.down_after_ms as f64 / 1000.0 + 0.5 };
    let writes_late = round.write.is_none_or(|took| took > limit);
    plan.fault != Fault::EmptyRestart && (writes_late || round.demoted.is_some_and(|took| took > 0.3))
}

/// One fault, from a settled group to the old primary's return.
fn one(net: &Net, group: &mut Hosts, fault: Fault) -> io::Result<Round> {
    let old = group.settle()?;
    let before = group.promotions();
    let mut round = Round::default();
    let since = match fault {
        Fault::AskedFor => return asked_for(group, old, before),
        Fault::EmptyRestart => return empty_restart(group, old, before),
        Fault::Kill => hurt(|| group.data[old].kill()),
        Fault::Stop => hurt(|| group.data[old].pause()),
        Fault::Partition => {
            let since = Instant::now();
            net.cable(old, false)?;
            since
        }
        Fault::ReplicaCut => {
            let replica = (old + 1) % HOSTS;
            net.cable(replica, false)?;
            std::thread::sleep(Duration::from_millis(300));
            net.cable(replica, true)?;
            hurt(|| group.data[old].kill())
        }
        Fault::Frozen => {
            let two = [(old + 1) % HOSTS, (old + 2) % HOSTS];
            two.iter().for_each(|n| group.sentinels[*n].pause());
            std::thread::sleep(Duration::from_millis(2500));
            two.iter().for_each(|n| group.sentinels[*n].resume());
            hurt(|| group.data[old].kill())
        }
    };
    let found = first_write_elsewhere(old, since, NEVER);
    round.write = found.map(|(_, took)| took.as_secs_f64());
    // The others are to be done with the failover before the old primary returns: that is another measurement.
    std::thread::sleep(Duration::from_millis(300));
    match fault {
        Fault::Stop => group.data[old].resume(),
        Fault::Partition => net.cable(old, true)?,
        _ => group.data[old].restart()?,
    }
    round.demoted = found.and_then(|_| follows(old)).map(|took| took.as_secs_f64());
    if found.is_some() {
        // A second promotion would come now, by stale votes of an old primary.
        let _ = group.settle();
    }
    round.promotions = group.promotions() - before;
    Ok(round)
}

fn hurt(fault: impl FnOnce()) -> Instant {
    let since = Instant::now();
    fault();
    since
}

/// How long a node that can be reached again goes on as a primary.
fn follows(n: usize) -> Option<Duration> {
    let began = Instant::now();
    let mut reached = None;
    while began.elapsed() < LIMIT {
        let role = Link::open(n, DATA_PORT).and_then(|mut link| link.ask(&["ROLE"]));
        if let Ok(role) = role {
            let at = *reached.get_or_insert_with(Instant::now);
            if role.texts().first().is_some_and(|word| word == "slave") {
                return Some(at.elapsed());
            }
        }
        std::thread::sleep(Duration::from_millis(2));
    }
    None
}

/// A primary that comes back at once with nothing: is what it had still there?
fn empty_restart(group: &mut Hosts, old: usize, before: usize) -> io::Result<Round> {
    const KEYS: u64 = 100;
    let mut link = Link::open(old, DATA_PORT)?;
    link.patient(LIMIT)?;
    for n in 0..KEYS {
        link.ask(&["SET", &format!("kept{n}"), "1"])?;
    }
    link.ask(&["WAIT", "2", "5000"])?;
    let since = hurt(|| group.data[old].kill());
    group.data[old].restart()?;
    // Either somebody else is the primary soon, or the empty one stays it.
    let found = first_write_elsewhere(old, since, Duration::from_secs(20));
    let primary = group.settle()?;
    let mut link = Link::open(primary, DATA_PORT)?;
    link.patient(LIMIT)?;
    let mut lost = 0;
    for n in 0..KEYS {
        lost += u64::from(link.ask(&["GET", &format!("kept{n}")])? == Reply::Null);
    }
    let write = found.map(|(_, took)| took.as_secs_f64());
    Ok(Round { write, lost: Some(lost), promotions: group.promotions() - before, demoted: None })
}

/// Writers at work, and an operator who asks for a failover: which acknowledged writes are gone?
fn asked_for(group: &mut Hosts, old: usize, before: usize) -> io::Result<Round> {
    let (found, acknowledged) = std::thread::scope(|scope| {
        let writers: Vec<_> = (0..WRITERS).map(|n| scope.spawn(move || write_until_turned_away(old, n))).collect();
        wait_until("writes flow", LIMIT, || {
            let asked = Link::open(old, DATA_PORT).and_then(|mut link| link.ask(&["EXISTS", "w0", "w1", "w2", "w3"]));
            asked.is_ok_and(|count| count.as_int() == Some(WRITERS as i64))
        });
        let since = Instant::now();
        let asked =
            Link::open((old + 1) % HOSTS, SENTINEL_PORT).and_then(|mut s| s.ask(&["SENTINEL", "FAILOVER", PRIMARY]));
        let found = asked.ok().and_then(|_| first_write_elsewhere(old, since, NEVER));
        (found, writers.into_iter().map(|w| w.join().unwrap_or(0)).collect::<Vec<u64>>())
    });
    let primary = group.settle()?;
    let mut link = Link::open(primary, DATA_PORT)?;
    link.patient(LIMIT)?;
    let mut lost = 0;
    for (n, last) in acknowledged.iter().enumerate() {
        let kept = link.ask(&["GET", &format!("w{n}")])?.as_text().and_then(|text| text.parse().ok()).unwrap_or(0);
        lost += last.saturating_sub(kept);
    }
    link.ask(&["FLUSHALL"])?;
    let write = found.map(|(_, took)| took.as_secs_f64());
    Ok(Round { write, lost: Some(lost), promotions: group.promotions() - before, demoted: None })
}

/// Increasing numbers into one key; the last that was acknowledged.
fn write_until_turned_away(at: usize, n: usize) -> u64 {
    let Ok(mut link) = Link::open(at, DATA_PORT) else { return 0 };
    let (mut last, key) = (0, format!("w{n}"));
    if link.patient(LIMIT).is_err() {
        return 0;
    }
    while let Ok(reply) = link.ask(&["SET", &key, &(last + 1u64).to_string()]) {
        if reply.is_error() {
            break;
        }
        last += 1;
    }
    last
}

const fn name(maker: Maker) -> &'static str {
    match maker {
        Maker::Keystead => "keystead",
        Maker::Redis => "redis 7.0.15",
    }
}

fn setting_words(setting: Setting) -> String {
    format!("{}{}", setting.down_after_ms, if setting.fast { ", fast" } else { "" })
}

fn left_out(plan: &Row) -> Vec<String> {
    let mut cells = vec![plan.fault.words().to_owned(), setting_words(plan.setting), name(plan.maker).to_owned()];
    cells.push("0: no time left".into());
    cells.resize(9, String::new());
    cells
}

fn cells(plan: &Row, made: &[Round]) -> Vec<String> {
    let writes: Vec<f64> = made.iter().filter_map(|round| round.write).collect();
    let never = made.len() - writes.len();
    let worst = match (never, writes.is_empty()) {
        (0, _) => short(spread(&writes).1),
        (n, true) => format!("never in {n}"),
        (n, false) => format!("{}, never in {n}", short(spread(&writes).1)),
    };
    let demoted: Vec<f64> = made.iter().filter_map(|round| round.demoted).collect();
    let times = |values: &[f64]| match values.is_empty() {
        true => "–".to_owned(),
        false => format!("{} (at most {})", short(median(values)), short(spread(values).1)),
    };
    let lost: Vec<u64> = made.iter().filter_map(|round| round.lost).collect();
    let lost = if lost.is_empty() { "–".to_owned() } else { lost.iter().sum::<u64>().to_string() };
    let again = made.iter().filter(|round| round.promotions > 1).count();
    vec![
        plan.fault.words().to_owned(),
        setting_words(plan.setting),
        name(plan.maker).to_owned(),
        made.len().to_string(),
        if writes.is_empty() { "–".into() } else { short(median(&writes)) },
        worst,
        again.to_string(),
        times(&demoted),
        lost,
    ]
}
