//! Values of parameters: how text becomes a value and how it is shown. Pure.

use keystead_resp::number;

use crate::notify::Chosen;

/// What a parameter may hold.
#[derive(Clone, Copy, Debug)]
pub enum Kind {
    /// `yes` or `no`.
    Bool,
    /// An integer between two bounds.
    Int(i64, i64),
    /// An integer of C's `int` that isn't negative, taken for the nearest between two bounds.
    Nearest(i64, i64),
    /// Bytes, with Redis' units (`1mb`), between two bounds.
    Memory(i64, i64),
    /// Bytes, or a percentage of `maxmemory`.
    MemoryOrPercent,
    /// Percentiles, separated by blanks.
    Percentiles,
    /// Any text.
    Text,
    /// A name of the DNS, or none.
    Hostname,
    /// A name for people, without the signs that a cluster's file uses.
    Nickname,
    /// `oom-score-adj-values`: three of them.
    OomScores,
    /// One of some words.
    Word(&'static [&'static str]),
    /// `client-output-buffer-limit`: class, hard, soft, seconds, repeated.
    OutputLimits,
    /// `notify-keyspace-events`: letters.
    Events,
    /// Options of SHUTDOWN, any of them or `default`.
    EndOptions,
    /// `save`: without a plugin that saves, only the empty list.
    Save,
}

/// Checks a text and brings it into the form that CONFIG GET shows. The error is Redis' text for CONFIG SET.
pub(super) fn normalise(kind: Kind, old: &str, text: &str) -> Result<String, String> {
    match kind {
        Kind::Bool => match text.to_ascii_lowercase().as_str() {
            word @ ("yes" | "no") => Ok(word.to_owned()),
            _ => Err("argument must be 'yes' or 'no'".to_owned()),
        },
        Kind::Int(low, high) => {
            let value = number::parse_i64(text.as_bytes()).ok_or("argument couldn't be parsed into an integer")?;
            bounded(value, low, high)
        }
        Kind::Nearest(low, high) => {
            let value = number::parse_i64(text.as_bytes()).ok_or("argument couldn't be parsed into an integer")?;
            bounded(value, 0, i64::from(i32::MAX))?;
            Ok(value.clamp(low, high).to_string())
        }
        Kind::Memory(low, high) => {
            let value = parse_bytes(text).ok_or("argument must be a memory value")?;
            // What no bound reaches is beyond the upper one, whatever it is.
            bounded(i64::try_from(value).unwrap_or(i64::MIN), low, high)
        }
        Kind::MemoryOrPercent => match text.strip_suffix('%').map(|digits| digits.parse::<i64>()) {
            Some(Ok(0)) => Ok("0".to_owned()),
            Some(Ok(percent)) if (1..=100).contains(&percent) => Ok(format!("{percent}%")),
            Some(Ok(percent)) if percent > 100 => Err("percentage argument must be less or equal to 100".to_owned()),
            None => bounded(parse_memory(text).ok_or("argument must be a memory or percent value")?, 0, i64::MAX),
            Some(_) => Err("argument must be a memory or percent value".to_owned()),
        },
        Kind::Percentiles => percentiles(text),
        Kind::Text => Ok(text.to_owned()),
        Kind::Hostname => hostname(text),
        Kind::Nickname if text.chars().any(|c| "!#$%&()*+:;<>?@[]^{|}~\0".contains(c)) => {
            Err("Announced human node name contained invalid character".to_owned())
        }
        Kind::Nickname => Ok(text.to_owned()),
        Kind::OomScores => oom_scores(text),
        Kind::Word(words) => match words.iter().find(|word| word.eq_ignore_ascii_case(text)) {
            Some(word) => Ok((*word).to_owned()),
            None => Err(format!("argument(s) must be one of the following: {}", words.join(", "))),
        },
        Kind::OutputLimits => output_limits(old, text),
        Kind::Events => match Chosen::parse(text) {
            Some(chosen) => Ok(chosen.text()),
            None => Err("Invalid event class character. Use 'Ag$lshzxeKEtmdn'.".to_owned()),
        },
        Kind::EndOptions => end_options(text),
        Kind::Save if text.trim().is_empty() => Ok(String::new()),
        Kind::Save => Err("no plugin that saves is loaded: only the empty value is possible".to_owned()),
    }
}

fn bounded(value: i64, low: i64, high: i64) -> Result<String, String> {
    if (low..=high).contains(&value) {
        Ok(value.to_string())
    } else {
        Err(format!("argument must be between {low} and {high} inclusive"))
    }
}

/// In the order CONFIG GET shows them.
const END_OPTIONS: [&str; 5] = ["default", "save", "nosave", "now", "force"];

fn end_options(text: &str) -> Result<String, String> {
    let words: Vec<String> = text.split_whitespace().map(str::to_ascii_lowercase).collect();
    if words.is_empty() || !words.iter().all(|word| END_OPTIONS.contains(&word.as_str())) {
        return Err(format!("argument(s) must be one of the following: {}", END_OPTIONS.join(", ")));
    }
    let has = |option: &str| words.iter().any(|word| word == option);
    if has("save") && has("nosave") {
        return Err("shutdown options SAVE and NOSAVE can't be used simultaneously".to_owned());
    }
    let chosen: Vec<&str> = END_OPTIONS[1..].iter().copied().filter(|option| has(option)).collect();
    Ok(if chosen.is_empty() { END_OPTIONS[0].to_owned() } else { chosen.join(" ") })
}

/// Redis' longest name of a host, with the NUL behind it.
const HOST_LEN: usize = 256;

fn hostname(text: &str) -> Result<String, String> {
    if text.len() >= HOST_LEN {
        return Err(format!("Hostnames must be less than {HOST_LEN} characters"));
    }
    match text.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.')) {
        true => Ok(text.to_owned()),
        false => Err("Hostnames may only contain alphanumeric characters, hyphens or dots".to_owned()),
    }
}

