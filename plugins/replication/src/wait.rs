//! WAIT: how many replicas have this client's writes.
//!
//! Owns the arguments' rules and the verdict; parking and waking are the shell's.

use std::time::Duration;

/// Why WAIT is refused on a replica.
pub const ON_REPLICA: &str = "ERR WAIT cannot be used with replica instances. Please also note that since Redis 4.0 if a replica \
is configured to be writable (which is not the default) writes to replicas are just local and are not propagated.";

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
    Ok(Wish { replicas, timeout: (ms > 0).then(|| Duration::from_millis(ms)) })
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
