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
        [b'[', rest @ ..] => {
            let close = rest.iter().position(|b| *b == b']')?;
            let (negate, class) = match &rest[..close] {
                [b'^', class @ ..] => (true, class),
                class => (false, class),
            };
            let mut hit = false;
            let mut i = 0;
            while i < class.len() {
                if i + 2 < class.len() && class[i + 1] == b'-' {
                    hit |= (class[i]..=class[i + 2]).contains(&byte);
                    i += 3;
                } else {
                    hit |= class[i] == byte;
                    i += 1;
                }
            }
            (hit != negate).then_some(close + 2)
        }
        [literal, ..] => (*literal == byte).then_some(1),
        [] => None,
    }
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
        ] {
            assert_eq!(glob(pattern, text), expected, "{pattern} {text}");
        }
    }
}
