//! Which lease a turn rests on: what was written under it may be acknowledged until that has ended.

mod kit;

use kit::Kit;

fn at(mono_us: u64) -> Kit {
    let mut kit = Kit::default();
    kit.now.mono_us = mono_us;
    kit
}

/// A script that runs for seconds lets a client in, which moves the turn's clock behind the end of the lease: the turn was
/// taken for one that had never rested on it, and its writes were acknowledged.
#[test]
fn a_clock_that_moves_inside_a_turn_says_nothing_of_its_lease() {
    let mut kit = at(1_000);
    kit.engine.core.gates.write_until(Some(2_000));
    kit.engine.begin_turn(kit.now);
    kit.now.mono_us = 3_000;
    kit.connect();
    assert_eq!(kit.engine.core.now.mono_us, 3_000, "the clock has moved");
    assert_eq!(kit.engine.core.lease_end(), Some(2_000));
}

#[test]
fn a_lease_that_is_taken_back_inside_a_turn_has_ended_and_one_that_goes_on_counts_so_long() {
    let mut kit = at(1_000);
    let gates = kit.engine.core.gates.clone();
    gates.write_until(Some(2_000));
    kit.engine.begin_turn(kit.now);
    for (until, end) in [(Some(0), Some(0)), (Some(1_999), Some(0)), (Some(5_000), Some(5_000)), (None, None)] {
        gates.write_until(until);
        assert_eq!(kit.engine.core.lease_end(), end, "{until:?}");
    }
}

/// A replica's gate is closed all the time: what it answers rests on no lease.
#[test]
fn a_turn_without_a_lease_rests_on_none_until_there_is_one() {
    let mut kit = at(3_000);
    let gates = kit.engine.core.gates.clone();
    for closed in [0, 2_000] {
        gates.write_until(Some(closed));
        kit.engine.begin_turn(kit.now);
        assert_eq!(kit.engine.core.lease_end(), None);
    }
    gates.write_until(Some(4_000));
    assert_eq!(kit.engine.core.lease_end(), Some(4_000));
}
