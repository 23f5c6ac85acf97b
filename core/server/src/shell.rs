//! The server as plugins see it, through the host: facts of the process, ports of their own, the overlay, the end.

use crate::config::load::could_be_an_address;
use crate::config::sections::Setting;
use crate::config::{ConfigError, NoStart, Settings};
use crate::descriptors::{ClientLimit, Descriptors, Handshakes};
use crate::dir::Dir;
use crate::host::{EndpointSpec, ServerShell};
use crate::logging::LevelParam;
use crate::manager::Manager;
use crate::net::listen::ListenSpec;
use crate::net::service::{mono_us, now, unix_us};
use crate::net::{Keepalive, Order, Places, Port, Service};
use crate::settle::Basis;
use crate::tls::{Switch, Values};
use crate::{alloc, instance, probe, settle};
use async_channel::Sender;
use keystead_engine::effect::Origin;
use keystead_engine::foreign::ForeignConfig;
use keystead_engine::pause::{Pause, Pauser};
use keystead_engine::resp::Proto;
use keystead_engine::{Engine, EngineMode, EngineOptions, Gate};
use parking_lot::Mutex;
use std::path::PathBuf;
use std::sync::Arc;

/// All ports of an instance and what they share.
pub(crate) struct Shell {
    settings: Arc<Settings>,
    orders: Sender<Order>,
    dir: Arc<Dir>,
    manager: Arc<Manager>,
    /// `keystead check`: nothing is bound.
    rehearsal: bool,
    basis: Basis,
    descriptors: Arc<Descriptors>,
    ports: Mutex<Ports>,
}

/// The ports so far.
#[derive(Default)]
struct Ports {
    all: Vec<Arc<Port>>,
    /// Clients are accepted: a port that comes later is opened at once.
    open: bool,
    /// The engine with the keys has no listeners.
    closed: bool,
    /// What a rehearsal would have bound: addresses and port.
    claimed: Vec<(Vec<String>, u16)>,
    /// Somebody can connect somewhere.
    reachable: bool,
    /// TLS of the engine with the keys.
    tls: Option<Arc<Switch>>,
    /// What was warned of, each once.
    warnings: Vec<String>,
}

/// Whose pause it is while an end is asked for: no plugin can be called so.
const ENDING: &str = "(shutdown)";

impl Ports {
    /// Notes what an engine would bind, or says that another one would have it already.
    fn claim(&mut self, name: &str, listen: &ListenSpec) -> Result<(), String> {
        for port in [listen.port, listen.tls_port].into_iter().filter(|port| *port != 0) {
            let shares =
                |(bind, other): &(Vec<String>, u16)| *other == port && bind.iter().any(|b| listen.bind.contains(b));
            if self.claimed.iter().any(shares) {
                let who = if name.is_empty() { "the data server" } else { name };
                return Err(format!("port {port} is given twice, the second time to {who}"));
            }
            self.claimed.push((listen.bind.clone(), port));
        }
        Ok(())
    }
}

impl Shell {
    /// A server without ports.
    pub(crate) fn new(settings: Arc<Settings>, orders: Sender<Order>, manager: Arc<Manager>) -> Arc<Shell> {
        Arc::new(Shell::with(settings, orders, manager, false))
    }

    /// The same for `keystead check`: it binds nothing.
    pub(crate) fn rehearsal(settings: Arc<Settings>, orders: Sender<Order>) -> Arc<Shell> {
        Arc::new(Shell::with(settings, orders, Arc::default(), true))
    }

    fn with(settings: Arc<Settings>, orders: Sender<Order>, manager: Arc<Manager>, rehearsal: bool) -> Shell {
        let dir = Arc::new(Dir::new(settings.dir.clone()));
        let (basis, descriptors, ports) = (Basis::default(), Arc::default(), Mutex::default());
        Shell { settings, orders, dir, manager, rehearsal, basis, descriptors, ports }
    }

    /// Makes the engine with the keys and binds its port; `closed` leaves it without listeners.
    pub(crate) fn open_data(&self, closed: bool) -> Result<Arc<Service>, NoStart> {
        let options = EngineOptions {
            mode: EngineMode::Data,
            databases: self.settings.server.databases as usize,
            seeds: instance::seeds()?,
            run_id: String::new(),
            now: now(),
            clock: Some(mono_us),
            wall_clock: Some(unix_us),
            used_memory: Some(alloc::used_memory),
            purge: Some(probe::purge),
        };
        keystead_engine::keyspace::hash::seed_places(instance::seeds()?[0]);
        let mut engine = Engine::new(options);
        settle::apply_settings(&mut engine, &self.settings)?;
        let listen = if closed { ListenSpec::none() } else { self.data_listeners() };
        self.ports.lock().closed = closed;
        self.add("", engine, &listen)
    }

