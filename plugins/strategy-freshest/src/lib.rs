//! Selection strategy `freshest`: who has most of the primary's stream is promoted; the priority decides among equals
//! only. Redis' order puts the priority first, so that a preferred replica that was cut off is promoted and what it
//! misses is lost. Priority 0 is never promoted here either.
#![forbid(unsafe_code)]

use keystead_plugin::prelude::*;
use keystead_plugin::services::selection::{self, Ranked, ReplicaSelection, Request};
use std::cmp::Reverse;

/// The strategy and its plugin: there is nothing to configure.
#[derive(Clone, Copy, Debug, Default)]
pub struct Freshest;

impl ReplicaSelection for Freshest {
    fn rank(&self, request: &Request) -> Ranked {
        request.rank(
            |_| None,
            |c| (Reverse(c.offset), c.priority),
            |c| format!("offset {} ({} bytes behind), priority {}", c.offset, request.behind(c), c.priority),
        )
    }
}

impl Plugin for Freshest {
    const NAME: &'static str = "freshest";
    const ENDPOINT_ONLY: bool = true;
    type Config = ();

    fn init(_host: Host, _config: (), reg: &mut Registrar<Self>) -> Result<Self> {
        selection::provide(reg);
        Ok(Freshest)
    }
}

keystead_plugin::export_plugin!(Freshest, KEYSTEAD_PLUGIN_freshest);
