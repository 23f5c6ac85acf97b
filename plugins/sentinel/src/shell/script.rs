//! A user's script as a child process: started, watched, killed when the queue says so. Owns the child; the queue's rules
//! (limits, retries) are scripts.rs'.

use super::driver::Input;
use crate::actions::Event;
use crate::scripts::Ended;
use futures::SinkExt;
use futures::channel::{mpsc, oneshot};
use keystead_plugin::Host;
use std::os::unix::process::ExitStatusExt;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

/// How often a running script is looked at.
const LOOK: Duration = Duration::from_millis(20);
/// The status of a script that can't be started; as in Redis it isn't tried again.
const NOT_STARTED: i32 = 2;

/// One that takes longer to start (its disk hangs) keeps those behind it no longer than this.
const TURN: Duration = Duration::from_millis(200);

/// Scripts are started in the order in which they were called for: the last address that one hears of is the last there was.
#[derive(Default)]
pub(crate) struct Turns(Option<oneshot::Receiver<()>>);

/// A place behind the script before; whoever is behind this one waits until it is dropped.
pub(crate) struct Turn {
    before: Option<oneshot::Receiver<()>>,
    _over: oneshot::Sender<()>,
}

impl Turns {
    /// The next place.
    pub(crate) fn next(&mut self) -> Turn {
        let (over, behind) = oneshot::channel();
        Turn { before: self.0.replace(behind), _over: over }
    }
}

/// The driver's end of a running script.
pub(crate) struct ScriptHandle(Arc<AtomicBool>);

impl ScriptHandle {
    /// Ends it with SIGKILL.
    pub(crate) fn kill(&self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// Starts a script; what becomes of it the driver hears as events.
pub(crate) fn start(
    host: Host,
    id: u64,
    argv: Vec<String>,
    mut turn: Turn,
    mut inbox: mpsc::Sender<Input>,
) -> ScriptHandle {
    let doomed = Arc::new(AtomicBool::new(false));
    let handle = ScriptHandle(doomed.clone());
    host.spawn(async move {
        if let Some(before) = turn.before.take() {
            let _ = host.timeout(TURN, before).await;
        }
        let started = host.blocking(move || {
            let _turn = turn;
            let (program, words) = argv.split_first()?;
            let child = Command::new(program).args(words).stdin(Stdio::null()).spawn();
            child.inspect_err(|error| log::warn!("{program} can't be started: {error}")).ok()
        });
        let how = match started.await {
            Ok(Some(child)) => {
                // Sending fails only when the driver has ended.
                let _ = inbox.send(Input::Event(Event::ScriptStarted { id, pid: child.id() })).await;
                watch(host, child, &doomed).await
            }
            _ => Ended::Exit(NOT_STARTED),
        };
        let _ = inbox.send(Input::Event(Event::ScriptEnded { id, how })).await;
    });
    handle
}

async fn watch(host: Host, mut child: Child, doomed: &AtomicBool) -> Ended {
    loop {
        match child.try_wait() {
            Ok(None) => {}
            Ok(Some(status)) => {
                return match (status.code(), status.signal()) {
                    (Some(code), _) => Ended::Exit(code),
                    (None, Some(signal)) => Ended::Signal(signal),
                    (None, None) => Ended::Exit(NOT_STARTED),
                };
            }
            Err(error) => {
                log::warn!("a script's process was lost: {error}");
                return Ended::Exit(NOT_STARTED);
            }
        }
        if doomed.swap(false, Ordering::Relaxed)
            && let Err(error) = child.kill()
        {
            log::warn!("a script could not be killed: {error}");
        }
        host.sleep(LOOK).await;
    }
}
