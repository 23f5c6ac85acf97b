//! One seed from start to verdict: build, settle, break, heal, settle again.

use super::check::unsettled;
use super::faults::{FAMILIES, Family, heal_all, inflict};
use super::second::SECONDS;
use super::shape::shape;
use super::world::{World, name_of};
use keystead_sentinel::types::Rng;
use std::collections::BTreeMap;

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
    /// What was done to it.
    pub faults: BTreeMap<&'static str, u64>,
    /// What was wrong, nothing when all was well.
    pub wrong: Vec<String>,
}

/// Runs a seed.
#[must_use]
pub fn run(seed: u64, trace: bool) -> Verdict {
    run_as(FAMILIES[(seed % FAMILIES.len() as u64) as usize], seed, trace)
}

/// Runs a seed of those with a second fault.
#[must_use]
pub fn run_second(seed: u64, trace: bool) -> Verdict {
    run_as(Family::Second(SECONDS[(seed % SECONDS.len() as u64) as usize]), seed, trace)
}

fn run_as(family: Family, seed: u64, trace: bool) -> Verdict {
    let mut rng = Rng::new(seed);
    let shape = shape(&mut rng, family);
    if trace {
        println!("seed {seed}: {family:?} {shape:?}");
    }
    let mut world = World::new(rng.next_u64(), shape, trace);
    // What a sentinel knows of a replica is an INFO old, and where faults meet that is on its way for long.
    world.checker.patience_ms = match family {
        Family::Swarm | Family::Second(_) => 10_000,
        _ => 1_500,
    };
    let mut wrong = Vec::new();
    if let Some(why) = settle(&mut world, SETTLE_MS) {
        wrong.push(format!("never settled at the start: {why}"));
    }
    // The first failover must be caused by the fault, so the world has a moment of peace.
    let until = world.now + world.rng.between(100, 3_000);
    world.run_until(until);
    let began = world.now;
    let before = world.checker.promotions.len();
    world.nodes().for_each(|id| world.data_mut(id).precious = true);
    let expected = inflict(&mut world, family);
    let took_ms = world.checker.promotions.get(before).map(|(at, _)| at - began);
    world.say(|| "healing".to_owned());
    let faults = world.faults.clone();
    heal_all(&mut world);
    if let Some(why) = settle(&mut world, SETTLE_MS) {
        wrong.push(format!("not settled {SETTLE_MS} ms after healing: {why}"));
    }
    let promotions = world.checker.promotions.len();
    for group in 0..world.shape.primaries {
        let (least, most) = if group < expected.groups { expected.struck } else { expected.others };
        let had = world.promotions_in(group);
        if !(least..=most).contains(&had) {
            let all = &world.checker.promotions;
            wrong.push(format!("{had} promotions of {}, expected {least} to {most}: {all:?}", name_of(group)));
        }
    }
    let announced = world.checker.announced;
    if announced > promotions && !world.checker.were_forced() {
        wrong.push(format!("{promotions} promotions were announced {announced} times"));
    }
    let keeps = matches!(family, Family::EmptyRestart | Family::ColdStart);
    if keeps && world.nodes_of(0).any(|id| !world.data(id).precious) {
        wrong.push("data was lost".to_owned());
    }
    let lost: u64 = world.nodes_of(0).map(|id| world.data(id).lost).sum();
    if family == Family::AskedFor && lost > 0 {
        wrong.push(format!("{lost} acknowledged writes were lost by a coordinated failover"));
    }
    wrong.extend(world.checker.violations.iter().cloned());
    if trace {
        println!("verdict: {promotions} promotions, {} switches, {wrong:?}", world.checker.switches);
    }
    Verdict { family, promotions, took_ms, faults, wrong }
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
