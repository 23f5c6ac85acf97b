//! What a context offers to scripts: commands under the guards for scripts, the conditions of the moment, and what others
//! are told meanwhile. The rules themselves are the engine's (`keystead_engine::script`).

use super::frame::{World, frame, owned_words};
use keystead_abi::{self as abi, Buf, Str};
use keystead_engine::resp::Proto;
use keystead_engine::script::{Conditions, ScriptCall};
use keystead_engine::{CommandError, Origin, OwnedArgs, Targets};
use std::cell::Cell;
use std::ffi::c_void;

const NO_COMMAND: CommandError = CommandError::fixed("ERR only a command of a session can call others as a script");

pub(super) unsafe extern "C" fn conditions(ctx: *mut c_void) -> u64 {
    // SAFETY: the contract of `ks_ctx_api`: the context is alive, on its own thread.
    let frame = unsafe { frame(ctx) };
    let origin = match &frame.world {
        World::Command(ctx) => ctx.origin,
        World::Turn(_) | World::Look(..) => Origin::Internal,
    };
    let now = Conditions::of(frame.core(), origin);
    let bits = [
        (now.obey, abi::COND_OBEY),
        (now.read_only, abi::COND_READ_ONLY),
        (now.stale, abi::COND_STALE),
        (now.disk_error, abi::COND_DISK_ERROR),
        (now.few_replicas, abi::COND_FEW_REPLICAS),
        (now.out_of_memory, abi::COND_OUT_OF_MEMORY),
        (now.loading, abi::COND_LOADING),
        (now.write_error, abi::COND_WRITE_ERROR),
    ];
    bits.iter().filter(|(holds, _)| *holds).fold(0, |all, (_, bit)| all | bit)
}

pub(super) unsafe extern "C" fn write_error(ctx: *mut c_void, out: *mut Buf) {
    // SAFETY: as above; the caller gives room for one buffer.
    unsafe { out.write(Buf::new(frame(ctx).core().gates.write_error())) };
}

pub(super) unsafe extern "C" fn call(
    ctx: *mut c_void,
    how: *mut abi::ScriptCall,
    argv: *const Str,
    argc: usize,
    out: *mut Buf,
) -> u32 {
    let mut scratch = SPARE.take().unwrap_or_default();
    // SAFETY: as above; the caller gives room for one buffer, `how` is its own.
    unsafe {
        let (frame, how) = (frame(ctx), &mut *how);
        let World::Command(ctx) = &mut frame.world else {
            out.write(Buf::new(NO_COMMAND.bytes().to_vec()));
            return abi::ERR;
        };
        if how.db as usize >= ctx.ks.databases() {
            out.write(Buf::new(CommandError::DB_RANGE.bytes().to_vec()));
            return abi::ERR;
        }
        let mut call = wanted(how);
        Str::array(argv, argc).iter().for_each(|word| scratch.words.push(word.bytes()));
        let ran = keystead_engine::script::call(ctx, &mut call, scratch.words.view(), &mut scratch.reply);
        how.db = call.db as u32;
        if call.wrote {
            how.flags |= abi::SCRIPT_WROTE;
        }
        let status = match ran {
            Ok(()) => abi::OK,
            Err(error) => {
                scratch.reply.extend_from_slice(error.bytes());
                abi::ERR
            }
        };
        out.write(scratch.lend());
        status
    }
}

thread_local! {
    /// What the last call needed, for the next: a script calls commands one after the other.
    static SPARE: Cell<Option<Box<Scratch>>> = const { Cell::new(None) };
}

/// A call's words and reply.
#[derive(Default)]
struct Scratch {
    words: OwnedArgs,
    reply: Vec<u8>,
}

impl Scratch {
    /// More memory than this isn't kept.
    const KEPT: usize = 64 * 1024;

    /// The reply, as the plugin's until it drops it.
    fn lend(self: Box<Scratch>) -> Buf {
        let (ptr, len) = (self.reply.as_ptr(), self.reply.len());
        Buf { ptr, len, owner: Box::into_raw(self).cast(), drop: Some(give_back) }
    }
}

/// # Safety
/// `owner` came from `Scratch::lend`, and is given back once.
unsafe extern "C" fn give_back(owner: *mut c_void) {
    // SAFETY: see above.
    let mut scratch = unsafe { Box::from_raw(owner.cast::<Scratch>()) };
    if scratch.words.memory() + scratch.reply.capacity() <= Scratch::KEPT {
        scratch.words.clear();
        scratch.reply.clear();
        // A thread that ends has no use for it.
        let _ = SPARE.try_with(|spare| spare.set(Some(scratch)));
    }
}

fn wanted(how: &abi::ScriptCall) -> ScriptCall {
    let has = |flag| how.flags & flag != 0;
    ScriptCall {
        db: how.db as usize,
        proto: if how.proto == 3 { Proto::Resp3 } else { Proto::Resp2 },
        read_only: has(abi::SCRIPT_READ_ONLY),
        allow_oom: has(abi::SCRIPT_ALLOW_OOM),
        wrote: has(abi::SCRIPT_WROTE),
        targets: Targets(how.targets as u8 & Targets::ALL.0),
    }
}

pub(super) unsafe extern "C" fn acl_check(ctx: *mut c_void, argv: *const Str, argc: usize, out: *mut Buf) -> u32 {
    // SAFETY: as above; the caller gives room for one buffer.
    unsafe {
        let (frame, args): (_, OwnedArgs) = (frame(ctx), owned_words(argv, argc));
        let state = frame.session_ref();
        match keystead_engine::script::may_run(frame.core(), state, args.view()) {
            Ok(()) => abi::OK,
            Err(error) => {
                out.write(Buf::new(error.bytes().to_vec()));
                abi::ERR
            }
        }
    }
}

pub(super) unsafe extern "C" fn set_busy_reply(ctx: *mut c_void, text: Str) {
    // SAFETY: as above; the text lives for the call.
    unsafe { frame(ctx).busy_reply = text.text().into() };
}
