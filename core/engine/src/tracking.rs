//! Client-side caching: who may have cached which key, and who must be told that it changed. Owns the table from key to
//! clients and that of prefixes; what changed comes from the keyspace's log, after every command. CLIENT TRACKING and its
//! kin are in `commands/tracking.rs`.
//!
//! As in Redis, names count whatever database they are in, and a client that is gone stays in the table until one of its
//! keys changes or the table is full.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use smallvec::SmallVec;

use keystead_keyspace::Garbage;
use keystead_resp::{Args, Proto, Writer};

use crate::core::Core;
use crate::keys;
use crate::names::Names;
use crate::pubsub::Message;
use crate::registry::Command;
use crate::session::{Session, SessionId, State};
use crate::spec::{Group, PUBSUB};
use crate::tick::elapsed_us;

/// The channel of RESP2 clients that listen for others.
const CHANNEL: &str = "__redis__:invalidate";

/// Who changed a key that expired or was evicted, or that several clients changed: no client.
const NOBODY: u64 = 0;

/// How long the heartbeat tells of keys that a lowered limit drives out. It looks behind each: any may have thousands of
/// clients.
const FORGET_US: u64 = 500;

/// How many keys that is where there is no clock; Redis begins with as many.
const FORGET: usize = 100;

/// How one session caches.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Mode {
    /// BCAST: told of every change below its prefixes, remembered for nothing.
    pub bcast: bool,
    /// OPTIN: only keys behind CLIENT CACHING YES.
    pub optin: bool,
    /// OPTOUT: not the keys behind CLIENT CACHING NO.
    pub optout: bool,
    /// NOLOOP: not told of its own changes.
    pub noloop: bool,
    /// REDIRECT: whom to tell instead.
    pub redirect: Option<u64>,
    /// That client is gone.
    pub broken: bool,
    /// CLIENT CACHING holds for the next command.
    pub caching: bool,
    /// PREFIX.
    pub prefixes: Names,
}

/// Clients in the order of their ids: most keys are cached by one or two.
type Clients = SmallVec<[u64; 2]>;

/// A key somebody may have cached.
struct Cached {
    name: Arc<[u8]>,
    clients: Clients,
}

/// A key that changed below a prefix, and by whom: if that was one client alone, it may be one that knows (NOLOOP).
type Changed = BTreeMap<Box<[u8]>, u64>;

/// News for a session whose command is running.
struct Note {
    /// Others may be served before it has its reply: from inside a long command.
    to: SessionId,
    /// The keys; None: all.
    keys: Option<Vec<Box<[u8]>>>,
    /// Another session's news, which it redirects here.
    redirected: bool,
}

/// Where each cached key is.
type Places = HashMap<Arc<[u8]>, usize, foldhash::fast::RandomState>;

/// Names that are forgotten all at once and are more than this are freed elsewhere: a million take 0.15 s.
const FORGET_HERE: usize = 1000;

/// All that is known of caches.
#[derive(Default)]
pub struct Tracking {
    /// In an order from which one can be drawn.
    cached: Vec<Cached>,
    places: Places,
    /// Tables that were forgotten, to be freed where nobody waits.
    old: Vec<(Vec<Cached>, Places)>,
    /// How many were left when the last turn ended: where those are too many, the heartbeat sees to it.
    kept: usize,
    /// Pairs of key and client.
    items: usize,
    prefixes: BTreeMap<Box<[u8]>, BTreeSet<SessionId>>,
    /// Changes below prefixes since the last turn.
    changed: BTreeMap<Box<[u8]>, Changed>,
    /// What sessions must be told once the replies of their running commands are written.
    own: Vec<Note>,
    clients: usize,
    /// `tracking-table-max-keys`; 0: no limit.
    pub max_keys: usize,
}

impl Tracking {
    /// Somebody caches: changes must be observed.
    #[inline]
    pub fn active(&self) -> bool {
        self.clients > 0
    }

    /// `tracking_clients`
    pub fn clients(&self) -> usize {
        self.clients
    }

    /// `tracking_total_keys`
    pub fn total_keys(&self) -> usize {
        self.cached.len()
    }

    /// `tracking_total_items`
    pub fn total_items(&self) -> usize {
        self.items
    }

