//! The group of a plugin's tasks: futures of plugins polled by the core's executor, cancelled together. And those who may be
//! in its code beside them, for whom its end waits.

use futures::future::{AbortHandle, Abortable};
use parking_lot::Mutex;
use std::collections::HashMap;
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

/// The tasks of one plugin.
#[derive(Default)]
pub(super) struct Group(Arc<Mutex<Tasks>>);

#[derive(Default)]
struct Tasks {
    last: u64,
    running: HashMap<u64, AbortHandle>,
    /// How many may be in its code beside the tasks.
    held: usize,
    /// The plugin was stopped: nothing is started any more.
    closed: bool,
}

/// The plugin's code may be called until this is dropped.
pub(super) struct Hold(Arc<Mutex<Tasks>>);

impl Drop for Hold {
    fn drop(&mut self) {
        self.0.lock().held -= 1;
    }
}

impl Group {
    /// Whoever calls the plugin outside of its tasks has this meanwhile. None once the group is closed.
    pub(super) fn hold(&self) -> Option<Hold> {
        let mut tasks = self.0.lock();
        if tasks.closed {
            return None;
        }
        tasks.held += 1;
        Some(Hold(self.0.clone()))
    }

    /// Runs a future as a task. 0, and the future is dropped, once the group is closed.
    pub(super) fn spawn(&self, future: impl Future<Output = ()> + Send + 'static) -> u64 {
        let (handle, registration) = AbortHandle::new_pair();
        let id = {
            let mut tasks = self.0.lock();
            if tasks.closed {
                return 0;
            }
            tasks.last += 1;
            let id = tasks.last;
            tasks.running.insert(id, handle);
            id
        };
        let group = self.0.clone();
        async_std::task::spawn(async move {
            let _ = Abortable::new(future, registration).await;
            // The future is dropped here, before the task leaves the table: who waits for an empty table waits for that.
            group.lock().running.remove(&id);
        });
        id
    }

    /// Cancels one task.
    pub(super) fn cancel(&self, id: u64) {
        if let Some(handle) = self.0.lock().running.get(&id) {
            handle.abort();
        }
    }

    /// Cancels all and takes no more.
    pub(super) fn close(&self) {
        let mut tasks = self.0.lock();
        tasks.closed = true;
        for handle in tasks.running.values() {
            handle.abort();
        }
    }

    /// How many tasks run, and how many others may be in the plugin's code.
    pub(super) fn len(&self) -> (usize, usize) {
        let tasks = self.0.lock();
        (tasks.running.len(), tasks.held)
    }

    /// Nobody is in the plugin's code.
    pub(super) fn is_empty(&self) -> bool {
        self.len() == (0, 0)
    }

    /// Waits until every task is gone, and with `others` everybody; false if the time is over first.
    pub(super) async fn wait_empty(&self, limit: Duration, others: bool) -> bool {
        let step = Duration::from_millis(2);
        let mut waited = Duration::ZERO;
        while self.len().0 > 0 || others && !self.is_empty() {
            if waited >= limit {
                return false;
            }
            async_std::task::sleep(step).await;
            waited += step;
        }
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_closed_group_drops_its_futures() {
        async_std::task::block_on(async {
            let group = Group::default();
            let held = Arc::new(());
            for _ in 0..3 {
                let held = held.clone();
                group.spawn(async move {
                    std::future::pending::<()>().await;
                    drop(held);
                });
            }
            let one = {
                let held = held.clone();
                group.spawn(async move {
                    std::future::pending::<()>().await;
                    drop(held);
                })
            };
            group.cancel(one);
            group.close();
            assert!(group.wait_empty(Duration::from_secs(10), true).await);
            assert_eq!(Arc::strong_count(&held), 1);
            assert_eq!(group.spawn(async {}), 0);
        });
    }

    #[test]
    fn who_is_in_the_plugin_s_code_is_waited_for() {
        async_std::task::block_on(async {
            let group = Group::default();
            let hold = group.hold().expect("it is open");
            group.close();
            assert!(group.hold().is_none(), "nobody comes any more");
            assert!(group.wait_empty(Duration::from_millis(5), false).await, "no task runs");
            assert!(!group.wait_empty(Duration::from_millis(5), true).await);
            drop(hold);
            assert!(group.wait_empty(Duration::ZERO, true).await && group.is_empty());
        });
    }
}
