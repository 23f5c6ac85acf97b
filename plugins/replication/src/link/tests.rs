//! The link machine against scripted primaries: what it says, and what it does with what it hears.

use super::guard::ASK_AGAIN;
use super::*;

fn id(c: u8) -> ReplId {
    ReplId::parse(&[c; 40]).expect("forty letters")
}

fn hex(c: char) -> String {
    std::iter::repeat_n(c, 40).collect()
}

/// A link, its surroundings, and what it did as words.
struct Bench {
    link: Link,
    settings: Settings,
    here: Option<Position>,
    durable: Option<Offset>,
    has_data: bool,
    now: Duration,
    inbox: Vec<u8>,
    did: Vec<String>,
    sent: Vec<u8>,
    payload: Vec<u8>,
    applied: Vec<u8>,
    warned: Vec<String>,
    told: Vec<String>,
    began: Option<Vec<ReplId>>,
}

impl Bench {
    fn new() -> Bench {
        let settings = Settings { listening_port: 6380, timeout: Duration::from_secs(10), ..Settings::default() };
        let mut b = Bench {
            link: Link::default(),
            settings,
            here: None,
            durable: None,
            has_data: true,
            now: Duration::from_secs(100),
            inbox: Vec::new(),
            did: Vec::new(),
            sent: Vec::new(),
            payload: Vec::new(),
            applied: Vec::new(),
            warned: Vec::new(),
            told: Vec::new(),
            began: None,
        };
        b.event(Event::Follow(Target { host: "h".into(), port: 1 }));
        b
    }

    fn event(&mut self, event: Event<'_>) {
        let is_bytes = matches!(event, Event::Bytes(_));
        let inbox = self.inbox.clone();
        let event = if is_bytes { Event::Bytes(&inbox) } else { event };
        let out = self.link.step(
            self.now,
            Context { settings: &self.settings, here: self.here, durable: self.durable, has_data: self.has_data },
            event,
        );
        for action in out.actions {
            match action {
                Action::Connect(t) => self.did.push(format!("connect {}:{}", t.host, t.port)),
                Action::Disconnect => self.did.push("disconnect".into()),
                Action::Send(b) => self.sent.extend(b),
                Action::BeginLoad(at) => self.did.push(format!("begin {}", at.map_or(0, |at| at.offset.0))),
                Action::Payload(r) => self.payload.extend(&inbox[r]),
                Action::FinishLoad { trailer, guarded, at } => {
                    self.payload.truncate(self.payload.len() - trailer);
                    self.did.push(format!("finish {} guarded={guarded}", at.map_or(0, |at| at.offset.0)));
                }
                Action::AbortLoad => self.did.push("abort".into()),
                Action::Resume(id) => self.did.push(format!("resume {}", id.map_or("same", |_| "new"))),
                Action::Apply(r) => self.applied.extend(&inbox[r]),
                Action::Upstream(path) => {
                    self.did.push(format!("upstream {}", path.iter().map(|id| &id[..1]).collect::<String>()))
                }
                Action::Began(names) => self.began = names,
                Action::AskToTakeOver => self.did.push("ask to take over".into()),
                Action::HandedOver(answer) => self.did.push(format!("handed over: {answer:?}")),
                Action::Log(log::Level::Warn, text) => self.warned.push(text),
                Action::Log(log::Level::Info, text) => self.told.push(text),
                Action::Log(..) => {}
            }
        }
        self.inbox.drain(..out.consumed);
    }

    fn hear(&mut self, bytes: &[u8]) -> &mut Bench {
        self.inbox.extend(bytes);
        self.event(Event::Bytes(&[]));
        self
    }

    fn wait(&mut self, secs: u64) -> &mut Bench {
        self.now += Duration::from_secs(secs);
        self.event(Event::Tick);
        self
    }

    fn said(&mut self) -> String {
        String::from_utf8_lossy(&std::mem::take(&mut self.sent)).replace("\r\n", " ")
    }

    fn done(&mut self) -> Vec<String> {
        std::mem::take(&mut self.did)
    }

