//! Services between plugins: named, versioned, messages in MessagePack with named fields.

use crate::error::{Error, Result};
use crate::host::Host;
use serde::{Serialize, de::DeserializeOwned};
use std::marker::PhantomData;

/// A contract between plugins. Within a major version fields and cases are only added.
pub trait Service: Send + Sync + 'static {
    /// The contract's name, as `keystead.election`.
    const NAME: &'static str;
    /// The major version: another one doesn't fit.
    const MAJOR: u32;
    /// The minor version: what was added.
    const MINOR: u32;
    /// What is asked.
    type Request: Serialize + DeserializeOwned + Send;
    /// What is answered.
    type Answer: Serialize + DeserializeOwned + Send;
}

/// A service that this plugin declared to need.
pub struct Needed<S> {
    host: Host,
    _service: PhantomData<fn() -> S>,
}

impl<S> Clone for Needed<S> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<S> Copy for Needed<S> {}

impl<S: Service> Needed<S> {
    pub(crate) fn new(host: Host) -> Needed<S> {
        Needed { host, _service: PhantomData }
    }

    /// Asks the configured default provider.
    pub async fn call(&self, request: &S::Request) -> Result<S::Answer> {
        self.call_at("", request).await
    }

    /// Asks the provider of this name.
    pub async fn call_at(&self, provider: &str, request: &S::Request) -> Result<S::Answer> {
        let message = encode(request)?;
        let done = self.host.service_call(S::NAME, provider, &message).await.ok()?;
        decode(done.buf.as_ref())
    }

    /// The plugins that provide it; empty if none is loaded.
    pub fn providers(&self) -> Vec<String> {
        self.host.service_providers(S::NAME)
    }
}

/// A message as MessagePack with named fields, so that either side may know more fields than the other.
pub(crate) fn encode<T: Serialize>(message: &T) -> Result<Vec<u8>> {
    rmp_serde::to_vec_named(message).map_err(|error| Error::new(format!("a message can't be written: {error}")))
}

/// A message back.
pub(crate) fn decode<T: DeserializeOwned>(bytes: &[u8]) -> Result<T> {
    rmp_serde::from_slice(bytes).map_err(|error| Error::new(format!("a message makes no sense: {error}")))
}
