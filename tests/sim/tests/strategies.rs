//! Strategies in the sentinels' world: who is chosen, when nobody stands, and what a swap in the middle may never do.

use keystead_sentinel::settings::Settings;
use keystead_sentinel::wire::Reply;
use keystead_sim::sentinel::world::{PRIMARY, Shape, World};

fn world(data_nodes: usize, change: impl Fn(&mut Settings)) -> World {
    let mut settings = Settings::new(2);
    settings.down_after_ms = 1000;
    change(&mut settings);
    let mut world = World::new(3, Shape::calm(data_nodes, 3, settings), false);
    world.run_until(15_000);
    world
}

fn all(world: &mut World, command: &str) {
    world.sentinel_ids().for_each(|id| world.operate(id, command));
}

/// The lines of the last answer to an operator.
fn lines(world: &World) -> String {
    let Some(Reply::Array(lines)) = world.told.last() else { panic!("no lines: {:?}", world.told.last()) };
    lines.iter().filter_map(Reply::text).collect::<Vec<_>>().join("\n")
}

/// The preferred replica was cut off from its primary for a moment before that died: Redis' order promotes it all the
/// same, and what it misses is lost.
#[test]
fn freshest_promotes_who_has_most_and_redis_whom_the_operator_prefers() {
    for (strategy, promoted) in [("redis", 1), ("freshest", 2)] {
        let mut world = world(3, |settings| settings.selection = strategy.into());
        world.data_mut(1).priority = 10;
        world.run_until(30_000);
        world.cut(0, 1);
        world.cut(1, 0);
        world.run_until(32_000);
        world.kill(0);
        world.run_until(40_000);
        let who: Vec<usize> = world.checker.promotions.iter().map(|(_, id)| *id).collect();
        assert_eq!(who, [promoted], "{strategy}");
    }
}

#[test]
fn zoned_leaves_the_zone_of_the_primary_that_fell() {
    // data0 and data2 share a zone; data2 would be the better one by its priority.
    let mut world = world(3, |settings| settings.selection = "zoned".into());
    world.data_mut(2).priority = 1;
    world.run_until(30_000);
    let first = world.sentinel_ids().start;
    world.operate(first, &format!("SENTINEL FAILOVER {PRIMARY} DRYRUN"));
    let rehearsed = lines(&world);
    assert!(rehearsed.contains("10.0.0.2:6379 would be promoted: zone odd of weight 5"), "{rehearsed}");
    assert!(rehearsed.contains("10.0.0.3:6379 is number 2: zone even of weight 5, the primary's"), "{rehearsed}");
    world.kill(0);
    world.run_until(40_000);
    assert_eq!(world.checker.promotions.iter().map(|(_, id)| *id).collect::<Vec<_>>(), [1]);
}

#[test]
fn manual_waits_for_an_operator_and_says_so() {
    let mut world = world(3, |settings| settings.election = "manual".into());
    let first = world.sentinel_ids().start;
    let confirm = format!("SENTINEL CONFIRM {PRIMARY}");
    world.operate(first, &confirm);
    let told = world.told.last().and_then(Reply::error).map(str::to_owned);
    assert_eq!(told.as_deref(), Some("ERR mymaster is not objectively down: there is nothing to confirm"));
    world.kill(0);
    world.run_until(40_000);
    assert!(world.checker.promotions.is_empty());
    world.operate(first, &format!("SENTINEL EXPLAIN {PRIMARY}"));
    let explained = lines(&world);
    let waits =
        "blocked: the election strategy 'manual' doesn't stand: it waits for an operator: SENTINEL CONFIRM mymaster";
    assert!(explained.contains(waits) && explained.contains("would be promoted"), "{explained}");
    world.operate(first, &confirm);
    world.run_until(42_000);
    assert_eq!(world.checker.promotions.len(), 1);
    assert_eq!(world.checker.violations, Vec::<String>::new());
    // A confirmation is for one fall.
    let new = world.checker.promotions[0].1;
    world.restart(0, true);
    world.run_until(60_000);
    world.kill(new);
    world.run_until(80_000);
    assert_eq!(world.checker.promotions.len(), 1, "the next fall needs a word of its own");
}

/// A strategy swapped in at any millisecond of a campaign: no second vote, no second leader of an epoch, one promotion.
#[test]
fn a_swap_in_the_middle_of_a_campaign_loses_no_vote() {
    for ms in (900..1_300).step_by(4) {
        let mut world = world(3, |_| {});
        world.kill(0);
        world.run_until(15_000 + ms);
        all(&mut world, &format!("SENTINEL SET {PRIMARY} election-strategy manual selection-strategy freshest"));
        world.run_until(15_000 + ms + 3);
        all(&mut world, &format!("SENTINEL SET {PRIMARY} election-strategy sentinel selection-strategy redis"));
        world.run_until(22_000);
        assert_eq!(world.checker.violations, Vec::<String>::new(), "swapped after {ms} ms");
        assert_eq!(world.checker.promotions.len(), 1, "swapped after {ms} ms");
    }
}

#[test]
fn a_strategy_that_is_not_there_is_refused() {
    let mut world = world(3, |_| {});
    let first = world.sentinel_ids().start;
    world.operate(first, &format!("SENTINEL SET {PRIMARY} selection-strategy frehsest"));
    let told = world.told.last().and_then(Reply::error).map(str::to_owned).unwrap_or_default();
    assert_eq!(told, "ERR no plugin 'frehsest' gives a strategy for selections here; there is redis, freshest, zoned");
}
