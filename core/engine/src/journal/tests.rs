//! Offsets, SELECT, MULTI, cursors, limits: what replicas live on.

use bytes::Bytes;
use keystead_resp::OwnedArgs;

use super::*;

fn set(journal: &mut Journal, db: u32, key: &str) {
    let argv: OwnedArgs = ["SET", key, "v"].iter().collect();
    journal.append(db, Targets::ALL, Origin::Client, argv.view());
}

fn read(journal: &mut Journal, id: CursorId) -> String {
    match journal.read(id, usize::MAX) {
        Read::Data(parts) => String::from_utf8(parts.concat()).expect("text"),
        Read::CaughtUp => String::new(),
        Read::Ended(why) => format!("{why:?}"),
    }
}

const SELECT0: &str = "*2\r\n$6\r\nSELECT\r\n$1\r\n0\r\n";
const SET_A: &str = "*3\r\n$3\r\nSET\r\n$1\r\na\r\n$1\r\nv\r\n";

#[test]
fn nobody_reads_nothing_is_kept() {
    let mut journal = Journal::new();
    for _ in 0..100 {
        set(&mut journal, 0, "a");
    }
    assert_eq!((journal.offset(), journal.memory()), (100, 0));
}

#[test]
fn select_comes_once_per_change_and_after_a_cut() {
    let mut journal = Journal::new();
    let cursor = journal.open_cursor(CursorClass::Replica, None).expect("now");
    set(&mut journal, 0, "a");
    set(&mut journal, 0, "a");
    assert_eq!(read(&mut journal, cursor), format!("{SELECT0}{SET_A}{SET_A}"));
    assert_eq!(journal.offset() as usize, SELECT0.len() + 2 * SET_A.len());
    set(&mut journal, 1, "a");
    assert_eq!(read(&mut journal, cursor), format!("{}{SET_A}", SELECT0.replace("\r\n0\r\n", "\r\n1\r\n")));
    journal.force_select();
    journal.append_control(Targets::REPLICATION, &[b"PING"]);
    set(&mut journal, 1, "a");
    assert!(read(&mut journal, cursor).starts_with("*1\r\n$4\r\nPING\r\n*2\r\n$6\r\nSELECT"));
}

#[test]
fn only_units_of_several_effects_are_wrapped() {
    let mut journal = Journal::new();
    let cursor = journal.open_cursor(CursorClass::Replica, None).expect("now");
    let mut unit = Unit::default();
    let argv = || [&b"SET"[..], b"a", b"v"].into_iter();
    unit.push(0, Targets::ALL, Origin::Client, argv());
    journal.append_unit(&mut unit);
    assert_eq!(read(&mut journal, cursor), format!("{SELECT0}{SET_A}"));
    unit.push(0, Targets::ALL, Origin::Client, argv());
    unit.push(1, Targets::ALL, Origin::Client, argv());
    journal.append_unit(&mut unit);
    let select1 = SELECT0.replace("\r\n0\r\n", "\r\n1\r\n");
    let want = format!("*1\r\n$5\r\nMULTI\r\n{SET_A}{select1}{SET_A}*1\r\n$4\r\nEXEC\r\n");
    assert_eq!(read(&mut journal, cursor), want);
}

#[test]
fn each_class_sees_its_own_records() {
    let mut journal = Journal::new();
    let replica = journal.open_cursor(CursorClass::Replica, None).expect("now");
    let file = journal.open_cursor(CursorClass::Persistence, None).expect("now");
    set(&mut journal, 0, "a");
    let local: OwnedArgs = ["SET", "a", "v"].iter().collect();
    journal.append(0, Targets::LOCAL, Origin::Client, local.view());
    let publish: OwnedArgs = ["PUBLISH", "c", "m"].iter().collect();
    journal.append(0, Targets::REPLICATION, Origin::Client, publish.view());
    let offset = journal.offset();
    let seen = read(&mut journal, replica);
    assert_eq!(seen.matches("SET").count(), 1);
    assert_eq!(seen.matches("PUBLISH").count(), 1);
    assert_eq!(seen.len() as u64, offset);
    let seen = read(&mut journal, file);
    assert_eq!(seen, format!("{SELECT0}{SET_A}{SET_A}"));
}

