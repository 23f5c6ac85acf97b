//! What a plugin declares in `init`: commands, INFO sections, CONFIG parameters, hooks, services, endpoints.
//!
//! Handlers get the plugin by reference; they are called only after `init` returned. A declaration that the host refuses
//! (a name that is taken, say) is remembered and fails the creation with its reason.

use crate::args::{Args, OwnedArgs};
use crate::command::{CommandSpec, Effect, FlagsNow, MayTake};
use crate::ctx::Ctx;
use crate::declare::{ConnEvent, Endpoint, EndpointSpec, FaultPolicy, InfoOut, Param, WriteEvent};
use crate::error::{Error, Result};
use crate::host::Host;
use crate::io::Conn;
use crate::plugin::Plugin;
use crate::reply::Reply;
use crate::service::{Needed, Service};
use crate::session::ClientInfo;
use crate::slot::Slot;
use crate::thunk::{handlers, hooks};
use keystead_abi::{self as abi, Buf, Str, glue::OwnedBuf};
use std::any::Any;
use std::ffi::c_void;
use std::future::Future;
use std::sync::Arc;

/// What `init` declares with.
pub struct Registrar<P> {
    pub(crate) raw: abi::RegistrarRef,
    pub(crate) host: Host,
    pub(crate) slot: Slot<P>,
    /// The closures the host points to; they live as long as the instance.
    pub(crate) kept: Vec<Box<dyn Any + Send>>,
    pub(crate) failure: Option<Error>,
    /// Where commands find their pages.
    pub(crate) pages: &'static str,
}

