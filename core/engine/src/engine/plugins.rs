//! What plugins bring into the engine, and what goes with them when they stop.

use std::sync::Arc;

use super::Engine;
use crate::core::{Hook, InfoSection};
use crate::foreign::{ForeignBody, ForeignConfig, ForeignHook, ForeignInfo, ForeignRegistry};
use crate::registry::{Command, OwnedSpec};
use crate::session::{Parked, SessionId};

impl Engine {
    /// A plugin's command joins. `replace` lets it take the place of a native one (endpoints only).
    pub fn register_command(
        &mut self,
        plugin: &str,
        spec: OwnedSpec,
        body: ForeignBody,
        replace: bool,
    ) -> Result<&'static Command, String> {
        let command = self.core.registry.add_foreign(plugin, spec, body, replace)?;
        self.size_stats();
        self.core.acl.compile(&self.core.registry);
        Ok(command)
    }

    /// A plugin's INFO section joins. If the core (or another plugin) has one of that name, it takes its place, or with
    /// `append` its fields take the place of those of the same name and the others follow.
    pub fn register_info(&mut self, plugin: &str, section: &str, append: bool, body: Arc<dyn ForeignInfo>) {
        let name = section.to_ascii_lowercase();
        self.core.info_sections.push(InfoSection { plugin: plugin.to_owned(), name, body, append });
    }

    /// A plugin's parameter joins.
    pub fn register_config(
        &mut self,
        plugin: &str,
        name: &str,
        alias: Option<&str>,
        body: Arc<dyn ForeignConfig>,
    ) -> Result<(), String> {
        self.core.config.add_foreign(plugin, name, alias, body)
    }

    /// A plugin's hook joins.
    pub fn register_hook(&mut self, plugin: &str, hook: Arc<dyn ForeignHook>) {
        self.core.hooks.push(Hook { plugin: plugin.to_owned(), hook });
        self.core.count_hooks();
    }

    /// Where PLUGIN LIST looks.
    pub fn set_plugins(&mut self, plugins: Arc<dyn ForeignRegistry>) {
        // Their parameters have values from here on.
        self.core.config.refresh();
        self.core.plugins = Some(plugins);
    }

    /// Forgets everything that a plugin registered. Its waiting sessions get an error.
    pub fn unregister_plugin(&mut self, plugin: &str) {
        self.core.registry.remove_plugin(plugin);
        self.detach_plugin(plugin);
    }

    /// The same at the end, where everything is paused: its commands keep their names, so that who sends one waits like
    /// everybody, and isn't told that there is no such command.
    pub fn detach_plugin(&mut self, plugin: &str) {
        self.core.info_sections.retain(|section| section.plugin != plugin);
        self.core.config.remove_plugin(plugin);
        self.core.hooks.retain(|hook| hook.plugin != plugin);
        self.core.count_hooks();
        self.core.forget_pause(plugin);
        let waiting: Vec<(SessionId, u64)> = self
            .core
            .sessions
            .iter()
            .filter_map(|session| match &session.state.parked {
                Some(Parked::Async { ticket, command, .. }) if command.plugin.as_deref() == Some(plugin) => {
                    Some((session.state.id, *ticket))
                }
                _ => None,
            })
            .collect();
        for (id, ticket) in waiting {
            self.complete(id, ticket, b"-ERR the plugin of this command was stopped\r\n");
        }
    }
}
