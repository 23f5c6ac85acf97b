//! FAILOVER: the primary hands its role to a replica that has everything, and loses nothing.
//!
//! Owns the arguments' rules, the state and the verdict; pausing writes, asking for acknowledgements and changing the role
//! are the shell's (`failover_task`). Source: the FAILOVER command page, and redis-server 7.0.15's replies.

use crate::link::Target;
use crate::units::Offset;
use std::time::Duration;

/// What FAILOVER was asked to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Wish {
    /// Give up the one under way.
    Abort,
    /// Hand over.
    HandOver {
        /// To this replica; to the first that has everything without one.
        to: Option<Target>,
        /// At the timeout, hand over although the replica lacks something.
        force: bool,
        /// How long to wait for the replica; for ever without one.
        timeout: Option<Duration>,
    },
}

/// Reads the arguments behind the command's name. Errors are without the leading minus.
pub fn parse(args: &[&[u8]]) -> Result<Wish, &'static str> {
    if let [only] = args
        && only.eq_ignore_ascii_case(b"abort")
    {
        return Ok(Wish::Abort);
    }
    let (mut to, mut force, mut timeout) = (None, false, None);
    let mut rest = args;
    loop {
        rest = match rest {
            [] => break,
            [word, ms, rest @ ..] if word.eq_ignore_ascii_case(b"timeout") && timeout.is_none() => {
                let ms = integer(ms)?;
                let ms = u64::try_from(ms).ok().filter(|ms| *ms > 0);
                timeout = Some(Duration::from_millis(ms.ok_or("ERR FAILOVER timeout must be greater than 0")?));
                rest
            }
            [word, host, port, rest @ ..] if word.eq_ignore_ascii_case(b"to") && to.is_none() => {
                // No replica has a port beyond those; it is found missing like any other.
                let port = u16::try_from(integer(port)?).unwrap_or(0);
                to = Some(Target { host: String::from_utf8_lossy(host).into_owned(), port });
                rest
            }
            [word, rest @ ..] if word.eq_ignore_ascii_case(b"force") && !force => {
                force = true;
                rest
            }
            _ => return Err("ERR syntax error"),
        };
    }
    Ok(Wish::HandOver { to, force, timeout })
}

fn integer(text: &[u8]) -> Result<i64, &'static str> {
    let number = std::str::from_utf8(text).ok().and_then(|t| t.parse().ok());
    number.ok_or("ERR value is not an integer or out of range")
}

/// Why a wish that is well formed can't be begun. In Redis' order.
pub fn refusal(
    wish: &Wish,
    state: &State,
    following: bool,
    replicas: usize,
    target: Option<Reach>,
) -> Option<&'static str> {
    let Wish::HandOver { to, force, timeout } = wish else {
        return (*state == State::None).then_some("ERR No failover in progress.");
    };
    if *state != State::None {
        Some("ERR FAILOVER already in progress.")
    } else if following {
        Some("ERR FAILOVER is not valid when server is a replica.")
    } else if replicas == 0 {
        Some("ERR FAILOVER requires connected replicas.")
    } else if *force && (timeout.is_none() || to.is_none()) {
        Some("ERR FAILOVER with force option requires both a timeout and target HOST and IP.")
    } else {
        match (to, target) {
            (Some(_), None) => Some("ERR FAILOVER target HOST and PORT is not a replica."),
            (Some(_), Some(reach)) if !reach.online => Some("ERR FAILOVER target replica is not online."),
            _ => None,
        }
    }
}

/// How far a replica is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Reach {
    /// The stream flows to it.
    pub online: bool,
    /// What it acknowledged.
    pub acked: Offset,
}

/// Where a failover stands.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum State {
    /// There is none.
    #[default]
    None,
    /// Writes are paused; a replica must have them all.
    WaitingForSync(Waiting),
    /// We follow the replica already and ask it to take over.
    InProgress {
        /// The replica.
        to: Target,
    },
}

