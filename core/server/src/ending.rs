//! How an instance ends: asked for by a signal, a client or a plugin; refused by a plugin that can't save; taken back by
//! SHUTDOWN ABORT. Owns the order of these and the words for the log; stopping itself is `instance`'s.

use crate::files::Files;
use crate::host::Host;
use crate::net::{Ending, Order, Waiting};
use crate::shell::Shell;
use async_channel::Receiver;
use async_std::task::spawn_blocking;
use futures::StreamExt;
use futures::future::{Either, select};
use keystead_abi as abi;
use signal_hook::consts::{SIGALRM, SIGHUP, SIGINT, SIGTERM};
use signal_hook::flag;
use signal_hook_async_std::Signals;
use std::ffi::c_int;
use std::io;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

const REFUSED: &[u8] = b"-ERR Errors trying to SHUTDOWN. Check logs.\r\n";

/// Where ends come from.
pub(crate) struct Ends {
    pub(crate) files: Files,
    pub(crate) shell: Arc<Shell>,
    pub(crate) inbox: Receiver<Order>,
    pub(crate) signals: Heard,
}

/// Signals as they come. Whoever sends SIGINT while the last signal waits to be heard ends the process there and then: a
/// plugin that doesn't come back from its start or its end keeps everybody from listening.
pub(crate) struct Heard {
    signals: Signals,
    unheard: Arc<AtomicBool>,
}

impl Heard {
    /// Listens from now on.
    pub(crate) fn new() -> io::Result<Heard> {
        let unheard = Arc::new(AtomicBool::new(false));
        // In this order: the first signal arms what the second one does.
        flag::register_conditional_shutdown(SIGINT, 1, unheard.clone())?;
        for signal in [SIGINT, SIGTERM] {
            flag::register(signal, unheard.clone())?;
        }
        Ok(Heard { signals: Signals::new([SIGTERM, SIGINT, SIGHUP, SIGALRM])?, unheard })
    }

    async fn next(&mut self) -> Option<c_int> {
        let signal = self.signals.next().await;
        if matches!(signal, Some(SIGINT | SIGTERM)) {
            self.unheard.store(false, Ordering::Relaxed);
        }
        signal
    }
}

/// An end that nothing refused.
pub(crate) struct End {
    /// As somebody wished, or because something failed.
    pub(crate) clean: bool,
    /// Nobody is waited for any more, not even for the plugins to stop.
    pub(crate) insisted: bool,
}

impl End {
    fn new(clean: bool) -> End {
        End { clean, insisted: false }
    }

    fn insisted() -> End {
        log::warn!("You insist... exiting now.");
        End { clean: false, insisted: true }
    }
}

/// Somebody wants the end.
pub(crate) struct Asked {
    how: Ending,
    waiting: Vec<Waiting>,
    /// A plugin can't go on: nobody is asked, but who is being asked already is waited for.
    failed: bool,
    /// It was this signal: what that means here is configured.
    signal: Option<c_int>,
}

impl Asked {
    fn new(how: Ending) -> Asked {
        Asked { how, waiting: Vec::new(), failed: false, signal: None }
    }

    /// During the start there is nothing to save and nobody to wait for.
    pub(crate) fn at_once(self) -> End {
        End::new(!self.failed)
    }
}

/// What came of asking the plugins.
enum Verdict {
    Ends,
    Refused(String),
    TakenBack,
    /// To be asked, or once more: it was asked for more urgently.
    Again,
    Insisted,
}

impl Ends {
    /// Until an end is asked for and nothing stands against it.
    pub(crate) async fn wait(&mut self, host: &Host) -> End {
        loop {
            let mut asked = self.asked().await;
            if asked.failed {
                return End::new(false);
            }
            let failed_before = host.failed();
            // This waits for the turn of a long script, which only SHUTDOWN NOSAVE ends: then that order is here too. Who
            // insists need not wait for it.
            let shell = self.shell.clone();
            let held = spawn_blocking(move || shell.set_ending(true));
            if let Either::Right(_) = select(held, pin!(self.insisted())).await {
                return End::insisted();
            }
            if let Some(signal) = asked.signal {
                asked.how = self.meant_by(signal);
            }
            self.shell.manager().status("Ending: saving the data, waiting for replicas");
            let mut verdict = self.heed_orders_meanwhile(&mut asked);
            while matches!(verdict, Verdict::Again) {
                verdict = self.ask(host, &mut asked).await;
            }
            match verdict {
                Verdict::Insisted => return End::insisted(),
                Verdict::Refused(why) => {
                    log::warn!("{why}");
                    log::warn!("Errors trying to shut down the server. Check the logs for more information.");
                }
                Verdict::TakenBack => log::warn!("Shutdown manually aborted."),
                Verdict::Ends | Verdict::Again => {
                    let clean = !asked.failed && host.failed() == failed_before;
                    if !clean {
                        log::warn!("A plugin failed over this end: the exit status says so.");
                    }
                    return End::new(clean);
                }
            }
            if asked.failed {
                log::warn!("A plugin can't go on: the server ends all the same.");
                return End::new(false);
            }
            if self.is_torn() {
                // Half of a script is in the keyspace and in no file or replica: to go on would make three histories of one.
                log::warn!("A script was stopped in the middle for this shutdown: the server ends all the same.");
                return End::new(false);
            }
            self.shell.set_ending(false);
            self.shell.manager().status("Ready to accept connections");
            for waiting in asked.waiting {
                waiting.answer(REFUSED);
            }
        }
    }

