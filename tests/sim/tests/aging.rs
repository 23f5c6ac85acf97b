//! Sentinels and replicas that are gone for good: who may forget them, and who may not.

use keystead_sentinel::settings::Settings;
use keystead_sentinel::types::Kind;
use keystead_sim::sentinel::world::{PRIMARY, Shape, World};

/// Five sentinels that forget who was missed for ten seconds.
fn world(plain: usize) -> World {
    let mut settings = Settings::new(2);
    settings.down_after_ms = 1000;
    settings.forget_after_ms = 10_000;
    settings.forget_replicas_after_ms = 10_000;
    let mut world = World::new(4, Shape { plain, ..Shape::calm(2, 5, settings) }, false);
    world.run_until(15_000);
    world
}

fn voters(world: &World) -> Vec<u32> {
    world.sentinel_ids().map(|id| world.sentinel(id).map_or(0, |s| s.monitors()[PRIMARY].voters())).collect()
}

#[test]
fn one_that_a_majority_misses_is_forgotten_and_found_again_when_it_returns() {
    let mut world = world(0);
    let last = world.sentinel_ids().end - 1;
    world.kill(last);
    world.run_until(24_000);
    assert_eq!(voters(&world), [5, 5, 5, 5, 0], "not before its time");
    world.run_until(45_000);
    assert_eq!(voters(&world), [4, 4, 4, 4, 0]);
    assert!(world.transcript.iter().any(|line| line.contains("-sentinel") && line.contains("#missed by")));
    world.restart(last, true);
    world.run_until(60_000);
    assert_eq!(voters(&world), [5; 5]);
}

#[test]
fn a_minority_forgets_nobody_however_long_it_is_cut_off() {
    let mut world = world(0);
    let ids: Vec<usize> = world.sentinel_ids().collect();
    for a in 0..ids[3] {
        for b in [ids[3], ids[4]] {
            world.cut(a, b);
            world.cut(b, a);
        }
    }
    world.run_until(200_000);
    assert_eq!(voters(&world)[3..], [5, 5], "two of five are no majority");
    // The others were three of five, and then three of four: a majority each time.
    assert_eq!(voters(&world)[..3], [3, 3, 3]);
    world.heal();
    world.run_until(230_000);
    assert_eq!(voters(&world), [5; 5]);
    assert_eq!(world.checker.violations, Vec::<String>::new());
}

#[test]
fn without_a_majority_of_keysteads_a_dead_one_stays() {
    // Three stock ones can't be asked: they count as against it.
    let mut world = world(3);
    let last = world.sentinel_ids().end - 1;
    world.kill(last);
    world.run_until(200_000);
    assert_eq!(voters(&world)[..4], [5, 5, 5, 5]);
}

/// How many replicas each sentinel knows.
fn replicas(world: &World) -> Vec<usize> {
    let of = |id| world.sentinel(id).map_or(0, |s| s.monitors()[PRIMARY].of(Kind::Replica).count());
    world.sentinel_ids().map(of).collect()
}

#[test]
fn a_replica_that_a_majority_misses_is_forgotten_and_found_again() {
    let mut world = world(0);
    assert_eq!(replicas(&world), [1; 5]);
    world.kill(1);
    world.run_until(24_000);
    assert_eq!(replicas(&world), [1; 5], "not before its time");
    world.run_until(45_000);
    assert_eq!(replicas(&world), [0; 5]);
    assert!(world.transcript.iter().any(|line| line.contains("-slave") && line.contains("#missed by 3 of 5")));
    world.restart(1, true);
    world.run_until(75_000);
    assert_eq!(replicas(&world), [1; 5]);
    assert_eq!(world.checker.violations, Vec::<String>::new());
}

#[test]
fn a_replica_that_the_primary_has_stays() {
    let mut world = world(0);
    for id in world.sentinel_ids() {
        world.cut(id, 1);
        world.cut(1, id);
    }
    world.run_until(100_000);
    assert_eq!(replicas(&world), [1; 5], "no sentinel reaches it, and the primary does");
    let events = world.transcript.iter().filter(|line| line.contains("-slave slave")).count();
    assert_eq!(events, 0);
}

#[test]
fn a_former_primary_is_never_forgotten() {
    let mut world = world(0);
    world.kill(0);
    world.run_until(100_000);
    assert_eq!(replicas(&world), [1; 5]);
    world.restart(0, true);
    world.run_until(130_000);
    assert!(world.transcript.iter().any(|line| line.contains("+convert-to-slave")), "it came back as a primary");
    assert_eq!(world.checker.violations, Vec::<String>::new());
}
