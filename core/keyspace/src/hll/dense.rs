//! Dense registers: six bits each, the lowest first. Owns the bit places; every index is below `REGISTERS`.

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
