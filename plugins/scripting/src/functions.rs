//! FUNCTION and FCALL.

use crate::entry::Code;
use crate::eval::{flush_later, help};
use crate::interpreter::first_line;
use crate::libraries::{Libraries, Library, Policy};
use crate::live::Kind;
use crate::plugin::Scripting;
use crate::run::{Order, failed_plainly, run, split};
use keystead_plugin::{Args, Ctx, Effect, Error, Flags, Result};
use std::time::Duration;

impl Scripting {
    /// `FCALL name numkeys key … arg …`, and its read-only form.
    pub(crate) fn fcall(&self, ctx: &mut Ctx<'_>, args: Args<'_>, read_only: bool) -> Result<Effect> {
        let libraries = self.libraries()?;
        let Some(function) = libraries.function(args.at(1)) else { return Err(Error::new("Function not found")) };
        if keystead_resp::number::parse_i64(args.at(2)).is_none() {
            return Err(Error::new("Bad number of keys provided"));
        }
        let keys = split(args)?;
        self.refuse_debugging(ctx)?;
        let (code, flags) = (Code::Function, function.flags);
        let order = Order { kind: Kind::Function, name: &function.name, code, flags, read_only };
        let function =
            libraries.interpreter.kept(&function.function).map_err(|error| Error::new(first_line(&error)))?;
        let result = run(&self.watch, ctx, args, keys, &order, &libraries.interpreter, &function);
        self.note_memory(&libraries);
        result
    }

    /// What the function was registered with.
    pub(crate) fn function_flags(&self, args: Args<'_>, row: Flags) -> Flags {
        // While a function runs nothing else does: what is asked then is refused anyway.
        let Ok(libraries) = self.libraries() else { return row };
        libraries.function(args.at(1)).map_or(row, |function| function.flags.of_command(row))
    }

    /// `FUNCTION LOAD [REPLACE] code`
    pub(crate) fn function_load(&self, ctx: &mut Ctx<'_>, args: Args<'_>) -> Result<Effect> {
        let (last, options) = (args.len() - 1, args.iter().take(args.len() - 1).skip(2));
        let mut replace = false;
        for option in options {
            if !option.eq_ignore_ascii_case(b"replace") {
                return failed_plainly(ctx, &[b"Unknown option given: ", option].concat());
            }
            replace = true;
        }
        let obey = ctx.conditions().obey();
        let mut libraries = self.libraries()?;
        let name = match libraries.load(args.at(last), replace, obey) {
            Ok(name) => name,
            Err(text) => return failed_plainly(ctx, &text),
        };
        self.note_libraries(&libraries);
        ctx.reply().text(&name);
        Ok(Effect::AsSent)
    }

    /// `FUNCTION DELETE library`
    pub(crate) fn function_delete(&self, ctx: &mut Ctx<'_>, args: Args<'_>) -> Result<Effect> {
        let mut libraries = self.libraries()?;
        if !libraries.delete(&String::from_utf8_lossy(args.at(2))) {
            return Err(Error::new("Library not found"));
        }
        self.note_libraries(&libraries);
        ctx.reply().ok();
        Ok(Effect::AsSent)
    }

    /// `FUNCTION FLUSH [ASYNC | SYNC]`
    pub(crate) fn function_flush(&self, ctx: &mut Ctx<'_>, args: Args<'_>) -> Result<Effect> {
        syntax(args, 3)?;
        let later = flush_later(args, "FUNCTION FLUSH only supports SYNC|ASYNC option")?;
        let fresh = Libraries::new(self.memory).map_err(|error| Error::new(error.to_string()))?;
        let mut libraries = self.libraries()?;
        let old = std::mem::replace(&mut *libraries, fresh);
        self.note_libraries(&libraries);
        drop(libraries);
        self.forget(old, later);
        ctx.reply().ok();
        Ok(Effect::AsSent)
    }

    /// `FUNCTION LIST [LIBRARYNAME pattern] [WITHCODE]`
    pub(crate) fn function_list(&self, ctx: &mut Ctx<'_>, args: Args<'_>) -> Result<Effect> {
        let (mut pattern, mut with_code, mut at) = (None, false, 2);
        while let Some(word) = args.get(at) {
            at += 1;
            if word.eq_ignore_ascii_case(b"withcode") && !with_code {
                with_code = true;
            } else if word.eq_ignore_ascii_case(b"libraryname") && pattern.is_none() {
                pattern = Some(args.get(at).ok_or_else(|| Error::new("library name argument was not given"))?);
                at += 1;
            } else {
                return failed_plainly(ctx, &[b"Unknown argument ", word].concat());
            }
        }
        let libraries = self.libraries()?;
        let chosen: Vec<(&str, &Library)> = libraries
            .all()
            .filter(|(name, _)| pattern.is_none_or(|pattern| matches(pattern, name.as_bytes())))
            .collect();
        ctx.reply().array(chosen.len());
        for (name, library) in chosen {
            list_one(ctx, name, library, with_code);
        }
        Ok(Effect::None)
    }

