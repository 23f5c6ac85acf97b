//! What of the engine's randomness is for what. Owns the way from the bytes that the system gave at the start to each use:
//! SHA-256 over them and the use's name, so that no use can be computed from another, nor from anything that is shown.

use keystead_keyspace::Seeds;
use sha2::{Digest, Sha256};

/// The source of everything random in an engine that someone could gain by guessing.
pub(crate) struct Secrets {
    root: [u64; 4],
    /// How many [`Secrets::fresh`] gave.
    given: u64,
}

impl Secrets {
    pub(crate) fn new(root: [u64; 4]) -> Self {
        Secrets { root, given: 0 }
    }

    fn derive(&self, what: &str, number: u64) -> [u8; 32] {
        let mut hash = Sha256::new();
        self.root.iter().for_each(|word| hash.update(word.to_le_bytes()));
        hash.update(number.to_le_bytes());
        hash.update(what.as_bytes());
        hash.finalize().into()
    }

    fn words(&self, what: &str) -> [u64; 4] {
        let bytes = self.derive(what, 0);
        let (words, _) = bytes.as_chunks::<8>();
        std::array::from_fn(|at| words.get(at).map_or(0, |word| u64::from_le_bytes(*word)))
    }

    /// Bytes nobody was given before: passwords of ACL GENPASS.
    pub(crate) fn fresh(&mut self) -> [u8; 32] {
        self.given += 1;
        self.derive("password", self.given)
    }

    /// A run id, which everybody may see.
    pub(crate) fn run_id(&self) -> String {
        self.derive("run id", 0)[..20].iter().map(|byte| format!("{byte:02x}")).collect()
    }

    /// Where the dice of commands begin (SRANDMEMBER and the like): their numbers are shown and let the next be computed.
    pub(crate) fn dice(&self) -> u64 {
        self.words("dice")[0]
    }

    pub(crate) fn keyspace(&self) -> Seeds {
        let [first, second, ..] = self.words("second hash");
        Seeds { keys: self.words("hash"), second: [first, second], dice: self.words("choice of keys")[0] }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_use_has_what_another_has_and_all_depend_on_every_word() {
        let all = |root| {
            let mut secrets = Secrets::new(root);
            let Seeds { keys, second, dice } = secrets.keyspace();
            let mut all = [&keys[..], &second, &[dice, secrets.dice()]].concat();
            all.extend(u64::from_str_radix(&secrets.run_id()[..16], 16));
            let passwords = [secrets.fresh(), secrets.fresh()];
            all.extend(passwords.iter().map(|it| u64::from_le_bytes(it[..8].try_into().expect("eight bytes"))));
            all
        };
        let mut seen: Vec<u64> =
            [[1, 2, 3, 4], [0, 2, 3, 4], [1, 0, 3, 4], [1, 2, 0, 4], [1, 2, 3, 0]].map(all).concat();
        let count = seen.len();
        seen.extend([1, 2, 3, 4]);
        seen.sort_unstable();
        seen.dedup();
        assert_eq!(seen.len(), count + 4);
    }
}
