//! Faults around what a node is able to do: loading, busy with a script, with a wall clock that jumps, handing over, all
//! of them starting at once. Each says how many promotions it may cost.

use super::data::Role;
use super::faults::{Expected, cut_off};
use super::net::NodeId;
use super::world::{PRIMARY, World};

fn wait(world: &mut World, ms: u64) {
    world.run_until(world.now + ms);
}

fn coin(world: &mut World) -> bool {
    world.rng.between(0, 1) == 0
}

/// All replicas but one start again and load, the primary dies meanwhile.
pub fn loading(world: &mut World, long: u64) -> Expected {
    let replicas: Vec<NodeId> = world.nodes_of(0).skip(1).collect();
    let spared = replicas[world.rng.between(0, replicas.len() as u64 - 1) as usize];
    for id in replicas.into_iter().filter(|id| *id != spared) {
        world.kill(id);
        let (away, load) = (world.rng.between(0, 300), world.rng.between(500, 2 * long));
        wait(world, away);
        world.restart_loading(id, load);
    }
    let before = world.rng.between(0, 3_000);
    wait(world, before);
    world.kill(0);
    wait(world, 2 * long + 3_000);
    Expected::one(1, 1)
}

/// A script on the primary that SCRIPT KILL ends, or can't end; or one on a replica, and the primary dies.
pub fn script(world: &mut World, long: u64) -> Expected {
    match world.rng.between(0, 2) {
        0 => {
            world.run_script(0, long, true);
            wait(world, 2 * long);
            Expected::one(0, 1)
        }
        1 => {
            world.run_script(0, long, false);
            wait(world, 2 * long);
            Expected::one(1, 1)
        }
        _ => {
            let replica = world.rng.between(1, world.shape.data_nodes as u64 - 1) as usize;
            let killable = coin(world);
            world.run_script(replica, 2 * long, killable);
            let before = world.rng.between(0, 3_000);
            wait(world, before);
            world.kill(0);
            wait(world, 2 * long + 3_000);
            Expected::one(1, 1)
        }
    }
}

/// Wall clocks of the data nodes jump, before the primaries die or a moment after.
pub fn clock_jump(world: &mut World, primaries: &[NodeId]) {
    let first = coin(world);
    if !first {
        primaries.iter().for_each(|id| world.kill(*id));
        let moment = world.rng.between(0, 2 * world.shape.settings.down_after_ms);
        wait(world, moment);
    }
    for id in world.nodes() {
        if coin(world) {
            let jump = world.rng.between(0, 20_000_000) as i64 - 10_000_000;
            world.jump_clock(id, jump);
        }
    }
    if first {
        primaries.iter().for_each(|id| world.kill(*id));
    }
}

/// At any sentinel, while clients write; the primary is a Keystead, or is asked to hand over by name.
fn ask(world: &mut World) {
    let sentinels = world.sentinel_ids();
    let deputy = sentinels.start + world.rng.between(0, sentinels.len() as u64 - 1) as usize;
    let how = if world.shape.keystead_data && coin(world) { "" } else { " COORDINATED" };
    world.operate(deputy, &format!("SENTINEL FAILOVER {PRIMARY}{how}"));
}

/// Nothing else happens.
pub fn asked_for(world: &mut World, long: u64) -> Expected {
    ask(world);
    wait(world, long);
    if coin(world) {
        // And once more, from the new primary.
        wait(world, 12_000);
        ask(world);
        wait(world, long);
        return Expected::one(2, 2);
    }
    Expected::one(1, 1)
}

/// A node stops, dies or is cut off a moment after.
pub fn asked_for_and_broken(world: &mut World, long: u64) -> Expected {
    ask(world);
    let (moment, id) = (world.rng.between(0, 200), world.rng.between(0, world.all().len() as u64 - 1) as usize);
    wait(world, moment);
    match world.rng.between(0, 2) {
        0 => world.kill(id),
        1 => world.pause(id),
        _ => cut_off(world, id, true, true),
    }
    wait(world, 2 * long + 12_000);
    // The handing over, and a failover from what broke; other groups only see theirs break.
    let group = (id < world.nodes().end).then(|| world.group_of(id));
    let struck = group.is_some_and(|group| group > 0 && id == world.first_of(group));
    Expected { groups: 1, struck: (0, 2), others: (0, usize::from(struck)) }
}

/// Everything ends and starts again: who was the primary last is it again, or its heir is. Nobody loses what all had.
pub fn cold_start(world: &mut World) -> Expected {
    if coin(world) {
        // The last primary isn't the one of the configuration files.
        world.kill(0);
        wait(world, 6 * world.shape.settings.down_after_ms + 4_000);
        world.restart(0, true);
        wait(world, 12_000);
    }
    let had = world.promotions_in(0);
    for id in world.nodes() {
        world.data_mut(id).precious = true;
    }
    world.all().for_each(|id| world.kill(id));
    wait(world, 1_000);
    let mut order: Vec<NodeId> = world.all().collect();
    while !order.is_empty() {
        let next = order.swap_remove(world.rng.between(0, order.len() as u64 - 1) as usize);
        let rest = world.rng.between(0, 200);
        wait(world, rest);
        world.restart(next, true);
    }
    wait(world, 20_000);
    let primaries = world.nodes_of(0).filter(|id| world.data(*id).role == Role::Primary).count();
    world.say(|| format!("{primaries} primaries in the first group"));
    Expected { groups: 1, struck: (had, had + 1), others: (0, 1) }
}
