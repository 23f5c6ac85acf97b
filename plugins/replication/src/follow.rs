//! The replica's link, as a task: it feeds the machine in `link` with what happens and does what the machine says.
//!
//! One task for the life of the plugin; roles come to it as orders. It owns the socket to the primary, the unread
//! bytes, a load under way and the application of the stream. It decides nothing.

use crate::link::{Action, Context, Event, Link, Memory, Target};
use crate::offer::Payload;
use crate::plugin::{Replication, history_of, to_sdk};
use crate::receive::{Failure, Receiver, own_keys};
use crate::units::{Offset, Position, ReplId};
use bytes::{Bytes, BytesMut};
use futures::channel::mpsc;
use futures::future::{BoxFuture, Either, FutureExt, select};
use futures::io::{AsyncReadExt, AsyncWriteExt};
use futures::{StreamExt, select_biased};
use keystead_plugin::prelude::*;
use keystead_plugin::{Apply, Io};
use std::collections::VecDeque;
use std::ops::Range;
use std::pin::pin;
use std::sync::atomic::Ordering;
use std::time::Duration;

/// Smallest and largest read from the primary.
const READ: Range<usize> = 16 * 1024..256 * 1024;

/// Time between two looks at the clock while nothing happens.
const LOOK: Duration = Duration::from_secs(1);

/// What a command tells the task.
#[derive(Debug)]
pub(crate) enum Order {
    /// REPLICAOF host port.
    Follow(Target),
    /// What is followed was followed before the restart, and the recovered data is its; the history that was refused then.
    FollowedBefore(Option<ReplId>),
    /// FAILOVER: follow a replica of ours that is to take our role.
    HandOver(Target),
    /// REPLICAOF NO ONE.
    Unfollow,
    /// The replica that is to take our role gives no answer: it may over another connection.
    AskAgain,
}

/// An event that waits for its turn.
#[derive(Debug)]
enum Next {
    Follow(Target),
    FollowedBefore(Option<ReplId>),
    HandOver(Target),
    Unfollow,
    AskAgain,
    Connected,
    Failed(String),
    Bytes,
    Tick,
    Loaded,
    LoadFailed(String),
    CameBackEmpty,
    AckAsked(Offset),
    ApplyFailed(String),
    /// The load is told: its file may be kept.
    Keep(Payload, u64),
}

impl From<Failure> for Next {
    fn from(failure: Failure) -> Next {
        match failure {
            Failure::CameBackEmpty => Next::CameBackEmpty,
            Failure::Broken(why) => Next::LoadFailed(why),
        }
    }
}

/// Until the plugin stops.
pub(crate) async fn run(plugin: Arc<Replication>, orders: mpsc::UnboundedReceiver<Order>) {
    let mut follower = Follower {
        plugin,
        orders,
        link: Link::default(),
        connecting: None,
        io: None,
        shown: None,
        inbox: BytesMut::new(),
        read_size: READ.start,
        port: 0,
        receiver: None,
        same_history: false,
        apply: None,
        role_epoch: 0,
        memory: Memory::default(),
        todo: VecDeque::new(),
    };
    loop {
        follower.wait().await;
        follower.work().await;
    }
}

struct Follower {
    plugin: Arc<Replication>,
    orders: mpsc::UnboundedReceiver<Order>,
    link: Link,
    connecting: Option<BoxFuture<'static, Result<Io>>>,
    io: Option<Io>,
    /// Ready when the link was killed by a client's command; it is in CLIENT LIST until this is dropped.
    shown: Option<BoxFuture<'static, ()>>,
    inbox: BytesMut,
    read_size: usize,
    /// Our own port, as it was when the connection was made.
    port: u16,
    receiver: Option<Receiver>,
    /// The payload's history is the one that we have.
    same_history: bool,
    apply: Option<Apply>,
    /// The change of role that this link belongs to.
    role_epoch: u64,
    /// What the link knew of its primary when it was last looked at.
    memory: Memory,
    todo: VecDeque<Next>,
}

