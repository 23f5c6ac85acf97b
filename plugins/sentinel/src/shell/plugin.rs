//! The plugin: its own port, its commands there, what other threads may see of it.
//! Commands that need the machine are queued for the driver; INFO and ROLE look at it between two of its steps.

use super::driver::{Driver, INBOX, Input, look_up};
use super::folder::Folder;
use crate::accord;
use crate::actions::{Event, Strategies as StrategyNames};
use crate::commands::SUBCOMMANDS;
use crate::config::{Config, DOCS, executable};
use crate::globals::Options;
use crate::machine::{Boot, Sentinel};
use crate::names::plausible;
use crate::query;
use crate::spread::scripts_in;
use crate::types::{Addr, Mono};
use crate::wire::{HELLO_CHANNEL, Reply as Answer};
use futures::SinkExt;
use futures::channel::{mpsc, oneshot};
use keystead_plugin::prelude::*;
use keystead_plugin::services::{ElectionService, SelectionService};
use keystead_plugin::{EndpointSpec, Named, Needed, Proto, ShutdownKind, StopReason};
use parking_lot::Mutex;
use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::net::IpAddr;
use std::sync::atomic::{AtomicBool, Ordering};

/// A password or path with other bytes in it would be kept as another one.
const NOT_TEXT: &str = "SENTINEL takes UTF-8 only";

/// The machine, for INFO and ROLE to look at; nothing before the start.
pub(crate) type Shown = Arc<Mutex<Option<Arc<Mutex<Sentinel>>>>>;

/// The strategies of other plugins.
#[derive(Clone, Copy)]
pub(crate) struct Strategies {
    pub(crate) election: Needed<ElectionService>,
    pub(crate) selection: Needed<SelectionService>,
}

impl Strategies {
    /// Their names behind those of the built-in ones. Known when every plugin has declared what it provides.
    fn names(&self) -> StrategyNames {
        let mut names = StrategyNames::default();
        names.election.extend(self.election.providers());
        names.selection.extend(self.selection.providers());
        names
    }
}

/// The sentinel.
pub struct SentinelPlugin {
    host: Host,
    endpoint: Endpoint,
    inbox: mpsc::Sender<Input>,
    starting: Mutex<Option<(mpsc::Receiver<Input>, Boot)>>,
    shown: Shown,
    folder: Folder,
    /// While it lives, no other sentinel starts in this folder.
    lock: Mutex<Option<File>>,
    /// There is no other plugin in this process.
    alone: AtomicBool,
    strategies: Strategies,
    deny_scripts_reconfig: bool,
}

impl Plugin for SentinelPlugin {
    const NAME: &'static str = "sentinel";
    const ENDPOINT_ONLY: bool = true;
    const CONFIG_DOCS: &'static [(&'static str, &'static str)] = DOCS;
    type Config = Config;

    fn check(config: &Config) -> Result<()> {
        config.check().map_err(Error::new)
    }

    fn needs(config: &Config) -> Vec<Named> {
        let needs = config.needs().into_iter();
        needs.map(|(service, plugin, place)| Named { service: service.into(), plugin, place }).collect()
    }

    fn init(host: Host, config: Config, reg: &mut Registrar<Self>) -> Result<Self> {
        config.check().map_err(Error::new)?;
        let (folder, saved) = Folder::open(&host)?;
        let id = saved.as_ref().map_or_else(|| random_id(&host), |state| state.id.clone());
        let endpoint = reg.endpoint(&EndpointSpec {
            name: "sentinel".into(),
            bind: config.bind.clone(),
            port: config.port,
            tls_port: config.tls_port,
            run_id: id.clone(),
            password: config.password.clone(),
        });
        Self::declare(reg, endpoint);
        let strategies =
            Strategies { election: reg.optional::<ElectionService>(), selection: reg.optional::<SelectionService>() };
        let (hello_key, hello_key_old) = config.hello_keys().map_err(Error::new)?;
        let mut seed = [0; 8];
        host.random(&mut seed);
        let boot = Boot {
            now: Mono(host.now().as_millis() as u64),
            id,
            announce: Addr::new(
                config.announce_ip.clone().unwrap_or_default(),
                config.announce_port.unwrap_or_else(|| host.at(endpoint).link_port()),
            ),
            announce_fixed: config.announce_ip.is_some(),
            watches: config.watches(),
            saved,
            seed: u64::from_le_bytes(seed),
            options: Options {
                resolve_hostnames: config.resolve_hostnames,
                announce_hostnames: config.announce_hostnames,
                sentinel_user: config.sentinel_user.clone(),
                sentinel_pass: config.sentinel_pass.clone(),
                hello_key,
                hello_key_old,
                deny_scripts_reconfig: config.deny_scripts_reconfig,
                loglevel: host.setting("loglevel").unwrap_or_else(|| "notice".into()),
                beside_data: host.setting("serves_data").is_some_and(|word| word == "yes"),
                port: config.port,
                announce_port: config.announce_port.unwrap_or(0),
                names: BTreeMap::new(),
            },
            strategies: StrategyNames::default(),
        };
        let (inbox, waiting) = mpsc::channel(INBOX);
        Ok(SentinelPlugin {
            host,
            endpoint,
            inbox,
            starting: Mutex::new(Some((waiting, boot))),
            shown: Arc::default(),
            folder,
            lock: Mutex::new(None),
            alone: AtomicBool::new(false),
            strategies,
            deny_scripts_reconfig: config.deny_scripts_reconfig,
        })
    }

