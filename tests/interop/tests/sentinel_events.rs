//! The events of a failover, payload by payload: a group of Keystead sentinels beside one of redis-sentinel 7.0.15, both
//! watching stock servers. Addresses, ids, epochs and times are masked; what is left must be the same.

use keystead_harness::{Client, Group, Maker, PRIMARY, Shape, free_port, have, wait_until};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

const LIMIT: Duration = Duration::from_secs(90);
/// Below some two seconds stock sentinels may start a second failover out of stale down-votes.
const DOWN_AFTER_MS: u64 = 3000;

/// Name of an event, and the forms its payload took.
type Events = BTreeMap<String, BTreeSet<String>>;

/// Reads what a sentinel publishes until it ends.
fn listen(port: u16, heard: Arc<Mutex<Vec<(String, String)>>>) {
    let mut client = Client::connect(port);
    client.send(&["PSUBSCRIBE", "*"]).expect("a socket");
    client.read().expect("subscribed");
    std::thread::spawn(move || {
        while let Ok(reply) = client.read() {
            let texts = reply.texts();
            if let [_, _, channel, text] = &texts[..] {
                heard.lock().expect("nobody panics with it").push((channel.clone(), text.clone()));
            }
        }
    });
}

/// A payload without what differs from run to run.
fn masked(text: &str, ports: &BTreeMap<String, &str>) -> String {
    let word = |word: &str| {
        let (host, port) = word.rsplit_once(':').unwrap_or(("", word));
        if let Some(name) = ports.get(port) {
            return if host.is_empty() { (*name).to_owned() } else { format!("{host}:{name}") };
        }
        if word.len() == 40 && word.bytes().all(|b| b.is_ascii_hexdigit()) {
            return "ID".into();
        }
        if word.bytes().all(|b| b.is_ascii_digit()) {
            return "N".into();
        }
        // A quorum's votes: how many there were at that moment is chance.
        if word.contains('/') { "N/N".into() } else { word.to_owned() }
    };
    text.split(' ').map(word).collect::<Vec<_>>().join(" ")
}

fn nameless(text: &str) -> String {
    text.replace("OLD", "NODE").replace("NEW", "NODE").replace("THIRD", "NODE")
}

/// A change of role, of a primary or a replica, to either role, as one form; anything else as it is.
fn role_change(text: &str) -> String {
    const SUBJECTS: [&str; 2] =
        ["master mymaster 127.0.0.1 NODE", "slave 127.0.0.1:NODE 127.0.0.1 NODE @ mymaster 127.0.0.1 NODE"];
    match text.split_once(" new reported role is ") {
        Some((who, "master" | "slave")) if SUBJECTS.contains(&who) => "a change of role".into(),
        _ => text.to_owned(),
    }
}

/// Discovery, a kill, a failover, the old primary's return, an operator's failover back; what all three sentinels said.
fn run(sentinels: Maker) -> Events {
    let mut group = Group::start(&Shape {
        data: vec![Maker::Redis; 3],
        sentinels: vec![sentinels; 3],
        down_after_ms: DOWN_AFTER_MS,
    });
    let heard = Arc::new(Mutex::new(Vec::new()));
    group.sentinels.iter().for_each(|s| listen(s.port(), heard.clone()));
    let said = |name: &str| heard.lock().expect("ours").iter().filter(|(event, _)| event == name).count();
    let old = group.data[0].port();
    // The other replica is never preferred, so that a run has one course.
    group.data[2].client().ok("CONFIG SET replica-priority 200");
    let last = group.data[2].port();
    wait_until("the sentinels know the priority", LIMIT, || {
        group.sentinels.iter().all(|s| {
            let replicas = s.client().ok(&format!("SENTINEL REPLICAS {PRIMARY}")).items();
            let of =
                |name: &str, r: &keystead_harness::Reply| r.get(name).and_then(|v| v.as_text()).unwrap_or_default();
            replicas.iter().any(|r| of("port", r) == last.to_string() && of("slave-priority", r) == "200")
        })
    });
    group.node(old).process().kill();
    let (new, _) = group.first_write_elsewhere(old, Instant::now(), LIMIT);
    wait_until("all sentinels have switched", LIMIT, || said("+switch-master") >= 3);
    wait_until("the old primary is seen down as a replica", LIMIT, || {
        heard.lock().expect("ours").iter().any(|(event, text)| event == "+sdown" && text.starts_with("slave "))
    });
    group.node(old).process().restart().expect("it starts again");
    group.wait_replica(old, new, LIMIT);
    group.wait_settled(LIMIT);
    let mut client = group.sentinels[0].client();
    client.ok(&format!("SENTINEL SET {PRIMARY} parallel-syncs 2"));
    client.ok(&format!("SENTINEL RESET {PRIMARY}"));
    wait_until("the reset was told", LIMIT, || said("+reset-master") >= 1);
    group.wait_settled(LIMIT);
    let nobody = free_port();
    client.ok(&format!("SENTINEL MONITOR other 127.0.0.1 {nobody} 2"));
    client.ok("SENTINEL REMOVE other");
    wait_until("the end was told", LIMIT, || said("-monitor") >= 1);
    let other = group.data.iter().map(|n| n.port()).find(|port| ![old, new].contains(port)).expect("three");
    let mut ports: BTreeMap<String, &str> = [(old, "OLD"), (new, "NEW"), (other, "THIRD"), (nobody, "NOBODY")]
        .map(|(port, name)| (port.to_string(), name))
        .into();
    ports.extend(group.sentinels.iter().map(|s| (s.port().to_string(), "SENTINEL")));
    let mut events = Events::new();
    for (name, text) in heard.lock().expect("ours").iter().filter(|(name, _)| name != "__sentinel__:hello") {
        events.entry(name.clone()).or_default().insert(masked(text, &ports));
    }
    events
}