    fn is_torn(&self) -> bool {
        self.shell.services().iter().any(|service| service.turn(|engine| engine.core.torn))
    }

    /// Asks the plugins, and listens meanwhile.
    async fn ask(&mut self, host: &Host, asked: &mut Asked) -> Verdict {
        let mut asking = pin!(host.before_end(flags(asked.how)));
        loop {
            let next = match select(asking.as_mut(), pin!(self.next())).await {
                Either::Left((Ok(()), _)) => return Verdict::Ends,
                Either::Left((Err(why), _)) => return Verdict::Refused(why),
                Either::Right((next, _)) => next,
            };
            match next {
                Next::Signal(SIGINT) => return Verdict::Insisted,
                // It isn't asked any more; the others save what they have.
                Next::Order(Order::Exit { clean: false }) => asked.failed = true,
                // Service managers repeat themselves: the save they asked for goes on.
                Next::Signal(_) => {}
                Next::Order(Order::AbortShutdown) => return Verdict::TakenBack,
                Next::Order(Order::Shutdown { how, reply }) => {
                    asked.waiting.extend(reply);
                    if how.now && !asked.how.now || how.force && !asked.how.force || how.save == Some(false) {
                        asked.how = how;
                        return Verdict::Again;
                    }
                }
                Next::Order(order) => self.settle(order),
            }
        }
    }

    /// Orders that came since the end was asked for. A wish not to save wins: half of a script may be in the keyspace.
    fn heed_orders_meanwhile(&self, asked: &mut Asked) -> Verdict {
        while let Ok(order) = self.inbox.try_recv() {
            match order {
                Order::Shutdown { how, reply } => {
                    asked.waiting.extend(reply);
                    if how.save == Some(false) || asked.how.save != Some(false) {
                        asked.how = how;
                    }
                }
                Order::Exit { clean: false } => asked.failed = true,
                Order::AbortShutdown => return Verdict::TakenBack,
                order => self.settle(order),
            }
        }
        Verdict::Again
    }

    /// Carries out orders until one, or a signal, asks for the end.
    pub(crate) async fn asked(&mut self) -> Asked {
        loop {
            let asked = match self.next().await {
                Next::Signal(signal) => Asked { signal: Some(signal), ..Asked::new(Ending::default()) },
                Next::Order(Order::Shutdown { how, reply }) => {
                    log::warn!("User requested shutdown...");
                    Asked { waiting: reply.into_iter().collect(), ..Asked::new(how) }
                }
                Next::Order(Order::Exit { clean }) => {
                    let words =
                        if clean { "A plugin asks for a shutdown..." } else { "A plugin can't go on: stopping" };
                    log::warn!("{words}");
                    Asked { failed: !clean, ..Asked::new(Ending::default()) }
                }
                Next::Order(order) => {
                    self.settle(order);
                    continue;
                }
            };
            return asked;
        }
    }

    /// `shutdown-on-sigint` and `shutdown-on-sigterm`.
    fn meant_by(&self, signal: c_int) -> Ending {
        let name = if signal == SIGINT { "shutdown-on-sigint" } else { "shutdown-on-sigterm" };
        let data = self.shell.services().into_iter().next();
        let options = data.and_then(|service| service.turn(|engine| engine.core.config.get(name))).unwrap_or_default();
        let has = |option: &str| options.split_whitespace().any(|word| word == option);
        let save = if has("save") { Some(true) } else { has("nosave").then_some(false) };
        Ending { save, now: has("now"), force: has("force") }
    }

    fn settle(&self, order: Order) {
        match order {
            Order::RewriteConfig { .. } | Order::AclFile { .. } => self.files.order(order),
            // Nothing is going on that could be taken back; ends are not settled here.
            Order::AbortShutdown | Order::Shutdown { .. } | Order::Exit { .. } => {}
        }
    }

    /// The next order or signal that matters.
    async fn next(&mut self) -> Next {
        loop {
            match select(pin!(self.inbox.recv()), pin!(self.signals.next())).await {
                Either::Left((Ok(order), _)) => return Next::Order(order),
                Either::Left((Err(_), _)) => return Next::Signal(SIGTERM),
                Either::Right((Some(signal @ (SIGINT | SIGTERM)), _)) => {
                    let name = if signal == SIGINT { "SIGINT" } else { "SIGTERM" };
                    log::warn!("Received {name} scheduling shutdown...");
                    return Next::Signal(signal);
                }
                // A closed terminal is no reason to go, nor, as with Redis, an alarm.
                Either::Right(_) => {}
            }
        }
    }

    /// A SIGINT while the plugins stop. SIGTERM says nothing new.
    pub(crate) async fn insisted(&mut self) {
        while let Some(signal) = self.signals.next().await {
            if signal == SIGINT {
                return;
            }
        }
    }
}

/// What happened.
enum Next {
    Order(Order),
    /// SIGINT or SIGTERM.
    Signal(c_int),
}

/// The options as plugins are told.
fn flags(how: Ending) -> u32 {
    let save = match how.save {
        Some(true) => abi::ENDING_SAVE,
        Some(false) => abi::ENDING_NOSAVE,
        None => 0,
    };
    let flag = |on: bool, flag: u32| if on { flag } else { 0 };
    save | flag(how.now, abi::ENDING_NOW) | flag(how.force, abi::ENDING_FORCE)
}
