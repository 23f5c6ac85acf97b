//! Who sent a command.

use keystead_abi as abi;
use std::any::Any;
use std::ffi::c_void;

/// The protocol a session speaks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Proto {
    /// RESP2
    #[default]
    Resp2,
    /// RESP3
    Resp3,
}

/// Who sent a command, as of when it ran.
#[derive(Clone, Debug, Default)]
pub struct ClientInfo {
    /// The session's id; 0 when there is no client (a plugin's own turn).
    pub id: u64,
    /// The peer's address as `ip:port`.
    pub addr: String,
    /// The own address as `ip:port`.
    pub laddr: String,
    /// CLIENT SETNAME.
    pub name: String,
    /// The ACL user.
    pub user: String,
    /// The selected database.
    pub db: u32,
    /// The protocol.
    pub proto: Proto,
    /// The replication offset behind the session's last write.
    pub write_offset: u64,
    /// The endpoint it is connected to; 0 is the data port.
    pub endpoint: u32,
    /// Inside MULTI; of a command that runs: EXEC runs it.
    pub in_multi: bool,
    /// A replica's session.
    pub is_replica: bool,
}

impl ClientInfo {
    /// The peer's IP address, without the port and without brackets.
    pub fn ip(&self) -> &str {
        self.addr.rsplit_once(':').map_or(self.addr.as_str(), |(ip, _)| ip).trim_matches(['[', ']'])
    }

    /// # Safety
    /// The strings are readable during the call.
    pub(crate) unsafe fn from_raw(raw: &abi::ClientInfo) -> ClientInfo {
        // SAFETY: the caller's.
        let [addr, laddr, name, user] =
            unsafe { [raw.addr.text(), raw.laddr.text(), raw.name.text(), raw.user.text()] };
        ClientInfo {
            id: raw.id,
            addr,
            laddr,
            name,
            user,
            db: raw.db,
            proto: if raw.proto == 3 { Proto::Resp3 } else { Proto::Resp2 },
            write_offset: raw.write_offset,
            endpoint: raw.endpoint,
            in_multi: raw.flags & abi::CLIENT_MULTI != 0,
            is_replica: raw.flags & abi::CLIENT_REPLICA != 0,
        }
    }
}

/// What a session's slot points to; two boxes, because a slot is one word.
pub(crate) type State = Box<dyn Any + Send>;

/// A state as the slot holds it.
pub(crate) fn state_into_raw(state: State) -> *mut c_void {
    Box::into_raw(Box::new(state)).cast()
}

/// # Safety
/// `raw` came from [`state_into_raw`] of this library and is used once.
pub(crate) unsafe fn state_from_raw(raw: *mut c_void) -> State {
    // SAFETY: the caller's.
    *unsafe { Box::from_raw(raw.cast::<State>()) }
}

/// # Safety
/// As [`state_from_raw`].
pub(crate) unsafe extern "C" fn drop_state(raw: *mut c_void) {
    let _ = keystead_abi::glue::guarded(|| {
        // SAFETY: the caller's.
        drop(unsafe { state_from_raw(raw) });
    });
}
