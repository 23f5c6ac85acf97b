//! Settings that are spread to the group: through a partition and its end, a restart, and two operators at once.

use keystead_sentinel::settings::Settings;
use keystead_sim::sentinel::world::{PRIMARY, Shape, World};

fn world(plain: usize) -> World {
    let mut settings = Settings::new(2);
    settings.down_after_ms = 1000;
    let mut world = World::new(5, Shape { plain, ..Shape::calm(2, 5, settings) }, false);
    world.run_until(15_000);
    world
}

fn down_after(world: &World) -> Vec<u64> {
    let of = |id| world.sentinel(id).map_or(0, |s| s.monitors()[PRIMARY].settings.down_after_ms);
    world.sentinel_ids().map(of).collect()
}

/// Cuts these sentinels off from everybody else.
fn split(world: &mut World, side: &[usize]) {
    for a in 0..world.sentinel_ids().end {
        for b in side.iter().copied().filter(|b| *b != a && !side.contains(&a)) {
            world.cut(a, b);
            world.cut(b, a);
        }
    }
}

fn set(world: &mut World, id: usize, ms: u64) {
    world.operate(id, &format!("SENTINEL SET {PRIMARY} down-after-milliseconds {ms} GROUP"));
}

#[test]
fn a_setting_reaches_everybody_also_who_was_away() {
    let mut world = world(0);
    let ids: Vec<usize> = world.sentinel_ids().collect();
    split(&mut world, &ids[3..]);
    world.kill(ids[2]);
    set(&mut world, ids[0], 700);
    world.run_until(20_000);
    assert_eq!(down_after(&world), [700, 700, 0, 1000, 1000]);
    world.heal();
    world.restart(ids[2], true);
    world.run_until(30_000);
    assert_eq!(down_after(&world), [700; 5]);
    let told = world.transcript.iter().filter(|line| line.contains("+set-from-group")).count();
    assert_eq!(told, 4, "each of the others hears of it once: {:#?}", world.transcript);
    // It survives restarts of all at once.
    ids.iter().for_each(|id| world.kill(*id));
    ids.iter().for_each(|id| world.restart(*id, true));
    world.run_until(40_000);
    assert_eq!(down_after(&world), [700; 5]);
}

#[test]
fn of_two_operators_on_two_sides_the_higher_epoch_wins_and_then_the_higher_id() {
    for (more_on_the_left, expected) in [(true, 702), (false, 801)] {
        let mut world = world(0);
        let ids: Vec<usize> = world.sentinel_ids().collect();
        split(&mut world, &ids[3..]);
        set(&mut world, ids[0], 701);
        world.run_until(17_000);
        if more_on_the_left {
            set(&mut world, ids[1], 702);
        }
        set(&mut world, ids[4], 801);
        world.run_until(20_000);
        world.heal();
        world.run_until(30_000);
        assert_eq!(down_after(&world), [expected; 5], "more on the left: {more_on_the_left}");
    }
}

#[test]
fn stock_peers_are_not_told() {
    let mut world = world(2);
    let ids: Vec<usize> = world.sentinel_ids().collect();
    set(&mut world, ids[4], 600);
    world.run_until(25_000);
    assert_eq!(down_after(&world), [1000, 1000, 600, 600, 600]);
}
