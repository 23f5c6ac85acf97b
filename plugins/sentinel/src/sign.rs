//! Signed hellos: a ninth field behind Redis' eight, `k1.<life>.<number>.<HMAC-SHA256 in hex>`, over all that stands before
//! it. Stock sentinels ignore what hasn't exactly eight fields. A sender counts its lives (starts) and its hellos in each;
//! a receiver takes every number once, and none far behind the newest. Owns keys, the form and the window; who is reported is gossip.rs'.

use hmac::{Hmac, KeyInit, Mac};
use serde::{Deserialize, Serialize};
use sha2::Sha256;
use std::collections::BTreeMap;
use std::fmt::Write;

/// How the ninth field begins.
const MARK: &str = "k1.";
/// Shortest key.
pub const MIN_KEY: usize = 16;
/// Senders remembered; only who has the key can bring a new one.
const MAX_SENDERS: usize = 4096;
/// Hellos go through every data node and arrive in any order, but not further apart than this.
const WINDOW: u64 = 1024;
const WORDS: usize = (WINDOW / 64) as usize;

/// Why a hello isn't taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Fault {
    /// There is no ninth field.
    Unsigned,
    /// No key of ours made it.
    WrongKey,
    /// It was heard before, or is too old to tell.
    Replayed,
    /// More sentinels are known than are remembered.
    Crowd,
}

impl Fault {
    /// In words.
    #[must_use]
    pub const fn words(self) -> &'static str {
        match self {
            Fault::Unsigned => "not signed",
            Fault::WrongKey => "signed with another key",
            Fault::Replayed => "sent before",
            Fault::Crowd => "too many sentinels are known",
        }
    }
}

/// The newest hello of a sender that was heard, as it is saved.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Seen {
    /// The sender's id.
    pub id: String,
    /// Its life.
    pub life: u64,
    /// The hello's number in it.
    pub number: u64,
}

#[derive(Clone, Debug)]
struct Window {
    life: u64,
    newest: u64,
    heard: [u64; WORDS],
}

impl Window {
    /// Everything up to `newest` counts as heard.
    const fn new(life: u64, newest: u64) -> Window {
        Window { life, newest, heard: [u64::MAX; WORDS] }
    }

    fn bit(&mut self, number: u64) -> (&mut u64, u64) {
        (&mut self.heard[(number / 64) as usize % WORDS], 1 << (number % 64))
    }

    fn take(&mut self, life: u64, number: u64) -> bool {
        if life > self.life {
            *self = Window::new(life, 0);
        }
        if life < self.life || number.saturating_add(WINDOW) <= self.newest {
            return false;
        }
        if number > self.newest {
            for fresh in (self.newest + 1..=number).rev().take(WINDOW as usize) {
                let (word, bit) = self.bit(fresh);
                *word &= !bit;
            }
            self.newest = number;
        }
        let (word, bit) = self.bit(number);
        let first = *word & bit == 0;
        *word |= bit;
        first
    }
}

/// Keys, this sentinel's own count, and what was heard of others.
#[derive(Clone, Debug, Default)]
pub struct Signing {
    /// The key that signs and is accepted.
    pub key: Option<String>,
    /// Another one that is accepted, while keys are changed.
    pub other: Option<String>,
    /// How often this sentinel was started.
    pub life: u64,
    number: u64,
    senders: BTreeMap<String, Window>,
}

impl Signing {
    /// With what an earlier run saved.
    #[must_use]
    pub fn new(key: Option<String>, other: Option<String>, life: u64, seen: &[Seen]) -> Signing {
        let window = |seen: &Seen| (seen.id.clone(), Window::new(seen.life, seen.number));
        Signing { key, other, life, number: 0, senders: seen.iter().map(window).collect() }
    }

    /// Hellos are signed, and must be.
    #[must_use]
    pub const fn on(&self) -> bool {
        self.key.is_some()
    }

    /// What is to be saved.
    #[must_use]
    pub fn seen(&self) -> Vec<Seen> {
        let seen = |(id, w): (&String, &Window)| Seen { id: id.clone(), life: w.life, number: w.newest };
        self.senders.iter().map(seen).collect()
    }

    /// The hello as it leaves: signed if there is a key.
    pub fn seal(&mut self, hello: String) -> String {
        let Some(key) = &self.key else { return hello };
        self.number += 1;
        let text = format!("{hello},{MARK}{}.{}", self.life, self.number);
        let mut sum = String::new();
        for byte in mac(key, &text).finalize().into_bytes() {
            // Writing to a string doesn't fail.
            let _ = write!(sum, "{byte:02x}");
        }
        format!("{text}.{sum}")
    }

