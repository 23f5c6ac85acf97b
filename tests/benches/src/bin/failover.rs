//! How long clients wait when the primary is killed: real processes, kill -9, down-after 1000 ms, a client that asks the
//! sentinels and writes. Ours and stock redis-server with redis-sentinel, one run after the other in turn.
//! Prints a Markdown table. `failover [ROUNDS]`, 10 by default.

use keystead_benches::table::{head, median, row, short, spread};
use keystead_harness::{Group, Maker, Shape, have, wait_until};
use std::time::{Duration, Instant};

const LIMIT: Duration = Duration::from_secs(120);

/// One kill: seconds until the first accepted write, and promotions.
fn kill_once(maker: Maker) -> (f64, usize) {
    let mut group = Group::start(&Shape { data: vec![maker; 3], sentinels: vec![maker; 3], down_after_ms: 1000 });
    let old = group.data[0].port();
    let since = Instant::now();
    group.data[0].process().kill();
    let (new, took) = group.first_write_elsewhere(old, since, LIMIT);
    wait_until("the failover has ended", LIMIT, || group.logged("+failover-end") >= 1);
    wait_until("all sentinels agree", LIMIT, || (0..3).all(|n| group.primary_by(n) == Some(new)));
    (took.as_secs_f64(), group.logged("+promoted-slave"))
}

fn main() {
    let rounds: usize = std::env::args().nth(1).and_then(|n| n.parse().ok()).unwrap_or(10);
    let stock = have("redis-server") && have("redis-sentinel");
    let mut results = vec![("keystead", Maker::Keystead, Vec::new(), Vec::new())];
    if stock {
        results.push(("redis 7.0.15", Maker::Redis, Vec::new(), Vec::new()));
    }
    for round in 1..=rounds {
        for (name, maker, times, promotions) in &mut results {
            let (took, promoted) = kill_once(*maker);
            eprintln!("{name}, round {round}: {took:.3} s, {promoted} promotion(s)");
            times.push(took);
            promotions.push(promoted as f64);
        }
    }
    println!(
        "kill -9 of the primary, down-after 1000 ms, three sentinels, {rounds} rounds: seconds to the first write\n"
    );
    println!("{}", head(&["", "median", "fastest", "slowest", "promotions a kill"]));
    for (name, _, times, promotions) in &results {
        let (fastest, slowest) = spread(times);
        let (least, most) = spread(promotions);
        let counted = if least == most { short(least) } else { format!("{}–{}", short(least), short(most)) };
        println!("{}", row(&[(*name).to_owned(), short(median(times)), short(fastest), short(slowest), counted]));
    }
    if !stock {
        println!("\nSKIPPED: redis-server or redis-sentinel is not installed");
    }
}
