//! The election strategy `lease` against a real etcd: a killed primary, a stopped one, etcd away. Skipped, with the reason,
//! where etcd isn't installed (`tests/run` installs Debian's etcd-server).
#![allow(clippy::unwrap_used)]

use keystead_harness::{
    Certs, Client, Keystead, PRIMARY, Process, ProcessSpec, free_port, sentinel_config, wait_until,
};
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

const LIMIT: Duration = Duration::from_secs(40);
const TTL: Duration = Duration::from_secs(2);

/// Where etcd is installed, if it is.
fn etcd_program() -> Option<PathBuf> {
    let path = std::env::var_os("PATH")?;
    std::env::split_paths(&path).map(|dir| dir.join("etcd")).find(|file| file.is_file())
}

struct Etcd {
    process: Process,
    port: u16,
    _dir: tempfile::TempDir,
}

impl Etcd {
    fn start(program: PathBuf) -> Etcd {
        let dir = tempfile::tempdir().unwrap();
        let (port, peers) = (free_port(), free_port());
        let (clients, peers) = (format!("http://127.0.0.1:{port}"), format!("http://127.0.0.1:{peers}"));
        let data = dir.path().join("data").display().to_string();
        let args = [
            "--data-dir",
            &data,
            "--listen-client-urls",
            &clients,
            "--advertise-client-urls",
            &clients,
            "--listen-peer-urls",
            &peers,
            "--initial-advertise-peer-urls",
            &peers,
            "--initial-cluster",
            &format!("default={peers}"),
        ]
        .map(str::to_owned)
        .to_vec();
        let spec =
            ProcessSpec { program, args, dir: dir.path().to_path_buf(), log_name: "etcd.log".into(), env: Vec::new() };
        let mut process = Process::start(spec).unwrap();
        process.wait_for_log("ready to serve client requests", LIMIT);
        Etcd { process, port, _dir: dir }
    }
}

/// A write that a node took: between these moments.
type Taken = (Instant, Instant);
type Log = Arc<Mutex<Vec<Taken>>>;

/// Writes to one node as fast as it answers, until told to stop.
fn writer(port: u16, stop: Arc<AtomicBool>, taken: Log) -> JoinHandle<()> {
    std::thread::spawn(move || {
        let mut client: Option<Client> = None;
        while !stop.load(Ordering::Relaxed) {
            let Some(open) = &mut client else {
                client = Client::try_connect(port).ok();
                std::thread::sleep(Duration::from_millis(5));
                continue;
            };
            let began = Instant::now();
            match open.try_command(&["INCR", "counter"]) {
                Ok(reply) if !reply.is_error() => taken.lock().unwrap().push((began, Instant::now())),
                Ok(_) => {}
                Err(_) => client = None,
            }
            std::thread::sleep(Duration::from_millis(2));
        }
    })
}

struct Group {
    etcd: Etcd,
    data: Vec<Keystead>,
    sentinels: Vec<Keystead>,
    stop: Arc<AtomicBool>,
    writers: Vec<(Log, Option<JoinHandle<()>>)>,
}

impl Group {
    fn start(program: PathBuf) -> Group {
        let etcd = Etcd::start(program);
        let at = etcd.port;
        let ports: Vec<u16> = (0..3).map(|_| free_port()).collect();
        let members = ports.iter().map(|port| format!("\"127.0.0.1:{port}\"")).collect::<Vec<_>>().join(", ");
        let data: Vec<Keystead> = ports
            .iter()
            .map(|port| {
                let follow = if *port == ports[0] {
                    "()".to_owned()
                } else {
                    format!("(replicaof: (\"127.0.0.1\", {}))", ports[0])
                };
                let lease = format!(
                    "(etcd: [\"127.0.0.1:{at}\"], name: \"{PRIMARY}\", node: \"127.0.0.1:{port}\", members: [{members}], \
                     ttl_s: {})",
                    TTL.as_secs()
                );
                Keystead::builder().port(*port).plugin("replication", &follow).plugin("lease", &lease).start()
            })
            .collect();
        let sentinels = (0..3)
            .map(|_| {
                let port = free_port();
                let config =
                    sentinel_config(port, ports[0], 2, 1000).replace("quorum:", "election: \"lease\", quorum:");
                let lease = format!("(etcd: [\"127.0.0.1:{at}\"], ttl_s: {})", TTL.as_secs());
                Keystead::builder().plugin("sentinel", &config).plugin("lease", &lease).ready_port(port).start()
            })
            .collect();
        let stop = Arc::new(AtomicBool::new(false));
        let writers = ports
            .iter()
            .map(|port| {
                let taken = Log::default();
                (taken.clone(), Some(writer(*port, stop.clone(), taken)))
            })
            .collect();
        Group { etcd, data, sentinels, stop, writers }
    }

    /// The node that took a write begun after `since`, as soon as there is one.
    fn writable(&self, since: Instant, other_than: Option<usize>) -> usize {
        let mut found = None;
        wait_until("a node takes writes", LIMIT, || {
            found = (0..self.data.len()).filter(|n| Some(*n) != other_than).find(|n| self.took(*n, since));
            found.is_some()
        });
        found.unwrap()
    }

    fn took(&self, node: usize, since: Instant) -> bool {
        self.writers[node].0.lock().unwrap().last().is_some_and(|(began, _)| *began > since)
    }

    fn explained(&self, what: &str) -> bool {
        self.sentinels.iter().any(|s| {
            let lines = s.client().cmd(&format!("SENTINEL EXPLAIN {PRIMARY}")).texts();
            lines.iter().any(|line| line.contains(what))
        })
    }