    /// `FUNCTION STATS`
    pub(crate) fn function_stats(&self, ctx: &mut Ctx<'_>, _: Args<'_>) -> Result<Effect> {
        let running = self.watch.running();
        if let Some(running) = running.as_ref().filter(|running| running.kind == Kind::Eval) {
            return Err(Error::reply(running.kind.busy()));
        }
        let (libraries, functions) = self.counts();
        let mut reply = ctx.reply();
        reply.map(2).text("running_script");
        match running {
            None => {
                reply.null();
            }
            Some(running) => {
                reply.map(3).text("name").text(&running.name).text("command").array(running.command.len());
                for word in &running.command {
                    reply.bulk(word);
                }
                let ms = running.since.elapsed().min(Duration::from_secs(u64::from(u32::MAX))).as_millis();
                reply.text("duration_ms").int(ms as i64);
            }
        }
        reply.text("engines").map(1).text("LUA").map(2);
        reply.text("libraries_count").int(libraries as i64).text("functions_count").int(functions as i64);
        Ok(Effect::None)
    }

    /// `FUNCTION DUMP`
    pub(crate) fn function_dump(&self, ctx: &mut Ctx<'_>, _: Args<'_>) -> Result<Effect> {
        let libraries = self.libraries()?;
        // Of the plugin for RDB files; without one it is as if that were as usual.
        let compress = self.host.setting("rdbcompression").is_none_or(|word| word == "yes");
        let codes = libraries.all().map(|(_, library)| library.code.as_slice());
        ctx.reply().bulk(&keystead_rdb::functions_payload(codes, compress));
        Ok(Effect::None)
    }

    /// `FUNCTION RESTORE payload [FLUSH | APPEND | REPLACE]`
    pub(crate) fn function_restore(&self, ctx: &mut Ctx<'_>, args: Args<'_>) -> Result<Effect> {
        syntax(args, 4)?;
        let mode = match args.get(3).map(<[u8]>::to_ascii_lowercase).as_deref() {
            None | Some(b"append") => Some(Policy::Append),
            Some(b"replace") => Some(Policy::Replace),
            Some(b"flush") => None,
            Some(_) => {
                return Err(Error::new("Wrong restore policy given, value should be either FLUSH, APPEND or REPLACE."));
            }
        };
        let codes = keystead_rdb::parse_functions_payload(args.at(2)).map_err(|error| match error {
            keystead_rdb::RdbError::Version(_) | keystead_rdb::RdbError::Checksum { .. } => {
                Error::new("DUMP payload version or checksum are wrong")
            }
            keystead_rdb::RdbError::Truncated => Error::new("DUMP payload version or checksum are wrong"),
            _ => Error::new("given type is not a function"),
        })?;
        let mut libraries = self.libraries()?;
        let restored = match mode {
            Some(policy) => libraries.restore(&codes, policy).map(|()| None),
            None => libraries.replace(&codes).map(Some),
        };
        let old = match restored {
            Ok(old) => old,
            Err(text) => return failed_plainly(ctx, &text),
        };
        self.note_libraries(&libraries);
        drop(libraries);
        old.into_iter().for_each(|old| self.forget(old, false));
        ctx.reply().ok();
        Ok(Effect::AsSent)
    }

    /// `FUNCTION KILL`
    pub(crate) fn function_kill(&self, ctx: &mut Ctx<'_>, _: Args<'_>) -> Result<Effect> {
        self.watch.kill(Kind::Function).map_err(Error::reply)?;
        ctx.reply().ok();
        Ok(Effect::None)
    }

    /// `FUNCTION HELP`
    pub(crate) fn function_help(&self, ctx: &mut Ctx<'_>, _: Args<'_>) -> Result<Effect> {
        help(ctx, "FUNCTION", HELP);
        Ok(Effect::None)
    }

    /// The libraries as a section of a snapshot.
    pub(crate) fn save(&self) -> Vec<u8> {
        // A cut is a turn of its own: no function runs.
        self.libraries().map(|libraries| libraries.records()).unwrap_or_default()
    }

    /// A snapshot's libraries take the place of those that are there.
    pub(crate) fn restore_section(&self, records: &[u8]) -> Result<()> {
        let codes = keystead_rdb::parse_functions(records).map_err(|error| Error::new(error.to_string()))?;
        let mut libraries = self.libraries()?;
        if codes.is_empty() && libraries.count() == (0, 0) {
            return Ok(());
        }
        let old = libraries.replace(&codes).map_err(|text| Error::new(String::from_utf8_lossy(&text)))?;
        self.note_libraries(&libraries);
        drop(libraries);
        self.forget(old, false);
        Ok(())
    }
}

