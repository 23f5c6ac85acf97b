//! The plugin: the agent's task on a data node, `LEASE.VOUCH`, INFO, and the strategy's service for sentinels.
//! Carries out what the agent decides; decides nothing but whether a sentinel may stand now.

use crate::agent::{Action, Agent, Answer, Event};
use crate::config::{Config, DOCS, split};
use crate::etcd::Etcd;
use crate::members::Causes;
use crate::stand;
use futures::future::join_all;
use futures::{AsyncReadExt, AsyncWriteExt};
use keystead_plugin::prelude::*;
use keystead_plugin::services::ElectionService;
use keystead_plugin::services::election::{self, Advice, Question};
use keystead_plugin::{Acl, Origin};
use parking_lot::Mutex;
use std::time::Duration;

/// The node's own role is looked at this often: a promoted node asks for the lease so much later.
const LOOK: Duration = Duration::from_millis(50);
/// A member's whole answer is shorter.
const LONGEST_ANSWER: usize = 512;

/// The plugin.
pub struct Lease {
    host: Host,
    config: Config,
    etcd: Arc<Etcd>,
    agent: Option<Mutex<Agent>>,
    causes: Mutex<Causes>,
}

impl Plugin for Lease {
    const NAME: &'static str = "lease";
    const ENDPOINT_ONLY: bool = true;
    const CONFIG_DOCS: &'static [(&'static str, &'static str)] = DOCS;
    type Config = Config;

    fn check(config: &Config) -> Result<()> {
        config.check()
    }

    fn init(host: Host, config: Config, reg: &mut Registrar<Self>) -> Result<Self> {
        config.check()?;
        reg.provide::<ElectionService, _, _>(|lease, question| async move { Ok(lease.advise(question).await) });
        let agent = (!config.node.is_empty()).then(|| {
            // Before any client: until it holds the lease this node takes no writes.
            host.write_until(Some(Duration::ZERO));
            Mutex::new(Agent::new(ms(host), config.rules()).0)
        });
        if agent.is_some() {
            let flags = Flags::ADMIN | Flags::NO_SCRIPT | Flags::LOADING_OK | Flags::STALE_OK | Flags::FAST;
            let row = spec("LEASE.VOUCH", 3, flags).acl(Acl::ADMIN).docs(
                "Asks this node to vouch for another as the primary while etcd is away.",
                "lease",
                "0.1.0",
            );
            reg.command(row, Self::vouch).info("lease", |lease, out| {
                if let Some(agent) = &lease.agent {
                    let (agent, now) = (agent.lock(), ms(lease.host));
                    let own = matches!(agent.state(now), "held" | "held-before-restart");
                    let holder = if own { Some(&*lease.config.node) } else { agent.held_by() };
                    out.field("lease_writes_allowed_ms", agent.write_until().saturating_sub(now));
                    out.field("lease_state", agent.state(now));
                    out.field("lease_holder", holder.unwrap_or_default());
                }
            });
        }
        let etcd = Arc::new(Etcd::new(&config).map_err(Error::new)?);
        Ok(Lease { host, config, etcd, agent, causes: Mutex::default() })
    }

    async fn start(self: Arc<Self>) -> Result<()> {
        if self.agent.is_some() {
            let lease = self.clone();
            self.host.spawn(async move {
                loop {
                    if let Some(primary) = lease.is_primary().await {
                        lease.step(Event::Tick { primary });
                    }
                    lease.host.sleep(LOOK).await;
                }
            });
        }
        Ok(())
    }

    async fn stop(self: Arc<Self>, _why: StopReason) -> Result<()> {
        // A clean end needs nobody to wait for the lease's.
        let Some(agent) = &self.agent else { return Ok(()) };
        self.host.write_until(Some(Duration::ZERO));
        let actions = agent.lock().step(ms(self.host), Event::Tick { primary: false });
        for action in actions {
            if let Action::Release(id) = action {
                let etcd = self.etcd.clone();
                self.host.blocking(move || etcd.revoke(&id)).await?;
            }
        }
        Ok(())
    }
}

fn ms(host: Host) -> u64 {
    host.now().as_millis() as u64
}

impl Lease {
    /// What ROLE says; nothing while it can't be asked.
    async fn is_primary(&self) -> Option<bool> {
        match self.host.exec(0, &["ROLE"], Origin::Client).await {
            Ok(Reply::Array(items)) => match items.first() {
                Some(Reply::Bulk(word)) => Some(&word[..] == b"master"),
                _ => None,
            },
            _ => None,
        }
    }

