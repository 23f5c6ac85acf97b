//! Cluster mode's commands, which answer in Redis' words that there is none.

mod kit;

use keystead_engine::Origin;
use keystead_engine::resp::Proto;
use kit::Kit;

#[test]
fn there_is_no_cluster() {
    let mut kit = Kit::default();
    let id = kit.connect();
    for line in ["CLUSTER INFO", "CLUSTER KEYSLOT a", "CLUSTER HELP", "ASKING", "READONLY", "READWRITE"] {
        assert_eq!(kit.cmd(id, line), "-ERR This instance has cluster support disabled\r\n", "{line}");
    }
    assert_eq!(kit.cmd(id, "CLUSTER foo"), "-ERR unknown subcommand 'foo'. Try CLUSTER HELP.\r\n");
    assert_eq!(kit.cmd(id, "CLUSTER KEYSLOT"), "-ERR wrong number of arguments for 'cluster|keyslot' command\r\n");
}

#[test]
fn what_a_cluster_would_have_is_documented_as_the_clusters() {
    let mut kit = Kit::default();
    let id = kit.connect();
    for (name, group) in [
        ("CLUSTER", "cluster"),
        ("CLUSTER|INFO", "cluster"),
        ("ASKING", "cluster"),
        ("READONLY", "cluster"),
        ("READWRITE", "cluster"),
        ("RESTORE-ASKING", "server"),
    ] {
        let docs = kit.cmd(id, &format!("COMMAND DOCS {name}"));
        let wanted = format!("$5\r\ngroup\r\n${}\r\n{group}\r\n", group.len());
        assert!(docs.contains(&wanted), "{name}: {docs}");
    }
}

/// RESTORE-ASKING is RESTORE under another name.
#[test]
fn a_key_restored_for_a_cluster_is_told_as_restored() {
    let mut kit = Kit::default();
    let (listener, id) = (kit.connect(), kit.connect());
    kit.cmd(id, "SET k v");
    kit.cmd(id, "CONFIG SET notify-keyspace-events EA");
    kit.cmd(listener, "PSUBSCRIBE __keyevent*");
    let run = |kit: &mut Kit, words: &[&[u8]]| kit.turn(|engine| engine.exec(0, words, Origin::Internal, Proto::Resp2));
    let reply = run(&mut kit, &[b"DUMP", b"k"]);
    let begin = reply.iter().position(|byte| *byte == b'\n').expect("a bulk string") + 1;
    let payload = &reply[begin..reply.len() - 2];
    for name in ["RESTORE", "RESTORE-ASKING"] {
        assert_eq!(run(&mut kit, &[name.as_bytes(), name.as_bytes(), b"0", payload]), b"+OK\r\n");
        assert!(kit.read(listener).contains("__keyevent@0__:restore\r\n"), "{name}");
    }
}
