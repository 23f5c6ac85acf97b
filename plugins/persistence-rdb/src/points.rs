//! Save points: after so many seconds, if so many keys changed. Pure: text in, a decision out.

/// Seconds since the last save, and changes since then.
pub type Point = (u64, u64);

/// Time between two tries when a save failed.
pub const RETRY_S: u64 = 5;

/// Points from `save`'s text: `3600 1 300 100`. Empty: none.
pub fn parse(text: &str) -> Result<Vec<Point>, &'static str> {
    let numbers: Option<Vec<u64>> = text.split_whitespace().map(|word| word.parse().ok()).collect();
    let numbers = numbers.filter(|numbers| numbers.len().is_multiple_of(2)).ok_or("Invalid save parameters")?;
    let points: Vec<Point> = numbers.chunks_exact(2).map(|pair| (pair[0], pair[1])).collect();
    if points.iter().any(|(seconds, _)| *seconds == 0) { Err("Invalid save parameters") } else { Ok(points) }
}

/// The text of points, as CONFIG GET shows it.
pub fn text(points: &[Point]) -> String {
    let words: Vec<String> = points.iter().map(|(seconds, changes)| format!("{seconds} {changes}")).collect();
    words.join(" ")
}

/// The first point that is due: more seconds passed than it says, and at least as many changes were made.
pub fn due(points: &[Point], since_save_s: u64, changes: u64) -> Option<Point> {
    points.iter().copied().find(|(seconds, least)| changes >= *least && since_save_s > *seconds)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_become_points_and_back() {
        for (words, points) in [
            ("", Ok(vec![])),
            ("3600 1 300 100", Ok(vec![(3600, 1), (300, 100)])),
            ("10 0", Ok(vec![(10, 0)])),
            ("10", Err("Invalid save parameters")),
            ("0 1", Err("Invalid save parameters")),
            ("10 -1", Err("Invalid save parameters")),
            ("ten 1", Err("Invalid save parameters")),
        ] {
            assert_eq!(parse(words), points, "{words}");
            if let Ok(points) = points {
                assert_eq!(text(&points), words);
            }
        }
    }

    #[test]
    fn a_point_is_due_when_both_hold() {
        let points = [(3600, 1), (300, 100), (60, 10_000)];
        for (seconds, changes, expected) in [
            (61, 9_999, None),
            (61, 10_000, Some((60, 10_000))),
            (60, 10_000, None),
            (301, 100, Some((300, 100))),
            (3601, 1, Some((3600, 1))),
            (9999, 0, None),
        ] {
            assert_eq!(due(&points, seconds, changes), expected, "{seconds} s, {changes}");
        }
    }
}
