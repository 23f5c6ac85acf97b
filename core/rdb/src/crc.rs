//! The CRC-64 (Jones) that ends files and DUMP payloads.

use crc_fast::{CrcAlgorithm, Digest};

/// A checksum over bytes that come in pieces.
#[derive(Clone)]
pub struct Crc64(Digest);

impl Crc64 {
    /// The checksum of nothing.
    pub fn new() -> Self {
        Self(Digest::new(CrcAlgorithm::Crc64Redis))
    }

    /// Goes on over `bytes`.
    pub fn update(&mut self, bytes: &[u8]) {
        self.0.update(bytes);
    }

    /// The checksum so far.
    pub fn value(&self) -> u64 {
        self.0.finalize()
    }
}

impl Default for Crc64 {
    fn default() -> Self {
        Self::new()
    }
}

impl std::fmt::Debug for Crc64 {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Crc64({:016x})", self.value())
    }
}

/// The checksum of `bytes`.
pub fn crc64(bytes: &[u8]) -> u64 {
    crc_fast::checksum(CrcAlgorithm::Crc64Redis, bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// One bit at a time, as the polynomial says.
    fn naive(bytes: &[u8]) -> u64 {
        const REFLECTED: u64 = 0x95ac_9329_ac4b_c9b5;
        bytes.iter().fold(0, |crc, byte| {
            (0..8).fold(crc ^ u64::from(*byte), |crc: u64, _| crc >> 1 ^ if crc & 1 == 1 { REFLECTED } else { 0 })
        })
    }

    #[test]
    fn the_check_value_of_redis() {
        assert_eq!(crc64(b"123456789"), 0xe9c6_d914_c4b8_d9ca);
        assert_eq!(crc64(b""), 0);
    }

    proptest::proptest! {
        #[test]
        fn pieces_and_naive_twin_agree(bytes: Vec<u8>, cut in 0usize..500) {
            let cut = cut.min(bytes.len());
            let mut crc = Crc64::new();
            crc.update(&bytes[..cut]);
            crc.update(&bytes[cut..]);
            proptest::prop_assert_eq!(crc.value(), crc64(&bytes));
            proptest::prop_assert_eq!(crc.value(), naive(&bytes));
        }
    }
}
