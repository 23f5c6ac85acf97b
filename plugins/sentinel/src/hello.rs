//! The hello message: how sentinels find each other and how a configuration spreads.
//! Owns its text form; never acts on one.

use crate::types::{Addr, Epoch};
use std::fmt;

/// One hello, `ip,port,runid,current_epoch,name,primary_ip,primary_port,config_epoch`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hello {
    /// Where the sender listens.
    pub addr: Addr,
    /// The sender's id.
    pub id: String,
    /// The sender's current epoch.
    pub epoch: Epoch,
    /// Name of the monitored primary.
    pub name: String,
    /// The primary as the sender's configuration has it.
    pub primary: Addr,
    /// Epoch of that configuration.
    pub config_epoch: Epoch,
}

/// Longest text read as a hello: eight short fields.
const MAX_HELLO: usize = 1024;

impl Hello {
    /// Reads a hello; anything else is nothing.
    #[must_use]
    pub fn parse(text: &str) -> Option<Hello> {
        // Fields come into events, scripts' arguments and the log: no blanks, no ends of lines.
        if text.len() > MAX_HELLO || !text.bytes().all(|b| b.is_ascii_graphic()) {
            return None;
        }
        let fields: Vec<&str> = text.split(',').collect();
        let [ip, port, id, epoch, name, primary_ip, primary_port, config_epoch] = fields[..] else { return None };
        if id.is_empty() || name.is_empty() || ip.is_empty() || primary_ip.is_empty() {
            return None;
        }
        let port_of = |text: &str| text.parse().ok().filter(|port: &u16| *port != 0);
        Some(Hello {
            addr: Addr::new(ip, port_of(port)?),
            id: id.to_owned(),
            epoch: Epoch(epoch.parse().ok()?),
            name: name.to_owned(),
            primary: Addr::new(primary_ip, port_of(primary_port)?),
            config_epoch: Epoch(config_epoch.parse().ok()?),
        })
    }
}

impl fmt::Display for Hello {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Hello { addr, id, epoch, name, primary, config_epoch } = self;
        write!(f, "{},{},{id},{epoch},{name},{},{},{config_epoch}", addr.host, addr.port, primary.host, primary.port)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read() {
        let text = "127.0.0.1,26379,3e2e0b0f5a7d4a8f0d8f54a1c3e5a8f1a1b2c3d4,3,mymaster,127.0.0.1,6380,3";
        let hello = Hello::parse(text).unwrap();
        assert_eq!(hello.to_string(), text);
        assert_eq!((hello.epoch, hello.primary.port), (Epoch(3), 6380));
    }

    #[test]
    fn nonsense_is_nothing() {
        for text in [
            "",
            "a,b,c",
            "1.1.1.1,x,id,1,n,2.2.2.2,1,1",
            "1.1.1.1,1,,1,n,2.2.2.2,1,1",
            "1,2,3,4,5,6,7,8,9",
            "1.1.1.1,0,id,1,n,2.2.2.2,1,1",
            "1.1.1.1,1,id,1,n,2.2.2.2,0,1",
            "1.1.1.1,1,i d,1,n,2.2.2.2,1,1",
            "1.1.1.1,1,id\n# it fell,1,n,2.2.2.2,1,1",
            "1.1.1.1,1,\u{1b}[2J,1,n,2.2.2.2,1,1",
        ] {
            assert_eq!(Hello::parse(text), None, "{text}");
        }
        assert_eq!(Hello::parse(&"x".repeat(5000)), None);
    }
}
