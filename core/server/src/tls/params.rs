//! The TLS parameters behind CONFIG SET: all that one call changes is tried together, and if the files or the port don't
//! do, what was in force stays.

use super::context::{Both, Context};
use super::values::Values;
use crate::net::Port;
use keystead_engine::config::ParamGroup;
use parking_lot::Mutex;
use std::sync::{Arc, Weak};

/// What CONFIG SET is answered when the log has the reason, as in Redis.
const REFUSED: &str = "Unable to update TLS configuration. Check server logs.";

/// One engine's switch.
#[derive(Default)]
pub(crate) struct Switch {
    context: Arc<Context>,
    /// Whose listeners `tls-port` moves; none until it is bound.
    port: Mutex<Weak<Port>>,
}

impl Switch {
    /// What the engine's connections use.
    pub(crate) fn context(&self) -> Arc<Context> {
        self.context.clone()
    }

    /// The listeners are there from now on.
    pub(crate) fn moves(&self, port: &Arc<Port>) {
        *self.port.lock() = Arc::downgrade(port);
    }

    /// The first configuration; the error says why there can be none.
    pub(crate) fn start(&self, values: &Values) -> Result<(), String> {
        if values.needed() {
            self.context.put(Some(Both::make(values)?));
        }
        Ok(())
    }
}

impl ParamGroup for Switch {
    fn has(&self, name: &str) -> bool {
        name.starts_with("tls-")
    }

    fn apply(&self, value: &dyn Fn(&str) -> String) -> Result<(), String> {
        let values = Values::read(value);
        let before = self.context.now();
        if values.needed() {
            match Both::make(&values) {
                Ok(both) => self.context.put(Some(both)),
                Err(why) => {
                    log::warn!("{why}");
                    return Err(REFUSED.into());
                }
            }
        }
        let Some(port) = self.port.lock().upgrade() else { return Ok(()) };
        port.move_tls(values.port).map_err(|why| {
            log::warn!("{why}");
            self.context.put(before);
            crate::net::UNABLE.into()
        })
    }
}