    /// Through the handshake, up to PSYNC.
    fn shake(&mut self) -> &mut Bench {
        self.event(Event::Connected);
        self.hear(b"+PONG\r\n+OK\r\n+OK\r\n");
        self
    }

    /// The same with a Keystead primary, which says this of its history; then everything is offered.
    fn told_and_offered(&mut self, word: &str, offset: u64) {
        self.event(Event::Connected);
        self.hear(format!("+PONG\r\n+OK\r\n+OK keystead-path {} {word}\r\n", hex('9')).as_bytes());
        self.done();
        self.hear(format!("+FULLRESYNC {} {offset}\r\n", hex('b')).as_bytes());
    }

    /// Connected anew, asked, and answered with everything.
    fn answered_full(&mut self, c: char, offset: u64) {
        self.wait(ASK_AGAIN.as_secs());
        self.shake();
        self.done();
        self.hear(format!("+FULLRESYNC {} {offset}\r\n", hex(c)).as_bytes());
    }

    /// A full sync at offset 7 of history `c`, whose payload is "rdb".
    fn synced(&mut self, c: char) -> &mut Bench {
        self.shake();
        self.hear(format!("+FULLRESYNC {} 7\r\n$3\r\nrdb", hex(c)).as_bytes());
        self.here = Some(Position { replid: id(c as u8), offset: Offset(7) });
        self.event(Event::Loaded);
        self
    }
}

#[test]
fn handshake_word_for_word() {
    let mut b = Bench::new();
    b.settings.auth_password = Some(b"pw".to_vec());
    assert_eq!(b.done(), ["connect h:1"]);
    b.event(Event::Connected);
    assert_eq!(b.said(), "*1 $4 PING ");
    b.hear(b"-NOAUTH Authentication required.\r\n");
    assert_eq!(
        b.said(),
        "*2 $4 AUTH $2 pw *3 $8 REPLCONF $14 listening-port $4 6380 \
         *7 $8 REPLCONF $4 capa $3 eof $4 capa $6 psync2 $4 capa $14 keystead-rdb12 "
    );
    b.hear(b"+OK\r\n+O").hear(b"K\r\n-ERR unknown capa\r\n");
    assert_eq!(b.said(), "*3 $5 PSYNC $1 ? $2 -1 ");
}

#[test]
fn full_resync_with_a_length_then_the_stream() {
    let mut b = Bench::new();
    b.shake();
    b.said();
    b.done();
    b.hear(b"\n\n").hear(format!("+FULLRESYNC {} 7\r\n", hex('a')).as_bytes());
    b.hear(b"\n").hear(b"$5\r").hear(b"\nrd").hear(b"b12*1\r\n");
    assert_eq!(b.done(), ["begin 7", "finish 7 guarded=false"]);
    assert_eq!(b.payload, b"rdb12");
    assert_eq!(b.inbox, b"*1\r\n", "the stream waits until the payload is loaded");
    b.wait(1);
    assert_eq!(b.said(), "\n", "a sign of life while loading");
    b.here = Some(Position { replid: id(b'a'), offset: Offset(7) });
    b.event(Event::Loaded);
    assert_eq!(b.said(), "*3 $8 REPLCONF $3 ACK $1 7 ");
    b.hear(b"");
    assert_eq!(b.applied, b"*1\r\n");
    assert!(b.link.up());
}

#[test]
fn full_resync_with_a_mark() {
    let mut b = Bench::new();
    b.shake();
    b.hear(format!("+FULLRESYNC {} 7\r\n$EOF:{}\r\nrdb", hex('a'), hex('z')).as_bytes());
    b.hear(hex('z').as_bytes());
    assert_eq!(b.payload, b"rdb");
    assert_eq!(b.done().last().map(String::as_str), Some("finish 7 guarded=false"));
}

