//! Network namespaces for a bench: three hosts on one bridge, each with an address of its own, and cables that can be
//! pulled. Needs root and ip(8). Owns only namespaces with its own prefix and process id, and removes them when dropped;
//! those that a killed bench left behind are removed at the next start.

use std::io;
use std::process::Command;

/// What the names of all namespaces begin with.
const PREFIX: &str = "ksbench";

/// Hosts on a bridge. The bridge is in a namespace of its own, from which everything is observed.
#[derive(Debug)]
pub struct Net {
    id: u32,
    hosts: usize,
    /// Made here, and removed when dropped.
    own: bool,
}

impl Net {
    /// A bridge with so many hosts, 10.77.0.1 and on; the observer's namespace has 10.77.0.254.
    pub fn new(hosts: usize) -> io::Result<Net> {
        remove_leftovers()?;
        let net = Net { id: std::process::id(), hosts, own: true };
        let hub = net.hub();
        ip(&["netns", "add", &hub])?;
        ip(&["-n", &hub, "link", "set", "lo", "up"])?;
        ip(&["-n", &hub, "link", "add", "br0", "type", "bridge"])?;
        ip(&["-n", &hub, "addr", "add", "10.77.0.254/24", "dev", "br0"])?;
        ip(&["-n", &hub, "link", "set", "br0", "up"])?;
        for n in 0..hosts {
            let (name, far) = (net.host(n), format!("v{n}"));
            ip(&["netns", "add", &name])?;
            ip(&["-n", &hub, "link", "add", &far, "type", "veth", "peer", "name", "eth0", "netns", &name])?;
            ip(&["-n", &hub, "link", "set", &far, "master", "br0"])?;
            ip(&["-n", &hub, "link", "set", &far, "up"])?;
            ip(&["-n", &name, "addr", "add", &format!("{}/24", address(n)), "dev", "eth0"])?;
            ip(&["-n", &name, "link", "set", "eth0", "up"])?;
            ip(&["-n", &name, "link", "set", "lo", "up"])?;
        }
        Ok(net)
    }

    /// The net that process `id` has made, seen from a child of it.
    #[must_use]
    pub const fn of(id: u32, hosts: usize) -> Net {
        Net { id, hosts, own: false }
    }

    /// The observer's namespace.
    #[must_use]
    pub fn hub(&self) -> String {
        format!("{PREFIX}-{}-hub", self.id)
    }

    /// A host's namespace.
    #[must_use]
    pub fn host(&self, n: usize) -> String {
        format!("{PREFIX}-{}-{n}", self.id)
    }

    /// Pulls a host's cable, or puts it back: nothing goes in or out, and nobody is told.
    pub fn cable(&self, n: usize, plugged: bool) -> io::Result<()> {
        let (hub, far) = (self.hub(), format!("v{n}"));
        // Off the bridge, not down: the host must not learn of it from its own link.
        match plugged {
            true => ip(&["-n", &hub, "link", "set", &far, "master", "br0"]),
            false => ip(&["-n", &hub, "link", "set", &far, "nomaster"]),
        }
    }
}

impl Drop for Net {
    fn drop(&mut self) {
        if !self.own {
            return;
        }
        for name in (0..self.hosts).map(|n| self.host(n)).chain([self.hub()]) {
            // One that was never made can't be removed.
            let _ = ip(&["netns", "del", &name]);
        }
    }
}

/// A host's address.
#[must_use]
pub fn address(n: usize) -> String {
    format!("10.77.0.{}", n + 1)
}

/// Can namespaces be made here?
#[must_use]
pub fn possible() -> bool {
    let probe = format!("{PREFIX}-{}-probe", std::process::id());
    let made = ip(&["netns", "add", &probe]).is_ok();
    if made {
        let _ = ip(&["netns", "del", &probe]);
    }
    made
}

fn remove_leftovers() -> io::Result<()> {
    let list = Command::new("ip").args(["netns", "list"]).output()?;
    for line in String::from_utf8_lossy(&list.stdout).lines() {
        let Some(name) = line.split_whitespace().next() else { continue };
        let owner =
            name.strip_prefix(PREFIX).and_then(|rest| rest.split('-').nth(1)).and_then(|id| id.parse::<u32>().ok());
        if owner.is_some_and(|id| !std::path::Path::new(&format!("/proc/{id}")).exists()) {
            ip(&["netns", "del", name])?;
        }
    }
    Ok(())
}

fn ip(args: &[&str]) -> io::Result<()> {
    let output = Command::new("ip").args(args).output()?;
    if output.status.success() {
        return Ok(());
    }
    let why = String::from_utf8_lossy(&output.stderr).trim().to_owned();
    Err(io::Error::other(format!("ip {}: {why}", args.join(" "))))
}
