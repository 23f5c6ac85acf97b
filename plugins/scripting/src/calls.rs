//! `redis.call` and `redis.pcall`, as functions of the interpreter's own kind: a command's words are read where the script
//! left them, and its reply becomes values at once.

use crate::convert;
use crate::live::{Called, Server, server};
use crate::stack::{self, LUA_TNUMBER, LUA_TSTRING};
use mlua::ffi::{self, lua_State};
use mlua::{Lua, Table};
use smallvec::SmallVec;
use std::ffi::c_int;
use std::panic::{AssertUnwindSafe, catch_unwind};

/// How a call went. The bytes are the script's `Live`'s, or fixed: nothing is owned, so that an error may jump over it.
#[derive(Clone, Copy)]
enum Said {
    /// The command ran: its reply.
    Reply(*const [u8]),
    /// It didn't run: why, and whether the server has counted that.
    Refused(*const [u8], bool),
    /// We have failed.
    Panicked,
}

/// Puts both into the table that scripts see as `redis`.
pub fn register(lua: &Lua, redis: &Table) -> mlua::Result<()> {
    // SAFETY: both are functions as the interpreter wants them.
    unsafe {
        redis.raw_set("call", lua.create_c_function(call)?)?;
        redis.raw_set("pcall", lua.create_c_function(pcall)?)
    }
}

unsafe extern "C-unwind" fn call(state: *mut lua_State) -> c_int {
    // SAFETY: the interpreter calls; this frame drops nothing.
    unsafe { answer(state, true) }
}

unsafe extern "C-unwind" fn pcall(state: *mut lua_State) -> c_int {
    // SAFETY: as above.
    unsafe { answer(state, false) }
}

/// Runs the command and pushes what it gave; `raise`: an error is raised instead.
unsafe fn answer(state: *mut lua_State, raise: bool) -> c_int {
    // SAFETY: the caller's. The reply stays until this script's next call, which nothing in here makes.
    unsafe {
        let said = ask(state);
        // The words are used: their room is the reply's.
        ffi::lua_settop(state, 0);
        let failed = match said {
            Said::Reply(reply) => {
                let reply = &*reply;
                match reply.strip_prefix(b"-").filter(|_| raise) {
                    Some(error) => {
                        stack::room(state, 3);
                        convert::push_error(state, error.trim_ascii_end(), true);
                        true
                    }
                    None if convert::push(state, reply).is_ok() => false,
                    None => return stack::raise(state, c"a reply of the server can't be read"),
                }
            }
            Said::Refused(text, counted) => {
                stack::room(state, 3);
                convert::push_error(state, &*text, counted);
                raise
            }
            Said::Panicked => return stack::raise(state, c"the command panicked"),
        };
        if failed { ffi::lua_error(state) } else { 1 }
    }
}

/// Has the server run the command whose words are on the stack. Raises nothing.
unsafe fn ask(state: *mut lua_State) -> Said {
    let asked = catch_unwind(AssertUnwindSafe(|| {
        server(|server| {
            // SAFETY: the caller's; the words stay on the stack meanwhile.
            unsafe { ask_server(state, server) }
        })
    }));
    match asked {
        Ok(Some(said)) => said,
        Ok(None) => refused(b"ERR redis.call/pcall can only be called inside a script invocation"),
        Err(_) => Said::Panicked,
    }
}

fn refused(text: &'static [u8]) -> Said {
    Said::Refused(text, false)
}

unsafe fn ask_server(state: *mut lua_State, server: &mut dyn Server) -> Said {
    let mut digits = Vec::new();
    let mut words = SmallVec::<[&[u8]; 16]>::new();
    let mut numbers = SmallVec::<[(usize, usize); 4]>::new();
    // SAFETY: the caller's. Strings are read as they are, numbers by value: neither is converted in its place.
    let count = unsafe {
        let count = ffi::lua_gettop(state);
        for at in 1..=count {
            match ffi::lua_type(state, at) {
                LUA_TSTRING => words.push(stack::bytes(state, at)),
                LUA_TNUMBER => {
                    numbers.push((words.len(), digits.len()));
                    decimal(ffi::lua_tonumber(state, at), &mut digits);
                    words.push(&[]);
                }
                _ => return refused(b"ERR Lua redis lib command arguments must be strings or integers"),
            }
        }
        count
    };
    if count == 0 {
        return refused(b"ERR Please specify at least one argument for this redis lib call");
    }
    let mut end = digits.len();
    for (word, begin) in numbers.iter().rev() {
        words[*word] = &digits[*begin..end];
        end = *begin;
    }
    match server.call(&words) {
        Called::Reply(reply) => Said::Reply(reply),
        Called::Refused(text) => Said::Refused(text, true),
    }
}

/// A number as Redis 7.2.6 hands it to a command: whole numbers up to 2^62 without an exponent, others with the digits they
/// need.
pub fn decimal(number: f64, out: &mut Vec<u8>) {
    if number == 0.0 {
        out.push(b'0');
    } else if number.is_nan() && number.is_sign_negative() {
        // What a division of zero by zero gives on x86.
        out.extend_from_slice(b"-nan");
    } else {
        keystead_resp::number::format_f64(number, out);
    }
}

#[cfg(test)]
mod tests {
    use super::decimal;

    #[test]
    fn numbers_are_written_as_redis_writes_them() {
        let cases = [
            (-0.0, "0"),
            (1e8, "100000000"),
            (1e15, "1000000000000000"),
            (2f64.powi(62), "4611686018427387904"),
            (-2f64.powi(63), "-9223372036854776000"),
            (2f64.powi(63), "9223372036854776000"),
            (1e20, "1e+20"),
            (1e300, "1e+300"),
            (1e-7, "1e-7"),
            (0.1, "0.1"),
            (f64::NAN.copysign(1.0), "nan"),
            (f64::NAN.copysign(-1.0), "-nan"),
            (f64::NEG_INFINITY, "-inf"),
        ];
        for (number, wanted) in cases {
            let mut out = Vec::new();
            decimal(number, &mut out);
            assert_eq!(String::from_utf8(out).unwrap(), wanted);
        }
    }
}
