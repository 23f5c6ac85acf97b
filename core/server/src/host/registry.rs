//! What PLUGIN LIST, PLUGIN INFO and MODULE LIST show.

use super::Core;
use super::plugin::{Plugin, Stage};
use keystead_engine::foreign::{ForeignRegistry, PluginInfo};
use std::sync::{Arc, Weak};

/// The loaded plugins.
pub(super) struct Registry(Weak<Core>);

impl Registry {
    /// As the engine wants it.
    pub(super) fn shared(core: &Arc<Core>) -> Arc<dyn ForeignRegistry> {
        Arc::new(Registry(Arc::downgrade(core)))
    }
}

impl ForeignRegistry for Registry {
    fn keeps_data(&self) -> bool {
        self.0.upgrade().is_some_and(|core| core.save_sections().map_or(true, |records| !records.is_empty()))
    }

    fn plugins(&self) -> Vec<PluginInfo> {
        let Some(core) = self.0.upgrade() else { return Vec::new() };
        let plugins = core.plugins.read().clone();
        plugins.into_iter().map(|plugin| describe(&core, plugin)).collect()
    }
}

fn describe(core: &Core, plugin: &Plugin) -> PluginInfo {
    let stage = plugin.stage();
    let declared = &plugin.declaration;
    let facts = plugin.facts.lock();
    let contracts = core.contracts.lock();
    let mut rows = vec![
        ("boundary", format!("{}.{}", declared.major, declared.minor)),
        ("compiler", declared.compiler.clone()),
        ("commands", facts.commands.join(" ")),
        ("params", facts.params.join(" ")),
        ("info", facts.sections.join(" ")),
        ("hooks", facts.hooks.join(" ")),
        ("endpoints", facts.endpoints.join(" ")),
        ("provides", contracts.offers_of(plugin.slot).join(", ")),
        ("needs", contracts.needs_of(plugin.slot).join(", ")),
        ("tasks", plugin.tasks.len().0.to_string()),
    ];
    if let Stage::Faulted(reason) = &stage {
        rows.push(("fault", reason.clone()));
    }
    PluginInfo {
        name: plugin.name.clone(),
        version: declared.version.clone(),
        path: plugin.path.display().to_string(),
        state: stage.word().to_owned(),
        facts: rows.into_iter().map(|(name, value)| (name.to_owned(), value)).collect(),
    }
}
