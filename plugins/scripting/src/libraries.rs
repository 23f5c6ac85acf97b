//! The libraries of functions, as data: what is loaded, what each registered, how they come and go together. Replicated
//! by the commands that change them, saved as records of RDB files.

use crate::api::{self, Fault, put};
use crate::flags::{self, Flags};
use crate::interpreter::{Interpreter, first_line};
use crate::live::{Called, Next, Server, enter};
use crate::pace::Pace;
use keystead_plugin::ScriptCall;
use mlua::{Lua, MultiValue, RegistryKey, Table, Value};
use parking_lot::Mutex;
use smallvec::SmallVec;
use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// A client's library may take so long to register its functions.
const LOAD_LIMIT: Duration = Duration::from_millis(500);

/// A function of a library.
#[derive(Clone)]
pub struct Registered {
    /// As it was registered: it is called in any case, and errors name it so.
    pub name: String,
    /// For people.
    pub description: Option<Vec<u8>>,
    /// What it may do.
    pub flags: Flags,
    /// Called with keys and arguments. In Lua's registry: of values that Rust holds there may be some 8,000.
    pub function: Arc<RegistryKey>,
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
    pub fn load(&mut self, code: &[u8], replace: bool, obey: bool) -> Result<String, Vec<u8>> {
        let (name, text) = taken_apart(code)?;
        if self.all.contains_key(&name) && !replace {
            return Err(format!("Library '{name}' already exists").into_bytes());
        }
        let library = self.run(code, text, obey)?;
        self.join(vec![(name.clone(), library)], replace)?;
        Ok(name)
    }

    /// Has a library register its functions.
    fn run(&self, code: &[u8], text: &[u8], obey: bool) -> Result<Library, Vec<u8>> {
        self.interpreter.make_room().map_err(|error| first_line(&error).into_bytes())?;
        self.interpreter.in_library(true).map_err(|error| first_line(&error).into_bytes())?;
        *self.loading.lock() = Some(BTreeMap::new());
        let now = Instant::now();
        let until = (!obey).then(|| now + LOAD_LIMIT);
        let mut limit = Limit { until, over: false, pace: Pace::new(now), how: ScriptCall::new(0) };
        let ran = self
            .interpreter
            .compile(text, "@user_function")
            .map_err(|text| [b"Error compiling function: ", &text[..]].concat());
        let ran = ran.and_then(|chunk| {
            let ran = enter(&mut limit, || self.interpreter.run_library(&chunk));
            ran.map_err(|text| [b"Error registering functions: ", &text[..]].concat())
        });
        let functions = self.loading.lock().take().unwrap_or_default();
        let back = self.interpreter.in_library(false).and_then(|()| match limit.over || limit.pace.changed() {
            true => self.interpreter.settle(),
            false => Ok(()),
        });
        back.map_err(|error| first_line(&error).into_bytes())?;
        ran?;
        if functions.is_empty() {
            return Err(b"No functions registered".to_vec());
        }
        Ok(Library { code: code.to_vec(), functions })
    }

