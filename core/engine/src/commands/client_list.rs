//! The line of CLIENT LIST, and the filters of LIST and KILL. Pure: reads a session, changes none.

use keystead_resp::{Args, Proto};

use crate::acl::Acl;
use crate::args::ArgsExt;
use crate::error::{CommandError, c_text};
use crate::session::{Kind, Parked, State};

/// Which clients are meant.
#[derive(Debug, Default)]
pub(super) struct Filter {
    pub ids: Vec<u64>,
    pub kind: Option<Kind>,
    pub addr: Option<String>,
    pub laddr: Option<String>,
    pub user: Option<String>,
    pub skip_me: Option<bool>,
}

/// The word for a class of clients; Redis takes both spellings.
pub(super) fn parse_kind(word: &[u8]) -> Result<Kind, CommandError> {
    match word.to_ascii_lowercase().as_slice() {
        b"normal" => Ok(Kind::Normal),
        b"slave" | b"replica" => Ok(Kind::Replica),
        b"pubsub" => Ok(Kind::PubSub),
        b"master" | b"primary" => Ok(Kind::Primary),
        _ => Err(CommandError::quoting(&[b"ERR Unknown client type '", c_text(word), b"'"])),
    }
}

impl Filter {
    /// CLIENT KILL's pairs of filter and value.
    pub(super) fn parse_kill(args: Args<'_>, acl: &Acl) -> Result<Filter, CommandError> {
        let mut filter = Filter::default();
        let mut at = 2;
        while at < args.len() {
            if at + 1 >= args.len() {
                return Err(CommandError::SYNTAX);
            }
            if args.is(at, "id") {
                let id = args.int(at + 1).ok().and_then(|id| u64::try_from(id).ok()).filter(|id| *id > 0);
                filter.ids.push(id.ok_or(CommandError::fixed("ERR client-id should be greater than 0"))?);
            } else if args.is(at, "type") {
                filter.kind = Some(parse_kind(args.at(at + 1))?);
            } else if args.is(at, "addr") {
                filter.addr = Some(args.text(at + 1));
            } else if args.is(at, "laddr") {
                filter.laddr = Some(args.text(at + 1));
            } else if args.is(at, "user") {
                let name = args.at(at + 1);
                let unknown = || CommandError::quoting(&[b"ERR No such user '", c_text(name), b"'"]);
                filter.user = Some(acl.named(name).ok_or_else(unknown)?.name.clone());
            } else if args.is(at, "skipme") && args.is(at + 1, "yes") {
                filter.skip_me = Some(true);
            } else if args.is(at, "skipme") && args.is(at + 1, "no") {
                filter.skip_me = Some(false);
            } else {
                return Err(CommandError::SYNTAX);
            }
            at += 2;
        }
        Ok(filter)
    }

    pub(super) fn matches(&self, state: &State) -> bool {
        (self.ids.is_empty() || self.ids.contains(&state.id.id))
            && self.kind.is_none_or(|kind| state.class() == kind)
            && self.addr.as_ref().is_none_or(|addr| *addr == state.info.addr)
            && self.laddr.as_ref().is_none_or(|laddr| *laddr == state.info.laddr)
            && self.user.as_ref().is_none_or(|user| *user == state.user)
    }
}

/// The letters of the `flags` field.
fn flags(state: &State) -> String {
    let tracking = state.tracking.as_deref();
    let letters = [
        ('S', state.kind == Kind::Replica),
        ('M', state.kind == Kind::Primary),
        ('O', state.monitor),
        ('P', state.subscribed()),
        ('x', state.multi.is_some() || state.in_exec),
        ('b', matches!(state.parked, Some(Parked::Keys(_) | Parked::Async { .. } | Parked::Pause(_)))),
        ('d', state.dirty_cas),
        ('c', state.close_after_reply),
        ('A', state.close_now),
        ('t', tracking.is_some()),
        ('R', tracking.is_some_and(|mode| mode.broken)),
        ('B', tracking.is_some_and(|mode| mode.bcast)),
        ('U', state.info.unix),
        ('e', state.no_evict),
        ('T', state.no_touch),
    ];
    let set: String = letters.into_iter().filter(|(_, on)| *on).map(|(letter, _)| letter).collect();
    if set.is_empty() { "N".to_owned() } else { set }
}

/// One line, without the line end. `out` is the length of the session's own output, `running` the words of the command
/// that it has running.
pub(crate) fn describe(state: &State, out: usize, now_ms: u64, running: Option<Args<'_>>) -> String {
    let waiting = match &state.parked {
        Some(Parked::Async { args, .. } | Parked::Pause(args)) => args.view().bytes(),
        _ => 0,
    };
    let begun = state.begun_in;
    let unparsed = state.pending_in.saturating_sub(begun.taken);
    let (query, free) = running.map_or((unparsed, state.room_in()), |args| (args.arrived(), 0));
    let words = running.map_or(waiting + begun.words, |args| args.bytes());
    let seconds = |since: u64| now_ms.saturating_sub(since) / 1000;
    let (multi, multi_mem) = match &state.multi {
        Some(multi) => (multi.queue.len() as i64, multi.bytes),
        None if state.in_exec => (state.exec_queue.0 as i64, state.exec_queue.1),
        None => (-1, 0),
    };
    let command = state.last_command.map_or("NULL", |command| command.full_name.as_str());
    let omem = out + state.pending_out;
    let total = state.memory(out);
    format!(
        "id={} addr={} laddr={} fd={} name={} age={} idle={} flags={} db={} sub={} psub={} ssub={} multi={multi} \
         qbuf={query} qbuf-free={free} argv-mem={words} multi-mem={multi_mem} rbs=0 rbp=0 obl=0 oll={} omem={omem} tot-mem={total} \
         events={} cmd={command} user={} redir={} resp={} lib-name={} lib-ver={}",
        state.id.id,
        state.info.addr,
        state.info.laddr,
        state.info.fd,
        state.name,
        seconds(state.created_ms),
        seconds(state.last_ms),
        flags(state),
        state.db,
        state.channels.len(),
        state.patterns.len(),
        state.shard_channels.len(),
        usize::from(omem > 0),
        if state.pending_out > 0 { "rw" } else { "r" },
        state.user,
        state.tracking.as_ref().map_or(-1, |mode| mode.redirect.map_or(0, |id| id as i64)),
        if state.proto == Proto::Resp3 { 3 } else { 2 },
        state.lib_name,
        state.lib_ver,
    )
}