    fn data_listeners(&self) -> ListenSpec {
        let server = &self.settings.server;
        // Without a mode, the socket is as narrow as the process' umask leaves it.
        let mode = server.unixsocketperm.as_deref().and_then(|text| u32::from_str_radix(text, 8).ok());
        let mode = mode.filter(|mode| *mode != 0);
        let path = server.unixsocket.as_deref().filter(|path| !path.is_empty());
        // What CONFIG REWRITE kept is where it listens from the start: the file's port may be somebody else's by now.
        let kept = |name: &str| self.settings.overlay.params.get(name);
        let bind = kept("bind").map(|text| text.split_whitespace().map(str::to_owned).collect());
        let port = kept("port").and_then(|text| text.parse().ok());
        ListenSpec {
            bind: bind.unwrap_or_else(|| server.bind.clone()),
            port: port.unwrap_or(server.port),
            tls_port: self.settings.tls.port,
            backlog: server.tcp_backlog,
            unix: path.map(|path| (self.settings.dir.join(path), mode)),
        }
    }

    fn add(&self, name: &str, mut engine: Engine, listen: &ListenSpec) -> Result<Arc<Service>, NoStart> {
        engine.set_probe(probe::memory, probe::processor);
        engine.set_fact("os", probe::system());
        engine.set_fact("mem_allocator", "mimalloc");
        engine.set_fact("process_supervised", self.manager.word());
        for fact in ["executable", "config_file"] {
            engine.set_fact(fact, self.setting(fact).unwrap_or_default());
        }
        engine.register_config("keystead", "dir", None, self.dir.clone())?;
        let switch = self.switch(name, &mut engine)?;
        engine.core.config.add_group(switch.clone());
        engine.core.config.add_group(Arc::new(LevelParam));
        engine
            .core
            .config
            .add_group(Arc::new(ClientLimit { descriptors: self.descriptors.clone(), port: name.into() }));
        let keepalive = Keepalive::new(self.settings.limits.tcp_keepalive);
        engine.core.config.add_group(Arc::new(keepalive.clone()));
        let handshakes = Handshakes::of_port(&self.descriptors, listen.tls_port != 0);
        self.share_clients(name, &mut engine)?;
        let places = Arc::new(Places::default());
        if name.is_empty() {
            engine.core.config.add_group(places.clone());
        }
        let service = Service::new(name, engine, self.orders.clone(), switch.context());
        let nothing = ListenSpec::none();
        self.ports.lock().reachable |= listen.reachable();
        let listen = if self.rehearsal {
            self.ports.lock().claim(name, listen)?;
            &nothing
        } else {
            listen
        };
        let port = Arc::new(Port::bind(service.clone(), listen, keepalive, handshakes)?);
        if !self.rehearsal {
            switch.moves(&port);
            places.moves(&port);
        }
        let mut ports = self.ports.lock();
        if ports.open {
            port.open()?;
        }
        ports.all.push(port);
        Ok(service)
    }

    /// Gives an engine as many clients as it asks for, or as there are descriptors for, be it at the cost of the data port.
    fn share_clients(&self, name: &str, engine: &mut Engine) -> Result<(), String> {
        let asked = engine.core.config.live.maxclients as u64;
        if name.is_empty() {
            let closed = self.ports.lock().closed;
            return if closed { Ok(()) } else { set_clients(engine, self.descriptors.for_data(asked)?) };
        }
        let granted = self.descriptors.for_endpoint(name, asked)?;
        if let (Some(left), Some(data)) = (granted.data, self.services().first()) {
            data.turn(|data| set_clients(data, left))?;
            log::warn!(
                "maxclients has been reduced to {left}, beside {} of the {name}'s port, to compensate for low ulimit.",
                granted.clients
            );
        }
        set_clients(engine, granted.clients)
    }

    /// TLS of an engine as its parameters say, or as those of the engine with the keys do.
    fn switch(&self, name: &str, engine: &mut Engine) -> Result<Arc<Switch>, NoStart> {
        let mut ports = self.ports.lock();
        let leader = ports.tls.clone().filter(|_| !name.is_empty() && !ports.closed);
        let switch = Arc::new(match leader {
            Some(data) => data.beside(engine)?,
            None => Switch::alone(engine),
        });
        if name.is_empty() {
            ports.tls = Some(switch.clone());
        }
        let values = Values::read(&|name| engine.core.config.get(name).unwrap_or_default());
        let started = switch.start(&values);
        let warnings = started.map_err(|why| {
            let path = tls_setting(&self.settings, &why);
            self.settings.source.blame(path, format!("{path}: {why}"), None)
        })?;
        for line in warnings {
            if !ports.warnings.contains(&line) {
                log::warn!("{line}");
                ports.warnings.push(line);
            }
        }
        Ok(switch)
    }

