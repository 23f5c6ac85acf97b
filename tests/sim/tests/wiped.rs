//! Sentinels that lose their state: a new id at the same place takes the old one's, so majorities stay what they were.

use keystead_sentinel::settings::Settings;
use keystead_sentinel::types::Rng;
use keystead_sentinel::wire::Reply;
use keystead_sim::sentinel::world::{PRIMARY, Shape, World, name_of};

const SEEDS: u64 = 40;

fn world(seed: u64) -> World {
    let mut rng = Rng::new(seed);
    let sentinels = [3, 3, 5][rng.between(0, 2) as usize];
    let mut settings = Settings::new(sentinels / 2 + 1);
    settings.down_after_ms = 1000;
    let calm = Shape::calm(3, sentinels as usize, settings);
    let disk_ms = [0, 30][rng.between(0, 1) as usize];
    let mut world = World::new(seed, Shape { primaries: rng.between(1, 2) as usize, disk_ms, ..calm }, false);
    world.run_until(15_000);
    world
}

/// Every sentinel knows as many others as there are, of every primary.
fn all_known(world: &World) -> bool {
    let count = world.shape.sentinels;
    world.sentinel_ids().filter_map(|id| world.sentinel(id)).all(|sentinel| {
        (0..world.shape.primaries).all(|group| sentinel.monitors()[name_of(group)].voters() as usize == count)
    })
}

#[test]
fn one_that_lost_its_state_once_or_thrice_leaves_no_voter_behind() {
    for seed in 0..SEEDS {
        let mut world = world(seed);
        let ids: Vec<usize> = world.sentinel_ids().collect();
        let (wiped, wipes) = (ids[seed as usize % ids.len()], 1 + seed % 3);
        for _ in 0..wipes {
            world.wipe(wiped);
            let rest = world.rng.between(3_000, 12_000);
            world.run_until(world.now + rest);
        }
        world.run_until(world.now + 6_000);
        assert!(all_known(&world), "seed {seed}");
        // Of those that are left a majority of all is there still, the one without a past included.
        let dead = ids.iter().filter(|id| **id != wiped).take((ids.len() - 1) / 2);
        dead.for_each(|id| world.kill(*id));
        world.kill(0);
        world.run_until(world.now + 12_000);
        assert_eq!(world.promotions_in(0), 1, "seed {seed}");
        assert_eq!(world.checker.violations, Vec::<String>::new(), "seed {seed}");
    }
}

#[test]
fn ckquorum_counts_who_is_there() {
    let mut world = world(1);
    let ids: Vec<usize> = world.sentinel_ids().collect();
    for _ in 0..3 {
        world.wipe(ids[2]);
        world.run_until(world.now + 6_000);
    }
    let count = ids.len();
    for id in ids {
        world.operate(id, &format!("SENTINEL CKQUORUM {PRIMARY}"));
        let Some(Reply::Status(text)) = world.told.pop() else { panic!("{:?}", world.told) };
        assert!(text.starts_with(&format!("OK {count} usable Sentinels")), "{text}");
    }
}

#[test]
fn one_that_is_wiped_while_the_primary_is_dead_costs_no_more_than_its_vote() {
    for seed in 0..SEEDS {
        let mut world = world(seed);
        let ids: Vec<usize> = world.sentinel_ids().collect();
        world.kill(0);
        let moment = world.rng.between(0, 1_500);
        world.run_until(world.now + moment);
        world.wipe(ids[0]);
        world.run_until(world.now + 15_000);
        // A primary that was dead when the one without a past came, and the others' word for the new one.
        assert_eq!(world.promotions_in(0), 1, "seed {seed}");
        assert!(all_known(&world), "seed {seed}");
    }
}
