//! "Persist, then send" without standing still: while a write of the state is on its way, what rests on it waits here in
//! order, and what doesn't (pings, links, questions to strategies) goes on. A disk that takes seconds for an fsync must
//! not make this sentinel deaf, nor look to itself as if it had been stopped. Pure: the shell and the simulator write.

use crate::actions::Action;
use crate::state::State;
use crate::types::InstanceId;
use crate::wire::{Reply, Request};
use std::collections::VecDeque;

/// What a client hears when the state can't be written.
const NOT_WRITTEN: &str = "ERR the sentinel's state can't be written to disk: a change is in force but not kept, a failover is \
                           given up";

/// Something that waits.
#[derive(Debug)]
enum Held {
    /// An action that rests on the writes before it.
    Action(Action),
    /// A write: what is behind it needs this state on the disk, or a newer one.
    Write,
}

/// Actions on their way out.
#[derive(Debug, Default)]
pub struct Outbox {
    held: VecDeque<Held>,
    /// The state of the last write that waits. Only one is kept: with a thousand primaries it has a megabyte, and a
    /// step of theirs a microsecond behind the last may bring another.
    newest: Option<Box<State>>,
    /// The write on its way, and how many of the held actions it covers.
    writing: Option<(usize, Box<State>)>,
    /// A state that couldn't be written: nothing leaves before it, or a newer one, is on the disk.
    owed: Option<Box<State>>,
}

impl Outbox {
    /// Takes a step's actions; gives those that may be carried out now, in order. At most one of them is a `Persist`,
    /// it is the last, and `written` must be called when it is done.
    pub fn push(&mut self, actions: Vec<Action>) -> Vec<Action> {
        let mut now = Vec::new();
        for action in actions {
            if free(&action) && !self.is_behind_an_order(&action) {
                now.push(action);
                continue;
            }
            if let Some(unsent) = self.asked_already(&action) {
                now.push(unsent);
                continue;
            }
            if let Some(state) = self.owed.take() {
                self.hold(Action::Persist(state));
            }
            if self.held.is_empty() && self.writing.is_none() && !matches!(action, Action::Persist(_)) {
                now.push(action);
            } else {
                self.hold(action);
            }
        }
        now.extend(self.next_write());
        now
    }

    /// The write is done: what may leave now. When it failed, nothing that rested on it leaves and replies say so. While it
    /// took its time the machine may have given up what it ordered before: `wanted` says which orders still stand.
    pub fn written(&mut self, ok: bool, wanted: impl Fn(InstanceId, &Request) -> bool) -> Vec<Action> {
        let Some((covered, state)) = self.writing.take() else { return Vec::new() };
        // What came behind it rests on it too, up to the next write.
        let rest = self.held.range(covered..).take_while(|held| !matches!(held, Held::Write)).count();
        let stands = |action| match action {
            Action::Send { instance, generation, request, .. } if !wanted(instance, &request) => {
                unsent(instance, generation)
            }
            action => action,
        };
        let left = self.held.drain(..covered + rest).filter_map(|held| released(held, ok));
        let mut now: Vec<Action> = left.map(stands).collect();
        if !ok && self.held.is_empty() {
            self.owed = Some(state);
        }
        now.extend(self.next_write());
        now
    }

    /// Asks whether a node did what it hasn't been told yet: the answer would be no, and the next question is a second away.
    fn is_behind_an_order(&self, action: &Action) -> bool {
        let Action::Send { instance, request: Request::Info, .. } = action else { return false };
        let orders = |held: &Held| match held {
            Held::Action(Action::Send { instance: to, request: Request::Follow(_), .. }) => to == instance,
            _ => false,
        };
        self.held.iter().any(orders)
    }

    /// The same question waits behind the last order already: a disk that takes a minute must not let them pile up.
    fn asked_already(&self, action: &Action) -> Option<Action> {
        let Action::Send { instance, generation, request: Request::Info, .. } = action else { return None };
        let to_it = |held: &&Held| matches!(held, Held::Action(Action::Send { instance: to, .. }) if to == instance);
        let last = self.held.iter().rev().find(to_it)?;
        let waits = matches!(last, Held::Action(Action::Send { generation: of, request: Request::Info, .. }) if of == generation);
        waits.then(|| unsent(*instance, *generation))
    }

    fn hold(&mut self, action: Action) {
        self.held.push_back(match action {
            Action::Persist(state) => {
                self.newest = Some(state);
                Held::Write
            }
            action => Held::Action(action),
        });
    }

