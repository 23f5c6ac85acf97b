//! A Lua interpreter as Redis gives it to scripts: no file, no process, no clock; tables that nobody may change; memory
//! that ends. Closes from outside what Lua 5.1 leaves open (see the README's list); compiles and runs, keeps nothing.

use crate::api::{self, Fault};
use crate::convert::{Refused, until_zero};
use crate::entry::{self, Ended, Run};
use crate::{guard, live, pace, scratch, stack};
use mlua::{Function, IntoLua, LightUserData, Lua, LuaOptions, RegistryKey, StdLib, Table, Value};
use std::cell::Cell;
use std::ffi::{CString, c_int};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

/// A longer text isn't compiled: the interpreter counts in ints.
pub const MAX_CHUNK: usize = 64 << 20;
/// Where the prelude's own functions come from, so that errors point at the script.
const PRELUDE: &str = "=redis";
/// Who raises a table that scripts share would have its place written into it: it is told as any who writes there.
const READ_ONLY: &[u8] = b"Attempt to modify a readonly table";

/// An interpreter with everything a script may see.
pub struct Interpreter {
    lua: Lua,
    /// The script's globals: reads from the real ones, refuses writes.
    global: Table,
    on_error: Function,
    enter: Function,
    in_library: Function,
    pcall: Function,
    memory: usize,
    /// What the last run needed, for the next.
    buffers: Cell<Buffers>,
    /// What was left by the last whole collection, and when that was.
    kept: Cell<usize>,
    /// Told when the cycle ends that is on its way.
    canary: Cell<Option<Arc<AtomicBool>>>,
    collected: Cell<Option<Instant>>,
    /// A script has changed how the collector works. The interpreter points to it.
    collector_changed: Arc<AtomicBool>,
}

/// Buffers of a run, kept from run to run unless they grew.
#[derive(Default)]
pub struct Buffers {
    /// The reply of the whole.
    pub out: Vec<u8>,
    /// The reply of a command of the script.
    pub reply: Vec<u8>,
}

/// A whole collection of an interpreter up to this size takes some 30 µs, and is done after a script at most this often: the
/// collector by itself lets twice of what is needed lie about. Larger ones are left to it.
const SMALL: usize = 256 * 1024;
const COLLECT_EVERY: Duration = Duration::from_millis(2);

/// What may lie about until the collector comes to it by itself.
const LITTER: usize = 4 << 20;

/// How the collector works, as it comes: it waits until twice of what is needed was taken, and collects twice as fast as
/// memory is taken.
const PAUSE: c_int = 200;
const STEP_MULTIPLIER: c_int = 200;

/// Nobody holds it: that it is dropped is how the end of a cycle shows.
struct Canary(Arc<AtomicBool>);

impl Drop for Canary {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// Buffers beyond this aren't kept.
const KEPT: usize = 64 * 1024;

/// Why a run failed: the text of the reply, and whether the server has counted the error already.
#[derive(Debug, PartialEq, Eq)]
pub struct Failure {
    /// Code first.
    pub text: Vec<u8>,
    /// A command of the script failed, and was counted then.
    pub counted: bool,
}

impl Failure {
    /// One that the server counts.
    pub fn plain(text: String) -> Failure {
        Failure { text: text.into_bytes(), counted: false }
    }
}

impl Interpreter {
    /// A fresh one for scripts of EVAL that may take this much memory.
    pub fn new(memory: usize) -> mlua::Result<Interpreter> {
        Interpreter::made(memory, |lua, native| api::only_of_eval(lua, &native.raw_get::<Table>("redis")?))
    }

    /// A fresh one for libraries; `register` adds to the `redis` that they see while they are loaded.
    pub fn for_libraries(
        memory: usize,
        register: impl FnOnce(&Lua, &Table) -> mlua::Result<()>,
    ) -> mlua::Result<Interpreter> {
        Interpreter::made(memory, |lua, native| register(lua, &native.raw_get::<Table>("library")?))
    }