    /// Checks the stamp of a hello of that sender.
    ///
    /// # Errors
    /// Why the hello isn't to be taken.
    pub fn open(&mut self, text: &str, id: &str) -> Result<(), Fault> {
        let Some((_, stamp)) = split(text) else { return Err(Fault::Unsigned) };
        let signed = &text[..text.len() - stamp.sum.len() - 1];
        let sum = bytes(stamp.sum).ok_or(Fault::WrongKey)?;
        let mut keys = self.key.iter().chain(&self.other);
        if !keys.any(|key| mac(key, signed).verify_slice(&sum).is_ok()) {
            return Err(Fault::WrongKey);
        }
        if !self.senders.contains_key(id) && self.senders.len() >= MAX_SENDERS {
            return Err(Fault::Replayed);
        }
        let window = self.senders.entry(id.to_owned()).or_insert_with(|| Window::new(stamp.life, 0));
        if window.take(stamp.life, stamp.number) { Ok(()) } else { Err(Fault::Replayed) }
    }
}

struct Stamp<'a> {
    life: u64,
    number: u64,
    sum: &'a str,
}

/// The eight fields, and the ninth if it is a stamp.
fn split(text: &str) -> Option<(&str, Stamp<'_>)> {
    let (hello, stamp) = text.rsplit_once(',')?;
    let mut parts = stamp.strip_prefix(MARK)?.split('.');
    let (life, number, sum) = (parts.next()?.parse().ok()?, parts.next()?.parse().ok()?, parts.next()?);
    parts.next().is_none().then_some((hello, Stamp { life, number, sum }))
}

/// A hello without its stamp, if it has one: who has no key reads everybody's.
#[must_use]
pub fn without_stamp(text: &str) -> &str {
    split(text).map_or(text, |(hello, _)| hello)
}

fn mac(key: &str, text: &str) -> Hmac<Sha256> {
    let mut mac = Hmac::<Sha256>::new_from_slice(key.as_bytes()).expect("HMAC takes keys of any length");
    mac.update(text.as_bytes());
    mac
}

fn bytes(hex: &str) -> Option<Vec<u8>> {
    let digit = |b: u8| char::from(b).to_digit(16).map(|d| d as u8);
    let pairs = hex.as_bytes().chunks(2);
    pairs.map(|pair| Some(digit(pair[0])? << 4 | digit(*pair.get(1)?)?)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const HELLO: &str = "127.0.0.1,26379,aa,3,mymaster,127.0.0.1,6380,3";

    fn signing(key: &str) -> Signing {
        Signing::new(Some(key.into()), None, 1, &[])
    }

    #[test]
    fn a_signed_hello_is_taken_once_and_an_altered_one_never() {
        let (mut a, mut b) = (signing("sixteen letters!"), signing("sixteen letters!"));
        let text = a.seal(HELLO.into());
        assert_eq!((without_stamp(&text), text.split(',').count()), (HELLO, 9));
        assert_eq!(b.open(&text.replace("6380", "6381"), "aa"), Err(Fault::WrongKey));
        assert_eq!(b.open(&text.replace("k1.1.1.", "k1.1.2."), "aa"), Err(Fault::WrongKey));
        assert_eq!(b.open(&text[..text.len() - 1], "aa"), Err(Fault::WrongKey));
        assert_eq!(b.open(HELLO, "aa"), Err(Fault::Unsigned));
        assert_eq!(b.open(&text, "aa"), Ok(()));
        assert_eq!(b.open(&text, "aa"), Err(Fault::Replayed));
        // What was saved holds behind a restart.
        let mut later = Signing::new(b.key.clone(), None, 2, &b.seen());
        assert_eq!(later.open(&text, "aa"), Err(Fault::Replayed));
        assert_eq!(later.open(&a.seal(HELLO.into()), "aa"), Ok(()));
    }

    #[test]
    fn two_keys_are_accepted_and_one_signs() {
        let (mut old, mut new) = (signing("the old key of all"), signing("the new key of all"));
        let mut between = Signing::new(new.key.clone(), old.key.clone(), 1, &[]);
        assert_eq!(between.open(&old.seal(HELLO.into()), "aa"), Ok(()));
        assert_eq!(between.open(&new.seal(HELLO.into()), "bb"), Ok(()));
        assert_eq!(new.open(&between.seal(HELLO.into()), "cc"), Ok(()));
        assert_eq!(old.open(&between.seal(HELLO.into()), "cc"), Err(Fault::WrongKey));
    }

    /// The window against the plain rule, in every order near its edges.
    #[test]
    fn each_number_is_taken_once_in_whatever_order() {
        let mut window = Window::new(1, 0);
        let mut heard = std::collections::BTreeSet::new();
        let mut newest = 0_u64;
        let mut dice = crate::types::Rng::new(1);
        for _ in 0..20_000 {
            let number = newest.max(1).saturating_add(dice.between(0, 60)).saturating_sub(dice.between(0, WINDOW + 80));
            let expected = number > 0 && number + WINDOW > newest.max(number) && heard.insert(number);
            assert_eq!(window.take(1, number), expected, "{number} behind {newest}");
            newest = newest.max(number);
        }
        assert!(window.take(2, 1) && !window.take(1, newest + 1) && !window.take(2, 1));
    }

    #[test]
    fn the_sum_is_hmac_sha256() {
        // RFC 4231, case 2.
        let sum = mac("Jefe", "what do ya want for nothing?").finalize().into_bytes();
        assert_eq!(sum[..4], [0x5b, 0xdc, 0xc1, 0x46]);
    }
}
