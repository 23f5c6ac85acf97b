//! An example strategy: replicas are promoted in the order of a list; who isn't listed comes last, freshest first.
#![forbid(unsafe_code)]

use keystead_plugin::prelude::*;
use keystead_plugin::services::selection::{self, Candidate, Ranked, ReplicaSelection, Request};
use std::cmp::Reverse;

/// The plugin's subtree of the RON file.
#[derive(Default, serde::Serialize, serde::Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// `host:port`, the favourite first.
    pub order: Vec<String>,
}

/// The strategy and its plugin.
pub struct Favourites(pub Config);

impl Favourites {
    fn place(&self, replica: &Candidate) -> usize {
        let name = replica.addr.to_string();
        self.0.order.iter().position(|listed| *listed == name).unwrap_or(self.0.order.len())
    }
}

impl ReplicaSelection for Favourites {
    fn rank(&self, request: &Request) -> Ranked {
        let lost = |c: &Candidate| (request.behind(c) > 1_000_000).then(|| "is a megabyte behind".to_owned());
        let key = |c: &Candidate| (self.place(c), Reverse(c.offset));
        let why = |c: &Candidate| format!("place {} of the list, offset {}", self.place(c) + 1, c.offset);
        request.rank(lost, key, why)
    }
}

impl Plugin for Favourites {
    const NAME: &'static str = "favourites";
    const ENDPOINT_ONLY: bool = true;
    const CONFIG_DOCS: &'static [(&'static str, &'static str)] = &[("order", "host:port, the favourite first.")];
    type Config = Config;

    fn init(_host: Host, config: Config, reg: &mut Registrar<Self>) -> Result<Self> {
        selection::provide(reg);
        Ok(Favourites(config))
    }
}

keystead_plugin::export_plugin!(Favourites, KEYSTEAD_PLUGIN_favourites);
