//! `keystead sentinel explain | timeline | watch`: asks a running sentinel over its own port and shows what it says.
//! A command-line tool: it works against any Keystead sentinel, and changes nothing.

use crate::cluster::client::Client;
use crate::logging::timestamp;
use crate::tls;
use clap::{Args, Subcommand};
use rustls::ClientConfig;
use std::io::{self, IsTerminal, Write};
use std::process::ExitCode;
use std::sync::Arc;
use std::thread;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// Between two looks of `watch`.
const LOOK_EVERY: Duration = Duration::from_millis(500);
/// Lines of the timeline that `watch` shows.
const WATCHED_LINES: usize = 16;

/// Which sentinel, and what is asked.
#[derive(Debug, Args)]
pub(crate) struct Options {
    /// Where the sentinel listens
    #[arg(long, global = true, default_value = "127.0.0.1")]
    host: String,
    /// Its port
    #[arg(long, global = true, default_value_t = 26379)]
    port: u16,
    /// User of its ACL; the default user without one
    #[arg(long, global = true)]
    user: Option<String>,
    /// Its password; KEYSTEAD_SENTINEL_PASSWORD in the environment otherwise, which other users cannot see
    #[arg(long, global = true)]
    password: Option<String>,
    #[command(flatten)]
    tls: Tls,
    #[command(subcommand)]
    what: What,
}

/// How the connection is encrypted; redis-cli's names.
#[derive(Debug, Args)]
struct Tls {
    /// Connect with TLS
    #[arg(long = "tls", global = true)]
    on: bool,
    /// The authorities that may have issued the sentinel's certificate, as PEM
    #[arg(long, global = true, value_name = "FILE")]
    cacert: Option<String>,
    /// An own certificate, where the sentinel asks for one
    #[arg(long, global = true, value_name = "FILE")]
    cert: Option<String>,
    /// Its private key
    #[arg(long, global = true, value_name = "FILE")]
    key: Option<String>,
}

impl Tls {
    /// What they say together; nothing: without TLS.
    fn config(&self) -> Result<Option<Arc<ClientConfig>>, String> {
        let given = self.cacert.is_some() || self.cert.is_some() || self.key.is_some();
        match (self.on, &self.cacert) {
            (false, _) if given => return Err("--cacert, --cert and --key are for --tls".into()),
            (false, _) => return Ok(None),
            (true, None) => return Err("--tls needs --cacert: whose word is taken for the sentinel?".into()),
            _ if self.cert.is_some() != self.key.is_some() => return Err("--cert and --key go together".into()),
            _ => {}
        }
        let value = |name: &str| {
            let place = match name {
                "tls-ca-cert-file" => &self.cacert,
                "tls-cert-file" => &self.cert,
                "tls-key-file" => &self.key,
                _ => &None,
            };
            place.clone().unwrap_or_default()
        };
        tls::asking(&tls::Values::read(&value)).map(Some)
    }
}

#[derive(Debug, Subcommand)]
enum What {
    /// What it believes of everybody, what it would do, and what blocks a failover
    Explain {
        /// Name of the primary; all of them without one
        name: Option<String>,
    },
    /// The last failovers as steps with milliseconds and causes
    Timeline {
        /// Name of the primary; all of them without one
        name: Option<String>,
        /// How many failovers of each primary
        #[arg(long, default_value_t = 16)]
        count: u32,
        /// One JSON object a line
        #[arg(long)]
        json: bool,
    },
    /// Both, live, until Ctrl-C
    Watch {
        /// Name of the primary; all of them without one
        name: Option<String>,
    },
}

/// Asks and prints.
pub(crate) fn run(options: &Options) -> ExitCode {
    let result = match &options.what {
        What::Explain { name } => explain(options, name.as_deref()).and_then(print),
        What::Timeline { name, count, json } => timeline(options, name.as_deref(), *count, *json).and_then(print),
        What::Watch { name } => watch(options, name.as_deref()),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("keystead sentinel: {}:{}: {error}", options.host, options.port);
            ExitCode::FAILURE
        }
    }
}

fn connect(options: &Options) -> io::Result<Client> {
    let tls = options.tls.config().map_err(io::Error::other)?;
    let mut client = Client::connect_to(&options.host, options.port, tls)?;
    let password = options.password.clone().or_else(|| std::env::var("KEYSTEAD_SENTINEL_PASSWORD").ok());
    match (&options.user, password) {
        (Some(user), Some(password)) => _ = client.call(&["AUTH", user, &password])?,
        (None, Some(password)) => _ = client.call(&["AUTH", &password])?,
        (Some(_), None) => return Err(io::Error::other("--user needs a password")),
        (None, None) => {}
    }
    Ok(client)
}

/// The name asked for, or all that the sentinel watches. Who isn't one is told by its role.
fn names(client: &mut Client, name: Option<&str>) -> io::Result<Vec<String>> {
    match (name, client.call(&["ROLE"])) {
        (_, Ok(role)) if role.first().is_some_and(|role| role != "sentinel") => Err(io::Error::other(format!(
            "no sentinel listens here: this is the port of a data node ({})",
            role.first().map_or("", String::as_str)
        ))),
        (Some(name), _) => Ok(vec![name.to_owned()]),
        (None, role) => role.map(|words| words.into_iter().skip(1).collect()),
    }
}

