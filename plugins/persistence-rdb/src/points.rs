//! Save points: after so many seconds, if so many keys changed. Pure: text in, a decision out.

use std::time::Duration;

/// Seconds since the last save, and changes since then.
pub type Point = (u64, u64);

/// Time between two tries when a save failed.
pub const RETRY_S: u64 = 5;

/// Points from `save`'s text: `3600 1 300 100`. Empty: none. One space stands between two words, as Redis splits them
/// (`performInterfaceSet` in config.c): between two spaces there is an empty one.
pub fn parse(text: &str) -> Result<Vec<Point>, &'static str> {
    let words = text.split(' ').filter(|_| !text.is_empty());
    let numbers: Option<Vec<u64>> = words.map(number).collect();
    let numbers = numbers.filter(|numbers| numbers.len().is_multiple_of(2)).ok_or("Invalid save parameters")?;
    let points: Vec<Point> = numbers.chunks_exact(2).map(|pair| (pair[0], pair[1])).collect();
    if points.iter().any(|(seconds, _)| *seconds == 0) { Err("Invalid save parameters") } else { Ok(points) }
}

/// A number as `strtoll` reads it: an empty word is 0.
fn number(word: &str) -> Option<u64> {
    let digits = word.trim_ascii_start();
    if word.is_empty() { Some(0) } else { digits.parse().ok() }
}

/// The text of points, as CONFIG GET shows it.
pub fn text(points: &[Point]) -> String {
    let words: Vec<String> = points.iter().map(|(seconds, changes)| format!("{seconds} {changes}")).collect();
    words.join(" ")
}

/// The first point that is due: more seconds passed than it says, and at least as many changes were made.
pub fn due(points: &[Point], since_save: Duration, changes: u64) -> Option<Point> {
    points.iter().copied().find(|(seconds, least)| changes >= *least && since_save > Duration::from_secs(*seconds))
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
    fn one_space_stands_between_two_words() {
        for words in ["10 5  20 6", "10 5 ", " 10 5", " ", "10  5", "10 5\t20 6"] {
            assert_eq!(parse(words), Err("Invalid save parameters"), "{words:?}");
        }
        for (words, point) in [("10 ", (10, 0)), ("\t10 5", (10, 5)), ("+10 \t5", (10, 5))] {
            assert_eq!(parse(words), Ok(vec![point]), "{words:?}");
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
            assert_eq!(due(&points, Duration::from_secs(seconds), changes), expected, "{seconds} s, {changes}");
        }
    }
}