/// What the wait is for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Waiting {
    /// Only this replica will do.
    pub to: Option<Target>,
    /// Hand over at the deadline whatever it has.
    pub force: bool,
    /// Until when.
    pub deadline: Option<Duration>,
    /// Every write is in front of this offset. Behind it there is only the GETACK that asks for it at once, and a
    /// replica answers that with the offset in front of it.
    pub writes_end: Offset,
    /// Where the stream ends then. Beyond it stands what was written all the same: behind FAILOVER in its transaction, or by
    /// a plugin.
    pub stream_end: Offset,
}

impl State {
    /// INFO's `master_failover_state`.
    pub fn word(&self) -> &'static str {
        match self {
            State::None => "no-failover",
            State::WaitingForSync(_) => "waiting-for-sync",
            State::InProgress { .. } => "failover-in-progress",
        }
    }

    /// Whom the role goes to, if that is settled.
    pub fn target(&self) -> Option<&Target> {
        match self {
            State::None => None,
            State::WaitingForSync(waiting) => waiting.to.as_ref(),
            State::InProgress { to } => Some(to),
        }
    }
}

/// What the wait came to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// This replica has everything, or is forced.
    HandOver {
        /// The replica.
        to: Target,
        /// What the log says of it.
        why: String,
    },
    /// Time is over.
    Abort(&'static str),
}

