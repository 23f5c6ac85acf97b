//! A primary's stream, or an append-only file, being executed. A stream belongs to one history of the journal: whoever gives the journal another one
//! (a promotion, a full sync) ends it in the same turn, so that no byte of an old primary is executed behind that.

use super::{drop_object, object, value};
use crate::host::frame::refused_in_turn;
use crate::net::service::Service;
use keystead_abi::glue::{OwnedBuf, export_future};
use keystead_abi::{self as abi, ApplyApi, Buf, Future, Object, Out};
use keystead_engine::ApplyState;
use parking_lot::Mutex;
use std::ffi::c_void;
use std::sync::Arc;

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

/// Executes bytes in steps; what is told of that.
fn run(inner: &Inner, bytes: &[u8]) -> Result<Out, String> {
    let mut acks: Vec<u64> = Vec::new();
    let mut state = inner.state.lock();
    if state.file {
        execute_file(&inner.service, &mut state.apply, bytes)?;
        let refused = state.apply.take_refused();
        return Ok(Out { b: refused.count, buf: Buf::new(refused.first.unwrap_or_default()), ..Out::DONE });
    }
    for piece in bytes.chunks(STEP) {
        let applied = inner.service.turn_of_job(|engine| {
            if engine.core.journal.history() != inner.history {
                return Err("the journal has another history now".to_owned());
            }
            engine.apply_stream(&mut state.apply, piece)
        })?;
        state.offset = applied.offset;
        acks.extend(applied.acks);
    }
    let list: Vec<u8> = acks.iter().flat_map(|ack| ack.to_le_bytes()).collect();
    Ok(Out { a: state.offset, b: acks.len() as u64, buf: Buf::new(list), ..Out::DONE })
}

unsafe extern "C" fn feed(data: *mut c_void, bytes: Buf) -> Future {
    // SAFETY: the contract of `ks_apply_api`; the buffer is handed over.
    let (inner, bytes) = unsafe { (value::<Apply>(data).0.clone(), OwnedBuf::new(bytes)) };
    export_future(async move {
        if let Some(refused) = refused_in_turn() {
            return refused;
        }
        match run(&inner, bytes.as_ref()) {
            Ok(done) => done,
            Err(reason) => Out::failed(abi::ERR, reason),
        }
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
