//! The plugin: what it declares, what it keeps.

use crate::config::{Config, DOCS};
use crate::eval::Form;
use crate::libraries::Libraries;
use crate::live::Watch;
use crate::owner::{Held, Interprets, Owner};
use crate::scripts::Scripts;
use crate::{memory, run};
use keystead_plugin::CommandSpec;
use keystead_plugin::prelude::*;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

/// The plugin.
pub struct Scripting {
    pub(crate) host: Host,
    pub(crate) watch: Watch,
    /// Bytes that an interpreter may take.
    pub(crate) memory: usize,
    scripts: Arc<Owner<Scripts>>,
    libraries: Arc<Owner<Libraries>>,
    seen: Seen,
    /// Somebody asked for the debugger: sessions are looked at for who did.
    pub(crate) wanted_debugger: AtomicBool,
}

/// What INFO shows, published behind each command: INFO waits for nobody.
#[derive(Default)]
struct Seen {
    scripts: AtomicUsize,
    script_bytes: AtomicUsize,
    functions: AtomicUsize,
    libraries: AtomicUsize,
    library_bytes: AtomicUsize,
    /// Scripts that were forgotten since the last CONFIG RESETSTAT, and how many of these were seen.
    evicted: AtomicU64,
    resets: AtomicU64,
}

impl Seen {
    /// Counts anew if there was another CONFIG RESETSTAT.
    fn settle(&self, host: &Host) {
        let resets = host.setting("stat_resets").and_then(|n| n.parse().ok()).unwrap_or(0);
        if self.resets.swap(resets, Ordering::Relaxed) != resets {
            self.evicted.store(0, Ordering::Relaxed);
        }
    }
}

impl Plugin for Scripting {
    const NAME: &'static str = "scripting";
    const CONFIG_DOCS: &'static [(&'static str, &'static str)] = DOCS;
    type Config = Config;

    fn check(config: &Config) -> Result<()> {
        match config.memory_limit_mb {
            1..=1_048_576 => Ok(()),
            _ => Err("memory_limit_mb must be from 1 to 1048576".into()),
        }
    }

    fn init(host: Host, config: Config, reg: &mut Registrar<Self>) -> Result<Self> {
        declare(reg);
        declare_functions(reg);
        let limit = config.memory_limit_mb << 20;
        let watch = Watch::default();
        watch.threshold_ms.store(config.busy_reply_threshold_ms, Ordering::Relaxed);
        memory::keep_freed();
        let (scripts, libraries) = (Owner::shared(Scripts::new(limit)?), Owner::shared(Libraries::new(limit)?));
        let (seen, wanted_debugger) = (Seen::default(), AtomicBool::new(false));
        Ok(Scripting { host, watch, memory: limit, scripts, libraries, seen, wanted_debugger })
    }
}

