//! What scripts find in `redis` and `math.random`, as functions of the server.

use crate::live::{self, server, words};
use crate::{bit, calls, cjson, cmsgpack, convert, digits, guard, interpreter, replies, structs};
use keystead_plugin::Proto;
use mlua::{IntoLuaMulti, Lua, MultiValue, Table, Value};
use sha1::{Digest, Sha1};
use std::sync::atomic::{AtomicU64, Ordering};

/// The version whose behaviour scripts may expect.
const VERSION: (&str, u32) = ("7.2.4", 0x0007_0204);

/// How a function of ours ends badly. It travels through the interpreter inside an error of the bindings; `pcall` and
/// `xpcall` of scripts, and the end of the run, take it out again.
#[derive(Clone, Debug)]
pub enum Fault {
    /// `error(text)` at the caller's place.
    Text(Vec<u8>),
    /// `error({err = text})`; `counted` if a command failed, whose error the server has counted.
    Table {
        /// Code first.
        text: Vec<u8>,
        /// A command failed.
        counted: bool,
    },
    /// The script is to end: nothing of its own catches this.
    Stop(&'static str),
}

impl std::fmt::Display for Fault {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Fault::Text(text) | Fault::Table { text, .. } => f.write_str(&String::from_utf8_lossy(text)),
            Fault::Stop(reason) => f.write_str(reason),
        }
    }
}

impl std::error::Error for Fault {}

impl Fault {
    /// `error(text)`
    pub fn text(text: impl Into<Vec<u8>>) -> Fault {
        Fault::Text(text.into())
    }

    /// The fault inside an error of the bindings; any other error as its text.
    pub fn of(error: &mlua::Error) -> Fault {
        match error {
            mlua::Error::CallbackError { cause, .. } => Fault::of(cause),
            other => match other.downcast_ref::<Fault>() {
                Some(fault) => fault.clone(),
                None => Fault::text(interpreter::first_line(other)),
            },
        }
    }

    /// What a script sees of it.
    pub fn value(&self, lua: &Lua) -> mlua::Result<Value> {
        Ok(match self {
            Fault::Text(text) => Value::String(lua.create_string(text)?),
            Fault::Stop(reason) => Value::String(lua.create_string(reason)?),
            Fault::Table { text, counted: true } => Value::Table(convert::error_table(lua, text)?),
            Fault::Table { text, counted: false } => {
                let table = lua.create_table()?;
                table.raw_set("err", lua.create_string(text)?)?;
                Value::Table(table)
            }
        })
    }
}

impl From<mlua::Error> for Fault {
    fn from(error: mlua::Error) -> Fault {
        Fault::of(&error)
    }
}

impl From<String> for Fault {
    fn from(text: String) -> Fault {
        Fault::text(text)
    }
}

/// `bad argument #at to 'name' (what)`
pub fn bad_argument(at: usize, name: &str, what: impl AsRef<[u8]>) -> Fault {
    Fault::Text([format!("bad argument #{at} to '{name}' (").as_bytes(), what.as_ref(), b")"].concat())
}

/// What functions of ours give.
pub type Answer<T = MultiValue> = Result<T, Fault>;

/// Puts a function into a table.
pub fn put<R: IntoLuaMulti>(
    lua: &Lua,
    table: &Table,
    name: &str,
    f: impl Fn(&Lua, MultiValue) -> Answer<R> + Send + 'static,
) -> mlua::Result<()> {
    let function = lua.create_function(move |lua, args: MultiValue| {
        f(lua, args).map_err(|fault| {
            mlua::Error::external(match fault {
                Fault::Text(text) => Fault::Text([interpreter::place(lua).as_bytes(), &text].concat()),
                other => other,
            })
        })
    })?;
    table.raw_set(name, function)
}

/// An error table in the server's words, as `redis.call` raises it for what never ran.
fn refused(text: &str) -> Fault {
    Fault::Table { text: format!("ERR {text}").into_bytes(), counted: false }
}