    /// `tracking_total_prefixes`
    pub fn total_prefixes(&self) -> usize {
        self.prefixes.len()
    }

    /// A session begins to cache, or changes how. `mode.prefixes` holds all its prefixes.
    pub(crate) fn start(&mut self, state: &mut State, mode: Mode) {
        self.clients += usize::from(state.tracking.is_none());
        for prefix in mode.prefixes.iter() {
            self.prefixes.entry(prefix.clone()).or_default().insert(state.id);
        }
        state.tracking = Some(Box::new(mode));
    }

    /// A session caches no more.
    pub(crate) fn stop(&mut self, state: &mut State) {
        let Some(mode) = state.tracking.take() else { return };
        self.clients -= 1;
        for prefix in mode.prefixes.iter() {
            if let Some(sessions) = self.prefixes.get_mut(prefix) {
                sessions.remove(&state.id);
                if sessions.is_empty() {
                    self.prefixes.remove(prefix);
                    self.changed.remove(prefix);
                }
            }
        }
        if self.clients == 0 {
            self.forget_all();
        }
    }

    fn forget_all(&mut self) {
        let table = (std::mem::take(&mut self.cached), std::mem::take(&mut self.places));
        if table.0.len() > FORGET_HERE {
            self.old.push(table);
        }
        (self.items, self.kept) = (0, 0);
    }

    /// What was forgotten, for whoever has the time to free it.
    pub(crate) fn leave(&mut self, garbage: &mut Garbage) {
        if !self.old.is_empty() {
            garbage.add_foreign(std::mem::take(&mut self.old));
        }
    }

    /// The session read keys that it may cache.
    pub(crate) fn remember(&mut self, state: &State, command: &Command, args: Args<'_>) {
        let Some(mode) = &state.tracking else { return };
        let wanted = if mode.optin { mode.caching } else { !(mode.optout && mode.caching) };
        if mode.bcast || !wanted || command.flags.has(PUBSUB) || command.group == Group::Scripting {
            return;
        }
        for at in keys::positions(&command.keys, args) {
            self.remember_one(args.get(at).unwrap_or_default(), state.id.id);
        }
    }

    fn remember_one(&mut self, key: &[u8], client: u64) {
        let Some(place) = self.places.get(key) else {
            let name: Arc<[u8]> = key.into();
            self.places.insert(name.clone(), self.cached.len());
            self.cached.push(Cached { name, clients: Clients::from_slice(&[client]) });
            self.items += 1;
            return;
        };
        let clients = &mut self.cached[*place].clients;
        if let Err(at) = clients.binary_search(&client) {
            clients.insert(at, client);
            self.items += 1;
        }
    }

    /// What a session must be told behind its reply.
    fn take_own(&mut self, id: SessionId) -> Vec<Note> {
        self.own.extract_if(.., |note| note.to == id).collect()
    }

    /// Takes a key out; gives who may have cached it.
    fn take(&mut self, key: &[u8]) -> Clients {
        let Some(place) = self.places.remove(key) else { return Clients::new() };
        let Cached { clients, .. } = self.cached.swap_remove(place);
        if let Some(moved) = self.cached.get(place)
            && let Some(known) = self.places.get_mut(&moved.name)
        {
            *known = place;
        }
        self.items -= clients.len();
        clients
    }

    /// More keys than `max_keys` allows.
    pub(crate) fn is_over(&self) -> bool {
        self.max_keys > 0 && self.cached.len() > self.max_keys
    }

    fn note_prefixes(&mut self, key: &[u8], by: u64) {
        for prefix in self.prefixes.keys().filter(|prefix| key.starts_with(prefix)) {
            let changed = self.changed.entry(prefix.clone()).or_default();
            match changed.get_mut(key) {
                // Redis keeps the last of several, who then isn't told of the others' changes.
                Some(known) if *known != by => *known = NOBODY,
                Some(_) => {}
                None => _ = changed.insert(key.into(), by),
            }
        }
    }
}

/// What waits for running commands to end, put aside while others are served from inside of one of them.
pub(crate) struct Own {
    notes: Vec<Note>,
    messages: Vec<Message>,
}

impl Core {
    /// Puts aside what sessions are to be told behind the replies of their running commands.
    pub(crate) fn put_own_aside(&mut self) -> Own {
        Own { notes: std::mem::take(&mut self.tracking.own), messages: self.pubsub.take_own() }
    }

