//! A turn as a plugin sees it: what a `ks_ctx` points to. A frame lives on the stack of the call it is made for.

use super::effects;
use super::plugin::Plugin;
use keystead_abi::{self as abi, Out, Str};
use keystead_engine::core::Core;
use keystead_engine::foreign::Earlier;
use keystead_engine::keyspace::Keyspace;
use keystead_engine::resp::{Proto, Writer};
use keystead_engine::session::State;
use keystead_engine::spec::WRITE;
use keystead_engine::{CommandError, Ctx, Engine, OwnedArgs};
use std::borrow::Cow;
use std::cell::Cell;
use std::ffi::c_void;
use std::ptr;

thread_local! {
    /// The frame this thread is inside of; NULL outside of one.
    static CURRENT: Cell<*mut c_void> = const { Cell::new(ptr::null_mut()) };
    /// How many calls of plugins from inside a turn this thread is in, with a frame or without.
    static DEPTH: Cell<u32> = const { Cell::new(0) };
}

/// What the call is about.
pub(super) enum World<'f, 'e> {
    /// A command of a session.
    Command(&'f mut Ctx<'e>),
    /// A turn of the plugin's own.
    Turn(&'f mut Engine),
    /// INFO: looks only.
    Look(&'f Keyspace, &'f Core),
}

/// A plugin's call inside a turn.
pub(super) struct Frame<'f, 'e> {
    pub(super) plugin: &'static Plugin,
    pub(super) endpoint: u32,
    pub(super) world: World<'f, 'e>,
    /// What `fail` was told.
    pub(super) error: Option<Vec<u8>>,
    /// That error was counted already.
    pub(super) counted: bool,
    /// What it asked for and can't have: the command fails with it, whatever it returns.
    pub(super) refused: Option<CommandError>,
    /// What `propagate` listed, each with its database.
    pub(super) listed: Vec<(usize, OwnedArgs)>,
    /// Direct changes of this command. If it fails half way these are propagated, so that no replica misses them.
    pub(super) changes: Vec<Earlier>,
    /// The plugin's state in a turn without a session.
    pub(super) loose: Option<super::ctx::SlotState>,
    /// Where a reply goes that nobody waits for.
    nowhere: Vec<u8>,
    /// What `busy_poll` answers to commands that must wait.
    pub(super) busy_reply: Cow<'static, str>,
    /// Bytes lent to the plugin until its next call.
    pub(super) lent: Vec<u8>,
}

impl<'f, 'e> Frame<'f, 'e> {
    pub(super) fn new(plugin: &'static Plugin, endpoint: u32, world: World<'f, 'e>) -> Frame<'f, 'e> {
        Frame {
            plugin,
            endpoint,
            world,
            error: None,
            counted: false,
            refused: None,
            listed: Vec::new(),
            changes: Vec::new(),
            loose: None,
            busy_reply: Cow::Borrowed("BUSY Redis is busy running a module command."),
            nowhere: Vec::new(),
            lent: Vec::new(),
        }
    }

    /// Calls the plugin with a context for this frame.
    pub(super) fn enter<R>(&mut self, call: impl FnOnce(*const abi::Ctx) -> R) -> R {
        let data: *mut c_void = ptr::from_mut(self).cast();
        let ctx = abi::Ctx { data, api: &super::ctx::API };
        let outer = CURRENT.replace(data);
        let result = inside(|| call(&ctx));
        CURRENT.set(outer);
        result
    }

    /// The reply's writer.
    pub(super) fn reply(&mut self) -> Writer<'_> {
        match &mut self.world {
            World::Command(ctx) => {
                let proto = ctx.reply.proto;
                if ctx.reply.out.len() >= ctx.most_output() {
                    // The client is closed for what it was told already.
                    self.nowhere.clear();
                    return Writer::new(&mut self.nowhere, proto);
                }
                Writer::new(ctx.reply.out, proto)
            }
            World::Turn(_) | World::Look(..) => {
                self.nowhere.clear();
                Writer::new(&mut self.nowhere, Proto::Resp3)
            }
        }
    }

    /// The core, to look at.
    pub(super) fn core(&self) -> &Core {
        match &self.world {
            World::Command(ctx) => ctx.core,
            World::Turn(engine) => &engine.core,
            World::Look(_, core) => core,
        }
    }

    /// The core, to change it; not while INFO is written.
    pub(super) fn core_mut(&mut self) -> Option<&mut Core> {
        match &mut self.world {
            World::Command(ctx) => Some(ctx.core),
            World::Turn(engine) => Some(&mut engine.core),
            World::Look(..) => None,
        }
    }

    /// The keys, to look at.
    pub(super) fn look(&self) -> &Keyspace {
        match &self.world {
            World::Command(ctx) => ctx.ks,
            World::Turn(engine) => &engine.ks,
            World::Look(keys, _) => keys,
        }
    }

    /// The keys, to change them; not while INFO is written.
    pub(super) fn keys(&mut self) -> Option<&mut Keyspace> {
        match &mut self.world {
            World::Command(ctx) => Some(ctx.ks),
            World::Turn(engine) => Some(&mut engine.ks),
            World::Look(..) => None,
        }
    }