/// The table that the prelude takes its functions from.
pub fn native(lua: &Lua, global: &Table) -> mlua::Result<Table> {
    let native = lua.create_table()?;
    let redis = lua.create_table()?;
    commands(lua, &redis)?;
    settings(lua, &redis)?;
    constants(&redis)?;
    native.raw_set("redis", redis)?;
    let library = lua.create_table()?;
    put(lua, &library, "log", log_line)?;
    constants(&library)?;
    native.raw_set("library", library)?;
    native.raw_set("max_chunk", interpreter::MAX_CHUNK)?;
    let global = global.clone();
    let compile = lua.create_function(move |lua, (text, name): (mlua::String, mlua::String)| {
        let compiled = interpreter::compile(lua, &global, &text.as_bytes(), &name.as_bytes());
        match compiled {
            Ok((function, _)) => (function, Value::Nil).into_lua_multi(lua),
            Err(text) => (Value::Nil, lua.create_string(text)?).into_lua_multi(lua),
        }
    })?;
    native.raw_set("compile", compile)?;
    let seen = lua.create_function(|lua, value: Value| match value {
        Value::Error(error) => match Fault::of(&error) {
            Fault::Stop(_) => Err(*error),
            fault => fault.value(lua),
        },
        other => Ok(other),
    })?;
    native.raw_set("seen", seen)?;
    guard::register(lua, &native)?;
    random(lua, &native)?;
    native.raw_set("cjson", cjson::library(lua)?)?;
    native.raw_set("cmsgpack", cmsgpack::library(lua)?)?;
    native.raw_set("bit", bit::library(lua)?)?;
    native.raw_set("struct", structs::library(lua)?)?;
    Ok(native)
}

fn commands(lua: &Lua, redis: &Table) -> mlua::Result<()> {
    calls::register(lua, redis)?;
    put(lua, redis, "acl_check_cmd", |_, args| {
        let argv = argv(&args)?;
        match server(|server| server.acl_check(&argv)) {
            Some(Ok(())) => Ok(true),
            Some(Err(text)) if text.starts_with("ERR") => Err(refused(text.trim_start_matches("ERR "))),
            Some(Err(_)) => Ok(false),
            None => Err(outside("redis.acl_check_cmd")),
        }
    })
}

fn argv(args: &MultiValue) -> Answer<Vec<Vec<u8>>> {
    if args.is_empty() {
        return Err(refused("Please specify at least one argument for this redis lib call"));
    }
    words(args).ok_or_else(|| refused("Lua redis lib command arguments must be strings or integers"))
}

fn outside(what: &str) -> Fault {
    refused(&format!("{what} can only be called inside a script invocation"))
}

/// Numbers, and texts that are numbers, as Lua's own functions take them.
pub fn number(value: Option<&Value>) -> Option<f64> {
    match value? {
        Value::Integer(number) => Some(*number as f64),
        Value::Number(number) => Some(*number),
        Value::String(text) => keystead_resp::number::parse_f64(text.as_bytes().trim_ascii()),
        _ => None,
    }
}

/// As C makes an int of it: what is no number is zero.
fn int(value: Option<&Value>) -> i32 {
    number(value).unwrap_or(0.0) as i32
}

fn settings(lua: &Lua, redis: &Table) -> mlua::Result<()> {
    replies::register(lua, redis)?;
    put(lua, redis, "log", log_line)?;
    put(lua, redis, "setresp", |_, args| {
        if args.len() != 1 {
            return Err(refused("redis.setresp() requires one argument."));
        }
        let proto = match int(args.front()) {
            2 => Proto::Resp2,
            3 => Proto::Resp3,
            _ => return Err(refused("RESP version must be 2 or 3.")),
        };
        server(|server| server.how().proto = proto).ok_or_else(|| outside("redis.setresp"))
    })?;
    put(lua, redis, "set_repl", |_, args| {
        if args.len() != 1 {
            return Err(refused("redis.set_repl() requires one argument."));
        }
        let targets = live::targets(int(args.front()));
        let wrong = "Invalid replication flags. Use REPL_AOF, REPL_REPLICA, REPL_ALL or REPL_NONE.";
        let targets = targets.ok_or_else(|| refused(wrong))?;
        server(|server| server.how().targets = targets).ok_or_else(|| outside("redis.set_repl"))
    })
}

/// What scripts of EVAL have besides, and functions of libraries haven't.
pub fn only_of_eval(lua: &Lua, redis: &Table) -> mlua::Result<()> {
    put(lua, redis, "replicate_commands", |_, _| Ok(true))?;
    put(lua, redis, "breakpoint", |_, _| Ok(false))?;
    put(lua, redis, "debug", |_, _| Ok(()))
}

