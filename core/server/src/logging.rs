//! Log lines as Redis users know them: `pid:role DD Mon YYYY HH:MM:SS.mmm # message`, to standard error or a file.
//!
//! Times are UTC. The role letter is M (primary), S (replica), X (sentinel) or C before the instance has a role.

use keystead_engine::config::ParamGroup;
use log::{Level, LevelFilter};
use std::fmt;
use std::fs::File;
use std::io::{self, Write};
use std::os::fd::AsRawFd;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicI32, AtomicU8, Ordering};
use std::time::{SystemTime, UNIX_EPOCH};

/// The words for a level that a file and CONFIG SET take.
pub(crate) const LEVELS: &[&str] = &["debug", "verbose", "notice", "info", "warning", "error"];

const MONTHS: [&str; 12] = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];

static ROLE: AtomicU8 = AtomicU8::new(b'C');

/// The descriptor of the log's file; -1: there is none.
static DESCRIPTOR: AtomicI32 = AtomicI32::new(-1);

const STANDARD_ERROR: i32 = 2;

/// Sets the role letter of all further lines.
pub(crate) fn set_role_letter(letter: u8) {
    ROLE.store(letter, Ordering::Relaxed);
}

/// Changes the letter of a data node; others keep theirs.
pub(crate) fn change_role_letter(letter: u8) {
    let old = ROLE.load(Ordering::Relaxed);
    if old != letter && matches!(old, b'M' | b'S') {
        ROLE.store(letter, Ordering::Relaxed);
    }
}

/// The filter behind a level's word; `None` for a word that isn't one.
pub(crate) fn level(word: &str) -> Option<LevelFilter> {
    Some(match word.to_ascii_lowercase().as_str() {
        "debug" => LevelFilter::Trace,
        "verbose" => LevelFilter::Debug,
        "notice" | "info" => LevelFilter::Info,
        "warning" => LevelFilter::Warn,
        "error" => LevelFilter::Error,
        _ => return None,
    })
}

/// `loglevel` as CONFIG SET knows it (not on a sentinel's port beside a data port: there is one log): in force before the reply, so that what the client asks for next is logged by it.
pub(crate) struct LevelParam;

impl ParamGroup for LevelParam {
    fn has(&self, name: &str) -> bool {
        name == "loglevel"
    }

    fn apply(&self, value: &dyn Fn(&str) -> String) -> Result<(), String> {
        let word = value("loglevel");
        let filter = if word == "nothing" { Some(LevelFilter::Off) } else { level(&word) };
        log::set_max_level(filter.ok_or_else(|| format!("'{word}' is no log level"))?);
        Ok(())
    }
}

/// Installs the logger. The level can be changed later: [`LevelParam`].
pub(crate) fn init(filter: LevelFilter, file: Option<&Path>) -> io::Result<()> {
    let target = match file {
        None => env_logger::Target::Stderr,
        Some(path) => env_logger::Target::Pipe(Box::new(LogFile::open(path)?)),
    };
    let built = env_logger::Builder::new()
        // The runtime's own crates log through the same facade; their steps are no news for an operator.
        .filter_level(LevelFilter::Warn)
        .filter_module("keystead", LevelFilter::Trace)
        .filter_module("plugin", LevelFilter::Trace)
        .target(target)
        .format(|out, record| {
            write!(out, "{}", Head(record.level()))?;
            if let Some(plugin) = record.target().strip_prefix("plugin::") {
                write!(out, "{plugin}: ")?;
            }
            writeln!(out, "{}", record.args())
        })
        .try_init();
    built.map_err(io::Error::other)?;
    log::set_max_level(filter);
    Ok(())
}

/// What each line begins with.
struct Head(Level);

impl fmt::Display for Head {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let role = char::from(ROLE.load(Ordering::Relaxed));
        write!(f, "{}:{role} {} {} ", std::process::id(), Timestamp(since.as_millis()), mark(self.0))
    }
}

/// The log's file and the line for it when there is no memory: made in `line`, as nothing can be allocated. None if the log
/// goes to standard error, where the runtime says so itself.
pub(crate) fn out_of_memory(bytes: usize, mut line: &mut [u8]) -> Option<(i32, usize)> {
    let descriptor = Some(DESCRIPTOR.load(Ordering::Relaxed)).filter(|descriptor| *descriptor >= 0)?;
    let room = line.len();
    writeln!(line, "{}Out of memory: the system doesn't give {bytes} bytes more", Head(Level::Error)).ok()?;
    Some((descriptor, room - line.len()))
}

