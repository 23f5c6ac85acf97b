//! The data node's side of a lease, pure: `step(now, event) -> actions`. Owns when this node asks for the lease, and until
//! when its clients may write. Reads no clock and opens no socket.
//!
//! Time counts from when a question was *sent*: whatever etcd or a member answered later, it holds at least that long. The
//! moment handed to the write gate lies a margin before the end, and the gate compares it with the clock by itself, so
//! that a stopped process can't write on when it wakes.

/// Milliseconds of a clock that never jumps.
pub type Ms = u64;

/// Who finds the lease held asks again after this long, and twice as long each time: a primary that has handed its role over
/// gives it back within a moment, and clients wait. A holder that died keeps it for longer.
const AGAIN_MS: Ms = 100;

/// What happens.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// Time passes; this node reports to be a primary, or not.
    Tick {
        /// It is a primary.
        primary: bool,
    },
    /// etcd answered the question of that number.
    Etcd(u64, Answer),
    /// Whether every member vouches for this node, as the answer to the question of that number.
    Vouched(u64, bool),
    /// A member that can't reach etcd asks this node to vouch for it as the primary.
    Asked {
        /// Under which number the answer goes out.
        ticket: u64,
    },
}

/// What etcd answered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    /// The key is this node's now, under this lease.
    Acquired(String),
    /// Somebody holds it.
    HeldBy(String),
    /// This node itself holds it, under a lease of an earlier life.
    HeldBefore,
    /// The lease goes on.
    Renewed,
    /// etcd doesn't know the lease any more.
    Gone,
    /// No answer.
    Away(String),
}

/// What is to be done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Action {
    /// Ask etcd for a lease and, with it, the key.
    Acquire(u64),
    /// Keep this lease alive.
    Renew(u64, String),
    /// Give it back: this node is no primary any more.
    Release(String),
    /// Ask every member to vouch for this node.
    AskMembers(u64),
    /// Answer a member.
    Vouch {
        /// Its number.
        ticket: u64,
        /// Why not, if not.
        refused: Option<&'static str>,
    },
    /// Clients may write before this moment; 0: not at all.
    WriteUntil(Ms),
    /// A line for people.
    Log(String),
}

/// What never changes.
#[derive(Clone, Copy, Debug)]
pub struct Rules {
    /// How long a lease lasts.
    pub ttl_ms: Ms,
    /// How long before its end the gate closes: for clocks that don't run alike.
    pub margin_ms: Ms,
    /// There are members to ask when etcd is away.
    pub failsafe: bool,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Open {
    Acquire,
    Renew,
    Members,
}

/// The agent.
#[derive(Clone, Debug)]
pub struct Agent {
    rules: Rules,
    primary: bool,
    /// The lease that this node holds, and until when at least.
    held: Option<(String, Ms)>,
    /// All members vouched, until then at least.
    vouched: Ms,
    /// This node has promised not to take the lease before.
    promised: Ms,
    /// The question that is out: its number, when it was sent, what it was.
    open: Option<(u64, Ms, Open)>,
    next: Ms,
    /// The next wait, if somebody holds the lease.
    again: Ms,
    questions: u64,
    told: Ms,
    /// What etcd answered last that counts, and what was said of that.
    state: State,
    /// Whether every member vouched, as it was said last while etcd is away.
    said_of_members: Option<bool>,
}

/// How it stands with the lease, as far as etcd goes.
#[derive(Clone, Debug, PartialEq, Eq)]
enum State {
    /// Nothing was answered since this node took its present role.
    Unasked,
    Held,
    HeldBy(String),
    HeldBefore,
    Promised,
    Gone,
    Away,
    /// It was a primary, and gave the lease back.
    GivenBack,
}

impl State {
    const fn word(&self) -> &'static str {
        match self {
            State::Unasked => "none",
            State::Held => "held",
            State::HeldBy(_) => "held-by-another",
            State::HeldBefore => "held-before-restart",
            State::Promised => "promised-to-another",
            State::Gone => "gone",
            State::Away => "etcd-away",
            State::GivenBack => "given-back",
        }
    }
}

impl Agent {
    /// A node that starts. It may have vouched for another in an earlier life, so where members vouch at all it waits for
    /// a lease's length before it takes one.
    #[must_use]
    pub fn new(now: Ms, rules: Rules) -> (Agent, Vec<Action>) {
        let promised = if rules.failsafe { now + rules.ttl_ms } else { 0 };
        let agent = Agent {
            rules,
            primary: false,
            held: None,
            vouched: 0,
            promised,
            open: None,
            next: now,
            again: AGAIN_MS,
            questions: 0,
            told: 0,
            state: State::Unasked,
            said_of_members: None,
        };
        (agent, vec![Action::WriteUntil(0)])
    }