#[test]
fn an_acknowledgement_each_second_and_on_getack() {
    let mut b = Bench::new();
    b.synced('a');
    b.said();
    b.here = Some(Position { replid: id(b'a'), offset: Offset(50) });
    b.wait(1);
    assert_eq!(b.said(), "*3 $8 REPLCONF $3 ACK $2 50 ");
    b.wait(0);
    assert_eq!(b.said(), "", "not more often");
    b.event(Event::AckAsked(Offset(44)));
    assert_eq!(b.said(), "*3 $8 REPLCONF $3 ACK $2 44 ");
    b.durable = Some(Offset(40));
    b.event(Event::AckAsked(Offset(44)));
    assert_eq!(b.said(), "*5 $8 REPLCONF $3 ACK $2 44 $4 FACK $2 40 ");
}

#[test]
fn a_lost_stream_is_asked_for_at_once_from_the_next_byte() {
    let mut b = Bench::new();
    b.synced('a');
    b.here = Some(Position { replid: id(b'a'), offset: Offset(50) });
    b.done();
    b.event(Event::Failed("closed".into()));
    assert_eq!(b.done(), ["disconnect", "connect h:1"]);
    assert_eq!(b.link.status().down_since, Some(b.now));
    b.said();
    b.shake();
    assert!(b.said().ends_with(&format!("*3 $5 PSYNC $40 {} $2 51 ", hex('a'))));
    b.hear(format!("+CONTINUE {}\r\n*1\r\n", hex('b')).as_bytes());
    assert_eq!(b.done(), ["resume new"]);
    assert_eq!(b.applied, b"*1\r\n");
    assert_eq!(b.link.status().down_since, None);
}

#[test]
fn an_old_primary_continues_without_an_id() {
    let mut b = Bench::new();
    b.here = Some(Position { replid: id(b'a'), offset: Offset(5) });
    b.shake();
    b.hear(b"+CONTINUE\r\n");
    assert_eq!(b.done().last().map(String::as_str), Some("resume same"));
    assert!(b.link.up());
}

#[test]
fn transient_refusals_are_tried_again() {
    for line in ["-NOMASTERLINK Can't SYNC while not connected with my master\r\n", "-LOADING\r\n", "-ERR what\r\n"] {
        let mut b = Bench::new();
        b.shake();
        b.done();
        b.hear(line.as_bytes());
        assert_eq!(b.done(), ["disconnect"]);
        assert_eq!(b.link.status().phase, Phase::Connect);
        b.wait(1);
        assert_eq!(b.done(), ["connect h:1"]);
    }
}

#[test]
fn nonsense_ends_the_connection_and_nothing_else() {
    let after_psync: [&[u8]; 6] =
        [b"+FULLRESYNC x 7\r\n", b"+FULLRESYNC \r\n", b"+CONTINUE\r\n", b":1\r\n", b"\x00\xff\n", &[b'x'; MAX_LINE]];
    for line in after_psync {
        let mut b = Bench::new();
        b.shake();
        b.done();
        b.hear(line);
        assert_eq!(b.done(), ["disconnect"], "{:?}", String::from_utf8_lossy(&line[..line.len().min(20)]));
    }
    for line in ["$-3\r\n", "$EOF:short\r\n", "-ERR no\r\n", "hello\r\n"] {
        let mut b = Bench::new();
        b.shake();
        b.done();
        b.hear(format!("+FULLRESYNC {} 7\r\n{line}", hex('a')).as_bytes());
        assert_eq!(b.done(), ["begin 7", "abort", "disconnect"], "{line:?}");
    }
}

/// A primary that has sent everything closes the link of one that it doesn't hear, and a slow line holds megabytes.
#[test]
fn who_receives_gives_a_sign_each_second() {
    let mut b = Bench::new();
    b.shake().hear(format!("+FULLRESYNC {} 7\r\n$9\r\n", hex('a')).as_bytes());
    b.said();
    for (secs, sign) in [(0, ""), (1, "\n"), (0, ""), (3, "\n"), (1, "\n")] {
        assert_eq!(b.wait(secs).hear(b"r").said(), sign);
    }
    assert_eq!(b.wait(9).said(), "", "nothing comes");
}

