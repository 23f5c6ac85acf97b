//! The file of a full sync's payload, once its data is in memory: offered to whoever keeps such files, so that a restart finds the
//! data without a save.
//!
//! Owns whether a file may be offered, and the order of what goes to the disk. All of it is done beside the link, which waits for
//! no disk.

use crate::plugin::Replication;
use crate::temporary::Temporary;
use crate::units::Position;
use keystead_plugin::prelude::*;
use keystead_rdb::StreamPoint;
use std::fs::File;

/// The file, removed unless somebody takes it.
#[derive(Debug)]
pub(crate) struct Payload {
    pub(crate) temporary: Temporary,
    pub(crate) file: File,
    /// Bytes of the RDB: what the primary put behind it isn't part of it.
    pub(crate) len: u64,
    /// Its place, as the file itself says it.
    pub(crate) named: Option<StreamPoint>,
}

impl Payload {
    /// A restart goes on from the place that the file names. Where that isn't what the primary said of it, one of both is wrong.
    pub(crate) fn is_at(&self, at: Option<Position>) -> bool {
        agree(self.named.as_ref(), at)
    }
}

fn agree(named: Option<&StreamPoint>, at: Option<Position>) -> bool {
    let (Some(named), Some(at)) = (named, at) else { return true };
    named.replid == at.replid.as_str() && named.offset == at.offset.0
}

impl Replication {
    /// `changes`: of the keys, up to which the payload has them.
    pub(crate) fn offer(self: &Arc<Self>, payload: Payload, changes: u64) {
        let this = self.clone();
        self.host.spawn(async move { this.offer_now(payload, changes).await });
    }

    async fn offer_now(&self, payload: Payload, changes: u64) {
        let _one_at_a_time = self.offering.lock().await;
        // Whose data it is, before the data: behind a restart it is kept from a primary that lost it.
        self.save_now().await;
        let Payload { temporary, file, len, .. } = payload;
        match self.host.blocking(move || file.set_len(len)).await.and_then(|cut| Ok(cut?)) {
            // Who took it has another name for it.
            Ok(()) => drop(self.recovery.offer(temporary.path(), changes).await),
            Err(error) => log::warn!("The payload of the full sync isn't kept as a file: {}", error.text()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::units::{Offset, ReplId};

    #[test]
    fn a_file_that_names_another_place_is_not_offered() {
        let named = |letter: &str, offset| StreamPoint { replid: letter.repeat(40), offset, stream_db: 0 };
        let at = Position { replid: ReplId::parse(&[b'a'; 40]).expect("forty letters"), offset: Offset(7) };
        for (named, at, fits) in [
            (Some(named("a", 7)), Some(at), true),
            (Some(named("a", 8)), Some(at), false),
            (Some(named("b", 7)), Some(at), false),
            // A restart takes everything again.
            (None, Some(at), true),
            // Behind SYNC only the file knows.
            (Some(named("a", 7)), None, true),
        ] {
            assert_eq!(agree(named.as_ref(), at), fits, "{named:?}");
        }
    }
}