    /// What files of the configuration were warned of when the ports were made.
    pub(crate) fn warnings(&self) -> Vec<String> {
        self.ports.lock().warnings.clone()
    }

    /// An instance that nobody can reach is a mistake: an error in Redis' words.
    pub(crate) fn check_reachable(&self) -> Result<(), ConfigError> {
        if self.ports.lock().reachable {
            return Ok(());
        }
        let at = if self.settings.server.port == 0 { "server.port" } else { "server.bind" };
        Err(self.settings.source.blame(at, "Configured to not listen anywhere, exiting.".into(), None))
    }

    /// Ports that take commands from anybody, though the data port wants a password.
    pub(crate) fn open_doors(&self) -> Vec<String> {
        let services = self.services();
        let Some((data, endpoints)) = services.split_first() else { return Vec::new() };
        let open = |service: &Arc<Service>| service.turn(|engine| engine.core.acl.open());
        // Not in one expression with the turn, through which it would be held.
        let closed = self.ports.lock().closed;
        if closed || open(data) {
            return Vec::new();
        }
        let told = |service: &Arc<Service>| {
            let of = |name| service.turn(|engine| engine.core.config.get(name)).filter(|port| port != "0");
            let (name, port) = (service.name(), of("port").or_else(|| of("tls-port")).unwrap_or_default());
            format!(
                "The {name}'s port {port} has no password while the data port has one: whoever reaches it can command it"
            )
        };
        endpoints.iter().filter(|service| open(service)).map(told).collect()
    }

    /// A password in the configuration for which nobody is asked, as in Redis, without a word there: users in a file of their
    /// own count, and among them may be no default one.
    pub(crate) fn idle_password(&self) -> Option<String> {
        self.settings.server.requirepass.as_ref().filter(|password| !password.is_empty())?;
        let (services, closed) = (self.services(), self.ports.lock().closed);
        let open = !closed && services.first()?.turn(|engine| engine.core.acl.open());
        let why = "the users of server.aclfile, or what CONFIG REWRITE kept, say otherwise";
        open.then(|| format!("server.requirepass is set, and nobody is asked for a password: {why}"))
    }

    /// Starts to accept clients on all ports.
    pub(crate) fn open_ports(&self) -> Result<(), String> {
        let mut ports = self.ports.lock();
        ports.open = true;
        ports.all.iter().try_for_each(|port| port.open())
    }

    /// Starts to accept clients on the data port, before the plugins have started: they are told that it is loading.
    pub(crate) fn open_data_port(&self) -> Result<(), String> {
        self.ports.lock().all.first().map_or(Ok(()), |port| port.open())
    }

    /// Says that the plugins are starting, or that they have: a gate of the engine with the keys.
    pub(crate) fn set_starting(&self, starting: bool) {
        if let Some(data) = self.services().first() {
            data.turn(|engine| engine.gates().set(Gate::Starting, starting));
        }
    }

    /// Stops accepting on all ports.
    pub(crate) async fn close_ports(&self) {
        let all = self.ports.lock().all.clone();
        for port in all {
            port.close().await;
        }
    }

    /// The end was asked for, or is off: clients' writes wait on the engine with the keys, so that replicas and files can
    /// catch up with what was.
    pub(crate) fn set_ending(&self, ending: bool) {
        for service in self.services() {
            service.turn(|engine| {
                engine.core.shutting_down = ending;
                engine.pause(Pauser::Server(ENDING), if ending { Pause::Write } else { Pause::Off }, u64::MAX);
            });
        }
    }

    /// What CONFIG REWRITE goes by.
    pub(crate) fn basis(&self) -> &Basis {
        &self.basis
    }

    /// Whom to tell of the start and the end.
    pub(crate) fn manager(&self) -> &Manager {
        &self.manager
    }

    /// How much of the data is loaded, in percent as INFO has it; none while nothing is loaded.
    pub(crate) fn loaded_percent(&self) -> Option<String> {
        let data = self.services().into_iter().next()?;
        let info = data.turn(|engine| engine.exec(0, &[b"INFO", b"persistence"], Origin::Internal, Proto::Resp2));
        let info = String::from_utf8_lossy(&info);
        info.lines().find_map(|line| line.strip_prefix("loading_loaded_perc:")).map(str::to_owned)
    }

    /// All engines, the one with the keys first.
    pub(crate) fn services(&self) -> Vec<Arc<Service>> {
        self.ports.lock().all.iter().map(|port| port.service().clone()).collect()
    }

