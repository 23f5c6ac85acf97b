//! How many handshakes go on at once. Who finds all places taken waits in front of the door, in the listening socket's queue, until
//! one is done: when a thousand clients come back at the same moment all of them get in. Only who says nothing is given up
//! for others: those who open connections and keep still can't keep anybody out, and hold no more descriptors than there
//! are places.

use async_io::Async;
use futures::channel::oneshot;
use parking_lot::Mutex;
use rustix::io::Errno;
use rustix::net::{RecvFlags, recv};
use std::collections::BTreeMap;
use std::net::TcpStream;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Nobody is given up before having had this long to say the first word, or the next one: a machine whose thousand clients all
/// come back has other things to do. Only if more than there are places come in a second, and say nothing, others have to
/// wait for them.
const FIRST_WORD: Duration = Duration::from_secs(1);
const NEXT_WORD: Duration = Duration::from_secs(3);
/// When to look again while those who seem silent have spoken, and it is us who are behind.
const LOOK_AGAIN: Duration = Duration::from_millis(10);
/// How often the log says that handshakes were given up: whoever floods us must not fill a disk.
const TOLD_EVERY: Duration = Duration::from_secs(1);

/// The handshakes of accepted connections that are going on.
#[derive(Clone)]
pub(crate) struct Pending {
    /// Holds a word for each place that is taken.
    taken: (async_channel::Sender<()>, async_channel::Receiver<()>),
    going: Arc<Mutex<Going>>,
}

#[derive(Default)]
struct Going {
    next: u64,
    all: BTreeMap<u64, Handshake>,
    /// Given up since the log was told.
    crowded: u64,
}

struct Handshake {
    socket: Arc<Async<TcpStream>>,
    /// From then on its peer is silent.
    silent: Instant,
    /// Dropping it ends the handshake.
    _end: oneshot::Sender<()>,
}

/// A place among them, from before a connection is accepted until its handshake is over.
pub(crate) struct Place {
    pending: Pending,
    id: u64,
}

impl Pending {
    /// So many at once.
    pub(crate) fn new(places: usize) -> Pending {
        Pending { taken: async_channel::bounded(places), going: Arc::default() }
    }

    /// So many at once from now on, said once and before the first one: the others' places are taken for ever.
    pub(crate) fn limit(&self, places: usize) {
        let all = self.taken.0.capacity().unwrap_or(places);
        (places..all).for_each(|_| _ = self.taken.0.try_send(()));
    }

    /// Waits for a place.
    pub(crate) async fn place(&self) -> Place {
        while self.taken.0.try_send(()).is_err() {
            let patience = self.make_room(Instant::now());
            // Room is where a handshake ended, be it that one.
            if async_std::future::timeout(patience, self.taken.0.send(())).await.is_ok() {
                break;
            }
        }
        let mut going = self.going.lock();
        going.next += 1;
        Place { pending: self.clone(), id: going.next }
    }

    /// All places are taken: gives up who has been silent for longest, if it was for long enough. When to come again.
    fn make_room(&self, now: Instant) -> Duration {
        let mut going = self.going.lock();
        let mut by_silence: Vec<(Instant, u64)> = going.all.iter().map(|(id, one)| (one.silent, *id)).collect();
        by_silence.sort_unstable();
        for (silent, id) in by_silence {
            let left = silent.saturating_duration_since(now);
            if !left.is_zero() {
                return left;
            }
            if going.all.get(&id).is_some_and(|one| !has_spoken(&one.socket)) {
                going.all.remove(&id);
                going.crowded += 1;
                if going.crowded == 1 {
                    async_std::task::spawn(self.clone().tell_crowded());
                }
                break;
            }
        }
        LOOK_AGAIN
    }

    async fn tell_crowded(self) {
        async_std::task::sleep(TOLD_EVERY).await;
        let count = std::mem::take(&mut self.going.lock().crowded);
        log::warn!(
            "Error accepting client connections: too many handshakes at once, {count} were given up for newer ones"
        );
    }
}

