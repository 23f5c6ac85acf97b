//! Free TCP ports: bound to 0, read, released. Two tests may still race for one, so starters retry on "in use".

use std::collections::HashSet;
use std::net::TcpListener;
use std::sync::Mutex;

/// Ports this process has given out: the kernel may offer a released port again at once.
static GIVEN: Mutex<Option<HashSet<u16>>> = Mutex::new(None);

/// A loopback port that was free a moment ago and that this process hasn't given out before.
///
/// Ports above 45,000 are passed over, because tests add 10,000 or 20,000 for sentinels.
pub fn free_port() -> u16 {
    let mut guard = GIVEN.lock().expect("no holder panics");
    let given = guard.get_or_insert_with(HashSet::new);
    let mut held = Vec::new();
    for _ in 0..10_000 {
        let listener = TcpListener::bind(("127.0.0.1", 0)).expect("a loopback socket can be bound");
        let port = listener.local_addr().expect("a bound socket has an address").port();
        if port <= 45_000 && given.insert(port) {
            return port;
        }
        held.push(listener);
        if held.len() > 500 {
            held.clear();
        }
    }
    panic!("no free port below 45,000");
}