/// Where the log goes, and the whole line of an error for it: for whoever can say nothing any more when it is time. Without a
/// log it is standard error.
pub(crate) fn last_line(words: &str) -> (i32, String) {
    if log::max_level() == LevelFilter::Off {
        return (STANDARD_ERROR, format!("keystead: {words}\n"));
    }
    let descriptor = DESCRIPTOR.load(Ordering::Relaxed);
    let descriptor = if descriptor < 0 { STANDARD_ERROR } else { descriptor };
    (descriptor, format!("{}{words}\n", Head(Level::Error)))
}

/// The log's file. Who rotates it renames or deletes it: the next line goes into a new one of that name.
struct LogFile {
    path: PathBuf,
    file: File,
    /// Device and inode of the file that is open.
    identity: (u64, u64),
}

impl LogFile {
    fn open(path: &Path) -> io::Result<LogFile> {
        let file = File::options().create(true).append(true).open(path)?;
        let about = file.metadata()?;
        DESCRIPTOR.store(file.as_raw_fd(), Ordering::Relaxed);
        Ok(LogFile { path: path.to_path_buf(), file, identity: (about.dev(), about.ino()) })
    }

    /// Where no new file can be made, lines go on into the old one.
    fn follow(&mut self) {
        let there = std::fs::metadata(&self.path).map(|about| (about.dev(), about.ino()));
        if there.is_ok_and(|identity| identity == self.identity) {
            return;
        }
        if let Ok(fresh) = LogFile::open(&self.path) {
            *self = fresh;
        }
    }
}

impl Write for LogFile {
    /// Called once a line.
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        self.follow();
        self.file.write(line)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}

/// Sends panics to the log, where an operator looks. Before there is a log they go to standard error as always.
pub(crate) fn log_panics() {
    let usual = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |info| {
        if log::max_level() == LevelFilter::Off {
            usual(info);
        } else {
            log::error!("{info}");
        }
    }));
}

/// Redis' mark of a level.
fn mark(level: Level) -> char {
    match level {
        Level::Error | Level::Warn => '#',
        Level::Info => '*',
        Level::Debug => '-',
        Level::Trace => '.',
    }
}

/// `23 Nov 2026 01:02:03.004` of milliseconds since 1970.
pub(crate) fn timestamp(unix_ms: u128) -> String {
    Timestamp(unix_ms).to_string()
}

/// The same, written without memory of its own.
struct Timestamp(u128);

impl fmt::Display for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (ms, seconds) = (self.0 % 1000, self.0 / 1000);
        let (hour, minute, second) = (seconds / 3600 % 24, seconds / 60 % 60, seconds % 60);
        let (year, month, day) = civil(seconds / 86_400);
        write!(f, "{day:02} {} {year} {hour:02}:{minute:02}:{second:02}.{ms:03}", MONTHS[month])
    }
}

/// Year, month (from 0) and day of a number of days since 1970: years begin in March, so that leap days come last.
fn civil(days: u128) -> (u128, usize, u128) {
    let shifted = days + 719_468;
    let era = shifted / 146_097;
    let day_of_era = shifted % 146_097;
    let year_of_era = (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted_month = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * shifted_month + 2) / 5 + 1;
    let month = (shifted_month + 2) % 12;
    let year = year_of_era + era * 400 + u128::from(month < 2);
    (year, month as usize, day)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn timestamps_are_redis_own() {
        let cases = [
            (0, "01 Jan 1970 00:00:00.000"),
            (951_782_400_000, "29 Feb 2000 00:00:00.000"),
            (1_709_251_199_999, "29 Feb 2024 23:59:59.999"),
            (1_795_395_723_004, "23 Nov 2026 01:02:03.004"),
            (4_107_542_400_000, "01 Mar 2100 00:00:00.000"),
        ];
        for (ms, text) in cases {
            assert_eq!(timestamp(ms), text);
        }
    }

    #[test]
    fn a_renamed_or_deleted_log_file_is_made_anew() {
        let dir = tempfile::tempdir().expect("a folder");
        let path = dir.path().join("k.log");
        let read = |name: &str| std::fs::read_to_string(dir.path().join(name)).expect("there");
        let mut log = LogFile::open(&path).expect("opened");
        log.write_all(b"one\n").expect("written");
        std::fs::rename(&path, dir.path().join("k.log.1")).expect("renamed");
        log.write_all(b"two\n").expect("written");
        log.write_all(b"three\n").expect("written");
        assert_eq!((read("k.log.1"), read("k.log")), ("one\n".into(), "two\nthree\n".into()));
        std::fs::remove_file(&path).expect("deleted");
        log.write_all(b"four\n").expect("written");
        assert_eq!(read("k.log"), "four\n");
    }

    #[test]
    fn every_listed_word_is_a_level() {
        assert!(LEVELS.iter().all(|w| level(w).is_some()));
        assert!(level("loud").is_none());
    }
}
