//! Commands as RESP bytes, for the few this plugin sends itself.
//!
//! Owns the encoding of a request; everything a client says is decoded by the core.

use std::io::Write;

/// One command as a multibulk request.
pub fn command(argv: &[&[u8]]) -> Vec<u8> {
    let mut out = Vec::with_capacity(16 + argv.iter().map(|a| a.len() + 16).sum::<usize>());
    // Writing into a Vec can't fail.
    let _ = write!(out, "*{}\r\n", argv.len());
    for arg in argv {
        let _ = write!(out, "${}\r\n", arg.len());
        out.extend_from_slice(arg);
        out.extend_from_slice(b"\r\n");
    }
    out
}

#[cfg(test)]
mod tests {
    #[test]
    fn a_command_is_a_multibulk() {
        assert_eq!(super::command(&[b"REPLCONF", b"ACK", b"0"]), b"*3\r\n$8\r\nREPLCONF\r\n$3\r\nACK\r\n$1\r\n0\r\n");
    }
}
