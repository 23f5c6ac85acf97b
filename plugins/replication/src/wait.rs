//! WAIT and WAITAOF: how many replicas have this client's writes, in memory or on the disk.
//!
//! Owns the arguments' rules and the verdict; parking and waking are the shell's.

use std::time::Duration;

/// Why WAIT is refused on a replica.
pub const ON_REPLICA: &str = "ERR WAIT cannot be used with replica instances. Please also note that since Redis 4.0 if a replica \
is configured to be writable (which is not the default) writes to replicas are just local and are not propagated.";

/// Why WAITAOF can't wait for our own disk.
pub const NO_FILE: &str = "ERR WAITAOF cannot be used when numlocal is set but appendonly is disabled.";

/// What ends a wait when this node becomes a replica: the writes are no longer its own.
pub const DEMOTED: &str =
    "UNBLOCKED force unblock from blocking operation, instance state changed (master -> replica?)";

/// Added to the clock (until the year 2109), the time to wait must be a number still.
const LONGEST_MS: u64 = i64::MAX as u64 - (1 << 42);

/// `WAIT numreplicas timeout`, understood.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Wish {
    /// How many replicas.
    pub replicas: i64,
    /// How long; `None` for ever.
    pub timeout: Option<Duration>,
}

/// Reads the two arguments. Errors are without the leading minus.
pub fn parse(replicas: &[u8], timeout_ms: &[u8]) -> Result<Wish, &'static str> {
    let replicas = integer(replicas).ok_or("ERR value is not an integer or out of range")?;
    let ms = integer(timeout_ms).ok_or("ERR timeout is not an integer or out of range")?;
    let ms = u64::try_from(ms).map_err(|_| "ERR timeout is negative")?;
    if ms > LONGEST_MS {
        return Err("ERR timeout is out of range");
    }
    Ok(Wish { replicas, timeout: (ms > 0).then(|| Duration::from_millis(ms)) })
}

/// `WAITAOF numlocal numreplicas timeout`, understood.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DiskWish {
    /// Our own disk too.
    pub local: bool,
    /// How many replicas' disks.
    pub replicas: u64,
    /// How long; `None` for ever.
    pub timeout: Option<Duration>,
}

impl DiskWish {
    /// Reads the three arguments. Errors are without the leading minus.
    pub fn parse(local: &[u8], replicas: &[u8], timeout_ms: &[u8]) -> Result<DiskWish, &'static str> {
        let local = match integer(local).ok_or("ERR value is not an integer or out of range")? {
            0 => false,
            1 => true,
            _ => return Err("ERR value is out of range, value must between 0 and 1"),
        };
        // As Redis: also of a word that is no number.
        let replicas = integer(replicas).and_then(|replicas| u64::try_from(replicas).ok());
        let replicas = replicas.ok_or("ERR value is out of range, must be positive")?;
        let timeout = parse(b"0", timeout_ms)?.timeout;
        Ok(DiskWish { local, replicas, timeout })
    }

    /// Why it is refused here: on a replica, or without an append-only file of our own.
    pub fn refusal(&self, is_replica: bool, keeps_file: bool) -> Option<&'static str> {
        match (is_replica, self.local && !keeps_file) {
            (true, _) => Some(
                "ERR WAITAOF cannot be used with replica instances. Please also note that writes to replicas are just local and are not propagated.",
            ),
            (false, true) => Some(NO_FILE),
            (false, false) => None,
        }
    }

    /// Enough?
    pub fn is_met(&self, local: bool, replicas: usize) -> bool {
        (local || !self.local) && replicas as u64 >= self.replicas
    }
}

/// Enough, or too late? `None` while neither.
pub fn verdict(wish: Wish, since: Duration, now: Duration, reached: usize) -> Option<i64> {
    let reached = i64::try_from(reached).unwrap_or(i64::MAX);
    let late = wish.timeout.is_some_and(|t| now.saturating_sub(since) >= t);
    (reached >= wish.replicas || late).then_some(reached)
}

fn integer(text: &[u8]) -> Option<i64> {
    let text = std::str::from_utf8(text).ok()?;
    let digits = text.strip_prefix('-').unwrap_or(text);
    let strict = !digits.starts_with('+') && (digits == "0" && text == "0" || !digits.starts_with('0'));
    text.parse().ok().filter(|_| strict)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn arguments() {
        let ms = |n| Some(Duration::from_millis(n));
        assert_eq!(parse(b"2", b"100"), Ok(Wish { replicas: 2, timeout: ms(100) }));
        assert_eq!(parse(b"-1", b"0"), Ok(Wish { replicas: -1, timeout: None }));
        assert_eq!(parse(b"x", b"0"), Err("ERR value is not an integer or out of range"));
        assert_eq!(parse(b"1", b"x"), Err("ERR timeout is not an integer or out of range"));
        assert_eq!(parse(b"1", b"01"), Err("ERR timeout is not an integer or out of range"));
        assert_eq!(parse(b"1", b"-5"), Err("ERR timeout is negative"));
        assert_eq!(parse(b"1", b"9223372036854775807"), Err("ERR timeout is out of range"));
    }

    #[test]
    fn disk_wishes() {
        let wish = DiskWish::parse(b"1", b"2", b"0").expect("right");
        assert_eq!(wish, DiskWish { local: true, replicas: 2, timeout: None });
        let cases = [(true, 2, true), (false, 2, false), (true, 1, false)];
        for (local, replicas, met) in cases {
            assert_eq!(wish.is_met(local, replicas), met);
        }
        assert_eq!(DiskWish::parse(b"2", b"0", b"0"), Err("ERR value is out of range, value must between 0 and 1"));
        assert_eq!(DiskWish::parse(b"0", b"-1", b"0"), Err("ERR value is out of range, must be positive"));
        assert_eq!(DiskWish::parse(b"0", b"x", b"0"), Err("ERR value is out of range, must be positive"));
        assert_eq!(DiskWish::parse(b"x", b"0", b"0"), Err("ERR value is not an integer or out of range"));
        assert_eq!(DiskWish::parse(b"0", b"0", b"-1"), Err("ERR timeout is negative"));
        let refused = |replica, file| wish.refusal(replica, file).is_some();
        assert!(refused(true, true) && refused(false, false) && !refused(false, true));
        assert_eq!(DiskWish { local: false, ..wish }.refusal(false, false), None);
    }

    #[test]
    fn verdicts() {
        let s = Duration::from_secs;
        let wish = Wish { replicas: 2, timeout: Some(s(3)) };
        assert_eq!(verdict(wish, s(10), s(12), 1), None);
        assert_eq!(verdict(wish, s(10), s(12), 2), Some(2));
        assert_eq!(verdict(wish, s(10), s(13), 1), Some(1));
        assert_eq!(verdict(Wish { replicas: 1, timeout: None }, s(0), s(1_000_000), 0), None);
        assert_eq!(verdict(Wish { replicas: 0, timeout: None }, s(0), s(0), 3), Some(3));
    }
}