    /// What the instance listens on, for the log: one text a port.
    pub(crate) fn listening(&self) -> Vec<String> {
        self.ports.lock().all.iter().flat_map(|port| port.listening().to_vec()).collect()
    }
}

impl ServerShell for Shell {
    fn setting(&self, name: &str) -> Option<String> {
        let settings = &self.settings;
        match name {
            "dir" => Some(self.dir.get()),
            "config_file" => settings.file.as_ref().map(|file| file.display().to_string()),
            "executable" => std::env::current_exe().ok().map(|exe| exe.display().to_string()),
            "version" => Some(env!("CARGO_PKG_VERSION").to_owned()),
            "port" => self.data_port().map(|port| port.plain().1.to_string()),
            "bind" => self.data_port().map(|port| port.plain().0.join(" ")),
            "serves_data" => Some(if self.ports.lock().closed { "no" } else { "yes" }.to_owned()),
            "command_line" => Some(settings.command_line.join("\n")),
            _ => settings.settings().into_iter().find(|s| s.redis == Some(name)).map(|s| s.value),
        }
    }

    fn open_endpoint(&self, spec: &EndpointSpec) -> Result<Arc<Service>, String> {
        let server = &self.settings.server;
        if spec.port != 0 && spec.port == server.port && !self.ports.lock().closed {
            return Err(format!("'{}' can't share port {} with the data server", spec.name, spec.port));
        }
        let bind = if spec.bind.is_empty() { server.bind.clone() } else { spec.bind.clone() };
        if let Some(address) = bind.iter().find(|address| !could_be_an_address(address)) {
            return Err(format!("bind: '{address}' is no address"));
        }
        let options = EngineOptions {
            mode: EngineMode::Endpoint { name: spec.name.clone(), beside_data: !self.ports.lock().closed },
            databases: 1,
            seeds: instance::seeds()?,
            run_id: spec.run_id.clone(),
            now: now(),
            clock: Some(mono_us),
            wall_clock: Some(unix_us),
            used_memory: Some(alloc::used_memory),
            purge: Some(probe::purge),
        };
        let mut engine = Engine::new(options);
        settle::apply_settings(&mut engine, &self.settings).map_err(|error| error.to_string())?;
        let own = [
            ("port", spec.port.to_string()),
            ("tls-port", spec.tls_port.to_string()),
            ("bind", bind.join(" ")),
            ("requirepass", spec.password.clone()),
            ("unixsocket", String::new()),
        ];
        for (name, value) in &own {
            let set = engine.core.config.init(name, value);
            set.map_err(|e| format!("'{}': {name} '{value}' is refused: {e:?}", spec.name))?;
        }
        engine.apply_config();
        let listen =
            ListenSpec { bind, port: spec.port, tls_port: spec.tls_port, backlog: server.tcp_backlog, unix: None };
        self.add(&spec.name, engine, &listen).map_err(|reason| reason.brief())
    }

    fn close_endpoint(&self, name: &str) {
        let port = self.ports.lock().all.iter().find(|port| port.service().name() == name).cloned();
        let Some(port) = port else { return };
        async_std::task::spawn(async move {
            port.close().await;
            port.service().turn(|engine| engine.kill_clients(|_| true));
        });
    }

    fn rewrite_config(&self) -> Result<(), String> {
        self.basis.write_overlay(&self.services(), &self.settings)
    }

    fn shutdown(&self, clean: bool) {
        // The channel is unbounded and closed only when the instance ends.
        let _ = self.orders.try_send(Order::Exit { clean });
    }

    fn state_dir(&self) -> PathBuf {
        self.settings.dir.clone()
    }
}

impl Shell {
    /// The port of the engine with the keys, once it is bound.
    fn data_port(&self) -> Option<Arc<Port>> {
        self.ports.lock().all.first().cloned()
    }
}

/// The setting of TLS that a reason is about: it names it, or what it says.
fn tls_setting(settings: &Settings, why: &str) -> &'static str {
    let named = |row: &Setting| row.redis.is_some_and(|name| why.contains(name));
    // Shorter values are words that any reason may have: yes, no.
    let said = |row: &Setting| row.value.len() > 3 && why.contains(&row.value);
    let rows = settings.tls.settings();
    rows.iter().find(|row| said(row)).or_else(|| rows.iter().find(|row| named(row))).map_or("tls", |row| row.path)
}

/// `maxclients` as if the file said so.
fn set_clients(engine: &mut Engine, clients: u64) -> Result<(), String> {
    let set = engine.core.config.init("maxclients", &clients.to_string());
    set.map_err(|error| format!("maxclients {clients} is refused: {error:?}"))
}
