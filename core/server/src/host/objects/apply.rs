//! A primary's stream, or an append-only file, being executed. A stream belongs to one history of the journal: whoever gives
//! the journal another one (a promotion, a full sync) ends it in the same turn, so that no byte of an old primary is executed
//! behind that. While the server is asked to end it stands still: what is executed then may be in no file, and must not be
//! acknowledged.

use super::{drop_object, object, value};
use crate::host::frame::refused_in_turn;
use crate::net::service::Service;
use keystead_abi::glue::{OwnedBuf, export_future};
use keystead_abi::{self as abi, ApplyApi, Buf, Future, Object, Out};
use keystead_engine::{Applied, ApplyState};
use parking_lot::Mutex;
use std::ffi::c_void;
use std::sync::Arc;
use std::time::Duration;

/// Time between two looks whether a server that was asked to end goes on after all.
const STANDS_STILL: Duration = Duration::from_millis(20);

/// Bytes executed in one turn: about a millisecond of small commands.
const STEP: usize = 64 << 10;

struct Inner {
    service: Arc<Service>,
    history: u64,
    state: Mutex<State>,
}

struct State {
    apply: ApplyState,
    offset: u64,
    /// An append-only file: of no history.
    file: bool,
}

struct Apply(Arc<Inner>);

static API: ApplyApi = ApplyApi {
    size: size_of::<ApplyApi>() as u32,
    kind: abi::KIND_APPLY,
    drop: drop_object::<Apply>,
    feed,
    reset,
    offset,
};

/// A stream that goes on from an offset of a history, with a database selected.
pub(crate) fn new(service: Arc<Service>, db: usize, history: u64, offset: u64) -> Object {
    let state = Mutex::new(State { apply: ApplyState::new(db), offset, file: false });
    object(Apply(Arc::new(Inner { service, history, state })), &API)
}

/// An append-only file from its first byte.
pub(crate) fn replay(service: Arc<Service>) -> Object {
    let state = Mutex::new(State { apply: ApplyState::of_file(), offset: 0, file: true });
    object(Apply(Arc::new(Inner { service, history: 0, state })), &API)
}

/// Executes bytes of a file in steps. A command that is longer than one is looked at again with all that its header promises,
/// so that it isn't copied.
fn execute_file(service: &Arc<Service>, apply: &mut ApplyState, bytes: &[u8]) -> Result<(), String> {
    let (mut rest, mut step) = (bytes, STEP);
    while !rest.is_empty() {
        let piece = &rest[..rest.len().min(step)];
        if apply.pending() > 0 {
            service.turn_of_job(|engine| engine.replay(apply, piece))?;
            rest = &rest[piece.len()..];
            continue;
        }
        let whole = service.turn_of_job(|engine| engine.replay_whole(apply, piece))?;
        if whole == 0 && piece.len() == rest.len() {
            // The next call has what is missing.
            return service.turn_of_job(|engine| engine.replay(apply, rest));
        }
        step = if whole == 0 { piece.len().saturating_add(apply.promised().max(STEP)) } else { STEP };
        rest = &rest[whole..];
    }
    Ok(())
}

/// Executes bytes of a file; what is told of that.
fn run_file(inner: &Inner, bytes: &[u8]) -> Result<Out, String> {
    let mut state = inner.state.lock();
    execute_file(&inner.service, &mut state.apply, bytes)?;
    let refused = state.apply.take_refused();
    Ok(Out { b: refused.count, buf: Buf::new(refused.first.unwrap_or_default()), ..Out::DONE })
}

/// Executes bytes of a stream in steps, as soon as the server may; what is told of that.
async fn run_stream(inner: &Inner, bytes: &[u8]) -> Result<Out, String> {
    let mut acks: Vec<u64> = Vec::new();
    for piece in bytes.chunks(STEP) {
        let applied = loop {
            match step(inner, piece)? {
                Some(applied) => break applied,
                None => async_std::task::sleep(STANDS_STILL).await,
            }
        };
        acks.extend(applied.acks);
    }
    let list: Vec<u8> = acks.iter().flat_map(|ack| ack.to_le_bytes()).collect();
    let offset = inner.state.lock().offset;
    Ok(Out { a: offset, b: acks.len() as u64, buf: Buf::new(list), ..Out::DONE })
}

/// One turn; none where the server was asked to end.
fn step(inner: &Inner, piece: &[u8]) -> Result<Option<Applied>, String> {
    let mut state = inner.state.lock();
    let applied = inner.service.turn_of_job(|engine| {
        if engine.core.journal.history() != inner.history {
            return Err("the journal has another history now".to_owned());
        }
        if engine.core.shutting_down {
            return Ok(None);
        }
        engine.apply_stream(&mut state.apply, piece).map(Some)
    })?;
    if let Some(applied) = &applied {
        state.offset = applied.offset;
    }
    Ok(applied)
}

unsafe extern "C" fn feed(data: *mut c_void, bytes: Buf) -> Future {
    // SAFETY: the contract of `ks_apply_api`; the buffer is handed over.
    let (inner, bytes) = unsafe { (value::<Apply>(data).0.clone(), OwnedBuf::new(bytes)) };
    export_future(async move {
        if let Some(refused) = refused_in_turn() {
            return refused;
        }
        let bytes = bytes.as_ref();
        let file = inner.state.lock().file;
        let done = if file { run_file(&inner, bytes) } else { run_stream(&inner, bytes).await };
        done.unwrap_or_else(|reason| Out::failed(abi::ERR, reason))
    })
}

unsafe extern "C" fn reset(data: *mut c_void) {
    // SAFETY: as above.
    let inner = unsafe { &value::<Apply>(data).0 };
    let _ = crate::host::guarded(|| inner.state.lock().apply.reset());
}

unsafe extern "C" fn offset(data: *mut c_void) -> u64 {
    // SAFETY: as above.
    unsafe { value::<Apply>(data) }.0.state.lock().offset
}