    /// The last write one node took is over before the other's first one behind `since` is.
    fn handed_over(&self, from: usize, to: usize, since: Instant) {
        let last = self.writers[from].0.lock().unwrap().last().copied().unwrap();
        let first = self.writers[to].0.lock().unwrap().iter().find(|(began, _)| *began > since).copied().unwrap();
        assert!(last.1 <= first.1, "node {from} took a write {:?} behind node {to}'s first", last.1 - first.1);
    }

    fn settled(&self, primary: usize) {
        let port = self.data[primary].port().to_string();
        wait_until("the others follow and the sentinels agree", LIMIT, || {
            // A demotion closes clients, this one too.
            let told = |n: usize| Client::try_connect(self.data[n].port())?.try_command(&["INFO", "replication"]);
            let follows = |n: usize| {
                let info = told(n).ok().and_then(|reply| reply.as_text()).unwrap_or_default();
                info.contains(&format!("master_port:{port}\r\n")) && info.contains("master_link_status:up")
            };
            let follow = (0..self.data.len()).filter(|n| *n != primary).all(follows);
            follow
                && self.sentinels.iter().all(|s| {
                    let mut client = s.client();
                    let addr = client.cmd(&format!("SENTINEL GET-MASTER-ADDR-BY-NAME {PRIMARY}")).texts();
                    let up = client
                        .cmd(&format!("SENTINEL CKQUORUM {PRIMARY}"))
                        .as_text()
                        .is_some_and(|t| t.starts_with("OK 3"));
                    addr.get(1) == Some(&port)
                        && up
                        && client.cmd(&format!("SENTINEL REPLICAS {PRIMARY}")).items().len() == 2
                })
        });
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        for sentinel in &mut self.sentinels {
            sentinel.process.kill();
        }
        for node in &mut self.data {
            node.process.kill();
        }
        for (_, thread) in &mut self.writers {
            // A writer that panicked has said so.
            let _ = thread.take().map(JoinHandle::join);
        }
    }
}

#[test]
fn a_lease_in_etcd_keeps_two_from_writing() {
    let Some(program) = etcd_program() else {
        eprintln!("skipped: etcd isn't installed (Debian: etcd-server)");
        return;
    };
    let start = Instant::now();
    let mut group = Group::start(program);
    assert_eq!(group.writable(start, None), 0);
    group.settled(0);

    // Killed: replaced when its lease has ended, not before.
    let killed = Instant::now();
    group.data[0].process.kill();
    wait_until("a sentinel says what it waits for", LIMIT, || {
        group.explained("the lease in etcd is still held by 127.0.0.1:")
    });
    let second = group.writable(killed, None);
    println!("killed: writes again after {:?}", killed.elapsed());
    assert_ne!(second, 0);
    group.handed_over(0, second, killed);
    group.data[0].restart();
    group.settled(second);

    // Stopped for longer than the lease: when it wakes, its gate has closed by itself.
    let stopped = Instant::now();
    group.data[second].process.pause();
    let third = group.writable(stopped, Some(second));
    println!("stopped: writes again after {:?}", stopped.elapsed());
    group.data[second].process.resume();
    group.settled(third);
    group.handed_over(second, third, stopped);

    // etcd away: with everybody's word the primary goes on.
    group.etcd.process.kill();
    let away = Instant::now();
    wait_until("the primary writes on for three leases", LIMIT, || {
        let last = group.writers[third].0.lock().unwrap().last().map(|(began, _)| *began).unwrap();
        assert!(last.elapsed() < TTL / 2, "no write since {:?}", last.elapsed());
        away.elapsed() > 3 * TTL
    });
    // One who doesn't answer may be about to take over where etcd can be reached: writes end with the lease.
    let quiet = (0..3).find(|n| *n != third).unwrap();
    group.data[quiet].process.pause();
    wait_until("the gate closes", LIMIT, || {
        // Whom the end falls upon is answered nothing.
        let said = Client::try_connect(group.data[third].port()).and_then(|mut c| c.try_command(&["SET", "x", "1"]));
        said.is_ok_and(|reply| reply.is_error())
    });
    let mut client = group.data[third].client();
    assert_eq!(
        client.cmd("SET x 1"),
        "READONLY This primary's lease is over: it takes no writes until it holds it again."
    );
    group.data[quiet].process.resume();
    // Nobody is promoted while etcd doesn't say who holds the lease.
    let back = Instant::now();
    group.etcd.process.restart().unwrap();
    let last = group.writable(back, None);
    println!("etcd back: writes again after {:?}", back.elapsed());
    assert_eq!(last, third);
}

/// Where links are encrypted, so is the question to vouch, which has a password in it.
#[test]
fn members_vouch_over_tls_where_replication_does() {
    let Some(program) = etcd_program() else {
        eprintln!("skipped: etcd isn't installed (Debian: etcd-server)");
        return;
    };
    let (mut etcd, certs) = (Etcd::start(program), Certs::new());
    let ports = [free_port(), free_port()];
    let members = ports.map(|port| format!("\"127.0.0.1:{port}\"")).join(", ");
    let node = |port: u16, replication: &str| {
        let lease = format!(
            "(etcd: [\"127.0.0.1:{}\"], node: \"127.0.0.1:{port}\", members: [{members}], ttl_s: {})",
            etcd.port,
            TTL.as_secs()
        );
        let tls = certs.section(port, "replication: true");
        Keystead::builder().section(&tls).plugin("replication", replication).plugin("lease", &lease).start()
    };
    let primary = node(ports[0], "()");
    let _replica = node(ports[1], &format!("(replicaof: (\"127.0.0.1\", {}))", ports[0]));
    let state = || primary.client().info("lease")["lease_state"].clone();
    wait_until("it holds the lease", LIMIT, || state() == "held");
    etcd.process.kill();
    wait_until("the other vouches", LIMIT, || state() == "vouched");
}
