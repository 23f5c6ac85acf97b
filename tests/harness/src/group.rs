//! A primary, replicas and sentinels as real processes, stock or ours in any mixture.

use crate::client::Client;
use crate::keystead::Keystead;
use crate::ports::free_port;
use crate::process::Process;
use crate::redis::{RedisSentinel, RedisServer};
use crate::wait::eventually;
use std::time::{Duration, Instant};

/// Name of the watched primary.
pub const PRIMARY: &str = "mymaster";
/// A group must have found itself within this time: stock sentinels say hello every two seconds and ask INFO every ten.
const READY: Duration = Duration::from_secs(60);

/// Whose program a member runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Maker {
    /// Ours.
    Keystead,
    /// Debian's.
    Redis,
}

/// One member.
#[derive(Debug)]
pub enum Member {
    /// A keystead process.
    Keystead(Box<Keystead>, u16),
    /// A stock server.
    Server(RedisServer),
    /// A stock sentinel.
    Sentinel(RedisSentinel),
}

impl Member {
    /// Where it listens: the data port, for a sentinel the sentinel's.
    pub fn port(&self) -> u16 {
        match self {
            Member::Keystead(_, port) => *port,
            Member::Server(server) => server.port(),
            Member::Sentinel(sentinel) => sentinel.port(),
        }
    }

    /// Its process.
    pub fn process(&mut self) -> &mut Process {
        match self {
            Member::Keystead(node, _) => &mut node.process,
            Member::Server(server) => &mut server.process,
            Member::Sentinel(sentinel) => &mut sentinel.process,
        }
    }

    /// A new connection.
    #[track_caller]
    pub fn client(&self) -> Client {
        Client::connect(self.port())
    }
}

/// What a group is made of.
#[derive(Clone, Debug)]
pub struct Shape {
    /// Data nodes; the first is the primary.
    pub data: Vec<Maker>,
    /// Sentinels.
    pub sentinels: Vec<Maker>,
    /// down-after of the sentinels.
    pub down_after_ms: u64,
}

/// A running group.
#[derive(Debug)]
pub struct Group {
    /// Data nodes.
    pub data: Vec<Member>,
    /// Sentinels.
    pub sentinels: Vec<Member>,
}

impl Group {
    /// Starts a group and waits until every sentinel knows everybody and sees all of them well.
    #[track_caller]
    pub fn start(shape: &Shape) -> Group {
        let mut data: Vec<Member> = Vec::new();
        for maker in &shape.data {
            let primary = data.first().map(Member::port);
            data.push(data_node(*maker, primary));
        }
        let primary = data[0].port();
        let quorum = shape.sentinels.len() / 2 + 1;
        let sentinels = shape.sentinels.iter().map(|maker| sentinel(*maker, primary, quorum, shape.down_after_ms));
        let mut group = Group { sentinels: sentinels.collect(), data };
        group.wait_settled(READY);
        group
    }

    /// Waits until every sentinel knows everybody, holds the same primary, and sees all of them well.
    #[track_caller]
    pub fn wait_settled(&mut self, limit: Duration) {
        let (replicas, others) = (self.data.len() - 1, self.sentinels.len() - 1);
        let mut last = String::new();
        let settled = eventually(limit, || {
            let mut primaries = Vec::new();
            for sentinel in &self.sentinels {
                match well(sentinel.port(), replicas, others) {
                    Ok(primary) => primaries.push(primary),
                    Err(why) => {
                        last = why;
                        return None;
                    }
                }
            }
            primaries.dedup();
            (primaries.len() == 1).then_some(())
        });
        if settled.is_none() {
            panic!("the group did not settle: {last}\n{}", self.logs());
        }
    }

    /// The primary's port as that sentinel tells it to clients.
    pub fn primary_by(&self, sentinel: usize) -> Option<u16> {
        let mut client = Client::try_connect(self.sentinels[sentinel].port()).ok()?;
        let reply = client.try_command(&["SENTINEL", "GET-MASTER-ADDR-BY-NAME", PRIMARY]).ok()?;
        reply.texts().get(1)?.parse().ok()
    }

    /// The member with that data port.
    #[track_caller]
    pub fn node(&mut self, port: u16) -> &mut Member {
        self.data.iter_mut().find(|node| node.port() == port).expect("a data port of this group")
    }

    /// Writes as a client does that asks the sentinels for the primary, until one other than `old` takes the write;
    /// gives the new primary's port and how long it took from `since`.
    #[track_caller]
    pub fn first_write_elsewhere(&self, old: u16, since: Instant, limit: Duration) -> (u16, Duration) {
        let mut sentinels: Vec<Option<Client>> = self.sentinels.iter().map(|_| None).collect();
        loop {
            for (n, slot) in sentinels.iter_mut().enumerate() {
                if slot.is_none() {
                    *slot = Client::try_connect(self.sentinels[n].port()).ok();
                }
                let Some(client) = slot else { continue };
                let Ok(reply) = client.try_command(&["SENTINEL", "GET-MASTER-ADDR-BY-NAME", PRIMARY]) else {
                    *slot = None;
                    continue;
                };
                let port = reply.texts().get(1).and_then(|port| port.parse::<u16>().ok());
                let Some(port) = port.filter(|port| *port != old) else { continue };
                let wrote = Client::try_connect(port)
                    .and_then(|mut c| c.try_command(&["SET", "after-failover", "1"]))
                    .is_ok_and(|reply| reply == "OK");
                if wrote {
                    return (port, since.elapsed());
                }
            }
            assert!(since.elapsed() < limit, "no new primary took a write within {limit:?}:\n{}", self.why());
            std::thread::sleep(Duration::from_millis(2));
        }
    }

