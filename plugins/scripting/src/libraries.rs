//! The libraries of functions, as data: what is loaded, what each registered, how they come and go together. Replicated
//! by the commands that change them, saved as records of RDB files.

use crate::api::{Fault, put};
use crate::flags::{Flags, words};
use crate::interpreter::{Interpreter, first_line};
use crate::live::{Called, Server, enter};
use keystead_plugin::ScriptCall;
use mlua::{Function, Lua, MultiValue, Table, Value};
use parking_lot::Mutex;
use smallvec::SmallVec;
use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// A client's library may take so long to register its functions.
const LOAD_LIMIT: Duration = Duration::from_millis(500);

/// A function of a library.
#[derive(Clone)]
pub struct Registered {
    /// For people.
    pub description: Option<Vec<u8>>,
    /// What it may do.
    pub flags: Flags,
    /// Called with keys and arguments.
    pub function: Function,
}

/// A function and the library it is of.
struct Owned {
    library: String,
    function: Registered,
}

/// A library.
pub struct Library {
    /// The whole text, first line included.
    pub code: Vec<u8>,
    /// By name.
    pub functions: BTreeMap<String, Registered>,
}

/// What a library that is being loaded has registered so far; `None` while none is.
type Loading = Arc<Mutex<Option<BTreeMap<String, Registered>>>>;

/// All libraries, and the interpreter they live in.
pub struct Libraries {
    /// Runs their functions.
    pub interpreter: Interpreter,
    all: BTreeMap<String, Library>,
    /// By the function's name in lower case: functions are found in any case.
    owners: HashMap<Box<[u8]>, Owned>,
    loading: Loading,
}

/// How a restored library meets one that is there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Policy {
    /// Everything there goes first.
    Flush,
    /// One of the same name is an error.
    Append,
    /// One of the same name gives way.
    Replace,
}

impl Libraries {
    /// None yet.
    pub fn new(memory: usize) -> mlua::Result<Libraries> {
        let loading = Loading::default();
        let shared = loading.clone();
        let interpreter = Interpreter::for_libraries(memory, |lua, redis| register_function(lua, redis, shared))?;
        Ok(Libraries { interpreter, all: BTreeMap::new(), owners: HashMap::new(), loading })
    }

    /// The libraries by name.
    pub fn all(&self) -> impl ExactSizeIterator<Item = (&str, &Library)> {
        self.all.iter().map(|(name, library)| (name.as_str(), library))
    }

    /// How many libraries and functions there are.
    pub fn count(&self) -> (usize, usize) {
        (self.all.len(), self.owners.len())
    }

    /// The function of a name.
    pub fn function(&self, name: &[u8]) -> Option<&Registered> {
        let mut lower = SmallVec::<[u8; 64]>::from_slice(name);
        lower.make_ascii_lowercase();
        self.owners.get(lower.as_slice()).map(|owned| &owned.function)
    }

    /// Loads a library; its name. Who must be obeyed may take as long as it takes.
    pub fn load(&mut self, code: &[u8], replace: bool, obey: bool) -> Result<String, String> {
        let (name, text) = first_line_of(code)?;
        if self.all.contains_key(&name) && !replace {
            return Err(format!("Library '{name}' already exists"));
        }
        let library = self.run(code, text, obey)?;
        self.join(vec![(name.clone(), library)], replace)?;
        Ok(name)
    }

    /// Has a library register its functions.
    fn run(&self, code: &[u8], text: &[u8], obey: bool) -> Result<Library, String> {
        self.interpreter.in_library(true).map_err(|error| first_line(&error))?;
        *self.loading.lock() = Some(BTreeMap::new());
        let mut limit =
            Limit { until: (!obey).then(|| Instant::now() + LOAD_LIMIT), over: false, how: ScriptCall::new(0) };
        let ran = self
            .interpreter
            .compile(text, "@user_function")
            .map_err(|text| format!("Error compiling function: {text}"));
        let ran = ran.and_then(|chunk| {
            let ran = enter(&mut limit, || chunk.call::<()>(()));
            ran.map_err(|error| format!("Error registering functions: {}", Fault::of(&error)))
        });
        let functions = self.loading.lock().take().unwrap_or_default();
        let back = self.interpreter.in_library(false).and_then(|()| match limit.over {
            true => self.interpreter.settle(),
            false => Ok(()),
        });
        back.map_err(|error| first_line(&error))?;
        ran?;
        if functions.is_empty() {
            return Err("No functions registered".to_owned());
        }
        Ok(Library { code: code.to_vec(), functions })
    }

