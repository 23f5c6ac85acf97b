//! Wakers, futures and buffers across the boundary, both ends in one process.

use keystead_abi::glue::{OwnedBuf, drop_future, export_future, import_future};
use keystead_abi::{Buf, ERR, OK, Out, PANICKED};
use std::future::Future;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll, Wake, Waker};

#[derive(Default)]
struct Count(AtomicUsize);

impl Wake for Count {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, Ordering::SeqCst);
    }
}

/// Pending once, with the waker cloned and woken from another thread; then ready.
#[derive(Default)]
struct Later {
    polled: bool,
}

impl Future for Later {
    type Output = Result<Out, String>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        if self.polled {
            return Poll::Ready(Ok(Out { a: 7, buf: Buf::new(b"done".to_vec()), ..Out::DONE }));
        }
        self.polled = true;
        let waker = cx.waker().clone();
        std::thread::spawn(move || waker.wake()).join().expect("a waker that doesn't panic");
        Poll::Pending
    }
}

#[test]
fn a_future_crosses_twice_and_wakes_its_poller() {
    // SAFETY: exported by this process and used once.
    let inner = unsafe { import_future(export_future(Later::default())) };
    // SAFETY: as above; a second crossing, as when one plugin passes another's future on.
    let outer = unsafe {
        import_future(export_future(async move { inner.await.ok().map(|done| Out { a: done.a, ..Out::DONE }) }))
    };
    let count = Arc::new(Count::default());
    let waker = Waker::from(count.clone());
    let mut outer = pin!(outer);
    assert!(outer.as_mut().poll(&mut Context::from_waker(&waker)).is_pending());
    assert_eq!(count.0.load(Ordering::SeqCst), 1);
    let Poll::Ready(done) = outer.as_mut().poll(&mut Context::from_waker(&waker)) else { panic!("still pending") };
    assert_eq!((done.status, done.a), (OK, 7));
    drop(waker);
    assert_eq!(Arc::strong_count(&count), 1, "every clone of the waker was dropped");
}

#[test]
fn panics_and_errors_are_results() {
    let poll = |future| {
        // SAFETY: exported below and used once.
        let future = pin!(unsafe { import_future(future) });
        match future.poll(&mut Context::from_waker(Waker::noop())) {
            Poll::Ready(done) => (done.status, done.buf.text()),
            Poll::Pending => panic!("pending"),
        }
    };
    let panics = async {
        if true {
            panic!("on purpose")
        }
    };
    assert_eq!(poll(export_future(panics)), (PANICKED, "on purpose".to_owned()));
    /// Thrown, it panics again when it is dropped, and so does what that throws.
    struct Again(u8);
    impl Drop for Again {
        fn drop(&mut self) {
            if self.0 > 0 {
                std::panic::panic_any(Again(self.0 - 1));
            }
        }
    }
    let panics = async {
        if true {
            std::panic::panic_any(Again(2))
        }
    };
    assert_eq!(poll(export_future(panics)), (PANICKED, "a panic without a message".to_owned()));
    let fails = async { Err::<(), _>("no") };
    assert_eq!(poll(export_future(fails)), (ERR, "no".to_owned()));
}

#[test]
fn buffers_give_their_memory_back_once() {
    struct Bytes {
        _held: Arc<()>,
        bytes: Vec<u8>,
    }
    impl AsRef<[u8]> for Bytes {
        fn as_ref(&self) -> &[u8] {
            &self.bytes
        }
    }
    let held = Arc::new(());
    let buf = Buf::new(Bytes { _held: held.clone(), bytes: b"abc".to_vec() });
    assert_eq!(Arc::strong_count(&held), 2);
    // SAFETY: made above and owned once.
    let owned = unsafe { OwnedBuf::new(buf) };
    assert_eq!(owned.as_ref(), b"abc");
    drop(owned);
    assert_eq!(Arc::strong_count(&held), 1);
    // SAFETY: as above; nothing is behind it.
    assert_eq!(unsafe { OwnedBuf::new(Buf::EMPTY) }.as_ref(), b"");
}

#[test]
fn a_future_that_is_dropped_drops_what_it_holds() {
    let held = Arc::new(());
    let inside = held.clone();
    let future = export_future(async move {
        std::future::pending::<()>().await;
        drop(inside);
    });
    assert_eq!(Arc::strong_count(&held), 2);
    // SAFETY: exported above and used once.
    unsafe { drop_future(future) };
    assert_eq!(Arc::strong_count(&held), 1);
}