#[test]
fn silence_ends_every_state_but_loading() {
    let scripts: [&[&str]; 5] = [&[], &["C"], &["C", "P"], &["C", "P", "F"], &["C", "P", "F", "$9\r\nrd"]];
    for script in scripts {
        let mut b = Bench::new();
        for part in script {
            match *part {
                "C" => b.event(Event::Connected),
                "P" => {
                    b.hear(b"+PONG\r\n+OK\r\n+OK\r\n");
                }
                "F" => {
                    b.hear(format!("+FULLRESYNC {} 7\r\n", hex('a')).as_bytes());
                }
                bytes => {
                    b.hear(bytes.as_bytes());
                }
            }
        }
        b.done();
        b.wait(10);
        assert_eq!(b.done(), Vec::<String>::new(), "{script:?}: not yet");
        b.wait(1);
        assert!(b.done().contains(&"disconnect".into()), "{script:?}");
    }
    let mut b = Bench::new();
    b.synced('a');
    b.done();
    b.wait(11);
    assert_eq!(b.done(), ["disconnect", "connect h:1"]);
}

#[test]
fn a_primary_that_comes_back_empty_is_not_taken() {
    let mut b = Bench::new();
    b.synced('a');
    b.event(Event::Failed("gone".into()));
    b.done();
    b.shake();
    b.hear(format!("+FULLRESYNC {} 8\r\n$3\r\nrdb", hex('b')).as_bytes());
    assert_eq!(b.done(), ["begin 8", "finish 8 guarded=true"]);
    b.event(Event::CameBackEmpty);
    assert_eq!(b.done(), ["abort", "disconnect"]);
    assert!(b.link.status().kept_data);
    b.answered_full('b', 9);
    assert_eq!(b.done(), ["disconnect"], "nor when it has got its first keys since");
    b.answered_full('c', 900);
    assert_eq!(b.done(), ["disconnect"], "nor under another name, however much it has by then");
    b.event(Event::Follow(Target { host: "h".into(), port: 1 }));
    b.shake();
    b.done();
    b.hear(format!("+FULLRESYNC {} 0\r\n$3\r\nrdb", hex('b')).as_bytes());
    assert_eq!(b.done(), ["begin 0", "finish 0 guarded=false"], "an explicit REPLICAOF takes it");
}

/// Its clients are back before its replicas are: it has keys again, but not what it had. Only its word that it began with
/// nothing counts: offsets say little, for a stock primary begins at 0 with all of its append-only file.
#[test]
fn a_primary_that_began_with_nothing_is_not_taken_whatever_it_has_by_now() {
    let anew = |names: &[char]| {
        let names: Vec<String> = names.iter().map(|name| hex(*name)).collect();
        format!("keystead-anew:{}", names.join(","))
    };
    for (word, offset, taken) in [
        (anew(&['b']), 0, false),
        (anew(&['b']), 7, false),
        (anew(&['c', 'b']), 5000, false),
        (anew(&['a', 'b']), 0, true),
        (format!("keystead-from:{} {}", hex('a'), anew(&['b'])), 3, true),
        (format!("keystead-from:{}", hex('c')), 3, true),
        (String::new(), 0, true),
    ] {
        let mut b = Bench::new();
        b.synced('a');
        b.event(Event::Failed("gone".into()));
        b.told_and_offered(&word, offset);
        let begun = if taken { vec![format!("begin {offset}")] } else { vec!["disconnect".into()] };
        assert_eq!(b.done(), begun, "{word} at {offset}");
        assert_eq!(b.link.status().kept_data, !taken);
        if taken {
            continue;
        }
        assert!(b.warned.iter().any(|line| line.contains("without its data")));
        b.wait(ASK_AGAIN.as_secs());
        b.shake();
        b.done();
        b.hear(b"+CONTINUE\r\n");
        assert!(b.link.up() && !b.link.status().kept_data, "{word}: it has our history back");
    }
}