    /// Libraries join those that are there, all or none.
    fn join(&mut self, fresh: Vec<(String, Library)>, replace: bool) -> Result<(), String> {
        let coming: Vec<&String> = fresh.iter().map(|(name, _)| name).collect();
        for (name, library) in &fresh {
            if self.all.contains_key(name) && !replace {
                return Err(format!("Library {name} already exists"));
            }
            let taken = |function: &&String| {
                let owned = self.owners.get(function.to_ascii_lowercase().as_bytes());
                owned.is_some_and(|owned| !coming.contains(&&owned.library))
            };
            if let Some(function) = library.functions.keys().find(taken) {
                return Err(format!("Function {function} already exists"));
            }
        }
        for (name, library) in fresh {
            self.delete(&name);
            for (function, registered) in &library.functions {
                let owned = Owned { library: name.clone(), function: registered.clone() };
                self.owners.insert(function.to_ascii_lowercase().into_bytes().into(), owned);
            }
            self.all.insert(name, library);
        }
        Ok(())
    }

    /// Deletes a library; false if there is none of that name.
    pub fn delete(&mut self, name: &str) -> bool {
        if self.all.remove(name).is_none() {
            return false;
        }
        self.owners.retain(|_, owned| owned.library != name);
        true
    }

    /// All libraries as records of an RDB file.
    pub fn records(&self) -> Vec<u8> {
        let mut out = Vec::new();
        self.all.values().for_each(|library| keystead_rdb::function_record(&library.code, &mut out));
        out
    }

    /// Loads the texts of libraries, all or none.
    pub fn restore(&mut self, codes: &[Vec<u8>], policy: Policy) -> Result<(), String> {
        let mut fresh: Vec<(String, Library)> = Vec::new();
        for code in codes {
            let (name, text) = first_line_of(code)?;
            let library = self.run(code, text, true)?;
            if fresh.iter().any(|(other, _)| *other == name) {
                return Err(format!("Library '{name}' already exists"));
            }
            let all = fresh.iter().flat_map(|(_, other)| other.functions.keys());
            if let Some(twice) = all.into_iter().find(|function| library.functions.contains_key(*function)) {
                return Err(format!("Function {twice} already exists"));
            }
            fresh.push((name, library));
        }
        if policy == Policy::Flush {
            self.all.clear();
            self.owners.clear();
        }
        self.join(fresh, policy == Policy::Replace)
    }
}

/// A library's name, and its text behind the first line's words.
fn first_line_of(code: &[u8]) -> Result<(String, &[u8]), String> {
    if !code.starts_with(b"#!") {
        return Err("Missing library metadata".to_owned());
    }
    let end = code.iter().position(|byte| *byte == b'\n').ok_or("Invalid library metadata")?;
    let mut parts = words(&code[2..end]);
    let engine = if code[2].is_ascii_whitespace() { &b""[..] } else { parts.next().unwrap_or_default() };
    let mut name = None;
    for part in parts {
        let value =
            part.split_at_checked(5).filter(|(key, _)| key.eq_ignore_ascii_case(b"name=")).map(|(_, value)| value);
        match (value, &name) {
            (Some(_), Some(_)) => {
                return Err("Invalid metadata value, name argument was given multiple times".to_owned());
            }
            (Some(value), None) => {
                let quoted = value.strip_prefix(b"\"").and_then(|rest| rest.strip_suffix(b"\""));
                name = Some(String::from_utf8_lossy(quoted.unwrap_or(value)).into_owned());
            }
            (None, _) => return Err(format!("Invalid metadata value given: {}", String::from_utf8_lossy(part))),
        }
    }
    let name = name.ok_or("Library name was not given")?;
    if !well_named(&name) {
        return Err("Library names can only contain letters, numbers, or underscores(_) and must be at least one \
                    character long"
            .to_owned());
    }
    if !engine.eq_ignore_ascii_case(b"lua") {
        return Err(format!("Engine '{}' not found", String::from_utf8_lossy(engine)));
    }
    Ok((name, &code[end..]))
}

