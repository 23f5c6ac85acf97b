//! What a fault costs in virtual time: from the fault until a client that asks the sentinels gets an address that takes
//! writes. Free of a machine's noise, so it shows what the rules themselves cost; what a machine adds, the benches show.

use super::data::Role;
use super::net::{NodeId, Weather};
use super::world::{Shape, World};
use keystead_sentinel::settings::Settings;

/// Looked at in steps of this.
const STEP_MS: u64 = 1;
const NEVER_MS: u64 = 60_000;

/// What happens to the primary, or to those who watch it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// Its process ends.
    Kill,
    /// Its process is stopped.
    Stop,
    /// It is cut off from everybody.
    Partition,
    /// Its host is cut off, with the first sentinel on it.
    Host,
    /// It ends while two of the sentinels have just been awake again for nothing: frozen for 2.5 s, then it dies.
    Frozen,
    /// A replica is cut off for 300 ms, then it dies.
    ReplicaCut,
    /// It ends and is back with nothing 20 ms later; its replicas keep their data.
    EmptyRestart,
}

/// One measurement, in ms.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Figure {
    /// Until a sentinel names an address that takes writes and isn't the old one.
    pub write_ms: u64,
    /// Until the old primary follows, from when it is there again.
    pub demoted_ms: u64,
    /// How many nodes were promoted.
    pub promotions: usize,
}

/// Three data nodes, three sentinels, quorum 2, a quick machine or a slow one; the fault comes at a moment that the seed
/// chooses.
#[must_use]
pub fn measure(seed: u64, fault: Fault, down_after_ms: u64, fast: bool, slow: bool) -> Figure {
    let mut settings = Settings::new(2);
    (settings.down_after_ms, settings.fast_detection) = (down_after_ms, fast);
    settings.failover_timeout_ms = 3_000;
    let mut shape = Shape::calm(3, 3, settings);
    let (delay_ms, disk_ms) = machine(slow);
    shape.weather = Weather { delay_ms, loss_permille: 0 };
    shape.disk_ms = disk_ms;
    shape.keeps_data = true;
    let mut world = World::new(seed, shape, false);
    world.run_until(20_000 + seed * 37 % 10_000);
    let sentinels = world.sentinel_ids();
    match fault {
        Fault::Kill => world.kill(0),
        Fault::Stop => world.pause(0),
        Fault::Partition => cut(&mut world, &[0]),
        Fault::Host => cut(&mut world, &[0, sentinels.start + (seed % 3) as usize]),
        Fault::Frozen => {
            let two: Vec<NodeId> = sentinels.skip((seed % 2) as usize).take(2).collect();
            two.iter().for_each(|id| world.pause(*id));
            world.run_until(world.now + 2_500);
            two.iter().for_each(|id| world.resume(*id));
            world.kill(0);
        }
        Fault::ReplicaCut => {
            cut(&mut world, &[1]);
            world.run_until(world.now + 300);
            world.heal();
            world.kill(0);
        }
        Fault::EmptyRestart => {
            world.kill(0);
            world.run_until(world.now + 20);
            world.restart(0, false);
        }
    }
    let write_ms = until(&mut world, |world| {
        world.sentinel_ids().any(|id| {
            let named = world.monitor(id, 0).map(|m| m.current_addr().clone());
            let node = named.and_then(|addr| world.data_id(&addr)).filter(|node| *node != 0 && world.runs(*node));
            node.is_some_and(|node| world.data(node).role == Role::Primary)
        })
    });
    // As the bench does: the others are done with the failover by then.
    world.run_until(world.now + 300);
    match fault {
        Fault::Stop => world.resume(0),
        Fault::Partition | Fault::Host => world.heal(),
        Fault::EmptyRestart => {}
        _ => world.restart_loading(0, 20),
    }
    let demoted_ms = until(&mut world, |world| world.data(0).role != Role::Primary);
    world.run_until(world.now + 20_000);
    Figure { write_ms, demoted_ms, promotions: world.promotions_in(0) }
}

/// The longest that a message and a write to the disk take; on a loaded machine both take their time.
const fn machine(slow: bool) -> (u64, u64) {
    if slow { (25, 80) } else { (1, 5) }
}

/// Cuts these off from all others, not from each other.
fn cut(world: &mut World, island: &[NodeId]) {
    for other in world.all().filter(|other| !island.contains(other)) {
        for id in island {
            world.cut(*id, other);
            world.cut(other, *id);
        }
    }
}

fn until(world: &mut World, done: impl Fn(&World) -> bool) -> u64 {
    let began = world.now;
    while !done(world) && world.now - began < NEVER_MS {
        world.run_until(world.now + STEP_MS);
    }
    world.now - began
}

/// Median and worst.
#[must_use]
pub fn spread(mut values: Vec<u64>) -> (u64, u64) {
    values.sort_unstable();
    (values[values.len() / 2], values[values.len() - 1])
}

/// Every fault of the table, with down-after and `fast`.
pub const TABLE: [(Fault, u64, bool); 14] = [
    (Fault::Kill, 1000, false),
    (Fault::Stop, 1000, false),
    (Fault::Partition, 1000, false),
    (Fault::Host, 1000, false),
    (Fault::Kill, 200, false),
    (Fault::Stop, 200, false),
    (Fault::Partition, 200, false),
    (Fault::Host, 200, false),
    (Fault::Kill, 1000, true),
    (Fault::ReplicaCut, 1000, false),
    (Fault::EmptyRestart, 1000, false),
    (Fault::Frozen, 1000, false),
    (Fault::Frozen, 200, false),
    (Fault::Partition, 1000, true),
];

/// The table over so many seeds, as Markdown.
#[must_use]
pub fn table(seeds: u64, slow: bool) -> String {
    let mut text = String::from(
        "| fault | down-after | seeds | median | worst | old primary follows after, median and worst | most promotions |\n\
         |---|---|---|---|---|---|---|\n",
    );
    for (fault, down_after_ms, fast) in TABLE {
        let all: Vec<Figure> = (0..seeds).map(|seed| measure(seed, fault, down_after_ms, fast, slow)).collect();
        let (median, worst) = spread(all.iter().map(|f| f.write_ms).collect());
        let (back, longest) = spread(all.iter().map(|f| f.demoted_ms).collect());
        let most = all.iter().map(|f| f.promotions).max().unwrap_or(0);
        let fast = if fast { ", fast" } else { "" };
        text += &format!(
            "| {fault:?} | {down_after_ms}{fast} | {seeds} | {median} ms | {worst} ms | {back} ms, {longest} ms | {most} |\n"
        );
    }
    let (delay_ms, disk_ms) = machine(slow);
    text + &format!("\nOne primary, quorum 2 of 3; messages take up to {delay_ms} ms, disks up to {disk_ms} ms.\n")
}