    async fn start(self: Arc<Self>) -> Result<()> {
        let Some((inbox, mut boot)) = self.starting.lock().take() else { return Err("started twice".into()) };
        let (me, host) = (self.clone(), self.host);
        let lock = self.host.blocking(move || me.folder.take(&host)).await??;
        *self.lock.lock() = lock;
        let plugins = self.host.exec(0, &["PLUGIN", "LIST"], keystead_plugin::Origin::Client).await?;
        let alone = matches!(plugins, Reply::Array(all) if all.len() == 1);
        self.alone.store(alone, Ordering::Relaxed);
        // As in Redis: a sentinel is made to be asked from other hosts.
        let open = ["CONFIG", "SET", "protected-mode", "no"];
        self.host.at(self.endpoint).exec(0, &open, keystead_plugin::Origin::Client).await?;
        boot.options.names = resolve_all(self.host, &boot).await;
        boot.now = Mono(self.host.now().as_millis() as u64);
        boot.strategies = self.strategies.names();
        boot.check().map_err(Error::new)?;
        let driver =
            Driver::new(self.host.at(self.endpoint), boot, (self.inbox.clone(), inbox), self.strategies, &self.shown);
        self.host.spawn(driver.run());
        Ok(())
    }

    /// A process whose only work was this is to be started again: it would answer PING for ever and watch nothing. One with
    /// other plugins may serve data, and goes on without its sentinel.
    async fn stop(self: Arc<Self>, why: StopReason) -> Result<()> {
        if why == StopReason::Faulted && self.alone.load(Ordering::Relaxed) {
            self.host.shutdown(ShutdownKind::Failed);
        }
        Ok(())
    }
}

/// Since when Redis has the subcommand.
fn since(name: &str) -> &'static str {
    match name {
        "SLAVES" => "2.8.0",
        "INFO-CACHE" | "SIMULATE-FAILURE" => "3.2.0",
        "REPLICAS" => "5.0.0",
        "CONFIG" | "HELP" | "MYID" => "6.2.0",
        "DEBUG" => "7.0.0",
        _ => "2.8.4",
    }
}

impl SentinelPlugin {
    fn declare(reg: &mut Registrar<Self>, endpoint: Endpoint) {
        let open = Flags::LOADING_OK | Flags::STALE_OK;
        let publish = spec("PUBLISH", 3, Flags::PUBSUB | Flags::FAST | Flags::REPLACES | open).docs(
            "Hands a hello to this sentinel.",
            "pubsub",
            "2.0.0",
        );
        let role = spec("ROLE", 1, Flags::FAST | Flags::REPLACES | open).docs(
            "Says that this is a sentinel, and what it watches.",
            "server",
            "2.8.12",
        );
        reg.pages(include_str!("pages.txt"));
        for (name, least, most, _, what) in SUBCOMMANDS {
            // With the words SENTINEL and its own.
            let least = i32::try_from(least + 2).unwrap_or(i32::MAX);
            let arity = if *most == usize::try_from(least - 2).unwrap_or(0) { least } else { -least };
            let row = spec(&format!("SENTINEL|{name}"), arity, Flags::ADMIN | Flags::NO_SCRIPT | open);
            reg.at(endpoint).async_command(row.docs(what, "sentinel", since(name)), Self::ask);
        }
        reg.at(endpoint).info_append("server", |sentinel, out| {
            out.field(accord::FIELD, sentinel.look(accord::elections).unwrap_or_default());
        });
        // A sentinel has no replicas; tools read these of any server.
        reg.at(endpoint).info_append("stats", |_, out| {
            out.field("sync_full", 0).field("sync_partial_ok", 0).field("sync_partial_err", 0);
        });
        reg.at(endpoint).async_command(publish, Self::publish).command(role, Self::role).info(
            "sentinel",
            |sentinel, out| {
                for (name, value) in sentinel.look(query::info).unwrap_or_default() {
                    out.field(&name, &value);
                }
            },
        );
    }

