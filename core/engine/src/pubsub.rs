//! Channels, patterns and who listens. Owns the index from channel to sessions; each session's own set is in its state.

use std::collections::{BTreeMap, BTreeSet};

use keystead_resp::Writer;

use crate::core::Core;
use crate::glob;
use crate::names::Names;
use crate::session::{Session, SessionId, State};

type Index = BTreeMap<Box<[u8]>, BTreeSet<SessionId>>;

/// Which of the three namespaces a subscription is in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Space {
    /// SUBSCRIBE.
    Channel,
    /// PSUBSCRIBE.
    Pattern,
    /// SSUBSCRIBE.
    Shard,
}

impl Space {
    /// `subscribe`, `psubscribe` or `ssubscribe`.
    pub fn subscribe_word(self) -> &'static str {
        match self {
            Space::Channel => "subscribe",
            Space::Pattern => "psubscribe",
            Space::Shard => "ssubscribe",
        }
    }

    /// `unsubscribe`, `punsubscribe` or `sunsubscribe`.
    pub fn unsubscribe_word(self) -> &'static str {
        match self {
            Space::Channel => "unsubscribe",
            Space::Pattern => "punsubscribe",
            Space::Shard => "sunsubscribe",
        }
    }

    /// The session's own set.
    pub fn of(self, state: &mut State) -> &mut Names {
        match self {
            Space::Channel => &mut state.channels,
            Space::Pattern => &mut state.patterns,
            Space::Shard => &mut state.shard_channels,
        }
    }

    /// The count that the reply to (un)subscribe carries.
    pub fn count(self, state: &State) -> usize {
        match self {
            Space::Channel | Space::Pattern => state.subscriptions(),
            Space::Shard => state.shard_channels.len(),
        }
    }
}

/// The index of subscriptions.
#[derive(Default)]
pub struct PubSub {
    channels: Index,
    patterns: Index,
    shard: Index,
    /// Messages of running commands to their own sessions, which get their replies first (Redis 7.2, #12326).
    own: Vec<Message>,
}

/// A message on its way to one listener.
pub(crate) struct Message {
    /// Others may be served before it has its reply: from inside a long command.
    to: SessionId,
    space: Space,
    /// Through which pattern, if any.
    pattern: Option<Box<[u8]>>,
    channel: Box<[u8]>,
    text: Box<[u8]>,
}

impl PubSub {
    fn index(&mut self, space: Space) -> &mut Index {
        match space {
            Space::Channel => &mut self.channels,
            Space::Pattern => &mut self.patterns,
            Space::Shard => &mut self.shard,
        }
    }

    /// Adds a subscription; false if it was there.
    pub fn subscribe(&mut self, space: Space, state: &mut State, name: &[u8]) -> bool {
        if !space.of(state).insert(name) {
            return false;
        }
        self.index(space).entry(name.into()).or_default().insert(state.id);
        true
    }

    /// Removes a subscription; false if there was none.
    pub fn unsubscribe(&mut self, space: Space, state: &mut State, name: &[u8]) -> bool {
        if !space.of(state).remove(name) {
            return false;
        }
        self.unlist(space, state.id, name);
        true
    }

    fn unlist(&mut self, space: Space, id: SessionId, name: &[u8]) {
        let index = self.index(space);
        if let Some(listeners) = index.get_mut(name) {
            listeners.remove(&id);
            if listeners.is_empty() {
                index.remove(name);
            }
        }
    }

    /// Forgets a session that goes away or resets.
    pub fn drop_session(&mut self, state: &mut State) {
        for space in [Space::Channel, Space::Pattern, Space::Shard] {
            for name in std::mem::take(space.of(state)).iter() {
                self.unlist(space, state.id, name);
            }
        }
    }

    /// Channels with listeners, filtered by a pattern.
    pub fn channels<'a>(&'a self, space: Space, pattern: Option<&'a [u8]>) -> impl Iterator<Item = &'a [u8]> {
        let index = if space == Space::Shard { &self.shard } else { &self.channels };
        index.keys().map(|name| &**name).filter(move |name| pattern.is_none_or(|p| glob::matches(p, name, false)))
    }

