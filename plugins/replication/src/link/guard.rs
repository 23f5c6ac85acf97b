//! A primary that lost what we have: when our data is kept from it.
//!
//! A primary that was killed and is back in a second without its files would have all its replicas throw away what only
//! they have now. So, unless the operator said REPLICAOF, a full sync isn't taken from one that began with nothing
//! since we followed it, whatever its clients have written by then: they are back before its replicas are. A stock one
//! doesn't say how it began: there a payload without keys is the sign.
//!
//! One that has an older state, as its files have it, is followed as Redis does, whatever name its history has: without a
//! sentinel nobody could take its place, and replication would stand still behind each crash.

use super::{Context, Link, Memory, Outcome, State};
use crate::link::Action;
use crate::units::{Position, ReplId};
use std::time::Duration;

/// A primary that was refused is asked again this often. One that doesn't say how it began takes a cut for each PSYNC, for
/// nothing, and what it had comes back by an operator's hand.
pub(super) const ASK_AGAIN: Duration = Duration::from_secs(10);

/// Why our data is kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Lost {
    /// It began with nothing since we followed it.
    Anew { ours: Position, theirs: Position },
    /// It has no keys.
    Empty,
    /// It was refused, and it hasn't got our history back.
    Still,
}

impl Link {
    /// What is to be known of this primary behind a restart.
    pub fn memory(&self) -> Memory {
        Memory { followed: self.followed, refused: self.refused, history: self.history }
    }

    /// The history that the primary's goes on from, if it told.
    pub(crate) fn goes_on_from(&self) -> Option<ReplId> {
        self.goes_on_from
    }

    /// Its stream was ours, so that what we have is what it had.
    pub(super) fn guards(&self, ctx: Context<'_>) -> bool {
        ctx.settings.keep_data && self.followed && ctx.has_data
    }

    /// A primary at `theirs` has what we have of history `ours`, or an older state of it.
    pub(super) fn is_of(&self, ours: ReplId, theirs: Position) -> bool {
        theirs.replid == ours || self.goes_on_from == Some(ours)
    }

    /// Why nothing is taken of a primary that answers with everything, at `theirs`, to somebody who is at `ours`.
    pub(super) fn keeps_ours(&self, ctx: Context<'_>, ours: Position, theirs: Position) -> Option<Lost> {
        if !self.guards(ctx) || self.is_of(ours.replid, theirs) {
            return None;
        }
        if self.refused.is_some() {
            return Some(Lost::Still);
        }
        let anew = self.anew.as_ref().is_some_and(|names| !names.contains(&ours.replid));
        anew.then_some(Lost::Anew { ours, theirs })
    }

    /// The payload has no keys; none of it was taken.
    pub(super) fn came_back_empty(&mut self, now: Duration, ctx: Context<'_>, out: &mut Outcome) {
        if let State::Loading { at: Some(at), .. } = self.state {
            self.keep(now, ctx, at.replid, Lost::Empty, out);
        }
    }

    /// It was refused, and says before PSYNC already that it can't go on with our history.
    pub(super) fn is_still_without(&self, ctx: Context<'_>) -> bool {
        let (Some(ours), Some(names)) = (ctx.here.map(|here| here.replid), &self.anew) else { return false };
        let has_ours = names.contains(&ours) || self.goes_on_from == Some(ours);
        self.refused.is_some() && self.guards(ctx) && !has_ours
    }

    /// It still hasn't got what we have.
    pub(super) fn refuse_again(&mut self, now: Duration, out: &mut Outcome) {
        self.fail(now, "the primary still hasn't got what we have; our data is kept", out);
        if let State::Waiting { until } = &mut self.state {
            *until = now + ASK_AGAIN;
        }
    }

    /// Takes nothing of it, and asks again later: it may get back what it had.
    pub(super) fn keep(&mut self, now: Duration, ctx: Context<'_>, theirs: ReplId, why: Lost, out: &mut Outcome) {
        self.refused = Some(theirs);
        let how = match why {
            Lost::Still => return self.refuse_again(now, out),
            Lost::Empty => "with an unknown history and no keys".to_string(),
            Lost::Anew { ours, theirs } => format!(
                "without its data (it began with nothing and is at {}:{}, we are at {}:{})",
                theirs.replid, theirs.offset, ours.replid, ours.offset
            ),
        };
        let kept = ctx.here.map_or_else(|| "?".to_string(), |p| p.offset.to_string());
        let text = format!(
            "The primary came back {how}. Keeping our data (offset {kept}); REPLICAOF it again to take its data set."
        );
        out.actions.push(Action::Log(log::Level::Warn, text));
        self.drop_connection(out);
        self.enter(State::Waiting { until: now + ASK_AGAIN }, "the primary came back without what we have", out);
    }
}