    /// Takes it back, in front of what came since.
    pub(crate) fn take_own_back(&mut self, mut own: Own) {
        own.notes.append(&mut self.tracking.own);
        self.tracking.own = own.notes;
        self.pubsub.put_own_in_front(own.messages);
    }

    /// The session is gone, or its command won't end.
    pub(crate) fn forget_own(&mut self, id: SessionId) {
        self.tracking.own.retain(|note| note.to != id);
        self.pubsub.forget_own(id);
    }

    /// A key changed, by the running session (or by nobody, when it expired or was evicted).
    pub(crate) fn key_changed(&mut self, me: &State, key: &[u8], by_itself: bool) {
        let by = if by_itself { NOBODY } else { me.id.id };
        self.tracking.note_prefixes(key, by);
        for client in self.tracking.take(key) {
            self.tell(Some(me), client, Some(key), by);
        }
    }

    /// All keys of some database are gone: whoever caches must forget everything.
    pub(crate) fn all_keys_gone(&mut self, me: &State) {
        self.tracking.forget_all();
        let others = self.sessions.iter().filter(|session| session.state.tracking.is_some());
        let ids: Vec<u64> = others.map(|session| session.state.id.id).collect();
        for id in ids {
            self.tell(Some(me), id, None, 0);
        }
        if me.tracking.is_some() {
            self.tracking.own.push(Note { to: me.id, keys: None, redirected: false });
        }
    }

    /// Tells one client of a key (None: of all); the running one is told behind its reply.
    fn tell(&mut self, me: Option<&State>, client: u64, key: Option<&[u8]>, by: u64) {
        if let Some(me) = me.filter(|me| me.id.id == client) {
            let quiet = me.tracking.as_ref().is_none_or(|mode| mode.bcast || mode.noloop && by == client);
            if !quiet {
                let keys = key.map(|key| vec![key.into()]);
                self.tracking.own.push(Note { to: me.id, keys, redirected: false });
            }
            return;
        }
        let Some(id) = self.sessions.find(client) else { return };
        let Some(mode) = self.sessions.get(id).and_then(|session| session.state.tracking.as_deref()) else { return };
        if mode.bcast && key.is_some() || mode.noloop && by == client {
            return;
        }
        let redirect = mode.redirect;
        self.send(id, redirect, key.map(|key| vec![key.into()]));
    }

    /// Sends the news to a session, or to the one that it redirects to.
    fn send(&mut self, id: SessionId, redirect: Option<u64>, keys: Option<Vec<Box<[u8]>>>) {
        let Some(to) = redirect else {
            // A RESP2 client that redirects to nobody can't be told.
            if self.sessions.get(id).is_some_and(|session| session.state.proto == Proto::Resp3) {
                self.deliver(id, |writer| write_push(writer, keys.as_deref()));
            }
            return;
        };
        let Some(target) = self.redirect_target(to) else { return self.redirect_broken(id, to) };
        match self.sessions.get(target).map(|session| (session.state.proto, session.state.subscribed())) {
            // It runs a command just now.
            None => self.tracking.own.push(Note { to: target, keys, redirected: true }),
            Some((Proto::Resp2, false)) => {}
            Some((_, listens)) => self.deliver(target, |writer| write_redirected(writer, listens, keys.as_deref())),
        }
    }

    /// Who is redirected to, unless it was closed.
    fn redirect_target(&self, client: u64) -> Option<SessionId> {
        let closed = |id: &SessionId| self.sessions.get(*id).is_some_and(|session| session.state.close_now);
        self.sessions.find(client).filter(|id| !closed(id))
    }

    fn redirect_broken(&mut self, id: SessionId, to: u64) {
        let Some(session) = self.sessions.get_mut(id) else { return };
        if let Some(mode) = &mut session.state.tracking {
            mode.broken = true;
        }
        if session.state.proto == Proto::Resp3 {
            self.deliver(id, |writer| write_broken(writer, to));
        }
    }