    /// How often all sentinels together have logged this event.
    pub fn logged(&mut self, event: &str) -> usize {
        let needle = format!(" {event} ");
        self.sentinels.iter_mut().map(|s| s.process().log().matches(&needle).count()).sum()
    }

    /// Panics with all sentinels' logs unless exactly so many promotions happened.
    #[track_caller]
    pub fn expect_promotions(&mut self, expected: usize) {
        let promotions = self.logged("+promoted-slave");
        if promotions != expected {
            panic!("{promotions} promotions, expected {expected}\n{}", self.logs());
        }
    }

    fn why(&self) -> String {
        let ask = |s: &Member| Client::try_connect(s.port()).ok()?.try_command(&["SENTINEL", "MASTER", PRIMARY]).ok();
        let words =
            |s: &Member| Client::try_connect(s.port()).ok()?.try_command(&["INFO", "replication"]).ok()?.as_text();
        let sentinels = self.sentinels.iter().map(|s| format!("{:?}\n", ask(s)));
        sentinels.chain(self.data.iter().map(|node| format!("{}: {:?}\n", node.port(), words(node)))).collect()
    }

    /// Waits until the node at that port is a replica of the primary with its link up; panics with all sentinels' logs.
    #[track_caller]
    pub fn wait_replica(&mut self, port: u16, primary: u16, limit: Duration) {
        let mut last = String::new();
        let follows = eventually(limit, || {
            let mut client = Client::try_connect(port).ok()?;
            // A failover's CLIENT KILL may hit this very connection.
            let info = client.try_command(&["INFO", "replication"]).ok()?;
            last = info.as_text().unwrap_or_default();
            let field = |name: &str| {
                let line = last.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
                line.unwrap_or_default().to_owned()
            };
            let here = field("role") == "slave" && field("master_port") == primary.to_string();
            (here && field("master_link_status") == "up").then_some(())
        });
        if follows.is_none() {
            panic!("{port} doesn't follow {primary} within {limit:?}:\n{last}\n{}", self.logs());
        }
    }

    /// What all sentinels have logged.
    fn logs(&mut self) -> String {
        let logs: Vec<String> = self.sentinels.iter_mut().map(|s| s.process().log()).collect();
        logs.join("\n----\n")
    }
}

fn data_node(maker: Maker, primary: Option<u16>) -> Member {
    match (maker, primary) {
        (Maker::Keystead, primary) => {
            let node = primary.map_or_else(Keystead::primary, Keystead::replica_of);
            let port = node.port();
            Member::Keystead(Box::new(node), port)
        }
        (Maker::Redis, None) => Member::Server(RedisServer::start(&[])),
        (Maker::Redis, Some(primary)) => {
            Member::Server(RedisServer::start(&["--replicaof", "127.0.0.1", &primary.to_string()]))
        }
    }
}

fn sentinel(maker: Maker, primary: u16, quorum: usize, down_after_ms: u64) -> Member {
    match maker {
        Maker::Redis => Member::Sentinel(RedisSentinel::start(&[
            format!("sentinel monitor {PRIMARY} 127.0.0.1 {primary} {quorum}"),
            format!("sentinel down-after-milliseconds {PRIMARY} {down_after_ms}"),
            format!("sentinel failover-timeout {PRIMARY} 10000"),
        ])),
        Maker::Keystead => {
            let port = free_port();
            let node = Keystead::builder()
                .plugin("sentinel", &sentinel_config(port, primary, quorum, down_after_ms))
                .ready_port(port)
                .start();
            Member::Keystead(Box::new(node), port)
        }
    }
}

/// The sentinel plugin's subtree for one primary on loopback.
pub fn sentinel_config(port: u16, primary: u16, quorum: usize, down_after_ms: u64) -> String {
    format!(
        "(port: {port}, bind: [\"127.0.0.1\"], monitors: [(name: \"{PRIMARY}\", host: \"127.0.0.1\", port: {primary}, \
         quorum: {quorum}, down_after_ms: {down_after_ms}, failover_timeout_ms: 10000)])"
    )
}

/// The primary this sentinel holds, if it sees everybody well.
fn well(port: u16, replicas: usize, others: usize) -> Result<String, String> {
    let mut client = Client::try_connect(port).map_err(|error| error.to_string())?;
    let mut ask = |what: &str| client.try_command(&["SENTINEL", what, PRIMARY]).map_err(|error| error.to_string());
    let primary = ask("MASTER")?;
    let field = |name: &str| primary.get(name).and_then(|value| value.as_text()).unwrap_or_default();
    let expect = |what: &str, is: String, should: String| {
        if is == should { Ok(()) } else { Err(format!("sentinel {port}: {what} is {is}, not {should}")) }
    };
    expect("flags", field("flags"), "master".into())?;
    expect("num-slaves", field("num-slaves"), replicas.to_string())?;
    expect("num-other-sentinels", field("num-other-sentinels"), others.to_string())?;
    let (ip, at) = (field("ip"), field("port"));
    for replica in ask("REPLICAS")?.items() {
        let value = |name: &str| replica.get(name).and_then(|value| value.as_text()).unwrap_or_default();
        expect("a replica's flags", value("flags"), "slave".into())?;
        expect("a replica's link", value("master-link-status"), "ok".into())?;
        expect("a replica's primary", value("master-port"), at.clone())?;
    }
    for sentinel in ask("SENTINELS")?.items() {
        let flags = sentinel.get("flags").and_then(|value| value.as_text()).unwrap_or_default();
        expect("a sentinel's flags", flags, "sentinel".into())?;
    }
    Ok(format!("{ip}:{at}"))
}