    fn made(memory: usize, add: impl FnOnce(&Lua, &Table) -> mlua::Result<()>) -> mlua::Result<Interpreter> {
        let libs = StdLib::TABLE | StdLib::STRING | StdLib::MATH;
        let lua = Lua::new_with(libs, LuaOptions::new().catch_rust_panics(true))?;
        let global = lua.create_table()?;
        let native = api::native(&lua, &global)?;
        let collector_changed = Arc::new(AtomicBool::new(false));
        #[allow(unsafe_code)]
        // SAFETY: the interpreter's field is dropped behind `lua`.
        unsafe { guard::register_collector(&lua, &native, &collector_changed) }?;
        let pcall = lua.globals().raw_get("pcall")?;
        add(&lua, &native)?;
        let prelude = lua.load(include_str!("prelude.lua")).set_name(PRELUDE).into_function()?;
        let (in_library, real): (Function, Table) = prelude.call((native, global.clone()))?;
        let on_error = lua.create_function(move |lua, error| on_error(lua, &real, error))?;
        #[allow(unsafe_code)]
        // SAFETY: only `run` calls it, with what it wants.
        let enter = unsafe { lua.create_c_function(entry::enter) }?;
        live::install_hook(&lua, pace::MOST)?;
        lua.set_memory_limit(memory)?;
        scratch::set_limit(&lua, memory)?;
        drop(prelude);
        lua.gc_collect()?;
        let kept = Cell::new(lua.used_memory());
        Ok(Interpreter {
            lua,
            global,
            on_error,
            enter,
            in_library,
            pcall,
            memory,
            buffers: Cell::default(),
            kept,
            canary: Cell::new(None),
            collected: Cell::new(None),
            collector_changed,
        })
    }

    /// Globals are those of a library that is being loaded, or those of running scripts.
    pub fn in_library(&self, loading: bool) -> mlua::Result<()> {
        self.in_library.call(loading)
    }

    /// A table that scripts don't see.
    pub fn table(&self) -> mlua::Result<Table> {
        self.lua.create_table()
    }

    /// Bytes it may take.
    pub fn limit(&self) -> usize {
        self.memory
    }

    /// Bytes it has taken.
    pub fn memory(&self) -> usize {
        self.lua.used_memory()
    }

    /// Compiles a script. The error is the compiler's text.
    pub fn compile(&self, text: &[u8], name: &str) -> Result<Function, Vec<u8>> {
        self.weigh(text, name).map(|(function, _)| function)
    }

    /// The same, with the bytes that it took.
    pub fn weigh(&self, text: &[u8], name: &str) -> Result<(Function, usize), Vec<u8>> {
        compile(&self.lua, &self.global, text, name.as_bytes())
    }

    /// A function that is kept in Lua's registry.
    pub fn kept(&self, key: &RegistryKey) -> mlua::Result<Function> {
        self.lua.registry_value(key)
    }

    /// Lua's registry forgets what Rust holds no key of any more.
    pub fn let_go(&self) {
        self.lua.expire_registry_values();
    }

    /// Runs a library's text. The error begins with its code.
    pub fn run_library(&self, chunk: &Function) -> Result<(), Vec<u8>> {
        let ran = self.pcall.call::<(bool, Value)>(chunk);
        self.settle_collector();
        let (ok, error) = ran.map_err(|error| coded(first_line(&error)))?;
        match error {
            _ if ok => Ok(()),
            Value::Table(table) => Err(error_text(&table)),
            Value::Error(error) => Err(match Fault::of(&error) {
                Fault::Text(text) => coded(text),
                Fault::Stop(reason) => coded(reason),
                Fault::Table { text, .. } => text,
            }),
            other => Err(coded(shown(&other))),
        }
    }

