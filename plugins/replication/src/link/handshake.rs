//! What a replica says before PSYNC and how it takes the answers.
//!
//! PING goes alone (a primary that hangs behind a live kernel must be noticed); AUTH and the REPLCONFs follow in
//! one write, their answers are read in order. Owns no socket and no state of the link.

use super::Settings;
use crate::text;

/// A question whose answer is awaited.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// PING.
    Ping,
    /// `AUTH [user] password`.
    Auth,
    /// REPLCONF listening-port.
    Port,
    /// REPLCONF ip-address.
    Address,
    /// REPLCONF capa.
    Capabilities,
}

/// How an answer is to be taken.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Go on.
    Fine,
    /// Go on, but say so: an old primary that doesn't know the option.
    Ignored(String),
    /// Give this connection up.
    Fatal(String),
}

/// The questions after PING, in order, with their bytes.
pub fn questions(settings: &Settings) -> Vec<(Step, Vec<u8>)> {
    let mut all = Vec::with_capacity(4);
    if let Some(password) = &settings.auth_password {
        let argv: Vec<&[u8]> = match &settings.auth_user {
            Some(user) => vec![b"AUTH", user, password],
            None => vec![b"AUTH", password],
        };
        all.push((Step::Auth, text::command(&argv)));
    }
    let port = settings.announce_port.unwrap_or(settings.listening_port).to_string();
    all.push((Step::Port, text::command(&[b"REPLCONF", b"listening-port", port.as_bytes()])));
    if let Some(ip) = &settings.announce_ip {
        all.push((Step::Address, text::command(&[b"REPLCONF", b"ip-address", ip.as_bytes()])));
    }
    all.push((Step::Capabilities, text::command(&[b"REPLCONF", b"capa", b"eof", b"capa", b"psync2"])));
    all
}

/// Judges the answer to `step`.
pub fn judge(step: Step, line: &[u8]) -> Verdict {
    let said = String::from_utf8_lossy(line);
    let error = line.first() == Some(&b'-');
    if !error && line.first() != Some(&b'+') {
        return Verdict::Fatal(format!("unexpected answer during the handshake: {said}"));
    }
    match step {
        _ if !error => Verdict::Fine,
        Step::Ping => {
            let alive: [&[u8]; 3] = [b"-NOAUTH", b"-NOPERM", b"-ERR operation not permitted"];
            if alive.iter().any(|a| line.starts_with(a)) {
                Verdict::Fine
            } else {
                Verdict::Fatal(format!("Error reply to PING from master: '{said}'"))
            }
        }
        Step::Auth => Verdict::Fatal(format!("Unable to AUTH to MASTER: {said}")),
        Step::Port => {
            Verdict::Ignored(format!("(Non critical) Master does not understand REPLCONF listening-port: {said}"))
        }
        Step::Address => {
            Verdict::Ignored(format!("(Non critical) Master does not understand REPLCONF ip-address: {said}"))
        }
        Step::Capabilities => {
            Verdict::Ignored(format!("(Non critical) Master does not understand REPLCONF capa: {said}"))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers() {
        use Step::*;
        let cases: &[(Step, &[u8], &str)] = &[
            (Ping, b"+PONG", "fine"),
            (Ping, b"-NOAUTH Authentication required.", "fine"),
            (Ping, b"-NOPERM this user", "fine"),
            (Ping, b"-ERR operation not permitted", "fine"),
            (Ping, b"-LOADING", "fatal"),
            (Ping, b"$5", "fatal"),
            (Auth, b"+OK", "fine"),
            (Auth, b"-WRONGPASS", "fatal"),
            (Port, b"-ERR unknown", "ignored"),
            (Address, b"-ERR unknown", "ignored"),
            (Capabilities, b"-ERR unknown", "ignored"),
            (Capabilities, b"+OK", "fine"),
            (Capabilities, b"", "fatal"),
        ];
        for (step, line, want) in cases {
            let got = match judge(*step, line) {
                Verdict::Fine => "fine",
                Verdict::Ignored(_) => "ignored",
                Verdict::Fatal(_) => "fatal",
            };
            assert_eq!(got, *want, "{step:?} {:?}", String::from_utf8_lossy(line));
        }
    }

    #[test]
    fn only_what_is_set_is_said() {
        let mut s = Settings { listening_port: 6380, ..Settings::default() };
        let steps = |s: &Settings| questions(s).into_iter().map(|(step, _)| step).collect::<Vec<_>>();
        assert_eq!(steps(&s), [Step::Port, Step::Capabilities]);
        s.auth_password = Some(b"pw".to_vec());
        s.announce_ip = Some("10.0.0.1".into());
        s.announce_port = Some(7000);
        assert_eq!(steps(&s), [Step::Auth, Step::Port, Step::Address, Step::Capabilities]);
        let bytes: Vec<u8> = questions(&s).into_iter().flat_map(|(_, b)| b).collect();
        assert!(bytes.starts_with(
            b"*2\r\n$4\r\nAUTH\r\n$2\r\npw\r\n*3\r\n$8\r\nREPLCONF\r\n$14\r\nlistening-port\r\n$4\r\n7000\r\n"
        ));
        s.auth_user = Some(b"me".to_vec());
        assert!(questions(&s)[0].1.starts_with(b"*3\r\n$4\r\nAUTH\r\n$2\r\nme\r\n"));
    }
}
