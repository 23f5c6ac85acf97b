//! Client-side caching beside a stock redis-server: the same random commands of three clients, and after each of them what
//! every client was told. `TRACKING_SEED=n` runs one seed.

use keystead_harness::{Client, Keystead, RedisServer, Reply, have};

struct Dice(u64);

impl Dice {
    fn below(&mut self, n: usize) -> usize {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) as usize % n
    }
}

/// `{0}` … are the ids of the clients.
const COMMANDS: &[&str] = &[
    "GET a",
    "GET b",
    "MGET a b c",
    "EXISTS a1",
    "HGETALL h",
    "LRANGE l 0 -1",
    "STRLEN a",
    "SET a 1",
    "SET b 2",
    "SET a1 x",
    "DEL a b",
    "MSET a 1 c 2",
    "INCR n",
    "GET n",
    "HSET h f 1",
    "RPUSH l 1",
    "LPOP l",
    "RENAME a b",
    "COPY a c",
    "GETDEL b",
    "SINTERSTORE s x y",
    "FLUSHDB",
    "FLUSHALL",
    "CLIENT CACHING YES",
    "CLIENT CACHING NO",
    "CLIENT TRACKINGINFO",
    "CLIENT TRACKING ON",
    "CLIENT TRACKING ON NOLOOP",
    "CLIENT TRACKING ON OPTIN",
    "CLIENT TRACKING ON OPTOUT NOLOOP",
    "CLIENT TRACKING ON BCAST",
    "CLIENT TRACKING ON BCAST PREFIX a",
    "CLIENT TRACKING ON BCAST PREFIX b PREFIX h NOLOOP",
    "CLIENT TRACKING ON REDIRECT {0}",
    "CLIENT TRACKING ON REDIRECT {1}",
    "CLIENT TRACKING ON BCAST REDIRECT {2}",
    "CLIENT TRACKING OFF",
    "CLIENT TRACKING OFF",
    "CLIENT GETREDIR",
    "SELECT 1",
    "SELECT 0",
    "SORT l",
];

/// The server's clients and their ids.
struct Side {
    clients: Vec<Client>,
    ids: Vec<i64>,
}

impl Side {
    fn new(connect: impl Fn() -> Client) -> Side {
        let mut clients: Vec<Client> = (0..3).map(|_| connect()).collect();
        // The second listens as RESP2 clients do.
        let ids = clients.iter_mut().map(|client| client.ok("CLIENT ID").as_int().expect("a number")).collect();
        clients[1].ok("SUBSCRIBE __redis__:invalidate");
        clients[2].ok("HELLO 3");
        Side { clients, ids }
    }

    /// One command of one client; then everything that all of them got, ids made comparable.
    fn step(&mut self, who: usize, command: &str) -> Vec<String> {
        let mut line = command.to_owned();
        for (at, id) in self.ids.iter().enumerate() {
            line = line.replace(&format!("{{{at}}}"), &id.to_string());
        }
        self.clients[who].send(&line.split(' ').collect::<Vec<_>>()).expect("sent");
        let mut got = Vec::new();
        loop {
            // A PING in the same turn would be answered before what that turn has to tell.
            let reply = self.clients[who].read().expect("a reply");
            got.push(format!("{who}: {}", self.neutral(command == "CLIENT GETREDIR", &format!("{reply:?}"))));
            if !matches!(reply, Reply::Push(_)) {
                break;
            }
        }
        for at in (0..3).map(|at| (who + at) % 3) {
            self.clients[at].send(&["PING", "done"]).expect("sent");
            loop {
                let reply = self.clients[at].read().expect("a reply");
                let text = format!("{reply:?}");
                if text.contains("done") {
                    break;
                }
                got.push(format!("{at}: {}", self.neutral(false, &text)));
            }
        }
        // Redis tells a client that runs a command what others redirect to it in front of the reply, Keystead behind it.
        got.sort();
        got
    }

    fn neutral(&self, ids: bool, text: &str) -> String {
        let at = |id: &str| self.ids.iter().position(|known| known.to_string() == id);
        text.split_inclusive(|c: char| !c.is_ascii_digit())
            .map(|word| {
                let digits = word.trim_end_matches(|c: char| !c.is_ascii_digit());
                let rest = &word[digits.len()..];
                match at(digits).filter(|_| ids || text.contains("redir")) {
                    Some(at) => format!("<{at}>{rest}"),
                    None => word.to_owned(),
                }
            })
            .collect()
    }
}

#[test]
fn clients_are_told_what_redis_tells_them() {
    if !have("redis-server") {
        println!("SKIPPED: no redis-server");
        return;
    }
    let seed = std::env::var("TRACKING_SEED").ok().and_then(|seed| seed.parse().ok()).unwrap_or(20_261_125);
    println!("TRACKING_SEED={seed}");
    let mut dice = Dice(seed);
    let (keystead, redis) = (Keystead::plain(), RedisServer::start(&[]));
    let (mut ours, mut theirs) = (Side::new(|| keystead.client()), Side::new(|| redis.client()));
    let mut history = Vec::new();
    for _ in 0..1500 {
        let (who, command) = ([0, 2][dice.below(2)], COMMANDS[dice.below(COMMANDS.len())]);
        history.push(format!("{who}: {command}"));
        let (a, b) = (ours.step(who, command), theirs.step(who, command));
        let from = history.len().saturating_sub(25);
        assert_eq!(a, b, "after\n{}", history[from..].join("\n"));
    }
}
