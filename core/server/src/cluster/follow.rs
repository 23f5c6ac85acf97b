//! Follows a cluster live: sentinels' events as steps of a failover, role changes, lag, nodes that end or come back.
//! Only looks; the one thing it never does is to change a node.

use super::{
    client::{self, Client},
    layout::{Layout, MONITOR_NAME},
    nodes::{Process, how},
    picture::Seen,
    screen::Screen,
};
use std::{
    collections::HashMap,
    io,
    sync::mpsc::{self, Receiver, RecvTimeoutError, Sender},
    thread,
    time::{Duration, Instant},
};

/// Between two looks at every node.
const LOOK_EVERY: Duration = Duration::from_millis(500);
/// A subscriber that lost its sentinel tries again after this time.
const RECONNECT: Duration = Duration::from_millis(500);
/// The same event from another sentinel within this time is not news.
const SAME_NEWS: Duration = Duration::from_secs(3);
/// Events further apart than this belong to different stories; the clock of steps starts anew.
const STORY_GAP: Duration = Duration::from_secs(10);
/// Events that only sentinels' maintainers want to see.
const QUIET: &[&str] =
    &["+monitor", "+sentinel", "+slave", "+cmd-link", "+pubsub-link", "+set", "+reboot", "+new-epoch"];

struct Event {
    sentinel: u16,
    channel: String,
    message: String,
}

/// Says what happens until somebody stops the cluster.
pub(super) fn follow(layout: &Layout, processes: &mut [Process], screen: Screen<'_>) {
    let (sender, events) = mpsc::channel();
    for node in &layout.nodes {
        if let Some(port) = node.sentinel() {
            subscribe(port, sender.clone());
        }
    }
    let mut story = Story::default();
    let mut watch = Watch::new(layout);
    while !screen.stopped() {
        story.tell_until(&events, Instant::now() + LOOK_EVERY, screen);
        watch.look(layout, processes, screen);
    }
    screen.status("");
}

/// Feeds one sentinel's events into the channel, for as long as the process lives.
fn subscribe(port: u16, events: Sender<Event>) {
    thread::spawn(move || {
        loop {
            let ended = listen(port, &events);
            if matches!(ended, Ok(())) {
                return;
            }
            thread::sleep(RECONNECT);
        }
    });
}

/// Gives `Ok` when nobody listens to us any more, an error when the sentinel is gone.
fn listen(port: u16, events: &Sender<Event>) -> io::Result<()> {
    let mut client = Client::connect(port)?;
    client.send(&["PSUBSCRIBE", "*"])?;
    client.wait_for_ever()?;
    loop {
        if let [kind, _, channel, message] = &client.reply()?[..]
            && kind == "pmessage"
            && channel != "__sentinel__:hello"
        {
            let event = Event { sentinel: port, channel: channel.clone(), message: message.clone() };
            if events.send(event).is_err() {
                return Ok(());
            }
        }
    }
}

/// The events of one failover, timed from its first.
#[derive(Default)]
struct Story {
    begun: Option<Instant>,
    last: Option<Instant>,
    told: HashMap<String, Instant>,
}

impl Story {
    fn tell_until(&mut self, events: &Receiver<Event>, until: Instant, screen: Screen<'_>) {
        while !screen.stopped() {
            match events.recv_timeout(until.saturating_duration_since(Instant::now())) {
                Ok(event) => self.tell(&event, screen),
                Err(RecvTimeoutError::Timeout) => return,
                Err(RecvTimeoutError::Disconnected) => {
                    thread::sleep(until.saturating_duration_since(Instant::now()));
                    return;
                }
            }
        }
    }

    fn tell(&mut self, event: &Event, screen: Screen<'_>) {
        let now = Instant::now();
        if QUIET.contains(&event.channel.as_str()) {
            return;
        }
        // A switch is one fact, however many sentinels say it; a vote is each sentinel's own.
        let own = ["+vote-for-leader", "+sdown", "-sdown"].contains(&event.channel.as_str());
        let key = format!(
            "{} {}{}",
            event.channel,
            event.message,
            if own { event.sentinel.to_string() } else { String::new() }
        );
        if self.told.get(&key).is_some_and(|told| now - *told < SAME_NEWS) {
            return;
        }
        self.told.retain(|_, told| now - *told < SAME_NEWS);
        self.told.insert(key, now);
        if self.last.is_none_or(|last| now - last > STORY_GAP) {
            self.begun = Some(now);
        }
        self.last = Some(now);
        let step = self.begun.map_or(0, |begun| (now - begun).as_millis());
        screen.news(&format!(
            "  +{step:>5} ms  sentinel {}  {}",
            event.sentinel,
            in_words(&event.channel, &event.message)
        ));
    }
}

