//! A primary comes back without its data, and a replica that fell together with it joins it: whoever kept what all had takes
//! over, for nobody who follows the primary by now has it.

use keystead_sentinel::settings::Settings;
use keystead_sim::sentinel::check::unsettled;
use keystead_sim::sentinel::world::{Shape, World};

const SEEDS: u64 = 40;

/// Four nodes with the same data; so many sentinels.
fn world(seed: u64, sentinels: usize) -> World {
    let mut settings = Settings::new(sentinels as u32 / 2 + 1);
    settings.down_after_ms = 1_000;
    let shape = Shape { keeps_data: true, disk_ms: [0, 30][seed as usize % 2], ..Shape::calm(4, sentinels, settings) };
    let mut world = World::new(seed, shape, false);
    world.run_until(15_000);
    world.nodes().for_each(|id| world.data_mut(id).precious = true);
    world
}

/// The primary and these replicas are started again without their data after so long; the replicas are preferred from then on.
fn empty(world: &mut World, replicas: &[usize], away_ms: u64) {
    world.kill(0);
    replicas.iter().for_each(|id| world.kill(*id));
    world.run_until(world.now + away_ms);
    world.restart(0, false);
    for id in replicas {
        world.restart(*id, false);
        world.data_mut(*id).priority = 10;
    }
}

#[track_caller]
fn everybody_has_it(world: &World, seed: u64) {
    assert_eq!(unsettled(world), None, "seed {seed}");
    assert!(world.nodes().all(|id| world.data(id).precious), "seed {seed}: data was lost");
    assert_eq!(world.promotions_in(0), 1, "seed {seed}: {:?}", world.checker.promotions);
    assert_eq!(world.checker.violations, Vec::<String>::new(), "seed {seed}");
}

#[test]
fn who_kept_the_data_takes_over_however_many_joined_the_emptied_primary() {
    for seed in 0..SEEDS {
        let mut world = world(seed, [1, 3, 5][seed as usize % 3]);
        let away = world.rng.between(0, 700);
        empty(&mut world, [&[1][..], &[1, 2]][seed as usize % 2], away);
        world.run_until(world.now + 40_000);
        everybody_has_it(&world, seed);
    }
}

/// They have seen nobody in sync, and the links are down for longer than anybody may be behind.
#[test]
fn sentinels_that_were_away_for_minutes_see_it_too() {
    for seed in 0..SEEDS / 4 {
        let mut world = world(seed, 3);
        world.sentinel_ids().for_each(|id| world.kill(id));
        empty(&mut world, &[1, 2], 100);
        world.run_until(world.now + 300_000);
        world.sentinel_ids().for_each(|id| world.restart(id, true));
        world.run_until(world.now + 40_000);
        everybody_has_it(&world, seed);
    }
}

/// One that slept through a restart with which all others agree has old data, whatever it says of the primary.
#[test]
fn one_that_slept_deposes_no_primary() {
    for seed in 0..SEEDS / 4 {
        let mut world = world(seed, 3);
        // Nobody but the sleeper keeps what the primary loses: its operator wants it so.
        (0..3).for_each(|id| world.data_mut(id).keeps_data = false);
        world.pause(3);
        empty(&mut world, &[], 20);
        world.data_mut(0).blank = true;
        world.run_until(world.now + 20_000);
        world.resume(3);
        world.run_until(world.now + 20_000);
        assert!(world.data(3).primary_lost_data, "seed {seed}: it keeps its data");
        assert_eq!(world.promotions_in(0), 0, "seed {seed}");
        assert_eq!(world.transcript.iter().filter(|line| line.contains("+odown")).count(), 0, "seed {seed}");
    }
}
