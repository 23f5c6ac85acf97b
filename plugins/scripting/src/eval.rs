//! EVAL, EVALSHA, their read-only forms, and SCRIPT.
//!
//! There is no debugger. `redis-cli --ldb` passes over the error that SCRIPT DEBUG answers and sends its script all the
//! same, for which its user expects that the changes are taken back: so that script is refused.

use crate::entry::Code;
use crate::live::Kind;
use crate::plugin::Scripting;
use crate::run::{Order, failed, run, split};
use crate::scripts::{Scripts, Sha};
use keystead_plugin::{Args, Ctx, Effect, Error, Flags, Result};
use std::sync::atomic::Ordering;

/// In a session: its next script was to be debugged.
#[derive(Default)]
struct ToDebug(bool);

const NO_DEBUGGER: &str = "The Lua debugger is not supported";

/// What one of the four commands does differently.
#[derive(Clone, Copy)]
pub struct Form {
    /// The text is the hash of one that is known.
    pub by_sha: bool,
    /// Only reads.
    pub read_only: bool,
}

impl Scripting {
    /// `EVAL text numkeys key … arg …`
    pub(crate) fn eval(&self, ctx: &mut Ctx<'_>, args: Args<'_>, form: Form) -> Result<Effect> {
        const NO_SCRIPT: &str = "NOSCRIPT No matching script. Please use EVAL.";
        // Redis looks at the hash's length first, and at the hash last.
        if form.by_sha && args.at(1).len() != size_of::<Sha>() {
            return Err(Error::reply(NO_SCRIPT));
        }
        let keys = split(args)?;
        self.refuse_debugging(ctx)?;
        let mut scripts = self.scripts()?;
        let script = if form.by_sha {
            scripts.get(args.at(1)).ok_or_else(|| Error::reply(NO_SCRIPT))?
        } else {
            match scripts.add(args.at(1)) {
                Ok(script) => script,
                Err(text) => return failed(ctx, text, false),
            }
        };
        scripts.used(&script);
        let order = Order {
            kind: Kind::Eval,
            name: script.name(),
            code: Code::Script(script.place),
            flags: script.flags,
            read_only: form.read_only,
        };
        let result = run(&self.watch, ctx, args, keys, &order, &scripts.interpreter, &scripts.compiled);
        self.note_scripts(&mut scripts);
        result
    }

    /// What the script of a hash says of itself.
    pub(crate) fn sha_flags(&self, args: Args<'_>, row: Flags) -> Flags {
        // While a script runs nothing else does: what is asked then is refused anyway.
        let script = self.scripts().ok().and_then(|scripts| scripts.get(args.at(1)));
        script.map_or(row, |script| script.flags.of_command(row))
    }

    /// What the script says of itself. It needn't be known.
    pub(crate) fn text_flags(&self, args: Args<'_>, row: Flags) -> Flags {
        crate::flags::script(args.at(1)).map_or(row, |(flags, _)| flags.of_command(row))
    }

    /// `SCRIPT LOAD text`
    pub(crate) fn script_load(&self, ctx: &mut Ctx<'_>, args: Args<'_>) -> Result<Effect> {
        let mut scripts = self.scripts()?;
        let script = match scripts.add(args.at(2)) {
            Ok(script) => script,
            Err(text) => return failed(ctx, text, false),
        };
        scripts.keep(&script);
        ctx.reply().text(script.name());
        self.note_scripts(&mut scripts);
        Ok(Effect::None)
    }

    /// `SCRIPT EXISTS sha …`
    pub(crate) fn script_exists(&self, ctx: &mut Ctx<'_>, args: Args<'_>) -> Result<Effect> {
        let scripts = self.scripts()?;
        ctx.reply().array(args.len() - 2);
        for sha in args.iter().skip(2) {
            let known = scripts.get(sha).is_some();
            ctx.reply().int(i64::from(known));
        }
        Ok(Effect::None)
    }