impl Follower {
    /// Waits for the next thing to happen and notes it.
    async fn wait(&mut self) {
        let host = self.plugin.host;
        let now = host.now();
        let settings = self.plugin.config().link_settings(0, None);
        // At least each second: the settings may have changed.
        let due = self.link.deadline(now, &settings).map(|at| at.saturating_sub(now).min(LOOK));
        let reads = self.io.is_some();
        let start = self.inbox.len();
        if reads {
            self.inbox.resize(start + self.read_size, 0);
        }
        let next = {
            let order = self.orders.next();
            let connect = async {
                match &mut self.connecting {
                    Some(connecting) => connecting.await,
                    None => futures::future::pending().await,
                }
            };
            let inbox = &mut self.inbox[start..];
            let io = &mut self.io;
            let read = async move {
                match io {
                    Some(io) => io.read(inbox).await,
                    None => futures::future::pending().await,
                }
            };
            let shown = &mut self.shown;
            let killed = async {
                match shown {
                    Some(shown) => shown.await,
                    None => futures::future::pending().await,
                }
            };
            let tick = async {
                match due {
                    Some(time) => host.sleep(time).await,
                    None => futures::future::pending().await,
                }
            };
            let (mut order, mut connect, mut killed, mut read, mut tick) =
                (order.fuse(), pin!(connect.fuse()), pin!(killed.fuse()), pin!(read.fuse()), pin!(tick.fuse()));
            select_biased! {
                order = order => Input::Order(order),
                () = killed => Input::Killed,
                made = connect => Input::Made(made),
                got = read => Input::Read(got),
                () = tick => Input::Tick,
            }
        };
        let got = if let Input::Read(Ok(n)) = &next { *n } else { 0 };
        self.inbox.truncate(start + got);
        self.note(next);
    }

    fn note(&mut self, input: Input) {
        let next = match input {
            Input::Order(Some(Order::Follow(target))) => Next::Follow(target),
            Input::Order(Some(Order::FollowedBefore(refused))) => Next::FollowedBefore(refused),
            Input::Order(Some(Order::HandOver(target))) => Next::HandOver(target),
            Input::Order(Some(Order::Unfollow) | None) => Next::Unfollow,
            Input::Order(Some(Order::AskAgain)) => Next::AskAgain,
            Input::Made(made) => {
                self.connecting = None;
                match made {
                    Ok(io) => {
                        self.shown = Some(self.plugin.host.show_link(&io).boxed());
                        self.io = Some(io);
                        self.port = self.plugin.host.link_port();
                        Next::Connected
                    }
                    Err(error) => Next::Failed(format!("Error condition on socket for SYNC: {}", error.text())),
                }
            }
            Input::Read(Ok(0)) => Next::Failed("the primary closed the connection".into()),
            Input::Read(Ok(n)) => {
                self.plugin.stats.traffic.received.add(n);
                // Big reads for a payload, small ones for a trickle.
                self.read_size =
                    if n == self.read_size { READ.end } else { n.next_power_of_two().clamp(READ.start, READ.end) };
                Next::Bytes
            }
            Input::Read(Err(error)) => Next::Failed(error.to_string()),
            Input::Killed => {
                self.shown = None;
                Next::Failed("it was killed by a client's command".into())
            }
            Input::Tick => Next::Tick,
        };
        self.todo.push_back(next);
    }

    /// Everything that is to do, until there is nothing left.
    async fn work(&mut self) {
        while let Some(next) = self.todo.pop_front() {
            match next {
                Next::Bytes => self.offer().await,
                Next::Keep(payload, changes) => self.plugin.offer(payload, changes),
                next => self.step(next).await,
            }
            self.publish().await;
        }
    }

    async fn step(&mut self, next: Next) {
        if let Next::Follow(_) | Next::HandOver(_) | Next::Unfollow = next {
            self.role_epoch = self.plugin.role_epoch();
            self.apply = None;
        }
        let event = match next {
            Next::Follow(target) => Event::Follow(target),
            Next::FollowedBefore(refused) => Event::FollowedBefore(refused),
            Next::HandOver(target) => Event::HandOver(target),
            Next::Unfollow => Event::Unfollow,
            Next::AskAgain => Event::AskAgain,
            Next::Connected => Event::Connected,
            Next::Failed(why) => Event::Failed(why),
            Next::Bytes | Next::Keep(..) => Event::Bytes(&[]),
            Next::Tick => Event::Tick,
            Next::Loaded => Event::Loaded,
            Next::LoadFailed(why) => Event::LoadFailed(why),
            Next::CameBackEmpty => Event::CameBackEmpty,
            Next::AckAsked(offset) => Event::AckAsked(offset),
            Next::ApplyFailed(why) => Event::ApplyFailed(why),
        };
        let actions = self.ask(event);
        for action in actions {
            self.act(action, &Bytes::new()).await;
        }
    }

