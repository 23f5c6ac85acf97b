//! `keystead cluster`: what its nodes were told is there in the next run, however the first one ended, and nobody else's
//! process is touched.
#![allow(clippy::unwrap_used)]

use keystead_harness::{Client, DEADLINE, Process, ProcessSpec, free_port, keystead_bin, wait_until};
use std::fs::File;
use std::io::{BufRead, BufReader, Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// Sentinels listen so far above the data nodes.
const SENTINELS: u16 = 20_000;

/// A cluster of one sentinel, in a folder that outlives its runs.
struct Cluster {
    dir: tempfile::TempDir,
    base: u16,
    run: Option<Process>,
    replicas: u16,
}

impl Cluster {
    fn start(replicas: u16) -> Cluster {
        // The ports beside a free one may be those of a test beside this one.
        let begun = (0..50).find_map(|_| {
            let base = free_port() % 20_000 + 10_000;
            let mut cluster = Cluster { dir: tempfile::tempdir().unwrap(), base, run: None, replicas };
            cluster.again().then_some(cluster)
        });
        begun.expect("free ports side by side")
    }

    /// A run in the same folder; whether it got its ports.
    fn again(&mut self) -> bool {
        let mut run = self.try_run();
        wait_until("the cluster stands or ends", DEADLINE, || {
            !run.is_alive() || run.log().contains("Following the cluster")
        });
        let stands = run.is_alive();
        self.run = Some(run);
        stands
    }

    fn try_run(&self) -> Process {
        let words = self.words();
        start(keystead_bin(), &words.each_ref().map(String::as_str), self.dir.path())
    }

    fn words(&self) -> [String; 9] {
        let (replicas, base) = (self.replicas.to_string(), self.base.to_string());
        let folder = self.folder();
        ["cluster", "--replicas", &replicas, "--sentinels", "1", "--base-port", &base, "--dir", &folder]
            .map(String::from)
    }

    /// Its nodes' folder: the log of a run is beside it.
    fn folder(&self) -> String {
        self.dir.path().join("nodes").display().to_string()
    }

    /// Ends the run with a signal, as a terminal does.
    fn end(&mut self, signal: &str) -> String {
        let mut run = self.run.take().unwrap();
        send(signal, run.pid());
        assert!(run.wait_exit(DEADLINE).success(), "{}", run.log());
        run.log()
    }

    fn client(&self, node: u16) -> Client {
        Client::connect(self.base + node)
    }

    fn pid(&self, node: u16) -> u32 {
        self.client(node).info("server")["process_id"].parse().unwrap()
    }

    /// What `keystead cluster` tells to start a node again with.
    fn file(&self, node: u16) -> PathBuf {
        Path::new(&self.folder()).join(format!("node-{}.ron", self.base + node))
    }

    fn kill(&self, node: u16) {
        send("KILL", self.pid(node));
        let port = self.base + node;
        wait_until("the node is gone", DEADLINE, || std::net::TcpStream::connect(("127.0.0.1", port)).is_err());
        let told = || self.run.as_ref().unwrap().log().contains("killed (signal 9)");
        wait_until("the cluster has seen it", DEADLINE, told);
    }
}

impl Drop for Cluster {
    /// A test that failed leaves no nodes.
    fn drop(&mut self) {
        drop(self.run.take());
        for pid in nodes_of(&self.folder()) {
            send("KILL", pid);
        }
    }
}

/// The processes that run from files of a folder.
fn nodes_of(folder: &str) -> Vec<u32> {
    let processes = std::fs::read_dir("/proc").unwrap().flatten();
    let pids = processes.filter_map(|entry| entry.file_name().to_str()?.parse().ok());
    let ours = |pid: &u32| {
        let line = std::fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
        String::from_utf8_lossy(&line).contains(&format!("{folder}/"))
    };
    pids.filter(ours).collect()
}

fn send(signal: &str, pid: u32) {
    let sent = Command::new("kill").args([&format!("-{signal}"), &pid.to_string()]).status().unwrap();
    assert!(sent.success() || signal == "KILL", "{signal} to {pid}");
}

fn start(program: PathBuf, words: &[&str], dir: &Path) -> Process {
    let log_name = format!("{}.log", std::fs::read_dir(dir).unwrap().count());
    let args = words.iter().map(|word| (*word).to_owned()).collect();
    Process::start(ProcessSpec { program, args, dir: dir.to_path_buf(), log_name, env: Vec::new() }).unwrap()
}

#[test]
fn a_node_that_was_started_again_by_hand_saves_its_data_at_the_end() {
    let mut cluster = Cluster::start(0);
    assert_eq!(cluster.client(0).cmd("SET before 1"), "OK");
    assert_eq!(cluster.client(0).cmd("SAVE"), "OK");
    cluster.kill(0);

    let mut by_hand = start(keystead_bin(), &[cluster.file(0).to_str().unwrap()], cluster.dir.path());
    by_hand.wait_for_log("Ready to accept connections", DEADLINE);
    assert_eq!(cluster.client(0).cmd("SET after 1"), "OK");
    cluster.end("INT");
    assert!(by_hand.wait_exit(DEADLINE).success(), "{}", by_hand.log());

    assert!(cluster.again());
    assert_eq!(cluster.client(0).cmd("GET before"), "1");
    assert_eq!(cluster.client(0).cmd("GET after"), "1");
    cluster.end("QUIT");
    assert_eq!(nodes_of(&cluster.folder()), Vec::<u32>::new(), "this signal too ends all of it");
}

/// A primary waits for its replicas before it saves its data.
#[test]
fn a_replica_that_stands_still_costs_no_data_at_the_end() {
    let mut cluster = Cluster::start(1);
    send("STOP", cluster.pid(1));
    assert_eq!(cluster.client(0).cmd("SET key value"), "OK");
    cluster.end("INT");
    assert_eq!(nodes_of(&cluster.folder()), Vec::<u32>::new());

    assert!(cluster.again());
    assert_eq!(cluster.client(0).cmd("GET key"), "value");
    cluster.end("INT");
}

/// A shell whose terminal is closed sends SIGHUP, and then the system does.
#[test]
fn signals_that_repeat_themselves_cost_no_data() {
    let mut cluster = Cluster::start(1);
    send("STOP", cluster.pid(1));
    assert_eq!(cluster.client(0).cmd("SET key value"), "OK");
    let mut run = cluster.run.take().unwrap();
    send("HUP", run.pid());
    run.wait_for_log("Stopping 3 nodes", DEADLINE);
    for signal in ["-HUP", "-TERM", "-QUIT"] {
        // It may have ended by now.
        let _ = Command::new("kill").args([signal, &run.pid().to_string()]).stderr(Stdio::null()).status();
    }
    assert!(run.wait_exit(DEADLINE).success(), "{}", run.log());
    assert!(!run.log().contains("is killed"), "{}", run.log());
    assert!(cluster.again());
    assert_eq!(cluster.client(0).cmd("GET key"), "value");
    cluster.end("INT");
}

#[test]
fn what_listens_on_the_port_of_a_node_that_is_gone_is_left_alone() {
    let mut cluster = Cluster::start(0);
    cluster.kill(0);
    let (port, elsewhere) = (cluster.base.to_string(), tempfile::tempdir().unwrap());
    let mut stranger = start(keystead_bin(), &["--port", &port], elsewhere.path());
    stranger.wait_for_log("Ready to accept connections", DEADLINE);
    cluster.end("INT");
    assert!(stranger.is_alive(), "{}", stranger.log());
    assert_eq!(cluster.client(0).cmd("PING"), "PONG");
}

/// Who ends the command alone, with a signal that nobody can see coming, is told by the next run how to end the rest.
#[test]
fn nodes_that_an_earlier_run_left_are_named() {
    let mut cluster = Cluster::start(1);
    let (primary, replica) = (cluster.pid(0), cluster.pid(1));
    cluster.run.take().unwrap().kill();
    assert!(!cluster.again());
    let told = cluster.run.take().unwrap().log();
    let sentinel = Client::connect(cluster.base + SENTINELS).info("server")["process_id"].clone();
    assert!(told.contains(&format!("kill {primary} {replica} {sentinel} ends them")), "{told}");
}

/// `| head`, or a terminal that was closed: nobody is there to press Ctrl-C any more.
#[test]
fn a_cluster_whose_output_nobody_reads_ends_with_its_nodes() {
    let told = tempfile::tempfile().unwrap();
    let begun = (0..50).find_map(|_| {
        let base = free_port() % 20_000 + 10_000;
        let cluster = Cluster { dir: tempfile::tempdir().unwrap(), base, run: None, replicas: 1 };
        let mut command = Command::new(keystead_bin());
        command.args(cluster.words()).stdout(Stdio::piped()).stderr(told.try_clone().unwrap());
        let mut run = command.spawn().unwrap();
        let mut lines = BufReader::new(run.stdout.take().unwrap()).lines();
        // Nothing is said where a port was taken.
        let Some(first) = lines.next() else {
            run.wait().unwrap();
            told.set_len(0).unwrap();
            return None;
        };
        assert!(first.unwrap().starts_with("Starting 3 nodes"));
        Some((cluster, run, lines))
    });
    let (cluster, mut run, lines) = begun.expect("free ports side by side");
    drop(lines);
    let mut ended = None;
    wait_until("the cluster has ended", DEADLINE, || {
        ended = run.try_wait().unwrap();
        ended.is_some()
    });
    let said = read_again(told);
    assert!(ended.unwrap().success() && said.is_empty(), "{said}");
    assert_eq!(nodes_of(&cluster.folder()), Vec::<u32>::new());
}

fn read_again(mut file: File) -> String {
    let mut text = String::new();
    file.seek(SeekFrom::Start(0)).unwrap();
    file.read_to_string(&mut text).unwrap();
    text
}
