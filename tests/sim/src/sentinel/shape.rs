//! The world of a seed: how many there are of each, and their settings.

use super::faults::Family;
use super::net::Weather;
use super::strategies::SELECTIONS;
use super::world::Shape;
use keystead_sentinel::settings::Settings;
use keystead_sentinel::types::Rng;

/// The world of a seed.
#[must_use]
pub fn shape(rng: &mut Rng, family: Family) -> Shape {
    let sentinels = match family {
        Family::Second(_) => [2, 3, 3, 3, 3, 3, 4, 5, 5],
        _ => [3, 3, 3, 3, 3, 3, 5, 5, 7],
    }[rng.between(0, 8) as usize];
    let mut settings = Settings::new(rng.between(2, sentinels / 2 + 1) as u32);
    settings.down_after_ms = [200, 1000, 1000, 2000][rng.between(0, 3) as usize];
    settings.failover_timeout_ms = rng.between(5_000, 20_000);
    settings.parallel_syncs = rng.between(1, 2) as u32;
    // Not where the primary comes back at once: who asks for fast detection wants a failover then.
    let back_at_once = matches!(family, Family::EmptyRestart | Family::ColdStart);
    settings.fast_detection = !back_at_once && rng.between(0, 3) == 0;
    settings.selection = SELECTIONS[rng.between(0, 2) as usize].into();
    settings.election = election(rng, family).into();
    let plain = if rng.between(0, 2) == 0 { rng.between(1, sentinels) as usize } else { 0 };
    let primaries = [1, 1, 1, 1, 1, 2, 2, 3][rng.between(0, 7) as usize];
    let other = |rng: &mut Rng| (election(rng, family), SELECTIONS[rng.between(0, 2) as usize]);
    Shape {
        primaries,
        data_nodes: rng.between(3, 4) as usize,
        sentinels: sentinels as usize,
        settings,
        strategies: (1..primaries).map(|_| other(rng)).collect(),
        keystead_data: rng.between(0, 1) == 0,
        forgetful: false,
        plain,
        keeps_data: family == Family::EmptyRestart,
        weather: Weather { delay_ms: rng.between(1, 5), loss_permille: 0 },
        disk_ms: [0, 0, 30, 400][rng.between(0, 3) as usize],
    }
}

/// A quarter of the worlds elect by the lease, where the holder's end is the only way out: a primary that is back in time
/// keeps its lease. What waits for an operator has a family of its own.
fn election(rng: &mut Rng, family: Family) -> &'static str {
    match family {
        Family::Manual => "manual",
        Family::Kill | Family::Pause | Family::SentinelsAndPrimary | Family::Loading if rng.between(0, 3) == 0 => {
            "lease"
        }
        _ => "sentinel",
    }
}
