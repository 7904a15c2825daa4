//! One at a time for each name, within one process.

use std::collections::HashSet;
use std::sync::{Condvar, Mutex, PoisonError};

use crate::KeyName;

/// The names somebody is at work on.
#[derive(Default)]
pub(super) struct Turns {
    taken: Mutex<HashSet<KeyName>>,
    ended: Condvar,
}

/// The right to work on a name; ends when dropped.
pub(super) struct Turn<'a> {
    turns: &'a Turns,
    name: &'a KeyName,
}

impl Turns {
    /// Waits, blocking the thread, until nobody else works on the name.
    pub(super) fn take<'a>(&'a self, name: &'a KeyName) -> Turn<'a> {
        let mut taken = self.taken.lock().unwrap_or_else(PoisonError::into_inner);
        while taken.contains(name) {
            taken = self.ended.wait(taken).unwrap_or_else(PoisonError::into_inner);
        }
        taken.insert(name.clone());
        Turn { turns: self, name }
    }
}

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        self.turns.taken.lock().unwrap_or_else(PoisonError::into_inner).remove(self.name);
        self.turns.ended.notify_all();
    }
}
