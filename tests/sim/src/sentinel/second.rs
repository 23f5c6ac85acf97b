//! A second fault while the first one is being dealt with: at a step of the failover that the seed chooses, something happens
//! to the sentinel that has just told of that step, to the replica it has chosen, or by an operator's hand.

use super::faults::{Expected, cut_off};
use super::net::NodeId;
use super::world::{PRIMARY, World};
use keystead_sentinel::election::majority;

/// Longer than any patience within a failover.
const LONG_MS: u64 = 30_000;

/// What happens then.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Second {
    /// The sentinel is stopped for long.
    Stopped,
    /// It ends, and is started again.
    Restarted,
    /// It is cut off for long, or hears nobody, or nobody hears it; what was said meanwhile comes a minute late.
    CutOff,
    /// Its disk keeps every write waiting.
    DiskHangs,
    /// Its disk refuses every write.
    DiskRefuses,
    /// Everybody's disk hangs.
    AllDisksHang,
    /// The chosen replica ends.
    ChosenDies,
    /// It is stopped for long.
    ChosenStopped,
    /// It ends and is back.
    ChosenRestarted,
    /// The old primary is back.
    OldIsBack,
    /// An operator has the sentinel forget replicas and sentinels.
    Reset,
    /// An operator removes the primary there, and has it watched again.
    WatchedAnew,
    /// An operator changes settings, at every sentinel.
    Settings,
    /// Operators ask for failovers, at all sentinels at once.
    AskedTwice,
}

/// All kinds, in the order in which seeds take their turns.
pub const SECONDS: [Second; 14] = [
    Second::Stopped,
    Second::Restarted,
    Second::CutOff,
    Second::DiskHangs,
    Second::DiskRefuses,
    Second::AllDisksHang,
    Second::ChosenDies,
    Second::ChosenStopped,
    Second::ChosenRestarted,
    Second::OldIsBack,
    Second::Reset,
    Second::WatchedAnew,
    Second::Settings,
    Second::AskedTwice,
];

/// The steps of a failover, as sentinels tell them.
const STEPS: [&str; 16] = [
    "+sdown",
    "+odown",
    "+new-epoch",
    "+vote-for-leader",
    "+try-failover",
    "+elected-leader",
    "+selected-slave",
    "+failover-state-send-slaveof-noone",
    "+failover-state-wait-promotion",
    "+promoted-slave",
    "+failover-state-reconf-slaves",
    "+slave-reconf-sent",
    "+slave-reconf-inprog",
    "+slave-reconf-done",
    "+failover-end",
    "+switch-master",
];

fn wait(world: &mut World, ms: u64) {
    world.run_until(world.now + ms);
}

fn one_of<T: Copy>(world: &mut World, all: &[T]) -> T {
    all[world.rng.between(0, all.len() as u64 - 1) as usize]
}

/// The first fault, the step, the second fault, and long enough for the others to go on without whom it struck.
pub fn inflict(world: &mut World, kind: Second) -> Expected {
    let sentinels = world.sentinel_ids();
    if sentinels.len() == 5 && one_of(world, &[true, false]) {
        sentinels.clone().take(2).for_each(|id| world.kill(id));
        wait(world, 3_000);
    }
    let from = world.transcript.len();
    let asked = first(world);
    let step = one_of(world, &STEPS);
    let teller = reach(world, from, step).unwrap_or(sentinels.end - 1);
    world.say(|| format!("the step: {step} of {}", world.name(teller)));
    let hurt = matches!(kind, Second::ChosenDies | Second::ChosenStopped | Second::ChosenRestarted);
    let before = world.promotions_in(0);
    strike(world, kind, teller);
    let failed_over = world.promotions_in(0) > 0;
    mend(world, kind);
    let alive = sentinels.clone().filter(|id| world.runs(*id)).count() as u32;
    let sure = !asked && !hurt && alive > majority(sentinels.len() as u32) && goes_on(kind);
    if sure && !failed_over {
        world.checker.violations.push(format!("nobody was promoted within {LONG_MS} ms of {kind:?} at {step}"));
    }
    wait(world, 12_000);
    let most = match kind {
        Second::AskedTwice => sentinels.len() + 2,
        _ => before.max(1) + 2,
    };
    Expected { groups: 1, struck: (0, most), others: (0, 0) }
}

/// The others, or the sentinel itself, must be able to end the failover.
const fn goes_on(kind: Second) -> bool {
    matches!(
        kind,
        Second::Stopped
            | Second::Restarted
            | Second::CutOff
            | Second::DiskHangs
            | Second::DiskRefuses
            | Second::WatchedAnew
    )
}

/// True if an operator asked for it and the primary is well.
fn first(world: &mut World) -> bool {
    match world.rng.between(0, 5) {
        0..=2 => world.kill(0),
        3 => world.pause(0),
        n => {
            let how = if n == 4 { "" } else { " FORCE" };
            world.checker.forced_failovers();
            let deputy = world.sentinel_ids().end - 1;
            world.operate(deputy, &format!("SENTINEL FAILOVER {PRIMARY}{how}"));
            return true;
        }
    }
    false
}

