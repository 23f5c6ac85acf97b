//! The TLS parameters behind CONFIG SET: all that one call changes is tried together, and if the files or the port don't
//! do, what was in force stays. Ports beside the one with the keys go by its word, but for their own port for TLS: they
//! are of one process, which has one certificate.

use super::context::{Both, Context};
use super::values::Values;
use crate::net::Port;
use keystead_engine::Engine;
use keystead_engine::config::ParamGroup;
use keystead_engine::foreign::ForeignConfig;
use parking_lot::Mutex;
use std::collections::BTreeMap;
use std::sync::{Arc, Weak};

/// What CONFIG SET is answered when the log has the reason, as in Redis.
const REFUSED: &str = "Unable to update TLS configuration. Check server logs.";

/// Who calls them that, where a parameter needs an owner.
const OWNER: &str = "keystead";
/// The one parameter that each port has for itself.
const OWN_PORT: &str = "tls-port";

/// One engine's switch.
#[derive(Default)]
pub(crate) struct Switch {
    context: Arc<Context>,
    /// Whose listeners `tls-port` moves; none until it is bound.
    port: Mutex<Weak<Port>>,
    /// Engines that go by this one's word.
    beside: Mutex<Vec<Beside>>,
    /// What they are told: the parameters as they are in force.
    word: Arc<Mutex<BTreeMap<String, String>>>,
}

/// An engine beside.
struct Beside {
    context: Arc<Context>,
    /// It has a port for TLS.
    listens: bool,
}

/// A parameter of an engine beside: shown there, set here.
struct Followed {
    name: String,
    word: Arc<Mutex<BTreeMap<String, String>>>,
}

impl ForeignConfig for Followed {
    fn get(&self) -> String {
        self.word.lock().get(&self.name).cloned().unwrap_or_default()
    }

    fn set(&self, _value: &str) -> Result<(), String> {
        Err("it is the data port's".into())
    }

    fn mutable(&self) -> bool {
        false
    }
}

impl Switch {
    /// The switch of this engine, which goes by nobody's word.
    pub(crate) fn alone(engine: &Engine) -> Switch {
        let switch = Switch::default();
        let own = engine.core.config.matching(&[b"tls-*"]).into_iter().filter(|(name, _)| name != OWN_PORT);
        switch.word.lock().extend(own);
        switch
    }

    /// The switch of an engine beside this one, whose parameters are from now on these.
    pub(crate) fn beside(&self, engine: &mut Engine) -> Result<Switch, String> {
        let switch = Switch::default();
        let names: Vec<String> = self.word.lock().keys().cloned().collect();
        for name in names {
            if engine.core.config.get(&name).is_none() {
                continue;
            }
            let followed = Followed { name: name.clone(), word: self.word.clone() };
            engine.register_config(OWNER, &name, None, Arc::new(followed))?;
        }
        let listens = engine.core.config.int(OWN_PORT) != 0;
        self.beside.lock().push(Beside { context: switch.context.clone(), listens });
        Ok(switch)
    }

    /// What the engine's connections use.
    pub(crate) fn context(&self) -> Arc<Context> {
        self.context.clone()
    }

    /// The listeners are there from now on.
    pub(crate) fn moves(&self, port: &Arc<Port>) {
        *self.port.lock() = Arc::downgrade(port);
    }

    /// The first configuration, with what is to be warned of; the error says why there can be none.
    pub(crate) fn start(&self, values: &Values) -> Result<Vec<String>, String> {
        if !values.needed() {
            return Ok(Vec::new());
        }
        let both = Both::make(values)?;
        let warnings = both.warnings.clone();
        self.context.put(Some(both));
        Ok(warnings)
    }

    /// This engine's context and those of the engines beside.
    fn contexts(&self) -> Vec<Arc<Context>> {
        let beside = self.beside.lock();
        std::iter::once(&self.context).chain(beside.iter().map(|other| &other.context)).cloned().collect()
    }

    fn needed(&self, values: &Values) -> bool {
        values.needed() || self.beside.lock().iter().any(|other| other.listens)
    }

    /// The listeners go where the values say, if there are any yet.
    fn move_port(&self, values: &Values) -> Result<(), String> {
        let port = self.port.lock().upgrade();
        port.map_or(Ok(()), |port| port.move_tls(values.port))
    }
}

impl ParamGroup for Switch {
    fn has(&self, name: &str) -> bool {
        name.starts_with("tls-")
    }

    fn apply(&self, value: &dyn Fn(&str) -> String) -> Result<(), String> {
        let values = Values::read(value);
        let contexts = self.contexts();
        let before: Vec<_> = contexts.iter().map(|context| context.now()).collect();
        if self.needed(&values) {
            let both = Both::make(&values).map_err(|why| {
                log::warn!("{why}");
                REFUSED.to_owned()
            })?;
            both.warnings.iter().for_each(|line| log::warn!("{line}"));
            contexts.iter().for_each(|context| context.put(Some(both.clone())));
        }
        if let Err(why) = self.move_port(&values) {
            log::warn!("{why}");
            contexts.iter().zip(before).for_each(|(context, before)| context.put(before));
            return Err(crate::net::UNABLE.into());
        }
        self.word.lock().iter_mut().for_each(|(name, said)| *said = value(name));
        Ok(())
    }
}
