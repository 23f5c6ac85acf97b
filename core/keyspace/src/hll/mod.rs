//! HyperLogLog as Redis keeps it: a string with a header of 16 bytes, then 16,384 registers either dense (6 bits each) or
//! sparse (runs). Owns the format to the byte, so that GET, DUMP and a mixed group of servers agree; a value that clients
//! made up is refused, never trusted. Works on bytes only: it knows no keys and no commands.
//!
//! Header: `HYLL`, the encoding (0 dense, 1 sparse), three zeros, the cached count in 8 bytes, whose highest bit says that
//! it is out of date.

mod dense;
mod estimate;
mod sparse;

/// Bits of the hash that choose a register.
const P: u32 = 14;
/// Registers.
pub const REGISTERS: usize = 1 << P;
/// What is left of the hash to count zeros in.
const Q: u32 = 64 - P;
const HEADER: usize = 16;
const DENSE_LEN: usize = HEADER + REGISTERS * 6 / 8;
const DENSE: u8 = 0;
const SPARSE: u8 = 1;

/// Every register of a HyperLogLog, a byte each.
pub type Registers = [u8; REGISTERS];

/// Why a string is no HyperLogLog.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Bad {
    /// It doesn't look like one.
    Format,
    /// It looks like one, and its runs don't make 16,384 registers.
    Corrupt,
}

/// How the registers are kept.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Encoding {
    /// Six bits each.
    Dense,
    /// Runs.
    Sparse,
}

/// An element, hashed: its register, and how many zeros (and one) it shows there.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Sign {
    register: usize,
    count: u8,
}

impl Sign {
    /// An element's sign.
    pub fn of(element: &[u8]) -> Self {
        let hash = murmur64a(element, 0xadc8_3b19);
        let register = (hash & (REGISTERS as u64 - 1)) as usize;
        let rest = (hash >> P) | 1 << Q;
        Sign { register, count: rest.trailing_zeros() as u8 + 1 }
    }
}

/// An empty one, that is about to be filled: its count is out of date.
pub fn empty() -> Vec<u8> {
    let mut bytes = b"HYLL".to_vec();
    bytes.resize(HEADER, 0);
    bytes[4] = SPARSE;
    forget_count(&mut bytes);
    sparse::put_zeros(&mut bytes, REGISTERS);
    bytes
}

/// Looks at the header; the runs of a sparse one are not looked at yet.
pub fn encoding(bytes: &[u8]) -> Result<Encoding, Bad> {
    match bytes.get(4) {
        _ if bytes.len() < HEADER || !bytes.starts_with(b"HYLL") => Err(Bad::Format),
        Some(&SPARSE) => Ok(Encoding::Sparse),
        Some(&DENSE) if bytes.len() == DENSE_LEN => Ok(Encoding::Dense),
        _ => Err(Bad::Format),
    }
}

/// Takes the greater of each register and `into`.
pub fn merge(into: &mut Registers, bytes: &[u8]) -> Result<(), Bad> {
    match encoding(bytes)? {
        Encoding::Dense => dense::merge(into, &bytes[HEADER..]),
        Encoding::Sparse => {
            let mut at = 0;
            for run in sparse::runs(&bytes[HEADER..]) {
                let run = run?;
                let registers = into.get_mut(at..at + run.len).ok_or(Bad::Corrupt)?;
                if run.value > 0 {
                    registers.iter_mut().for_each(|register| *register = (*register).max(run.value));
                }
                at += run.len;
            }
            if at != REGISTERS {
                return Err(Bad::Corrupt);
            }
        }
    }
    Ok(())
}

/// What adding signs comes to.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Addition {
    /// No register rises.
    Nothing,
    /// Some do; [`add`] does it in place and can't fail.
    InPlace,
    /// This is the new value, and so many do.
    Whole(Vec<u8>, usize),
}

/// What adding signs to a value comes to. A sparse value becomes dense behind `max_sparse` bytes. Of a sparse one only what
/// stands in front of the registers in question is looked at, as in Redis; nothing is changed if that is corrupt.
pub fn plan(bytes: &[u8], signs: &[Sign], max_sparse: usize) -> Result<Addition, Bad> {
    if encoding(bytes)? == Encoding::Dense {
        let rises = signs.iter().any(|sign| dense::get(&bytes[HEADER..], sign.register) < sign.count);
        return Ok(if rises { Addition::InPlace } else { Addition::Nothing });
    }
    for sign in signs {
        if sparse::get(bytes, sign.register)? < sign.count {
            let mut copy = bytes.to_vec();
            let raised = add(&mut copy, signs, max_sparse)?;
            return Ok(Addition::Whole(copy, raised));
        }
    }
    Ok(Addition::Nothing)
}

/// Adds signs; answers how many registers rose. The cached count is out of date then.
pub fn add(bytes: &mut Vec<u8>, signs: &[Sign], max_sparse: usize) -> Result<usize, Bad> {
    let mut raised = 0;
    for sign in signs {
        raised += usize::from(raise(bytes, sign.register, sign.count, max_sparse)?);
    }
    if raised > 0 {
        forget_count(bytes);
    }
    Ok(raised)
}

