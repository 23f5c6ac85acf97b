//! A primary hands its role over, and the sentinel that asked for it is gone before it can say so.

use keystead_sentinel::settings::Settings;
use keystead_sentinel::types::Rng;
use keystead_sim::sentinel::check::unsettled;
use keystead_sim::sentinel::data::Role;
use keystead_sim::sentinel::faults::heal_all;
use keystead_sim::sentinel::world::{PRIMARY, Shape, World};

const SEEDS: u64 = 60;
/// Until the others have noticed (a second), have left the leader its time (three), and have voted.
const LIMIT_MS: u64 = 7_000;

fn world(seed: u64) -> World {
    let mut rng = Rng::new(seed);
    let sentinels = [3, 3, 5][rng.between(0, 2) as usize];
    let mut settings = Settings::new(sentinels / 2 + 1);
    settings.down_after_ms = [1000, 5000][rng.between(0, 1) as usize];
    settings.failover_timeout_ms = rng.between(5_000, 20_000);
    let calm = Shape::calm(rng.between(2, 4) as usize, sentinels as usize, settings);
    let disk_ms = [0, 30][rng.between(0, 1) as usize];
    let mut world = World::new(seed, Shape { keystead_data: true, disk_ms, ..calm }, false);
    world.run_until(15_000);
    world.run_until(15_000 + world.rng.clone().between(0, 10_000));
    world
}

/// An operator asks the first sentinel; the roles are swapped in this moment.
fn swapped(seed: u64) -> (World, usize) {
    let mut world = world(seed);
    let leader = world.sentinel_ids().start;
    world.operate(leader, &format!("SENTINEL FAILOVER {PRIMARY}"));
    let limit = world.now + 5_000;
    while world.checker.promotions.is_empty() {
        assert!(world.now < limit, "seed {seed}: nothing was handed over");
        world.run_until(world.now + 1);
    }
    let heir = world.checker.promotions[0].1;
    (world, heir)
}

/// The others name the heir, nobody else is promoted, and the healed world settles on it.
fn taken_over(seed: u64, mut world: World, heir: usize, out: bool) {
    let began = world.now;
    let addr = world.data(heir).addr.clone();
    let others: Vec<usize> = world.sentinel_ids().skip(usize::from(out)).collect();
    let know = |world: &World| {
        let named = |id: &usize| world.sentinel(*id).is_some_and(|s| *s.monitors()[PRIMARY].current_addr() == addr);
        others.iter().all(named)
    };
    while !know(&world) {
        assert!(world.now < began + LIMIT_MS, "seed {seed}: the others don't know the heir");
        world.run_until(world.now + 10);
    }
    world.run_until(world.now + 20_000);
    heal_all(&mut world);
    world.run_until(world.now + 40_000);
    assert_eq!(unsettled(&world), None, "seed {seed}");
    assert_eq!(world.checker.promotions.len(), 1, "seed {seed}: {:?}", world.checker.promotions);
    assert_eq!(world.data(heir).role, Role::Primary, "seed {seed}");
    assert_eq!(world.nodes().map(|id| world.data(id).lost).sum::<u64>(), 0, "seed {seed}");
    assert_eq!(world.checker.violations, Vec::<String>::new(), "seed {seed}");
}

#[test]
fn a_leader_that_dies_behind_the_swap() {
    for seed in 0..SEEDS {
        let (mut world, heir) = swapped(seed);
        let leader = world.sentinel_ids().start;
        world.kill(leader);
        taken_over(seed, world, heir, true);
    }
}

#[test]
fn a_leader_that_stands_still_behind_the_swap() {
    for seed in 0..SEEDS {
        let (mut world, heir) = swapped(seed);
        let leader = world.sentinel_ids().start;
        world.pause(leader);
        if seed % 2 == 0 {
            // It wakes while the others are at it.
            world.run_until(world.now + 1_000 + 50 * seed);
            world.resume(leader);
        }
        taken_over(seed, world, heir, true);
    }
}

#[test]
fn a_leader_that_is_reset_or_forgets_the_primary_behind_the_swap() {
    for seed in 0..SEEDS {
        let (mut world, heir) = swapped(seed);
        let leader = world.sentinel_ids().start;
        world.operate(leader, &format!("SENTINEL RESET {PRIMARY}"));
        taken_over(seed, world, heir, true);
    }
}

#[test]
fn a_leader_that_is_cut_off_behind_the_swap() {
    for seed in 0..SEEDS {
        let (mut world, heir) = swapped(seed);
        let leader = world.sentinel_ids().start;
        for other in world.all() {
            world.cut(other, leader);
            world.cut(leader, other);
        }
        taken_over(seed, world, heir, true);
    }
}

#[test]
fn all_sentinels_stand_still_behind_the_swap() {
    for seed in 0..SEEDS {
        let (mut world, heir) = swapped(seed);
        let ids = world.sentinel_ids();
        ids.clone().for_each(|id| world.pause(id));
        world.run_until(world.now + 3_000 + 10 * seed);
        ids.for_each(|id| world.resume(id));
        taken_over(seed, world, heir, false);
    }
}
