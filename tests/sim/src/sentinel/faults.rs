//! What is done to a world, made from its seed: one fault of a known kind (then the number of promotions is known too),
//! or a swarm of them.

use super::hard;
use super::net::{NodeId, Weather};
use super::second::{self, Second};
use super::strategies::{ELECTIONS, SELECTIONS};
use super::world::{PRIMARY, World};

/// A kind of history.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Family {
    /// The primary's process ends and doesn't return before the end.
    Kill,
    /// It ends and returns with its data, as the primary it was.
    KillAndReturn,
    /// It is stopped for a while.
    Pause,
    /// It is cut off from everybody for a while.
    Partition,
    /// It hears nobody, but can be heard (or the other way round).
    OneWay,
    /// It returns empty before anybody could see it down, and perhaps a replica with it, which follows; the others keep
    /// their data.
    EmptyRestart,
    /// A minority of the sentinels is killed or stopped, then the primary is killed.
    SentinelsAndPrimary,
    /// The sentinels stand still for a while, then the primary is killed.
    Stall,
    /// The sentinels stand still and nothing else happens.
    StallOnly,
    /// The leader is cut off from everybody as soon as the replica is promoted, before it can tell.
    LeaderCutOff,
    /// A sentinel is cut off during two failovers, there and back, and returns together with the second old primary.
    StaleSentinel,
    /// The sentinels are restarted together with the primary's end.
    Reboot,
    /// Sentinels crash at the writes of an election.
    CrashAtWrite,
    /// The strategy leaves it to an operator, who confirms late, at one sentinel after the other.
    Manual,
    /// Strategies are swapped at every sentinel, again and again, while a new primary is being elected.
    Swap,
    /// Every process stands still for short moments again and again, as on an overloaded machine; the primary dies.
    Busy,
    /// Replicas load, or sync anew, while the primary dies.
    Loading,
    /// A script keeps the primary, or a replica before the primary dies, from answering.
    Script,
    /// Wall clocks of data nodes jump before the primary dies, or while its end is dealt with.
    ClockJump,
    /// An operator asks for a failover while clients write: nothing that was acknowledged may be lost.
    AskedFor,
    /// As before, and something breaks in the middle.
    AskedForAndBroken,
    /// Every process ends and starts again, in any order.
    ColdStart,
    /// Anything, many times.
    Swarm,
    /// One in the middle of another; these have seeds of their own.
    Second(Second),
}

/// All kinds, in the order in which seeds take their turns.
pub const FAMILIES: [Family; 29] = [
    Family::Kill,
    Family::Swarm,
    Family::KillAndReturn,
    Family::Swarm,
    Family::Pause,
    Family::Swarm,
    Family::Partition,
    Family::Swarm,
    Family::OneWay,
    Family::Swarm,
    Family::EmptyRestart,
    Family::CrashAtWrite,
    Family::SentinelsAndPrimary,
    Family::Stall,
    Family::Reboot,
    Family::Swarm,
    Family::StallOnly,
    Family::LeaderCutOff,
    Family::StaleSentinel,
    Family::Swarm,
    Family::Busy,
    Family::Manual,
    Family::Swap,
    Family::Loading,
    Family::Script,
    Family::ClockJump,
    Family::AskedFor,
    Family::AskedForAndBroken,
    Family::ColdStart,
];

/// How many promotions a history must have, at least and at most: in each group whose primary was struck, and in the others.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Expected {
    /// So many groups were struck.
    pub groups: usize,
    /// There.
    pub struck: (usize, usize),
    /// Elsewhere.
    pub others: (usize, usize),
}

impl Expected {
    /// In the first group only.
    #[must_use]
    pub const fn one(least: usize, most: usize) -> Expected {
        Expected { groups: 1, struck: (least, most), others: (0, 0) }
    }
}

