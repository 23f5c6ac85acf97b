//! Which nodes a local cluster has, on which ports, and the RON file of each. Pure: no files, no processes.

use super::kept::Kept;
use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
};

/// Sentinels listen this far above the base port, as 26379 lies above 6379.
pub const SENTINEL_PORT_OFFSET: u16 = 20_000;
/// The name under which the sentinels watch the primary.
pub const MONITOR_NAME: &str = "mymaster";
/// A local cluster is for watching: a dead primary is noticed after this time.
const DOWN_AFTER_MS: u64 = 1000;
/// How long one failover attempt may take.
const FAILOVER_TIMEOUT_MS: u64 = 20_000;

/// What a node is when the cluster starts; what it remembers itself comes before what its file says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// Accepts writes.
    Primary,
    /// Follows the primary.
    Replica,
    /// Watches, votes, has no data.
    Sentinel,
}

impl Role {
    /// The word shown to people.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Primary => "primary",
            Self::Replica => "replica",
            Self::Sentinel => "sentinel",
        }
    }
}

/// One process of the cluster.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Node {
    /// What it starts as.
    pub role: Role,
    /// Its main port: data for a data node, the sentinel's for a sentinel.
    pub port: u16,
    /// The port of the sentinel inside a data node (`--embedded`).
    pub sentinel_port: Option<u16>,
    /// Its folder: state, log, pid file.
    pub dir: PathBuf,
    /// Its RON file.
    pub file: PathBuf,
}

impl Node {
    /// Where sentinel commands go, if this node takes any.
    #[must_use]
    pub fn sentinel(&self) -> Option<u16> {
        if self.role == Role::Sentinel { Some(self.port) } else { self.sentinel_port }
    }

    /// Whether it holds keys.
    #[must_use]
    pub fn has_data(&self) -> bool {
        self.role != Role::Sentinel
    }
}

/// The nodes of a cluster, data nodes first.
#[derive(Clone, Debug)]
pub struct Layout {
    /// All processes, in the order in which they start.
    pub nodes: Vec<Node>,
    primary_port: u16,
    /// The primary's port in the files of sentinels that have a state already.
    configured: BTreeMap<u16, u16>,
    quorum: usize,
    /// What data nodes load beside replication.
    plugins: Vec<&'static str>,
}

/// Why a cluster can't be laid out.
#[derive(Debug, PartialEq, Eq)]
pub struct LayoutError(pub String);

impl Layout {
    /// Lays out one primary, `replicas` replicas and `sentinels` sentinels; embedded ones live in the data nodes.
    ///
    /// # Errors
    /// When the ports don't fit below 65536 or overlap, or fewer than one sentinel is asked for.
    pub fn new(dir: &Path, base_port: u16, replicas: u16, sentinels: u16, embedded: bool) -> Result<Self, LayoutError> {
        let data = replicas.checked_add(1).ok_or_else(|| LayoutError("too many replicas".into()))?;
        let votes = if embedded { data } else { sentinels };
        if votes == 0 {
            return Err(LayoutError(
                "a cluster without sentinels can't fail over: --sentinels must be at least 1".into(),
            ));
        }
        if base_port == 0 {
            return Err(LayoutError("--base-port must be at least 1".into()));
        }
        if data > SENTINEL_PORT_OFFSET {
            return Err(LayoutError(format!("at most {} data nodes", SENTINEL_PORT_OFFSET)));
        }
        let sentinel_base =
            base_port.checked_add(SENTINEL_PORT_OFFSET).filter(|base| base.checked_add(votes - 1).is_some());
        let Some(sentinel_base) = sentinel_base else {
            return Err(LayoutError(format!(
                "--base-port {base_port} leaves no room: sentinels listen {SENTINEL_PORT_OFFSET} above it, up to 65535"
            )));
        };
        let mut nodes: Vec<Node> = (0..data)
            .map(|n| {
                let role = if n == 0 { Role::Primary } else { Role::Replica };
                node(dir, role, base_port + n, embedded.then_some(sentinel_base + n))
            })
            .collect();
        if !embedded {
            nodes.extend((0..votes).map(|n| node(dir, Role::Sentinel, sentinel_base + n, None)));
        }
        Ok(Self {
            nodes,
            primary_port: base_port,
            configured: BTreeMap::new(),
            quorum: usize::from(votes) / 2 + 1,
            plugins: Vec::new(),
        })
    }

    /// The same, going on from what an earlier run left: who is new follows the primary of today, not the first one.
    #[must_use]
    pub fn with_kept(mut self, kept: &Kept) -> Self {
        self.configured.clone_from(&kept.configured);
        let today = kept.primary.filter(|port| self.nodes.iter().any(|node| node.has_data() && node.port == *port));
        self.primary_port = today.unwrap_or(self.primary_port);
        for node in self.nodes.iter_mut().filter(|node| node.role != Role::Sentinel) {
            node.role = if node.port == self.primary_port { Role::Primary } else { Role::Replica };
        }
        self
    }

    /// The same, with data nodes that load these plugins too.
    #[must_use]
    pub fn with_plugins(self, plugins: impl Iterator<Item = &'static str>) -> Self {
        Layout { plugins: plugins.collect(), ..self }
    }

