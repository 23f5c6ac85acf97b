//! A primary that lost what we have: when our data is kept from it.
//!
//! A primary that was killed and is back in a second without its files would have all its replicas throw away what only
//! they have now. So, unless the operator said REPLICAOF, a full sync isn't taken from one whose stream began anew and is
//! shorter than ours. By its history, and not by its keys: its clients are back before its replicas are.
//!
//! One that goes on from our history with an older state, as its files have it, is followed as Redis does: without a
//! sentinel nobody could take its place, and replication would stand still behind each crash.

use super::{Context, Link, Memory, Outcome, RETRY, State};
use crate::link::Action;
use crate::units::{Offset, Position, ReplId};
use std::time::Duration;

/// A stock primary doesn't say what its history goes on from. One that has its file goes on at the offset in it; one that
/// hasn't counts from 0, and only what its clients write until we ask: a second's worth, at most this.
const YOUNG: Offset = Offset(16 << 20);

/// Why our data is kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Lost {
    /// Its stream began anew, and is shorter than ours.
    Shorter { ours: Position, theirs: Position },
    /// It has no keys.
    Empty,
    /// It was refused, and it hasn't got our history back.
    Still,
}

impl Link {
    /// What is to be known of this primary behind a restart.
    pub fn memory(&self) -> Memory {
        Memory { followed: self.followed, refused: self.refused }
    }

    /// Its stream was ours, so that what we have is what it had.
    pub(super) fn guards(&self, ctx: Context<'_>) -> bool {
        ctx.settings.keep_data && self.followed && ctx.has_data
    }

    /// Why nothing is taken of a primary that answers with everything, at `theirs`, to somebody who is at `ours`.
    ///
    /// A process that we followed before and that wasn't started since has what it has on purpose: somebody made it
    /// follow another.
    pub(super) fn keeps_ours(&self, ctx: Context<'_>, ours: Position, theirs: Position) -> Option<Lost> {
        let is_ours = [Some(theirs.replid), self.goes_on_from].contains(&Some(ours.replid));
        if !self.guards(ctx) || is_ours {
            return None;
        }
        if self.refused.is_some() {
            return Some(Lost::Still);
        }
        let began_anew = match &self.node {
            Some(node) => self.followed_node.as_ref() != Some(node),
            None => theirs.offset < YOUNG,
        };
        (began_anew && theirs.offset <= ours.offset).then_some(Lost::Shorter { ours, theirs })
    }

    /// The payload has no keys; none of it was taken.
    pub(super) fn came_back_empty(&mut self, now: Duration, ctx: Context<'_>, out: &mut Outcome) {
        if let State::Loading { at: Some(at), .. } = self.state {
            self.keep(now, ctx, at.replid, Lost::Empty, out);
        }
    }

    /// Takes nothing of it, and asks again later: it may get back what it had.
    pub(super) fn keep(&mut self, now: Duration, ctx: Context<'_>, theirs: ReplId, why: Lost, out: &mut Outcome) {
        self.refused = Some(theirs);
        let how = match why {
            Lost::Still => {
                let why = "the primary still hasn't got what we have; our data is kept";
                return self.fail(now, why, out);
            }
            Lost::Empty => "with an unknown history and no keys".to_string(),
            Lost::Shorter { ours, theirs } => format!(
                "with less than we have (it is at {}:{}, we are at {}:{})",
                theirs.replid, theirs.offset, ours.replid, ours.offset
            ),
        };
        let kept = ctx.here.map_or_else(|| "?".to_string(), |p| p.offset.to_string());
        let text = format!(
            "The primary came back {how}. Keeping our data (offset {kept}); REPLICAOF it again to take its data set."
        );
        out.actions.push(Action::Log(log::Level::Warn, text));
        self.drop_connection(out);
        self.enter(State::Waiting { until: now + RETRY }, "the primary came back without what we have", out);
    }
}