    /// Libraries join those that are there, all or none.
    fn join(&mut self, fresh: Vec<(String, Library)>, replace: bool) -> Result<(), Vec<u8>> {
        let coming: HashSet<&String> = fresh.iter().map(|(name, _)| name).collect();
        for (name, library) in &fresh {
            if self.all.contains_key(name) && !replace {
                return Err(format!("Library {name} already exists").into_bytes());
            }
            let taken = |function: &&String| {
                let owned = self.owners.get(function.to_ascii_lowercase().as_bytes());
                owned.is_some_and(|owned| !coming.contains(&owned.library))
            };
            if let Some(function) = library.functions.keys().find(taken) {
                return Err(format!("Function {function} already exists").into_bytes());
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
        self.interpreter.let_go();
        true
    }

    /// All libraries as records of an RDB file.
    pub fn records(&self) -> Vec<u8> {
        let mut out = Vec::new();
        self.all.values().for_each(|library| keystead_rdb::function_record(&library.code, &mut out));
        out
    }

    /// Loads the texts of libraries in place of all that are there, or changes nothing. What was there is given back: its
    /// interpreter goes with it, for what old libraries hold must not starve those that come.
    pub fn replace(&mut self, codes: &[Vec<u8>]) -> Result<Libraries, Vec<u8>> {
        let fresh = Libraries::new(self.interpreter.limit());
        let mut fresh = fresh.map_err(|error| first_line(&error).into_bytes())?;
        fresh.restore(codes, Policy::Append)?;
        Ok(std::mem::replace(self, fresh))
    }

    /// Loads the texts of libraries, all or none.
    pub fn restore(&mut self, codes: &[Vec<u8>], policy: Policy) -> Result<(), Vec<u8>> {
        let mut fresh: Vec<(String, Library)> = Vec::new();
        let (mut names, mut functions) = (HashSet::new(), HashSet::new());
        for code in codes {
            let (name, text) = taken_apart(code)?;
            let library = self.run(code, text, true)?;
            if !names.insert(name.clone()) {
                return Err(format!("Library '{name}' already exists").into_bytes());
            }
            if let Some(twice) = library.functions.keys().find(|function| !functions.insert((*function).clone())) {
                return Err(format!("Function {twice} already exists").into_bytes());
            }
            fresh.push((name, library));
        }
        self.join(fresh, policy == Policy::Replace)
    }
}

/// A library's name, and its text behind the first line's words.
fn taken_apart(code: &[u8]) -> Result<(String, &[u8]), Vec<u8>> {
    if !code.starts_with(b"#!") {
        return Err(b"Missing library metadata".to_vec());
    }
    let invalid = b"Invalid library metadata";
    let (line, text) = flags::first_line(code).ok_or(invalid)?;
    let words = flags::words(line).ok_or(invalid)?;
    let engine = words.view().iter().next().and_then(|word| word.get(2..)).unwrap_or_default();
    let mut name = None;
    for word in words.view().iter().skip(1) {
        let Some((_, value)) = word.split_at_checked(5).filter(|(key, _)| key.eq_ignore_ascii_case(b"name=")) else {
            return Err([b"Invalid metadata value given: ", word].concat());
        };
        if name.replace(value).is_some() {
            return Err(b"Invalid metadata value, name argument was given multiple times".to_vec());
        }
    }
    let name = name.ok_or(b"Library name was not given")?;
    let name = well_named(name).ok_or(
        b"Library names can only contain letters, numbers, or underscores(_) and must be at least one character long",
    )?;
    if !engine.eq_ignore_ascii_case(b"lua") {
        return Err([b"Engine '", engine, b"' not found"].concat());
    }
    Ok((name, text))
}

/// A name, if it is one.
fn well_named(name: &[u8]) -> Option<String> {
    let well = !name.is_empty() && name.iter().all(|byte| byte.is_ascii_alphanumeric() || *byte == b'_');
    well.then(|| String::from_utf8_lossy(name).into_owned())
}

/// Watches the clock while a library registers its functions.
struct Limit {
    until: Option<Instant>,
    over: bool,
    pace: Pace,
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

    fn poll(&mut self) -> Next {
        let now = Instant::now();
        self.over |= self.until.is_some_and(|until| now > until);
        match self.over {
            true => Next::Stop("FUNCTION LOAD timeout"),
            false => self.pace.look(now).into(),
        }
    }
}

/// `redis.register_function`: by position, or one table of named arguments.
fn register_function(lua: &Lua, redis: &Table, loading: Loading) -> mlua::Result<()> {
    put(lua, redis, "register_function", move |lua, args| {
        let mut loading = loading.lock();
        let Some(functions) = loading.as_mut() else {
            return Err(refused("redis.register_function can only be called on FUNCTION LOAD command"));
        };
        let (name, mut registered) = match args.len() {
            1 => named(lua, args.front())?,
            2 => by_position(lua, &args)?,
            _ => return Err(refused("wrong number of arguments to redis.register_function")),
        };
        let name = well_named(&name).ok_or_else(|| {
            refused(
                "Library names can only contain letters, numbers, or underscores(_) and must be at least one character \
                 long",
            )
        })?;
        registered.name.clone_from(&name);
        if functions.insert(name, registered).is_some() {
            return Err(refused("Function already exists in the library"));
        }
        Ok(())
    })
}

fn refused(text: &str) -> Fault {
    Fault::Table { text: format!("ERR {text}").into_bytes(), counted: false }
}

/// A text or a number, as everywhere in Lua.
fn text_of(value: &Value, what: &str) -> Result<Vec<u8>, Fault> {
    api::text_of(Some(value)).ok_or_else(|| refused(what))
}

fn by_position(lua: &Lua, args: &MultiValue) -> Result<(Vec<u8>, Registered), Fault> {
    let first = args.front().unwrap_or(&Value::Nil);
    let name = text_of(first, "first argument to redis.register_function must be a string")?;
    let Some(Value::Function(function)) = args.get(1) else {
        return Err(refused("second argument to redis.register_function must be a function"));
    };
    let function = Arc::new(lua.create_registry_value(function)?);
    let registered = Registered { name: String::new(), description: None, flags: Flags::default(), function };
    Ok((name, registered))
}

fn named(lua: &Lua, args: Option<&Value>) -> Result<(Vec<u8>, Registered), Fault> {
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
                name = Some(text_of(&value, text)?);
            }
            b"description" => {
                let text = "description argument given to redis.register_function must be a string";
                description = Some(text_of(&value, text)?);
            }
            b"callback" => match value {
                Value::Function(callback) => function = Some(lua.create_registry_value(callback)?),
                _ => return Err(refused("callback argument given to redis.register_function must be a function")),
            },
            b"flags" => flags = flags_of(&value)?,
            _ => return Err(refused("unknown argument given to redis.register_function")),
        }
    }
    let name = name.ok_or_else(|| refused("redis.register_function must get a function name argument"))?;
    let function = function.ok_or_else(|| refused("redis.register_function must get a callback argument"))?;
    let function = Arc::new(function);
    Ok((name, Registered { name: String::new(), description, flags, function }))
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

    fn refused<T: std::fmt::Debug>(result: Result<T, Vec<u8>>) -> String {
        String::from_utf8(result.unwrap_err()).unwrap()
    }

    /// As many as a server of functions may have, in one library and in many, and again over those that are there.
    #[test]
    fn thousands_of_functions_are_loaded_and_replaced() {
        const MANY: usize = 9_000;
        let mut libraries = libraries();
        let code = |first: usize, last: usize| {
            let each = |n| format!("redis.register_function('f{n}', function(keys, args) return {n} end)\n");
            format!("#!lua name=l{first}\n{}", (first..last).map(each).collect::<String>()).into_bytes()
        };
        for _ in 0..2 {
            libraries.load(&code(0, MANY), true, true).unwrap();
        }
        let codes: Vec<Vec<u8>> = (0..MANY).map(|n| code(n, n + 1)).collect();
        for _ in 0..2 {
            libraries.replace(&codes).unwrap();
        }
        assert_eq!(libraries.count(), (MANY, MANY));
        let key = libraries.function(b"f8999").unwrap().function.clone();
        let answer = libraries.interpreter.kept(&key).unwrap().call::<i64>(());
        assert_eq!(answer.unwrap(), 8999);
    }

    #[test]
    fn libraries_come_and_go() {
        let mut libraries = libraries();
        assert_eq!(libraries.load(LIB, false, false).unwrap(), "lib");
        assert_eq!(refused(libraries.load(LIB, false, false)), "Library 'lib' already exists");
        assert_eq!(libraries.load(LIB, true, false).unwrap(), "lib");
        assert_eq!(libraries.function(b"F").unwrap().name, "f");
        let other = b"#!lua name=other\nredis.register_function('f', function() end)";
        assert_eq!(refused(libraries.load(other, false, false)), "Function f already exists");
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
            ("#!lua name=\"a\n", "Invalid library metadata"),
            (
                "#!lua name=a\nreturn x",
                "Error registering functions: ERR user_function:2: Script attempted to access nonexistent global \
                 variable 'x'",
            ),
            ("#!lua name=a\nlocal t = nil return t.x", "ERR user_function:2: attempt to index local 't' (a nil value)"),
            (
                "#!lua name=a\nredis.log()",
                "Error registering functions: ERR redis.log() requires two arguments or more.",
            ),
            (
                "#!lua name=a\nlocal f = redis.register_function f({}, f)",
                "ERR first argument to redis.register_function",
            ),
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
            let error = refused(libraries.load(code.as_bytes(), false, false));
            assert!(error.contains(text), "{code}: {error}");
        }
        assert_eq!(libraries.load(LIB, false, false).unwrap(), "lib", "the interpreter goes on");
    }

    /// A text is a byte string, also where it isn't UTF-8.
    #[test]
    fn texts_of_errors_keep_their_bytes() {
        let cases: [(&[u8], &[u8]); 6] = [
            (b"#!\xff name=a\n", b"Engine '\xff' not found"),
            (b"#!lua x=\xff\n", b"Invalid metadata value given: x=\xff"),
            (
                b"#!lua name=\xff\n",
                b"Library names can only contain letters, numbers, or underscores(_) and must be at \
              least one character long",
            ),
            (b"#!lua name=a\nreturn \xff", b"Error compiling function: user_function:2: unexpected symbol near '\xff'"),
            (
                b"#!lua name=a\nlocal s = '\xff' local t = redis[s]",
                b"Error registering functions: ERR user_function:2: Script attempted to access nonexistent global \
                  variable '\xff'",
            ),
            (
                b"#!lua name=a\nlocal s = '\xff' redis.register_function(s, function() end)",
                b"Error registering functions: ERR Library names can only contain letters, numbers, or underscores(_) \
                  and must be at least one character long",
            ),
        ];
        for (code, text) in cases {
            let error = libraries().load(code, false, false).unwrap_err();
            assert_eq!(error, text, "{}", String::from_utf8_lossy(&error));
        }
    }

    #[test]
    fn names_may_be_quoted_and_numbers() {
        let mut libraries = libraries();
        let code = b"#!lua \"name=q1\"\nredis.register_function(5, function() end) redis.register_function{\
                     function_name=15, callback=function() end, description=7}";
        assert_eq!(libraries.load(code, false, false).unwrap(), "q1");
        assert!(libraries.function(b"5").is_some());
        assert_eq!(libraries.function(b"15").unwrap().description.as_deref(), Some(&b"7"[..]));
        let wrong = b"#!lua name=q2\nredis.register_function(1.5, function() end)";
        assert!(refused(libraries.load(wrong, false, false)).contains("can only contain letters, numbers"));
    }

    /// Texts that differ in few bytes collide in the interpreter: each instruction takes longer than the one before.
    #[test]
    fn slow_instructions_do_not_make_a_load_longer() {
        let begun = Instant::now();
        let code =
            b"#!lua name=a\nlocal x = 'x' for i = 1, 14 do x = x .. x end local t = {} local i = 0 while true do i \
                     = i + 1 t[i] = x .. i end";
        let error = refused(Libraries::new(512 << 20).unwrap().load(code, false, false));
        assert!(error.contains("FUNCTION LOAD timeout"), "{error}");
        assert!(begun.elapsed() < Duration::from_secs(5), "{:?}", begun.elapsed());
    }

    #[test]
    fn a_restore_is_all_or_nothing() {
        let mut libraries = libraries();
        libraries.load(LIB, false, false).unwrap();
        let g = b"#!lua name=g\nredis.register_function('g', function() end)".to_vec();
        let restored = libraries.restore(&[g.clone(), LIB.to_vec()], Policy::Append);
        assert_eq!(refused(restored), "Library lib already exists");
        assert_eq!(libraries.count(), (1, 1));
        libraries.restore(&[g.clone(), LIB.to_vec()], Policy::Replace).unwrap();
        assert_eq!(libraries.count(), (2, 2));
        assert_eq!(refused(libraries.replace(&[g.clone(), g.clone()]).map(drop)), "Library 'g' already exists");
        assert_eq!(libraries.count(), (2, 2));
        assert_eq!(libraries.replace(&[g]).unwrap().count(), (2, 2));
        assert_eq!(libraries.count(), (1, 1));
    }

    /// A library that holds as much as it gets: nothing can be loaded beside it, but all that comes in its place.
    #[test]
    fn what_a_library_holds_goes_with_it() {
        let hog = b"#!lua name=hog\nlocal held = {} for n = 1, 100 do held[n] = ('x'):rep(100000) .. n end \
                    redis.register_function('f', function() return #held end)";
        let big =
            b"#!lua name=big\nlocal s = ('y'):rep(3000000) redis.register_function('g', function() return #s end)";
        let mut libraries = Libraries::new(12 << 20).unwrap();
        libraries.load(hog, false, true).unwrap();
        assert!(refused(libraries.load(big, false, true)).contains("not enough memory"));
        libraries.replace(&[big.to_vec()]).unwrap();
        assert_eq!(libraries.count(), (1, 1));
        libraries.delete("big");
        libraries.load(hog, false, true).unwrap();
        libraries.delete("hog");
        libraries.load(big, false, true).expect("what was deleted is collected");
    }
}