/// Runs until somebody tells of that step, and says who.
fn reach(world: &mut World, mut from: usize, step: &str) -> Option<NodeId> {
    let limit = world.now + 8 * world.shape.settings.down_after_ms + 4_000;
    while world.now < limit {
        let told = world.transcript[from..].iter().find_map(|line| {
            let mut words = line.split(' ').skip(1);
            let (who, what) = (words.next()?, words.next()?);
            let number: usize = who.strip_prefix("sentinel")?.parse().ok()?;
            (what == step && (line.contains(PRIMARY) || step == "+new-epoch")).then_some(number)
        });
        if let Some(number) = told {
            return Some(world.sentinel_ids().start + number);
        }
        from = world.transcript.len();
        wait(world, 1);
    }
    None
}

/// The replica that a sentinel promotes, or any.
fn chosen(world: &mut World, sentinel: NodeId) -> NodeId {
    let at = world.monitor(sentinel, 0).and_then(|m| {
        let id = m.failover.replica()?;
        Some(m.instances.get(&id)?.addr.clone())
    });
    let any = world.rng.between(1, world.shape.data_nodes as u64 - 1) as usize;
    at.and_then(|addr| world.data_id(&addr)).unwrap_or(any)
}

fn strike(world: &mut World, kind: Second, teller: NodeId) {
    let sentinels = world.sentinel_ids();
    match kind {
        Second::Stopped => world.pause(teller),
        Second::Restarted => {
            world.kill(teller);
            let away = world.rng.between(0, 3_000);
            wait(world, away);
            world.restart(teller, true);
        }
        Second::CutOff => {
            let (inwards, outwards) = one_of(world, &[(true, true), (true, false), (false, true)]);
            cut_off(world, teller, inwards, outwards);
        }
        Second::DiskHangs | Second::DiskRefuses => world.break_disk(teller, LONG_MS, kind == Second::DiskHangs),
        Second::AllDisksHang => sentinels.for_each(|id| world.break_disk(id, LONG_MS / 2, true)),
        Second::ChosenDies | Second::ChosenRestarted => {
            let id = chosen(world, teller);
            world.kill(id);
            if kind == Second::ChosenRestarted {
                let away = world.rng.between(0, 1_000);
                wait(world, away);
                world.restart(id, true);
            }
        }
        Second::ChosenStopped => {
            let id = chosen(world, teller);
            world.pause(id);
        }
        Second::OldIsBack => {
            let away = world.rng.between(0, 1_000);
            wait(world, away);
            world.resume(0);
            world.restart(0, true);
        }
        Second::Reset => world.operate(teller, &format!("SENTINEL RESET {PRIMARY}")),
        Second::WatchedAnew => watched_anew(world, teller),
        Second::Settings => {
            let quorum = one_of(world, &[1, 2, 99]);
            let down_after = one_of(world, &[100, 1_000, 60_000]);
            let timeout = one_of(world, &[1, 1_000, 60_000]);
            let line = format!("quorum {quorum} down-after-milliseconds {down_after} failover-timeout {timeout}");
            sentinels.for_each(|id| world.operate(id, &format!("SENTINEL SET {PRIMARY} {line}")));
        }
        Second::AskedTwice => {
            world.checker.forced_failovers();
            for id in sentinels {
                let how = one_of(world, &["", " FORCE", " COORDINATED"]);
                world.operate(id, &format!("SENTINEL FAILOVER {PRIMARY}{how}"));
                let rest = one_of(world, &[0, 1, 40]);
                wait(world, rest);
            }
        }
    }
    wait(world, LONG_MS);
}

/// As an operator does it: by the address that another sentinel names.
fn watched_anew(world: &mut World, id: NodeId) {
    world.operate(id, &format!("SENTINEL REMOVE {PRIMARY}"));
    let away = world.rng.between(0, 3_000);
    wait(world, away);
    let others = world.sentinel_ids().filter(|other| *other != id && world.runs(*other));
    let named: Vec<_> = others.filter_map(|other| Some(world.monitor(other, 0)?.current_addr().clone())).collect();
    let Some(addr) = named.first() else { return };
    let me = world.sentinel(id).map(|s| s.id().to_owned()).unwrap_or_default();
    world.checker.watched_anew(&me, PRIMARY);
    let quorum = world.shape.settings.quorum;
    world.operate(id, &format!("SENTINEL MONITOR {PRIMARY} {} {} {quorum}", addr.host, addr.port));
    set_as_shaped(world, id);
}

fn set_as_shaped(world: &mut World, id: NodeId) {
    let s = world.shape.settings.clone();
    let line = format!(
        "quorum {} down-after-milliseconds {} failover-timeout {}",
        s.quorum, s.down_after_ms, s.failover_timeout_ms
    );
    world.operate(id, &format!("SENTINEL SET {PRIMARY} {line}"));
}

/// Whatever would stand for ever ends.
fn mend(world: &mut World, kind: Second) {
    world.heal();
    world.mend_disks();
    world.sentinel_ids().for_each(|id| world.resume(id));
    if kind == Second::Settings {
        world.sentinel_ids().for_each(|id| set_as_shaped(world, id));
    }
}