#[test]
fn the_events_of_a_failover_have_the_stock_payloads() {
    if !have("redis-server") || !have("redis-sentinel") {
        println!("SKIPPED: redis-server or redis-sentinel is not installed");
        return;
    }
    let (ours, stock) = (run(Maker::Keystead), run(Maker::Redis));
    for name in [
        "+sdown",
        "+odown",
        "+new-epoch",
        "+try-failover",
        "+vote-for-leader",
        "+elected-leader",
        "+failover-state-select-slave",
        "+selected-slave",
        "+failover-state-send-slaveof-noone",
        "+failover-state-wait-promotion",
        "+promoted-slave",
        "+failover-state-reconf-slaves",
        "+slave-reconf-sent",
        "+failover-end",
        "+switch-master",
        "+config-update-from",
        "+slave",
        "+sentinel",
        "+convert-to-slave",
        "+set",
        "+reset-master",
        "+monitor",
        "-monitor",
        "-sdown",
    ] {
        assert!(stock.contains_key(name), "the stock sentinel said no {name}: {stock:#?}");
        assert!(ours.contains_key(name), "our sentinels said no {name}: {ours:#?}");
    }
    // Each form that one of ours has, the stock one has too: of events that both have seen.
    let mut strange = Vec::new();
    for (name, forms) in &ours {
        let Some(known) = stock.get(name) else { continue };
        // About whom is chance for these: a stale down-vote or a slow start may add another node.
        let form = |text: &String| match name.as_str() {
            "+sdown"
            | "-sdown"
            | "+slave"
            | "+slave-reconf-sent"
            | "+slave-reconf-inprog"
            | "+slave-reconf-done"
            | "+reboot" => nameless(text),
            // And so is which of its forms: whoever asks a node behind a switch hears a new role, who asked before doesn't.
            "+role-change" | "-role-change" => role_change(&nameless(text)),
            _ => text.clone(),
        };
        let known: BTreeSet<String> = known.iter().map(form).collect();
        strange.extend(
            forms.iter().map(form).filter(|f| !known.contains(f)).map(|f| format!("{name}: {f} not in {known:?}")),
        );
    }
    assert!(strange.is_empty(), "{}", strange.join("\n"));
    let unknown: Vec<_> = ours.keys().filter(|name| !stock.contains_key(*name)).collect();
    println!("events of ours that the stock run did not bring: {unknown:?}");
}

#[test]
fn both_forms_of_a_change_of_role_are_one() {
    let master = "master mymaster 127.0.0.1 NODE new reported role is master";
    let slave = "slave 127.0.0.1:NODE 127.0.0.1 NODE @ mymaster 127.0.0.1 NODE new reported role is slave";
    assert_eq!(role_change(master), role_change(slave));
    for other in ["master mymaster 127.0.0.1 NODE", "master m 127.0.0.1 NODE new reported role is master"] {
        assert_eq!(role_change(other), other);
    }
}
