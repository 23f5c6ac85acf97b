//! Redis' glob patterns, as SENTINEL RESET and SENTINEL CONFIG GET take them. Pure.

/// Redis' glob: `*`, `?`, `[a-z]`, `[^x]`, `\x`. Linear in the text for each star.
#[must_use]
pub fn glob(pattern: &str, text: &str) -> bool {
    let (p, t) = (pattern.as_bytes(), text.as_bytes());
    let (mut pi, mut ti, mut star) = (0, 0, None);
    while ti < t.len() {
        match p.get(pi) {
            Some(b'*') => {
                star = Some((pi + 1, ti));
                pi += 1;
                continue;
            }
            Some(_) => {
                if let Some(next) = glob_one(&p[pi..], t[ti]) {
                    pi += next;
                    ti += 1;
                    continue;
                }
            }
            None => {}
        }
        let Some((after, from)) = star else { return false };
        star = Some((after, from + 1));
        (pi, ti) = (after, from + 1);
    }
    p[pi..].iter().all(|b| *b == b'*')
}

/// Does the first element of the pattern match this byte? Its length if so.
fn glob_one(p: &[u8], byte: u8) -> Option<usize> {
    match p {
        [b'?', ..] => Some(1),
        [b'\\', escaped, ..] => (*escaped == byte).then_some(2),
        [b'[', ..] => class(p, byte),
        [literal, ..] => (*literal == byte).then_some(1),
        [] => None,
    }
}

/// The same for a class. One that never closes ends with the pattern, and ranges go both ways, as in Redis.
fn class(p: &[u8], byte: u8) -> Option<usize> {
    let negate = p.get(1) == Some(&b'^');
    let mut at = if negate { 2 } else { 1 };
    let mut hit = false;
    while at < p.len() {
        at += match &p[at..] {
            [b']', ..] => {
                at += 1;
                break;
            }
            [b'\\', escaped, ..] => {
                hit |= *escaped == byte;
                2
            }
            [from, b'-', to, ..] => {
                hit |= (*from.min(to)..=*from.max(to)).contains(&byte);
                3
            }
            [literal, ..] => {
                hit |= *literal == byte;
                1
            }
            [] => 0,
        };
    }
    (hit != negate).then_some(at)
}

#[cfg(test)]
mod tests {
    use super::glob;

    #[test]
    fn globs() {
        for (pattern, text, expected) in [
            ("*", "mymaster", true),
            ("my*", "mymaster", true),
            ("my*r", "mymaster", true),
            ("m?master", "mymaster", true),
            ("m[x-z]master", "mymaster", true),
            ("m[^y]master", "mymaster", false),
            ("x*", "mymaster", false),
            ("a\\*", "a*", true),
            ("a\\*", "ab", false),
            ("", "", true),
            ("**a*", "bab", true),
            ("m[z-x]master", "mymaster", true),
            ("m[\\]y]master", "mymaster", true),
            ("[\\]]", "]", true),
            ("maste[pqr", "master", true),
            ("[^", "a", true),
        ] {
            assert_eq!(glob(pattern, text), expected, "{pattern} {text}");
        }
    }
}