#[test]
fn who_has_nothing_to_lose_or_is_told_to_takes_less() {
    let lists: [fn(&mut Bench); 3] = [
        |b| b.has_data = false,
        |b| b.settings.keep_data = false,
        |b| b.event(Event::Follow(Target { host: "h".into(), port: 1 })),
    ];
    for prepare in lists {
        let mut b = Bench::new();
        b.synced('a');
        b.event(Event::Failed("gone".into()));
        prepare(&mut b);
        b.answered_full('b', 0);
        assert_eq!(b.done(), ["begin 0"]);
    }
}

/// Both fell, the primary lost its disk: what the replica recovered from its own is not thrown away.
#[test]
fn a_replica_that_was_restarted_too_keeps_its_data() {
    let mut b = Bench::new();
    b.here = Some(Position { replid: id(b'a'), offset: Offset(900) });
    b.event(Event::FollowedBefore(None));
    b.told_and_offered(&format!("keystead-anew:{}", hex('b')), 5);
    assert_eq!(b.done(), ["disconnect"]);
}

/// A node that follows one that began with nothing has no older data either: its own replicas must hear that from it.
#[test]
fn how_the_primary_began_is_told_with_its_stream() {
    let mut b = Bench::new();
    b.told_and_offered(&format!("keystead-anew:{}", hex('b')), 5);
    assert_eq!(b.began, None, "none of it is here yet");
    b.here = Some(Position { replid: id(b'b'), offset: Offset(5) });
    b.hear(b"$3\r\nrdb").event(Event::Loaded);
    assert_eq!((b.began.take(), b.link.memory().history), (Some(vec![id(b'b')]), Some(id(b'b'))));
    b.event(Event::Failed("gone".into()));
    b.shake();
    b.hear(format!("+CONTINUE {}\r\n", hex('c')).as_bytes());
    assert_eq!((b.began.take(), b.link.memory().history), (None, Some(id(b'c'))), "it says no more so");
}

/// Only of the same history can be said how much of it goes.
#[test]
fn what_is_dropped_is_told_where_it_is_known() {
    for (from, told) in [('a', true), ('c', false)] {
        let mut b = Bench::new();
        b.synced('a');
        b.event(Event::Failed("gone".into()));
        b.told_and_offered(&format!("keystead-from:{}", hex(from)), 3);
        assert_eq!(b.done(), ["begin 3"]);
        assert_eq!(b.warned.iter().any(|line| line.contains("4 bytes of the stream")), told, "{:?}", b.warned);
    }
}

/// What was refused before a restart is refused behind it, however much it has by then.
#[test]
fn a_refusal_outlives_a_restart() {
    let mut b = Bench::new();
    b.here = Some(Position { replid: id(b'a'), offset: Offset(900) });
    b.event(Event::FollowedBefore(Some(id(b'b'))));
    assert!(b.link.status().kept_data);
    assert_eq!(b.link.memory(), Memory { followed: true, refused: Some(id(b'b')), history: None });
    b.answered_full('b', 5000);
    assert_eq!(b.done(), ["disconnect"]);
}

/// A full sync that isn't taken costs the primary a cut: it is asked for one seldom, and not at all if it says before that
/// it has nothing else.
#[test]
fn who_was_refused_is_asked_seldom() {
    let (anew, from) = (format!("keystead-anew:{}", hex('b')), format!("keystead-from:{}", hex('a')));
    for (word, has_data, asked) in [
        (anew.clone(), true, false),
        (format!("{from} {anew}"), true, true),
        (format!("keystead-anew:{},{}", hex('a'), hex('b')), true, true),
        (String::new(), true, true),
        (anew.clone(), false, true),
    ] {
        let mut b = Bench::new();
        b.here = Some(Position { replid: id(b'a'), offset: Offset(900) });
        b.has_data = has_data;
        b.event(Event::FollowedBefore(Some(id(b'b'))));
        b.event(Event::Connected);
        assert!(b.link.awaits_verdict(), "whether there is something to lose counts already");
        b.hear(format!("+PONG\r\n+OK\r\n+OK keystead-path {} {word}\r\n", hex('9')).as_bytes());
        assert_eq!(b.said().contains("PSYNC"), asked, "{word} {has_data}");
        if word.is_empty() {
            b.hear(format!("+FULLRESYNC {} 0\r\n", hex('c')).as_bytes());
        }
        if !asked || word.is_empty() {
            assert!(b.link.status().kept_data && b.done().contains(&"disconnect".into()));
            b.wait(ASK_AGAIN.as_secs() - 1);
            assert_eq!(b.done(), Vec::<String>::new());
            b.wait(1);
            assert_eq!(b.done(), ["connect h:1"]);
        }
    }
}