#[test]
fn the_backlog_keeps_its_size_and_serves_old_offsets() {
    let mut journal = Journal::new();
    journal.set_backlog(Some(16 << 10));
    for _ in 0..10_000 {
        set(&mut journal, 0, "a");
    }
    let (first, kept) = journal.backlog_range();
    assert!((16 << 10..20 << 10).contains(&kept), "{kept}");
    let from = first - 1;
    assert_eq!(journal.open_cursor(CursorClass::Replica, Some(from - 1)), Err(OpenError::TooOld));
    assert_eq!(journal.open_cursor(CursorClass::Replica, Some(journal.offset() + 1)), Err(OpenError::Ahead));
    let cursor = journal.open_cursor(CursorClass::Replica, Some(from)).expect("kept");
    assert_eq!(read(&mut journal, cursor).len() as u64, kept);
    journal.close_cursor(cursor);
    journal.set_backlog(None);
    assert!(journal.memory() < 4096, "only its books are left");
}

#[test]
fn writers_are_paced_for_a_sync_until_it_is_dropped() {
    let mut journal = Journal::new();
    journal.set_limits(JournalLimits { replica_hard: 1000, ..JournalLimits::default() });
    let replica = journal.open_cursor(CursorClass::Replica, None).expect("now");
    let [sync, slow] = [(); 2].map(|()| journal.open_cursor(CursorClass::SyncingReplica, None).expect("now"));
    journal.name_cursor(slow, "the slow one");
    let grow = |journal: &mut Journal, bytes: u64| {
        journal.turn_over();
        let to = journal.offset() + bytes;
        while journal.offset() < to {
            set(journal, 0, "a");
        }
    };
    grow(&mut journal, 900);
    assert!(journal.enforce_limits(1, false).slowest.is_none() && !journal.is_strained());
    grow(&mut journal, 300);
    assert!(journal.is_strained(), "known without a tick");
    let verdict = journal.enforce_limits(1, false);
    assert_eq!(verdict.dropped.len(), 1);
    assert_eq!(journal.read(replica, 10), Read::Ended(Ended::Overrun));
    let first = verdict.slowest.map(|pin| pin.pace()).expect("both pin more than their share");
    assert!(first < 1000 && first > 100, "{first}");
    assert_eq!(read(&mut journal, sync).len() as u64, journal.offset());
    grow(&mut journal, 700);
    let verdict = journal.enforce_limits(2, false);
    let slowest = verdict.slowest.expect("one of them still does");
    assert_eq!((&*slowest.name, slowest.share), ("the slow one", 1000));
    assert!(slowest.pace() < first / 10 && verdict.dropped.is_empty());
    grow(&mut journal, 100);
    let verdict = journal.enforce_limits(3, false);
    assert_eq!(verdict.dropped.iter().map(|pin| &*pin.name).collect::<Vec<_>>(), ["the slow one"]);
    assert_eq!(journal.read(slow, 10), Read::Ended(Ended::Overrun));
    assert!(read(&mut journal, sync).len() >= 800, "the other one has what came meanwhile");
}

fn large(journal: &mut Journal) {
    journal.turn_over();
    let line: OwnedArgs = ["SET", "a", &"v".repeat(3000)].iter().collect();
    journal.append(0, Targets::ALL, Origin::Client, line.view());
}

/// One record may be larger than the limit: whoever comes back for it must get it.
#[test]
fn what_a_replica_lacks_as_it_comes_does_not_count_against_it() {
    let mut journal = Journal::new();
    journal.set_limits(JournalLimits { replica_hard: 1000, replica_soft: 500, ..JournalLimits::default() });
    let grow = |journal: &mut Journal, bytes: u64| {
        journal.turn_over();
        let to = journal.offset() + bytes;
        while journal.offset() < to {
            set(journal, 0, "a");
        }
    };
    journal.set_backlog(Some(1));
    let begin = journal.offset();
    large(&mut journal);
    let partial = journal.open_cursor(CursorClass::Replica, Some(begin)).expect("kept");
    let synced = journal.open_cursor(CursorClass::SyncingReplica, Some(begin)).expect("kept");
    journal.set_cursor_class(synced, CursorClass::Replica);
    let dropped = |journal: &mut Journal, ms| journal.enforce_limits(ms, false).dropped.len();
    assert_eq!((dropped(&mut journal, 1), dropped(&mut journal, 100_000)), (0, 0), "for no time either");
    grow(&mut journal, 900);
    assert_eq!(dropped(&mut journal, 100_001), 0);
    journal.read(partial, usize::MAX);
    grow(&mut journal, 200);
    assert!(journal.is_strained(), "known without a tick");
    let verdict = journal.enforce_limits(100_002, false);
    assert_eq!(verdict.dropped.iter().map(|pin| pin.lag > 4000).collect::<Vec<_>>(), [true], "what came since does");
    assert_eq!(journal.read(synced, 10), Read::Ended(Ended::Overrun));
}

