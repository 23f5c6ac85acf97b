//! RESP, commands and replies: in pieces the same comes out as from the whole.

use super::{Target, hold, pieces};
use keystead_resp::{Args, Decoded, Decoder, Limits, ReplyDecoder, ReplyLimits, split_args};

pub const TARGET: Target = Target {
    name: "resp",
    words: &[
        "\r\n",
        "*1\r\n",
        "$3\r\n",
        "*-1\r\n",
        "$-1\r\n",
        "*0\r\n",
        "%1\r\n",
        "~2\r\n",
        ">2\r\n",
        ",1.5\r\n",
        "#t\r\n",
        "(123\r\n",
        "_\r\n",
        "=7\r\ntxt:abc\r\n",
        "|1\r\n",
        "$?\r\n",
        "+OK\r\n",
        "-ERR x\r\n",
        ":1\r\n",
        "\"",
        "'",
        "\\x00",
        "PING",
        "GET / HTTP/1.1\r\n",
        "\0",
    ],
    run,
};

fn run(input: &[u8]) -> Result<(), String> {
    let whole = commands([input].into_iter());
    let parts = commands(pieces(input));
    hold(whole == parts, || format!("whole {whole:?}, in pieces {parts:?}"))?;
    let _ = split_args(input);
    let whole = replies([input].into_iter());
    let parts = replies(pieces(input));
    hold(whole == parts, || format!("whole {whole:?}, in pieces {parts:?}"))
}

/// The words of all commands, and the error that ended it.
fn commands<'a>(pieces: impl Iterator<Item = &'a [u8]>) -> Vec<String> {
    let (mut found, mut buf, mut decoder) = (Vec::new(), Vec::new(), Decoder::new());
    for piece in pieces {
        buf.extend_from_slice(piece);
        loop {
            let show =
                |args: Args<'_>| format!("{:?}", args.iter().map(|a| a.escape_ascii().to_string()).collect::<Vec<_>>());
            let consumed = match decoder.decode(&buf, &Limits::default()) {
                Err(error) => {
                    found.push(error.to_string());
                    return found;
                }
                Ok(Decoded::Need(_)) => break,
                Ok(Decoded::Skip(consumed)) => consumed,
                Ok(Decoded::Command { consumed, args, .. }) => {
                    found.push(show(Args::new(&buf, &args)));
                    consumed
                }
                Ok(Decoded::Inline { consumed, args }) => {
                    found.push(show(args.view()));
                    consumed
                }
            };
            buf.drain(..consumed);
            if consumed == 0 || buf.is_empty() {
                break;
            }
        }
    }
    found
}

fn replies<'a>(pieces: impl Iterator<Item = &'a [u8]>) -> Vec<String> {
    let (mut found, mut buf) = (Vec::new(), Vec::new());
    let mut decoder = ReplyDecoder::new(ReplyLimits::default());
    for piece in pieces {
        buf.extend_from_slice(piece);
        loop {
            match decoder.decode(&buf) {
                Err(error) => {
                    found.push(error.to_string());
                    return found;
                }
                Ok(None) => break,
                Ok(Some((consumed, reply))) => {
                    found.push(format!("{reply:?}"));
                    buf.drain(..consumed);
                }
            }
        }
    }
    found
}
