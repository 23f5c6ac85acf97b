//! Dense registers: six bits each, the lowest first. Owns the bit places; every index is below `REGISTERS`.

use super::Registers;

/// A register.
pub(super) fn get(bytes: &[u8], register: usize) -> u8 {
    let (byte, shift) = (register * 6 / 8, register * 6 % 8);
    let high = bytes.get(byte + 1).copied().unwrap_or(0);
    ((u16::from_le_bytes([bytes[byte], high]) >> shift) & 63) as u8
}

/// Raises a register; false if it was as high already.
pub(super) fn raise(bytes: &mut [u8], register: usize, count: u8) -> bool {
    if get(bytes, register) >= count {
        return false;
    }
    let (byte, shift) = (register * 6 / 8, register * 6 % 8);
    let high = bytes.get(byte + 1).copied().unwrap_or(0);
    let word = u16::from_le_bytes([bytes[byte], high]) & !(63 << shift) | u16::from(count) << shift;
    let [low, high] = word.to_le_bytes();
    bytes[byte] = low;
    if let Some(next) = bytes.get_mut(byte + 1) {
        *next = high;
    }
    true
}

/// Takes the greater of each register and `into`: four of them are three bytes.
pub(super) fn merge(into: &mut Registers, bytes: &[u8]) {
    for (four, [a, b, c]) in into.as_chunks_mut::<4>().0.iter_mut().zip(bytes.as_chunks::<3>().0) {
        let theirs = [a & 63, a >> 6 | b << 2 & 63, b >> 4 | c << 4 & 63, c >> 2];
        four.iter_mut().zip(theirs).for_each(|(own, their)| *own = (*own).max(their));
    }
}

/// Writes all registers, each below 64.
pub(super) fn write(bytes: &mut [u8], registers: &Registers) {
    for (three, [a, b, c, d]) in bytes.as_chunks_mut::<3>().0.iter_mut().zip(registers.as_chunks::<4>().0) {
        *three = [a | b << 6, b >> 2 | c << 4, c >> 4 | d << 2];
    }
}