/// An event with a short explanation for those who see it for the first time.
fn in_words(channel: &str, message: &str) -> String {
    let meaning = match channel {
        "+sdown" => "no valid answer for down-after: subjectively down",
        "-sdown" => "answers again, or is watched anew behind a stall",
        "+odown" => "enough sentinels agree: objectively down",
        "-odown" => "no longer agreed to be down",
        "+try-failover" => "asks for votes to lead the failover",
        "+vote-for-leader" => "votes",
        "+elected-leader" => "a majority voted for it",
        "+selected-slave" => "the best replica: priority, then offset, then run id",
        "+promoted-slave" => "the replica became primary",
        "+slave-reconf-sent" => "a replica is told to follow the new primary",
        "+slave-reconf-done" => "and follows it",
        "+failover-end" => "done",
        "+switch-master" => "clients are told the new address",
        "+convert-to-slave" => "the old primary is made a replica",
        _ => "",
    };
    if meaning.is_empty() { format!("{channel} {message}") } else { format!("{channel} {message}   ({meaning})") }
}

/// What every node said last, so that only changes are printed.
struct Watch {
    seen: Vec<Seen>,
}

impl Watch {
    fn new(layout: &Layout) -> Self {
        Self { seen: layout.nodes.iter().map(|n| client::look(n.port)).collect() }
    }

    fn look(&mut self, layout: &Layout, processes: &mut [Process], screen: Screen<'_>) {
        for (index, node) in layout.nodes.iter().enumerate() {
            if let Some(status) = processes[index].newly_ended() {
                screen.news(&format!(
                    "{} on {} (pid {}): {}",
                    self.seen[index].word(),
                    node.port,
                    processes[index].pid(),
                    how(status)
                ));
                screen.news(&format!("  start it again in another terminal: {} {}", program(), node.file.display()));
            }
            let now = client::look(node.port);
            let before = &self.seen[index];
            if now.role != before.role {
                screen.news(&format!("{} was {}, is now {}", node.port, before.word(), now.word()));
            } else if now.link_up && !before.link_up {
                screen.news(&format!("{} follows {} at offset {}", node.port, now.follows.unwrap_or(0), now.offset));
            }
            self.seen[index] = now;
        }
        self.draw(layout, screen);
    }

    /// One line that is drawn over and over on a terminal.
    fn draw(&self, layout: &Layout, screen: Screen<'_>) {
        let primary = self.seen.iter().find(|s| s.is_primary()).map(|s| s.offset);
        let parts: Vec<String> = (layout.nodes.iter().zip(&self.seen))
            .filter(|(node, _)| node.has_data())
            .map(|(node, seen)| format!("{} {} {}", node.port, seen.word(), short_state(seen, primary)))
            .collect();
        screen.status(&parts.join("  |  "));
    }
}

fn short_state(seen: &Seen, primary: Option<u64>) -> String {
    match seen.word() {
        "primary" => format!("offset {}", seen.offset),
        "replica" if seen.link_up => format!("lag {}", primary.map_or(0, |p| p.saturating_sub(seen.offset))),
        "replica" => String::from("link down"),
        _ => String::new(),
    }
}

/// How this program was called, for lines to copy.
pub fn program() -> String {
    std::env::args().next().unwrap_or_else(|| String::from("keystead"))
}

/// Whether every sentinel knows all replicas and all other sentinels.
#[must_use]
pub fn sentinels_agree(layout: &Layout) -> bool {
    layout.nodes.iter().filter_map(super::layout::Node::sentinel).all(|port| knows_all(layout, port).unwrap_or(false))
}

fn knows_all(layout: &Layout, port: u16) -> io::Result<bool> {
    let fields = Client::connect(port)?.call(&["SENTINEL", "MASTER", MONITOR_NAME])?;
    let number = |name: &str| {
        fields.chunks(2).find(|pair| pair[0] == name).and_then(|pair| pair.get(1)?.parse::<usize>().ok()).unwrap_or(0)
    };
    Ok(number("num-slaves") >= layout.replicas() && number("num-other-sentinels") + 1 >= layout.sentinels())
}