impl Waiting {
    /// Decides from what the replicas acknowledged. `None`: wait on.
    pub fn verdict<'a>(
        &self,
        now: Duration,
        replicas: impl IntoIterator<Item = (Target, Reach), IntoIter: 'a>,
    ) -> Option<Verdict> {
        let fits = |target: &Target| self.to.as_ref().is_none_or(|to| to == target);
        let ready = replicas.into_iter().find(|(target, reach)| fits(target) && self.has_all(*reach));
        if let Some((to, _)) = ready {
            return Some(Verdict::HandOver { to, why: "Failover target is synced, failing over.".into() });
        }
        if self.deadline.is_none_or(|deadline| now < deadline) {
            return None;
        }
        match &self.to {
            Some(to) if self.force => {
                let why = format!("Failover to {}:{} time out exceeded, failing over.", to.host, to.port);
                Some(Verdict::HandOver { to: to.clone(), why })
            }
            _ => Some(Verdict::Abort("Replica never caught up before timeout")),
        }
    }

    /// The same wait for more: the stream ends at `end` now, with a write.
    pub fn for_more(&self, end: Offset) -> Waiting {
        Waiting { writes_end: end, stream_end: end, ..self.clone() }
    }

    fn has_all(&self, reach: Reach) -> bool {
        reach.online && reach.acked >= self.writes_end
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn to(port: u16) -> Target {
        Target { host: "10.0.0.1".into(), port }
    }

    fn words(text: &str) -> Vec<&[u8]> {
        text.split_whitespace().map(str::as_bytes).collect()
    }

    #[test]
    fn arguments() {
        let ms = |ms| Some(Duration::from_millis(ms));
        let wish = |to, force, timeout| Ok(Wish::HandOver { to, force, timeout });
        let cases: &[(&str, Result<Wish, &str>)] = &[
            ("", wish(None, false, None)),
            ("ABORT", Ok(Wish::Abort)),
            ("timeout 100", wish(None, false, ms(100))),
            ("TO 10.0.0.1 7 FORCE TIMEOUT 5", wish(Some(to(7)), true, ms(5))),
            ("timeout 5 to 10.0.0.1 7", wish(Some(to(7)), false, ms(5))),
            ("timeout 0", Err("ERR FAILOVER timeout must be greater than 0")),
            ("timeout -1", Err("ERR FAILOVER timeout must be greater than 0")),
            ("timeout x", Err("ERR value is not an integer or out of range")),
            ("to 10.0.0.1 x", Err("ERR value is not an integer or out of range")),
            ("to 10.0.0.1", Err("ERR syntax error")),
            ("force force", Err("ERR syntax error")),
            ("abort timeout 1", Err("ERR syntax error")),
            ("timeout 1 timeout 2", Err("ERR syntax error")),
        ];
        for (text, want) in cases {
            assert_eq!(&parse(&words(text)), want, "{text}");
        }
    }

    #[test]
    fn refusals_in_order() {
        let hand_over = |text: &str| parse(&words(text)).expect("well formed");
        let (plain, to_it) = (hand_over(""), hand_over("to 10.0.0.1 7"));
        let online = Some(Reach { online: true, acked: Offset(1) });
        let loading = Some(Reach { online: false, acked: Offset(1) });
        let busy = State::InProgress { to: to(7) };
        let says = |wish: &Wish, state: &State, following, replicas, target| {
            refusal(wish, state, following, replicas, target).unwrap_or("fine")
        };
        assert_eq!(says(&Wish::Abort, &State::None, false, 1, None), "ERR No failover in progress.");
        assert_eq!(says(&Wish::Abort, &busy, true, 1, None), "fine");
        assert_eq!(says(&plain, &busy, true, 0, None), "ERR FAILOVER already in progress.");
        assert_eq!(says(&plain, &State::None, true, 0, None), "ERR FAILOVER is not valid when server is a replica.");
        assert_eq!(says(&plain, &State::None, false, 0, None), "ERR FAILOVER requires connected replicas.");
        let forced = "ERR FAILOVER with force option requires both a timeout and target HOST and IP.";
        assert_eq!(says(&hand_over("force timeout 1"), &State::None, false, 1, None), forced);
        assert_eq!(says(&hand_over("to 10.0.0.1 7 force"), &State::None, false, 1, online), forced);
        assert_eq!(says(&to_it, &State::None, false, 1, None), "ERR FAILOVER target HOST and PORT is not a replica.");
        assert_eq!(says(&to_it, &State::None, false, 1, loading), "ERR FAILOVER target replica is not online.");
        assert_eq!(says(&to_it, &State::None, false, 1, online), "fine");
        assert_eq!(says(&plain, &State::None, false, 1, None), "fine");
    }

    #[test]
    fn the_role_goes_to_who_has_everything() {
        let s = Duration::from_secs;
        let waiting = |to: Option<Target>, force| Waiting {
            to,
            force,
            deadline: Some(s(10)),
            writes_end: Offset(100),
            stream_end: Offset(137),
        };
        let at = |port, online, acked| (to(port), Reach { online, acked: Offset(acked) });
        let replicas = [at(1, true, 99), at(2, false, 137), at(3, true, 100), at(4, true, 137)];
        let chosen = |w: &Waiting, now, seen: &[(Target, Reach)]| match w.verdict(s(now), seen.to_vec()) {
            Some(Verdict::HandOver { to, .. }) => to.port,
            Some(Verdict::Abort(_)) => 9999,
            None => 0,
        };
        assert_eq!(chosen(&waiting(None, false), 1, &replicas), 3, "the first that has all");
        assert_eq!(chosen(&waiting(Some(to(4)), false), 1, &replicas), 4);
        assert_eq!(chosen(&waiting(Some(to(1)), false), 9, &replicas), 0, "it may still come");
        assert_eq!(chosen(&waiting(Some(to(1)), false), 10, &replicas), 9999);
        assert_eq!(chosen(&waiting(Some(to(1)), true), 10, &replicas), 1, "forced");
        assert_eq!(chosen(&waiting(None, false), 1, &replicas[..2]), 0);
        let longer = waiting(None, false).for_more(Offset(138));
        assert_eq!(chosen(&longer, 1, &replicas), 0, "what was written behind it is waited for");
        assert_eq!(chosen(&longer, 10, &replicas), 9999, "and not lost when time is over");
        let patient = Waiting { deadline: None, ..waiting(None, false) };
        assert_eq!(chosen(&patient, 1_000_000, &replicas[..2]), 0, "without a timeout it waits for ever");
    }
}
