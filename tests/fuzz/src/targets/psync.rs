//! What a replica hears from its primary: the handshake's answers, a payload, the stream. Ranges stay inside what was read, and
//! the machine comes to rest on every input; and what a primary hears, PSYNC's arguments.

use super::{Target, hold, pieces};
use keystead_replication::link::{Action, Context, Event, Link, Settings, Target as Primary};
use keystead_replication::psync::Request;
use keystead_replication::units::{Offset, Position, ReplId};
use std::time::Duration;

pub const TARGET: Target = Target {
    name: "psync",
    words: &[
        "+PONG\r\n",
        "+OK\r\n",
        "-NOAUTH\r\n",
        "-ERR unknown command\r\n",
        "+CONTINUE\r\n",
        "+CONTINUE ",
        "+FULLRESYNC ",
        "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa",
        "$EOF:",
        "$0\r\n",
        "$10\r\n",
        "\r\n",
        "\n",
        "-NOMASTERLINK\r\n",
        "-LOADING\r\n",
        "REDIS0010",
        "*1\r\n$4\r\nPING\r\n",
        "*3\r\n$8\r\nREPLCONF\r\n$6\r\nGETACK\r\n$1\r\n*\r\n",
    ],
    run,
};

fn run(input: &[u8]) -> Result<(), String> {
    for line in input.split(|byte| *byte == b'\n') {
        let offset = line.iter().fold(0i64, |sum, byte| sum.wrapping_mul(31).wrapping_add(i64::from(*byte)));
        let (request, _) = Request::parse(line, offset);
        let _ = request.to_string();
    }
    let here = ReplId::parse(&[b'a'; 40]).map(|replid| Position { replid, offset: Offset(100) });
    for here in [None, here] {
        follow(input, here)?;
    }
    Ok(())
}

fn follow(input: &[u8], here: Option<Position>) -> Result<(), String> {
    let settings = Settings::default();
    let ctx = Context { settings: &settings, here, durable: None, has_data: true };
    let mut now = Duration::from_secs(100);
    let mut link = Link::default();
    link.step(now, ctx, Event::Follow(Primary { host: "h".into(), port: 1 }));
    link.step(now, ctx, Event::Connected);
    let mut buf = Vec::new();
    for piece in pieces(input) {
        buf.extend_from_slice(piece);
        let mut rounds = 0;
        loop {
            now += Duration::from_millis(1);
            let outcome = link.step(now, ctx, Event::Bytes(&buf));
            hold(outcome.consumed <= buf.len(), || format!("{} of {} bytes", outcome.consumed, buf.len()))?;
            let (mut gone, mut loaded) = (false, false);
            for action in &outcome.actions {
                match action {
                    Action::Payload(range) | Action::Apply(range) => {
                        let inside = range.start <= range.end && range.end <= buf.len();
                        hold(inside, || format!("{range:?} of {} bytes", buf.len()))?;
                    }
                    Action::FinishLoad { .. } => loaded = true,
                    Action::Disconnect => gone = true,
                    _ => {}
                }
            }
            buf.drain(..outcome.consumed);
            if loaded {
                link.step(now, ctx, Event::Loaded);
            }
            if gone {
                return Ok(());
            }
            rounds += 1;
            hold(rounds < 10_000, || "it doesn't come to rest".to_owned())?;
            if outcome.consumed == 0 && !loaded || buf.is_empty() {
                break;
            }
        }
        let _ = link.deadline(now, &settings);
        let _ = link.status();
    }
    link.step(now, ctx, Event::Tick);
    Ok(())
}
