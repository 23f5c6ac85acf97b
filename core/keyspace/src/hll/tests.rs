//! The format against itself: sparse beside dense, estimates, and values that somebody made up.

use super::*;

fn many(from: usize, n: usize) -> Vec<Sign> {
    (from..from + n).map(|i| Sign::of(format!("element {i}").as_bytes())).collect()
}

fn registers(bytes: &[u8]) -> Registers {
    let mut registers = [0; REGISTERS];
    merge(&mut registers, bytes).unwrap();
    registers
}

#[test]
fn the_hash_is_murmur64a() {
    // From the reference implementation.
    assert_eq!(murmur64a(b"", 0), 0);
    assert_ne!(murmur64a(b"12345678", 0), murmur64a(b"123456789", 0));
    assert_ne!(murmur64a(b"a", 1), murmur64a(b"a", 2));
}

#[test]
fn sparse_and_dense_hold_the_same_registers() {
    let (mut sparse, mut dense) = (empty(), empty());
    to_dense(&mut dense).unwrap();
    for round in 0..60 {
        let signs = many(round * 17, 17);
        let nothing = |bytes: &[u8]| plan(bytes, &signs, 3000).map(|plan| plan == Addition::Nothing);
        assert_eq!(nothing(&sparse), nothing(&dense));
        let raised = add(&mut sparse, &signs, 3000).unwrap();
        assert_eq!(raised, add(&mut dense, &signs, 3000).unwrap());
        assert_eq!(registers(&sparse), registers(&dense));
        assert_eq!(plan(&sparse, &signs, 3000), Ok(Addition::Nothing));
    }
    assert_eq!(encoding(&sparse), Ok(Encoding::Sparse));
    add(&mut sparse, &many(0, 5000), 3000).unwrap();
    assert_eq!((encoding(&sparse), sparse.len()), (Ok(Encoding::Dense), DENSE_LEN));
}

#[test]
fn the_estimate_is_within_a_few_parts_in_a_hundred() {
    let mut bytes = empty();
    let mut added = 0;
    for n in [10, 100, 1000, 10_000, 100_000] {
        add(&mut bytes, &many(added, n - added), 3000).unwrap();
        added = n;
        let counted = count(&registers(&bytes));
        assert_eq!(count_value(&bytes), Ok(counted));
        assert!(counted.abs_diff(n as u64) * 100 <= n as u64 * 3, "{n}: {counted}");
    }
    assert_eq!(count(&[0; REGISTERS]), 0);
}

#[test]
fn the_cached_count_is_forgotten_with_a_change() {
    let mut bytes = empty();
    keep_count(&mut bytes, 0);
    assert_eq!(cached(&bytes), Some(0));
    add(&mut bytes, &many(0, 1), 3000).unwrap();
    assert_eq!(cached(&bytes), None);
    keep_count(&mut bytes, 1);
    assert_eq!(cached(&bytes), Some(1));
    add(&mut bytes, &many(0, 1), 3000).unwrap();
    assert_eq!(cached(&bytes), Some(1), "nothing rose");
}

#[test]
fn made_up_values_are_refused() {
    assert_eq!(encoding(b""), Err(Bad::Format));
    assert_eq!(encoding(b"HYLL\x01"), Err(Bad::Format));
    let mut wrong = empty();
    wrong[4] = 2;
    assert_eq!(encoding(&wrong), Err(Bad::Format));
    wrong[4] = DENSE;
    assert_eq!(encoding(&wrong), Err(Bad::Format), "a dense one has its length");
    let header = &empty()[..HEADER];
    // A run too many, one too few, half of one, and runs that together wrap any small counter.
    let long = [0x7f, 0xff].repeat(300_000);
    for runs in [&[0x7f, 0xff, 0x00][..], &[0x7f, 0xfe], &[], &[0x7f], &[0x7f, 0xfe, 0x40], &[0x80, 0x7f, 0xff], &long]
    {
        let bytes = [header, runs].concat();
        let mut into = [0; REGISTERS];
        assert_eq!(merge(&mut into, &bytes), Err(Bad::Corrupt), "{:?}", &runs[..runs.len().min(4)]);
        assert_eq!(count_value(&bytes), Err(Bad::Corrupt));
        assert_eq!(to_dense(&mut bytes.clone()), Err(Bad::Corrupt));
    }
}

