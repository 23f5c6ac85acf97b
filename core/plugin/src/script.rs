//! Commands called in a session's name under the guards for scripts: for plugins that run somebody else's code.

use crate::args::{raw_words, with_raw_words};
use crate::ctx::Ctx;
use crate::session::Proto;
use crate::words::Targets;
use keystead_abi::glue::OwnedBuf;
use keystead_abi::{self as abi, Str};

/// How a script calls commands, and what it remembers from call to call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ScriptCall {
    /// The selected database; SELECT changes it here and not in the session.
    pub db: u32,
    /// The protocol of replies.
    pub proto: Proto,
    /// Commands that write or may replicate are refused.
    pub read_only: bool,
    /// Runs although memory is full.
    pub allow_oom: bool,
    /// A write has run already; from then on no condition refuses another.
    pub wrote: bool,
    /// Who gets the effects.
    pub targets: Targets,
}

impl ScriptCall {
    /// A script's first call: RESP2 replies, everything allowed, effects for everyone.
    pub fn new(db: u32) -> ScriptCall {
        let [read_only, allow_oom, wrote] = [false; 3];
        ScriptCall { db, proto: Proto::Resp2, read_only, allow_oom, wrote, targets: Targets::ALL }
    }

    fn to_raw(self) -> abi::ScriptCall {
        let flag = |on: bool, flag: u32| if on { flag } else { 0 };
        abi::ScriptCall {
            size: size_of::<abi::ScriptCall>() as u32,
            proto: if self.proto == Proto::Resp3 { 3 } else { 2 },
            db: self.db,
            flags: flag(self.read_only, abi::SCRIPT_READ_ONLY)
                | flag(self.allow_oom, abi::SCRIPT_ALLOW_OOM)
                | flag(self.wrote, abi::SCRIPT_WROTE),
            targets: self.targets.0,
            reserved: 0,
        }
    }
}

/// What stands in the way of commands right now, for the caller of the running command.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Conditions(u64);

impl Conditions {
    /// Guards for clients don't hold: a primary's stream, a file, the server itself.
    pub fn obey(self) -> bool {
        self.0 & abi::COND_OBEY != 0
    }

    /// This is a read-only replica.
    pub fn read_only(self) -> bool {
        self.0 & abi::COND_READ_ONLY != 0
    }

    /// The data is stale and may not be served.
    pub fn stale(self) -> bool {
        self.0 & abi::COND_STALE != 0
    }

    /// Writes are refused because the disk failed.
    pub fn disk_error(self) -> bool {
        self.0 & abi::COND_DISK_ERROR != 0
    }

    /// A plugin refuses writes; [`Ctx::write_error`] says why.
    pub fn write_error(self) -> bool {
        self.0 & abi::COND_WRITE_ERROR != 0
    }

    /// Too few good replicas for writes.
    pub fn few_replicas(self) -> bool {
        self.0 & abi::COND_FEW_REPLICAS != 0
    }

    /// Memory is full.
    pub fn out_of_memory(self) -> bool {
        self.0 & abi::COND_OUT_OF_MEMORY != 0
    }
}

impl Ctx<'_> {
    /// Which conditions hold now for this caller.
    pub fn conditions(&self) -> Conditions {
        // SAFETY: plain call.
        Conditions(unsafe { (self.api().conditions)(self.data()) })
    }

    /// Why a plugin refuses writes, as it said it; empty if none does.
    pub fn write_error(&self) -> String {
        let mut out = abi::Buf::EMPTY;
        // SAFETY: `out` is ours to own.
        unsafe {
            (self.api().write_error)(self.data(), &mut out);
            OwnedBuf::new(out).text()
        }
    }

    /// Runs a command in the calling session's name and appends its reply as RESP, which may be an error. False if it didn't
    /// run: then it is why, code first.
    pub fn script_call<T: AsRef<[u8]>>(&mut self, how: &mut ScriptCall, argv: &[T], reply: &mut Vec<u8>) -> bool {
        let (mut raw, mut out) = (how.to_raw(), abi::Buf::EMPTY);
        let call = |words: &[Str]| {
            // SAFETY: words and `how` live for the call; `out` is ours to own.
            unsafe {
                let status = (self.api().script_call)(self.data(), &mut raw, words.as_ptr(), words.len(), &mut out);
                (status, OwnedBuf::new(out))
            }
        };
        let (status, buf) = with_raw_words(argv, call);
        how.db = raw.db;
        how.wrote |= raw.flags & abi::SCRIPT_WROTE != 0;
        reply.extend_from_slice(buf.as_ref());
        status == abi::OK
    }

    /// Whether the session's user may run a command; an error if it makes no sense.
    pub fn acl_check<T: AsRef<[u8]>>(&mut self, argv: &[T]) -> std::result::Result<(), String> {
        let words = raw_words(argv);
        let mut out = abi::Buf::EMPTY;
        // SAFETY: the words live for the call; `out` is ours to own.
        unsafe {
            let status = (self.api().acl_check)(self.data(), words.as_ptr(), words.len(), &mut out);
            let buf = OwnedBuf::new(out);
            if status == abi::OK { Ok(()) } else { Err(buf.text()) }
        }
    }

    /// What [`Ctx::busy_poll`] answers to commands that must wait, code first (`BUSY …`).
    pub fn set_busy_reply(&mut self, text: &str) {
        // SAFETY: the text lives for the call.
        unsafe { (self.api().set_busy_reply)(self.data(), Str::new(text.as_bytes())) };
    }
}