fn well_named(name: &str) -> bool {
    !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
}

/// Watches the clock while a library registers its functions.
struct Limit {
    until: Option<Instant>,
    over: bool,
    how: ScriptCall,
}

impl Server for Limit {
    fn call(&mut self, _: &[&[u8]]) -> Called<'_> {
        Called::Refused(b"ERR redis.call/pcall can only be called inside a script invocation")
    }

    fn acl_check(&mut self, _: &[Vec<u8>]) -> Result<(), String> {
        Err("ERR redis.acl_check_cmd can only be called inside a script invocation".to_owned())
    }

    fn how(&mut self) -> &mut ScriptCall {
        &mut self.how
    }

    fn poll(&mut self) -> Option<&'static str> {
        self.over |= self.until.is_some_and(|until| Instant::now() > until);
        self.over.then_some("FUNCTION LOAD timeout")
    }
}

/// `redis.register_function`: by position, or one table of named arguments.
fn register_function(lua: &Lua, redis: &Table, loading: Loading) -> mlua::Result<()> {
    put(lua, redis, "register_function", move |_, args| {
        let mut loading = loading.lock();
        let Some(functions) = loading.as_mut() else {
            return Err(refused("redis.register_function can only be called on FUNCTION LOAD command"));
        };
        let (name, registered) = match args.len() {
            1 => named(args.front())?,
            2 => by_position(&args)?,
            _ => return Err(refused("wrong number of arguments to redis.register_function")),
        };
        if !well_named(&name) {
            return Err(refused(
                "Library names can only contain letters, numbers, or underscores(_) and must be at least one character \
                 long",
            ));
        }
        if functions.insert(name, registered).is_some() {
            return Err(refused("Function already exists in the library"));
        }
        Ok(())
    })
}

fn refused(text: &str) -> Fault {
    Fault::Table { text: format!("ERR {text}").into_bytes(), counted: false }
}

fn text_of(value: &Value, what: &str) -> Result<Vec<u8>, Fault> {
    match value {
        Value::String(text) => Ok(text.as_bytes().to_vec()),
        _ => Err(refused(what)),
    }
}

fn by_position(args: &MultiValue) -> Result<(String, Registered), Fault> {
    let first = args.front().unwrap_or(&Value::Nil);
    let name = text_of(first, "first argument to redis.register_function must be a string")?;
    let Some(Value::Function(function)) = args.get(1) else {
        return Err(refused("second argument to redis.register_function must be a function"));
    };
    let registered = Registered { description: None, flags: Flags::default(), function: function.clone() };
    Ok((String::from_utf8_lossy(&name).into_owned(), registered))
}

fn named(args: Option<&Value>) -> Result<(String, Registered), Fault> {
    let Some(Value::Table(table)) = args else {
        return Err(refused(
            "calling redis.register_function with a single argument is only applicable to Lua table (representing named \
             arguments).",
        ));
    };
    let (mut name, mut description, mut function, mut flags) = (None, None, None, Flags::default());
    for pair in table.pairs::<Value, Value>() {
        let (key, value) = pair?;
        let key = text_of(&key, "named argument key given to redis.register_function is not a string")?;
        match key.to_ascii_lowercase().as_slice() {
            b"function_name" => {
                let text = "function_name argument given to redis.register_function must be a string";
                name = Some(String::from_utf8_lossy(&text_of(&value, text)?).into_owned());
            }
            b"description" => {
                let text = "description argument given to redis.register_function must be a string";
                description = Some(text_of(&value, text)?);
            }
            b"callback" => match value {
                Value::Function(callback) => function = Some(callback),
                _ => return Err(refused("callback argument given to redis.register_function must be a function")),
            },
            b"flags" => flags = flags_of(&value)?,
            _ => return Err(refused("unknown argument given to redis.register_function")),
        }
    }
    let name = name.ok_or_else(|| refused("redis.register_function must get a function name argument"))?;
    let function = function.ok_or_else(|| refused("redis.register_function must get a callback argument"))?;
    Ok((name, Registered { description, flags, function }))
}

