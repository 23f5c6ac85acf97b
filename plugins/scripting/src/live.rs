//! The script that runs: its way to the server while its turn lasts, its clock, and what others may know of it meanwhile.
//! `Live` is on the stack of the command that runs the script; `Watch` is shared, and all it holds is atomic or short.

use crate::api::Fault;
use crate::pace::Pace;
use keystead_plugin::{Args, Ctx, ScriptCall, Targets};
use mlua::{Lua, MultiValue, Value, VmState};
use parking_lot::Mutex;
use scoped_tls_hkt::scoped_thread_local;
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};
use std::time::{Duration, Instant};

scoped_thread_local! {
    /// The script this thread is inside of.
    static mut LIVE: for<'a> &'a mut (dyn Server + 'a)
}

/// Others get a word in this often once a script is too long.
const WORD_EVERY: Duration = Duration::from_millis(1);

/// The time is looked at before each so many calls of commands, too: these may take most of a script's time, and few
/// instructions. At each call it would cost a tenth of a short one.
const WORD_CALLS: u32 = 4;

/// What a running script asks of the server.
pub trait Server {
    /// `redis.call` and `redis.pcall`. What it gives is its own, until the next call.
    fn call(&mut self, argv: &[&[u8]]) -> Called<'_>;
    /// `redis.acl_check_cmd`.
    fn acl_check(&mut self, argv: &[Vec<u8>]) -> Result<(), String>;
    /// How commands are called.
    fn how(&mut self) -> &mut ScriptCall;
    /// Called every so many instructions.
    fn poll(&mut self) -> Next;
}

/// How a script goes on.
pub enum Next {
    /// As before.
    On,
    /// Asking again after so many instructions, from now on.
    Every(u32),
    /// Not at all: why.
    Stop(&'static str),
}

impl From<Option<u32>> for Next {
    fn from(every: Option<u32>) -> Next {
        every.map_or(Next::On, Next::Every)
    }
}

/// How a command of a script went.
pub enum Called<'s> {
    /// It ran: RESP, an error's among them.
    Reply(&'s [u8]),
    /// It didn't run: why, code first.
    Refused(&'s [u8]),
}

/// Runs `body` with the script's way to the server.
pub fn enter<R>(server: &mut dyn Server, body: impl FnOnce() -> R) -> R {
    LIVE.set(server, body)
}

/// The script's way to the server, if this thread is inside of one.
pub fn server<R>(ask: impl FnOnce(&mut dyn Server) -> R) -> Option<R> {
    LIVE.is_set().then(|| LIVE.with(|server| ask(server)))
}

/// What kind of script runs: decides which KILL ends it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// EVAL and its kin.
    Eval,
    /// FCALL.
    Function,
}

impl Kind {
    /// What others are answered while one is too long.
    pub fn busy(self) -> &'static str {
        match self {
            Kind::Eval => "BUSY Redis is busy running a script. You can only call SCRIPT KILL or SHUTDOWN NOSAVE.",
            Kind::Function => {
                "BUSY Redis is busy running a script. You can only call FUNCTION KILL or SHUTDOWN NOSAVE."
            }
        }
    }
}

/// Why a script ends that was killed, whichever its kind.
const KILLED: &str = "Script killed by user with SCRIPT KILL...";

/// What is known of the running script.
#[derive(Clone, Debug)]
pub struct Running {
    /// Its kind.
    pub kind: Kind,
    /// The function's name.
    pub name: String,
    /// The command as it was sent.
    pub command: Vec<Vec<u8>>,
    /// Since when.
    pub since: Instant,
    /// It came from the primary.
    pub obeyed: bool,
}

/// Shared by the running script and those who ask for it.
#[derive(Default)]
pub struct Watch {
    /// `busy-reply-threshold` in milliseconds; 0: never busy.
    pub threshold_ms: AtomicI64,
    /// Known from the moment on when others may ask: a script that is short is never seen.
    running: Mutex<Option<Running>>,
    wrote: AtomicBool,
    kill: AtomicBool,
}

impl Watch {
    /// The running script.
    pub fn running(&self) -> Option<Running> {
        self.running.lock().clone()
    }

    /// SCRIPT KILL and FUNCTION KILL.
    pub fn kill(&self, kind: Kind) -> Result<(), &'static str> {
        let running = self.running.lock();
        let Some(running) = running.as_ref() else { return Err("NOTBUSY No scripts in execution right now.") };
        if running.obeyed {
            return Err("UNKILLABLE The busy script was sent by a master instance in the context of replication and \
                        cannot be killed.");
        }
        if self.wrote.load(Ordering::Relaxed) {
            return Err("UNKILLABLE Sorry the script already executed write commands against the dataset. You can \
                        either wait the script termination or kill the server in a hard way using the SHUTDOWN NOSAVE \
                        command.");
        }
        if running.kind != kind {
            return Err(running.kind.busy());
        }
        self.kill.store(true, Ordering::Relaxed);
        Ok(())
    }
}