#[test]
fn a_turn_beyond_the_limit_is_given_the_time_it_takes_and_no_second_one() {
    let mut journal = Journal::new();
    journal.set_limits(JournalLimits { replica_hard: 1000, replica_soft: 0, ..JournalLimits::default() });
    let [quick, still] = [(); 2].map(|()| journal.open_cursor(CursorClass::Replica, None).expect("now"));
    set(&mut journal, 0, "a");
    large(&mut journal);
    assert!(journal.enforce_limits(1, false).dropped.is_empty());
    journal.read(quick, usize::MAX);
    large(&mut journal);
    assert_eq!(journal.enforce_limits(2, false).dropped.len(), 1);
    assert_eq!(journal.read(still, 10), Read::Ended(Ended::Overrun));
    assert!(matches!(journal.read(quick, 10), Read::Data(_)));
}

/// The log would tell of each step to and fro.
#[test]
fn the_pace_ends_at_half_of_where_it_began() {
    let mut journal = Journal::new();
    journal.set_limits(JournalLimits { file: 1000, ..JournalLimits::default() });
    let file = journal.open_cursor(CursorClass::Persistence, None).expect("now");
    while journal.position() < 5000 {
        set(&mut journal, 0, "a");
    }
    let paced = |journal: &mut Journal| journal.enforce_limits(1, false).slowest.map(|pin| pin.pace());
    assert!(paced(&mut journal).is_some_and(|pace| pace < 100), "halved four times, and never dropped");
    journal.read(file, 4100);
    assert!(paced(&mut journal).is_some_and(|pace| pace == 1000));
    journal.read(file, 500);
    assert_eq!(paced(&mut journal), None);
}

/// A replica's clients don't write: what its primary sends would pile up for a disk that stands still.
#[test]
fn a_file_of_a_replica_is_given_up_at_twice_its_share() {
    let mut journal = Journal::new();
    journal.set_limits(JournalLimits { file: 1000, ..JournalLimits::default() });
    let file = journal.open_cursor(CursorClass::Persistence, None).expect("now");
    while journal.position() < 1900 {
        set(&mut journal, 0, "a");
    }
    assert!(journal.enforce_limits(1, true).dropped.is_empty());
    while journal.position() <= 2000 {
        set(&mut journal, 0, "a");
    }
    assert!(journal.is_strained(), "known without a tick");
    assert_eq!(journal.enforce_limits(1, true).dropped.len(), 1);
    assert_eq!(journal.read(file, 10), Read::Ended(Ended::Overrun));
    assert!(journal.memory() < 500, "nobody keeps it");
}

/// Without limits a replica may take as long as it wants, as in Redis, and nobody waits for it.
#[test]
fn without_a_limit_nobody_is_paced() {
    let mut journal = Journal::new();
    journal.set_limits(JournalLimits { replica_hard: 0, replica_soft: 0, ..JournalLimits::default() });
    journal.open_cursor(CursorClass::SyncingReplica, None).expect("now");
    while journal.position() < 1 << 20 {
        set(&mut journal, 0, "a");
    }
    let verdict = journal.enforce_limits(1, false);
    assert!(verdict.slowest.is_none() && verdict.dropped.is_empty() && !journal.is_strained());
}

