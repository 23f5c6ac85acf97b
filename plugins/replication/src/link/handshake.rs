//! What a replica says before PSYNC and how it takes the answers.
//!
//! PING goes alone (a primary that hangs behind a live kernel must be noticed); AUTH and the REPLCONFs follow in
//! one write, their answers are read in order. Owns no socket and no state of the link.

use super::Settings;
use crate::history::History;
use crate::text;
use crate::units::ReplId;

/// A replica's capability that tells its run id. Redis ignores what it doesn't know.
pub const NODE: &[u8] = b"keystead-node:";
/// In the answer to that: what the history goes on from.
const FROM: &str = "keystead-from:";
/// And, of a node that took its role from the one it followed when that asked it to: what that one's history was.
const TOOK: &str = "keystead-took:";
/// And, where all the data began in that process: the names of its history since.
const ANEW: &str = "keystead-anew:";
/// Nodes above a replica that are told to it: no real chain is as long, and the answer stays a short line.
pub const MAX_PATH: usize = 64;

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
    /// REPLCONF keystead-filter.
    Filter,
}

/// How an answer is to be taken.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Go on.
    Fine,
    /// Go on, but say so: an old primary that doesn't know the option.
    Ignored(String),
    /// Go on without a word of ours: our user has no right to REPLCONF.
    Forbidden(String),
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
    let mut words: Vec<&[u8]> = vec![b"REPLCONF", b"capa", b"eof", b"capa", b"psync2", b"capa", b"keystead-rdb12"];
    let node = settings.node.as_ref().map(|id| [NODE, id.as_bytes()].concat());
    if let Some(node) = &node {
        words.extend([b"capa".as_slice(), node]);
    }
    all.push((Step::Capabilities, text::command(&words)));
    if let Some(filter) = &settings.filter {
        all.push((Step::Filter, text::command(&[b"REPLCONF", b"keystead-filter", filter.as_bytes()])));
    }
    all
}

/// The run ids in an answer to the capabilities: the primary's own, then those it follows. Others than ours just say OK.
pub fn path(line: &[u8]) -> Option<Vec<String>> {
    let ids = std::str::from_utf8(line).ok()?.strip_prefix("+OK keystead-path ")?;
    Some(ids.split(' ').filter(|id| is_node(id)).take(MAX_PATH).map(str::to_owned).collect())
}

/// The history that the primary's own goes on from, in the same answer: after a restart it is what its files are of.
pub fn goes_on_from(line: &[u8]) -> Option<ReplId> {
    std::str::from_utf8(line).ok()?.split(' ').find_map(|word| ReplId::parse(word.strip_prefix(FROM)?.as_bytes()))
}

/// In the same answer: the history of the one whose role it took, of which it has all, whatever restarts went by.
pub fn took(line: &[u8]) -> Option<ReplId> {
    std::str::from_utf8(line).ok()?.split(' ').find_map(|word| ReplId::parse(word.strip_prefix(TOOK)?.as_bytes()))
}

/// In the same answer: the primary began with nothing, and its data was known by these names since.
pub fn began_anew(line: &[u8]) -> Option<Vec<ReplId>> {
    let names = std::str::from_utf8(line).ok()?.split(' ').find_map(|word| word.strip_prefix(ANEW))?;
    Some(names.split(',').filter_map(|name| ReplId::parse(name.as_bytes())).collect())
}

/// A primary's answer to a replica that named itself. `anew`: see [`began_anew`]; `took`: see [`took`].
pub fn path_answer(
    own: &str,
    upstream: &[String],
    history: &History,
    anew: Option<Vec<ReplId>>,
    took: Option<ReplId>,
) -> String {
    let ids = std::iter::once(own).chain(upstream.iter().map(String::as_str)).take(MAX_PATH);
    let mut answer = ids.fold("OK keystead-path".to_string(), |text, id| text + " " + id);
    if let Some(second) = &history.second {
        answer += &format!(" {FROM}{}", second.replid);
    }
    if let Some(from) = took {
        answer += &format!(" {TOOK}{from}");
    }
    if let Some(names) = anew {
        let names: Vec<String> = names.iter().map(ReplId::to_string).collect();
        answer += &format!(" {ANEW}{}", names.join(","));
    }
    answer
}