    /// How many listen to a channel (patterns not counted).
    pub fn listeners(&self, space: Space, name: &[u8]) -> usize {
        let index = if space == Space::Shard { &self.shard } else { &self.channels };
        index.get(name).map_or(0, BTreeSet::len)
    }

    /// How many different patterns there are.
    pub fn patterns(&self) -> usize {
        self.patterns.len()
    }

    /// How many channels have listeners.
    pub fn channel_count(&self, space: Space) -> usize {
        if space == Space::Shard { self.shard.len() } else { self.channels.len() }
    }

    /// The command that a session was running will not end.
    pub(crate) fn forget_own(&mut self, id: SessionId) {
        self.own.retain(|message| message.to != id);
    }

    /// Gives away what waits for running commands to end.
    pub(crate) fn take_own(&mut self) -> Vec<Message> {
        std::mem::take(&mut self.own)
    }

    /// Takes that back, in front of what came since.
    pub(crate) fn put_own_in_front(&mut self, mut own: Vec<Message>) {
        own.append(&mut self.own);
        self.own = own;
    }

    /// True if a running command published to its own session.
    pub(crate) fn has_own(&self) -> bool {
        !self.own.is_empty()
    }

    /// True if a message could reach anybody: PUBLISH to nobody costs nothing.
    pub fn is_empty(&self) -> bool {
        self.channels.is_empty() && self.patterns.is_empty() && self.shard.is_empty()
    }

    /// Who gets a message: sessions, and the pattern through which (if any), in Redis' order.
    fn audience(&self, space: Space, channel: &[u8]) -> Vec<(SessionId, Option<Box<[u8]>>)> {
        let index = if space == Space::Shard { &self.shard } else { &self.channels };
        let mut all: Vec<_> = index.get(channel).into_iter().flatten().map(|&id| (id, None)).collect();
        if space == Space::Channel {
            for (pattern, listeners) in &self.patterns {
                if glob::matches(pattern, channel, false) {
                    all.extend(listeners.iter().map(|&id| (id, Some(pattern.clone()))));
                }
            }
        }
        all
    }
}

/// Sends a message to everybody who listens; gives how many. `me` is the session whose command runs: what is for itself
/// waits for [`tell_own`].
pub(crate) fn publish(core: &mut Core, me: Option<SessionId>, space: Space, channel: &[u8], message: &[u8]) -> usize {
    if core.pubsub.is_empty() {
        return 0;
    }
    let audience = core.pubsub.audience(space, channel);
    let count = audience.len();
    for (id, pattern) in audience {
        if me == Some(id) {
            core.pubsub.own.push(Message { to: id, space, pattern, channel: channel.into(), text: message.into() });
        } else {
            core.deliver(id, |writer| write_message(writer, space, pattern.as_deref(), channel, message));
        }
    }
    count
}

/// Writes the messages that the session's command, or what ran inside of it, published to itself: behind the whole reply.
pub(crate) fn tell_own(core: &mut Core, session: &mut Session) {
    let me = session.state.id;
    for Message { space, pattern, channel, text, .. } in core.pubsub.own.extract_if(.., |message| message.to == me) {
        let mut writer = Writer::new(&mut session.out, session.state.proto);
        write_message(&mut writer, space, pattern.as_deref(), &channel, &text);
    }
}

fn write_message(writer: &mut Writer<'_>, space: Space, pattern: Option<&[u8]>, channel: &[u8], message: &[u8]) {
    match (space, pattern) {
        (Space::Shard, _) => {
            writer.push(3);
            writer.bulk("smessage");
        }
        (_, Some(pattern)) => {
            writer.push(4);
            writer.bulk("pmessage");
            writer.bulk(pattern);
        }
        (_, None) => {
            writer.push(3);
            writer.bulk("message");
        }
    }
    writer.bulk(channel);
    writer.bulk(message);
}
