//! State on the disk, the overlay, the end, faults, services and shared objects.

use super::{asynchronous, caller, failed};
use crate::host::plugin::Plugin;
use crate::host::tasks::Hold;
use crate::host::{Waiting, guarded, state};
use async_std::task::spawn_blocking;
use futures::channel::oneshot;
use keystead_abi::{self as abi, Buf, Future, Object, Out, Str, Waker};
use std::ffi::c_void;
use std::sync::atomic::Ordering;

pub(super) unsafe extern "C" fn persist_state(host: *mut c_void, bytes: Str) -> Future {
    // SAFETY: the contract of `ks_host_api`: the bytes live for the call.
    let (plugin, bytes) = unsafe { (caller(host), bytes.bytes().to_vec()) };
    let number = plugin.state_given.fetch_add(1, Ordering::Relaxed) + 1;
    asynchronous(move || async move {
        let path = state::path(&plugin.host().server.state_dir(), &plugin.name);
        let written = on_its_own_thread(move || {
            let mut last = plugin.state_lock.lock();
            // A later state is on the disk already: an earlier one must not overtake it.
            if *last > number {
                return Ok(());
            }
            state::write(&path, &bytes).map_err(|error| format!("{}: {error}", path.display()))?;
            *last = number;
            Ok(())
        });
        match written.await {
            Ok(()) => Out::DONE,
            Err(reason) => failed(reason),
        }
    })
}

/// Not by the runtime, all of whose threads may wait for a turn: a turn may wait for this.
async fn on_its_own_thread(work: impl FnOnce() -> Result<(), String> + Send + 'static) -> Result<(), String> {
    let (done, told) = oneshot::channel();
    let thread = std::thread::Builder::new().name("state".to_owned());
    thread.spawn(move || drop(done.send(work()))).map_err(|error| error.to_string())?;
    told.await.unwrap_or_else(|_| Err("the write was cut off".to_owned()))
}

pub(super) unsafe extern "C" fn read_state(host: *mut c_void, out: *mut Buf) -> u32 {
    // SAFETY: as above; the caller gives room for one buffer.
    let plugin = unsafe { caller(host) };
    let path = state::path(&plugin.host().server.state_dir(), &plugin.name);
    match state::read(&path) {
        Ok(Some(bytes)) => {
            // SAFETY: see above.
            unsafe { out.write(Buf::new(bytes)) };
            abi::OK
        }
        Ok(None) => abi::ERR,
        Err(error) => {
            let why = format!("its state {} can't be read: {error}", path.display());
            // SAFETY: see above.
            unsafe { out.write(Buf::new(why.into_bytes())) };
            abi::ERR
        }
    }
}

pub(super) unsafe extern "C" fn rewrite_config(host: *mut c_void) -> Future {
    // SAFETY: as above.
    let plugin = unsafe { caller(host) };
    asynchronous(move || async move {
        match spawn_blocking(move || plugin.host().server.rewrite_config()).await {
            Ok(()) => Out::DONE,
            Err(reason) => failed(reason),
        }
    })
}

pub(super) unsafe extern "C" fn shutdown(host: *mut c_void, kind: u32) {
    // SAFETY: as above.
    let plugin = unsafe { caller(host) };
    log::warn!("plugin {} ends the server", plugin.name);
    let _ = guarded(|| plugin.host().server.shutdown(kind == abi::SHUTDOWN_CLEAN));
}

pub(super) unsafe extern "C" fn fault(host: *mut c_void, reason: Str) {
    // SAFETY: as above; the reason lives for the call.
    let (plugin, reason) = unsafe { (caller(host), reason.text()) };
    let _ = guarded(|| plugin.fault(&reason));
}

