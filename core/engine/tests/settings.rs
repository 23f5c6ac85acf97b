//! CONFIG SET: what a value may be, and what is kept of it.

mod kit;

use kit::Kit;

fn get(kit: &mut Kit, c: keystead_engine::SessionId, name: &str) -> String {
    kit.cmd(c, &format!("CONFIG GET {name}")).split("\r\n").nth(4).unwrap_or_default().to_owned()
}

/// Values are texts here: whatever isn't one would become another value, and so another password.
#[test]
fn a_value_that_is_no_text_is_refused_and_changes_nothing() {
    let mut kit = Kit::default();
    let c = kit.connect();
    let mut said = |line: &str| kit.cmd(c, line);
    let refused =
        "-ERR CONFIG SET failed (possibly related to argument 'requirepass') - argument must be valid UTF-8\r\n";
    assert_eq!(said("CONFIG SET maxmemory-samples 7 requirepass \"p\\xffq\""), refused);
    assert!(said("CONFIG SET requirepass \"\\xff\" nope 1").starts_with("-ERR Unknown option"));
    assert_eq!(get(&mut kit, c, "maxmemory-samples"), "5");
    assert_eq!(get(&mut kit, c, "requirepass"), "");
    let other = kit.connect();
    assert_eq!(kit.cmd(other, "PING"), "+PONG\r\n");
    // Users' passwords are hashes of bytes.
    assert_eq!(kit.cmd(c, "ACL SETUSER u on \">p\\xffq\" +@all"), "+OK\r\n");
    assert!(kit.cmd(other, "AUTH u \"p\\xfeq\"").starts_with("-WRONGPASS"));
    assert_eq!(kit.cmd(other, "AUTH u \"p\\xffq\""), "+OK\r\n");
    // A name must fit into a line.
    assert!(kit.cmd(c, "ACL SETUSER \"\\xff\" on").starts_with("-ERR Usernames"));
    // An overlay holds texts too.
    assert!(matches!(kit.engine.changed_users(), Ok(Some(lines)) if lines.len() == 2));
    kit.cmd(c, "ACL SETUSER u \"~\\xff*\"");
    assert!(kit.engine.changed_users().is_err_and(|why| why.contains("'u'")));
}

#[test]
fn a_name_and_its_alias_may_stand_side_by_side() {
    let mut kit = Kit::default();
    let c = kit.connect();
    let (name, alias) = ("hash-max-listpack-entries", "hash-max-ziplist-entries");
    assert_eq!(kit.cmd(c, &format!("CONFIG SET {alias} 1 {name} 2")), "+OK\r\n");
    assert_eq!((get(&mut kit, c, name), get(&mut kit, c, alias)), ("2".into(), "2".into()));
    assert!(kit.cmd(c, &format!("CONFIG SET {name} 1 {} 2", name.to_uppercase())).contains("duplicate parameter"));
}

#[test]
fn values_are_what_redis_takes_and_shows() {
    let mut kit = Kit::default();
    let c = kit.connect();
    for (name, value, shown) in [
        ("maxmemory-clients", "0%", "0"),
        ("maxmemory-clients", "05%", "5%"),
        ("latency-tracking-info-percentiles", "50.10 99", "50.1 99"),
        ("latency-tracking-info-percentiles", "", ""),
        ("oom-score-adj-values", "-1 0 2000", "-1 0 2000"),
        ("cluster-announce-hostname", "a-1.example.com", "a-1.example.com"),
        ("cluster-announce-hostname", "", ""),
    ] {
        assert_eq!(kit.cmd(c, &format!("CONFIG SET {name} \"{value}\"")), "+OK\r\n", "{name} {value}");
        assert_eq!(get(&mut kit, c, name), shown, "{name} {value}");
    }
    for (name, value, why) in [
        ("latency-tracking-info-percentiles", " 1", "Invalid latency-tracking-info-percentiles parameters"),
        ("latency-tracking-info-percentiles", "1  2", "Invalid latency-tracking-info-percentiles parameters"),
        ("oom-score-adj-values", "1 2", "wrong number of arguments"),
        ("oom-score-adj-values", "1 2 2001", "elements must be between -2000 and 2000"),
        ("cluster-announce-hostname", "5%", "Hostnames may only contain alphanumeric characters, hyphens or dots"),
        ("cluster-announce-human-nodename", "a|b", "Announced human node name contained invalid character"),
    ] {
        let said = kit.cmd(c, &format!("CONFIG SET {name} \"{value}\""));
        assert!(said.contains(why), "{name} {value}: {said}");
    }
}
