//! Who owns an interpreter, behind its lock. Commands hold it one at a time, in their turns; between two of them what big
//! scripts left is collected, in steps that no command waits for long.

use crate::interpreter::Interpreter;
use crate::libraries::Libraries;
use crate::memory;
use crate::scripts::Scripts;
use parking_lot::{Mutex, MutexGuard};
use std::ops::{Deref, DerefMut};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

/// A step of a collection, for which a script may have to wait,
const STEP: Duration = Duration::from_micros(500);
/// and the time between two of them.
const REST: Duration = Duration::from_millis(1);
/// What dies while a cycle of the collector runs is found by the next one.
const CYCLES: usize = 2;

/// Has an interpreter.
pub trait Interprets: Send + 'static {
    /// This one.
    fn interpreter(&self) -> &Interpreter;
}

impl Interprets for Scripts {
    fn interpreter(&self) -> &Interpreter {
        &self.interpreter
    }
}

impl Interprets for Libraries {
    fn interpreter(&self) -> &Interpreter {
        &self.interpreter
    }
}

/// An interpreter's owner for all who need it.
pub struct Owner<T> {
    value: Mutex<T>,
    /// A command has it: another one inside of it must not wait.
    held: AtomicBool,
    /// Somebody is on the way to tidy up.
    tidied: AtomicBool,
    /// What the interpreter had taken when last looked at.
    memory: AtomicUsize,
}

/// The owner while a command has it.
pub struct Held<'o, T> {
    value: MutexGuard<'o, T>,
    held: &'o AtomicBool,
}

impl<T: Interprets> Owner<T> {
    /// For commands and for who tidies.
    pub fn shared(value: T) -> Arc<Owner<T>> {
        let memory = AtomicUsize::new(value.interpreter().memory());
        let (held, tidied) = Default::default();
        Arc::new(Owner { value: Mutex::new(value), held, tidied, memory })
    }

    /// For a command; none inside of a command that has it.
    pub fn hold(&self) -> Option<Held<'_, T>> {
        let nested = self.held.swap(true, Ordering::Acquire);
        (!nested).then(|| Held { value: self.value.lock(), held: &self.held })
    }

    /// What the interpreter takes, without asking it.
    pub fn memory(&self) -> usize {
        self.memory.load(Ordering::Relaxed)
    }

    /// Notes that.
    pub fn note(&self, now: &T) {
        self.memory.store(now.interpreter().memory(), Ordering::Relaxed);
    }

    /// True for the one who is to call [`Owner::tidy`].
    pub fn to_tidy(&self) -> bool {
        !self.tidied.load(Ordering::Relaxed) && !self.tidied.swap(true, Ordering::Relaxed)
    }

    /// Collects what scripts left, and gives it back to the system.
    pub fn tidy(&self) {
        // From now on there may be something new.
        self.tidied.store(false, Ordering::Relaxed);
        let mut cycles = if self.value.lock().interpreter().littered() { 0 } else { CYCLES };
        while cycles < CYCLES {
            let value = self.value.lock();
            // It fails if memory ends, which it doesn't while it is collected.
            cycles += usize::from(value.interpreter().collect_for(STEP).unwrap_or(true));
            self.note(&value);
            drop(value);
            std::thread::sleep(REST);
        }
        memory::give_back();
    }
}

impl<T> Deref for Held<'_, T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.value
    }
}

impl<T> DerefMut for Held<'_, T> {
    fn deref_mut(&mut self) -> &mut T {
        &mut self.value
    }
}

impl<T> Drop for Held<'_, T> {
    fn drop(&mut self) {
        self.held.store(false, Ordering::Release);
    }
}
