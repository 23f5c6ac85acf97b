//! One seed from start to verdict: build, settle, break, heal, settle again.

use super::check::unsettled;
use super::faults::{FAMILIES, Family, heal_all, inflict, shape};
use super::world::World;
use keystead_sentinel::types::Rng;

/// A healed world must have settled after this much virtual time.
const SETTLE_MS: u64 = 90_000;
const LOOK_MS: u64 = 250;

/// What a seed came to.
#[derive(Clone, Debug)]
pub struct Verdict {
    /// Its kind.
    pub family: Family,
    /// Promotions that happened.
    pub promotions: usize,
    /// From the fault to the promotion, for a single fault.
    pub took_ms: Option<u64>,
    /// What was wrong, nothing when all was well.
    pub wrong: Vec<String>,
}

/// Runs a seed.
#[must_use]
pub fn run(seed: u64, trace: bool) -> Verdict {
    let family = FAMILIES[(seed % FAMILIES.len() as u64) as usize];
    let mut rng = Rng::new(seed);
    let shape = shape(&mut rng, family);
    if trace {
        println!("seed {seed}: {family:?} {shape:?}");
    }
    let mut world = World::new(rng.next_u64(), shape, trace);
    let mut wrong = Vec::new();
    if let Some(why) = settle(&mut world, SETTLE_MS) {
        wrong.push(format!("never settled at the start: {why}"));
    }
    // The first failover must be caused by the fault, so the world has a moment of peace.
    let until = world.now + world.rng.between(100, 3_000);
    world.run_until(until);
    let began = world.now;
    let before = world.checker.promotions.len();
    (0..world.shape.data_nodes).for_each(|id| world.data_mut(id).precious = true);
    let expected = inflict(&mut world, family);
    let took_ms = world.checker.promotions.get(before).map(|(at, _)| at - began);
    world.say(|| "healing".to_owned());
    heal_all(&mut world);
    if let Some(why) = settle(&mut world, SETTLE_MS) {
        wrong.push(format!("not settled {SETTLE_MS} ms after healing: {why}"));
    }
    let promotions = world.checker.promotions.len();
    if let Some((least, most)) = expected
        && !(least..=most).contains(&promotions)
    {
        wrong.push(format!("{promotions} promotions, expected {least} to {most}: {:?}", world.checker.promotions));
    }
    let announced = world.checker.announced;
    if announced > promotions {
        wrong.push(format!("{promotions} promotions were announced {announced} times"));
    }
    if family == Family::EmptyRestart && (0..world.shape.data_nodes).any(|id| !world.data(id).precious) {
        wrong.push("data was lost".to_owned());
    }
    wrong.extend(world.checker.violations.iter().cloned());
    if trace {
        println!("verdict: {promotions} promotions, {} switches, {wrong:?}", world.checker.switches);
    }
    Verdict { family, promotions, took_ms, wrong }
}

/// Runs until the world is settled and stays so for a while; says what is missing if it doesn't.
fn settle(world: &mut World, limit_ms: u64) -> Option<String> {
    let end = world.now + limit_ms;
    let mut calm = 0;
    let mut why = None;
    while world.now < end {
        let until = world.now + LOOK_MS;
        world.run_until(until);
        why = unsettled(world);
        calm = if why.is_none() { calm + LOOK_MS } else { 0 };
        if calm >= 3_000 {
            return None;
        }
    }
    Some(why.unwrap_or_else(|| "it keeps changing".to_owned()))
}