    /// When it wants to be stepped next: a third of a lease leaves two tries before the end.
    #[must_use]
    pub const fn period_ms(&self) -> Ms {
        self.rules.ttl_ms / 3
    }

    /// Nobody else can hold the lease before this moment.
    fn end(&self) -> Ms {
        self.held.as_ref().map_or(0, |(_, until)| *until).max(self.vouched)
    }

    /// Clients may write before this moment.
    #[must_use]
    pub fn write_until(&self) -> Ms {
        if self.primary { self.end().saturating_sub(self.rules.margin_ms) } else { 0 }
    }

    /// INFO's word for how it stands with the lease; `vouched` while writes rest on the members' word alone.
    #[must_use]
    pub fn state(&self, now: Ms) -> &'static str {
        match &self.held {
            _ if !self.primary => "no-primary",
            Some((_, until)) if *until > now => State::Held.word(),
            _ if self.vouched > now => "vouched",
            _ => self.state.word(),
        }
    }

    /// Who else holds the lease, as etcd said last to this primary; others ask nothing.
    #[must_use]
    pub fn held_by(&self) -> Option<&str> {
        if let State::HeldBy(who) = &self.state { Some(who).filter(|_| self.primary).map(String::as_str) } else { None }
    }

    /// One event.
    pub fn step(&mut self, now: Ms, event: Event) -> Vec<Action> {
        let mut out = Vec::new();
        match event {
            Event::Tick { primary } => self.tick(now, primary, &mut out),
            Event::Etcd(number, answer) => self.on_etcd(now, number, answer, &mut out),
            Event::Vouched(number, all) => self.on_vouched(now, number, all, &mut out),
            Event::Asked { ticket } => {
                let refused = self.refusal(now);
                if refused.is_none() {
                    self.promised = self.promised.max(now + self.rules.ttl_ms);
                }
                out.push(Action::Vouch { ticket, refused });
            }
        }
        let until = self.write_until();
        if until != self.told {
            self.told = until;
            out.push(Action::WriteUntil(until));
        }
        out
    }

    /// A node vouches for another only if it can't become a primary that writes before its promise ends.
    fn refusal(&self, now: Ms) -> Option<&'static str> {
        match &self.open {
            _ if self.primary => Some("it is a primary itself"),
            _ if self.held.as_ref().is_some_and(|(_, until)| *until > now) => Some("it holds the lease"),
            Some((_, _, Open::Acquire)) => Some("it is asking for the lease"),
            _ => None,
        }
    }

    fn ask(&mut self, now: Ms, what: Open) -> u64 {
        self.questions += 1;
        self.open = Some((self.questions, now, what));
        self.questions
    }

    fn tick(&mut self, now: Ms, primary: bool, out: &mut Vec<Action>) {
        if self.primary != primary {
            self.primary = primary;
            self.next = now;
            self.again = AGAIN_MS;
            self.vouched = 0;
            self.state = State::Unasked;
        }
        if !primary {
            if let Some((lease, _)) = self.held.take() {
                self.say(State::GivenBack, "no primary any more: the lease is given back", out);
                out.push(Action::Release(lease));
            }
            self.open = self.open.take().filter(|(_, _, what)| *what == Open::Acquire);
        }
        // A question that nobody answered in the time of a lease is void: its answer, if it came, would be too old.
        if self.open.as_ref().is_some_and(|(_, sent, _)| now >= sent + self.rules.ttl_ms) {
            self.open = None;
        }
        if !primary || now < self.next || self.open.is_some() {
            return;
        }
        self.next = now + self.period_ms();
        match self.held.clone() {
            Some((lease, _)) => {
                let number = self.ask(now, Open::Renew);
                out.push(Action::Renew(number, lease));
            }
            None if now < self.promised => {
                let rest = self.promised - now;
                self.say(State::Promised, "another node was vouched for, or may have been: no lease yet", out);
                self.next = now + rest.min(self.period_ms());
            }
            None => {
                let number = self.ask(now, Open::Acquire);
                out.push(Action::Acquire(number));
            }
        }
    }

    fn on_etcd(&mut self, now: Ms, number: u64, answer: Answer, out: &mut Vec<Action>) {
        let open = self.open.take_if(|(open, ..)| *open == number);
        let Some((_, sent, _)) = open else {
            if let Answer::Acquired(lease) = answer {
                out.push(Action::Release(lease)); // too late: nobody counts on it
            }
            return;
        };
        match answer {
            Answer::Acquired(lease) if self.primary => {
                self.held = Some((lease, sent + self.rules.ttl_ms));
                self.again = AGAIN_MS;
                self.say(State::Held, "holds the lease", out);
            }
            Answer::Acquired(lease) => out.push(Action::Release(lease)),
            Answer::Renewed => {
                if let Some((_, until)) = &mut self.held {
                    *until = sent + self.rules.ttl_ms;
                }
                self.say(State::Held, "etcd is back: the lease goes on", out);
            }
            Answer::HeldBy(who) => {
                self.try_again_soon(now);
                let text = format!("{who} holds the lease: no writes here");
                self.say(State::HeldBy(who), &text, out);
            }
            Answer::HeldBefore => {
                self.try_again_soon(now);
                self.say(State::HeldBefore, "my own lease from before the restart, until it ends: no writes yet", out);
            }
            Answer::Gone => {
                self.held = None;
                self.next = now; // at once: with members that vouch nobody else takes it meanwhile
                self.say(State::Gone, "the lease is gone from etcd", out);
            }
            Answer::Away(why) => {
                self.say(State::Away, &format!("etcd is away ({why})"), out);
                // Only who holds it without a gap: once it had ended, another may have written and fallen since.
                if self.primary && now < self.end() && self.rules.failsafe {
                    let number = self.ask(now, Open::Members);
                    out.push(Action::AskMembers(number));
                }
            }
        }
    }

    fn try_again_soon(&mut self, now: Ms) {
        let wait = self.again.min(self.period_ms());
        (self.next, self.again) = (now + wait, 2 * wait);
    }

    fn on_vouched(&mut self, now: Ms, number: u64, all: bool, out: &mut Vec<Action>) {
        let Some((_, sent, Open::Members)) = self.open.take_if(|(open, ..)| *open == number) else { return };
        if !all || !self.primary || now >= self.end() {
            let text = "etcd is away and not every member vouches: the gate closes with the lease";
            return self.say_of_members(false, text, out);
        }
        self.vouched = sent + self.rules.ttl_ms;
        self.say_of_members(true, "etcd is away, every member vouches for this primary", out);
    }

    /// Once for each state, whatever words an error has; what members said counts until etcd says something else.
    fn say(&mut self, state: State, text: &str, out: &mut Vec<Action>) {
        if self.state != state {
            self.state = state;
            self.said_of_members = None;
            out.push(Action::Log(text.to_owned()));
        }
    }

    fn say_of_members(&mut self, all: bool, text: &str, out: &mut Vec<Action>) {
        if self.said_of_members != Some(all) {
            self.said_of_members = Some(all);
            out.push(Action::Log(text.to_owned()));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const RULES: Rules = Rules { ttl_ms: 3_000, margin_ms: 300, failsafe: true };
    const PRIMARY: Event = Event::Tick { primary: true };

    /// Steps it and gives what people read.
    fn said(agent: &mut Agent, now: Ms, event: Event) -> Vec<String> {
        let lines = agent.step(now, event).into_iter();
        lines.filter_map(|action| if let Action::Log(text) = action { Some(text) } else { None }).collect()
    }

    /// The number of the question that a step asked.
    fn asked(actions: &[Action]) -> Option<u64> {
        actions.iter().find_map(|action| match action {
            Action::Acquire(n) | Action::Renew(n, _) | Action::AskMembers(n) => Some(*n),
            _ => None,
        })
    }

    /// A primary that got the lease at 3000 ms: until then it may have vouched for another.
    fn holder() -> Agent {
        let mut agent = Agent::new(0, RULES).0;
        agent.step(0, PRIMARY);
        let number = asked(&agent.step(3_000, PRIMARY)).expect("the lease is asked for");
        assert_eq!(said(&mut agent, 3_000, Event::Etcd(number, Answer::Acquired("l".into()))), ["holds the lease"]);
        agent
    }

    /// One renewal at `now`: etcd is away with these words, and all members vouch or not.
    fn away(agent: &mut Agent, now: Ms, why: &str, all: bool) -> Vec<String> {
        let number = asked(&agent.step(now, PRIMARY)).expect("a renewal");
        let actions = agent.step(now, Event::Etcd(number, Answer::Away(why.into())));
        let logs = actions.iter().filter_map(|a| if let Action::Log(text) = a { Some(text.clone()) } else { None });
        let mut lines: Vec<String> = logs.collect();
        lines.extend(said(agent, now, Event::Vouched(asked(&actions).expect("members are asked"), all)));
        lines
    }

    #[test]
    fn etcd_away_is_said_once_and_so_is_its_return() {
        let mut agent = holder();
        let lines = away(&mut agent, 4_000, "10.0.0.1: timeout", true);
        assert_eq!(lines, ["etcd is away (10.0.0.1: timeout)", "etcd is away, every member vouches for this primary"]);
        for (n, why) in ["10.0.0.1: refused", "10.0.0.2: timeout", "10.0.0.1: timeout"].into_iter().enumerate() {
            assert!(away(&mut agent, 5_000 + 1_000 * n as Ms, why, true).is_empty(), "{why}");
        }
        assert_eq!(agent.state(7_100), "vouched");
        let closes = "etcd is away and not every member vouches: the gate closes with the lease";
        assert_eq!(away(&mut agent, 8_000, "timeout", false), [closes]);
        let number = asked(&agent.step(9_000, PRIMARY)).expect("a renewal");
        let back = said(&mut agent, 9_000, Event::Etcd(number, Answer::Renewed));
        assert_eq!(back, ["etcd is back: the lease goes on"]);
        assert_eq!(agent.state(9_100), "held");
        assert_eq!(away(&mut agent, 10_000, "timeout", true).len(), 2, "the next time is said again");
    }

    #[test]
    fn who_is_no_primary_any_more_knows_no_holder() {
        let mut agent = Agent::new(0, Rules { failsafe: false, ..RULES }).0;
        let held = |who: &str| Answer::HeldBy(who.into());
        let number = asked(&agent.step(0, PRIMARY)).expect("the lease is asked for");
        agent.step(10, Event::Etcd(number, held("b:1")));
        assert_eq!(agent.held_by(), Some("b:1"));
        let number = asked(&agent.step(1_000, PRIMARY)).expect("again");
        agent.step(1_010, Event::Tick { primary: false });
        assert_eq!((agent.state(1_010), agent.held_by()), ("no-primary", None));
        agent.step(1_020, Event::Etcd(number, held("b:1")));
        assert_eq!(agent.held_by(), None, "an answer that comes late");
        let number = asked(&agent.step(9_000, PRIMARY)).expect("a primary again");
        assert_eq!((agent.state(9_000), agent.held_by()), ("none", None));
        assert_eq!(said(&mut agent, 9_010, Event::Etcd(number, held("b:1"))), ["b:1 holds the lease: no writes here"]);
    }

    /// A primary that hands its role over gives the lease back a moment later than the next one asks for it.
    #[test]
    fn a_lease_that_another_gives_back_is_taken_soon() {
        let mut agent = Agent::new(0, Rules { failsafe: false, ttl_ms: 10_000, ..RULES }).0;
        let (mut now, mut waits, mut last) = (0, Vec::new(), 0);
        while waits.len() < 8 {
            if let Some(number) = asked(&agent.step(now, PRIMARY)) {
                waits.push(now - last);
                last = now;
                agent.step(now, Event::Etcd(number, Answer::HeldBy("h:1".into())));
            }
            now += 50;
        }
        assert_eq!(waits, [0, 100, 200, 400, 800, 1_600, 3_200, 3_350], "up to a third of the lease");
        // Its next time as a primary begins anew.
        agent.step(now, Event::Tick { primary: false });
        let number = asked(&agent.step(now, PRIMARY)).expect("the lease is asked for");
        agent.step(now, Event::Etcd(number, Answer::HeldBy("h:1".into())));
        assert!(asked(&agent.step(now + 50, PRIMARY)).is_none() && asked(&agent.step(now + 100, PRIMARY)).is_some());
    }

    #[test]
    fn a_node_that_is_back_is_no_obstacle_of_its_own_but_its_old_lease_is() {
        let mut agent = Agent::new(0, Rules { failsafe: false, ..RULES }).0;
        let number = asked(&agent.step(0, PRIMARY)).expect("the lease is asked for");
        let lines = said(&mut agent, 10, Event::Etcd(number, Answer::HeldBefore));
        assert_eq!(lines, ["my own lease from before the restart, until it ends: no writes yet"]);
        assert_eq!((agent.state(20), agent.held_by()), ("held-before-restart", None));
        let number = asked(&agent.step(1_000, PRIMARY)).expect("again");
        assert_eq!(said(&mut agent, 1_010, Event::Etcd(number, Answer::HeldBy("h:1".into()))).len(), 1);
        assert_eq!((agent.state(1_020), agent.held_by()), ("held-by-another", Some("h:1")));
    }
}