/// Lets the faults of a family happen. Begins in a settled world; what is broken at the end the caller heals.
pub fn inflict(world: &mut World, family: Family) -> Expected {
    // Some kinds strike several primaries at once.
    let groups = world.rng.clone().between(1, world.shape.primaries as u64) as usize;
    let down_after = world.shape.settings.down_after_ms;
    let long = 6 * down_after + 4_000;
    let primary: NodeId = 0;
    let primaries: Vec<NodeId> = (0..groups).map(|group| world.first_of(group)).collect();
    let all = Expected { groups, struck: (1, 1), others: (0, 0) };
    let sentinels = world.sentinel_ids();
    match family {
        Family::Kill => primaries.iter().for_each(|id| world.kill(*id)),
        Family::KillAndReturn => {
            primaries.iter().for_each(|id| world.kill(*id));
            let away = world.rng.between(3 * down_after + 2_000, long);
            wait(world, away);
            primaries.iter().for_each(|id| world.restart(*id, true));
        }
        Family::Pause => {
            primaries.iter().for_each(|id| world.pause(*id));
            wait(world, long);
            primaries.iter().for_each(|id| world.resume(*id));
        }
        Family::Partition => {
            primaries.iter().for_each(|id| cut_off(world, *id, true, true));
            wait(world, long);
            world.heal();
        }
        Family::OneWay => {
            let hears = world.rng.between(0, 1) == 0;
            primaries.iter().for_each(|id| cut_off(world, *id, hears, !hears));
            wait(world, long);
            world.heal();
        }
        Family::EmptyRestart => {
            let fallen = primary..=primary + world.rng.between(0, 1) as usize;
            fallen.clone().for_each(|id| world.kill(id));
            wait(world, 20);
            fallen.for_each(|id| world.restart(id, false));
            if world.rng.between(0, 1) == 0 {
                busy(world, long);
            }
        }
        Family::SentinelsAndPrimary => {
            for id in sentinels.clone().take((sentinels.len() - 1) / 2) {
                if world.rng.between(0, 1) == 0 { world.kill(id) } else { world.pause(id) }
            }
            let pause = world.rng.between(0, 3_000);
            wait(world, pause);
            primaries.iter().for_each(|id| world.kill(*id));
        }
        Family::Stall => {
            let stopped: Vec<NodeId> = sentinels.clone().skip(world.rng.between(0, 1) as usize).collect();
            stopped.iter().for_each(|id| world.pause(*id));
            wait(world, 2_500);
            stopped.iter().for_each(|id| world.resume(*id));
            primaries.iter().for_each(|id| world.kill(*id));
        }
        Family::StallOnly => {
            let stop = world.rng.between(200, 6_000);
            sentinels.clone().for_each(|id| world.pause(id));
            wait(world, stop);
            sentinels.for_each(|id| world.resume(id));
            wait(world, long);
            return Expected::one(0, 0);
        }
        Family::LeaderCutOff => {
            world.kill(primary);
            let (before, deadline) = (world.checker.promotions.len(), world.now + long);
            while world.checker.promotions.len() == before && world.now < deadline {
                wait(world, 1);
            }
            if let Some(leader) = world.checker.last_leader(0) {
                cut_off(world, leader, true, true);
            }
        }
        Family::StaleSentinel => return stale_sentinel(world, long),
        Family::Reboot => {
            sentinels.clone().for_each(|id| world.kill(id));
            primaries.iter().for_each(|id| world.kill(*id));
            let away = world.rng.between(10, 2_000);
            wait(world, away);
            sentinels.for_each(|id| world.restart(id, true));
        }
        Family::CrashAtWrite => {
            primaries.iter().for_each(|id| world.kill(*id));
            let crashes = world.rng.between(1, 4);
            for _ in 0..crashes {
                let victim = sentinels.start + world.rng.between(0, sentinels.len() as u64 - 1) as usize;
                let behind = world.rng.between(0, 1) == 0;
                world.crash_on_persist(victim, behind);
                let away = world.rng.between(down_after / 2, 2 * down_after);
                wait(world, away);
                world.restart(victim, true);
            }
            wait(world, long);
            return Expected { struck: (1, 1 + crashes as usize), ..all };
        }
        Family::Manual => return manual(world, long),
        Family::Swap => {
            swap(world, long);
            wait(world, long + 3 * down_after);
            return Expected::one(1, 1);
        }
        Family::Loading => return hard::loading(world, long),
        Family::Script => return hard::script(world, long),
        Family::ClockJump => hard::clock_jump(world, &primaries),
        Family::AskedFor => return hard::asked_for(world, long),
        Family::AskedForAndBroken => return hard::asked_for_and_broken(world, long),
        Family::ColdStart => return hard::cold_start(world),
        Family::Second(kind) => return second::inflict(world, kind),
        Family::Busy => {
            world.kill(primary);
            busy(world, long + 3 * down_after);
            wait(world, long + 3 * down_after);
            return Expected::one(1, 1);
        }
        Family::Swarm => {
            let most = swarm(world);
            return Expected { groups: world.shape.primaries, struck: (0, most), others: (0, 0) };
        }
    }
    // What leases hold back comes when they have ended.
    wait(world, long + 3 * down_after + 3_000);
    match family {
        Family::EmptyRestart | Family::LeaderCutOff => Expected::one(1, 1),
        _ => all,
    }
}

fn wait(world: &mut World, ms: u64) {
    world.run_until(world.now + ms);
}

/// There: the primary dies, the sentinel sees that and is then cut off. Back: the old primary returns as a replica, the
/// new one dies, so the old one is the primary again. Then the cut-off sentinel and the dead one return at once.
fn stale_sentinel(world: &mut World, long: u64) -> Expected {
    let stale = world.sentinel_ids().end - 1;
    for id in 2..world.nodes_of(0).end {
        world.data_mut(id).priority = 0;
    }
    wait(world, 11_000); // everybody knows the priorities
    world.kill(0);
    wait(world, long);
    cut_off(world, stale, true, true);
    world.restart(0, true);
    wait(world, 12_000);
    world.kill(1);
    wait(world, long);
    world.restart(1, true);
    world.heal();
    wait(world, long);
    Expected::one(2, 2)
}

