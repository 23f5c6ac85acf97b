//! Listening sockets that a driver accepts on itself: a connection costs no other thread's wake-up. Owns the sockets and who
//! of them rests behind an error; what becomes of a connection is the driver's.

use super::super::keepalive::Keepalive;
use super::super::listen::{self, ACCEPT_PAUSE, Accepted};
use super::poller::Poller;
use std::io;
use std::net::TcpListener;
use std::sync::Arc;

/// Places of listening sockets among the poller's tokens begin here, far above those of clients.
const FIRST: u64 = 1 << 62;
/// Connections accepted at one look: so many clients wait for those who are there already (`MAX_ACCEPTS_PER_CALL`).
const MOST_AT_ONCE: usize = 1000;

/// One of them.
pub(super) struct Door {
    socket: Arc<TcpListener>,
    keepalive: Keepalive,
    /// Nothing is accepted before, in microseconds: it had an error (no descriptors left), and would have it again at once.
    closed_until: Option<u64>,
}

impl Door {
    pub(super) fn new(socket: Arc<TcpListener>, keepalive: Keepalive) -> Door {
        Door { socket, keepalive, closed_until: None }
    }
}

/// All of a driver. Each keeps its place.
#[derive(Default)]
pub(super) struct Doors(Vec<Option<Door>>);

/// The place that a token is of; None: it is a client's.
pub(super) fn place(token: u64) -> Option<usize> {
    token.checked_sub(FIRST).and_then(|place| usize::try_from(place).ok())
}

impl Doors {
    /// Accepts here from now on.
    pub(super) fn add(&mut self, poller: &Poller, door: Door) {
        let place = self.0.iter().position(Option::is_none).unwrap_or(self.0.len());
        if place == self.0.len() {
            self.0.push(None);
        }
        watch(poller, &door, place);
        self.0[place] = Some(door);
    }

    /// No longer; the socket is closed if nobody else has it.
    pub(super) fn remove(&mut self, poller: &Poller, socket: &Arc<TcpListener>) {
        for place in &mut self.0 {
            if let Some(door) = place.take_if(|door| Arc::ptr_eq(&door.socket, socket)) {
                // One that rests isn't watched: then this fails.
                let _ = poller.remove(&*door.socket);
            }
        }
    }

    /// Accepts those who wait there; `None`: one was turned away.
    pub(super) fn accept(
        &mut self,
        poller: &Poller,
        place: usize,
        now_us: u64,
        mut take: impl FnMut(Option<Accepted>),
    ) {
        let Some(door) = self.0.get_mut(place).and_then(Option::as_mut) else { return };
        for _ in 0..MOST_AT_ONCE {
            match listen::accept_plain(&door.socket, &door.keepalive) {
                Ok(accepted) => take(accepted),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return,
                Err(error) if listen::rests_after(&error) => {
                    door.closed_until = Some(now_us + ACCEPT_PAUSE.as_micros() as u64);
                    let _ = poller.remove(&*door.socket);
                    return;
                }
                Err(_) => {}
            }
        }
    }

    /// When one that rests is to be watched again.
    pub(super) fn next_us(&self) -> Option<u64> {
        self.0.iter().flatten().filter_map(|door| door.closed_until).min()
    }

    /// Watches those again that have rested.
    pub(super) fn reopen(&mut self, poller: &Poller, now_us: u64) {
        for (place, door) in self.0.iter_mut().enumerate() {
            if let Some(door) = door.as_mut().filter(|door| door.closed_until.is_some_and(|until| until <= now_us)) {
                door.closed_until = None;
                watch(poller, door, place);
            }
        }
    }
}

fn watch(poller: &Poller, door: &Door, place: usize) {
    if let Err(error) = poller.add(&*door.socket, FIRST + place as u64) {
        log::error!("A listening socket can't be watched: {error}");
    }
}

#[cfg(test)]
mod tests {
    use super::super::poller::{Ready, Wait};
    use super::*;
    use std::net::TcpStream;
    use std::time::Duration;

    const PATIENCE: Duration = Duration::from_secs(30);

    fn door() -> Door {
        let socket = TcpListener::bind("127.0.0.1:0").expect("a free port");
        socket.set_nonblocking(true).expect("non-blocking");
        Door::new(Arc::new(socket), Keepalive::new(300))
    }

    fn ready(poller: &Poller, wait: Wait) -> Vec<u64> {
        let mut ready: Vec<Ready> = Vec::new();
        poller.poll(&mut ready, wait).expect("polled");
        ready.iter().map(|event| event.token).collect()
    }

    #[test]
    fn who_knocks_is_let_in_with_its_address() {
        let (poller, mut doors) = (Poller::new().expect("an epoll"), Doors::default());
        let (door, other) = (door(), door());
        let address = door.socket.local_addr().expect("bound");
        doors.add(&poller, other);
        doors.add(&poller, door);
        let client = TcpStream::connect(address).expect("connected");
        let tokens = ready(&poller, Wait::AtMost(PATIENCE));
        assert_eq!(tokens.iter().map(|token| place(*token)).collect::<Vec<_>>(), [Some(1)]);
        let mut accepted = Vec::new();
        doors.accept(&poller, 1, 0, |new| accepted.extend(new));
        assert_eq!(accepted.len(), 1);
        assert_eq!(accepted[0].peer, client.local_addr().expect("connected").to_string());
        assert!(accepted[0].loopback && !accepted[0].unix && accepted[0].local == address.to_string());
        assert_eq!((place(0), place(FIRST - 1), doors.next_us()), (None, None, None));
    }

    /// One that gave its address up is hung, which an epoll tells for ever.
    #[test]
    fn a_silenced_one_rests_and_goes_on_when_it_listens_again() {
        let (poller, mut doors) = (Poller::new().expect("an epoll"), Doors::default());
        let door = door();
        let socket = door.socket.clone();
        doors.add(&poller, door);
        listen::silence(&socket);
        assert_eq!(ready(&poller, Wait::AtMost(PATIENCE)), [FIRST]);
        doors.accept(&poller, 0, 1_000, |_| panic!("nobody came"));
        let until = doors.next_us().expect("it rests");
        assert_eq!(ready(&poller, Wait::No), [0; 0], "and isn't heard meanwhile");
        doors.reopen(&poller, until - 1);
        assert_eq!((ready(&poller, Wait::No), doors.next_us()), (Vec::new(), Some(until)));
        listen::listen_again(&socket, 16);
        // Who gave up a port that the system had chosen may have another now.
        let address = socket.local_addr().expect("bound");
        let _client = TcpStream::connect(address).expect("connected");
        doors.reopen(&poller, until);
        assert_eq!((ready(&poller, Wait::AtMost(PATIENCE)), doors.next_us()), (vec![FIRST], None));
        let mut count = 0;
        doors.accept(&poller, 0, until, |_| count += 1);
        doors.remove(&poller, &socket);
        assert_eq!((count, ready(&poller, Wait::No), Arc::strong_count(&socket)), (1, Vec::new(), 1));
    }
}
