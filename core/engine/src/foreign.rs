//! What comes from plugins, as traits that the plugin host implements: commands, INFO sections, configuration
//! parameters, hooks. Owns the seams only; nothing here knows how a plugin is loaded.

use std::sync::Arc;

use keystead_keyspace::Keyspace;

use crate::args::{Args, OwnedArgs};
use crate::core::Core;
use crate::ctx::Ctx;
use crate::effect::{CommandResult, Effect, Origin, Recorded};
use crate::engine::{Action, Flow};
use crate::error::CommandError;
use crate::journal::Unit;
use crate::registry::Command;
use crate::session::{Parked, SessionId, State};
use crate::spec::Flags;

/// A command that runs inside the turn and writes its reply into `ctx.reply`.
pub trait ForeignCommand: Send + Sync {
    /// Runs it. An error is answered as an error reply.
    fn call(&self, ctx: &mut Ctx<'_>, args: Args<'_>) -> CommandResult;
    /// The flags that hold with these words, where they decide (a script that says of itself what it does). `own` are
    /// those of the row.
    fn flags_now(&self, _args: Args<'_>, own: Flags) -> Flags {
        own
    }
}

/// A command that leaves the turn: the session parks until the server calls `Engine::complete`.
pub trait ForeignAsync: Send + Sync {
    /// Answers at once if it can. Inside MULTI and scripts it alone runs, and must answer with what it has then.
    /// Returns None to go the asynchronous way (never honoured inside MULTI).
    fn try_now(&self, ctx: &mut Ctx<'_>, args: Args<'_>) -> Option<CommandResult>;

    /// Starts the call, outside the turn. The server carries out what this returns; when the client goes away first,
    /// the ticket is cancelled with `cancel`.
    fn start(&self, call: AsyncCall);

    /// The client went away or was unblocked: drop the future of this ticket.
    fn cancel(&self, ticket: u64);
}

/// What a plugin learns about a client when its command leaves the turn.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ClientInfo {
    /// CLIENT ID.
    pub id: u64,
    /// The peer's address.
    pub addr: String,
    /// Our side.
    pub laddr: String,
    /// CLIENT SETNAME.
    pub name: String,
    /// The user.
    pub user: String,
    /// The selected database.
    pub db: usize,
}

impl ClientInfo {
    /// A copy of what a session says of itself.
    pub fn of(state: &State) -> Self {
        ClientInfo {
            id: state.id.id,
            addr: state.info.addr.clone(),
            laddr: state.info.laddr.clone(),
            name: state.name.clone(),
            user: state.user.clone(),
            db: state.db,
        }
    }
}

/// An asynchronous call as handed to the host.
#[derive(Clone, Debug)]
pub struct AsyncCall {
    /// The session that waits.
    pub session: SessionId,
    /// Who it is.
    pub client: Arc<ClientInfo>,
    /// Names the call; goes back to `Engine::complete`.
    pub ticket: u64,
    /// The selected database.
    pub db: usize,
    /// The arguments, name first.
    pub args: OwnedArgs,
    /// The replication offset after the session's last write (WAIT).
    pub write_offset: u64,
    /// The reply must be in RESP3.
    pub resp3: bool,
}

/// A command that takes the socket over (PSYNC).
pub trait ForeignTakeover: Send + Sync {
    /// Runs in the turn, before the hand-over: may refuse with an error, the session then stays a client's.
    fn check(&self, ctx: &mut Ctx<'_>, args: Args<'_>) -> Result<(), crate::error::CommandError>;
}

/// A plugin's command of any kind.
#[derive(Clone)]
pub enum ForeignBody {
    /// In the turn.
    Sync(Arc<dyn ForeignCommand>),
    /// Leaves the turn.
    Async(Arc<dyn ForeignAsync>),
    /// Takes the socket.
    Takeover(Arc<dyn ForeignTakeover>),
}

impl ForeignBody {
    /// Runs the command, or has it run elsewhere: then `flow` says so.
    pub(crate) fn run(
        &self,
        ctx: &mut Ctx<'_>,
        command: &'static Command,
        args: Args<'_>,
        flow: &mut Flow,
    ) -> CommandResult {
        match self {
            ForeignBody::Sync(body) => {
                let before = ctx.ks.dirty();
                let result = body.call(ctx, args);
                // What it keeps elsewhere (FUNCTION LOAD) is a change to be saved too.
                if ctx.ks.dirty() == before && matches!(result, Ok(Effect::AsSent | Effect::Recorded(_))) {
                    ctx.ks.add_dirty(1);
                }
                result
            }
            ForeignBody::Async(body) => match body.try_now(ctx, args) {
                Some(result) => result,
                None if ctx.core.in_script => Err(CommandError::NOT_FROM_SCRIPT),
                None if !ctx.may_block() => {
                    Err(CommandError::fixed("ERR this command can't answer inside a transaction"))
                }
                None => {
                    start_async(ctx, command, body, args);
                    *flow = Flow::Parked;
                    Ok(Effect::None)
                }
            },
            ForeignBody::Takeover(_) if ctx.core.in_script => Err(CommandError::NOT_FROM_SCRIPT),
            ForeignBody::Takeover(_) if !ctx.may_block() => {
                Err(CommandError::fixed("ERR Command not allowed inside a transaction"))
            }
            ForeignBody::Takeover(body) => {
                body.check(ctx, args)?;
                ctx.session.taken_over = true;
                let session = ctx.session.id;
                let client = Arc::new(ClientInfo::of(ctx.session));
                ctx.core.act(Action::Takeover { session, client, command, body: body.clone(), args: args.to_owned() });
                *flow = Flow::Takeover;
                Ok(Effect::None)
            }
        }
    }
}

