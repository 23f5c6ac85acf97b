//! Peers that accept connections and refuse what is asked on them: they are there, and can't be heard.

use keystead_sentinel::settings::Settings;
use keystead_sentinel::types::Mono;
use keystead_sim::sentinel::net::NodeId;
use keystead_sim::sentinel::world::{PRIMARY, Shape, World};

fn world() -> World {
    let mut settings = Settings::new(2);
    settings.down_after_ms = 1000;
    let mut world = World::new(5, Shape::calm(3, 3, settings), false);
    world.run_until(15_000);
    world
}

/// It hears too few, and since when it knows anything.
fn state(world: &World, id: NodeId) -> (bool, Mono) {
    let monitor = &world.sentinel(id).expect("it runs").monitors()[PRIMARY];
    (monitor.isolated, monitor.knowledge_since)
}

#[test]
fn who_is_refused_by_all_peers_stays_isolated_and_begins_anew_once() {
    let mut world = world();
    let ids: Vec<NodeId> = world.sentinel_ids().collect();
    let (alone, before) = (ids[0], state(&world, ids[0]));
    assert!(!before.0);
    ids[1..].iter().for_each(|id| world.lock(*id, true));
    world.run_until(17_500);
    for at in (17_500..40_000).step_by(7) {
        world.run_until(at);
        assert_eq!(state(&world, alone), (true, before.1), "{at}: a connection is no word");
    }
    ids[1..].iter().for_each(|id| world.lock(*id, false));
    world.run_until(42_000);
    let after = state(&world, alone);
    assert!(!after.0 && after.1 > before.1, "{after:?}");
    world.run_until(50_000);
    assert_eq!(state(&world, alone), after);
    world.kill(0);
    world.run_until(60_000);
    assert_eq!(world.promotions_in(0), 1);
    assert_eq!(world.checker.violations, Vec::<String>::new());
}

#[test]
fn one_that_refuses_is_down_and_the_others_go_on() {
    let mut world = world();
    let last = world.sentinel_ids().end - 1;
    world.lock(last, true);
    world.run_until(20_000);
    let down = world.transcript.iter().filter(|line| line.contains("+sdown sentinel")).count();
    assert_eq!(down, 2, "the two others say so once");
    world.kill(0);
    world.run_until(30_000);
    assert_eq!(world.promotions_in(0), 1);
}