impl<P: Plugin> Registrar<P> {
    pub(crate) fn api(&self) -> &'static abi::RegistrarApi {
        // SAFETY: the registrar is alive during `init`, its table as long as the process.
        unsafe { &*self.raw.api }
    }

    /// Remembers the first refusal.
    pub(crate) fn note(&mut self, what: &str, status: u32) {
        if status == abi::OK || self.failure.is_some() {
            return;
        }
        let mut out = Buf::EMPTY;
        // SAFETY: `out` is ours to own.
        let reason = unsafe {
            (self.api().last_error)(self.raw.data, &mut out);
            OwnedBuf::new(out).text()
        };
        self.failure = Some(Error::new(format!("{what}: {reason}")));
    }

    /// Keeps a closure for the instance's life; where it is.
    pub(crate) fn keep<T: Send + 'static>(&mut self, value: T) -> *mut c_void {
        let boxed = Box::new(value);
        let pointer = (&raw const *boxed).cast_mut().cast();
        self.kept.push(boxed);
        pointer
    }

    /// The pages of the commands that are declared from here on, if they don't have one of their own
    /// ([`CommandSpec::page`]): the name in lower case (`parent|child`) and its page's lines, an empty line behind them.
    pub fn pages(&mut self, text: &'static str) -> &mut Self {
        self.pages = text;
        self
    }

    /// The page of a command that brings none.
    fn page(&self, name: &str) -> &'static str {
        let name = name.to_ascii_lowercase();
        let blocks = || self.pages.split("\n\n").filter_map(|block| block.split_once('\n'));
        blocks().find(|(of, _)| *of == name).map_or("", |(_, page)| page)
    }

    /// Declares for an endpoint instead of the data port.
    pub fn at(&mut self, endpoint: Endpoint) -> Scope<'_, P> {
        Scope { reg: self, endpoint }
    }

    /// A command that runs in the turn and replies straight into the session's output: exactly one reply.
    pub fn command<F>(&mut self, spec: CommandSpec, f: F) -> &mut Self
    where
        F: Fn(&P, &mut Ctx<'_>, Args<'_>) -> Result<Effect> + Send + Sync + 'static,
    {
        self.at(Endpoint::DATA).command(spec, f);
        self
    }

    /// As `command`, for one whose words decide what it does (a script that says so): `flags_now` tells which of WRITE,
    /// READONLY, DENYOOM, `STALE_OK` and `MAY_REPLICATE` hold with them. By these it is refused, paused, or kept out of a
    /// MULTI. It is asked in the turn, even from inside of a long command of the same plugin: it must not wait for a lock.
    pub fn command_by_words<F>(&mut self, spec: CommandSpec, flags_now: FlagsNow<P>, f: F) -> &mut Self
    where
        F: Fn(&P, &mut Ctx<'_>, Args<'_>) -> Result<Effect> + Send + Sync + 'static,
    {
        self.at(Endpoint::DATA).command_by_words(spec, flags_now, f);
        self
    }

    /// A command that is a future: the session parks until it is ready. Inside MULTI and scripts it is refused; see
    /// [`Registrar::async_command_or`]. It is polled as a task is ([`Host::spawn`]): it must not block. It is dropped where it
    /// stands when its client goes or is unblocked: what must be finished all the same belongs into a task of its own.
    pub fn async_command<F, Fut>(&mut self, spec: CommandSpec, f: F) -> &mut Self
    where
        F: Fn(Arc<P>, ClientInfo, OwnedArgs) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = Result<Reply>> + Send + 'static,
    {
        self.at(Endpoint::DATA).async_command(spec, f);
        self
    }

    /// As `async_command`, with a way to answer at once: `try_now(plugin, ctx, args, must)` returns `None` to park.
    /// Inside MULTI and scripts it alone runs, with `must`, and then has to answer with what it has.
    pub fn async_command_or<T, F, Fut>(&mut self, spec: CommandSpec, try_now: T, f: F) -> &mut Self
    where
        T: Fn(&P, &mut Ctx<'_>, Args<'_>, bool) -> Option<Result<Effect>> + Send + Sync + 'static,
        F: Fn(Arc<P>, ClientInfo, OwnedArgs) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = Result<Reply>> + Send + 'static,
    {
        self.at(Endpoint::DATA).async_command_or(spec, try_now, f);
        self
    }

    /// A command that takes the connection over: the session is a replica's from then on, until the `Conn` is dropped.
    pub fn takeover<F, Fut>(&mut self, spec: CommandSpec, f: F) -> &mut Self
    where
        F: Fn(Arc<P>, Conn, OwnedArgs) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = Result<()>> + Send + 'static,
    {
        self.at(Endpoint::DATA).takeover(spec, f);
        self
    }

    /// As `takeover`, for one that is refused now and then: `may_take` is asked in the turn, and with its error the session
    /// stays a client's.
    pub fn takeover_if<F, Fut>(&mut self, spec: CommandSpec, may_take: MayTake<P>, f: F) -> &mut Self
    where
        F: Fn(Arc<P>, Conn, OwnedArgs) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = Result<()>> + Send + 'static,
    {
        self.at(Endpoint::DATA).takeover_if(spec, may_take, f);
        self
    }

    /// A section of INFO, of its own or in place of the core's of that name. Runs in the turn: reads published snapshots, takes no lock.
    pub fn info<F>(&mut self, section: &str, f: F) -> &mut Self
    where
        F: Fn(&P, &mut InfoOut<'_>) + Send + Sync + 'static,
    {
        self.at(Endpoint::DATA).info(section, f);
        self
    }

    /// As `info`, but the fields go behind those of the core's section of that name.
    pub fn info_append<F>(&mut self, section: &str, f: F) -> &mut Self
    where
        F: Fn(&P, &mut InfoOut<'_>) + Send + Sync + 'static,
    {
        self.at(Endpoint::DATA).info_append(section, f);
        self
    }

    /// A CONFIG parameter.
    pub fn config_param<G, S>(&mut self, param: Param, get: G, set: S) -> &mut Self
    where
        G: Fn(&P) -> String + Send + Sync + 'static,
        S: Fn(&P, &str) -> Result<()> + Send + Sync + 'static,
    {
        self.at(Endpoint::DATA).config_param(param, get, set);
        self
    }

    /// A hook in the turn for every effect that is propagated. Slow hooks slow everybody; a cursor is the better way.
    pub fn on_write<F>(&mut self, f: F) -> &mut Self
    where
        F: Fn(&P, &WriteEvent<'_>) + Send + Sync + 'static,
    {
        let data = self.keep(hooks::Write { slot: self.slot.clone(), f });
        // SAFETY: `data` fits the function and lives as long as the instance.
        let status = unsafe { (self.api().on_write)(self.raw.data, hooks::on_write::<P, F>, data) };
        self.note("the write hook", status);
        self
    }

    /// A hook for sessions of the data port that begin and end.
    pub fn on_conn<F>(&mut self, f: F) -> &mut Self
    where
        F: Fn(&P, ConnEvent<'_>) + Send + Sync + 'static,
    {
        self.at(Endpoint::DATA).on_conn(f);
        self
    }

    /// A service it provides.
    pub fn provide<S, F, Fut>(&mut self, f: F) -> &mut Self
    where
        S: Service,
        F: Fn(Arc<P>, S::Request) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = Result<S::Answer>> + Send + 'static,
    {
        let data = self.keep(hooks::Serve::<P, S, F>::new(self.slot.clone(), f));
        let spec = abi::ServiceSpec {
            size: size_of::<abi::ServiceSpec>() as u32,
            major: S::MAJOR,
            minor: S::MINOR,
            reserved: 0,
            name: Str::new(S::NAME.as_bytes()),
            data,
            call: Some(hooks::serve::<P, S, F, Fut>),
        };
        // SAFETY: the spec lives for the call; `data` as long as the instance.
        let status = unsafe { (self.api().provide)(self.raw.data, &spec) };
        self.note(S::NAME, status);
        self
    }

    /// A service it needs: the core starts the provider first and refuses to start without one.
    pub fn require<S: Service>(&mut self) -> Needed<S> {
        self.need::<S>(false)
    }

    /// A service it uses if one is there.
    pub fn optional<S: Service>(&mut self) -> Needed<S> {
        self.need::<S>(true)
    }

    fn need<S: Service>(&mut self, optional: bool) -> Needed<S> {
        let spec = abi::NeedSpec {
            size: size_of::<abi::NeedSpec>() as u32,
            major: S::MAJOR,
            min_minor: S::MINOR,
            optional: u32::from(optional),
            name: Str::new(S::NAME.as_bytes()),
        };
        // SAFETY: the spec lives for the call.
        let status = unsafe { (self.api().need)(self.raw.data, &spec) };
        self.note(S::NAME, status);
        Needed::new(self.host)
    }

    /// A port of its own. Declare its commands with [`Registrar::at`]; reach its engine with [`Host::at`].
    pub fn endpoint(&mut self, spec: &EndpointSpec) -> Endpoint {
        let bind = spec.bind.join("\n");
        let raw = abi::EndpointSpec {
            size: size_of::<abi::EndpointSpec>() as u32,
            port: u32::from(spec.port),
            name: Str::new(spec.name.as_bytes()),
            bind: Str::new(bind.as_bytes()),
            run_id: Str::new(spec.run_id.as_bytes()),
            password: Str::new(spec.password.as_deref().unwrap_or_default().as_bytes()),
            tls_port: u32::from(spec.tls_port),
            reserved: 0,
        };
        let mut number = 0;
        // SAFETY: the spec lives for the call.
        let status = unsafe { (self.api().endpoint)(self.raw.data, &raw, &mut number) };
        self.note(&spec.name, status);
        Endpoint::numbered(number)
    }

    /// A part of the data set that isn't keys. `save` gives its records as they stand in an RDB file, each beginning with
    /// `opcode`, which must be 245, that of functions: readers of such files know no other. One plugin has it. `load` puts records in the place of what is there (none: nothing is left). Both run inside a turn. A panic in
    /// `save` fails the snapshot.
    pub fn section<S, L>(&mut self, opcode: u8, save: S, load: L) -> &mut Self
    where
        S: Fn(&P) -> Vec<u8> + Send + Sync + 'static,
        L: Fn(&P, &[u8]) -> Result<()> + Send + Sync + 'static,
    {
        let data = self.keep(hooks::Section { slot: self.slot.clone(), save, load });
        let spec = abi::SectionSpec {
            size: size_of::<abi::SectionSpec>() as u32,
            opcode: u32::from(opcode),
            data,
            save: Some(hooks::section_save::<P, S, L>),
            load: Some(hooks::section_load::<P, S, L>),
        };
        // SAFETY: the spec lives for the call; `data` as long as the instance.
        let status = unsafe { (self.api().section)(self.raw.data, &spec) };
        self.note("the section", status);
        self
    }

    /// What a fault of this plugin means for the server.
    pub fn on_fault(&mut self, policy: FaultPolicy) -> &mut Self {
        let raw = match policy {
            FaultPolicy::Continue => abi::FAULT_CONTINUE,
            FaultPolicy::StopWrites => abi::FAULT_STOP_WRITES,
            FaultPolicy::Exit => abi::FAULT_EXIT,
        };
        // SAFETY: plain call.
        let status = unsafe { (self.api().on_fault)(self.raw.data, raw) };
        self.note("the fault policy", status);
        self
    }
}

/// Declarations for one endpoint; the methods are those of [`Registrar`].
pub struct Scope<'r, P> {
    reg: &'r mut Registrar<P>,
    endpoint: Endpoint,
}

impl<P: Plugin> Scope<'_, P> {
    /// See [`Registrar::command`].
    pub fn command<F>(&mut self, spec: CommandSpec, f: F) -> &mut Self
    where
        F: Fn(&P, &mut Ctx<'_>, Args<'_>) -> Result<Effect> + Send + Sync + 'static,
    {
        self.in_turn(&spec, f, None)
    }

    /// See [`Registrar::command_by_words`].
    pub fn command_by_words<F>(&mut self, spec: CommandSpec, flags_now: FlagsNow<P>, f: F) -> &mut Self
    where
        F: Fn(&P, &mut Ctx<'_>, Args<'_>) -> Result<Effect> + Send + Sync + 'static,
    {
        self.in_turn(&spec, f, Some(flags_now))
    }

    fn in_turn<F>(&mut self, spec: &CommandSpec, f: F, flags_now: Option<FlagsNow<P>>) -> &mut Self
    where
        F: Fn(&P, &mut Ctx<'_>, Args<'_>) -> Result<Effect> + Send + Sync + 'static,
    {
        let slot = self.reg.slot.clone();
        let data = self.reg.keep(handlers::Sync { slot, f, get_keys: spec.get_keys, flags_now });
        self.declare(spec, data, |raw| {
            raw.call = Some(handlers::call::<P, F>);
            raw.get_keys = spec.get_keys.map(|_| handlers::sync_keys::<P, F> as _);
            raw.flags_now = flags_now.map(|_| handlers::flags_now::<P, F> as _);
        })
    }

    /// See [`Registrar::async_command`].
    pub fn async_command<F, Fut>(&mut self, spec: CommandSpec, f: F) -> &mut Self
    where
        F: Fn(Arc<P>, ClientInfo, OwnedArgs) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = Result<Reply>> + Send + 'static,
    {
        let text = format!("ERR Command '{}' not allowed inside a transaction", spec.name.to_lowercase());
        let refuse =
            move |_: &P, _: &mut Ctx<'_>, _: Args<'_>, must: bool| must.then(|| Err(Error::reply(text.clone())));
        self.async_command_or(spec, refuse, f)
    }

    /// See [`Registrar::async_command_or`].
    pub fn async_command_or<T, F, Fut>(&mut self, spec: CommandSpec, try_now: T, f: F) -> &mut Self
    where
        T: Fn(&P, &mut Ctx<'_>, Args<'_>, bool) -> Option<Result<Effect>> + Send + Sync + 'static,
        F: Fn(Arc<P>, ClientInfo, OwnedArgs) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = Result<Reply>> + Send + 'static,
    {
        let data = self.reg.keep(handlers::Async { slot: self.reg.slot.clone(), try_now, f });
        self.declare(&spec, data, |raw| {
            raw.start = Some(handlers::start::<P, T, F, Fut>);
            raw.try_now = Some(handlers::try_now::<P, T, F>);
        })
    }

    /// See [`Registrar::takeover`].
    pub fn takeover<F, Fut>(&mut self, spec: CommandSpec, f: F) -> &mut Self
    where
        F: Fn(Arc<P>, Conn, OwnedArgs) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = Result<()>> + Send + 'static,
    {
        let data = self.reg.keep(handlers::Takeover { slot: self.reg.slot.clone(), f, may_take: None });
        self.declare(&spec, data, |raw| raw.takeover = Some(handlers::takeover::<P, F, Fut>))
    }

    /// See [`Registrar::takeover_if`].
    pub fn takeover_if<F, Fut>(&mut self, spec: CommandSpec, may_take: MayTake<P>, f: F) -> &mut Self
    where
        F: Fn(Arc<P>, Conn, OwnedArgs) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = Result<()>> + Send + 'static,
    {
        let data = self.reg.keep(handlers::Takeover { slot: self.reg.slot.clone(), f, may_take: Some(may_take) });
        self.declare(&spec, data, |raw| {
            raw.takeover = Some(handlers::takeover::<P, F, Fut>);
            raw.try_now = Some(handlers::may_take::<P, F>);
        })
    }

    fn declare(&mut self, spec: &CommandSpec, data: *mut c_void, set: impl FnOnce(&mut abi::CommandSpec)) -> &mut Self {
        let mut raw = abi::CommandSpec {
            size: size_of::<abi::CommandSpec>() as u32,
            arity: spec.arity,
            flags: spec.flags.0,
            acl: spec.acl.0,
            endpoint: self.endpoint.number(),
            first_key: spec.keys.0,
            last_key: spec.keys.1,
            key_step: spec.keys.2,
            name: Str::new(spec.name.as_bytes()),
            summary: Str::new(spec.summary.as_bytes()),
            since: Str::new(spec.since.as_bytes()),
            group: Str::new(spec.group.as_bytes()),
            data,
            call: None,
            start: None,
            try_now: None,
            takeover: None,
            get_keys: None,
            reads_only: None,
            page: Str::new(if spec.page.is_empty() { self.reg.page(&spec.name) } else { &spec.page }.as_bytes()),
            flags_now: None,
        };
        set(&mut raw);
        // SAFETY: the spec lives for the call; `data` fits the functions and lives as long as the instance.
        let status = unsafe { (self.reg.api().command)(self.reg.raw.data, &raw) };
        self.reg.note(&spec.name, status);
        self
    }

    /// See [`Registrar::info`].
    pub fn info<F>(&mut self, section: &str, f: F) -> &mut Self
    where
        F: Fn(&P, &mut InfoOut<'_>) + Send + Sync + 'static,
    {
        self.section(section, false, f)
    }

    /// See [`Registrar::info_append`].
    pub fn info_append<F>(&mut self, section: &str, f: F) -> &mut Self
    where
        F: Fn(&P, &mut InfoOut<'_>) + Send + Sync + 'static,
    {
        self.section(section, true, f)
    }

    fn section<F>(&mut self, section: &str, append: bool, f: F) -> &mut Self
    where
        F: Fn(&P, &mut InfoOut<'_>) + Send + Sync + 'static,
    {
        let data = self.reg.keep(hooks::Info { slot: self.reg.slot.clone(), f });
        let spec = abi::InfoSpec {
            size: size_of::<abi::InfoSpec>() as u32,
            endpoint: self.endpoint.number(),
            append: u32::from(append),
            reserved: 0,
            section: Str::new(section.as_bytes()),
            data,
            render: Some(hooks::info::<P, F>),
        };
        // SAFETY: as in `declare`.
        let status = unsafe { (self.reg.api().info)(self.reg.raw.data, &spec) };
        self.reg.note(section, status);
        self
    }

    /// See [`Registrar::config_param`].
    pub fn config_param<G, S>(&mut self, param: Param, get: G, set: S) -> &mut Self
    where
        G: Fn(&P) -> String + Send + Sync + 'static,
        S: Fn(&P, &str) -> Result<()> + Send + Sync + 'static,
    {
        let data = self.reg.keep(hooks::Parameter { slot: self.reg.slot.clone(), get, set });
        let immutable = if param.immutable { abi::PARAM_IMMUTABLE } else { 0 };
        let secret = if param.secret { abi::PARAM_SECRET } else { 0 };
        let spec = abi::ParamSpec {
            size: size_of::<abi::ParamSpec>() as u32,
            flags: immutable | secret,
            endpoint: self.endpoint.number(),
            reserved: 0,
            name: Str::new(param.name.as_bytes()),
            alias: Str::new(param.alias.as_bytes()),
            default_value: Str::new(param.default.as_bytes()),
            data,
            get: Some(hooks::param_get::<P, G, S>),
            set: Some(hooks::param_set::<P, G, S>),
        };
        // SAFETY: as in `declare`.
        let status = unsafe { (self.reg.api().param)(self.reg.raw.data, &spec) };
        self.reg.note(&param.name, status);
        self
    }

    /// See [`Registrar::on_conn`].
    pub fn on_conn<F>(&mut self, f: F) -> &mut Self
    where
        F: Fn(&P, ConnEvent<'_>) + Send + Sync + 'static,
    {
        let data = self.reg.keep(hooks::Connection { slot: self.reg.slot.clone(), f });
        // SAFETY: as in `declare`.
        let status = unsafe {
            (self.reg.api().on_conn)(self.reg.raw.data, self.endpoint.number(), hooks::on_conn::<P, F>, data)
        };
        self.reg.note("the connection hook", status);
        self
    }
}
