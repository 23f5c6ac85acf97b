//! Failovers that an operator asks for at a sentinel whose disk, or whose processor, doesn't follow: he is told what becomes of
//! them, and nobody is promoted or told of late.

use keystead_sentinel::settings::Settings;
use keystead_sentinel::wire::Reply;
use keystead_sim::sentinel::check::unsettled;
use keystead_sim::sentinel::data::Role;
use keystead_sim::sentinel::net::NodeId;
use keystead_sim::sentinel::world::{PRIMARY, Shape, World, data_addr};

/// In one of eight the world is too fast for what is to be shown.
const SEEDS: u64 = 24;
/// Sentinels that see a second primary take that back after 8 s.
const BROKEN_MS: u64 = 15_000;

fn world(seed: u64, failover_timeout_ms: u64) -> (World, NodeId) {
    world_of(seed, failover_timeout_ms, false)
}

/// The data nodes can hand their role over, or they are stock ones.
fn world_of(seed: u64, failover_timeout_ms: u64, keystead_data: bool) -> (World, NodeId) {
    let mut settings = Settings::new(2);
    (settings.down_after_ms, settings.failover_timeout_ms) = (1_000, failover_timeout_ms);
    let nodes = [2, 3][seed as usize % 2];
    let shape = Shape { keystead_data, ..Shape::calm(nodes, 3, settings) };
    let mut world = World::new(seed, shape, false);
    let rest = world.rng.between(15_000, 25_000);
    world.run_until(rest);
    let leader = world.sentinel_ids().start;
    (world, leader)
}

/// Where clients that ask this sentinel go.
fn named(world: &mut World, sentinel: NodeId) -> String {
    world.operate(sentinel, &format!("SENTINEL GET-MASTER-ADDR-BY-NAME {PRIMARY}"));
    match world.told.pop() {
        Some(Reply::Array(words)) => words[0].text().unwrap_or_default().to_owned(),
        other => panic!("no address: {other:?}"),
    }
}

/// All sentinels name one node, which is a primary.
fn agreed(world: &mut World) -> Option<NodeId> {
    let ids: Vec<NodeId> = world.sentinel_ids().collect();
    let mut names: Vec<String> = ids.into_iter().map(|id| named(world, id)).collect();
    names.dedup();
    let [name] = &names[..] else { return None };
    world.nodes().find(|id| data_addr(*id).host == *name && world.data(*id).role == Role::Primary)
}

/// The epoch is on the disk, and the replica is told to be a primary; false if it said so within the same millisecond.
fn promoting(world: &mut World, leader: NodeId) -> bool {
    world.operate(leader, &format!("SENTINEL FAILOVER {PRIMARY} FORCE"));
    while !world.transcript.iter().any(|line| line.contains("+failover-state-wait-promotion")) {
        world.run_until(world.now + 1);
    }
    !world.transcript.iter().any(|line| line.contains("+promoted-slave"))
}

/// The replica was promoted and its leader's disk broke behind that: for clients there was no primary for 21 s.
#[test]
fn a_promotion_beside_a_primary_that_cannot_be_written_down_is_told_to_nobody_and_taken_back() {
    for seed in 0..SEEDS {
        let (mut world, leader) = world(seed, 60_000);
        if !promoting(&mut world, leader) {
            continue;
        }
        world.break_disk(leader, BROKEN_MS, seed % 4 < 2);
        let (end, mut lacking) = (world.now + 40_000, 0);
        while world.now < end {
            world.run_until(world.now + 50);
            lacking = if agreed(&mut world) == Some(0) { 0 } else { lacking + 50 };
            assert!(lacking <= 200, "seed {seed}: for clients there is no primary, or two: {:#?}", world.transcript);
        }
        assert_eq!(unsettled(&world), None, "seed {seed}");
        assert_eq!(world.checker.switches, 0, "seed {seed}: {:#?}", world.transcript);
        // The next one is as good as ever.
        world.operate(leader, &format!("SENTINEL FAILOVER {PRIMARY} FORCE"));
        world.run_until(world.now + 30_000);
        assert_eq!((unsettled(&world), world.promotions_in(0)), (None, 2), "seed {seed}");
        assert_eq!(world.checker.violations, Vec::<String>::new(), "seed {seed}");
    }
}