/// A text, or a number as Lua writes it.
pub fn text_of(value: Option<&Value>) -> Option<Vec<u8>> {
    match value? {
        Value::String(text) => Some(text.as_bytes().to_vec()),
        Value::Integer(number) => Some(digits::general(*number as f64, 14).into_bytes()),
        Value::Number(number) => Some(digits::general(*number, 14).into_bytes()),
        _ => None,
    }
}

/// Forty hexadecimal digits.
pub fn sha1hex(bytes: &[u8]) -> [u8; 40] {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    let mut hex = [0; 40];
    for (pair, byte) in hex.as_chunks_mut().0.iter_mut().zip(Sha1::digest(bytes)) {
        *pair = [DIGITS[usize::from(byte >> 4)], DIGITS[usize::from(byte & 15)]];
    }
    hex
}

fn log_line(_: &Lua, args: MultiValue) -> Answer<()> {
    if args.len() < 2 {
        return Err(refused("redis.log() requires two arguments or more."));
    }
    let Some(level) = number(args.front()) else {
        return Err(refused("First argument must be a number (log level)."));
    };
    let level = match level as i64 {
        0 => log::Level::Debug,
        1 | 2 => log::Level::Info,
        3 => log::Level::Warn,
        _ => return Err(refused("Invalid debug level.")),
    };
    let words: Vec<Vec<u8>> = args.iter().skip(1).map(|word| text_of(Some(word)).unwrap_or_default()).collect();
    log::log!(level, "{}", String::from_utf8_lossy(&words.join(&b' ')));
    Ok(())
}

fn constants(redis: &Table) -> mlua::Result<()> {
    let numbers = [
        ("LOG_DEBUG", 0),
        ("LOG_VERBOSE", 1),
        ("LOG_NOTICE", 2),
        ("LOG_WARNING", 3),
        ("REPL_NONE", 0),
        ("REPL_AOF", 1),
        ("REPL_SLAVE", 2),
        ("REPL_REPLICA", 2),
        ("REPL_ALL", 3),
    ];
    numbers.iter().try_for_each(|(name, value)| redis.raw_set(*name, *value))?;
    redis.raw_set("REDIS_VERSION", VERSION.0)?;
    redis.raw_set("REDIS_VERSION_NUM", VERSION.1)
}

/// Where `math.random` stands: one generator for all scripts, as Redis has it, which begins at the same place.
static RANDOM: AtomicU64 = AtomicU64::new(0x1234_abcd_330e);

/// The next number of the generator that C knows as `lrand48`.
fn next_random() -> u64 {
    let next = RANDOM.load(Ordering::Relaxed).wrapping_mul(0x0005_deec_e66d).wrapping_add(0xb) & ((1 << 48) - 1);
    RANDOM.store(next, Ordering::Relaxed);
    next >> 17
}

/// As C makes an int of a number: what doesn't fit wraps, what is far beyond is zero.
fn wrapped(number: f64) -> i32 {
    if number.abs() < 2f64.powi(63) { number as i64 as i32 } else { 0 }
}

fn no_number(args: &MultiValue, at: usize, name: &str) -> Fault {
    let got = args.get(at - 1).map_or("no value", bit::kind);
    bad_argument(at, name, format!("number expected, got {got}"))
}

/// `math.random` and `math.randomseed`: the same on every machine for a seed.
fn random(lua: &Lua, native: &Table) -> mlua::Result<()> {
    put(lua, native, "random", |_, args| {
        let chance = (next_random() % 0x7fff_ffff) as f64 / f64::from(0x7fff_ffff);
        let limit = |at: usize| match number(args.get(at - 1)) {
            Some(limit) => Ok(i64::from(wrapped(limit))),
            None => Err(no_number(&args, at, "random")),
        };
        let (low, high) = match args.len() {
            0 => return Ok(chance),
            1 => (1, limit(1)?),
            2 => (limit(1)?, limit(2)?),
            _ => return Err(Fault::text("wrong number of arguments")),
        };
        if low > high {
            return Err(bad_argument(args.len(), "random", "interval is empty"));
        }
        Ok((chance * (high - low + 1) as f64).floor() + low as f64)
    })?;
    put(lua, native, "randomseed", |_, args| {
        let seed = number(args.front()).ok_or_else(|| no_number(&args, 1, "randomseed"))?;
        RANDOM.store(u64::from(wrapped(seed) as u32) << 16 | 0x330e, Ordering::Relaxed);
        Ok(())
    })
}