#[test]
fn an_offset_beyond_what_streams_can_have_is_refused() {
    for offset in ["9223372036854775808", "18446744073709551610", "18446744073709551615", "-1"] {
        let mut b = Bench::new();
        b.shake();
        b.done();
        b.hear(format!("+FULLRESYNC {} {offset}\r\n", hex('a')).as_bytes());
        assert_eq!(b.done(), ["disconnect"], "{offset}");
    }
}

#[test]
fn the_same_history_is_never_guarded() {
    let mut b = Bench::new();
    b.synced('a');
    b.event(Event::Failed("gone".into()));
    b.shake();
    b.done();
    b.hear(format!("+FULLRESYNC {} 900\r\n$3\r\nrdb", hex('a')).as_bytes());
    assert_eq!(b.done(), ["begin 900", "finish 900 guarded=false"]);
}

#[test]
fn following_another_drops_what_was_half_received() {
    let mut b = Bench::new();
    b.shake();
    b.hear(format!("+FULLRESYNC {} 7\r\n$9\r\nrd", hex('a')).as_bytes());
    b.done();
    b.event(Event::Follow(Target { host: "g".into(), port: 2 }));
    assert_eq!(b.done(), ["abort", "disconnect", "connect g:2"]);
    b.event(Event::Unfollow);
    assert_eq!(b.done(), ["disconnect"]);
    assert_eq!(b.link.status().phase, Phase::None);
}

#[test]
fn a_handover_is_asked_with_psync_once() {
    for (answer, want) in [
        (format!("+CONTINUE {}\r\n", hex('d')), vec!["ask to take over", "handed over: Ok(())", "resume new"]),
        (
            "-NOMASTERLINK busy\r\n".into(),
            vec!["ask to take over", "handed over: Err(\"-NOMASTERLINK busy\")", "disconnect"],
        ),
    ] {
        let mut b = Bench::new();
        b.here = Some(Position { replid: id(b'c'), offset: Offset(41) });
        b.event(Event::HandOver(Target { host: "r".into(), port: 2 }));
        b.done();
        b.shake();
        assert!(b.said().ends_with(&format!("*4 $5 PSYNC $40 {} $2 42 $8 FAILOVER ", hex('c'))));
        b.hear(answer.as_bytes());
        assert_eq!(b.done(), want);
        b.said();
        b.event(Event::Failed("gone".into()));
        b.wait(2).shake();
        assert!(!b.said().contains("FAILOVER"), "a later PSYNC is an ordinary one");
    }
}

/// Its answer was lost: asked again, it says that it is a primary.
#[test]
fn a_target_that_took_over_unheard_is_followed() {
    let refusal = "-ERR PSYNC FAILOVER can't be sent to a master.";
    let refused = format!("handed over: Err({refusal:?})");
    let told = |from: char| format!("+OK keystead-path {} keystead-from:{}", hex('9'), hex(from));
    let took = |from: char| format!("{} keystead-took:{}", told('e'), hex(from));
    for (breaks, capabilities, want) in [
        (true, told('c'), "handed over: Ok(())"),
        // It was started again since.
        (true, took('c'), "handed over: Ok(())"),
        (true, took('d'), refused.as_str()),
        (true, "+OK".into(), "handed over: Ok(())"),
        (true, told('d'), refused.as_str()),
        (false, told('c'), refused.as_str()),
    ] {
        let mut b = Bench::new();
        b.here = Some(Position { replid: id(b'c'), offset: Offset(41) });
        b.event(Event::HandOver(Target { host: "r".into(), port: 2 }));
        if breaks {
            b.shake();
            b.event(Event::Failed("gone".into()));
            b.wait(2);
        }
        b.event(Event::Connected);
        b.hear(format!("+PONG\r\n+OK\r\n{capabilities}\r\n").as_bytes());
        assert!(b.said().ends_with("$8 FAILOVER "));
        b.done();
        b.hear(format!("{refusal}\r\n").as_bytes());
        assert_eq!(b.done()[0], want, "{breaks} {capabilities}");
        assert_eq!(b.said().contains("PSYNC"), want.ends_with("Ok(())"), "the ordinary PSYNC follows at once");
    }
}

