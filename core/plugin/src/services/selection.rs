//! `keystead.selection`: which replica becomes the primary, and why each of the others doesn't.

use crate::service::Service;
use serde::{Deserialize, Serialize};

/// Where a node listens: host, port.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Addr {
    /// An IP address, or a name when the user wrote one.
    pub host: String,
    /// TCP port.
    pub port: u16,
}

/// What is known of one replica.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Candidate {
    /// Where it listens.
    pub addr: Addr,
    /// Its run id, empty when unknown.
    pub run_id: String,
    /// This sentinel sees it down.
    pub down: bool,
    /// The command link is up.
    pub connected: bool,
    /// Age of its last valid answer to a ping.
    pub silent_ms: u64,
    /// Age of its last INFO; nothing when it never answered one.
    pub info_age_ms: Option<u64>,
    /// Its priority; 0 is never promoted.
    pub priority: u32,
    /// Its replication offset.
    pub offset: u64,
    /// How long its link to the primary has been down, 0 when up.
    pub link_down_ms: u64,
    /// It loads its data, or is in the middle of a full sync.
    pub loading: bool,
    /// It was seen in sync with its primary, or has an offset that only a synced replica has.
    pub synced: bool,
    /// It reports the role of a replica.
    pub is_replica: bool,
}

/// The question.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Request {
    /// Name of the primary.
    pub primary: String,
    /// For how long this sentinel has seen the primary down; nothing when it isn't.
    pub down_ms: Option<u64>,
    /// The primary's down-after.
    pub down_after_ms: u64,
    /// All known replicas.
    pub candidates: Vec<Candidate>,
}

/// The answer.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Ranked {
    /// Best first.
    pub order: Vec<Addr>,
    /// Who can't be promoted, and why.
    pub refused: Vec<(Addr, String)>,
}

/// A strategy for choosing the replica to promote.
pub trait ReplicaSelection: Send + Sync {
    /// Ranks the candidates; must not depend on anything but the request.
    fn rank(&self, request: &Request) -> Ranked;
}

/// The service: a strategy behind messages.
pub struct SelectionService;

impl Service for SelectionService {
    const NAME: &'static str = "keystead.selection";
    const MAJOR: u32 = 1;
    const MINOR: u32 = 0;
    type Request = Request;
    type Answer = Ranked;
}