/// An effect of an earlier moment of the running command.
pub struct Earlier {
    /// Its place in the unit, as [`Ctx::unit_place`] gave it.
    pub at: usize,
    /// The database.
    pub db: usize,
    /// The words.
    pub words: OwnedArgs,
}

impl Ctx<'_> {
    /// The place in the unit of what was just done: behind everything that was recorded, and behind the deletion of what
    /// it found expired.
    pub fn unit_place(&mut self) -> usize {
        if self.ks.has_expired() {
            crate::exec::push_expired(self.ks, self.core);
        }
        self.core.unit.len()
    }

    /// Records effects where they belong, in their order, between those of commands that this one called.
    pub fn also_earlier(&mut self, effects: &[Earlier]) -> Effect {
        if effects.is_empty() {
            return Effect::None;
        }
        self.unit_place();
        let unit = &mut self.core.unit;
        let taken = |at| if at < unit.len() { unit.split_off(at) } else { Unit::default() };
        let behind: Vec<Unit> = effects.iter().rev().map(|effect| effect.at).map(taken).collect();
        for (Earlier { db, words, .. }, behind) in effects.iter().zip(behind.into_iter().rev()) {
            let words: Vec<&[u8]> = words.view().iter().collect();
            let _recorded = self.also(*db, &words);
            self.core.unit.extend(behind);
        }
        Effect::Recorded(Recorded(()))
    }
}

fn start_async(ctx: &mut Ctx<'_>, command: &'static Command, body: &Arc<dyn ForeignAsync>, args: Args<'_>) {
    let ticket = crate::exec::next_ticket(ctx.core);
    ctx.session.parked = Some(Parked::Async { ticket, command, args: args.to_owned() });
    let call = AsyncCall {
        session: ctx.session.id,
        client: Arc::new(ClientInfo::of(ctx.session)),
        ticket,
        db: ctx.session.db,
        args: args.to_owned(),
        write_offset: ctx.session.write_offset,
        resp3: ctx.resp3(),
    };
    ctx.core.act(Action::StartAsync { command: body.clone(), call });
}

/// A section of INFO.
pub trait ForeignInfo: Send + Sync {
    /// Appends lines `field:value\r\n`. Runs inside the turn: reads the core (the journal as of this command) and published
    /// snapshots, waits for nothing.
    fn write(&self, ks: &Keyspace, core: &Core, out: &mut Vec<u8>);
}

/// A parameter of CONFIG that a plugin owns.
pub trait ForeignConfig: Send + Sync {
    /// The value CONFIG GET shows.
    fn get(&self) -> String;
    /// CONFIG SET. The error is shown to the client behind Redis' usual words.
    fn set(&self, value: &str) -> Result<(), String>;
    /// False: CONFIG SET is refused as for an immutable parameter.
    fn mutable(&self) -> bool {
        true
    }
    /// SLOWLOG and MONITOR don't show what it is set to.
    fn secret(&self) -> bool {
        false
    }
}

/// What a hook is told about.
pub struct WriteEvent<'a> {
    /// The database.
    pub db: usize,
    /// The effect as it goes to replicas.
    pub argv: Args<'a>,
    /// Who caused it.
    pub origin: Origin,
    /// The journal's offset before the unit it is part of.
    pub offset: u64,
}

/// A connection opened or closed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ConnEvent {
    /// It opened.
    Open,
    /// It closed; the session is gone when the hook returns.
    Close,
}

/// A plugin that asked to be told as things happen, inside the turn. False from a call unhooks it.
pub trait ForeignHook: Send + Sync {
    /// True if `on_write` must be called.
    fn wants_writes(&self) -> bool {
        false
    }
    /// Called per effect.
    fn on_write(&self, event: &WriteEvent<'_>) -> bool {
        let _ = event;
        true
    }
    /// Called per connection.
    fn on_conn(&self, event: ConnEvent, session: &State) -> bool {
        let _ = (event, session);
        true
    }
}

/// A line of MODULE LIST and PLUGIN LIST.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PluginInfo {
    /// Its name.
    pub name: String,
    /// Its version, `major.minor.patch`.
    pub version: String,
    /// The library file.
    pub path: String,
    /// `running`, `faulted`, `stopped` …
    pub state: String,
    /// Further facts for PLUGIN INFO, in order.
    pub facts: Vec<(String, String)>,
}

/// Where PLUGIN and MODULE LIST look.
pub trait ForeignRegistry: Send + Sync {
    /// All plugins in load order.
    fn plugins(&self) -> Vec<PluginInfo>;
    /// Some plugin keeps a part of the data set beside the keys (functions). Asked inside a turn.
    fn keeps_data(&self) -> bool {
        false
    }
}