#[test]
fn a_target_that_gives_no_answer_is_asked_over_another_connection() {
    let mut b = Bench::new();
    b.here = Some(Position { replid: id(b'c'), offset: Offset(41) });
    b.event(Event::HandOver(Target { host: "r".into(), port: 2 }));
    b.event(Event::AskAgain);
    b.done();
    b.shake();
    b.event(Event::AskAgain);
    assert_eq!(b.done(), ["ask to take over", "disconnect"]);
    b.wait(2).shake();
    assert!(b.said().ends_with("$8 FAILOVER "));
    b.hear(format!("+CONTINUE {}\r\n", hex('d')).as_bytes());
    b.done();
    b.event(Event::AskAgain);
    assert_eq!(b.done(), [""; 0], "it has answered");
}

#[test]
fn a_primary_without_psync_is_asked_by_sync() {
    for (payload, first_ack) in [("$3\r\nrdb".to_string(), ""), (format!("$EOF:{0}\r\nrdb{0}", hex('e')), "REPLCONF")] {
        let mut b = Bench::new();
        b.shake();
        b.said();
        b.done();
        b.hear(b"-ERR unknown command 'PSYNC', with args beginning with: \r\n");
        assert_eq!(b.said(), "SYNC ");
        b.hear(b"\n").hear(payload.as_bytes());
        assert_eq!(b.done(), ["begin 0", "finish 0 guarded=false"]);
        b.here = Some(Position { replid: id(b'f'), offset: Offset(0) });
        b.event(Event::Loaded);
        assert!(b.said().contains(first_ack), "a marked payload's end is acknowledged");
        b.hear(b"*1\r\n");
        assert_eq!(b.applied, b"*1\r\n");
        let more = b.wait(3).said();
        assert_eq!(more.contains("REPLCONF"), !first_ack.is_empty(), "the other wants to hear nothing: {more}");
        b.wait(11);
        assert_eq!(b.done(), ["disconnect", "connect h:1"], "but its silence is noticed");
    }
}

/// A user without the right to PSYNC, say, and without that to SYNC.
#[test]
fn a_primary_that_refuses_both_each_second_is_told_of_seldom() {
    let (psync, sync) = ("NOPERM no 'psync'", "NOPERM no 'sync'");
    let mut b = Bench::new();
    for _ in 0..30 {
        b.shake().hear(format!("-{psync}\r\n-{sync}\r\n").as_bytes());
        b.wait(1);
    }
    let times = |b: &Bench, what: &str| b.told.iter().filter(|line| line.contains(what)).count();
    assert_eq!((times(&b, "Retrying with SYNC"), times(&b, sync)), (1, 1), "{:?}", b.told);
    b.wait(1).shake().hear(format!("-{psync}\r\n-{sync}\r\n").as_bytes());
    assert_eq!((times(&b, "Retrying with SYNC"), times(&b, sync)), (2, 2), "each half a minute");
    b.wait(1).shake().hear(b"-ERR unknown command 'PSYNC'\r\n");
    assert_eq!(times(&b, "Retrying with SYNC"), 3, "it says something else");
}

