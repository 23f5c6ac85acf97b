//! `std::task::Waker` to `ks_waker` and back, without an allocation per poll.
//!
//! A waker that comes back to the side that made it is used directly: its table is compared, as `Waker::vtable` is.

use crate::basic::{Waker as RawKs, WakerApi};
use std::mem::ManuallyDrop;
use std::ptr;
use std::sync::Arc;
use std::task::{RawWaker, RawWakerVTable, Waker};

/// A waker of ours as the other side sees it. The head must be first.
#[repr(C)]
struct Own {
    head: RawKs,
    waker: Waker,
}

// SAFETY: the head points to a static table that nobody writes to; the waker is Send.
unsafe impl Send for Own {}
// SAFETY: as above; the waker is Sync.
unsafe impl Sync for Own {}

static OWNED: WakerApi = WakerApi {
    size: size_of::<WakerApi>() as u32,
    reserved: 0,
    clone: owned_clone,
    wake: owned_wake,
    wake_by_ref: own_wake_by_ref,
    drop: owned_drop,
};

/// For the one that lives on the stack during a poll: a clone moves it to the heap.
static BORROWED: WakerApi = WakerApi {
    size: size_of::<WakerApi>() as u32,
    reserved: 0,
    clone: borrowed_clone,
    wake: own_wake_by_ref,
    wake_by_ref: own_wake_by_ref,
    drop: borrowed_drop,
};

unsafe extern "C" fn owned_clone(waker: *const RawKs) -> *const RawKs {
    // SAFETY: an owned waker of ours is an Arc<Own> with at least one count.
    unsafe { Arc::increment_strong_count(waker.cast::<Own>()) };
    waker
}

unsafe extern "C" fn owned_wake(waker: *const RawKs) {
    // SAFETY: as `owned_clone`; the count is given up here.
    let own = unsafe { Arc::from_raw(waker.cast::<Own>()) };
    own.waker.wake_by_ref();
}

unsafe extern "C" fn own_wake_by_ref(waker: *const RawKs) {
    // SAFETY: both tables belong to an `Own` that is alive during the call.
    unsafe { &(*waker.cast::<Own>()).waker }.wake_by_ref();
}

unsafe extern "C" fn owned_drop(waker: *const RawKs) {
    // SAFETY: as `owned_clone`; the count is given up here.
    drop(unsafe { Arc::from_raw(waker.cast::<Own>()) });
}

unsafe extern "C" fn borrowed_clone(waker: *const RawKs) -> *const RawKs {
    // SAFETY: a borrowed waker is only used during the poll it was made for.
    let own = unsafe { &*waker.cast::<Own>() };
    Arc::into_raw(Arc::new(Own { head: RawKs { api: &OWNED }, waker: own.waker.clone() })).cast()
}

unsafe extern "C" fn borrowed_drop(_waker: *const RawKs) {}

/// Calls `f` with a borrowed `ks_waker` for a waker.
pub fn with_waker<R>(waker: &Waker, f: impl FnOnce(*const RawKs) -> R) -> R {
    if ptr::eq(waker.vtable(), &FOREIGN) {
        // It came from the other side and goes back there: no wrapper.
        return f(waker.data().cast());
    }
    // SAFETY: the copy is never dropped, and `Own` doesn't outlive the borrow of `waker`.
    let copy = unsafe { ptr::read(waker) };
    let own = ManuallyDrop::new(Own { head: RawKs { api: &BORROWED }, waker: copy });
    f((&raw const *own).cast())
}

/// The table of a std waker over a foreign `ks_waker`; its data is the owned reference itself.
static FOREIGN: RawWakerVTable = RawWakerVTable::new(foreign_clone, foreign_wake, foreign_wake_by_ref, foreign_drop);

unsafe fn foreign_clone(data: *const ()) -> RawWaker {
    let waker: *const RawKs = data.cast();
    // SAFETY: the reference is alive; the table's contract.
    let copy = unsafe { ((*(*waker).api).clone)(waker) };
    // A borrowed waker of our own side that went round comes back as ours: the caller unwraps those first.
    RawWaker::new(copy.cast(), &FOREIGN)
}

unsafe fn foreign_wake(data: *const ()) {
    let waker: *const RawKs = data.cast();
    // SAFETY: an owned reference, given up here.
    unsafe { ((*(*waker).api).wake)(waker) }
}

unsafe fn foreign_wake_by_ref(data: *const ()) {
    let waker: *const RawKs = data.cast();
    // SAFETY: the reference is alive.
    unsafe { ((*(*waker).api).wake_by_ref)(waker) }
}

unsafe fn foreign_drop(data: *const ()) {
    let waker: *const RawKs = data.cast();
    // SAFETY: an owned reference, given up here.
    unsafe { ((*(*waker).api).drop)(waker) }
}

/// A borrowed `ks_waker` as a std waker for the time of a poll.
pub struct WakerRef(ManuallyDrop<Waker>);

impl WakerRef {
    /// Borrows a received waker.
    ///
    /// # Safety
    /// `waker` is alive for as long as the value is used.
    pub unsafe fn new(waker: *const RawKs) -> WakerRef {
        // SAFETY: the caller's; the table is readable as long as the waker is.
        let api = unsafe { (*waker).api };
        if ptr::eq(api, &OWNED) || ptr::eq(api, &BORROWED) {
            // SAFETY: both tables are ours, so an `Own` is behind it; the copy is never dropped.
            return WakerRef(ManuallyDrop::new(unsafe { ptr::read(&raw const (*waker.cast::<Own>()).waker) }));
        }
        // SAFETY: FOREIGN's functions keep the waker contract; `ManuallyDrop` keeps the borrow a borrow.
        WakerRef(ManuallyDrop::new(unsafe { Waker::from_raw(RawWaker::new(waker.cast(), &FOREIGN)) }))
    }

    /// The waker.
    pub fn waker(&self) -> &Waker {
        &self.0
    }
}
