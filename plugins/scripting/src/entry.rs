//! The way into the interpreter: keys and arguments are made, the script runs, its value becomes the reply, all inside one
//! protected call. What may run, and what becomes of an error, is decided by `interpreter` and `run`.

use crate::convert::{self, Open, Refused};
use crate::live::server;
use crate::stack;
use keystead_plugin::{Args, Proto};
use keystead_resp::Writer;
use mlua::ffi::{self, lua_State};
use std::ffi::c_int;

/// Keys and arguments begin at this word of a command, behind its name, the script and the number of keys.
pub const FIRST: usize = 3;

/// Places of what `enter` is called with.
const RUN: c_int = 1;
const ON_ERROR: c_int = 2;
const CODE: c_int = 3;

/// What runs.
#[derive(Clone, Copy)]
pub enum Code {
    /// The script at a place of the table that is handed over; keys and arguments are globals.
    Script(c_int),
    /// The function that is handed over; it is called with keys and arguments.
    Function,
}

/// One run, on the stack of whoever wants it.
pub struct Run<'r, 'a> {
    /// What runs.
    pub code: Code,
    /// The command's words.
    pub args: Args<'a>,
    /// How many of them are keys.
    pub keys: usize,
    /// Where the reply goes, and how the client wants it.
    pub reply: Writer<'r>,
    /// How long it may get.
    pub most: usize,
    /// Tables of the script's value that are being written; empty.
    pub open: Vec<Open>,
    /// What came of it.
    pub ended: Ended,
}

/// How a run ended.
#[derive(Debug, PartialEq, Eq)]
pub enum Ended {
    /// The script raised an error, which `enter` gives back, or it never began.
    Raised,
    /// The reply is written.
    Replied,
    /// The script's value is no reply.
    Refused(Refused),
}

impl<'a> Run<'_, 'a> {
    fn keys(&self) -> impl ExactSizeIterator<Item = &'a [u8]> + use<'a> {
        self.args.iter().skip(FIRST).take(self.keys)
    }

    fn rest(&self) -> impl ExactSizeIterator<Item = &'a [u8]> + use<'a> {
        self.args.iter().skip(FIRST + self.keys)
    }
}

/// Called with a pointer to a [`Run`], the function that errors go through, and the code or the table that has it. Gives
/// back the error that the script raised, or nothing.
///
/// # Safety
/// Called by the interpreter in a protected call, with these three; the run is nobody else's meanwhile.
pub unsafe extern "C-unwind" fn enter(state: *mut lua_State) -> c_int {
    // SAFETY: the caller's. This frame and those it calls own nothing: what is dropped is behind the pointer.
    unsafe {
        let run = &mut *ffi::lua_touserdata(state, RUN).cast::<Run<'_, '_>>();
        let words = match run.code {
            Code::Script(place) => {
                stack::push_bytes(state, b"KEYS");
                stack::push_words(state, run.keys());
                ffi::lua_rawset(state, ffi::LUA_GLOBALSINDEX);
                stack::push_bytes(state, b"ARGV");
                stack::push_words(state, run.rest());
                ffi::lua_rawset(state, ffi::LUA_GLOBALSINDEX);
                ffi::lua_rawgeti_(state, CODE, place);
                0
            }
            Code::Function => {
                ffi::lua_pushvalue(state, CODE);
                stack::push_words(state, run.keys());
                stack::push_words(state, run.rest());
                2
            }
        };
        if ffi::lua_pcall(state, words, 1, ON_ERROR) != ffi::LUA_OK {
            return 1;
        }
        let script = server(|server| server.how().proto).unwrap_or(Proto::Resp2);
        run.ended = match convert::write(state, &mut run.reply, script, &mut run.open, run.most) {
            Ok(()) => Ended::Replied,
            Err(refused) => Ended::Refused(refused),
        };
        0
    }
}
