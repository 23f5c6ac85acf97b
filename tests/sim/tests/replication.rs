//! Replication under faults, seed by seed. `KEYSTEAD_SIM_SEED=n` replays one, `KEYSTEAD_SIM_SEEDS=n` runs more.

use keystead_sim::replication::{Faults, World};

fn number(name: &str) -> Option<u64> {
    std::env::var(name).ok()?.parse().ok()
}

/// Runs every seed and tells how many full and partial resyncs there were.
fn seeds(count: u64, run: impl Fn(&mut World)) -> (u64, u64) {
    let one = number("KEYSTEAD_SIM_SEED");
    let range = one.map_or(0..number("KEYSTEAD_SIM_SEEDS").unwrap_or(count), |seed| seed..seed + 1);
    let mut sum = (0, 0);
    for seed in range {
        let mut world = World::new(seed, 3 + (seed % 3) as usize);
        run(&mut world);
        let (full, partial) = world.resyncs();
        sum = (sum.0 + full, sum.1 + partial);
    }
    sum
}

fn only(faults: Faults, count: u64) -> (u64, u64) {
    seeds(count, |w| {
        for _ in 0..3000 {
            w.step(faults, true);
        }
        w.heal(true);
        w.converged();
    })
}

#[test]
fn without_faults_everybody_follows() {
    let (full, _) = only(Faults::NONE, 20);
    assert!(full >= 20);
}

#[test]
fn cuts() {
    let (full, partial) = only(Faults { cut: true, ..Faults::NONE }, 100);
    assert!(full > 0 && partial > 0, "{full} {partial}");
}

#[test]
fn pauses() {
    only(Faults { pause: true, ..Faults::NONE }, 80);
}

#[test]
fn restarts_without_data() {
    only(Faults { restart: true, ..Faults::NONE }, 80);
}

#[test]
fn promotions() {
    let (full, partial) = only(Faults { promote: true, ..Faults::NONE }, 100);
    assert!(partial > 0, "{full} {partial}");
}

#[test]
fn everything_at_once() {
    let (full, partial) = only(Faults::ALL, 300);
    assert!(full > 0 && partial > 0, "{full} {partial}");
}

/// F8: the primary is killed and comes back empty at once; its replicas keep what they have, however long it takes
/// and whatever is written to it, until somebody repoints them.
#[test]
fn a_primary_that_comes_back_empty_wipes_nobody() {
    seeds(40, |w| {
        for _ in 0..2000 {
            w.step(Faults::NONE, true);
        }
        let had: Vec<usize> = w.nodes.iter().map(|n| n.data.0.len()).collect();
        w.restart(0);
        for n in 0..2000 {
            w.step(Faults::NONE, n > 600);
        }
        for (node, had) in w.nodes.iter().zip(&had).skip(1) {
            assert!(
                node.data.0.len() >= *had,
                "node {} lost its data (seed {:?})",
                node.id,
                number("KEYSTEAD_SIM_SEED")
            );
        }
        w.fail_over(1);
        w.heal(true);
        w.converged();
        assert!(w.nodes[0].data.0.len() >= had[1]);
    });
}

/// The same when its clients are back before its replicas are.
#[test]
fn a_primary_that_comes_back_with_a_few_keys_wipes_nobody() {
    seeds(40, |w| {
        for _ in 0..2000 {
            w.step(Faults::NONE, true);
        }
        let had: Vec<usize> = w.nodes.iter().map(|n| n.data.0.len()).collect();
        w.restart(0);
        for _ in 0..2000 {
            w.step(Faults::NONE, true);
        }
        for (node, had) in w.nodes.iter().zip(&had).skip(1) {
            assert!(node.data.0.len() >= *had, "node {} (seed {:?})", node.id, number("KEYSTEAD_SIM_SEED"));
        }
    });
}

/// F12: a primary that is told to follow a replica of its own, over several hops, doesn't; and when all of the loop start
/// anew every one of them says so. It ends with its cause.
#[test]
fn a_loop_is_refused_and_forgotten() {
    seeds(60, |w| {
        for _ in 0..1000 {
            w.step(Faults::NONE, true);
        }
        let last = w.nodes.len() - 1;
        w.follow(0, last);
        for _ in 0..1000 {
            w.step(Faults::NONE, false);
        }
        assert!(w.nodes[0].link.status().looped && !w.nodes[0].link.up(), "node 0 follows itself");
        let ring = [0, last, last - 1];
        for id in ring {
            w.restart(id);
        }
        for _ in 0..1500 {
            w.step(Faults::NONE, false);
        }
        for id in ring {
            assert!(w.nodes[id].link.status().looped && !w.nodes[id].link.up(), "node {id} doesn't see the loop");
        }
        w.fail_over(1);
        w.heal(true);
        w.converged();
        assert!(w.nodes.iter().all(|node| !node.link.status().looped));
    });
}

/// Nodes are pointed at each other at random, loops among them: no data diverges, and when the tree is one again nobody
/// believes in a loop that is gone.
#[test]
fn any_wiring_heals() {
    seeds(80, |w| {
        let n = w.nodes.len();
        for round in 0..40 {
            for _ in 0..70 {
                w.step(Faults { cut: true, ..Faults::NONE }, true);
            }
            let (a, b) = ((round * 7 + 1) % n, (round * 5 + round / 3) % n);
            w.follow(a, b);
        }
        w.fail_over(0);
        // A chain, so that each hears of the others over several hops.
        for id in 1..n {
            w.follow(id, id - 1);
        }
        for _ in 0..3000 {
            w.step(Faults::NONE, false);
        }
        assert!(w.nodes[1..].iter().all(|node| node.link.up() && !node.link.status().looped));
        w.heal(true);
        w.converged();
    });
}