/// Asks for what only a Keystead sentinel has.
fn ask(client: &mut Client, words: &[&str]) -> io::Result<Vec<String>> {
    client.call(words).map_err(|error| match error.to_string() {
        text if text.to_ascii_lowercase().contains("unknown subcommand") => {
            io::Error::other(format!("this is not a Keystead sentinel: it has no SENTINEL {} ({text})", words[1]))
        }
        _ => error,
    })
}

fn explain(options: &Options, name: Option<&str>) -> io::Result<Vec<String>> {
    let mut client = connect(options)?;
    let mut lines = Vec::new();
    for name in names(&mut client, name)? {
        lines.push(format!("{name}:"));
        lines.extend(ask(&mut client, &["SENTINEL", "EXPLAIN", &name])?.into_iter().map(|line| format!("  {line}")));
    }
    Ok(lines)
}

fn timeline(options: &Options, name: Option<&str>, count: u32, json: bool) -> io::Result<Vec<String>> {
    let mut client = connect(options)?;
    let count = count.to_string();
    let mut lines = Vec::new();
    for name in names(&mut client, name)? {
        let mut words = vec!["SENTINEL", "TIMELINE", &name, &count];
        words.extend(json.then_some("JSON"));
        let now = SystemTime::now();
        lines.extend(ask(&mut client, &words)?.into_iter().map(|line| if json { line } else { dated(line, now) }));
    }
    Ok(lines)
}

/// `m, 75 s ago, 262 ms:` with the moment as the log writes it in front: a sentinel counts from its own start only.
fn dated(line: String, now: SystemTime) -> String {
    let ago = line.split_once(", ").and_then(|(_, rest)| rest.split_once(" s ago, "));
    let Some(seconds) = ago.and_then(|(seconds, _)| seconds.parse().ok()).filter(|_| !line.starts_with(' ')) else {
        return line;
    };
    let at = now.checked_sub(Duration::from_secs(seconds)).unwrap_or(UNIX_EPOCH);
    let stamp = timestamp(at.duration_since(UNIX_EPOCH).unwrap_or_default().as_millis());
    let to_the_second = stamp.split('.').next().unwrap_or_default();
    format!("{to_the_second} UTC, {line}")
}

fn print(lines: Vec<String>) -> io::Result<()> {
    let mut out = io::stdout().lock();
    lines.iter().try_for_each(|line| writeln!(out, "{line}"))
}

/// On a terminal the picture is drawn over itself; elsewhere it is written when it can be had, once a look.
fn watch(options: &Options, name: Option<&str>) -> io::Result<()> {
    // The first look must succeed: a wrong port or name is said and not waited for.
    let mut seen = look(options, name)?;
    let clear = if io::stdout().is_terminal() { "\x1b[2J\x1b[H" } else { "" };
    loop {
        let mut out = io::stdout().lock();
        write!(out, "{clear}")?;
        drop(out);
        print(seen)?;
        thread::sleep(LOOK_EVERY);
        seen = look(options, name).unwrap_or_else(|error| vec![format!("the sentinel does not answer: {error}")]);
    }
}

fn look(options: &Options, name: Option<&str>) -> io::Result<Vec<String>> {
    let mut lines = explain(options, name)?;
    lines.push(String::new());
    lines.extend(timeline(options, name, 2, false)?.into_iter().take(WATCHED_LINES));
    Ok(lines)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A server that answers each command with the next of these, and where it listens.
    fn server(replies: &'static [&'static str]) -> u16 {
        let listener = std::net::TcpListener::bind(("127.0.0.1", 0)).unwrap();
        let port = listener.local_addr().unwrap().port();
        thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            for reply in replies {
                let mut request = [0; 256];
                let _ = std::io::Read::read(&mut stream, &mut request);
                let _ = stream.write_all(reply.as_bytes());
            }
        });
        port
    }

    #[test]
    fn who_is_no_keystead_sentinel_is_named() {
        let role = "*3\r\n$6\r\nmaster\r\n:0\r\n*0\r\n";
        let unknown = "-ERR unknown subcommand 'EXPLAIN'. Try SENTINEL HELP.\r\n";
        let sentinel = "*2\r\n$8\r\nsentinel\r\n*1\r\n$1\r\nm\r\n";
        for (replies, words) in
            [(vec![role], "no sentinel listens here"), (vec![sentinel, unknown], "not a Keystead sentinel")]
        {
            let mut client = Client::connect(server(replies.leak())).unwrap();
            let told = names(&mut client, None).and_then(|names| ask(&mut client, &["SENTINEL", "EXPLAIN", &names[0]]));
            let told = told.unwrap_err().to_string();
            assert!(told.contains(words), "{told}");
        }
    }

    #[test]
    fn a_failover_has_the_time_of_day_that_the_log_has() {
        let now = UNIX_EPOCH + Duration::from_millis(951_782_475_900);
        assert_eq!(dated("m, 75 s ago, 262 ms:".into(), now), "29 Feb 2000 00:00:00 UTC, m, 75 s ago, 262 ms:");
        for step in ["       0 ms  sdown: silent, 3 s ago, it says", "nothing"] {
            assert_eq!(dated(step.into(), now), step);
        }
    }
}