/// Nobody is promoted before an operator says so; one word, to anybody who sees the fall, is enough.
fn manual(world: &mut World, long: u64) -> Expected {
    let sentinels = world.sentinel_ids();
    world.kill(0);
    world.run_until(world.now + long);
    if !world.checker.promotions.is_empty() {
        return Expected::one(0, 0);
    }
    let deputy = sentinels.start + world.rng.between(0, sentinels.len() as u64 - 1) as usize;
    world.operate(deputy, &format!("SENTINEL CONFIRM {PRIMARY}"));
    world.run_until(world.now + long);
    Expected::one(1, 1)
}

/// Ends with the strategy that needs nobody's word, so that there is a new primary whatever was swapped when.
fn swap(world: &mut World, long: u64) {
    let sentinels = world.sentinel_ids();
    world.kill(0);
    let end = world.now + long;
    while world.now < end && world.checker.promotions.is_empty() {
        let rest = world.rng.between(1, 120);
        world.run_until(world.now + rest);
        let id = sentinels.start + world.rng.between(0, sentinels.len() as u64 - 1) as usize;
        let election = ELECTIONS[world.rng.between(0, 1) as usize];
        let selection = SELECTIONS[world.rng.between(0, 2) as usize];
        world.operate(
            id,
            &format!("SENTINEL SET {PRIMARY} election-strategy {election} selection-strategy {selection}"),
        );
    }
    sentinels.for_each(|id| world.operate(id, &format!("SENTINEL SET {PRIMARY} election-strategy sentinel")));
}

/// Cuts a process off from all others.
pub(super) fn cut_off(world: &mut World, id: NodeId, inwards: bool, outwards: bool) {
    for other in world.all() {
        if inwards {
            world.cut(other, id);
        }
        if outwards {
            world.cut(id, other);
        }
    }
}

/// Short standstills of everybody: never so long that a data node would rightly count as down.
fn busy(world: &mut World, ms: u64) {
    let end = world.now + ms;
    let all = world.all().len();
    let mut wakes: Vec<(u64, NodeId)> = Vec::new();
    while world.now < end {
        let id = world.rng.between(0, all as u64 - 1) as usize;
        if world.runs(id) {
            let longest = if id < world.nodes().end { world.shape.settings.down_after_ms / 2 } else { 1_500 };
            world.pause(id);
            wakes.push((world.now + world.rng.between(10, longest), id));
        }
        let next = world.now + world.rng.between(10, 300);
        wakes.sort_unstable();
        for (at, id) in wakes.extract_if(.., |(at, _)| *at <= next) {
            world.run_until(at);
            world.resume(id);
        }
        world.run_until(next);
    }
    wakes.into_iter().for_each(|(_, id)| world.resume(id));
}

/// Many faults; gives back how many promotions they may cause at most.
fn swarm(world: &mut World) -> usize {
    let all = world.all().len();
    let faults = world.rng.between(5, 20);
    for _ in 0..faults {
        let id = world.rng.between(0, all as u64 - 1) as usize;
        let other = world.rng.between(0, all as u64 - 1) as usize;
        match world.rng.between(0, 13) {
            0 | 1 => world.kill(id),
            2 => world.restart(id, true),
            3 => world.restart(id, world.rng.clone().between(0, 2) > 0),
            4 | 5 => world.pause(id),
            6 | 7 => world.resume(id),
            8 => cut_off(world, id, true, true),
            9 => cut_off(world, id, other.is_multiple_of(2), other % 2 == 1),
            10 => {
                world.cut(id, other);
                world.cut(other, id);
            }
            11 => world.heal(),
            12 => {
                let loss_permille = [0, 10, 100][world.rng.between(0, 2) as usize];
                let delay_ms = [1, 20, 300][world.rng.between(0, 2) as usize];
                world.set_weather(Weather { delay_ms, loss_permille });
            }
            _ if id < world.nodes().end => match world.rng.between(0, 2) {
                0 => {
                    let jump = world.rng.between(0, 20_000_000) as i64 - 10_000_000;
                    world.jump_clock(id, jump);
                }
                1 => {
                    let (ms, killable) = (world.rng.between(100, 5_000), world.rng.between(0, 1) == 0);
                    world.run_script(id, ms, killable);
                }
                _ => {
                    world.kill(id);
                    let load = world.rng.between(0, 5_000);
                    world.restart_loading(id, load);
                }
            },
            _ => {
                let behind = world.rng.between(0, 1) == 0;
                world.crash_on_persist(id, behind);
            }
        }
        let rest = world.rng.between(0, 2_500);
        let until = world.now + rest;
        world.run_until(until);
    }
    // Each fault and each healing may cost one.
    2 * faults as usize + 2
}

/// Ends all faults.
pub fn heal_all(world: &mut World) {
    world.heal();
    world.set_weather(Weather { delay_ms: 2, loss_permille: 0 });
    world.shape.disk_ms = world.shape.disk_ms.min(30);
    world.mend_disks();
    for id in world.all() {
        world.resume(id);
        world.restart(id, true);
    }
}