    /// Runs what is described. `holder` is the function, or the table that has the script.
    pub fn run(&self, run: &mut Run<'_, '_>, holder: impl IntoLua, name: &str) -> Result<(), Failure> {
        let plain = Failure::plain;
        run.ended = Ended::Raised;
        self.make_room().map_err(|error| plain(format!("ERR {}", first_line(&error))))?;
        let here = LightUserData(std::ptr::from_mut(run).cast());
        let raised = self.enter.call::<Value>((here, &self.on_error, holder));
        self.settle_collector();
        let raised =
            raised.map_err(|error| plain(format!("ERR Error running script {name}, {}", first_line(&error))))?;
        match std::mem::replace(&mut run.ended, Ended::Raised) {
            Ended::Replied => Ok(()),
            Ended::Refused(Refused { text, counted }) => Err(Failure { text, counted }),
            Ended::Raised => Err(failure(&raised, name)),
        }
    }

    /// What the last script left must not starve the next; true if it was collected. What lives is passed over each time, for
    /// as long as there is much of it: so only if there may be something to gain.
    pub fn make_room(&self) -> mlua::Result<bool> {
        let (used, kept) = (self.lua.used_memory(), self.kept.get());
        if used <= self.memory / 2 || used <= kept + self.memory.saturating_sub(kept) / 4 {
            return Ok(false);
        }
        self.lua.gc_collect()?;
        self.kept.set(self.lua.used_memory());
        Ok(true)
    }

    /// Behind a run that began at `now`: what scripts left is collected, if that is worth it.
    pub fn tidy(&self, now: Instant) {
        let used = self.lua.used_memory();
        let due = self.collected.get().is_none_or(|last| now.saturating_duration_since(last) >= COLLECT_EVERY);
        if due && used < SMALL && used > self.kept.get() + self.kept.get() / 4 {
            // It fails only if a finaliser does, of which scripts have none.
            let _ = self.lua.gc_collect();
            self.kept.set(self.lua.used_memory());
            self.collected.set(Some(now));
        }
    }

    /// So much lies about that somebody should collect it.
    pub fn littered(&self) -> bool {
        self.lua.used_memory() > self.kept.get() + LITTER
    }

    /// Goes on with a collection for about so long; true at the end of a cycle.
    pub fn collect_for(&self, time: Duration) -> mlua::Result<bool> {
        let begin = Instant::now();
        let gone = match self.canary.take() {
            Some(gone) => gone,
            None => {
                let gone = Arc::new(AtomicBool::new(false));
                drop(self.lua.create_any_userdata(Canary(gone.clone()))?);
                gone
            }
        };
        while !gone.load(Ordering::Relaxed) {
            if begin.elapsed() >= time {
                self.canary.set(Some(gone));
                return Ok(false);
            }
            // A step when asked for one pays off what the collector owes, which may be all of it; before a new table it takes
            // one in any case, from here on.
            self.lua.gc_restart();
            drop(self.lua.create_table()?);
        }
        self.kept.set(self.lua.used_memory());
        Ok(true)
    }

    /// Empty buffers for a run.
    pub fn take_buffers(&self) -> Buffers {
        self.buffers.take()
    }

    /// They are kept for the next run.
    pub fn keep_buffers(&self, mut buffers: Buffers) {
        if buffers.out.capacity() + buffers.reply.capacity() <= KEPT {
            buffers.out.clear();
            buffers.reply.clear();
            self.buffers.set(buffers);
        }
    }

    /// Behind a run: what a script made of the collector isn't for the next.
    fn settle_collector(&self) {
        if self.collector_changed.swap(false, Ordering::Relaxed) {
            self.lua.gc_set_pause(PAUSE);
            self.lua.gc_set_step_multiplier(STEP_MULTIPLIER);
            self.lua.gc_restart();
        }
    }

