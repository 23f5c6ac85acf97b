//! Epochs that nobody counted up to, claimed by whoever can write to a sentinel or into a hello channel: failovers go on.

use keystead_sentinel::settings::Settings;
use keystead_sentinel::types::Epoch;
use keystead_sim::sentinel::world::{PRIMARY, Shape, World, data_addr, sentinel_addr};

/// Some that are too great, and some that are just believed.
const CLAIMS: [u64; 9] = [
    u64::MAX,
    u64::MAX - 1,
    1 << 63,
    i64::MAX as u64,
    Epoch::LAST.0 + 1,
    Epoch::LAST.0,
    Epoch::FAR.0 + 1,
    Epoch::FAR.0,
    1 << 40,
];

fn world(plain: usize) -> World {
    let mut settings = Settings::new(2);
    settings.down_after_ms = 1000;
    let mut world = World::new(5, Shape { plain, ..Shape::calm(3, 3, settings) }, false);
    world.run_until(15_000);
    world
}

fn id_of(world: &World, sentinel: usize) -> String {
    world.sentinel(sentinel).expect("it runs").id().to_owned()
}

/// A hello in the name of one sentinel, given to another.
fn forge(world: &mut World, (from, to): (usize, usize), epoch: u64, config_epoch: u64) {
    let (sender, primary) = (sentinel_addr(from), data_addr(0));
    let id = id_of(world, from);
    let text = format!(
        "{},{},{id},{epoch},{PRIMARY},{},{},{config_epoch}",
        sender.host, sender.port, primary.host, primary.port
    );
    world.operate(to, &format!("PUBLISH __sentinel__:hello {text}"));
}

fn ask_for_vote(world: &mut World, (from, to): (usize, usize), epoch: u64) {
    let (id, primary) = (id_of(world, from), data_addr(0));
    let line = format!("SENTINEL IS-MASTER-DOWN-BY-ADDR {} {} {epoch} {id}", primary.host, primary.port);
    world.operate(to, &line);
}

fn expect_failover(world: &mut World, case: &str) {
    world.run_until(world.now + 3_000);
    world.kill(0);
    world.run_until(world.now + 15_000);
    assert_eq!(world.promotions_in(0), 1, "{case}: {:#?}", world.transcript);
    assert_eq!(world.checker.violations, Vec::<String>::new(), "{case}");
    let epochs: Vec<Epoch> = world.sentinel_ids().filter_map(|id| Some(world.sentinel(id)?.epoch())).collect();
    assert!(epochs.iter().all(|epoch| *epoch == epochs[0] && *epoch < Epoch::LAST), "{case}: {epochs:?}");
}

#[test]
fn no_claim_in_a_hello_keeps_a_group_from_its_failover() {
    for claim in CLAIMS {
        for to_all in [false, true] {
            let mut world = world(0);
            let ids: Vec<usize> = world.sentinel_ids().collect();
            forge(&mut world, (ids[0], ids[1]), claim, 0);
            if to_all {
                forge(&mut world, (ids[1], ids[2]), claim, claim);
                forge(&mut world, (ids[1], ids[0]), 0, claim);
            }
            expect_failover(&mut world, &format!("{claim}, to all: {to_all}"));
        }
    }
}

#[test]
fn no_claim_in_a_request_for_a_vote_does() {
    for claim in CLAIMS {
        let mut world = world(1);
        let ids: Vec<usize> = world.sentinel_ids().collect();
        ask_for_vote(&mut world, (ids[0], ids[1]), claim);
        ask_for_vote(&mut world, (ids[2], ids[1]), claim);
        ask_for_vote(&mut world, (ids[1], ids[0]), claim);
        expect_failover(&mut world, &format!("{claim}"));
    }
}

#[test]
fn sentinels_that_were_pushed_apart_and_one_without_a_memory_come_together_again() {
    let mut world = world(0);
    let ids: Vec<usize> = world.sentinel_ids().collect();
    for _ in 0..3 {
        forge(&mut world, (ids[0], ids[1]), Epoch::LAST.0, 0);
        world.run_until(world.now + 61_000); // what isn't believed moves nobody further within a minute
    }
    for step in 1..=3 {
        forge(&mut world, (ids[0], ids[2]), Epoch::FAR.0 + (step << 20), 0);
    }
    world.run_until(world.now + 240_000);
    expect_failover(&mut world, "pushed apart");
    world.restart(0, true);
    world.kill(ids[2]);
    world.restart(ids[2], false);
    world.run_until(world.now + 240_000);
    let epochs: Vec<Epoch> = ids.iter().map(|id| world.sentinel(*id).expect("it runs").epoch()).collect();
    assert!(epochs[0] > Epoch::FAR && epochs.iter().all(|epoch| *epoch == epochs[0]), "{epochs:?}");
}