    /// `SENTINEL …`
    async fn ask(self: Arc<Self>, _client: ClientInfo, args: OwnedArgs) -> Result<Reply> {
        let words = args.iter().map(|word| String::from_utf8(word.to_vec()));
        let argv: Vec<String> = words.collect::<std::result::Result<_, _>>().map_err(|_| NOT_TEXT)?;
        self.prepare(&argv).await?;
        self.queue(argv).await
    }

    /// What only the system knows about a command's words: is this script there, which address has this name?
    async fn prepare(&self, argv: &[String]) -> Result<()> {
        let is = |n: usize, word: &str| argv.get(n).is_some_and(|a| a.eq_ignore_ascii_case(word));
        if is(1, "SET") && !self.deny_scripts_reconfig {
            for (what, path) in scripts_in(argv.get(3..).unwrap_or_default()) {
                if !path.is_empty() && !executable(path) {
                    return Err(format!("{what} script seems non existing or non executable").into());
                }
            }
        }
        if let (true, Some(name)) = (is(1, "MONITOR"), argv.get(3))
            && name.parse::<IpAddr>().is_err()
            && plausible(name)
            && self.look(Sentinel::takes_names) == Some(true)
        {
            let ip = look_up(self.host, name).await;
            let event = Input::Event(Event::Resolved { name: name.clone(), ip });
            self.inbox.clone().send(event).await.map_err(|_| "the sentinel has stopped")?;
        }
        Ok(())
    }

    /// `PUBLISH channel message`: hellos only.
    async fn publish(self: Arc<Self>, _client: ClientInfo, args: OwnedArgs) -> Result<Reply> {
        if args.at(1) != HELLO_CHANNEL.as_bytes() {
            return Err("Only HELLO messages are accepted by Sentinel instances.".into());
        }
        let argv = args.iter().map(|word| String::from_utf8_lossy(word).into_owned()).collect();
        self.queue(argv).await
    }

    async fn queue(&self, argv: Vec<String>) -> Result<Reply> {
        let (done, answer) = oneshot::channel();
        let mut inbox = self.inbox.clone();
        inbox.send(Input::Command(argv, done)).await.map_err(|_| "the sentinel has stopped")?;
        Ok(reply(answer.await.map_err(|_| "the sentinel has stopped")?))
    }

    /// What this says of the machine as it is now.
    fn look<T>(&self, at: impl FnOnce(&Sentinel) -> T) -> Option<T> {
        let machine = self.shown.lock().clone()?;
        let machine = machine.lock();
        Some(at(&machine))
    }

    /// `ROLE`
    fn role(&self, ctx: &mut Ctx<'_>, _args: Args<'_>) -> Result<Effect> {
        let nobody = || Answer::Array(vec![Answer::Bulk("sentinel".into()), Answer::Array(Vec::new())]);
        let answer = reply(self.look(query::role).unwrap_or_else(nobody));
        let proto: Proto = ctx.proto();
        ctx.reply().reply(proto, &answer);
        Ok(Effect::None)
    }
}

/// The addresses of all names that a sentinel starts with. One without any is looked up again and again later.
async fn resolve_all(host: Host, boot: &Boot) -> BTreeMap<String, String> {
    if !boot.options.resolve_hostnames {
        return BTreeMap::new();
    }
    let saved = boot.saved.iter().flat_map(|state| &state.monitors).flat_map(|monitor| {
        let others = monitor.replicas.iter().map(|r| &r.addr).chain(monitor.sentinels.iter().map(|s| &s.addr));
        others.chain([&monitor.primary])
    });
    let given = boot.watches.iter().map(|watch| &watch.addr).chain(saved);
    let names: BTreeSet<String> = given
        .map(|addr| addr.name.clone().unwrap_or_else(|| addr.host.clone()))
        .filter(|n| n.parse::<IpAddr>().is_err())
        .collect();
    let found = names.into_iter().map(|name| async move { Some((name.clone(), look_up(host, &name).await?)) });
    futures::future::join_all(found).await.into_iter().flatten().collect()
}

fn reply(answer: Answer) -> Reply {
    match answer {
        Answer::Status(text) => Reply::Simple(text),
        Answer::Error(text) => Reply::Error(text),
        Answer::Int(n) => Reply::Int(n),
        Answer::Bulk(text) => Reply::bulk(text),
        Answer::Null => Reply::Null,
        Answer::NullArray => Reply::NullArray,
        Answer::Array(items) => Reply::Array(items.into_iter().map(reply).collect()),
        Answer::Map(pairs) => {
            Reply::Map(pairs.into_iter().map(|(name, value)| (Reply::bulk(name), reply(value))).collect())
        }
    }
}

/// Forty hexadecimal digits.
fn random_id(host: &Host) -> String {
    let mut bytes = [0; 20];
    host.random(&mut bytes);
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