#[test]
fn whoever_waits_for_the_end_is_woken_by_nothing_else() {
    let mut journal = Journal::new();
    journal.set_limits(JournalLimits { replica_hard: 1000, ..JournalLimits::default() });
    let [slow, closed] = [(); 2].map(|()| journal.open_cursor(CursorClass::Replica, None).expect("now"));
    let waker = std::task::Waker::noop();
    assert!(journal.end_of(slow, waker).is_none() && journal.end_of(closed, waker).is_none());
    let woken = |journal: &mut Journal| {
        let mut wakers = Vec::new();
        journal.take_wakers(&mut wakers);
        wakers.len()
    };
    set(&mut journal, 0, "a");
    assert_eq!(woken(&mut journal), 0);
    journal.close_cursor(closed);
    assert_eq!(woken(&mut journal), 1);
    while journal.position() <= 1000 {
        journal.turn_over();
        set(&mut journal, 0, "a");
    }
    journal.enforce_limits(1, false);
    assert_eq!((woken(&mut journal), journal.end_of(slow, waker)), (1, Some(Ended::Overrun)));
    assert_eq!(journal.end_of(closed, waker), Some(Ended::Closed));
}

/// A replica that doesn't read has bytes that were taken from the journal and aren't sent: keys must not go for them either.
#[test]
fn what_a_reader_was_given_counts_until_it_comes_back() {
    let mut journal = Journal::new();
    journal.set_backlog(Some(16 << 10));
    let replicas = [(); 2].map(|()| journal.open_cursor(CursorClass::Replica, None).expect("now"));
    (0..10_000).for_each(|_| set(&mut journal, 0, "a"));
    let given = replicas.map(|id| journal.read(id, 200 << 10));
    let sum =
        |read: &Read| matches!(read, Read::Data(parts) if parts.iter().map(Bytes::len).sum::<usize>() == 200 << 10);
    assert!(given.iter().all(sum));
    let before = journal.memory();
    (0..10_000).for_each(|_| set(&mut journal, 0, "a"));
    assert!(journal.memory() > before + 10_000 * SET_A.len() as u64, "both have it, once");
    journal.reader_copies(replicas[0], 64 << 10);
    let with_copy = journal.memory();
    for id in replicas {
        while !read(&mut journal, id).is_empty() {}
    }
    let after = journal.memory();
    assert!(after < 100 << 10 && with_copy > before + (64 << 10), "{after} when nobody has anything");
}

/// A file's reader takes each turn's bytes at once: they are gone with it, whether they were copied or are the tail's own memory.
#[test]
fn what_one_reader_takes_turn_by_turn_is_counted_and_gone() {
    let mut journal = Journal::new();
    let file = journal.open_cursor(CursorClass::Persistence, None).expect("now");
    for records in [1, 100, 1_500, 2_000, 2_500, 10_000, 1_500] {
        let mut sent = 0;
        for _ in 0..records {
            set(&mut journal, 0, "a");
            sent += SET_A.len();
        }
        let held = journal.memory();
        assert!(held >= sent as u64, "{records}: {held}");
        let mut text = read(&mut journal, file);
        loop {
            let more = read(&mut journal, file);
            if more.is_empty() {
                break;
            }
            text += &more;
        }
        assert_eq!(text.replace(SELECT0, "").len(), sent, "{records}");
        set(&mut journal, 0, "a");
        assert_eq!(read(&mut journal, file), SET_A);
        let left = journal.memory();
        assert!(left < 70 << 10, "{records}: {left} when it has all");
    }
}

#[test]
fn a_new_history_ends_cursors_and_keeps_or_drops_bytes() {
    let mut journal = Journal::new();
    journal.set_backlog(Some(1 << 20));
    set(&mut journal, 0, "a");
    let (cursor, offset) = (journal.open_cursor(CursorClass::Replica, Some(0)).expect("kept"), journal.offset());
    journal.rebase(None);
    assert_eq!(journal.read(cursor, 10), Read::Ended(Ended::Rebased));
    let again = journal.open_cursor(CursorClass::Replica, Some(0)).expect("promotion keeps the bytes");
    assert_eq!(read(&mut journal, again).len() as u64, offset);
    journal.rebase(Some(5000));
    assert_eq!(journal.offset(), 5000);
    assert_eq!(journal.backlog_range(), (5001, 0));
}

