//! Every checker can fail: with a history made by hand, and with a bug planted into a world. A checker that nothing can
//! make fail proves nothing about the seeds that pass.

use keystead_sentinel::election::{Advice, ElectionStrategy, Question, RedisElection};
use keystead_sentinel::events::{Level, Notice};
use keystead_sentinel::hello::Hello;
use keystead_sentinel::settings::Settings;
use keystead_sentinel::types::{Addr, Epoch, Mono};
use keystead_sentinel::wire::{Reply, Request};
use keystead_sim::sentinel::check::{Checker, unsettled};
use keystead_sim::sentinel::strategies::Loaded;
use keystead_sim::sentinel::world::{PRIMARY, Shape, World, data_addr};
use std::sync::Arc;

fn notice(name: &'static str) -> Notice {
    Notice { level: Level::Warning, name, payload: "master mymaster 10.0.0.1 6379".into() }
}

fn hello(id: &str, epoch: u64, config_epoch: u64, primary: usize) -> Request {
    let hello = Hello {
        addr: Addr::new("10.0.1.4", 26379),
        id: id.into(),
        epoch: Epoch(epoch),
        name: PRIMARY.into(),
        primary: data_addr(primary),
        config_epoch: Epoch(config_epoch),
    };
    Request::Hello(hello.to_string())
}

fn ask(epoch: u64, candidate: &str) -> Request {
    Request::AskDown {
        primary: data_addr(0),
        epoch: Epoch(epoch),
        candidate: Some(candidate.into()),
        named: None,
        at: Mono(0),
    }
}

fn vote_for(leader: &str, epoch: i64) -> Reply {
    Reply::Array(vec![Reply::Int(1), Reply::Bulk(leader.into()), Reply::Int(epoch)])
}

/// Fed with a history, the checker finds this, and nothing in the same history without its last step.
fn finds(words: &str, good: impl Fn(&mut Checker), bad: impl Fn(&mut Checker)) {
    let mut checker = Checker::default();
    good(&mut checker);
    assert_eq!(checker.violations, Vec::<String>::new(), "{words}");
    bad(&mut checker);
    assert_eq!(checker.violations.len(), 1, "{words}");
    assert!(checker.violations[0].contains(words), "{words}: {:?}", checker.violations);
}

#[test]
fn two_leaders_of_an_epoch() {
    let elected = |id, group, epoch| {
        move |c: &mut Checker| c.on_event(1, (id, group), &notice("+elected-leader"), Some(Epoch(epoch)))
    };
    finds(
        "two leaders in epoch 4",
        |c| {
            elected(3, 0, 4)(c);
            elected(4, 1, 4)(c); // of another primary
            elected(4, 0, 5)(c);
        },
        elected(5, 0, 4),
    );
}

#[test]
fn a_vote_given_twice_even_when_one_was_for_itself() {
    let reply = |c: &mut Checker, leader| c.on_vote_reply(1, ("me", 0), &ask(7, leader), &vote_for(leader, 7));
    finds(
        "voted twice in epoch 7",
        |c| {
            reply(c, "aa");
            reply(c, "aa");
            c.on_vote_reply(1, ("me", 1), &ask(7, "bb"), &vote_for("bb", 7)); // about another primary
        },
        |c| reply(c, "bb"),
    );
    finds("voted twice in epoch 7", |c| reply(c, "aa"), |c| c.on_request(2, ("me", 0), &ask(7, "me")));
}

#[test]
fn an_epoch_that_falls() {
    let says = |c: &mut Checker, epoch, config| c.on_request(1, ("me", 0), &hello("me", epoch, config, 0));
    finds("epochs of me fell", |c| says(c, 5, 3), |c| says(c, 4, 3));
    finds("epochs of me fell", |c| says(c, 5, 3), |c| says(c, 6, 2));
}

#[test]
fn an_order_that_was_given_up() {
    let (promote, follow) = (Request::Follow(None), Request::Follow(Some(data_addr(1))));
    for (words, order) in [("to follow NO ONE, which", &promote), ("to follow 10.0.0.2:6379, which", &follow)] {
        finds(words, |c| c.on_order(1, "me", order, true), |c| c.on_order(1, "me", order, false));
    }
}

#[test]
fn two_primaries_of_one_epoch() {
    let says = |c: &mut Checker, id: &str, config, primary| {
        c.on_request(1, (id, 0), &hello(id, 9, config, primary));
    };
    finds(
        "two primaries of mymaster in epoch 3",
        |c| {
            says(c, "aa", 3, 1);
            says(c, "bb", 3, 1);
            says(c, "bb", 4, 2);
        },
        |c| says(c, "cc", 3, 2),
    );
}

#[test]
fn a_candidate_that_loads_or_was_never_in_sync() {
    let checker = |c: &mut Checker| c.patience_ms = 1_000;
    let fresh = |c: &mut Checker| {
        checker(c);
        c.on_selection(5_000, 1, Some(4_500), true); // a moment ago: nobody could know
    };
    finds("data1 is to be promoted and has been loading", fresh, |c| c.on_selection(5_000, 1, Some(3_000), true));
    finds("was never in sync", fresh, |c| c.on_selection(5_000, 1, None, false));
}