    /// Tells the session that just ran a command what it must know of it, behind its reply.
    pub(crate) fn tell_myself(&mut self, session: &mut Session) {
        for Note { keys, redirected, .. } in self.tracking.take_own(session.state.id) {
            let Session { out, state } = session;
            let mut writer = Writer::new(out, state.proto);
            let resp3 = state.proto == Proto::Resp3;
            let listens = state.subscribed();
            match state.tracking.as_deref_mut() {
                _ if redirected => write_redirected(&mut writer, listens, keys.as_deref()),
                Some(Mode { redirect: None, .. }) if resp3 => write_push(&mut writer, keys.as_deref()),
                Some(mode @ Mode { redirect: Some(_), .. }) => {
                    let to = mode.redirect.unwrap_or_default();
                    if self.redirect_target(to).is_none() {
                        mode.broken = true;
                        if resp3 {
                            write_broken(&mut writer, to);
                        }
                    } else if to == state.id.id {
                        write_redirected(&mut writer, listens, keys.as_deref());
                    } else {
                        self.send(state.id, Some(to), keys);
                    }
                }
                _ => {}
            }
        }
        crate::pubsub::tell_own(self, session);
    }

    /// Once a turn: prefixes' listeners learn what changed, and a full table loses as many keys at random as came.
    pub(crate) fn broadcast_changes(&mut self) {
        for (prefix, changed) in std::mem::take(&mut self.tracking.changed) {
            let listeners = self.tracking.prefixes.get(&prefix).cloned().unwrap_or_default();
            for id in listeners {
                let Some(mode) = self.sessions.get(id).and_then(|session| session.state.tracking.as_deref()) else {
                    continue;
                };
                let (noloop, redirect) = (mode.noloop, mode.redirect);
                let others = changed.iter().filter(|(_, by)| !(noloop && **by == id.id));
                let keys: Vec<Box<[u8]>> = others.map(|(key, _)| key.clone()).collect();
                if !keys.is_empty() {
                    self.send(id, redirect, Some(keys));
                }
            }
        }
        while self.tracking.is_over() && self.tracking.cached.len() > self.tracking.kept {
            self.forget_any();
        }
        // Of what a lowered limit drives out some go with each turn, as with each command of Redis.
        self.forget_some(FORGET);
        self.tracking.kept = self.tracking.cached.len();
    }

    /// The limit was lowered: takes some keys out of the table and tells of them, no more than `most`. The heartbeat comes back
    /// for the rest.
    pub(crate) fn forget_some(&mut self, most: usize) {
        if !self.tracking.is_over() {
            return;
        }
        let began = self.clock.map(|clock| clock());
        let most = if began.is_some() { most } else { most.min(FORGET) };
        let mut keys = 0;
        while self.tracking.is_over() && keys < most && elapsed_us(self, began) <= FORGET_US {
            self.forget_any();
            keys += 1;
        }
    }

    /// Takes a key out, any one, and tells whoever may have cached it.
    fn forget_any(&mut self) {
        let at = self.random() as usize % self.tracking.cached.len();
        let key = self.tracking.cached[at].name.clone();
        for client in self.tracking.take(&key) {
            self.tell(None, client, Some(&key), NOBODY);
        }
    }
}

/// The keys, or null for all.
fn write_keys(writer: &mut Writer<'_>, keys: Option<&[Box<[u8]>]>) {
    match keys {
        Some(keys) => {
            writer.array(keys.len());
            keys.iter().for_each(|key| writer.bulk(key));
        }
        None => writer.null(),
    }
}

fn write_push(writer: &mut Writer<'_>, keys: Option<&[Box<[u8]>]>) {
    writer.push(2);
    writer.bulk("invalidate");
    write_keys(writer, keys);
}

fn write_message(writer: &mut Writer<'_>, keys: Option<&[Box<[u8]>]>) {
    writer.push(3);
    writer.bulk("message");
    writer.bulk(CHANNEL);
    write_keys(writer, keys);
}

/// To a session that others redirect to: RESP2 only to one that listens to channels.
fn write_redirected(writer: &mut Writer<'_>, listens: bool, keys: Option<&[Box<[u8]>]>) {
    match writer.proto {
        Proto::Resp3 => write_push(writer, keys),
        Proto::Resp2 if listens => write_message(writer, keys),
        Proto::Resp2 => {}
    }
}

fn write_broken(writer: &mut Writer<'_>, to: u64) {
    writer.push(2);
    writer.bulk("tracking-redir-broken");
    writer.int(to as i64);
}
