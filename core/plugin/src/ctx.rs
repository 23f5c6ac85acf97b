//! What a plugin may do inside a turn: reply, read and change the keyspace, look at the session and the journal.
//! A context never leaves the turn; it can't be sent to another thread or kept.

use crate::args::raw_words;
use crate::command::Effect;
use crate::error::{Error, Result};
use crate::journal::{History, Journal};
use crate::reply::Reply;
use crate::session::{ClientInfo, Proto, State, drop_state, state_into_raw};
use crate::words::{ClientFilter, PauseKind, Role, Targets};
use keystead_abi::{self as abi, Str, glue::OwnedBuf};
use std::any::Any;
use std::ffi::c_void;
use std::marker::PhantomData;
use std::mem::MaybeUninit;

/// The kind of a value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ValueKind {
    /// A string.
    String,
    /// A list.
    List,
    /// A set.
    Set,
    /// A sorted set.
    ZSet,
    /// A hash.
    Hash,
    /// A stream.
    Stream,
    /// One this SDK has no name for.
    Other,
}

/// Inside a turn.
pub struct Ctx<'a> {
    raw: &'a abi::Ctx,
    _here: PhantomData<*mut ()>,
}

impl<'a> Ctx<'a> {
    /// # Safety
    /// `raw` is a context of the host, alive for `'a`.
    pub(crate) unsafe fn from_raw(raw: *const abi::Ctx) -> Ctx<'a> {
        // SAFETY: the caller's.
        Ctx { raw: unsafe { &*raw }, _here: PhantomData }
    }

    pub(crate) fn api(&self) -> &'a abi::CtxApi {
        // SAFETY: a context's table lives as long as the context.
        unsafe { &*self.raw.api }
    }

    pub(crate) fn data(&self) -> *mut c_void {
        self.raw.data
    }

    /// Where the reply goes: straight into the session's output.
    pub fn reply(&mut self) -> Out<'_> {
        Out { api: self.api(), data: self.data(), _borrow: PhantomData }
    }

    /// Who sent the command.
    pub fn client(&self) -> ClientInfo {
        // SAFETY: the host fills it; its strings live for the call.
        unsafe { ClientInfo::from_raw(&self.raw_client()) }
    }

    fn raw_client(&self) -> abi::ClientInfo {
        let mut out = MaybeUninit::uninit();
        // SAFETY: the function fills `out`.
        unsafe {
            (self.api().client)(self.data(), out.as_mut_ptr());
            out.assume_init()
        }
    }

    /// The session's id; 0 in a turn of the plugin's own.
    pub fn client_id(&self) -> u64 {
        self.raw_client().id
    }

    /// The selected database.
    pub fn db(&self) -> u32 {
        self.raw_client().db
    }

    /// The session's protocol.
    pub fn proto(&self) -> Proto {
        if self.raw_client().proto == 3 { Proto::Resp3 } else { Proto::Resp2 }
    }

    /// True while EXEC runs this command with others: what it says of later is said of behind them all.
    pub fn in_transaction(&self) -> bool {
        self.raw_client().flags & abi::CLIENT_MULTI != 0
    }

    /// The journal offset behind the session's last write, for WAIT.
    pub fn write_offset(&self) -> u64 {
        self.raw_client().write_offset
    }

    /// This plugin's state of the session, made on first use; RESET drops it. A state of another type is replaced.
    pub fn state<T: Any + Send + Default>(&mut self) -> &mut T {
        // SAFETY: only this library sets the slot, always with `state_into_raw`; it stays until the session ends or is reset.
        unsafe {
            let current = (self.api().get_state)(self.data()).cast::<State>();
            if current.is_null() || !(**current).is::<T>() {
                let fresh: State = Box::<T>::default();
                (self.api().set_state)(self.data(), state_into_raw(fresh), Some(drop_state));
            }
            let slot = (self.api().get_state)(self.data()).cast::<State>();
            (**slot).downcast_mut::<T>().expect("the slot was just set to this type")
        }
    }

    /// Runs a command of the core or of a plugin; its effect is propagated as its own, in its order among this command's
    /// changes. Fails in a database that isn't there.
    ///
    /// It runs as the server's own: neither the rights of the client (ACL) nor the guards for clients hold (memory, a
    /// read-only replica, `min-replicas-to-write`, what scripts may not). What holds in a command is what it was let through
    /// for itself: one that isn't declared [`Flags::WRITE`](crate::Flags::WRITE) calls none that writes, and one without
    /// [`Flags::MAY_REPLICATE`](crate::Flags::MAY_REPLICATE) either none that may replicate (PUBLISH, EVAL). Commands about
    /// the connection that sends them (MULTI, SUBSCRIBE, AUTH, CLIENT …) are refused there, as are those that would wait.
    /// Commands of plugins call each other up to 64 deep. What is refused is an error reply; a command that gives no reply
    /// (SHUTDOWN) is an error.
    pub fn call<T: AsRef<[u8]>>(&mut self, db: u32, argv: &[T]) -> Result<Reply> {
        let words = raw_words(argv);
        let mut out = abi::Buf::EMPTY;
        // SAFETY: the words live for the call; `out` is ours to own.
        let (status, buf) = unsafe {
            let status = (self.api().call)(self.data(), db, words.as_ptr(), words.len(), &mut out);
            (status, OwnedBuf::new(out))
        };
        if status != abi::OK {
            return Err(Error::new(buf.text()));
        }
        Reply::decode(buf.as_ref())
    }

    /// The kind of the value at a key.
    pub fn kind(&self, db: u32, key: &[u8]) -> Option<ValueKind> {
        // SAFETY: the key lives for the call.
        value_kind(unsafe { (self.api().kind)(self.data(), db, Str::new(key)) })
    }

    /// A string's bytes, lent until the next call; an error if the value is of another kind.
    pub fn get(&mut self, db: u32, key: &[u8]) -> Result<Option<&[u8]>> {
        let mut out = Str { ptr: std::ptr::null(), len: 0 };
        // SAFETY: the key lives for the call; the result until the next call, which the borrow of `self` excludes.
        let kind = unsafe { (self.api().get)(self.data(), db, Str::new(key), &mut out) };
        match value_kind(kind) {
            None => Ok(None),
            // SAFETY: as above.
            Some(ValueKind::String) => Ok(Some(unsafe { out.bytes() })),
            Some(_) => Err(Error::reply("WRONGTYPE Operation against a key holding the wrong kind of value")),
        }
    }

    /// Sets a string and removes its expiry. In a command what is propagated is the handler's effect; with
    /// [`Effect::None`] it is this change, as SET. In a turn of the plugin's own it always is. The same goes for `del` and
    /// `expire_at`. Each publishes the keyspace event of the command that would do the same. In a database that isn't there,
    /// or in a command that isn't declared [`Flags::WRITE`](crate::Flags::WRITE), nothing is changed, and the command is
    /// answered an error, whatever its handler returns.
    pub fn set(&mut self, db: u32, key: &[u8], value: &[u8]) {
        // SAFETY: both live for the call.
        unsafe { (self.api().set_string)(self.data(), db, Str::new(key), Str::new(value)) };
    }

    /// Deletes a key; whether it existed. Propagated as for `set`.
    pub fn del(&mut self, db: u32, key: &[u8]) -> bool {
        // SAFETY: the key lives for the call.
        unsafe { (self.api().del)(self.data(), db, Str::new(key)) == 1 }
    }

    /// Sets or removes the expiry (unix milliseconds); whether the key existed. Propagated as for `set`.
    pub fn expire_at(&mut self, db: u32, key: &[u8], unix_ms: Option<u64>) -> bool {
        // SAFETY: the key lives for the call.
        unsafe { (self.api().expire_at)(self.data(), db, Str::new(key), unix_ms.unwrap_or(0)) == 1 }
    }

    /// The expiry in unix milliseconds.
    pub fn expiry(&self, db: u32, key: &[u8]) -> Option<u64> {
        // SAFETY: the key lives for the call.
        Some(unsafe { (self.api().expiry)(self.data(), db, Str::new(key)) }).filter(|at| *at != 0)
    }

    /// Number of keys of a database.
    pub fn keys(&self, db: u32) -> u64 {
        // SAFETY: plain call.
        unsafe { (self.api().keys)(self.data(), db) }
    }

    /// Number of databases.
    pub fn databases(&self) -> u32 {
        // SAFETY: plain call.
        unsafe { (self.api().databases)(self.data()) }
    }

    /// The journal as it is now, this turn's writes included.
    pub fn journal(&self) -> Journal {
        let mut out = MaybeUninit::uninit();
        // SAFETY: the function fills `out`.
        Journal::from_raw(&unsafe {
            (self.api().journal)(self.data(), out.as_mut_ptr());
            out.assume_init()
        })
    }

    /// Appends a record that is no client's write (PING, GETACK). The offset behind it.
    pub fn control_record<T: AsRef<[u8]>>(&mut self, argv: &[T], targets: Targets) -> u64 {
        let words = raw_words(argv);
        // SAFETY: the words live for the call.
        unsafe { (self.api().control_record)(self.data(), words.as_ptr(), words.len(), targets.0) }
    }

    /// Gives the journal another history. Every cursor ends, but those of
    /// [`CursorClass::Persistence`](crate::CursorClass::Persistence) that lose no bytes by it.
    pub fn rebase(&mut self, history: &History) -> Result<()> {
        // SAFETY: the history lives for the call.
        match unsafe { (self.api().rebase)(self.data(), &history.to_raw()) } {
            abi::OK => Ok(()),
            _ => Err(Error::new("the journal refused the history")),
        }
    }

    /// Says what this node is now.
    pub fn set_role(&mut self, role: &Role) {
        // SAFETY: the role lives for the call.
        role.with_raw(|raw| unsafe { (self.api().set_role)(self.data(), raw) });
    }

    /// Pauses clients until a unix time; `None` ends the pause.
    pub fn pause(&mut self, kind: PauseKind, until_unix_ms: Option<u64>) {
        // SAFETY: plain call.
        unsafe { (self.api().pause)(self.data(), kind.to_raw(), until_unix_ms.unwrap_or(0)) }
    }

    /// Publishes on this engine; the number of receivers.
    pub fn publish(&mut self, channel: &[u8], message: &[u8]) -> u64 {
        // SAFETY: both live for the call.
        unsafe { (self.api().publish)(self.data(), Str::new(channel), Str::new(message)) }
    }

    /// Tells subscribers of keyspace events (class `d`, see `notify-keyspace-events`) of something that happened to a key,
    /// behind what this turn did to keys before. Names are kept as long as the process lives: use words, not data.
    /// An error: the name has not 1 to 64 bytes or is one of more than a thousand, the database isn't there, this is INFO,
    /// or the server is older than this call.
    pub fn notify(&mut self, db: u32, key: &[u8], event: &str) -> Result<()> {
        if !abi::covers!(self.api().size, abi::CtxApi, notify) {
            return Err(Error::new("this server is too old for events of plugins"));
        }
        // SAFETY: both live for the call.
        match unsafe { (self.api().notify)(self.data(), db, Str::new(key), Str::new(event.as_bytes())) } {
            abi::OK => Ok(()),
            _ => Err(Error::new(format!("the keyspace event '{event}' can't be told"))),
        }
    }

    /// Closes sessions; how many.
    pub fn kill_clients(&mut self, filter: ClientFilter) -> u64 {
        // SAFETY: the filter lives for the call.
        unsafe { (self.api().kill_clients)(self.data(), &filter.to_raw()) }
    }

    /// This turn's clock.
    pub fn now_unix_ms(&self) -> u64 {
        // SAFETY: plain call.
        unsafe { (self.api().now_unix_ms)(self.data()) }
    }

    /// Lets commands that are allowed while busy run during a long call. True: stop what you do.
    pub fn busy_poll(&mut self) -> bool {
        // SAFETY: plain call.
        unsafe { (self.api().busy_poll)(self.data()) == 1 }
    }

    /// How many changes were made to the keys since the server's start; never falls.
    pub fn changes(&self) -> u64 {
        // SAFETY: plain call.
        unsafe { (self.api().changes)(self.data()) }
    }

    /// How many times FLUSHALL emptied the keyspace since the server's start; never falls.
    pub fn flushes(&self) -> u64 {
        // SAFETY: plain call.
        unsafe { (self.api().flushes)(self.data()) }
    }

    pub(crate) fn finish(&mut self, result: Result<Effect>) -> u32 {
        match result {
            Ok(Effect::None) => abi::CALL_NONE,
            Ok(Effect::AsSent) => abi::CALL_AS_SENT,
            Ok(Effect::Instead(argv)) => self.list(&[argv]),
            Ok(Effect::Many(list)) => self.list(&list),
            Ok(Effect::InDb(list)) => self.list_in_dbs(&list),
            Err(error) => {
                match error.is_counted() {
                    true => self.fail_counted(&error.reply_text()),
                    false => self.fail(&error.reply_text()),
                }
                abi::CALL_FAILED
            }
        }
    }

    fn list(&mut self, effects: &[crate::OwnedArgs]) -> u32 {
        for argv in effects {
            let words = raw_words(&argv.0);
            // SAFETY: the words live for the call.
            unsafe { (self.api().propagate)(self.data(), words.as_ptr(), words.len()) };
        }
        abi::CALL_LISTED
    }

    fn list_in_dbs(&mut self, effects: &[(u32, crate::OwnedArgs)]) -> u32 {
        if !abi::covers!(self.api().size, abi::CtxApi, propagate_in) {
            self.fail("ERR this server is too old for effects in another database");
            return abi::CALL_FAILED;
        }
        for (db, argv) in effects {
            let words = raw_words(&argv.0);
            // SAFETY: the words live for the call.
            unsafe { (self.api().propagate_in)(self.data(), *db, words.as_ptr(), words.len()) };
        }
        abi::CALL_LISTED
    }

    fn fail_counted(&mut self, text: &str) {
        // SAFETY: the text lives for the call.
        unsafe { (self.api().fail_counted)(self.data(), Str::new(text.as_bytes())) };
    }

    pub(crate) fn fail(&mut self, text: &str) {
        // SAFETY: the text lives for the call.
        unsafe { (self.api().fail)(self.data(), Str::new(text.as_bytes())) };
    }
}