    /// `SCRIPT FLUSH [ASYNC | SYNC]`
    pub(crate) fn script_flush(&self, ctx: &mut Ctx<'_>, args: Args<'_>) -> Result<Effect> {
        let later = flush_later(args, "SCRIPT FLUSH only support SYNC|ASYNC option")?;
        let fresh = Scripts::new(self.memory).map_err(|error| Error::new(error.to_string()))?;
        let mut scripts = self.scripts()?;
        let old = std::mem::replace(&mut *scripts, fresh);
        self.note_scripts(&mut scripts);
        drop(scripts);
        self.forget(old, later);
        ctx.reply().ok();
        Ok(Effect::None)
    }

    /// `SCRIPT KILL`
    pub(crate) fn script_kill(&self, ctx: &mut Ctx<'_>, _: Args<'_>) -> Result<Effect> {
        self.watch.kill(Kind::Eval).map_err(Error::reply)?;
        ctx.reply().ok();
        Ok(Effect::None)
    }

    /// `SCRIPT DEBUG YES | SYNC | NO`: there is no debugger, so it can only be off.
    pub(crate) fn script_debug(&self, ctx: &mut Ctx<'_>, args: Args<'_>) -> Result<Effect> {
        match args.at(2).to_ascii_lowercase().as_slice() {
            b"no" => {
                if self.wanted_debugger.load(Ordering::Relaxed) {
                    ctx.state::<ToDebug>().0 = false;
                }
                ctx.reply().ok();
                Ok(Effect::None)
            }
            b"yes" | b"sync" => {
                ctx.state::<ToDebug>().0 = true;
                self.wanted_debugger.store(true, Ordering::Relaxed);
                Err(Error::new(NO_DEBUGGER))
            }
            _ => Err(Error::new("Use SCRIPT DEBUG YES/SYNC/NO")),
        }
    }

    /// Refuses a script that the session wanted to debug, once.
    pub(crate) fn refuse_debugging(&self, ctx: &mut Ctx<'_>) -> Result<()> {
        if self.wanted_debugger.load(Ordering::Relaxed) && std::mem::take(&mut ctx.state::<ToDebug>().0) {
            return Err(Error::new(format!("{NO_DEBUGGER}; the script was not executed")));
        }
        Ok(())
    }

    /// `SCRIPT HELP`
    pub(crate) fn script_help(&self, ctx: &mut Ctx<'_>, _: Args<'_>) -> Result<Effect> {
        help(ctx, "SCRIPT", SCRIPT_HELP);
        Ok(Effect::None)
    }
}

/// `ASYNC` or `SYNC` behind FLUSH; without either at once, as `lazyfree-lazy-user-flush no` has it.
pub fn flush_later(args: Args<'_>, wrong: &str) -> Result<bool> {
    let word = args.get(2).map(<[u8]>::to_ascii_lowercase);
    match (args.len(), word.as_deref()) {
        (2, _) | (3, Some(b"sync")) => Ok(false),
        (3, Some(b"async")) => Ok(true),
        _ => Err(Error::new(wrong)),
    }
}

/// Lines of HELP as Redis frames them.
pub fn help(ctx: &mut Ctx<'_>, command: &str, lines: &[&str]) {
    ctx.reply().array(lines.len() + 3);
    let head = format!("{command} <subcommand> [<arg> [value] [opt] ...]. Subcommands are:");
    ctx.reply().simple(&head);
    for line in lines.iter().chain(&["HELP", "    Print this help."]) {
        ctx.reply().simple(line);
    }
}

const SCRIPT_HELP: &[&str] = &[
    "DEBUG (YES|SYNC|NO)",
    "    Set the debug mode for subsequent scripts executed.",
    "EXISTS <sha1> [<sha1> ...]",
    "    Return information about the existence of the scripts in the script cache.",
    "FLUSH [ASYNC|SYNC]",
    "    Flush the Lua scripts cache. Very dangerous on replicas.",
    "    When called without the optional mode argument, the behavior is determined by the",
    "    lazyfree-lazy-user-flush configuration directive. Valid modes are:",
    "    * ASYNC: Asynchronously flush the scripts cache.",
    "    * SYNC: Synchronously flush the scripts cache.",
    "KILL",
    "    Kill the currently executing Lua script.",
    "LOAD <script>",
    "    Load a script into the scripts cache without executing it.",
];