/// A stock primary closes the link of a replica whose acknowledgement it has to refuse.
#[test]
fn who_may_say_no_replconf_acknowledges_nothing() {
    let mut b = Bench::new();
    let forbidden = |b: &mut Bench| {
        b.event(Event::Connected);
        b.hear(b"+PONG\r\n-NOPERM no 'replconf'\r\n-NOPERM no 'replconf'\r\n");
    };
    forbidden(&mut b);
    assert!(b.said().contains("PSYNC"), "what it may do it does");
    b.hear(format!("+FULLRESYNC {} 7\r\n$3\r\nrdb", hex('a')).as_bytes());
    b.here = Some(Position { replid: id(b'a'), offset: Offset(7) });
    b.event(Event::Loaded);
    b.hear(b"*1\r\n").wait(5);
    b.event(Event::AckAsked(Offset(7)));
    assert!(b.link.up() && b.said().is_empty(), "it says nothing");
    b.event(Event::Failed("the primary closed the connection".into()));
    forbidden(&mut b);
    let told = |b: &Bench| b.warned.iter().filter(|line| line.contains("+psync +replconf +ping")).count();
    assert_eq!(told(&b), 1, "{:?}", b.warned);
    b.event(Event::Failed("the primary closed the connection".into()));
    b.wait(30).shake();
    b.hear(format!("+CONTINUE {}\r\n", hex('a')).as_bytes());
    assert!(b.said().contains("REPLCONF $3 ACK"), "the right was given");
}

#[test]
fn any_other_error_is_no_reason_to_take_everything() {
    for line in ["-ERR max number of clients reached", "-MISCONF no", "-NOMASTERLINK no", "-LOADING no"] {
        let mut b = Bench::new();
        b.shake().said();
        b.hear(format!("{line}\r\n").as_bytes());
        assert_eq!(b.said(), "", "{line}");
        assert!(!b.link.up());
    }
}

#[test]
fn a_loop_is_refused_and_tried_again() {
    let node = |c: char| std::iter::repeat_n(c, 40).collect::<String>();
    let mut b = Bench::new();
    b.settings.node = Some(node('a'));
    b.done();
    b.event(Event::Connected);
    b.hear(format!("+PONG\r\n+OK\r\n+OK keystead-path {} {} {}\r\n", node('b'), node('a'), node('c')).as_bytes());
    assert_eq!(b.done(), ["upstream ba", "disconnect"], "nothing behind ourselves is told on");
    assert!(b.link.status().looped && !b.said().contains("PSYNC"));
    b.wait(1);
    b.event(Event::Connected);
    b.hear(format!("+PONG\r\n+OK\r\n+OK keystead-path {}\r\n", node('b')).as_bytes());
    assert!(b.said().contains("PSYNC"), "the loop is over");
    b.hear(format!("+FULLRESYNC {} 7\r\n$3\r\nrdb", hex('c')).as_bytes());
    b.event(Event::Loaded);
    assert!(!b.link.status().looped);
}

#[test]
fn a_handover_goes_to_one_that_follows_us() {
    let node = |c: char| std::iter::repeat_n(c, 40).collect::<String>();
    let mut b = Bench::new();
    b.settings.node = Some(node('a'));
    b.here = Some(Position { replid: id(b'c'), offset: Offset(7) });
    b.event(Event::HandOver(Target { host: "h".into(), port: 2 }));
    b.event(Event::Connected);
    b.hear(format!("+PONG\r\n+OK\r\n+OK keystead-path {} {}\r\n", node('b'), node('a')).as_bytes());
    assert!(b.said().contains("FAILOVER"));
}

/// A full disk, say: whoever looks into the log must find it, however often it was tried.
#[test]
fn a_load_that_fails_is_a_warning_each_time() {
    let mut b = Bench::new();
    for n in 1..=3 {
        b.shake();
        b.hear(format!("+FULLRESYNC {} 7\r\n$9\r\nrd", hex('a')).as_bytes());
        b.event(Event::LoadFailed("No space left on device".into()));
        assert_eq!(b.warned.len(), n);
        assert!(
            b.warned[n - 1].ends_with("Failed trying to load the MASTER synchronization DB: No space left on device")
        );
        b.wait(2);
    }
}
