//! REPLICAOF in a circle, by a hand or by somebody's word that came late: the group has a primary again as soon as if that one
//! had died, and settles.

use keystead_sentinel::settings::Settings;
use keystead_sim::sentinel::check::unsettled;
use keystead_sim::sentinel::data::Role;
use keystead_sim::sentinel::net::NodeId;
use keystead_sim::sentinel::world::{Shape, World, data_addr};

const SEEDS: u64 = 40;
const DOWN_AFTER_MS: u64 = 1_000;
/// Until the first sentinel has asked (INFO's period), and until the failover behind down-after is made.
const LIMIT_MS: u64 = 10_000 + DOWN_AFTER_MS + 2_000;

fn world(seed: u64) -> World {
    let sentinels = [1, 3, 5][seed as usize % 3];
    let mut settings = Settings::new(sentinels as u32 / 2 + 1);
    settings.down_after_ms = DOWN_AFTER_MS;
    let keystead_data = seed.is_multiple_of(2);
    let shape = Shape { keystead_data, disk_ms: [0, 30][seed as usize % 2], ..Shape::calm(4, sentinels, settings) };
    let mut world = World::new(seed, shape, false);
    let rest = world.rng.between(15_000, 25_000);
    world.run_until(rest);
    world
}

fn follow(world: &mut World, id: NodeId, of: NodeId) {
    let (now, to) = (world.now, data_addr(of));
    let words = ["SLAVEOF", &to.host, &to.port.to_string()].map(str::to_owned).to_vec();
    world.data_mut(id).execute(now, &[words], 0);
}

fn primary(world: &World) -> Option<NodeId> {
    world.nodes().find(|id| world.runs(*id) && world.data(*id).role == Role::Primary)
}

fn opened(world: &mut World, seed: u64, promotions: usize) {
    assert_eq!(primary(world), None, "seed {seed}: a circle");
    let began = world.now;
    while primary(world).is_none() {
        assert!(world.now - began < LIMIT_MS, "seed {seed}: nobody is a primary");
        world.run_until(world.now + 50);
    }
    world.run_until(world.now + 60_000);
    assert_eq!(unsettled(world), None, "seed {seed}");
    assert_eq!(world.promotions_in(0), promotions, "seed {seed}: {:?}", world.checker.promotions);
    assert_eq!(world.checker.violations, Vec::<String>::new(), "seed {seed}");
}

#[test]
fn a_primary_that_is_told_to_follow_its_replica() {
    for seed in 0..SEEDS {
        let mut world = world(seed);
        let ring: &[NodeId] = [&[0, 1][..], &[0, 1, 2], &[0, 3, 2, 1]][seed as usize % 3];
        for (n, id) in ring.iter().enumerate() {
            follow(&mut world, *id, ring[(n + 1) % ring.len()]);
        }
        opened(&mut world, seed, 1);
    }
}

/// Behind a failover somebody who holds the configuration before it tells the new primary to follow the old one.
#[test]
fn a_promoted_primary_that_is_told_to_follow_the_one_before_it() {
    for seed in 0..SEEDS {
        let mut world = world(seed);
        world.kill(0);
        world.run_until(world.now + 8_000);
        let promoted = primary(&world).expect("a primary");
        world.restart(0, true);
        while world.data(0).role != Role::Replica(data_addr(promoted)) {
            world.run_until(world.now + 50);
        }
        let rest = world.rng.between(0, 12_000);
        world.run_until(world.now + rest);
        follow(&mut world, promoted, 0);
        opened(&mut world, seed, 2);
    }
}