    fn ask(&mut self, event: Event<'_>) -> Vec<Action> {
        let settings = self.settings();
        let (here, durable) = (self.plugin.here(), self.plugin.durable());
        let ctx = Context { settings: &settings, here, durable, has_data: true };
        self.link.step(self.plugin.host.now(), ctx, event).actions
    }

    fn settings(&self) -> crate::link::Settings {
        self.plugin.config().link_settings(self.port, self.plugin.host.setting("run_id"))
    }

    /// Offers the unread bytes until the machine takes no more of them.
    async fn offer(&mut self) {
        let settings = self.settings();
        // Where it can't be asked, nothing is risked.
        let has_data = !self.link.awaits_verdict() || own_keys(&self.plugin).await.map_or(true, |keys| keys > 0);
        let (here, durable) = (self.plugin.here(), self.plugin.durable());
        let ctx = Context { settings: &settings, here, durable, has_data };
        let outcome = self.link.step(self.plugin.host.now(), ctx, Event::Bytes(&self.inbox));
        let bytes = self.inbox.split_to(outcome.consumed).freeze();
        for action in outcome.actions {
            self.act(action, &bytes).await;
        }
    }

    async fn act(&mut self, action: Action, bytes: &Bytes) {
        match action {
            Action::Connect(target) => {
                log::info!("Connecting to MASTER {}:{}", target.host, target.port);
                self.connecting = Some(self.plugin.host.link_connect(&target.host, target.port).boxed());
            }
            Action::Disconnect => self.hang_up(),
            Action::Send(line) => self.send(&line).await,
            Action::BeginLoad(at) => {
                self.receiver = None;
                let here = self.plugin.here().map(|here| here.replid);
                self.same_history = here.is_some() && here == at.map(|at| at.replid);
            }
            Action::Payload(range) => self.payload(&bytes[range]).await,
            Action::FinishLoad { trailer, guarded, at } => self.finish_load(trailer, guarded, at).await,
            Action::AbortLoad => {
                if let Some(receiver) = self.receiver.take() {
                    receiver.give_up();
                }
            }
            Action::Resume(replid) => self.resume(replid).await,
            Action::Apply(range) => self.apply(bytes.slice(range)).await,
            Action::Began(names) => self.learn_origin(names).await,
            Action::Upstream(path) => self.learn_upstream(path).await,
            Action::AskToTakeOver => {
                if !self.plugin.asks_to_take_over(self.role_epoch).await {
                    self.hang_up();
                }
            }
            Action::HandedOver(answer) => self.plugin.handed_over(self.role_epoch, answer).await,
            Action::Log(level, text) => log::log!(level, "{text}"),
        }
    }

    /// In a turn: a node that became a primary meanwhile follows nobody, and must not tell its replicas otherwise.
    async fn learn_upstream(&mut self, path: Vec<String>) {
        let (plugin, epoch) = (self.plugin.clone(), self.role_epoch);
        let learned = self.plugin.host.with_keyspace(move |_| {
            if plugin.role_epoch() == epoch {
                plugin.learn_upstream(path);
            }
        });
        if let Err(error) = learned.await {
            log::debug!("whom the primary follows wasn't noted: {}", error.text());
        }
    }

    /// In a turn too: what a primary says of itself it says by its own knowledge.
    async fn learn_origin(&mut self, names: Option<Vec<ReplId>>) {
        let (plugin, epoch) = (self.plugin.clone(), self.role_epoch);
        let learned = self.plugin.host.with_keyspace(move |_| {
            if plugin.role_epoch() == epoch {
                plugin.learn_origin(names);
            }
        });
        if let Err(error) = learned.await {
            log::debug!("how the primary began wasn't noted: {}", error.text());
        }
    }

