//! Golden transcripts: what the events of a failover are, in which order and when. `UPDATE=1` rewrites them; a person
//! reads the difference.

use keystead_sentinel::settings::Settings;
use keystead_sim::sentinel::faults::heal_all;
use keystead_sim::sentinel::net::Weather;
use keystead_sim::sentinel::world::{Shape, World};
use std::path::Path;

fn world(seed: u64) -> World {
    let mut settings = Settings::new(2);
    settings.down_after_ms = 1000;
    let weather = Weather { delay_ms: 1, loss_permille: 0 };
    let shape = Shape { data_nodes: 3, sentinels: 3, settings, plain: 0, keeps_data: false, weather, disk_ms: 0 };
    World::new(seed, shape, false)
}

fn compare(name: &str, world: &World, from: usize) {
    let text = world.transcript[from..].join("\n") + "\n";
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden").join(name);
    if std::env::var_os("UPDATE").is_some() {
        std::fs::write(&file, &text).expect("the golden file can be written");
    }
    let golden = std::fs::read_to_string(&file).unwrap_or_default();
    assert_eq!(text, golden, "{name} differs; UPDATE=1 rewrites it");
}

#[test]
fn a_killed_primary_and_its_return() {
    let mut world = world(7);
    world.run_until(15_000);
    let from = world.transcript.len();
    world.kill(0);
    world.run_until(25_000);
    heal_all(&mut world);
    world.run_until(30_000);
    compare("kill_and_return.txt", &world, from);
}