fn flags_of(value: &Value) -> Result<Flags, Fault> {
    let Value::Table(list) = value else {
        return Err(refused("flags argument to redis.register_function must be a table representing function flags"));
    };
    let mut flags = Flags::default();
    for at in 1.. {
        match list.raw_get::<Value>(at)? {
            Value::Nil => break,
            Value::String(name) if flags.set(&name.as_bytes().to_ascii_lowercase()) => {}
            _ => return Err(refused("unknown flag given")),
        }
    }
    Ok(flags)
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIB: &[u8] = b"#!lua name=lib\nredis.register_function('f', function(keys, args) return args[1] end)";

    fn libraries() -> Libraries {
        Libraries::new(64 << 20).unwrap()
    }

    #[test]
    fn libraries_come_and_go() {
        let mut libraries = libraries();
        assert_eq!(libraries.load(LIB, false, false).unwrap(), "lib");
        assert_eq!(libraries.load(LIB, false, false).unwrap_err(), "Library 'lib' already exists");
        assert_eq!(libraries.load(LIB, true, false).unwrap(), "lib");
        assert!(libraries.function(b"F").is_some());
        let other = b"#!lua name=other\nredis.register_function('f', function() end)";
        assert_eq!(libraries.load(other, false, false).unwrap_err(), "Function f already exists");
        assert!(libraries.delete("lib") && !libraries.delete("lib"));
        assert_eq!(libraries.count(), (0, 0));
    }

    #[test]
    fn first_lines() {
        let cases = [
            ("return 1", "Missing library metadata"),
            ("#!lua name=a", "Invalid library metadata"),
            ("#!lua\n", "Library name was not given"),
            ("#!lua name=a name=b\n", "Invalid metadata value, name argument was given multiple times"),
            ("#!lua name=a x=b\n", "Invalid metadata value given: x=b"),
            ("#!bad name=a\n", "Engine 'bad' not found"),
            ("#!lua name=a\nreturn 1", "No functions registered"),
            ("#!lua name=a\nreturn x", "nonexistent global variable 'x'"),
            ("#!lua name=a\nreturn redis.call('ping')", "nonexistent global variable 'call'"),
            ("#!lua name=a\nreturn math.random()", "nonexistent global variable 'math'"),
            ("#!lua name=a\nx = 1", "Attempt to modify a readonly table"),
            ("#!lua name=a\nwhile true do end", "FUNCTION LOAD timeout"),
            ("#!lua name=a\nredis.register_function('f', 1)", "second argument to redis.register_function must be"),
            ("#!lua name=a\nredis.register_function{callback=1}", "callback argument given"),
            ("#!lua name=a\nreturn (", "Error compiling function"),
        ];
        let mut libraries = libraries();
        for (code, text) in cases {
            let error = libraries.load(code.as_bytes(), false, false).unwrap_err();
            assert!(error.contains(text), "{code}: {error}");
        }
        assert_eq!(libraries.load(LIB, false, false).unwrap(), "lib", "the interpreter goes on");
    }

    #[test]
    fn a_restore_is_all_or_nothing() {
        let mut libraries = libraries();
        libraries.load(LIB, false, false).unwrap();
        let g = b"#!lua name=g\nredis.register_function('g', function() end)".to_vec();
        assert_eq!(
            libraries.restore(&[g.clone(), LIB.to_vec()], Policy::Append).unwrap_err(),
            "Library lib already exists"
        );
        assert_eq!(libraries.count(), (1, 1));
        libraries.restore(&[g.clone(), LIB.to_vec()], Policy::Replace).unwrap();
        assert_eq!(libraries.count(), (2, 2));
        libraries.restore(&[g], Policy::Flush).unwrap();
        assert_eq!(libraries.count(), (1, 1));
    }
}