    fn hang_up(&mut self) {
        self.connecting = None;
        self.io = None;
        self.shown = None;
        self.inbox.clear();
        if let Some(apply) = &mut self.apply {
            apply.reset();
        }
    }

    async fn send(&mut self, line: &[u8]) {
        let Some(io) = &mut self.io else { return };
        let host = self.plugin.host;
        let time = Duration::from_secs(self.plugin.config().timeout_s);
        let write = async {
            io.write_all(line).await?;
            io.flush().await
        };
        let failed = match host.timeout(time, write).await {
            Some(Ok(())) => return,
            Some(Err(error)) => error.to_string(),
            None => "the primary takes no bytes".to_string(),
        };
        self.todo.push_back(Next::Failed(failed));
    }

    async fn payload(&mut self, bytes: &[u8]) {
        if self.receiver.is_none() {
            match Receiver::new(self.plugin.clone(), self.same_history, self.role_epoch).await {
                Ok(receiver) => self.receiver = Some(receiver),
                Err(error) => return self.todo.push_back(Next::LoadFailed(error.text().to_string())),
            }
        }
        if let Some(receiver) = &mut self.receiver
            && let Err(failure) = receiver.piece(bytes).await
        {
            self.todo.push_back(failure.into());
        }
    }

    /// Loads, and tells the primary each second that it is alive.
    async fn finish_load(&mut self, trailer: usize, guarded: bool, at: Option<Position>) {
        let Some(receiver) = self.receiver.take() else {
            return self.todo.push_back(Next::LoadFailed("there is no payload".into()));
        };
        let host = self.plugin.host;
        let mut loading = pin!(receiver.finish(trailer, guarded));
        let result = loop {
            match select(loading.as_mut(), pin!(host.sleep(crate::link::ACK_PERIOD))).await {
                Either::Left((result, _)) => break result,
                Either::Right(_) => {
                    for action in self.ask(Event::Tick) {
                        if let Action::Send(line) = action {
                            self.send(&line).await;
                        }
                    }
                    self.publish().await;
                }
            }
        };
        match result {
            Ok(taken) => match self.adopt(at, taken.db).await {
                Ok(changes) => {
                    self.todo.push_back(Next::Loaded);
                    let payload = taken.payload.filter(|payload| payload.is_at(at));
                    self.todo.extend(payload.map(|payload| Next::Keep(payload, changes)));
                }
                Err(error) => self.todo.push_back(Next::LoadFailed(error.text().to_string())),
            },
            Err(failure) => self.todo.push_back(failure.into()),
        }
        // What was read behind the payload is the stream.
        if !self.inbox.is_empty() {
            self.todo.push_back(Next::Bytes);
        }
    }

    /// The loaded data is at `at`; so is the journal from now on. Gives the count of changes there.
    async fn adopt(&mut self, at: Option<Position>, db: u32) -> Result<u64> {
        let (plugin, epoch) = (self.plugin.clone(), self.role_epoch);
        // Behind SYNC: a history of our own, so that our replicas have one to name.
        let at = at.unwrap_or_else(|| Position { replid: plugin.fresh_id(), offset: Offset(0) });
        let from = self.link.goes_on_from();
        let mut history = history_of(&plugin.host.journal());
        history.adopt_full(at.replid);
        plugin.host.set_backlog(plugin.config().backlog_size).await?;
        let here = plugin.clone();
        let (apply, changes) = plugin
            .host
            .with_keyspace(move |ctx| {
                if here.role_epoch() != epoch {
                    return Err(Error::new("the role changed meanwhile"));
                }
                ctx.rebase(&to_sdk(&history, Some(at.offset)))?;
                // In the same turn: what is cut behind it knows the database, and behind another role it is of no use.
                let apply = here.host.apply(db)?;
                here.lineage.lock().replaced(at.replid, from);
                here.positioned.store(true, Ordering::Release);
                Ok((apply, ctx.changes()))
            })
            .await??;
        plugin.drop_replicas();
        self.apply = Some(apply);
        Ok(changes)
    }

    /// `+CONTINUE`: the stream goes on where we are.
    async fn resume(&mut self, replid: Option<ReplId>) {
        if let Err(error) = self.try_resume(replid).await {
            self.todo.push_back(Next::ApplyFailed(error.text().to_string()));
        }
    }

