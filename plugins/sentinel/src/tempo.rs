//! The periods and limits that SENTINEL DEBUG shows and changes: Redis' names, in milliseconds.
//! Owns the numbers; they are for tests and are not written to the state file, as in Redis.

use crate::wire::integer;

/// The numbers. The defaults are Redis' but for the two about stalls, which work otherwise here (see `machine`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Tempo {
    /// INFO is asked this often.
    pub info_period: u64,
    /// Pings go out at least this often.
    pub ping_period: u64,
    /// Peers are asked about a primary that looks down at least this often.
    pub ask_period: u64,
    /// Hellos go out this often.
    pub publish_period: u64,
    /// down-after of a primary that SENTINEL MONITOR adds.
    pub default_down_after: u64,
    /// failover-timeout of a primary that SENTINEL MONITOR adds.
    pub default_failover_timeout: u64,
    /// The longest this process may stand still before its observation starts anew.
    pub tilt_trigger: u64,
    /// How long it stays passive then.
    pub tilt_period: u64,
    /// A replica that was told to follow and shows no sign of it is given up after this long.
    pub slave_reconf_timeout: u64,
    /// A link isn't given up for silence before it is this old.
    pub min_link_reconnect_period: u64,
    /// The longest campaign.
    pub election_timeout: u64,
    /// A script that runs longer is killed.
    pub script_max_runtime: u64,
    /// Before the second try of a script; doubled for each further one.
    pub script_retry_delay: u64,
}

/// The numbers of a sentinel nobody tuned.
pub const DEFAULT: Tempo = Tempo {
    info_period: 10_000,
    ping_period: 1_000,
    ask_period: 1_000,
    publish_period: 2_000,
    default_down_after: 30_000,
    default_failover_timeout: 180_000,
    tilt_trigger: 1_000,
    tilt_period: 0,
    slave_reconf_timeout: 10_000,
    min_link_reconnect_period: 15_000,
    election_timeout: 10_000,
    script_max_runtime: 60_000,
    script_retry_delay: 30_000,
};

impl Default for Tempo {
    fn default() -> Tempo {
        DEFAULT
    }
}

impl Tempo {
    /// Names and places, in Redis' order.
    fn fields(&mut self) -> [(&'static str, &mut u64); 13] {
        [
            ("INFO-PERIOD", &mut self.info_period),
            ("PING-PERIOD", &mut self.ping_period),
            ("ASK-PERIOD", &mut self.ask_period),
            ("PUBLISH-PERIOD", &mut self.publish_period),
            ("DEFAULT-DOWN-AFTER", &mut self.default_down_after),
            ("DEFAULT-FAILOVER-TIMEOUT", &mut self.default_failover_timeout),
            ("TILT-TRIGGER", &mut self.tilt_trigger),
            ("TILT-PERIOD", &mut self.tilt_period),
            ("SLAVE-RECONF-TIMEOUT", &mut self.slave_reconf_timeout),
            ("MIN-LINK-RECONNECT-PERIOD", &mut self.min_link_reconnect_period),
            ("ELECTION-TIMEOUT", &mut self.election_timeout),
            ("SCRIPT-MAX-RUNTIME", &mut self.script_max_runtime),
            ("SCRIPT-RETRY-DELAY", &mut self.script_retry_delay),
        ]
    }

    /// Names and values.
    #[must_use]
    pub fn list(mut self) -> Vec<(&'static str, u64)> {
        self.fields().map(|(name, value)| (name, *value)).to_vec()
    }

    /// Sets one. The error is a whole reply.
    ///
    /// # Errors
    /// No such name, or no positive number.
    pub fn set(&mut self, name: &str, value: &str) -> Result<(), String> {
        let found = self.fields().into_iter().find(|(known, _)| known.eq_ignore_ascii_case(name));
        let Some((_, place)) = found else { return Err(unknown(name)) };
        let number = integer(value).and_then(|n| u64::try_from(n).ok()).filter(|n| *n > 0);
        *place = number.ok_or_else(|| format!("ERR Invalid argument '{value}' for SENTINEL DEBUG '{name}'"))?;
        Ok(())
    }
}

/// What is said about a name that isn't one, or has no value.
#[must_use]
pub fn unknown(name: &str) -> String {
    format!("ERR Unknown option or number of arguments for SENTINEL DEBUG '{name}'")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_set_under_redis_names() {
        let mut tempo = DEFAULT;
        tempo.set("info-period", "500").unwrap();
        assert_eq!(tempo.list()[0], ("INFO-PERIOD", 500));
        assert!(tempo.set("info-period", "0").unwrap_err().contains("Invalid argument '0'"));
        assert!(tempo.set("colour", "1").unwrap_err().contains("Unknown option"));
        assert_eq!(tempo.info_period, 500);
    }
}
