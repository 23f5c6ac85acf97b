//! What the command says. Whoever can't read it any more, because the terminal was closed or the pipe was (`| head`), wants
//! the cluster no longer: it stops in order, instead of ending on the spot and leaving its nodes behind.

use std::io::{self, IsTerminal, Write};
use std::sync::atomic::{AtomicBool, Ordering};

/// Where lines go until somebody stops the cluster.
#[derive(Clone, Copy)]
pub(super) struct Screen<'a> {
    stop: &'a AtomicBool,
}

impl<'a> Screen<'a> {
    /// Notes in `stop` that nobody reads any more.
    pub(super) fn new(stop: &'a AtomicBool) -> Screen<'a> {
        Screen { stop }
    }

    /// Whether somebody, or the end of who reads this, stops the cluster.
    pub(super) fn stopped(self) -> bool {
        self.stop.load(Ordering::Relaxed)
    }

    /// A line.
    pub(super) fn line(self, text: &str) {
        self.note(write(&format!("{text}\n")));
    }

    /// A line in the place of the status, which is drawn again below it.
    pub(super) fn news(self, text: &str) {
        self.note(write(&format!("{}{text}\n", if self.redraws() { "\r\x1b[K" } else { "" })));
    }

    /// The status, drawn over itself; without a text it is wiped. Only a terminal has it.
    pub(super) fn status(self, text: &str) {
        if self.redraws() {
            self.note(write(&format!("\r\x1b[K{text}")));
        }
    }

    fn redraws(self) -> bool {
        io::stdout().is_terminal()
    }

    fn note(self, written: io::Result<()>) {
        if written.is_err() {
            self.stop.store(true, Ordering::Relaxed);
        }
    }
}

/// A line of the end: who doesn't read it is not waited for any less.
pub(super) fn parting(text: &str) {
    let _ = write(&format!("{text}\n"));
}

/// Why the command failed.
pub(super) fn failure(text: &str) {
    let _ = writeln!(io::stderr(), "keystead cluster: {text}");
}

fn write(text: &str) -> io::Result<()> {
    let mut out = io::stdout().lock();
    out.write_all(text.as_bytes()).and_then(|()| out.flush())
}