#[test]
fn a_raw_stream_is_kept_byte_for_byte() {
    let mut journal = Journal::new();
    journal.set_backlog(Some(1 << 20));
    journal.rebase(Some(1000));
    let raw = format!("{SELECT0}{SET_A}\r\n");
    journal.append_stream(raw.as_bytes(), Targets::ALL, Some(0));
    assert_eq!(journal.offset(), 1000 + raw.len() as u64);
    let cursor = journal.open_cursor(CursorClass::Replica, Some(1000)).expect("kept");
    assert_eq!(read(&mut journal, cursor), raw);
    set(&mut journal, 0, "a");
    assert_eq!(read(&mut journal, cursor), SET_A, "the stream has selected db 0 already");
}

#[test]
fn a_file_opened_in_the_middle_selects_its_database_once() {
    let mut journal = Journal::new();
    journal.set_backlog(Some(1 << 20));
    set(&mut journal, 0, "a");
    let file = journal.open_cursor(CursorClass::Persistence, None).expect("now");
    set(&mut journal, 0, "a");
    assert_eq!(read(&mut journal, file), format!("{SELECT0}{SET_A}"), "the run went on, its SELECT was before");
    set(&mut journal, 0, "a");
    assert_eq!(read(&mut journal, file), SET_A);
    let ping = b"*1\r\n$4\r\nPING\r\n";
    journal.append_stream(ping, Targets::REPLICATION, Some(0));
    let raw = format!("{}{SET_A}", SELECT0.replace("\r\n0\r\n", "\r\n1\r\n"));
    journal.append_stream(raw.as_bytes(), Targets::ALL, Some(1));
    journal.append_stream(SET_A.as_bytes(), Targets::ALL, Some(1));
    assert_eq!(read(&mut journal, file), format!("{raw}{SET_A}"), "no PING, and the stream's own SELECT");
}

#[test]
fn a_file_goes_on_under_another_name_and_ends_with_other_data() {
    let mut journal = Journal::new();
    let file = journal.open_cursor(CursorClass::Persistence, None).expect("now");
    set(&mut journal, 0, "a");
    journal.rebase(None);
    set(&mut journal, 0, "a");
    assert_eq!(read(&mut journal, file), format!("{SELECT0}{SET_A}{SET_A}"));
    journal.rebase(Some(7));
    set(&mut journal, 0, "a");
    assert_eq!(read(&mut journal, file), SET_A, "nothing was lost");
    set(&mut journal, 0, "a");
    journal.rebase(Some(9));
    assert_eq!(journal.read(file, 10), Read::Ended(Ended::Rebased), "a record was");
    let file = journal.open_cursor(CursorClass::Persistence, None).expect("now");
    journal.data_replaced();
    assert_eq!((journal.read(file, 10), journal.is_placed()), (Read::Ended(Ended::Rebased), false));
    journal.rebase(Some(11));
    assert!(journal.is_placed());
}

#[test]
fn a_reader_stops_where_the_next_one_goes_on() {
    let mut journal = Journal::new();
    let old = journal.open_cursor(CursorClass::Persistence, None).expect("now");
    set(&mut journal, 0, "a");
    let new = journal.open_cursor(CursorClass::Persistence, None).expect("now");
    let place = journal.cursor_status(new).expect("open");
    assert_eq!((place.position, place.unit_end), (journal.position(), true));
    set(&mut journal, 0, "a");
    journal.stop_cursor_at(old, place.position);
    assert_eq!(read(&mut journal, old), format!("{SELECT0}{SET_A}"));
    assert_eq!(journal.cursor_status(old).map(|at| (at.position, at.unit_end)), Some((place.position, true)));
    let waker = Waker::noop();
    assert_eq!(journal.end_of(old, waker), None, "its reader has the bytes before yet");
    assert_eq!(journal.read(old, 10), Read::Ended(Ended::Reached));
    assert_eq!(journal.end_of(old, waker), Some(Ended::Reached));
    let mut woken = Vec::new();
    journal.take_wakers(&mut woken);
    assert_eq!(woken.len(), 1, "who waits for its end");
    assert_eq!(read(&mut journal, new), format!("{SELECT0}{SET_A}"));
}