    /// Steps the agent and carries out what it wants. The gate is set under the agent's lock, so that it follows in order.
    fn step(self: &Arc<Self>, event: Event) {
        let Some(agent) = &self.agent else { return };
        let mut agent = agent.lock();
        let actions = agent.step(ms(self.host), event);
        for action in actions {
            match action {
                Action::WriteUntil(until) => self.host.write_until(Some(Duration::from_millis(until))),
                Action::Log(text) => log::warn!("lease of {}: {text}", self.config.name),
                Action::Vouch { .. } => {}
                Action::AskMembers(number) => {
                    let lease = self.clone();
                    self.host.spawn(async move {
                        let all = lease.everybody_vouches().await;
                        lease.step(Event::Vouched(number, all));
                    });
                }
                Action::Acquire(number) => self.ask(number, |etcd, c| etcd.acquire(&c.name, &c.node, c.ttl_s)),
                Action::Renew(number, id) => self.ask(number, move |etcd, _| etcd.renew(&id)),
                Action::Release(id) => {
                    let etcd = self.etcd.clone();
                    let released = self.host.blocking(move || etcd.revoke(&id));
                    self.host.spawn(async move {
                        // It ends by itself if this fails.
                        let _ = released.await;
                    });
                }
            }
        }
    }

    fn ask<F>(self: &Arc<Self>, number: u64, question: F)
    where
        F: FnOnce(&Etcd, &Config) -> Answer + Send + 'static,
    {
        let (etcd, config, lease) = (self.etcd.clone(), self.config.clone(), self.clone());
        let asked = self.host.blocking(move || question(&etcd, &config));
        self.host.spawn(async move {
            let answer = asked.await.unwrap_or_else(|error| Answer::Away(error.text().to_owned()));
            if !matches!(answer, Answer::Away(_)) {
                lease.causes.lock().forget();
            }
            lease.step(Event::Etcd(number, answer));
        });
    }

    // ---------- members

    async fn everybody_vouches(&self) -> bool {
        let asked = self.config.others().map(|member| async move {
            let answer = self.host.timeout(self.config.patience(), self.vouched_by(member)).await;
            let cause = match &answer {
                Some(Ok(())) => None,
                Some(Err(error)) => Some(error.text()),
                None => Some("no answer"),
            };
            if self.causes.lock().is_news(member, cause) {
                log::info!("{member} doesn't vouch for this primary: {}", cause.unwrap_or_default());
            }
            cause.is_none()
        });
        join_all(asked).await.into_iter().all(|vouches| vouches)
    }

    async fn vouched_by(&self, member: &str) -> Result<()> {
        let (host, port) = split(member).ok_or("no address")?;
        let mut io = self.host.link_connect(host, port).await?;
        let mut words: Vec<Vec<&str>> = Vec::new();
        if let Some(password) = &self.config.auth_password {
            words.push(["AUTH"].into_iter().chain(self.config.auth_user.as_deref()).chain([&**password]).collect());
        }
        words.push(vec!["LEASE.VOUCH", &self.config.name, &self.config.node]);
        for command in &words {
            let mut text = format!("*{}\r\n", command.len());
            for word in command {
                text.push_str(&format!("${}\r\n{word}\r\n", word.len()));
            }
            io.write_all(text.as_bytes()).await?;
            let line = read_line(&mut io).await?;
            if line != "+OK" {
                return Err(line.into());
            }
        }
        Ok(())
    }

    /// `LEASE.VOUCH name node`: this node won't take the lease for as long as one lasts.
    fn vouch(&self, ctx: &mut Ctx<'_>, args: Args<'_>) -> Result<Effect> {
        let Some(agent) = &self.agent else { return Err("this node holds no lease".into()) };
        if args.at(1) != self.config.name.as_bytes() {
            return Err(format!("this node belongs to '{}'", self.config.name).into());
        }
        let node = String::from_utf8_lossy(args.at(2)).into_owned();
        if node == self.config.node || !self.config.members.contains(&node) {
            return Err(format!("'{node}' is no other member").into());
        }
        let actions = agent.lock().step(ms(self.host), Event::Asked { ticket: 0 });
        let refused = actions.into_iter().find_map(|action| match action {
            Action::Vouch { refused, .. } => Some(refused),
            _ => None,
        });
        match refused {
            Some(None) => {
                ctx.reply().simple("OK");
                Ok(Effect::None)
            }
            Some(Some(why)) => Err(why.into()),
            None => Err("no answer".into()),
        }
    }

    // ---------- sentinels

    /// Votes are Redis'; but nobody stands while the fallen primary's lease holds, or while nobody knows whether it does.
    async fn advise(self: Arc<Self>, question: Question) -> Advice {
        let Question::Stand { primary, .. } = &question else { return election::redis(&question) };
        let (etcd, name) = (self.etcd.clone(), primary.clone());
        let asked = self.host.blocking(move || stand::advise(&question, &etcd.holder(&name))).await;
        asked.unwrap_or_else(|error| Advice::Abstain { reason: format!("etcd wasn't asked: {}", error.text()) })
    }
}

async fn read_line(io: &mut keystead_plugin::Io) -> Result<String> {
    let mut line = Vec::new();
    let mut byte = [0];
    while !line.ends_with(b"\r\n") {
        if line.len() >= LONGEST_ANSWER {
            return Err("an answer that is too long".into());
        }
        io.read_exact(&mut byte).await?;
        line.push(byte[0]);
    }
    line.truncate(line.len() - 2);
    Ok(String::from_utf8_lossy(&line).into_owned())
}
