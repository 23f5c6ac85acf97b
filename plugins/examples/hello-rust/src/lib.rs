//! The example plugin in Rust: a command, a command that writes, one that waits, a service, a filter for replicas, a hook,
//! an INFO section, a CONFIG parameter, a config subtree and a timer. The docs walk through it; it is not meant to be useful.
#![forbid(unsafe_code)]

use keystead_plugin::prelude::*;
use keystead_plugin::services::filter::{self, Filter, ReplicaFilters};
use keystead_plugin::{Needed, Service};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

/// The plugin's subtree of the RON file.
#[derive(serde::Serialize, serde::Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    greeting: String,
    tick_ms: u64,
}

impl Default for Config {
    fn default() -> Self {
        Config { greeting: "Hello".to_owned(), tick_ms: 1000 }
    }
}

/// A contract of its own: how to greet. Another plugin may provide it too; `services` in the RON file chooses.
pub struct Greeting;

impl Service for Greeting {
    const NAME: &'static str = "hello.greeting";
    const MAJOR: u32 = 1;
    const MINOR: u32 = 0;
    /// Whom.
    type Request = String;
    /// The words.
    type Answer = String;
}

/// The plugin.
pub struct Hello {
    host: Host,
    greeting: Needed<Greeting>,
    config: Config,
    greeted: AtomicU64,
    writes: AtomicU64,
    ticks: AtomicU64,
    /// How the keys begin that replicas may have; None: they may have none.
    shared: Mutex<Option<Vec<u8>>>,
}

/// What a replica gets that asks for the filter `hello`: the keys this plugin is about, or whatever HELLO.SHARE said.
impl ReplicaFilters for Hello {
    fn filter(&self, name: &str, _replica: &str) -> Option<Filter> {
        let shared = self.shared.lock().unwrap_or_else(PoisonError::into_inner).clone();
        shared.filter(|_| name == "hello").map(|prefix| Filter { databases: Vec::new(), prefixes: vec![prefix] })
    }
}

impl Plugin for Hello {
    const NAME: &'static str = "hello";
    const CONFIG_DOCS: &'static [(&'static str, &'static str)] =
        &[("greeting", "What HELLO.GREET says."), ("tick_ms", "The pace of the timer, in milliseconds.")];
    type Config = Config;

    fn check(config: &Config) -> Result<()> {
        if config.tick_ms == 0 {
            return Err("tick_ms must be at least 1".into());
        }
        Ok(())
    }

    fn init(host: Host, config: Config, reg: &mut Registrar<Self>) -> Result<Self> {
        let greet = spec("HELLO.GREET", -2, Flags::READONLY | Flags::FAST);
        reg.command(greet.summary("Greets somebody.").page("~ O(N), N: names\nname..."), Self::greet)
            .command(spec("HELLO.COUNT", 2, Flags::WRITE | Flags::FAST).keys(1, 1, 1), Self::count)
            .command(spec("HELLO.PUT", 4, Flags::WRITE).keys(2, 2, 1), Self::put)
            .command(spec("HELLO.SHARE", -1, Flags::READONLY), Self::share)
            .command(spec("HELLO.PANIC", 1, Flags::READONLY), |_, _, _| panic!("asked to"))
            .async_command(spec("HELLO.PANICLATER", 1, Flags::NO_SCRIPT), Self::panic_later)
            .async_command(spec("HELLO.LATER", 3, Flags::NO_SCRIPT | Flags::BLOCKING), Self::later)
            .async_command(spec("HELLO.ASK", 2, Flags::NO_SCRIPT), Self::ask)
            .provide::<Greeting, _, _>(|hello, name| async move { Ok(hello.words(&name)) })
            .on_write(|hello, _| {
                hello.writes.fetch_add(1, Ordering::Relaxed);
            })
            .info("hello", |hello, out| {
                out.field("hello_greeted", hello.greeted.load(Ordering::Relaxed))
                    .field("hello_writes", hello.writes.load(Ordering::Relaxed))
                    .field("hello_ticks", hello.ticks.load(Ordering::Relaxed));
            })
            .config_param(
                Param::new("hello-greeting", "Hello").immutable(),
                |hello| hello.config.greeting.clone(),
                |_, _| Err("can't be changed at run time".into()),
            );
        filter::provide(reg);
        let greeting = reg.require::<Greeting>();
        let [greeted, writes, ticks] = [const { AtomicU64::new(0) }; 3];
        let shared = Mutex::new(Some(b"hello:".to_vec()));
        Ok(Hello { host, greeting, config, greeted, writes, ticks, shared })
    }