/// Redis splits at single blanks: two of them, or one at an end, make an empty word. Nothing at all is one empty word.
fn words(text: &str) -> Vec<&str> {
    text.split(' ').collect()
}

fn oom_scores(text: &str) -> Result<String, String> {
    let words = words(text);
    if words.len() != 3 {
        return Err("wrong number of arguments".to_owned());
    }
    let score = |word: &&str| word.parse::<i64>().ok().filter(|score| (-2000..=2000).contains(score));
    let scores: Option<Vec<String>> = words.iter().map(|word| Some(score(word)?.to_string())).collect();
    let bad = "Invalid oom-score-adj-values, elements must be between -2000 and 2000.";
    Ok(scores.ok_or(bad)?.join(" "))
}

fn percentiles(text: &str) -> Result<String, String> {
    let mut shown = Vec::new();
    for word in words(text).into_iter().filter(|_| !text.is_empty()) {
        let percent: f64 = word.parse().map_err(|_| "Invalid latency-tracking-info-percentiles parameters")?;
        if !(0.0..=100.0).contains(&percent) {
            return Err("latency-tracking-info-percentiles parameters should sit between [0.0,100.0]".to_owned());
        }
        shown.push(format!("{percent:.6}").trim_end_matches('0').trim_end_matches('.').to_owned());
    }
    Ok(shown.join(" "))
}

/// `100`, `1k` (1000), `1kb` (1024), `1m`, `1mb`, `1g`, `1gb`, in any case; none if that is more than an `i64` holds.
pub fn parse_memory(text: &str) -> Option<i64> {
    i64::try_from(parse_bytes(text)?).ok()
}

/// See [`parse_memory`]; nothing in front of the unit is 0, as for Redis.
fn parse_bytes(text: &str) -> Option<u128> {
    let lower = text.to_ascii_lowercase();
    let digits = lower.trim_end_matches(|c: char| c.is_ascii_alphabetic());
    let unit: u128 = match &lower[digits.len()..] {
        "" | "b" => 1,
        "k" => 1000,
        "kb" => 1 << 10,
        "m" => 1_000_000,
        "mb" => 1 << 20,
        "g" => 1_000_000_000,
        "gb" => 1 << 30,
        _ => return None,
    };
    if !digits.bytes().all(|c| c.is_ascii_digit()) {
        return None;
    }
    let most = u128::from(u64::MAX);
    let number = if digits.is_empty() { 0 } else { digits.parse().unwrap_or(most).min(most) };
    Some(number * unit)
}

/// The classes in the order CONFIG GET shows them.
const CLASSES: [&str; 3] = ["normal", "slave", "pubsub"];

fn output_limits(old: &str, text: &str) -> Result<String, String> {
    let words: Vec<&str> = text.split_whitespace().collect();
    if !words.len().is_multiple_of(4) {
        return Err("Wrong number of arguments in buffer limit configuration.".to_owned());
    }
    let mut all: Vec<String> = old.split_whitespace().map(str::to_owned).collect();
    for chunk in words.chunks(4) {
        let name = chunk[0].to_ascii_lowercase();
        let name = if name == "replica" { "slave" } else { &name };
        let Some(class) = CLASSES.iter().position(|class| *class == name) else {
            return Err("Invalid client class specified in buffer limit configuration.".to_owned());
        };
        let bad = || "Error in hard, soft or soft_seconds setting in buffer limit configuration.".to_owned();
        let numbers = [
            parse_memory(chunk[1]).ok_or_else(bad)?,
            parse_memory(chunk[2]).ok_or_else(bad)?,
            chunk[3].parse::<i64>().map_err(|_| bad())?,
        ];
        if numbers.iter().any(|number| *number < 0) {
            return Err(bad());
        }
        for (at, number) in numbers.iter().enumerate() {
            all[class * 4 + 1 + at] = number.to_string();
        }
    }
    Ok(all.join(" "))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_units() {
        assert_eq!(parse_memory("1kb"), Some(1024));
        assert_eq!(parse_memory("1K"), Some(1000));
        assert_eq!(parse_memory("2GB"), Some(2 << 30));
        assert_eq!(parse_memory("10"), Some(10));
        assert_eq!(parse_memory("1tb"), None);
        // As redis-server: an empty number is 0, a sign is none.
        assert_eq!(parse_memory("mb"), Some(0));
        assert_eq!(parse_memory("-1"), None);
        assert_eq!(parse_memory("9223372036854775808"), None);
        assert_eq!(parse_memory("9999999999gb"), None);
    }

    #[test]
    fn options_of_an_end_are_words_of_shutdown() {
        let shown = |text: &str| normalise(Kind::EndOptions, "default", text);
        assert_eq!(shown("NOW nosave default").as_deref(), Ok("nosave now"));
        assert_eq!(shown("default").as_deref(), Ok("default"));
        assert!(shown("").is_err() && shown("now later").is_err());
        assert_eq!(
            shown("save nosave").expect_err("both"),
            "shutdown options SAVE and NOSAVE can't be used simultaneously"
        );
    }

    #[test]
    fn output_limits_replace_only_the_named_class() {
        let old = "normal 0 0 0 slave 268435456 67108864 60 pubsub 33554432 8388608 60";
        let new = normalise(Kind::OutputLimits, old, "replica 1mb 0 5").expect("valid");
        assert_eq!(new, "normal 0 0 0 slave 1048576 0 5 pubsub 33554432 8388608 60");
        assert!(normalise(Kind::OutputLimits, old, "wrong 1 1 1").is_err());
        assert!(normalise(Kind::OutputLimits, old, "normal 1 1").is_err());
    }
}
