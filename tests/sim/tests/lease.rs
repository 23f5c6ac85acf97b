//! Elections by the lease, where whoever finishes a failover finds the lease with the node that is promoted already.

use keystead_sentinel::settings::Settings;
use keystead_sentinel::types::Rng;
use keystead_sim::sentinel::check::unsettled;
use keystead_sim::sentinel::data::Role;
use keystead_sim::sentinel::faults::heal_all;
use keystead_sim::sentinel::world::{PRIMARY, Shape, World};

const SEEDS: u64 = 40;
/// Until a primary is replaced: its lease (three seconds), and what an election takes.
const LIMIT_MS: u64 = 12_000;

fn world(seed: u64) -> World {
    let mut rng = Rng::new(seed);
    let mut settings = Settings::new(2);
    settings.election = "lease".into();
    settings.down_after_ms = 1_000;
    settings.failover_timeout_ms = rng.between(5_000, 20_000);
    let calm = Shape::calm(rng.between(3, 4) as usize, 3, settings);
    let mut world = World::new(seed, Shape { keystead_data: true, ..calm }, false);
    world.run_until(15_000 + rng.between(0, 10_000));
    world
}

/// Who is promoted next, in the moment in which it is.
fn promoted(seed: u64, world: &mut World) -> usize {
    let (before, limit) = (world.checker.promotions.len(), world.now + LIMIT_MS);
    while world.checker.promotions.len() == before {
        assert!(world.now < limit, "seed {seed}: nobody was promoted");
        world.run_until(world.now + 1);
    }
    world.checker.promotions[before].1
}

/// All sentinels that run name it, within `ms`.
fn named(seed: u64, world: &mut World, who: usize, ms: u64) {
    let (addr, end) = (world.data(who).addr.clone(), world.now + ms);
    let knows = |world: &World, id| world.sentinel(id).is_none_or(|s| *s.monitors()[PRIMARY].current_addr() == addr);
    while !world.sentinel_ids().all(|id| knows(world, id)) {
        assert!(world.now < end, "seed {seed}: the sentinels don't know the new primary");
        world.run_until(world.now + 10);
    }
}

/// One promotion, and nothing that was acknowledged under the lease is lost.
fn settles(seed: u64, mut world: World, who: usize) {
    heal_all(&mut world);
    world.run_until(world.now + 40_000);
    assert_eq!(unsettled(&world), None, "seed {seed}");
    assert_eq!(world.checker.promotions.len(), 1, "seed {seed}: {:?}", world.checker.promotions);
    assert_eq!(world.data(who).role, Role::Primary, "seed {seed}");
    assert_eq!(world.data(who).lost, 0, "seed {seed}");
    assert_eq!(world.checker.violations, Vec::<String>::new(), "seed {seed}");
}

/// The leader is the one that dies: the others see the lease with the promoted node.
fn leader_dies(seed: u64) -> (World, usize) {
    let mut world = world(seed);
    world.kill(0);
    let who = promoted(seed, &mut world);
    let leader = world.checker.last_leader(0).expect("somebody was elected");
    world.kill(leader);
    (world, who)
}

#[test]
fn a_leader_that_dies_behind_its_promotion_is_followed_by_another() {
    for seed in 0..SEEDS {
        let (mut world, who) = leader_dies(seed);
        named(seed, &mut world, who, LIMIT_MS);
        settles(seed, world, who);
    }
}

/// And the old primary is back at any moment meanwhile.
#[test]
fn an_old_primary_that_is_back_takes_no_writes_away_from_the_holder() {
    for seed in 0..SEEDS {
        let (mut world, who) = leader_dies(seed);
        world.run_until(world.now + 100 + 60 * seed);
        world.restart(0, true);
        named(seed, &mut world, who, 2 * LIMIT_MS);
        settles(seed, world, who);
    }
}

/// FAILOVER on the primary itself: no sentinel has asked for it, and none will say so.
#[test]
fn a_role_that_was_handed_over_by_hand_is_found_with_the_lease() {
    for seed in 0..SEEDS {
        let mut world = world(seed);
        let to = world.data(1).addr.clone();
        world.data_mut(0).handing = Some((to, world.now + 5_000));
        let who = promoted(seed, &mut world);
        named(seed, &mut world, who, 2 * LIMIT_MS);
        settles(seed, world, who);
    }
}
