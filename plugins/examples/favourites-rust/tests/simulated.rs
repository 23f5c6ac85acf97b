//! The strategy in a whole simulated group: three data nodes, three sentinels, one fault.

use keystead_favourites::{Config, Favourites};
use keystead_sentinel::settings::Settings;
use keystead_sim::sentinel::strategies::Loaded;
use keystead_sim::sentinel::world::{Shape, World, data_addr};
use std::sync::Arc;

#[test]
fn the_favourite_is_promoted() {
    let order = vec![data_addr(2).to_string(), data_addr(1).to_string()];
    let mut strategies = Loaded::default();
    strategies.selections.push(("favourites", Arc::new(Favourites(Config { order }))));

    let settings = Settings { down_after_ms: 1_000, selection: "favourites".into(), ..Settings::new(2) };
    let mut world = World::with(7, Shape::calm(3, 3, settings), strategies, false);
    world.run_until(15_000); // everybody has found everybody
    world.kill(0);
    world.run_until(20_000);

    let promoted: Vec<usize> = world.checker.promotions.iter().map(|(_, node)| *node).collect();
    assert_eq!(promoted, [2]);
    assert_eq!(world.checker.violations, Vec::<String>::new());
}