/// A run id: forty hexadecimal digits.
pub fn is_node(id: &str) -> bool {
    id.len() == 40 && id.bytes().all(|b| b.is_ascii_hexdigit())
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
        // PSYNC will be refused for the same reason, and says so.
        Step::Port | Step::Address | Step::Capabilities if line.starts_with(b"-NOAUTH") => Verdict::Fine,
        Step::Port | Step::Address | Step::Capabilities if line.starts_with(b"-NOPERM") => {
            Verdict::Forbidden(said.into_owned())
        }
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
        // One that doesn't know filters would send everything.
        Step::Filter => Verdict::Fatal(format!("Master has no filters for replicas: {said}")),
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
            (Capabilities, b"-NOPERM this user", "forbidden"),
            (Port, b"-NOPERM this user", "forbidden"),
            (Port, b"-NOAUTH Authentication required.", "fine"),
            (Filter, b"-NOPERM this user", "fatal"),
            (Capabilities, b"", "fatal"),
            (Filter, b"+OK", "fine"),
            (Filter, b"-ERR Unrecognized REPLCONF option: keystead-filter", "fatal"),
        ];
        for (step, line, want) in cases {
            let got = match judge(*step, line) {
                Verdict::Fine => "fine",
                Verdict::Ignored(_) => "ignored",
                Verdict::Forbidden(_) => "forbidden",
                Verdict::Fatal(_) => "fatal",
            };
            assert_eq!(got, *want, "{step:?} {:?}", String::from_utf8_lossy(line));
        }
    }

    #[test]
    fn paths() {
        let (a, b) = ("a".repeat(40), "b".repeat(40));
        let from = ReplId::parse(&[b'c'; 40]);
        let mut history = History::fresh(from.expect("an id"));
        assert_eq!(goes_on_from(format!("+{}", path_answer(&a, &[], &history, None, None)).as_bytes()), None);
        history.promote(crate::units::Offset(5), ReplId::parse(&[b'd'; 40]).expect("an id"));
        let (c, d) = (history.replid, from.expect("an id"));
        let answer = path_answer(&a, std::slice::from_ref(&b), &history, Some(vec![c, d]), Some(d));
        assert_eq!((took(format!("+{answer}").as_bytes()), took(b"+OK keystead-path")), (Some(d), None));
        assert_eq!(began_anew(format!("+{answer}").as_bytes()), Some(vec![c, d]));
        assert_eq!(began_anew(b"+OK keystead-path"), None);
        assert_eq!(goes_on_from(format!("+{answer}").as_bytes()), from);
        assert_eq!(path(format!("+{answer}").as_bytes()), Some(vec![a.clone(), b]));
        assert_eq!(path(b"+OK"), None);
        assert_eq!(path(b"-ERR keystead-path"), None);
        assert_eq!(path(format!("+OK keystead-path {a} nonsense").as_bytes()), Some(vec![a.clone()]));
        let long = path_answer(&a, &vec![a.clone(); 1000], &history, None, None);
        assert_eq!(path(format!("+{long}").as_bytes()).map(|ids| ids.len()), Some(MAX_PATH));
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
        s.node = Some("1".repeat(40));
        assert!(
            questions(&s)[3]
                .1
                .ends_with(format!("$4\r\ncapa\r\n$54\r\nkeystead-node:{}\r\n", "1".repeat(40)).as_bytes())
        );
        s.filter = Some("eu".into());
        assert_eq!(steps(&s).last(), Some(&Step::Filter));
        s.auth_user = Some(b"me".to_vec());
        assert!(questions(&s)[0].1.starts_with(b"*3\r\n$4\r\nAUTH\r\n$2\r\nme\r\n"));
    }
}