/// A replica whose file ends there goes on by what is noted of that place.
#[test]
fn where_a_reader_stops_the_database_is_that_of_the_place() {
    let select = |db: u32| format!("*2\r\n$6\r\nSELECT\r\n$1\r\n{db}\r\n");
    let mut journal = Journal::new();
    let old = journal.open_cursor(CursorClass::Persistence, None).expect("now");
    journal.append_stream(format!("{}{SET_A}", select(2)).as_bytes(), Targets::ALL, Some(2));
    let new = journal.open_cursor(CursorClass::Persistence, None).expect("now");
    let place = journal.cursor_status(new).expect("open");
    assert_eq!(place.db, Some(2));
    let own: OwnedArgs = ["SET", "a", "v"].iter().collect();
    journal.append(7, Targets::LOCAL, Origin::Client, own.view());
    journal.append_stream(format!("{}{SET_A}", select(5)).as_bytes(), Targets::ALL, Some(5));
    journal.stop_cursor_at(old, place.position);
    assert!(read(&mut journal, old).ends_with(&format!("{}{SET_A}", select(2))));
    let stopped = journal.cursor_status(old).expect("open");
    assert_eq!((stopped.unit_end, stopped.db), (true, Some(2)));
    read(&mut journal, new);
    assert_eq!(journal.cursor_status(new).and_then(|at| at.db), Some(5));
}

mod properties {
    use super::*;
    use proptest::prelude::*;

    #[derive(Clone, Debug)]
    enum Step {
        One { db: u32, len: usize, targets: u8 },
        Unit { db: u32, len: usize, count: usize },
        Raw { db: u32, len: usize },
        Read { max: usize },
        Trim,
    }

    fn step() -> impl Strategy<Value = Step> {
        prop_oneof![
            (0..3u32, 0..5000usize, 1..8u8).prop_map(|(db, len, targets)| Step::One { db, len, targets }),
            (0..3u32, 0..100usize, 1..4usize).prop_map(|(db, len, count)| Step::Unit { db, len, count }),
            (0..3u32, 1..3000usize).prop_map(|(db, len)| Step::Raw { db, len }),
            (1..20_000usize).prop_map(|max| Step::Read { max }),
            Just(Step::Trim),
        ]
    }

    proptest! {
        /// A replica that reads in any rhythm gets exactly as many bytes as the offset moved, and the same as one that
        /// reads all at the end.
        #[test]
        fn offsets_count_what_replicas_read(steps in prop::collection::vec(step(), 1..80)) {
            let mut journal = Journal::new();
            let reader = journal.open_cursor(CursorClass::Replica, None).expect("now");
            let late = journal.open_cursor(CursorClass::Replica, None).expect("now");
            journal.set_backlog(Some(32 << 10));
            let mut seen = Vec::new();
            for step in steps {
                match step {
                    Step::One { db, len, targets } => {
                        let argv: OwnedArgs = [vec![b'x'; 3], vec![b'y'; len]].iter().collect();
                        let before = journal.offset();
                        journal.append(db, Targets(targets), Origin::Client, argv.view());
                        prop_assert_eq!(journal.offset() > before, targets & 1 == 1);
                    }
                    Step::Unit { db, len, count } => {
                        let mut unit = Unit::default();
                        for _ in 0..count {
                            unit.push(db, Targets::ALL, Origin::Client, [vec![b'z'; len].as_slice()].into_iter());
                        }
                        journal.append_unit(&mut unit);
                    }
                    Step::Raw { db, len } => journal.append_stream(&vec![b'r'; len], Targets::ALL, Some(db)),
                    Step::Read { max } => {
                        if let Read::Data(parts) = journal.read(reader, max) {
                            seen.extend(parts.concat());
                        }
                        let status = journal.cursor_status(reader).expect("open");
                        prop_assert_eq!(status.offset, seen.len() as u64);
                    }
                    Step::Trim => journal.set_backlog(Some(32 << 10)),
                }
            }
            while let Read::Data(parts) = journal.read(reader, 999) {
                seen.extend(parts.concat());
            }
            prop_assert_eq!(seen.len() as u64, journal.offset());
            let mut all = Vec::new();
            while let Read::Data(parts) = journal.read(late, usize::MAX) {
                all.extend(parts.concat());
            }
            prop_assert_eq!(seen, all);
        }
    }
}
