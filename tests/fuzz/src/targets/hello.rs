//! Hellos of sentinels, a line each: what is read is told again as the same; a machine that hears them keeps its own, and
//! what it would save never grows past what the lines said.

use super::{Target, hold};
use keystead_sentinel::actions::{Event, Watch};
use keystead_sentinel::hello::Hello;
use keystead_sentinel::machine::{Boot, Sentinel};
use keystead_sentinel::settings::Settings;
use keystead_sentinel::types::{Addr, Mono};

pub const TARGET: Target = Target {
    name: "hello",
    words: &[
        ",",
        "mymaster",
        "127.0.0.1",
        "26379",
        "0",
        "65535",
        "65536",
        "18446744073709551615",
        "::1",
        "localhost",
        "\n",
        "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa",
        "*",
        "\t",
        "\u{e9}",
    ],
    run,
};

fn run(input: &[u8]) -> Result<(), String> {
    let text = String::from_utf8_lossy(input);
    let (mut machine, _) = Sentinel::new(Boot {
        now: Mono(1_000_000),
        id: "b".repeat(40),
        announce: Addr::new("127.0.0.1", 26379),
        announce_fixed: true,
        watches: vec![Watch {
            name: "mymaster".into(),
            addr: Addr::new("127.0.0.1", 6379),
            settings: Settings::new(1),
        }],
        saved: None,
        seed: 1,
        options: Default::default(),
        strategies: Default::default(),
    });
    let mut now = 1_000_000;
    for (ticket, line) in text.lines().enumerate() {
        if let Some(hello) = Hello::parse(line) {
            let again = Hello::parse(&hello.to_string());
            hold(again.as_ref() == Some(&hello), || format!("{line:?} became {again:?}"))?;
        }
        let argv = ["PUBLISH", "__sentinel__:hello", line].map(str::to_owned).to_vec();
        machine.step(Mono(now), Event::Command { ticket: ticket as u64, argv });
        now += 100;
        machine.step(Mono(now), Event::Tick);
    }
    let saved = machine.save();
    hold(saved.monitors.len() == 1, || format!("{} primaries", saved.monitors.len()))?;
    hold(machine.id() == "b".repeat(40), || "another id".to_owned())
}