pub(super) unsafe extern "C" fn service_call(host: *mut c_void, service: Str, provider: Str, message: Str) -> Future {
    // SAFETY: as above; the strings live for the call.
    let (plugin, service, provider) = unsafe { (caller(host), service.text(), provider.text()) };
    let host = plugin.host();
    let chosen = guarded(|| {
        let offer = host.contracts.lock().choose(&service, &provider, &host.names())?;
        let owner = host.plugins.read().get(offer.plugin as usize).copied();
        let hold =
            owner.and_then(Plugin::hold).ok_or_else(|| format!("the plugin of the service {service} was stopped"))?;
        Ok((offer, hold))
    });
    match chosen {
        // SAFETY: data and function belong together; the message lives for the call. The future is the provider's.
        Ok(Ok((offer, hold))) => answer(unsafe { (offer.call)(offer.data, message) }, hold),
        Ok(Err(reason)) | Err(reason) => asynchronous(move || async move { failed(reason) }),
    }
}

/// An answer on its way: the provider's future, which another plugin polls.
struct Answer {
    future: Future,
    /// The provider isn't taken away meanwhile.
    _hold: Hold,
}

impl Drop for Answer {
    fn drop(&mut self) {
        // SAFETY: called once, behind the last poll.
        self.future.drop.into_iter().for_each(|drop| unsafe { drop(self.future.data) });
    }
}

fn answer(future: Future, hold: Hold) -> Future {
    let data = Box::into_raw(Box::new(Answer { future, _hold: hold })).cast();
    Future { data, poll: Some(poll_answer), drop: Some(drop_answer) }
}

unsafe extern "C" fn poll_answer(data: *mut c_void, waker: *const Waker, out: *mut Out) -> u32 {
    // SAFETY: `answer` made it, and it isn't dropped yet; waker and room are the caller's.
    unsafe {
        let future = &(*data.cast::<Answer>()).future;
        match future.poll {
            Some(poll) => poll(future.data, waker, out),
            None => {
                out.write(Out::DONE);
                abi::READY
            }
        }
    }
}

unsafe extern "C" fn drop_answer(data: *mut c_void) {
    // SAFETY: `answer` made it; called once.
    drop(unsafe { Box::from_raw(data.cast::<Answer>()) });
}

pub(super) unsafe extern "C" fn service_providers(host: *mut c_void, service: Str, out: *mut Buf) {
    // SAFETY: as above; the caller gives room for one buffer.
    let (plugin, service) = unsafe { (caller(host), service.text()) };
    let host = plugin.host();
    let names = host.names();
    let contracts = host.contracts.lock();
    let offers = contracts.providers(&service);
    let list: Vec<&str> = offers.filter_map(|offer| names.get(offer.plugin as usize)).map(String::as_str).collect();
    // SAFETY: see above.
    unsafe { out.write(Buf::new(list.join("\n"))) };
}

pub(super) unsafe extern "C" fn share(host: *mut c_void, object: Object) -> u64 {
    // SAFETY: as above; the object is handed over.
    let plugin = unsafe { caller(host) };
    let mut shared = plugin.host().shared.lock();
    shared.last += 1;
    let number = shared.last;
    shared.objects.insert(number, Waiting(object));
    number
}

pub(super) unsafe extern "C" fn take(host: *mut c_void, number: u64, kind: u32, out: *mut Object) -> u32 {
    // SAFETY: as above; the caller gives room for one object.
    let plugin = unsafe { caller(host) };
    let mut shared = plugin.host().shared.lock();
    let fits = |waiting: &Waiting| {
        // SAFETY: every object's table starts with the head.
        !waiting.0.is_none() && unsafe { (*waiting.0.api).kind } == kind
    };
    if !shared.objects.get(&number).is_some_and(fits) {
        return abi::ERR;
    }
    let Some(Waiting(object)) = shared.objects.remove(&number) else { return abi::ERR };
    // SAFETY: see above.
    unsafe { out.write(object) };
    abi::OK
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::host::tasks::Group;
    use keystead_abi::glue::import_future;

    /// A plugin that fails while another awaits its answer: the future is of its code.
    #[test]
    fn an_answer_on_its_way_holds_its_provider() {
        let group = Group::default();
        let hold = group.hold().expect("it is open");
        let answer = answer(asynchronous(|| async { Out::DONE }), hold);
        group.close();
        assert!(!group.is_empty());
        // SAFETY: it is ours, and imported once.
        let done = async_std::task::block_on(unsafe { import_future(answer) });
        assert_eq!(done.status, abi::OK);
        assert!(group.is_empty());
    }
}