#[test]
fn no_bytes_lead_out_of_bounds() {
    let mut state = 88_172_645_463_325_252_u64;
    let mut random = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state
    };
    for _ in 0..20_000 {
        let mut bytes = empty();
        bytes.truncate(HEADER);
        bytes.extend((0..random() % 40).map(|_| random() as u8));
        if random() % 3 == 0 {
            add(&mut bytes, &many(random() as usize % 1000, 3), 3000).ok();
        }
        let mut into = [0; REGISTERS];
        let sound = merge(&mut into, &bytes).is_ok();
        let added = add(&mut bytes, &many(random() as usize % 1000, 3), random() as usize % 60);
        if sound {
            added.unwrap();
            registers(&bytes);
        }
        describe(&bytes).ok();
    }
}

/// As Redis: what stands behind the last register is of no concern to who adds, and stays.
#[test]
fn half_a_run_behind_the_last_is_left_alone() {
    let mut bytes = empty();
    bytes.push(0x7f);
    let Ok(Addition::Whole(new, 1)) = plan(&bytes, &many(0, 1), 3000) else { panic!("it rises") };
    assert_eq!((new.len(), new.last()), (bytes.len() + 3, Some(&0x7f)));
    assert_eq!(count_value(&new), Err(Bad::Corrupt));
}

/// All at once, and one by one: the same bytes.
#[test]
fn dense_registers_are_written_and_merged_as_a_whole() {
    let mut wanted: Registers = std::array::from_fn(|at| (at * 7919 % 64) as u8);
    let (mut whole, mut single) = (vec![0; DENSE_LEN], vec![0; DENSE_LEN]);
    whole[..HEADER].copy_from_slice(&empty()[..HEADER]);
    whole[4] = DENSE;
    dense::write(&mut whole[HEADER..], &wanted);
    wanted.iter().enumerate().for_each(|(at, count)| _ = dense::raise(&mut single[HEADER..], at, *count));
    assert_eq!(whole[HEADER..], single[HEADER..]);
    assert_eq!(registers(&whole), wanted);
    let mut into: Registers = std::array::from_fn(|at| (at * 104_729 % 64) as u8);
    let other = into;
    merge(&mut into, &whole).unwrap();
    assert!((0..REGISTERS).all(|at| into[at] == dense::get(&whole[HEADER..], at).max(other[at])));
    wanted.sort_unstable();
    let (sorted, mixed) = (count(&wanted), count(&registers(&whole)));
    assert_eq!((sorted, count_value(&whole)), (mixed, Ok(mixed)));
}

/// PFMERGE into a sparse value that becomes dense on the way, against the same registers in a dense one.
#[test]
fn taking_over_ends_in_the_same_registers_whatever_the_encoding() {
    for max_sparse in [0, 100, 1000, 3000] {
        let (mut own, mut other) = (empty(), empty());
        add(&mut own, &many(0, 50), 3000).unwrap();
        add(&mut other, &many(30, 300), 3000).unwrap();
        let mut all = registers(&own);
        merge(&mut all, &other).unwrap();
        let mut dense = own.clone();
        take_over(&mut own, &registers(&other), false, max_sparse).unwrap();
        take_over(&mut dense, &registers(&other), true, max_sparse).unwrap();
        assert_eq!((registers(&own), cached(&own)), (all, None), "{max_sparse}");
        assert_eq!(registers(&dense), all);
        if encoding(&own) == Ok(Encoding::Dense) {
            assert_eq!(own, dense);
        }
    }
}