    async fn start(self: Arc<Self>) -> Result<()> {
        let mut ticks = self.host.interval(Duration::from_millis(self.config.tick_ms));
        let hello = self.clone();
        self.host.spawn(async move {
            loop {
                ticks.tick().await;
                hello.ticks.fetch_add(1, Ordering::Relaxed);
            }
        });
        Ok(())
    }
}

impl Hello {
    /// `HELLO.GREET name [name …]`
    fn greet(&self, ctx: &mut Ctx<'_>, args: Args<'_>) -> Result<Effect> {
        self.greeted.fetch_add(1, Ordering::Relaxed);
        let names: Vec<_> = args.iter().skip(1).map(String::from_utf8_lossy).collect();
        ctx.reply().text(&self.words(&names.join(" and ")));
        Ok(Effect::None)
    }

    fn words(&self, name: &str) -> String {
        format!("{}, {name}!", self.config.greeting)
    }

    /// `HELLO.ASK name`: as GREET, but in the words of whoever provides the service.
    async fn ask(self: Arc<Self>, _client: ClientInfo, args: OwnedArgs) -> Result<Reply> {
        let name = String::from_utf8_lossy(args.at(1)).into_owned();
        Ok(Reply::bulk(self.greeting.call(&name).await?))
    }

    /// `HELLO.COUNT key`: counts in the key, and says so to replicas as a plain SET, to subscribers as an event of its own.
    fn count(&self, ctx: &mut Ctx<'_>, args: Args<'_>) -> Result<Effect> {
        let (db, key) = (ctx.db(), args.at(1));
        let old = match ctx.get(db, key)? {
            Some(bytes) => std::str::from_utf8(bytes)?.parse::<i64>()?,
            None => 0,
        };
        let new = old.checked_add(1).ok_or("the count is at its end")?;
        let text = new.to_string();
        ctx.set(db, key, text.as_bytes());
        ctx.notify(db, key, "hello.counted")?;
        ctx.reply().int(new);
        Ok(Effect::instead(&[b"SET", key, text.as_bytes()]))
    }

    /// `HELLO.PUT database key value`: sets a key of another database, and says so to replicas.
    fn put(&self, ctx: &mut Ctx<'_>, args: Args<'_>) -> Result<Effect> {
        let db: u32 = std::str::from_utf8(args.at(1))?.parse()?;
        let (key, value) = (args.at(2), args.at(3));
        ctx.set(db, key, value);
        ctx.reply().ok();
        Ok(Effect::in_db(db, &[b"SET", key, value]))
    }

    /// `HELLO.SHARE [prefix]`: which keys replicas may have that ask for the filter `hello`; without a prefix none.
    fn share(&self, ctx: &mut Ctx<'_>, args: Args<'_>) -> Result<Effect> {
        *self.shared.lock().unwrap_or_else(PoisonError::into_inner) = args.get(1).map(<[u8]>::to_vec);
        ctx.reply().ok();
        Ok(Effect::None)
    }

    /// `HELLO.PANICLATER`: an error for its client, and nothing else.
    async fn panic_later(self: Arc<Self>, _client: ClientInfo, _args: OwnedArgs) -> Result<Reply> {
        self.host.sleep(Duration::from_millis(1)).await;
        panic!("asked to, later")
    }

    /// `HELLO.LATER milliseconds text`: the text, later.
    async fn later(self: Arc<Self>, _client: ClientInfo, args: OwnedArgs) -> Result<Reply> {
        let ms: u64 = std::str::from_utf8(args.at(1))?.parse()?;
        self.host.sleep(Duration::from_millis(ms)).await;
        log::debug!("answers {}", String::from_utf8_lossy(args.at(2)));
        Ok(Reply::bulk(args.at(2)))
    }
}

keystead_plugin::export_plugin!(Hello, KEYSTEAD_PLUGIN_hello);
