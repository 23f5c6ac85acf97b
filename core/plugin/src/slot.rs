//! Where handlers find the plugin: registered before it exists, called only after.

use std::sync::{Arc, OnceLock};

/// The place of the instance. Handlers hold it; `create` fills it once `init` returned.
pub(crate) struct Slot<P>(Arc<OnceLock<Arc<P>>>);

impl<P> Clone for Slot<P> {
    fn clone(&self) -> Self {
        Slot(self.0.clone())
    }
}

impl<P> Slot<P> {
    pub(crate) fn new() -> Slot<P> {
        Slot(Arc::new(OnceLock::new()))
    }

    pub(crate) fn fill(&self, plugin: Arc<P>) {
        let _ = self.0.set(plugin);
    }

    /// The plugin; the host calls nothing before `create` returned.
    pub(crate) fn get(&self) -> &Arc<P> {
        self.0.get().expect("the host calls handlers only after create")
    }
}