    /// The newest state covers every write that waits: votes and epochs only grow.
    fn next_write(&mut self) -> Option<Action> {
        if self.writing.is_some() {
            return None;
        }
        let state = self.newest.take()?;
        let last = self.held.iter().rposition(|held| matches!(held, Held::Write))?;
        self.writing = Some((last + 1, state.clone()));
        Some(Action::Persist(state))
    }
}

/// Says nothing that a crash could take back.
fn free(action: &Action) -> bool {
    match action {
        Action::Send { request, .. } => {
            matches!(request, Request::Ping | Request::Info | Request::InfoServer | Request::ScriptKill)
        }
        Action::Reply { promises, .. } => !promises,
        // That the disk hangs is told by a line of the log.
        Action::Connect { .. }
        | Action::Disconnect { .. }
        | Action::Consult { .. }
        | Action::Resolve(_)
        | Action::Log(..) => true,
        _ => false,
    }
}

fn released(held: Held, ok: bool) -> Option<Action> {
    let Held::Action(action) = held else { return None };
    match action {
        Action::Send { instance, generation, .. } if !ok && !free(&action) => Some(unsent(instance, generation)),
        Action::Reply { ticket, .. } if !ok => {
            Some(Action::Reply { ticket, reply: Reply::Error(NOT_WRITTEN.into()), promises: false })
        }
        Action::Emit(notice) if !ok && of_own_failover(notice.name) => {
            let text = format!("{} {} (not published: the state isn't on the disk)", notice.name, notice.payload);
            Some(Action::Log(notice.level, text))
        }
        action => Some(action),
    }
}

const fn unsent(instance: InstanceId, generation: u64) -> Action {
    Action::Unsent { instance, generation }
}

