//! Glob patterns as KEYS, SCAN, PSUBSCRIBE and CONFIG GET take them. No recursion: one point to go back to, so the time is
//! bounded by pattern times text (the class of CVE-2022-36021).

/// Stars that a pattern may have before its last one: beyond, nothing matches, as in Redis since that CVE. Here it saves no
/// stack, but a pattern must mean the same on both.
const MOST_STARS: usize = 1000;

/// True if the whole text matches: `*`, `?`, `[a-z]`, `[^…]`, `\x`.
pub fn matches(pattern: &[u8], text: &[u8], nocase: bool) -> bool {
    let (mut p, mut t) = (0, 0);
    // Behind the last star, and where the text went on then.
    let mut back: Option<(usize, usize)> = None;
    let mut stars = 0;
    loop {
        if pattern.get(p) == Some(&b'*') {
            p += pattern[p..].iter().take_while(|byte| **byte == b'*').count();
            if p == pattern.len() {
                return true;
            }
            stars += usize::from(t < text.len());
            if stars > MOST_STARS {
                return false;
            }
            back = Some((p, t));
            continue;
        }
        if t == text.len() {
            return p == pattern.len();
        }
        match one(&pattern[p..], text[t], nocase) {
            Some(len) => {
                p += len;
                t += 1;
            }
            None => {
                let Some((star, from)) = back else { return false };
                back = Some((star, from + 1));
                p = star;
                t = from + 1;
            }
        }
    }
}

/// Matches one byte; gives the length of the pattern's element.
fn one(pattern: &[u8], byte: u8, nocase: bool) -> Option<usize> {
    match pattern.first()? {
        b'?' => Some(1),
        b'[' => class(pattern, byte, nocase),
        b'\\' if pattern.len() > 1 => same(pattern[1], byte, nocase).then_some(2),
        &literal => same(literal, byte, nocase).then_some(1),
    }
}

fn same(a: u8, b: u8, nocase: bool) -> bool {
    a == b || nocase && a.eq_ignore_ascii_case(&b)
}

fn class(pattern: &[u8], byte: u8, nocase: bool) -> Option<usize> {
    let mut at = 1;
    let negated = pattern.get(at) == Some(&b'^');
    at += usize::from(negated);
    let mut hit = false;
    loop {
        match pattern.get(at) {
            // A class that never closes ends with the pattern, as in Redis.
            None => break,
            Some(b']') => {
                at += 1;
                break;
            }
            Some(b'\\') if at + 1 < pattern.len() => {
                hit |= same(pattern[at + 1], byte, nocase);
                at += 2;
            }
            Some(&low) if pattern.get(at + 1) == Some(&b'-') && at + 2 < pattern.len() => {
                hit |= in_range(low, pattern[at + 2], byte, nocase);
                at += 3;
            }
            Some(&literal) => {
                hit |= same(literal, byte, nocase);
                at += 1;
            }
        }
    }
    (hit != negated).then_some(at)
}

fn in_range(a: u8, b: u8, byte: u8, nocase: bool) -> bool {
    let fold = |c: u8| if nocase { c.to_ascii_lowercase() } else { c };
    let (a, b, byte) = (fold(a), fold(b), fold(byte));
    (a.min(b)..=a.max(b)).contains(&byte)
}

#[cfg(test)]
mod tests {
    use super::matches;

    #[test]
    fn patterns_as_redis_reads_them() {
        let cases = [
            ("*", "", true),
            ("*", "abc", true),
            ("", "", true),
            ("", "a", false),
            ("h?llo", "hello", true),
            ("h?llo", "hllo", false),
            ("h*llo", "heeeello", true),
            ("h[ae]llo", "hallo", true),
            ("h[ae]llo", "hillo", false),
            ("h[^e]llo", "hello", false),
            ("h[^e]llo", "hbllo", true),
            ("h[a-b]llo", "hbllo", true),
            ("h[b-a]llo", "hallo", true),
            ("h[\\]]llo", "h]llo", true),
            ("\\*", "*", true),
            ("\\*", "a", false),
            ("a*b*c", "aXXbYYc", true),
            ("a*b*c", "aXXbYY", false),
            ("*foo*bar*", "xxfooyybarzz", true),
            ("[abc", "a", true),
            ("a\\", "a\\", true),
            ("**a", "bba", true),
        ];
        for (pattern, text, want) in cases {
            assert_eq!(matches(pattern.as_bytes(), text.as_bytes(), false), want, "{pattern} {text}");
        }
        assert!(matches(b"H[A-C]llo", b"hbLLO", true));
    }

    #[test]
    fn beyond_a_thousand_stars_nothing_matches() {
        let text = b"a".repeat(5_000);
        let stars = |count: usize, end: &[u8]| [b"*?".repeat(count), end.to_vec()].concat();
        assert!(matches(&stars(1000, b""), &text, false));
        assert!(matches(&stars(1000, b"*"), &text, false), "the last one needs nothing behind it");
        assert!(!matches(&stars(1001, b""), &text, false));
        assert!(matches(&b"*".repeat(5_000), &text, false), "neighbours are one");
    }

    #[test]
    fn many_stars_are_not_exponential() {
        let pattern = [b"a*".repeat(500), b"b".to_vec()].concat();
        assert!(!matches(&pattern, &b"a".repeat(5_000), false));
    }
}