    /// After a script that was slow or stopped the hook watches as before.
    pub fn settle(&self) -> mlua::Result<()> {
        live::install_hook(&self.lua, pace::MOST)
    }
}

/// Compiles text with the collector stopped: the compiler doesn't anchor the chunk's name (CVE-2025-49844). Gives the function
/// and the bytes that were taken for it, what the compiler left among them.
pub fn compile(lua: &Lua, global: &Table, text: &[u8], name: &[u8]) -> Result<(Function, usize), Vec<u8>> {
    if text.len() > MAX_CHUNK {
        return Err(b"chunk is too long".to_vec());
    }
    let name = CString::new(until_zero(name)).unwrap_or_default();
    // What compiled code begins with isn't read as such: it is a letter that no text has, as any other of its kind.
    let compiled_code = text.first() == Some(&27);
    lua.gc_stop();
    let before = lua.used_memory();
    let compiled = stack::compile(lua, if compiled_code { b"\x01" } else { text }, &name);
    let taken = lua.used_memory().saturating_sub(before);
    lua.gc_restart();
    let failed = |error: mlua::Error| first_line(&error).into_bytes();
    match compiled.map_err(failed)? {
        Value::Function(function) => {
            function.set_environment(global.clone()).map_err(failed)?;
            Ok((function, taken))
        }
        why => {
            let why = shown(&why);
            let place = why.strip_suffix(b"'char(1)'").filter(|_| compiled_code);
            Err(place.map_or(why.clone(), |place| [place, b"'char(27)'"].concat()))
        }
    }
}

/// What an error becomes where it happens: a table with its text and its place. That is the script's own if it raised one, but
/// never one that scripts share, which is a key of `real`.
fn on_error(lua: &Lua, real: &Table, error: Value) -> mlua::Result<Value> {
    let table = match error {
        Value::Table(table) if real.raw_get::<Value>(&table)?.is_nil() => table,
        Value::Table(_) => text_table(lua, READ_ONLY)?,
        Value::Error(error) => match Fault::of(&error) {
            Fault::Text(text) => text_table(lua, &text)?,
            Fault::Stop(reason) => text_table(lua, reason.as_bytes())?,
            fault => match fault.value(lua)? {
                Value::Table(table) => table,
                other => text_table(lua, &shown(&other))?,
            },
        },
        other => text_table(lua, &shown(&other))?,
    };
    for level in 1..8 {
        let place = lua.inspect_stack(level, |frame| {
            let source = frame.source();
            (source.what, source.source.map(|source| source.into_owned()), frame.current_line())
        });
        let Some((what, source, line)) = place else { break };
        if what == "C" || what == "tail" || source.as_deref() == Some(PRELUDE) {
            continue;
        }
        table.raw_set("source", source)?;
        table.raw_set("line", line)?;
        break;
    }
    Ok(Value::Table(table))
}

/// Where the function of ours that runs was called, as `error` puts it in front of a text; empty if not from a script.
pub fn place(lua: &Lua) -> String {
    let caller = lua.inspect_stack(1, |frame| {
        let source = frame.source();
        Some(format!("{}:{}: ", source.short_src?, frame.current_line()?))
    });
    caller.flatten().unwrap_or_default()
}

fn text_table(lua: &Lua, text: &[u8]) -> mlua::Result<Table> {
    let table = lua.create_table()?;
    table.raw_set("err", lua.create_string(coded(text))?)?;
    Ok(table)
}

fn coded(text: impl AsRef<[u8]>) -> Vec<u8> {
    [b"ERR ", text.as_ref()].concat()
}

/// As `tostring` shows it.
fn shown(value: &Value) -> Vec<u8> {
    match value {
        Value::Nil => b"nil".to_vec(),
        other => api::text_of(Some(other))
            .unwrap_or_else(|| other.to_string().unwrap_or_else(|_| other.type_name().to_owned()).into_bytes()),
    }
}

/// An error of the bindings without its traceback.
pub fn first_line(error: &mlua::Error) -> String {
    match error {
        mlua::Error::RuntimeError(text) => text.lines().next().unwrap_or_default().to_owned(),
        mlua::Error::CallbackError { cause, .. } => first_line(cause),
        mlua::Error::MemoryError(_) => "not enough memory".to_owned(),
        other => other.to_string().lines().next().unwrap_or_default().to_owned(),
    }
}

fn failure(error: &Value, name: &str) -> Failure {
    let Value::Table(table) = error else {
        let text = [format!("ERR Error running script {name}, ").as_bytes(), &shown(error)].concat();
        return Failure { text, counted: false };
    };
    let get = |field: &str| table.raw_get::<Value>(field).unwrap_or(Value::Nil);
    let mut text = error_text(table);
    let counted = get("ignore_error_stats_update").as_boolean() == Some(true);
    if let (Value::String(source), Some(line)) = (get("source"), get("line").as_usize()) {
        text.extend_from_slice(format!(" script: {name}, on ").as_bytes());
        text.extend_from_slice(&source.as_bytes());
        text.extend_from_slice(format!(":{line}.").as_bytes());
    }
    Failure { text, counted }
}

/// The text of an error that is a table; one of the script's own may have none.
fn error_text(table: &Table) -> Vec<u8> {
    let text = table.raw_get::<Value>("err").ok().and_then(|text| api::text_of(Some(&text)));
    text.map_or_else(|| b"ERR unknown error".to_vec(), |text| until_zero(&text).to_vec())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What a script answers, or why it fails.
    fn answer(script: &str) -> String {
        let interpreter = Interpreter::new(64 << 20).unwrap();
        let function = match interpreter.compile(script.as_bytes(), "@user_script") {
            Ok(function) => function,
            Err(text) => return String::from_utf8(text).unwrap(),
        };
        let (ok, value) = interpreter.pcall.call::<(bool, Value)>(function).unwrap();
        format!("{ok} {}", String::from_utf8(shown(&value)).unwrap())
    }

    #[test]
    fn errors_name_the_scripts_line() {
        let cases = [
            ("return load(1)", "user_script:1: bad argument #1 to 'load' (function expected, got number)"),
            ("return loadstring()", "user_script:1: bad argument #1 to 'loadstring' (string expected, got no value)"),
            (
                "table.sort({3,1,2,5,6,3,4,1,4}, function() return true end)",
                "user_script:1: invalid order function for sorting",
            ),
            ("table.insert(1, 2)", "user_script:1: bad argument #1 to 'insert' (table expected, got number)"),
            (
                "local t = {} return t, setmetatable(1, t)",
                "user_script:1: bad argument #1 to 'setmetatable' (table expected, got number)",
            ),
            ("return unpack(1)", "user_script:1: bad argument #1 to 'unpack' (table expected, got number)"),
            ("return unpack({}, 1, 2^31)", "user_script:1: too many results to unpack"),
            ("return next(1)", "user_script:1: bad argument #1 to 'next' (table expected, got number)"),
            ("return pairs()", "user_script:1: bad argument #1 to 'pairs' (table expected, got no value)"),
            ("return getmetatable()", "user_script:1: bad argument #1 to 'getmetatable' (value expected)"),
            ("table.insert(redis, 1)", "Attempt to modify a readonly table"),
        ];
        for (script, wanted) in cases {
            assert_eq!(answer(script), format!("false {wanted}"), "{script}");
        }
    }

    #[test]
    fn what_changes_or_sees_a_table_still_does() {
        let cases = [
            (
                "local t = {3, 1, 2} table.sort(t) table.insert(t, 9) table.remove(t, 1) return table.concat(t, ' ')",
                "2 3 9",
            ),
            ("for name in pairs(redis) do if name == 'call' then return name end end", "call"),
            ("return type(next(redis)) .. type(rawget(redis, 'call'))", "stringfunction"),
            ("return table.concat({unpack({1, 2, 3}, 2)}, ' ') .. select('#', unpack({}, 1, 0))", "2 30"),
            ("return getmetatable(setmetatable({}, {__index = 1})).__index", "1"),
            ("return select(2, loadstring('\\27Lua'))", "[string \"\u{1b}Lua\"]:1: unexpected symbol near 'char(27)'"),
            (
                "local ok, why = xpcall(function() error('a') end, function() error('b') end) return tostring(ok) .. why",
                "falseerror in error handling",
            ),
            ("return load(function() return nil end, 'x') and loadstring('return 7')()", "7"),
        ];
        for (script, wanted) in cases {
            assert_eq!(answer(script), format!("true {wanted}"), "{script}");
        }
    }

    /// What one script makes of the collector must not be what the next one finds: stopped, it would find no memory.
    #[test]
    fn the_collector_is_the_next_scripts_own() {
        let interpreter = Interpreter::new(8 << 20).unwrap();
        // What is raised is told.
        let asked = |value: &str| {
            let function = interpreter.compile(format!("error({value}, 0)").as_bytes(), "@user_script").unwrap();
            String::from_utf8(interpreter.run_library(&function).unwrap_err()).unwrap()
        };
        assert_eq!(asked("collectgarbage('setpause', 1000)"), "ERR 200");
        assert_eq!(asked("collectgarbage('setstepmul', 1) + collectgarbage('setpause', 7)"), "ERR 400");
        assert_eq!(asked("collectgarbage('stop') + collectgarbage('setstepmul', 3)"), "ERR 200");
        // More than there is, if nobody collects.
        assert_eq!(
            asked("(function() for n = 1, 30 do local s = ('x'):rep(1000000) .. n end return 1 end)()"),
            "ERR 1"
        );
    }

    /// Two thousand million times nothing is nothing, and at once.
    #[test]
    fn nothing_is_repeated_at_once() {
        let begun = Instant::now();
        assert_eq!(answer("return #string.rep('', 2^31 - 1) + #(''):rep('2000000000')"), "true 0");
        assert_eq!(
            answer("return (''):rep('x')"),
            "false user_script:1: bad argument #1 to 'rep' (number expected, got string)"
        );
        assert!(begun.elapsed() < Duration::from_secs(2), "{:?}", begun.elapsed());
    }

    #[test]
    fn what_lives_is_not_collected_again_and_again() {
        let interpreter = Interpreter::new(8 << 20).unwrap();
        let kept = interpreter.table().unwrap();
        let mut number = 0;
        while interpreter.memory() < 5 << 20 {
            number += 1;
            kept.raw_set(number, interpreter.compile(b"return 1", "@user_script").unwrap()).unwrap();
        }
        assert!(interpreter.make_room().unwrap(), "much is there that may be garbage");
        assert!(!interpreter.make_room().unwrap(), "it wasn't");
        let leave = |script: &[u8]| interpreter.compile(script, "@user_script").unwrap().call::<()>(()).unwrap();
        interpreter.lua.gc_stop();
        leave(b"local s = ('x'):rep(1000000)");
        assert!(interpreter.make_room().unwrap(), "more than a quarter of what was free");
        assert!(interpreter.memory() < 6 << 20);
        leave(b"local s = ('x'):rep(1000)");
        assert!(!interpreter.make_room().unwrap());
    }

    #[test]
    fn what_a_script_left_is_collected_in_steps() {
        let interpreter = Interpreter::new(256 << 20).unwrap();
        let run = |script: &[u8]| interpreter.compile(script, "@user_script").unwrap().call::<()>(()).unwrap();
        run(b"local t = {} for i = 1, 300000 do t[i] = {i} end");
        assert!(interpreter.littered());
        let begin = Instant::now();
        let mut steps = 0;
        for _ in 0..2 {
            while !interpreter.collect_for(Duration::from_micros(100)).unwrap() {
                steps += 1;
                assert!(begin.elapsed() < Duration::from_secs(60), "it never ends");
            }
        }
        assert!(steps > 10 && !interpreter.littered(), "{steps} steps, {} bytes", interpreter.memory());
    }
}