fn raise(bytes: &mut Vec<u8>, register: usize, count: u8, max_sparse: usize) -> Result<bool, Bad> {
    if encoding(bytes)? == Encoding::Sparse {
        match sparse::raise(bytes, register, count, max_sparse)? {
            sparse::Raised::No => return Ok(false),
            sparse::Raised::Yes => return Ok(true),
            sparse::Raised::TooBig => to_dense(bytes)?,
        }
    }
    Ok(dense::raise(&mut bytes[HEADER..], register, count))
}

/// Raises registers to those of `from`, as PFMERGE does; `make_dense` if a source was.
pub fn take_over(bytes: &mut Vec<u8>, from: &Registers, make_dense: bool, max_sparse: usize) -> Result<(), Bad> {
    if make_dense {
        to_dense(bytes)?;
    }
    for (register, &count) in from.iter().enumerate().filter(|(_, count)| **count > 0) {
        if encoding(bytes)? == Encoding::Dense {
            let mut all = *from;
            merge(&mut all, bytes)?;
            dense::write(&mut bytes[HEADER..], &all);
            break;
        }
        raise(bytes, register, count, max_sparse)?;
    }
    forget_count(bytes);
    Ok(())
}

/// Makes a sparse value dense; the cached count stays.
pub fn to_dense(bytes: &mut Vec<u8>) -> Result<(), Bad> {
    if encoding(bytes)? == Encoding::Dense {
        return Ok(());
    }
    let mut registers = [0; REGISTERS];
    merge(&mut registers, bytes)?;
    bytes.truncate(HEADER);
    bytes[4] = DENSE;
    bytes.resize(DENSE_LEN, 0);
    dense::write(&mut bytes[HEADER..], &registers);
    Ok(())
}

/// The runs of a sparse value as PFDEBUG DECODE shows them.
pub fn describe(bytes: &[u8]) -> Result<String, Bad> {
    if encoding(bytes)? == Encoding::Dense {
        return Err(Bad::Format);
    }
    let words: Result<Vec<String>, Bad> = sparse::runs(&bytes[HEADER..]).map(|run| Ok(run?.to_string())).collect();
    Ok(words?.join(" "))
}

/// The count that is kept in the header, if it is up to date.
pub fn cached(bytes: &[u8]) -> Option<u64> {
    let card = u64::from_le_bytes(bytes.get(8..HEADER)?.try_into().ok()?);
    (card >> 63 == 0).then_some(card)
}

/// Keeps a count in the header.
pub fn keep_count(bytes: &mut [u8], count: u64) {
    if let Some(card) = bytes.get_mut(8..HEADER) {
        card.copy_from_slice(&count.to_le_bytes());
    }
}

fn forget_count(bytes: &mut [u8]) {
    if let Some(last) = bytes.get_mut(HEADER - 1) {
        *last |= 0x80;
    }
}

/// How many different elements registers have seen.
pub fn count(registers: &Registers) -> u64 {
    // Most are zero where few elements were seen; and neighbours have tables of their own, since equal ones would each wait for
    // the one before.
    let (mut zeros, mut seen) = (0, [[0; 64]; 8]);
    for eight in registers.as_chunks::<8>().0 {
        if *eight == [0; 8] {
            zeros += 8;
            continue;
        }
        seen.iter_mut().zip(eight).for_each(|(seen, &register)| seen[usize::from(register & 63)] += 1);
    }
    let mut all: estimate::Seen = std::array::from_fn(|value| seen.iter().map(|seen| seen[value]).sum());
    all[0] += zeros;
    estimate::count(&all)
}

/// How many elements a value has seen. Runs of a sparse one are counted as such: its registers are never laid out.
pub fn count_value(bytes: &[u8]) -> Result<u64, Bad> {
    let mut seen = [0; 64];
    match encoding(bytes)? {
        Encoding::Dense => {
            let mut registers = [0; REGISTERS];
            dense::merge(&mut registers, &bytes[HEADER..]);
            return Ok(count(&registers));
        }
        Encoding::Sparse => {
            let mut registers = 0;
            for run in sparse::runs(&bytes[HEADER..]) {
                let run = run?;
                registers += run.len;
                if registers > REGISTERS {
                    break;
                }
                seen[usize::from(run.value & 63)] += run.len as u32;
            }
            if registers != REGISTERS {
                return Err(Bad::Corrupt);
            }
        }
    }
    Ok(estimate::count(&seen))
}

/// MurmurHash64A, little endian.
fn murmur64a(data: &[u8], seed: u64) -> u64 {
    const M: u64 = 0xc6a4_a793_5bd1_e995;
    const R: u32 = 47;
    let mut hash = seed ^ (data.len() as u64).wrapping_mul(M);
    let (words, tail) = data.as_chunks::<8>();
    for word in words {
        let mut k = u64::from_le_bytes(*word).wrapping_mul(M);
        k = (k ^ (k >> R)).wrapping_mul(M);
        hash = (hash ^ k).wrapping_mul(M);
    }
    if !tail.is_empty() {
        let mut last = [0; 8];
        last[..tail.len()].copy_from_slice(tail);
        hash = (hash ^ u64::from_le_bytes(last)).wrapping_mul(M);
    }
    hash = (hash ^ (hash >> R)).wrapping_mul(M);
    hash ^ (hash >> R)
}

#[cfg(test)]
#[path = "tests.rs"]
mod tests;