#[test]
fn a_primary_demoted_by_an_old_configuration() {
    let (node, to) = (data_addr(1), data_addr(0));
    let best = Some((5, data_addr(1)));
    finds(
        "was demoted by a sentinel of epoch 4",
        |c| {
            c.on_follow(1, 1, (&node, &to), Some((5, false)), best.clone());
            c.on_follow(1, 1, (&node, &to), Some((4, true)), best.clone()); // it leads a newer one
        },
        |c| c.on_follow(1, 1, (&node, &to), Some((4, false)), best.clone()),
    );
}

// ---------- planted bugs

fn shape() -> Shape {
    let mut settings = Settings::new(2);
    settings.down_after_ms = 1000;
    Shape::calm(3, 3, settings)
}

/// Who asks is elected, whatever the votes say.
struct Vain;

impl ElectionStrategy for Vain {
    fn advise(&self, question: &Question) -> Advice {
        match question {
            Question::Stand { .. } => Advice::StandAfter { ms: 0 },
            Question::Campaign { .. } => Advice::Won,
            _ => RedisElection.advise(question),
        }
    }
}

/// It was believed once, and made two leaders of an epoch.
#[test]
fn a_strategy_that_counts_no_votes_makes_no_leader() {
    let mut loaded = Loaded::default();
    loaded.elections[0].1 = Arc::new(Vain);
    let mut world = World::with(3, shape(), loaded, false);
    world.run_until(15_000);
    world.kill(0);
    world.run_until(25_000);
    assert_eq!(world.checker.violations, Vec::<String>::new());
    assert_eq!(world.promotions_in(0), 1);
}

/// Two stand at once and nobody wins: they ask for long, and an epoch has two candidates.
struct Eager;

impl ElectionStrategy for Eager {
    fn advise(&self, question: &Question) -> Advice {
        match question {
            Question::Stand { me, .. } if me.ends_with('5') => Advice::Abstain { reason: "two are enough".into() },
            Question::Stand { .. } => Advice::StandAfter { ms: 0 },
            Question::Campaign { .. } => Advice::Undecided,
            _ => RedisElection.advise(question),
        }
    }
}

/// A voter whose disk holds nothing when it starts again may vote a second time: some moment of a split vote shows it.
#[test]
fn a_disk_that_forgets_votes_is_seen() {
    let twice = |forgetful: bool| {
        (0..16).any(|n| {
            let mut loaded = Loaded::default();
            loaded.elections[0].1 = Arc::new(Eager);
            let mut world = World::with(n, Shape { forgetful, ..shape() }, loaded, false);
            world.run_until(15_000);
            world.kill(0);
            world.run_until(15_950 + n * 30);
            let voter = world.sentinel_ids().start + (n % 2) as usize;
            world.kill(voter);
            world.restart(voter, true);
            world.run_until(17_500);
            world.checker.violations.iter().any(|text| text.contains("voted twice"))
        })
    };
    assert!(twice(true), "no moment showed what a forgotten vote does");
    assert!(!twice(false));
}

#[test]
fn a_disk_that_forgets_epochs_is_seen() {
    let fallen = |forgetful: bool| {
        let mut world = World::new(7, Shape { forgetful, ..shape() }, false);
        world.run_until(15_000);
        world.kill(0);
        world.run_until(20_000);
        let first = world.sentinel_ids().start;
        // It knows only the primary of its file, which follows the new one by now.
        world.restart(0, true);
        world.run_until(25_000);
        // Its peers would tell it at once.
        world.sentinel_ids().for_each(|id| world.kill(id));
        world.restart(first, true);
        world.run_until(30_000);
        world.checker.violations.iter().any(|text| text.contains("fell"))
    };
    assert!(fallen(true));
    assert!(!fallen(false));
}

/// Redis' plain way loses what the replica didn't have yet; asked to hand over, the primary loses nothing.
#[test]
fn acknowledged_writes_that_are_lost_are_counted() {
    let lost = |how: &str| {
        let mut world = World::new(5, Shape { keystead_data: true, ..shape() }, false);
        world.run_until(15_010);
        // The replicas are behind: what is acknowledged from here on they don't have.
        let late = world.data(0).offset;
        (1..3).for_each(|id| world.cut(0, id));
        world.run_until(15_900);
        assert!(world.data(0).offset > late, "clients write");
        let first = world.sentinel_ids().start;
        world.operate(first, &format!("SENTINEL FAILOVER {PRIMARY}{how}"));
        world.run_until(17_500);
        world.heal();
        world.run_until(45_000);
        assert_eq!(unsettled(&world), None, "{how}");
        assert_eq!(world.checker.promotions.len(), 1, "{how}");
        world.nodes().map(|id| world.data(id).lost).sum::<u64>()
    };
    assert!(lost(" FORCE") > 0);
    assert_eq!(lost(""), 0);
}

/// What `unsettled` says about a world in which something is still wrong.
#[test]
fn a_world_that_is_not_healed_is_not_settled() {
    let mut world = World::new(6, shape(), false);
    world.run_until(15_000);
    assert_eq!(unsettled(&world), None);
    world.kill(2);
    world.run_until(20_000);
    assert!(unsettled(&world).is_some_and(|why| why.contains("sees a replica down")));
}