/// At most so many words, in Redis' words for it.
fn syntax(args: Args<'_>, most: usize) -> Result<()> {
    match args.len() > most {
        true => Err(Error::new(format!(
            "unknown subcommand or wrong number of arguments for '{}'. Try FUNCTION HELP.",
            String::from_utf8_lossy(args.at(1))
        ))),
        false => Ok(()),
    }
}

fn list_one(ctx: &mut Ctx<'_>, name: &str, library: &Library, with_code: bool) {
    let mut reply = ctx.reply();
    reply.map(if with_code { 4 } else { 3 });
    reply.text("library_name").text(name).text("engine").text("LUA");
    reply.text("functions").array(library.functions.len());
    for (name, function) in &library.functions {
        reply.map(3).text("name").text(name).text("description");
        match &function.description {
            Some(text) => reply.bulk(text),
            None => reply.null(),
        };
        let flags = function.flags.names();
        reply.text("flags").set(flags.len());
        for flag in flags {
            reply.simple(flag);
        }
    }
    if with_code {
        reply.text("library_code").bulk(&library.code);
    }
}

/// `*`, `?` and `\` over names of letters, digits and underscores, ignoring case, without recursion.
fn matches(pattern: &[u8], name: &[u8]) -> bool {
    let (mut p, mut n, mut star) = (0, 0, None);
    while n < name.len() {
        let (literal, width) = match pattern.get(p) {
            Some(b'\\') if p + 1 < pattern.len() => (pattern.get(p + 1), 2),
            other => (other, 1),
        };
        match literal {
            Some(b'*') if width == 1 => {
                star = Some((p, n));
                p += 1;
                continue;
            }
            Some(byte) if (*byte == b'?' && width == 1) || byte.eq_ignore_ascii_case(&name[n]) => {
                p += width;
                n += 1;
                continue;
            }
            _ => {}
        }
        let Some((at, from)) = star else { return false };
        star = Some((at, from + 1));
        p = at + 1;
        n = from + 1;
    }
    pattern[p..].iter().all(|byte| *byte == b'*')
}

const HELP: &[&str] = &[
    "LOAD [REPLACE] <FUNCTION CODE>",
    "    Create a new library with the given library name and code.",
    "DELETE <LIBRARY NAME>",
    "    Delete the given library.",
    "LIST [LIBRARYNAME PATTERN] [WITHCODE]",
    "    Return general information on all the libraries:",
    "    * Library name",
    "    * The engine used to run the Library",
    "    * Library description",
    "    * Functions list",
    "    * Library code (if WITHCODE is given)",
    "    It also possible to get only function that matches a pattern using LIBRARYNAME argument.",
    "STATS",
    "    Return information about the current function running:",
    "    * Function name",
    "    * Command used to run the function",
    "    * Duration in MS that the function is running",
    "    If no function is running, return nil",
    "    In addition, returns a list of available engines.",
    "KILL",
    "    Kill the current running function.",
    "FLUSH [ASYNC|SYNC]",
    "    Delete all the libraries.",
    "    When called without the optional mode argument, the behavior is determined by the",
    "    lazyfree-lazy-user-flush configuration directive. Valid modes are:",
    "    * ASYNC: Asynchronously flush the libraries.",
    "    * SYNC: Synchronously flush the libraries.",
    "DUMP",
    "    Return a serialized payload representing the current libraries, can be restored using FUNCTION RESTORE command",
    "RESTORE <PAYLOAD> [FLUSH|APPEND|REPLACE]",
    "    Restore the libraries represented by the given payload, it is possible to give a restore policy to",
    "    control how to handle existing libraries (default APPEND):",
    "    * FLUSH: delete all existing libraries.",
    "    * APPEND: appends the restored libraries to the existing libraries. On collision, abort.",
    "    * REPLACE: appends the restored libraries to the existing libraries, On collision, replace the old",
    "      libraries with the new libraries (notice that even on this option there is a chance of failure",
    "      in case of functions name collision with another library).",
];

#[cfg(test)]
mod tests {
    use super::matches;

    #[test]
    fn patterns() {
        for (pattern, name, wanted) in [
            ("*", "lib", true),
            ("l?b", "LIB", true),
            ("li*2", "lib12", true),
            ("li*2", "lib13", false),
            ("lib", "lib1", false),
            ("\\*", "lib", false),
            ("*a*b*c", "xaxbxc", true),
        ] {
            assert_eq!(matches(pattern.as_bytes(), name.as_bytes()), wanted, "{pattern} {name}");
        }
    }
}