/// Tells of a failover that this sentinel leads, or a vote: without its epoch on the disk it leads none, and nobody heard
/// its vote.
fn of_own_failover(event: &str) -> bool {
    ["+vote-for-leader", "+try-failover", "+elected-leader", "+selected-slave"].contains(&event)
        || event.starts_with("+failover-state-")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::events::{Level, Notice};
    use crate::state::VERSION;
    use crate::types::Epoch;

    fn persist(epoch: u64) -> Action {
        let state = State {
            version: VERSION,
            id: "a".into(),
            epoch: Epoch(epoch),
            monitors: vec![],
            removed: Vec::new(),
            globals: vec![],
            life: 1,
            seen: vec![],
        };
        Action::Persist(Box::new(state))
    }

    fn send(request: Request) -> Action {
        Action::Send { instance: InstanceId(1), generation: 1, request, round: 0 }
    }

    fn reply(ticket: u64) -> Action {
        Action::Reply { ticket, reply: Reply::ok(), promises: true }
    }

    const fn all(_: InstanceId, _: &Request) -> bool {
        true
    }

    fn look(ticket: u64) -> Action {
        Action::Reply { ticket, reply: Reply::ok(), promises: false }
    }

    /// The actions as words: P5 a write of epoch 5, R1 a reply, F an order to follow, p a ping, E an error reply.
    fn words(actions: &[Action]) -> String {
        let word = |action: &Action| match action {
            Action::Persist(state) => format!("P{}", state.epoch),
            Action::Reply { ticket, reply: Reply::Status(_), .. } => format!("R{ticket}"),
            Action::Reply { ticket, .. } => format!("E{ticket}"),
            Action::Send { request: Request::Ping, .. } => "p".into(),
            Action::Send { request: Request::Info, .. } => "i".into(),
            Action::Send { .. } => "F".into(),
            Action::Unsent { .. } => "u".into(),
            Action::Emit(_) => "e".into(),
            Action::Log(..) => "l".into(),
            _ => "?".into(),
        };
        actions.iter().map(word).collect::<Vec<_>>().join(" ")
    }

    #[test]
    fn what_rests_on_a_write_waits_for_it_and_pings_do_not() {
        let mut outbox = Outbox::default();
        assert_eq!(words(&outbox.push(vec![reply(1), send(Request::Ping)])), "R1 p");
        assert_eq!(words(&outbox.push(vec![reply(2), persist(5), reply(3), send(Request::Ping)])), "R2 p P5");
        assert_eq!(words(&outbox.push(vec![reply(4), send(Request::Follow(None)), send(Request::Ping)])), "p");
        assert_eq!(words(&outbox.written(true, all)), "R3 R4 F");
        assert_eq!(words(&outbox.push(vec![reply(5)])), "R5");
    }

    #[test]
    fn a_node_is_asked_whether_it_did_what_it_was_told_behind_being_told() {
        let other = || Action::Send { instance: InstanceId(2), generation: 1, request: Request::Info, round: 0 };
        let told = || vec![persist(5), send(Request::Follow(None)), send(Request::Info), send(Request::Ping), other()];
        let mut outbox = Outbox::default();
        assert_eq!(words(&outbox.push(told())), "p i P5", "others are asked at once");
        assert_eq!(words(&outbox.push(vec![send(Request::Info)])), "u", "one that waits there is enough");
        assert_eq!(
            words(&outbox.push(vec![send(Request::Follow(None)), send(Request::Info)])),
            "",
            "behind what is new"
        );
        assert_eq!(words(&outbox.written(true, all)), "F i F i");
        assert_eq!(words(&outbox.push(vec![send(Request::Info)])), "i");
        assert_eq!(words(&outbox.push(told())), "p i P5");
        assert_eq!(words(&outbox.written(false, all)), "u i", "what it says is worth knowing all the same");
    }

    #[test]
    fn an_order_that_was_given_up_meanwhile_never_leaves() {
        let mut outbox = Outbox::default();
        let told = vec![persist(5), send(Request::Follow(None)), send(Request::Info), reply(1)];
        assert_eq!(words(&outbox.push(told)), "P5");
        let given_up = |_: InstanceId, request: &Request| *request != Request::Follow(None);
        assert_eq!(words(&outbox.written(true, given_up)), "u i R1");
    }

    #[test]
    fn a_disk_that_hangs_is_told_while_it_does() {
        let mut outbox = Outbox::default();
        assert_eq!(words(&outbox.push(vec![persist(5), reply(1)])), "P5");
        assert_eq!(words(&outbox.push(vec![Action::Log(Level::Warning, "it hangs".into()), reply(2)])), "l");
        assert_eq!(words(&outbox.written(true, all)), "R1 R2");
    }

    #[test]
    fn what_promises_nothing_is_answered_whatever_the_disk_does() {
        let mut outbox = Outbox::default();
        assert_eq!(words(&outbox.push(vec![persist(5), reply(1), look(2)])), "R2 P5");
        assert_eq!(words(&outbox.push(vec![look(3), reply(4)])), "R3");
        assert_eq!(words(&outbox.written(false, all)), "E1 E4");
        assert_eq!(words(&outbox.push(vec![look(5)])), "R5", "nor does it cause another try");
        assert_eq!(words(&outbox.push(vec![reply(6), look(7)])), "R7 P5");
        assert_eq!(words(&outbox.written(false, all)), "E6");
    }

    #[test]
    fn one_write_covers_all_that_wait_behind_the_one_on_its_way() {
        let mut outbox = Outbox::default();
        assert_eq!(words(&outbox.push(vec![persist(5), reply(1)])), "P5");
        assert_eq!(words(&outbox.push(vec![persist(6), reply(2)])), "");
        assert_eq!(words(&outbox.push(vec![persist(7), reply(3)])), "");
        assert_eq!(words(&outbox.written(true, all)), "R1 P7");
        assert_eq!(words(&outbox.written(true, all)), "R2 R3");
    }

    #[test]
    fn a_failover_that_is_not_on_the_disk_is_not_told() {
        let event = |name| Action::Emit(Notice { level: Level::Warning, name, payload: "master m".into() });
        for (ok, told) in [(true, "e e e"), (false, "l l e")] {
            let mut outbox = Outbox::default();
            let actions =
                vec![persist(5), event("+elected-leader"), event("+failover-state-select-slave"), event("+sdown")];
            assert_eq!(words(&outbox.push(actions)), "P5");
            assert_eq!(words(&outbox.written(ok, all)), told);
        }
    }

    #[test]
    fn nothing_leaves_behind_a_write_that_failed() {
        let mut outbox = Outbox::default();
        assert_eq!(words(&outbox.push(vec![persist(5), reply(1), send(Request::Follow(None))])), "P5");
        assert_eq!(words(&outbox.written(false, all)), "E1 u");
        // The vote in memory is not on the disk: the next answer must wait for another try.
        assert_eq!(words(&outbox.push(vec![send(Request::Ping)])), "p");
        assert_eq!(words(&outbox.push(vec![reply(2)])), "P5");
        assert_eq!(words(&outbox.written(false, all)), "E2");
        assert_eq!(words(&outbox.push(vec![reply(3), persist(6)])), "P6");
        assert_eq!(words(&outbox.written(true, all)), "R3");
        assert_eq!(words(&outbox.push(vec![reply(4)])), "R4");
    }
}
