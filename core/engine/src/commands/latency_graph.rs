//! LATENCY GRAPH's picture: samples as columns of characters, the time behind each below it. Pure.

/// Rows of a picture that shows more than a line.
const ROWS: u64 = 4;
/// From nothing to full.
const FILLS: &[u8] = b"_o#";

/// The picture of samples, each with a label, oldest first.
pub(super) fn draw(samples: &[(u64, String)]) -> String {
    let min = samples.iter().map(|sample| sample.0).min().unwrap_or(0);
    let max = samples.iter().map(|sample| sample.0).max().unwrap_or(0);
    let steps = ROWS * FILLS.len() as u64;
    let step_of = |value: u64| if max == min { 0 } else { (value - min) * (steps - 1) / (max - min) };
    let mut text = String::new();
    for row in (0..ROWS).rev() {
        let line: String = samples.iter().map(|(value, _)| fill(step_of(*value), row)).collect();
        if !line.trim().is_empty() {
            text.push_str(line.trim_end());
            text.push('\n');
        }
    }
    text.push('\n');
    let longest = samples.iter().map(|sample| sample.1.len()).max().unwrap_or(0);
    for at in 0..longest {
        let letter = |label: &String| label.chars().nth(at).unwrap_or(' ');
        let line: String = samples.iter().map(|(_, label)| letter(label)).collect();
        text.push_str(line.trim_end());
        text.push('\n');
    }
    text
}

/// What a value shows in a row: the row it ends in has its fill, those below a bar.
fn fill(step: u64, row: u64) -> char {
    let (own, within) = (step / FILLS.len() as u64, step % FILLS.len() as u64);
    match row {
        _ if row == own => char::from(FILLS[within as usize]),
        _ if row < own => '|',
        _ => ' ',
    }
}

#[cfg(test)]
mod tests {
    use super::draw;

    #[test]
    fn high_columns_stand_on_bars() {
        let label = |text: &str| text.to_owned();
        let picture = draw(&[(1, label("9s")), (100, label("5s")), (50, label("1s"))]);
        assert_eq!(picture, " #\n |\n |#\n_||\n\n951\nsss\n");
        assert_eq!(draw(&[(7, label("0s"))]), "_\n\n0\ns\n");
    }
}