/// What runs, for those who ask.
#[derive(Clone, Copy)]
pub struct About<'o> {
    /// EVAL or FCALL.
    pub kind: Kind,
    /// The script's hash or the function's name.
    pub name: &'o str,
    /// The command.
    pub command: Args<'o>,
    /// It came from the primary.
    pub obeyed: bool,
}

/// The way to the server of one run.
pub struct Live<'w, 'c, 'a> {
    watch: &'w Watch,
    ctx: &'c mut Ctx<'a>,
    how: ScriptCall,
    about: About<'w>,
    since: Instant,
    /// What the last call gave.
    reply: &'w mut Vec<u8>,
    /// Since others are told to wait: when they last got a word in.
    busy: Option<Instant>,
    stop: Option<&'static str>,
    pace: Pace,
    calls: u32,
}

impl<'w, 'c, 'a> Live<'w, 'c, 'a> {
    /// Begins a run; ends with the value.
    pub fn begin(
        watch: &'w Watch,
        ctx: &'c mut Ctx<'a>,
        how: ScriptCall,
        about: About<'w>,
        reply: &'w mut Vec<u8>,
    ) -> Live<'w, 'c, 'a> {
        watch.kill.store(false, Ordering::Relaxed);
        watch.wrote.store(false, Ordering::Relaxed);
        let since = Instant::now();
        Live { watch, ctx, how, about, since, reply, busy: None, stop: None, pace: Pace::new(since), calls: 0 }
    }

    /// When the run began.
    pub fn since(&self) -> Instant {
        self.since
    }

    /// Why it was to end, if it was.
    pub fn stopped(&self) -> Option<&'static str> {
        self.stop
    }

    /// The hook isn't what the next run begins with.
    pub fn unsettled(&self) -> bool {
        self.stop.is_some() || self.pace.changed()
    }

    /// Lets others get a word in, once the script is too long.
    fn let_others(&mut self, now: Instant, threshold: Duration) {
        if now.saturating_duration_since(self.since) < threshold {
            return;
        }
        match self.busy {
            None => self.get_busy(),
            Some(last) if now.saturating_duration_since(last) < WORD_EVERY => return,
            Some(_) => {}
        }
        let going_down = self.ctx.busy_poll();
        let now = Instant::now();
        self.busy = Some(now);
        self.pace.skip(now);
        self.stop = match self.watch.kill.load(Ordering::Relaxed) {
            true => Some(KILLED),
            false => going_down.then_some("The server is going down."),
        };
    }

    /// How long a script may run before others are told to wait; none: for ever.
    fn threshold(&self) -> Option<Duration> {
        let ms = self.watch.threshold_ms.load(Ordering::Relaxed);
        u64::try_from(ms).ok().filter(|ms| *ms > 0).map(Duration::from_millis)
    }

    /// From now on others are told to wait, and may ask for what.
    fn get_busy(&mut self) {
        let About { kind, name, command, obeyed } = self.about;
        log::warn!(
            "Slow script detected: still in execution after {} milliseconds. You can try killing the script using the {} \
             command.",
            self.since.elapsed().as_millis(),
            if kind == Kind::Eval { "SCRIPT KILL" } else { "FUNCTION KILL" },
        );
        let command = command.iter().map(<[u8]>::to_vec).collect();
        *self.watch.running.lock() = Some(Running { kind, name: name.to_owned(), command, since: self.since, obeyed });
        self.ctx.set_busy_reply(kind.busy());
    }
}