fn declare(reg: &mut Registrar<Scripting>) {
    let forms =
        [("EVAL", false, false), ("EVALSHA", true, false), ("EVAL_RO", false, true), ("EVALSHA_RO", true, true)];
    reg.pages(include_str!("pages.txt"));
    for (name, by_sha, read_only) in forms {
        let form = Form { by_sha, read_only };
        let kind = if read_only { Flags::READONLY } else { Flags::MAY_REPLICATE };
        let since = if read_only { "7.0.0" } else { "2.6.0" };
        let row = row(
            name,
            -3,
            Flags::NO_SCRIPT | Flags::STALE_OK | Flags::SKIP_MONITOR | Flags::NO_MANDATORY_KEYS | kind,
            "Executes a Lua script.",
            since,
        );
        let flags_now = if by_sha { Scripting::sha_flags } else { Scripting::text_flags };
        let eval = move |plugin: &Scripting, ctx: &mut Ctx<'_>, args: Args<'_>| plugin.eval(ctx, args, form);
        reg.command_by_words(row.keys_by(run::keys), flags_now, eval);
    }
    let load = "Loads a script into the script cache.";
    reg.command(row("SCRIPT|LOAD", 3, Flags::NO_SCRIPT | Flags::STALE_OK, load, "2.6.0"), Scripting::script_load)
        .command(
            row("SCRIPT|EXISTS", -3, Flags::NO_SCRIPT, "Tells which scripts are cached.", "2.6.0"),
            Scripting::script_exists,
        )
        .command(
            row("SCRIPT|FLUSH", -2, Flags::NO_SCRIPT, "Forgets all cached scripts.", "2.6.0"),
            Scripting::script_flush,
        )
        .command(
            row("SCRIPT|KILL", 2, Flags::NO_SCRIPT | Flags::ALLOW_BUSY, "Ends the running script.", "2.6.0"),
            Scripting::script_kill,
        )
        .command(row("SCRIPT|DEBUG", 3, Flags::NO_SCRIPT, "Sets the debug mode.", "3.2.0"), Scripting::script_debug)
        .command(
            row("SCRIPT|HELP", 2, Flags::LOADING_OK | Flags::STALE_OK, "Lists the subcommands.", "5.0.0"),
            Scripting::script_help,
        );
    for name in ["lua-time-limit", "busy-reply-threshold"] {
        reg.config_param(
            Param::new(name, "5000"),
            |plugin| plugin.watch.threshold_ms.load(Ordering::Relaxed).to_string(),
            |plugin, value| plugin.set_threshold(value),
        );
    }
    reg.info_append("memory", |plugin, out| {
        let seen = |number: &AtomicUsize| number.load(Ordering::Relaxed);
        let (eval, functions) = (plugin.scripts.memory(), plugin.libraries.memory());
        let (scripts, libraries) = (seen(&plugin.seen.script_bytes), seen(&plugin.seen.library_bytes));
        out.field("used_memory_vm_eval", eval)
            .field("used_memory_lua", eval)
            .field("used_memory_lua_human", human(eval))
            .field("used_memory_scripts_eval", scripts)
            .field("number_of_cached_scripts", seen(&plugin.seen.scripts))
            .field("number_of_functions", seen(&plugin.seen.functions))
            .field("number_of_libraries", seen(&plugin.seen.libraries))
            .field("used_memory_vm_functions", functions)
            .field("used_memory_vm_total", eval + functions)
            .field("used_memory_vm_total_human", human(eval + functions))
            .field("used_memory_functions", libraries)
            .field("used_memory_scripts", scripts + libraries)
            .field("used_memory_scripts_human", human(scripts + libraries));
    });
    reg.info_append("stats", |plugin, out| {
        plugin.seen.settle(&plugin.host);
        out.field("evicted_scripts", plugin.seen.evicted.load(Ordering::Relaxed));
    });
}

/// `1.50K`, as INFO writes sizes.
fn human(bytes: usize) -> String {
    let (mut value, mut unit) = (bytes as f64, "B");
    if bytes < 1024 {
        return format!("{bytes}B");
    }
    for next in ["K", "M", "G"] {
        if value >= 1024.0 {
            (value, unit) = (value / 1024.0, next);
        }
    }
    format!("{value:.2}{unit}")
}

fn declare_functions(reg: &mut Registrar<Scripting>) {
    for (name, read_only) in [("FCALL", false), ("FCALL_RO", true)] {
        let kind = if read_only { Flags::READONLY } else { Flags::MAY_REPLICATE };
        let row = row(
            name,
            -3,
            Flags::NO_SCRIPT | Flags::STALE_OK | Flags::SKIP_MONITOR | Flags::NO_MANDATORY_KEYS | kind,
            "Calls a function.",
            "7.0.0",
        );
        let fcall = move |plugin: &Scripting, ctx: &mut Ctx<'_>, args: Args<'_>| plugin.fcall(ctx, args, read_only);
        reg.command_by_words(row.keys_by(run::keys), Scripting::function_flags, fcall);
    }
    let (quiet, write) = (Flags::NO_SCRIPT, Flags::NO_SCRIPT | Flags::WRITE);
    let row = |name: &str, arity, flags, summary: &str| row(name, arity, flags, summary, "7.0.0");
    reg.command(row("FUNCTION|LOAD", -3, write | Flags::DENYOOM, "Creates a library."), Scripting::function_load)
        .command(row("FUNCTION|DELETE", 3, write, "Deletes a library."), Scripting::function_delete)
        .command(row("FUNCTION|FLUSH", -2, write, "Deletes all libraries."), Scripting::function_flush)
        .command(row("FUNCTION|LIST", -2, quiet, "Shows all libraries."), Scripting::function_list)
        .command(row("FUNCTION|DUMP", 2, quiet, "Dumps all libraries."), Scripting::function_dump)
        .command(
            row("FUNCTION|RESTORE", -3, write | Flags::DENYOOM, "Restores dumped libraries."),
            Scripting::function_restore,
        )
        .command(
            row("FUNCTION|STATS", 2, quiet | Flags::ALLOW_BUSY, "Shows the running function."),
            Scripting::function_stats,
        )
        .command(
            row("FUNCTION|KILL", 2, quiet | Flags::ALLOW_BUSY, "Ends the running function."),
            Scripting::function_kill,
        )
        .command(
            row("FUNCTION|HELP", 2, Flags::LOADING_OK | Flags::STALE_OK, "Lists the subcommands."),
            Scripting::function_help,
        );
    reg.section(keystead_rdb::OP_FUNCTION2, Scripting::save, Scripting::restore_section);
}