/// A disk that is slow for less than that delays the switch, and nothing else.
#[test]
fn a_promotion_is_told_of_when_the_disk_has_it() {
    for seed in 0..SEEDS {
        let (mut world, leader) = world(seed, 60_000);
        if !promoting(&mut world, leader) {
            continue;
        }
        world.break_disk(leader, 3_000, seed % 4 < 2);
        world.run_until(world.now + 2_900);
        assert_eq!(agreed(&mut world), Some(0), "seed {seed}");
        world.run_until(world.now + 20_000);
        assert_eq!((unsettled(&world), world.promotions_in(0)), (None, 1), "seed {seed}: {:#?}", world.transcript);
        assert_ne!(agreed(&mut world), Some(0), "seed {seed}");
        assert_eq!(world.checker.violations, Vec::<String>::new(), "seed {seed}");
    }
}

/// OK came when the disk was well again, though nothing followed it any more.
#[test]
fn who_asked_for_a_failover_that_waited_for_the_disk_in_vain_is_told_so() {
    for seed in 0..SEEDS {
        let (mut world, leader) = world(seed, 5_000);
        world.break_disk(leader, BROKEN_MS, true);
        world.operate(leader, &format!("SENTINEL FAILOVER {PRIMARY} FORCE"));
        world.run_until(world.now + 6_000);
        let told = world.told.last().and_then(Reply::error).unwrap_or_default();
        assert!(told.contains("the failover is given up: the replica wasn't promoted in time (its state"), "{told}");
        world.run_until(world.now + 30_000);
        assert_eq!((world.told.len(), world.promotions_in(0)), (1, 0), "seed {seed}: {:?}", world.told);
        assert_eq!(unsettled(&world), None, "seed {seed}");
    }
}

/// Its write ended while it was stopped: whatever rested on that write left before anybody looked at the clock.
#[test]
fn a_promotion_that_waited_for_the_disk_of_a_sentinel_that_was_stopped_is_not_made_late() {
    for seed in 0..SEEDS {
        let (mut world, leader) = world(seed, 60_000);
        world.break_disk(leader, 500, true);
        world.operate(leader, &format!("SENTINEL FAILOVER {PRIMARY} FORCE"));
        world.run_until(world.now + 300);
        world.pause(leader);
        world.run_until(world.now + 30_000);
        world.resume(leader);
        world.run_until(world.now + 20_000);
        assert_eq!((unsettled(&world), world.promotions_in(0)), (None, 0), "seed {seed}: {:#?}", world.transcript);
        let told = world.told.last().and_then(Reply::error).unwrap_or_default();
        assert!(told.contains("the failover is given up"), "seed {seed}: {:?}", world.told);
    }
}

/// He had heard OK, and nothing came of it: a plain one was given up, one that was handed over was noticed seconds later.
#[test]
fn a_failover_that_was_answered_goes_on_behind_a_standstill() {
    for seed in 0..SEEDS {
        let (mut world, leader) = world_of(seed, 60_000, seed % 2 == 1);
        let way = if seed % 3 == 0 { " FORCE" } else { "" };
        world.operate(leader, &format!("SENTINEL FAILOVER {PRIMARY}{way}"));
        let asked = world.now;
        while world.told.is_empty() {
            world.run_until(world.now + 1);
            assert!(world.now < asked + 1_000, "seed {seed}: no answer");
        }
        assert_eq!(world.told.last(), Some(&Reply::ok()), "seed {seed}");
        world.pause(leader);
        world.run_until(world.now + 1_100 + 20 * seed);
        world.resume(leader);
        // A hello of each of the others is waited for, if that is asked for.
        world.run_until(world.now + 2_900);
        let now = agreed(&mut world);
        assert!(now.is_some_and(|id| id != 0), "seed {seed}: {now:?} {:#?}", world.transcript);
        world.run_until(world.now + 20_000);
        assert_eq!((unsettled(&world), world.promotions_in(0)), (None, 1), "seed {seed}: {:#?}", world.transcript);
        assert_eq!(world.checker.violations, Vec::<String>::new(), "seed {seed}");
    }
}
