//! Files that clients have written or read: CONFIG REWRITE, ACL LOAD and SAVE. One after the other, on a task of their own: a
//! disk that doesn't answer must not keep anybody from hearing of the end. What is in the files is `settle`'s and `users`'.

use crate::config::Settings;
use crate::net::{Order, Service};
use crate::settle::not_rewritten;
use crate::shell::Shell;
use crate::users;
use async_channel::Sender;
use async_std::future::timeout;
use async_std::task::{JoinHandle, spawn, spawn_blocking};
use keystead_engine::SessionId;
use std::sync::Arc;
use std::time::Duration;

/// How long a transaction waits for its CONFIG REWRITE: a sentinel's has a failover's other half behind it.
const PATIENCE: Duration = Duration::from_secs(1);
/// What it is told then.
const WAITS: &str = "the disk hasn't answered yet, and the log will say what came of it";
/// How long the end waits for what is being written.
const LAST: Duration = Duration::from_secs(2);

/// Takes such orders.
pub(crate) struct Files {
    orders: Sender<Order>,
    done: JoinHandle<()>,
}

impl Files {
    pub(crate) fn new(shell: Arc<Shell>, settings: Arc<Settings>) -> Files {
        let (orders, inbox) = async_channel::unbounded();
        let done = spawn(async move {
            while let Ok(order) = inbox.recv().await {
                carry_out(order, &shell, &settings).await;
            }
        });
        Files { orders, done }
    }

    /// Has it carried out behind those before.
    pub(crate) fn order(&self, order: Order) {
        // The channel is unbounded and closed only at the end.
        let _ = self.orders.try_send(order);
    }

    /// The end: what was ordered is done, unless the disk takes too long.
    pub(crate) async fn finish(&mut self) {
        self.orders.close();
        let _ = timeout(LAST, &mut self.done).await;
    }
}

async fn carry_out(order: Order, shell: &Arc<Shell>, settings: &Arc<Settings>) {
    let (shell, settings) = (shell.clone(), settings.clone());
    match order {
        Order::RewriteConfig { service, reply, in_exec } => {
            let mut rewriting = spawn_blocking(move || shell.basis().rewrite(&shell.services(), &settings));
            let patience = if in_exec { PATIENCE } else { Duration::MAX };
            let told = match timeout(patience, &mut rewriting).await {
                Ok(told) => told,
                Err(_) => {
                    answer(&service, reply, &not_rewritten(WAITS));
                    rewriting.await
                }
            };
            answer(&service, reply, &told);
        }
        Order::AclFile { service, save, reply } => {
            spawn_blocking(move || users::file(&service, &settings, save, reply)).await;
        }
        // Ends aren't about files.
        Order::AbortShutdown | Order::Shutdown { .. } | Order::Exit { .. } => {}
    }
}

fn answer(service: &Arc<Service>, reply: Option<(SessionId, u64)>, text: &str) {
    if let Some((session, ticket)) = reply {
        service.turn(|engine| engine.complete(session, ticket, text));
    }
}
