//! From inside a long command to the driver whose turn it is: the driver serves its other clients meanwhile.

use keystead_engine::BusyTurn;
use keystead_engine::core::Core;
use keystead_engine::keyspace::Keyspace;
use scoped_tls_hkt::scoped_thread_local;

scoped_thread_local! {
    /// The driver that executes on this thread.
    static mut DRIVER: for<'a> &'a mut (dyn Serve + 'a)
}

/// A driver in the middle of a turn.
pub(crate) trait Serve {
    /// Serves every client but the one whose command runs. True: the command must stop.
    fn serve(&mut self, turn: &mut BusyTurn<'_>) -> bool;
}

/// Runs commands of one client, while `driver` can serve the others.
pub(crate) fn while_serving<R>(driver: &mut dyn Serve, body: impl FnOnce() -> R) -> R {
    DRIVER.set(driver, body)
}

/// A long command lets others get a word in; `reply` is what those are told who must wait. True: stop. Outside of a
/// driver's turn nobody can be served.
pub(crate) fn poll(ks: &mut Keyspace, core: &mut Core, reply: &str) -> bool {
    if !DRIVER.is_set() {
        return false;
    }
    let mut turn = BusyTurn::begin(ks, core, reply);
    DRIVER.with(|driver| driver.serve(&mut turn))
}