/// Something came that nobody has read yet, or the end.
fn has_spoken(socket: &Async<TcpStream>) -> bool {
    let mut byte = [0u8];
    !matches!(recv(socket.get_ref(), &mut byte, RecvFlags::PEEK | RecvFlags::DONTWAIT), Err(Errno::AGAIN))
}

impl Place {
    /// The handshake begins; it ends before its time when what this gives is there.
    pub(super) fn begin(&self, socket: Arc<Async<TcpStream>>) -> oneshot::Receiver<()> {
        let (end, ended) = oneshot::channel();
        let handshake = Handshake { socket, silent: Instant::now() + FIRST_WORD, _end: end };
        self.pending.going.lock().all.insert(self.id, handshake);
        ended
    }

    /// The peer said something.
    pub(super) fn heard(&self) {
        if let Some(handshake) = self.pending.going.lock().all.get_mut(&self.id) {
            handshake.silent = Instant::now() + NEXT_WORD;
        }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.pending.going.lock().all.remove(&self.id);
        let _ = self.pending.taken.1.try_recv();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures::FutureExt;
    use std::io::Write;
    use std::net::TcpListener;

    const AT_ONCE: usize = 256;

    /// A handshake that has begun: the peer, and what tells of its end.
    struct Begun {
        peer: TcpStream,
        place: Place,
        ended: oneshot::Receiver<()>,
    }

    fn begin(pending: &Pending, listener: &TcpListener) -> Begun {
        let place = pending.place().now_or_never().expect("there is room");
        let peer = TcpStream::connect(listener.local_addr().expect("bound")).expect("connected");
        let (socket, _) = listener.accept().expect("one");
        let ended = place.begin(Arc::new(Async::new(socket).expect("watched")));
        Begun { peer, place, ended }
    }

    fn crowd() -> (Pending, TcpListener, Vec<Begun>) {
        let (pending, listener) = (Pending::new(AT_ONCE), TcpListener::bind("127.0.0.1:0").expect("a free port"));
        let all = (0..AT_ONCE).map(|_| begin(&pending, &listener)).collect();
        (pending, listener, all)
    }

    fn given_up(all: &mut [Begun]) -> Vec<usize> {
        (0..all.len()).filter(|at| !matches!(all[*at].ended.try_recv(), Ok(None))).collect()
    }

    #[test]
    fn who_comes_waits_until_one_is_done() {
        let (pending, _listener, mut all) = crowd();
        let mut next = Box::pin(pending.place());
        assert!(next.as_mut().now_or_never().is_none(), "all places are taken");
        assert!(given_up(&mut all).is_empty(), "by some who had no time yet to say anything");
        all.truncate(AT_ONCE - 1);
        assert!(next.now_or_never().is_some());
    }

    #[test]
    fn fewer_places_stay_fewer() {
        let (pending, listener) = (Pending::new(AT_ONCE), TcpListener::bind("127.0.0.1:0").expect("a free port"));
        pending.limit(2);
        for _ in 0..2 {
            let _both = [begin(&pending, &listener), begin(&pending, &listener)];
            assert!(pending.place().now_or_never().is_none());
        }
    }

    #[test]
    fn only_the_silent_are_given_up_and_the_longest_silent_first() {
        let (pending, _listener, mut all) = crowd();
        // Of the first two one has spoken, though nobody has read it; the other one was heard.
        all[0].peer.write_all(b"x").expect("sent");
        all[1].place.heard();
        assert!(pending.make_room(Instant::now()) > LOOK_AGAIN, "they have time");
        assert!(given_up(&mut all).is_empty());
        let later = Instant::now() + FIRST_WORD;
        pending.make_room(later);
        assert_eq!(given_up(&mut all), [2]);
        pending.make_room(later);
        assert_eq!(given_up(&mut all), [2, 3]);
        (4..AT_ONCE).for_each(|_| _ = pending.make_room(later));
        assert!(pending.make_room(later) > LOOK_AGAIN, "the one that was heard has time");
        pending.make_room(Instant::now() + NEXT_WORD);
        let left: Vec<usize> = (1..AT_ONCE).collect();
        assert_eq!(given_up(&mut all), left, "who has spoken never goes");
        drop(all.remove(2));
        assert!(pending.place().now_or_never().is_some());
    }
}
