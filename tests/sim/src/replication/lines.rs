//! Reading what nodes say to each other: units of the stream, and requests in RESP.
//!
//! Owns two small parsers that trust their input: both ends are ours.

/// Where the first whole unit ends.
pub(super) fn unit_end(bytes: &[u8]) -> Option<usize> {
    let line = bytes.iter().position(|b| *b == b'\n')? + 1;
    if bytes.first() != Some(&b'M') {
        return Some(line);
    }
    bytes.windows(2).position(|w| w == b"E\n").map(|at| at + 2)
}

/// Takes a request off the front: its words, or none for an empty line.
pub(super) fn take_command(inbox: &mut Vec<u8>) -> Option<Vec<Vec<u8>>> {
    fn line(buf: &[u8], at: usize) -> Option<(&[u8], usize)> {
        let end = buf.get(at..)?.iter().position(|b| *b == b'\n')? + at;
        Some((buf[at..end].strip_suffix(b"\r").unwrap_or(&buf[at..end]), end + 1))
    }
    fn number(text: &[u8]) -> usize {
        std::str::from_utf8(&text[1..]).ok().and_then(|t| t.parse().ok()).expect("a length")
    }
    let (head, mut pos) = line(inbox, 0)?;
    let mut words = Vec::new();
    if !head.is_empty() {
        for _ in 0..number(head) {
            let (len, next) = line(inbox, pos)?;
            let end = next + number(len);
            words.push(inbox.get(next..end)?.to_vec());
            pos = end + 2;
        }
    }
    if inbox.len() < pos {
        return None;
    }
    inbox.drain(..pos);
    Some(words)
}