    /// The text of a node's RON file. The role in it is the first one; a later one is in the node's own state.
    #[must_use]
    pub fn ron(&self, node: &Node) -> String {
        let mut plugins = Vec::new();
        if node.has_data() {
            plugins.push(self.replication(node));
            plugins.extend(self.plugins.iter().map(|name| format!("        (name: \"{name}\", config: ()),\n")));
        }
        if let Some(port) = node.sentinel() {
            plugins.push(self.sentinel(port));
        }
        format!(
            "// Written by `keystead cluster`. Start this node alone with: keystead {file}\n\
             (\n    server: (bind: [\"127.0.0.1\"], port: {port}, dir: {dir:?}, pidfile: {pidfile:?}),\n    \
             log: (level: \"info\"),\n    plugins: [\n{plugins}    ],\n)\n",
            file = node.file.display(),
            port = node.port,
            dir = node.dir.display().to_string(),
            pidfile = node.dir.join("keystead.pid").display().to_string(),
            plugins = plugins.concat(),
        )
    }

    fn replication(&self, node: &Node) -> String {
        let follows = match node.role {
            Role::Replica => format!("replicaof: (\"127.0.0.1\", {})", self.primary_port),
            _ => String::new(),
        };
        format!("        (name: \"replication\", config: ({follows})),\n")
    }

    fn sentinel(&self, port: u16) -> String {
        format!(
            "        (name: \"sentinel\", config: (\n            port: {port},\n            monitors: [(\n                \
             name: \"{MONITOR_NAME}\", host: \"127.0.0.1\", port: {primary}, quorum: {quorum},\n                \
             down_after_ms: {DOWN_AFTER_MS}, failover_timeout_ms: {FAILOVER_TIMEOUT_MS}, parallel_syncs: 1,\n            \
             )],\n        )),\n",
            primary = self.configured.get(&port).copied().unwrap_or(self.primary_port),
            quorum = self.quorum,
        )
    }

    /// How many processes vote.
    #[must_use]
    pub fn sentinels(&self) -> usize {
        self.nodes.iter().filter(|n| n.sentinel().is_some()).count()
    }

    /// How many replicas the sentinels should know.
    #[must_use]
    pub fn replicas(&self) -> usize {
        self.nodes.iter().filter(|n| n.role == Role::Replica).count()
    }
}

fn node(dir: &Path, role: Role, port: u16, sentinel_port: Option<u16>) -> Node {
    let name = if role == Role::Sentinel { format!("sentinel-{port}") } else { format!("node-{port}") };
    Node { role, port, sentinel_port, dir: dir.join(&name), file: dir.join(format!("{name}.ron")) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ports_follow_the_base_port() {
        let layout = Layout::new(Path::new("/d"), 6380, 2, 3, false).unwrap();
        let ports: Vec<(Role, u16)> = layout.nodes.iter().map(|n| (n.role, n.port)).collect();
        assert_eq!(
            ports,
            [
                (Role::Primary, 6380),
                (Role::Replica, 6381),
                (Role::Replica, 6382),
                (Role::Sentinel, 26380),
                (Role::Sentinel, 26381),
                (Role::Sentinel, 26382)
            ]
        );
        assert_eq!((layout.quorum, layout.sentinels(), layout.replicas()), (2, 3, 2));
    }

    #[test]
    fn embedded_sentinels_live_in_the_data_nodes() {
        let layout = Layout::new(Path::new("/d"), 7000, 2, 3, true).unwrap();
        assert_eq!(
            layout.nodes.iter().map(|n| n.sentinel_port).collect::<Vec<_>>(),
            [Some(27000), Some(27001), Some(27002)]
        );
        assert_eq!(layout.sentinels(), 3);
        let ron = layout.ron(&layout.nodes[1]);
        assert!(ron.contains("replicaof: (\"127.0.0.1\", 7000)") && ron.contains("port: 27001"), "{ron}");
    }

    #[test]
    fn who_is_new_follows_the_primary_of_today_and_an_old_sentinel_keeps_its_address() {
        let kept = Kept { primary: Some(6381), configured: BTreeMap::from([(26380, 6380)]) };
        let layout = Layout::new(Path::new("/d"), 6380, 3, 2, false).unwrap().with_kept(&kept);
        let ron = |n: usize| layout.ron(&layout.nodes[n]);
        assert!(ron(0).contains("replicaof: (\"127.0.0.1\", 6381)"), "{}", ron(0));
        assert!(!ron(1).contains("replicaof"), "{}", ron(1));
        assert!(ron(3).contains("replicaof: (\"127.0.0.1\", 6381)"), "{}", ron(3));
        assert!(ron(4).contains("host: \"127.0.0.1\", port: 6380"), "{}", ron(4));
        assert!(ron(5).contains("host: \"127.0.0.1\", port: 6381"), "{}", ron(5));
        assert_eq!(layout.replicas(), 3);
        // One that isn't in this cluster any more can't be followed.
        let gone = Kept { primary: Some(6390), configured: BTreeMap::new() };
        let layout = Layout::new(Path::new("/d"), 6380, 1, 1, false).unwrap().with_kept(&gone);
        assert!(layout.ron(&layout.nodes[1]).contains("replicaof: (\"127.0.0.1\", 6380)"));
    }

    #[test]
    fn impossible_layouts_are_refused() {
        assert!(Layout::new(Path::new("/d"), 60000, 2, 3, false).is_err());
        assert!(Layout::new(Path::new("/d"), 6380, 2, 0, false).is_err());
        assert!(Layout::new(Path::new("/d"), 0, 2, 3, false).is_err());
    }
}