/// A row of the command table.
pub(crate) fn row(name: &str, arity: i32, flags: Flags, summary: &str, since: &str) -> CommandSpec {
    spec(name, arity, flags).acl(Acl::SCRIPTING).docs(summary, "scripting", since)
}

impl Scripting {
    /// EVAL's interpreter and scripts. They are taken only if a script calls EVAL, which scripts may not.
    pub(crate) fn scripts(&self) -> Result<Held<'_, Scripts>> {
        self.scripts.hold().ok_or_else(|| Error::new("a script can't run inside another one"))
    }

    /// The libraries and their interpreter.
    pub(crate) fn libraries(&self) -> Result<Held<'_, Libraries>> {
        self.libraries.hold().ok_or_else(|| Error::new("a script can't run inside another one"))
    }

    /// Publishes what INFO and FUNCTION STATS show.
    pub(crate) fn note_libraries(&self, libraries: &Libraries) {
        let (count, functions) = libraries.count();
        let bytes = libraries.all().map(|(name, library)| name.len() + library.code.len()).sum();
        self.note_memory(libraries);
        self.seen.libraries.store(count, Ordering::Relaxed);
        self.seen.functions.store(functions, Ordering::Relaxed);
        self.seen.library_bytes.store(bytes, Ordering::Relaxed);
    }

    /// Publishes what a run may have changed of that.
    pub(crate) fn note_memory(&self, libraries: &Libraries) {
        self.libraries.note(libraries);
        self.tidy_behind(&self.libraries);
    }

    /// How many libraries and functions there are, also while one of them runs.
    pub(crate) fn counts(&self) -> (usize, usize) {
        (self.seen.libraries.load(Ordering::Relaxed), self.seen.functions.load(Ordering::Relaxed))
    }

    /// Publishes what INFO shows.
    pub(crate) fn note_scripts(&self, scripts: &mut Scripts) {
        let (count, bytes) = scripts.size();
        let evicted = scripts.take_evicted();
        if evicted > 0 {
            self.seen.settle(&self.host);
            self.seen.evicted.fetch_add(evicted, Ordering::Relaxed);
        }
        self.scripts.note(scripts);
        self.tidy_behind(&self.scripts);
        self.seen.scripts.store(count, Ordering::Relaxed);
        self.seen.script_bytes.store(bytes, Ordering::Relaxed);
    }

    fn set_threshold(&self, value: &str) -> Result<()> {
        let ms = keystead_plugin::integer(value, 0..=u64::MAX >> 1)?;
        self.watch.threshold_ms.store(i64::try_from(ms).unwrap_or(i64::MAX), Ordering::Relaxed);
        Ok(())
    }

    /// Has somebody see to what scripts left, in a while, on a thread that may take its time.
    fn tidy_behind<T: Interprets>(&self, owner: &Arc<Owner<T>>) {
        if owner.to_tidy() {
            let (host, owner) = (self.host, owner.clone());
            self.host.spawn(async move {
                host.sleep(TIDY_EVERY).await;
                let _ = host.blocking(move || owner.tidy()).await;
            });
        }
    }

    /// Frees an interpreter with all it has: now, or on a thread that may take its time. A big one nobody waits for.
    pub(crate) fn forget<T: Interprets>(&self, old: T, later: bool) {
        if later || old.interpreter().memory() > BIG {
            let free = self.host.blocking(move || {
                drop(old);
                memory::give_back();
            });
            self.host.spawn(async move {
                let _ = free.await;
            });
        }
    }
}

/// An interpreter that takes longer to free than a turn may take.
const BIG: usize = 2 << 20;
/// How often what scripts left is looked at, while there are scripts.
const TIDY_EVERY: Duration = Duration::from_secs(1);