fn value_kind(raw: u32) -> Option<ValueKind> {
    Some(match raw {
        abi::VALUE_NONE => return None,
        abi::VALUE_STRING => ValueKind::String,
        abi::VALUE_LIST => ValueKind::List,
        abi::VALUE_SET => ValueKind::Set,
        abi::VALUE_ZSET => ValueKind::ZSet,
        abi::VALUE_HASH => ValueKind::Hash,
        abi::VALUE_STREAM => ValueKind::Stream,
        _ => ValueKind::Other,
    })
}

/// The reply being written. A head (`array`, `map`, `set`) is followed by that many elements.
pub struct Out<'a> {
    api: &'a abi::CtxApi,
    data: *mut c_void,
    _borrow: PhantomData<&'a mut ()>,
}

/// One line per kind of reply: the table's function of the same name.
macro_rules! replies {
    ($( $(#[$doc:meta])* $name:ident = $field:ident($($arg:ident: $ty:ty => $raw:expr),*); )*) => {
        impl Out<'_> {
            $( $(#[$doc])* pub fn $name(&mut self $(, $arg: $ty)*) -> &mut Self {
                // SAFETY: the arguments live for the call; the context is alive while it is borrowed.
                unsafe { (self.api.$field)(self.data $(, $raw)*) };
                self
            } )*
        }
    };
}

replies! {
    /// `+text`
    simple = reply_simple(text: &str => Str::new(text.as_bytes()));
    /// `-text`, word for word, code first.
    error = reply_error(text: &str => Str::new(text.as_bytes()));
    /// An integer.
    int = reply_int(value: i64 => value);
    /// A bulk string.
    bulk = reply_bulk(bytes: &[u8] => Str::new(bytes));
    /// Null.
    null = reply_null();
    /// The null array of RESP2; null in RESP3.
    null_array = reply_null_array();
    /// Head of an array.
    array = reply_array(len: usize => len);
    /// Head of a map of `len` pairs; a flat array in RESP2.
    map = reply_map(len: usize => len);
    /// Head of a set; an array in RESP2.
    set = reply_set(len: usize => len);
    /// A double; a bulk string in RESP2.
    double = reply_double(value: f64 => value);
    /// A boolean; 1 or 0 in RESP2.
    boolean = reply_boolean(value: bool => u32::from(value));
    /// Text with a three letter format (`txt`, `mkd`); a bulk string in RESP2.
    verbatim = reply_verbatim(format: &str => Str::new(format.as_bytes()), text: &str => Str::new(text.as_bytes()));
    /// Bytes that are RESP already.
    raw = reply_raw(resp: &[u8] => Str::new(resp));
}

impl Out<'_> {
    /// `+OK`
    pub fn ok(&mut self) -> &mut Self {
        self.simple("OK")
    }

    /// A bulk string of text.
    pub fn text(&mut self, text: &str) -> &mut Self {
        self.bulk(text.as_bytes())
    }

    /// A whole reply.
    pub fn reply(&mut self, proto: Proto, reply: &Reply) -> &mut Self {
        let mut wire = Vec::new();
        reply.encode(proto, &mut wire);
        self.raw(&wire)
    }
}