    /// Whether there is such a database. If not, the running command fails; a turn of the plugin's own has only the log.
    pub(super) fn has_db(&mut self, db: u32) -> bool {
        let databases = self.look().databases();
        let there = (db as usize) < databases;
        if !there {
            self.refused = Some(CommandError::DB_RANGE);
            if !matches!(self.world, World::Command(_)) {
                log::error!("plugin {}: a change in database {db} is refused: there are {databases}", self.plugin.name);
            }
        }
        there
    }

    /// Whether this call may change keys: a command that isn't declared to write passed guards that were for those that are.
    /// If not, the running command fails.
    pub(super) fn may_change(&mut self) -> bool {
        let command = match &self.world {
            World::Command(ctx) => ctx.command,
            World::Turn(_) | World::Look(..) => return true,
        };
        let may = command.flags.has(WRITE);
        if !may {
            self.refused = Some(effects::undeclared(&self.plugin.name, command));
        }
        may
    }

    /// Remembers what this command has just changed.
    pub(super) fn changed(&mut self, db: u32, words: &[&[u8]]) {
        if let World::Command(ctx) = &mut self.world {
            let at = ctx.unit_place();
            self.changes.push(Earlier { at, db: db as usize, words: words.iter().collect() });
        }
    }

    /// Lists an effect, if it can be one. If not, the running command fails.
    pub(super) fn list(&mut self, db: usize, words: OwnedArgs) {
        match effects::refusal(self.core(), &self.plugin.name, words.view()) {
            Some(refused) => self.refused = Some(refused),
            None => self.listed.push((db, words)),
        }
    }

    /// The session whose command runs.
    pub(super) fn session_ref(&self) -> Option<&State> {
        match &self.world {
            World::Command(ctx) => Some(ctx.session),
            World::Turn(_) | World::Look(..) => None,
        }
    }

    /// The same, to change it.
    pub(super) fn session(&mut self) -> Option<&mut State> {
        match &mut self.world {
            World::Command(ctx) => Some(ctx.session),
            World::Turn(_) | World::Look(..) => None,
        }
    }
}

/// Calls a plugin from inside a turn: whatever would wait for the engine's lock meanwhile is refused instead.
pub(super) fn inside<R>(call: impl FnOnce() -> R) -> R {
    DEPTH.set(DEPTH.get() + 1);
    let result = call();
    DEPTH.set(DEPTH.get() - 1);
    result
}

/// Calls of plugins inside each other, each of which has its part of the stack: some 8 KB in a debug build. A command that
/// runs what its client names could go on for ever.
const MOST_NESTED: u32 = 64;

/// Whether this thread is in as many calls of plugins as it may.
pub(super) fn nested_too_deeply() -> bool {
    DEPTH.get() >= MOST_NESTED
}

/// Whether this thread is in a turn that called a plugin.
pub(super) fn in_turn() -> bool {
    DEPTH.get() > 0
}

/// What is answered from inside a turn to whoever asks for one: waiting for the lock would be for ever.
pub(super) fn refused_in_turn() -> Option<Out> {
    in_turn().then(|| Out::failed(abi::IN_TURN, "not possible from inside a turn"))
}

/// The frame this thread is inside of, for host functions that are called from a turn.
///
/// The closure must not call the plugin.
pub(super) fn current<R>(look: impl FnOnce(&Frame<'_, '_>) -> R) -> Option<R> {
    let data = CURRENT.get();
    if data.is_null() {
        return None;
    }
    // SAFETY: `enter` set it to a frame that outlives the call it is made for, on this thread only.
    Some(look(unsafe { &*data.cast::<Frame<'_, '_>>() }))
}

/// The same, to change what the frame is about.
///
/// The closure must not call the plugin, nor anything that looks at the frame.
pub(super) fn current_mut<R>(change: impl FnOnce(&mut Frame<'_, '_>) -> R) -> Option<R> {
    let data = CURRENT.get();
    if data.is_null() {
        return None;
    }
    // SAFETY: as above; this thread is in the plugin's code, where nobody has a reference to the frame.
    Some(change(unsafe { &mut *data.cast::<Frame<'_, '_>>() }))
}

/// # Safety
/// `data` is the `data` of a context that is alive, on its own thread, and no other reference to the frame is in use.
pub(super) unsafe fn frame<'a>(data: *mut c_void) -> &'a mut Frame<'a, 'a> {
    // SAFETY: the caller's.
    unsafe { &mut *data.cast::<Frame<'a, 'a>>() }
}

/// A command's words as the boundary wants them, without an allocation for up to eight.
pub(super) fn with_words<'a, R>(
    words: impl ExactSizeIterator<Item = &'a [u8]>,
    call: impl FnOnce(*const Str, usize) -> R,
) -> R {
    const INLINE: usize = 8;
    let len = words.len();
    if len <= INLINE {
        let mut inline = [Str::new(b""); INLINE];
        for (slot, word) in inline.iter_mut().zip(words) {
            *slot = Str::new(word);
        }
        return call(inline.as_ptr(), len);
    }
    let all: Vec<Str> = words.map(Str::new).collect();
    call(all.as_ptr(), len)
}

/// Received words, owned.
///
/// # Safety
/// `argv` points to `argc` words, readable for the call.
pub(super) unsafe fn owned_words(argv: *const Str, argc: usize) -> OwnedArgs {
    // SAFETY: the caller's.
    unsafe { Str::array(argv, argc) }.iter().map(|word| unsafe { word.bytes() }).collect()
}
