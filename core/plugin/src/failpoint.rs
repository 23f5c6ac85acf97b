//! Places at which a test lets the process die, as `kill -9` would, or lets the disk fail or be slow:
//! `KEYSTEAD_FAILPOINT=<place>[:<nth time>[:die|fail|slow[:<how often>]]]`, several of them with commas. Owns the variable
//! and its reading; which places there are is told by the plugin that has them. Without the variable a place costs one load
//! and one comparison.

use std::io;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// The variable.
pub const VARIABLE: &str = "KEYSTEAD_FAILPOINT";

/// `EIO`: what a disk that fails says.
const INPUT_OUTPUT_ERROR: i32 = 5;

/// What a slow disk takes: long beside anything that isn't waited for.
const SLOW: Duration = Duration::from_secs(3);

/// What happens at a place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum What {
    /// The process dies.
    Die,
    /// The call fails, as on a broken disk.
    Fail,
    /// The call takes 3 s.
    Slow,
}

impl What {
    /// Lets it happen.
    pub fn happens(self) -> io::Result<()> {
        match self {
            What::Die => std::process::abort(),
            What::Fail => Err(io::Error::from_raw_os_error(INPUT_OUTPUT_ERROR)),
            What::Slow => {
                std::thread::sleep(SLOW);
                Ok(())
            }
        }
    }
}

/// What the variable says.
struct Wanted {
    place: String,
    /// The first time that counts, from 1.
    first: u64,
    times: u64,
    what: What,
    passed: AtomicU64,
}

impl Wanted {
    fn parse(text: &str) -> Option<Wanted> {
        let mut fields = text.split(':');
        let place = fields.next()?.to_owned();
        let first = fields.next().map_or(Some(1), |n| n.parse().ok())?;
        let what = match fields.next() {
            None | Some("die") => What::Die,
            Some("fail") => What::Fail,
            Some("slow") => What::Slow,
            Some(_) => return None,
        };
        let times = fields.next().map_or(Some(1), |n| n.parse().ok())?;
        Some(Wanted { place, first, times, what, passed: AtomicU64::new(0) })
    }

    fn reached(&self, place: &str) -> Option<What> {
        if self.place != place {
            return None;
        }
        let nth = self.passed.fetch_add(1, Ordering::Relaxed) + 1;
        (nth >= self.first && nth - self.first < self.times).then_some(self.what)
    }
}

fn wanted() -> &'static [Wanted] {
    static WANTED: OnceLock<Vec<Wanted>> = OnceLock::new();
    WANTED.get_or_init(|| std::env::var(VARIABLE).unwrap_or_default().split(',').filter_map(Wanted::parse).collect())
}

/// What is to happen at this place now: for places that prepare it, as a write that stops half-way does.
#[inline]
pub fn reached(place: &str) -> Option<What> {
    wanted().iter().find_map(|wanted| wanted.reached(place))
}

/// Dies or fails here, if this is the place and the time.
#[inline]
pub fn pass(place: &str) -> io::Result<()> {
    reached(place).map_or(Ok(()), What::happens)
}

#[cfg(test)]
mod tests {
    use super::{Wanted, What};

    #[test]
    fn a_place_is_reached_when_and_as_often_as_told() {
        let run = |text: &str| -> Vec<Option<What>> {
            let wanted = Wanted::parse(text).expect("well formed");
            (0..4).map(|_| wanted.reached("here")).collect()
        };
        assert_eq!(run("here"), [Some(What::Die), None, None, None]);
        assert_eq!(run("here:3"), [None, None, Some(What::Die), None]);
        assert_eq!(run("here:2:fail:2"), [None, Some(What::Fail), Some(What::Fail), None]);
        assert_eq!(run("there"), [None; 4]);
        for bad in ["here:x", "here:1:burn", "here:1:fail:x"] {
            assert!(Wanted::parse(bad).is_none(), "{bad}");
        }
    }

    #[test]
    fn a_failure_is_one_of_the_disk() {
        let error = What::Fail.happens().expect_err("it fails");
        assert!(error.to_string().starts_with("Input/output error"), "{error}");
    }
}
