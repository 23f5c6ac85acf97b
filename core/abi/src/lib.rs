//! The frozen C boundary between the core and its plugins.