impl Drop for Live<'_, '_, '_> {
    fn drop(&mut self) {
        if self.busy.is_some() {
            *self.watch.running.lock() = None;
        }
    }
}

impl Server for Live<'_, '_, '_> {
    fn call(&mut self, argv: &[&[u8]]) -> Called<'_> {
        self.reply.clear();
        self.calls = self.calls.wrapping_add(1);
        if (self.busy.is_some() || self.calls.is_multiple_of(WORD_CALLS))
            && self.stop.is_none()
            && let Some(threshold) = self.threshold()
        {
            self.let_others(Instant::now(), threshold);
        }
        if let Some(reason) = self.stop {
            // A script that catches this ends at the next look at the clock, or is told to have ended so.
            self.reply.extend_from_slice(b"ERR ");
            self.reply.extend_from_slice(reason.as_bytes());
            return Called::Refused(self.reply);
        }
        let ran = self.ctx.script_call(&mut self.how, argv, self.reply);
        self.watch.wrote.store(self.how.wrote, Ordering::Relaxed);
        if ran { Called::Reply(self.reply) } else { Called::Refused(self.reply) }
    }

    fn acl_check(&mut self, argv: &[Vec<u8>]) -> Result<(), String> {
        self.ctx.acl_check(argv)
    }

    fn how(&mut self) -> &mut ScriptCall {
        &mut self.how
    }

    fn poll(&mut self) -> Next {
        if let Some(reason) = self.stop {
            return Next::Stop(reason);
        }
        let Some(threshold) = self.threshold() else { return Next::On };
        let now = Instant::now();
        let next = Next::from(self.pace.look(now));
        self.let_others(now, threshold);
        self.stop.map_or(next, Next::Stop)
    }
}

/// Lets the server get a word in every so many instructions. A script that is to stop is told so at every single
/// instruction from then on. Coroutines have hooks of their own: what keeps those of others from going on is that neither
/// `pcall` nor `resume` catches this.
pub fn install_hook(lua: &Lua, every: u32) -> mlua::Result<()> {
    lua.set_global_hook(mlua::HookTriggers::new().every_nth_instruction(every), |lua, _| {
        match server(|server| server.poll()).unwrap_or(Next::On) {
            Next::On => Ok(VmState::Continue),
            Next::Every(every) => {
                install_hook(lua, every)?;
                Ok(VmState::Continue)
            }
            Next::Stop(reason) => {
                install_hook(lua, 1)?;
                Err(mlua::Error::external(Fault::Stop(reason)))
            }
        }
    })
}

/// The words of a call as Redis takes them from a script: texts and numbers.
pub fn words(args: &MultiValue) -> Option<Vec<Vec<u8>>> {
    args.iter()
        .map(|value| match value {
            Value::String(text) => Some(text.as_bytes().to_vec()),
            Value::Integer(number) => Some(number.to_string().into_bytes()),
            Value::Number(number) => {
                let mut digits = Vec::new();
                crate::calls::decimal(*number, &mut digits);
                Some(digits)
            }
            _ => None,
        })
        .collect()
}

/// Effects of `redis.set_repl`.
pub fn targets(flags: i32) -> Option<Targets> {
    match flags {
        0 => Some(Targets::NONE),
        1 => Some(Targets::PERSISTENCE),
        2 => Some(Targets::REPLICAS),
        3 => Some(Targets::ALL),
        _ => None,
    }
}
