//! What an earlier run of a cluster left in its folder: whom its sentinels hold for the primary, and which address each has
//! in its own file. Only reads; of the sentinels' state file it knows the few fields that it needs.

use super::layout::{Layout, MONITOR_NAME};
use serde::Deserialize;
use std::{collections::BTreeMap, fs, path::Path};

/// The state file of a sentinel, in its node's folder.
const STATE_FILE: &str = "sentinel.state";

/// What was left.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Kept {
    /// The port of the primary as the sentinels' newest configuration has it.
    pub primary: Option<u16>,
    /// For each sentinel's port: the primary's port that its file gave. Another one there would start that primary anew.
    pub configured: BTreeMap<u16, u16>,
}

#[derive(Deserialize)]
struct State {
    monitors: Vec<Monitor>,
}

#[derive(Deserialize)]
struct Monitor {
    name: String,
    configured: Option<Addr>,
    primary: Addr,
    config_epoch: u64,
}

#[derive(Deserialize)]
struct Addr {
    port: u16,
}

impl Kept {
    /// Reads what is there. A state that can't be read is its sentinel's matter: it refuses to start, and says why.
    #[must_use]
    pub fn read(layout: &Layout) -> Kept {
        let mut kept = Kept::default();
        let mut newest = None;
        for node in &layout.nodes {
            let Some((port, monitor)) = node.sentinel().zip(monitor(&node.dir)) else { continue };
            if let Some(configured) = monitor.configured {
                kept.configured.insert(port, configured.port);
            }
            if newest.is_none_or(|epoch| epoch < monitor.config_epoch) {
                newest = Some(monitor.config_epoch);
                kept.primary = Some(monitor.primary.port);
            }
        }
        kept
    }
}

fn monitor(dir: &Path) -> Option<Monitor> {
    let text = fs::read_to_string(dir.join(STATE_FILE)).ok()?;
    let options = ron::Options::default().with_default_extension(ron::extensions::Extensions::IMPLICIT_SOME);
    let state: State = options.from_str(&text).ok()?;
    state.monitors.into_iter().find(|monitor| monitor.name == MONITOR_NAME)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_newest_configuration_counts() {
        let dir = tempfile::tempdir().unwrap();
        let layout = Layout::new(dir.path(), 6380, 2, 3, false).unwrap();
        assert_eq!(Kept::read(&layout), Kept::default());
        for (node, (epoch, port)) in layout.nodes[3..].iter().zip([(1, 6381), (2, 6382), (0, 6380)]) {
            fs::create_dir(&node.dir).unwrap();
            let state = format!(
                "(version: 1, id: \"a\", epoch: 2, monitors: [(name: \"mymaster\", configured: (host: \"127.0.0.1\", port: \
                 6380), overrides: [], primary: (host: \"127.0.0.1\", port: {port}), config_epoch: {epoch}, \
                 leader: \"\")], removed: [])"
            );
            fs::write(node.dir.join(STATE_FILE), state).unwrap();
        }
        fs::write(layout.nodes[5].dir.join(STATE_FILE), "(version: 1, id:").unwrap();
        let kept = Kept::read(&layout);
        assert_eq!(kept.primary, Some(6382));
        assert_eq!(kept.configured, BTreeMap::from([(26380, 6380), (26381, 6380)]));
    }
}