    async fn try_resume(&mut self, replid: Option<ReplId>) -> Result<()> {
        let (plugin, epoch) = (self.plugin.clone(), self.role_epoch);
        if !plugin.host.journal().active {
            plugin.host.set_backlog(plugin.config().backlog_size).await?;
        }
        let (here, begun) = (plugin.clone(), self.apply.is_some());
        let (changed, apply) = plugin
            .host
            .with_keyspace(move |ctx| {
                if here.role_epoch() != epoch {
                    return Err(Error::new("the role changed meanwhile"));
                }
                let journal = ctx.journal();
                let mut history = history_of(&journal);
                let changed = history.adopt_continue(replid, Offset(journal.offset));
                if changed {
                    ctx.rebase(&to_sdk(&history, None))?;
                    here.lineage.lock().renamed(history.replid);
                    log::info!("Master replication ID changed to {}", history.replid);
                }
                // The rebase ended what was open. In the same turn: behind another role it is of no use.
                let apply = (changed || !begun).then(|| here.host.apply(journal.db.unwrap_or(0))).transpose()?;
                Ok((changed, apply))
            })
            .await??;
        if changed {
            plugin.drop_replicas();
        }
        match (apply, &mut self.apply) {
            (Some(apply), _) => self.apply = Some(apply),
            (None, Some(apply)) => apply.reset(),
            (None, None) => {}
        }
        Ok(())
    }

    async fn apply(&mut self, bytes: Bytes) {
        let Some(apply) = &mut self.apply else {
            return self.todo.push_back(Next::ApplyFailed("there is nothing to apply it to".into()));
        };
        match apply.feed(bytes).await {
            Ok(applied) => self.todo.extend(applied.getacks.into_iter().map(|o| Next::AckAsked(Offset(o)))),
            Err(error) => {
                self.distrust().await;
                self.todo.push_back(Next::ApplyFailed(error.text().to_string()));
            }
        }
    }

    /// What came of the stream was no protocol: nobody knows what the bytes before it were. The next sync takes everything,
    /// and no file or replica of ours goes on by that history.
    async fn distrust(&mut self) {
        let (plugin, epoch) = (self.plugin.clone(), self.role_epoch);
        let done = self.plugin.host.with_keyspace(move |ctx| {
            // A stream that ends because the role changed is none of that.
            if plugin.role_epoch() != epoch {
                return Ok(false);
            }
            plugin.positioned.store(false, Ordering::Release);
            let mut history = history_of(&ctx.journal());
            history.forget(plugin.fresh_id());
            ctx.rebase(&to_sdk(&history, None))?;
            plugin.lineage.lock().renamed(history.replid);
            Ok(true)
        });
        match done.await {
            Ok(Ok(true)) => {
                self.apply = None;
                self.plugin.drop_replicas();
            }
            Ok(Ok(false)) => {}
            Err(error) | Ok(Err(error)) => log::warn!("the position wasn't discarded: {}", error.text()),
        }
    }

    /// What INFO and the gates see, and what a restart is to know.
    async fn publish(&mut self) {
        if self.link.memory() != self.memory {
            self.keep_memory().await;
        }
        let status = self.link.status();
        let before = self.plugin.link.tell(self.role_epoch, status);
        if before.is_some_and(|before| before.phase != status.phase) {
            self.plugin.refresh_gates();
        }
    }

    /// In a turn: behind a change of role it would be what was known of somebody else, or of the same one before it was named
    /// anew.
    async fn keep_memory(&mut self) {
        let (plugin, epoch, memory) = (self.plugin.clone(), self.role_epoch, self.link.memory());
        let Some(target) = self.link.target().cloned() else { return self.memory = memory };
        let kept = self.plugin.host.with_keyspace(move |_| {
            let ours = plugin.role_epoch() == epoch;
            if ours {
                plugin.keep_memory(&target, memory);
            }
            ours
        });
        match kept.await {
            Ok(true) => self.memory = memory,
            Ok(false) => {}
            Err(error) => log::debug!("what is known of the primary wasn't kept: {}", error.text()),
        }
    }
}

/// What woke the task.
enum Input {
    Order(Option<Order>),
    Made(Result<Io>),
    Read(std::io::Result<usize>),
    Killed,
    Tick,
}
