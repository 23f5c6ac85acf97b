//! Streams: what is sent, what must be sent beside it, and what of the replies depends on a clock or on the version.

use super::families::Family;

pub const STREAMS: Family = Family { name: "streams", members: 10, keys: 4, templates: TEMPLATES };

pub const BIG_STREAMS: Family = Family {
    name: "streams with many entries",
    members: 400,
    keys: 2,
    templates: &[
        "XADD k 5-* m v",
        "XADD k 5-* m v",
        "XADD k 5-* m0 v m1 v",
        "XADD k 5-* m0 v m1 v",
        "XADD k 5-* m0 v m1 v",
        "XADD k 6-* +m_m",
        "XDEL k 5-n 5-4 5-1c",
        "XDEL k Z Z Z",
        "XRANGE k Z Z COUNT n",
        "XREVRANGE k Z Z COUNT n",
        "XRANGE k - Z",
        "XLEN k",
        "XTRIM k MAXLEN ~ 100",
        "XTRIM k MINID ~ Z",
        "XTRIM k MINID Z",
        "XADD k MAXLEN ~ 300 LIMIT c 6-* m v",
        "XADD k MAXLEN 400 6-* m v",
        "XGROUP CREATE k G Z MKSTREAM",
        "XREADGROUP GROUP G C COUNT c STREAMS k >",
        "XREADGROUP GROUP G C COUNT c STREAMS k Z",
        "XACK k G Z Z Z",
        "XPENDING k G",
        "XPENDING k G Z + c ?C",
        "XAUTOCLAIM k G C 0 Z COUNT n",
        "XINFO STREAM k",
        "XINFO GROUPS k",
        "XREAD COUNT n STREAMS k k Z Z",
        "CONFIG SET stream-node-max-entries 100|7|0",
        "CONFIG SET stream-node-max-bytes 4096|300|0",
    ],
};

const TEMPLATES: &[&str] = &[
    "XADD k N m v",
    "XADD k N +m_v",
    "XADD k N +m_v",
    "XADD k ?NOMKSTREAM N m v",
    "XADD k MAXLEN ?=|~ n N m v",
    "XADD k MAXLEN ~ i LIMIT i N m v",
    "XADD k MINID ?=|~ X ?LIMIT_i N m v",
    "XTRIM k MAXLEN|MINID ?=|~ i ?LIMIT_i",
    "XTRIM k MINID ?=|~ X",
    "XDEL k +X",
    "XLEN k",
    "XRANGE k Y Y ?COUNT_i",
    "XRANGE k - Y",
    "XREVRANGE k Y Y ?COUNT_i",
    "XREVRANGE k Y -",
    "XREAD ?COUNT_i STREAMS k X|0|$",
    "XREAD STREAMS k k X|0 X|$",
    "XREAD BLOCK -1|x STREAMS k $",
    "XGROUP CREATE k G X|0|$ ?MKSTREAM ?ENTRIESREAD_i",
    "XGROUP CREATE k G 0 MKSTREAM",
    "XGROUP SETID k G X|0|$ ?ENTRIESREAD_i",
    "XGROUP DESTROY k G",
    "XGROUP CREATECONSUMER k G C",
    "XGROUP DELCONSUMER k G C",
    "XGROUP HELP",
    "XREADGROUP GROUP G C ?COUNT_n ?NOACK STREAMS k >",
    "XREADGROUP GROUP G C ?COUNT_n STREAMS k >",
    "XREADGROUP GROUP G C COUNT n STREAMS k X|0",
    "XREADGROUP GROUP G C STREAMS k k > >|0",
    "XACK k G +X",
    "XPENDING k G",
    "XPENDING k G - + 100",
    "XPENDING k G ?IDLE_W Y Y n ?C",
    "XCLAIM k G C W +X ?IDLE_V ?TIME_1 ?RETRYCOUNT_i ?FORCE ?JUSTID ?LASTID_X",
    "XCLAIM k G C 0 X X X FORCE",
    "XAUTOCLAIM k G C W Y ?COUNT_n ?JUSTID",
    "XINFO STREAM k ?FULL ?COUNT_i",
    "XINFO STREAM k FULL",
    "XINFO GROUPS k",
    "XINFO CONSUMERS k G",
    "XINFO HELP",
    "XSETID k 9-1 ?ENTRIESADDED_i ?MAXDELETEDID_X",
    "COPY k k REPLACE",
    "RENAME k k",
    "DEL k",
    "TYPE k",
    "SET k v",
];

/// Names of consumers.
pub const CONSUMERS: &[&str] = &["c1", "c2", "c3"];

/// Since 7.2 a consumer comes into being when it asks in vain too. So that this makes no difference here, every group has
/// all of them from the start.
pub fn beside(argv: &[Vec<u8>]) -> Vec<Vec<Vec<u8>>> {
    if argv[0] != b"XGROUP" || argv.len() < 4 {
        return Vec::new();
    }
    let create = |name: &str| {
        let name = name.as_bytes().to_vec();
        vec![b"XGROUP".to_vec(), b"CREATECONSUMER".to_vec(), argv[2].clone(), argv[3].clone(), name]
    };
    CONSUMERS.iter().map(|name| create(name)).collect()
}

/// Commands that must stay as they are: what they would make of a damaged argument is another since 7.2.
pub fn is_fixed(name: &[u8]) -> bool {
    [&b"XREADGROUP"[..], b"XREAD", b"XCLAIM", b"XAUTOCLAIM", b"XSETID", b"CONFIG"].contains(&name)
}

fn text(leaf: &[u8]) -> &[u8] {
    let start = leaf.windows(2).position(|w| w == b"\r\n").map_or(0, |at| at + 2);
    leaf.strip_suffix(b"\r\n").and_then(|leaf| leaf.get(start..)).unwrap_or(leaf)
}

/// A reply of XINFO or XPENDING without what a clock says, and without what 7.2 added.
pub fn timeless(argv: &[Vec<u8>], leaves: Vec<Vec<u8>>) -> Vec<Vec<u8>> {
    let (info, pending) = (argv[0] == b"XINFO", argv.len() > 3 && argv[0] == b"XPENDING");
    let (mut kept, mut skip, mut since_head): (Vec<Vec<u8>>, _, _) = (Vec::new(), 0, 0);
    for leaf in leaves {
        since_head = if leaf == b"*4\r\n" { 0 } else { since_head + 1 };
        let clock = match text(&leaf) {
            // Redis' tree has another number of nodes; a consumer's times.
            b"radix-tree-nodes" | b"seen-time" | b"idle" | b"active-time" | b"inactive" => 2,
            _ if skip > 0 => skip,
            _ if pending && since_head == 3 => 1,
            _ => 0,
        };
        let time = leaf.len() > 15 && leaf[0] == b':';
        let head = info && matches!(leaf[0], b'*' | b'%');
        skip = clock.max(1) - 1;
        if clock == 0 && !time && !head {
            kept.push(leaf);
        }
    }
    kept
}
