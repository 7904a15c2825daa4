//! What the process does to itself so that keys do not leave it by accident.

use std::sync::atomic::{AtomicBool, Ordering};

static MEMORY_LOCKED: AtomicBool = AtomicBool::new(false);

/// No core dumps, no debugger of another user, and no page of ours in swap where the system permits that.
pub(crate) fn harden() {
    #[cfg(target_os = "linux")]
    {
        use rustix::mm::{MlockAllFlags, mlockall};
        use rustix::process::{DumpableBehavior, set_dumpable_behavior};

        // Cannot fail with this value on any Linux; if it does, resource limits below still hold.
        let _ = set_dumpable_behavior(DumpableBehavior::NotDumpable);
        // On fault: untouched parts of thread stacks and arenas must not become resident.
        let flags = MlockAllFlags::CURRENT | MlockAllFlags::FUTURE | MlockAllFlags::ONFAULT;
        MEMORY_LOCKED.store(may_lock_all() && mlockall(flags).is_ok(), Ordering::Relaxed);
    }
    #[cfg(unix)]
    {
        use rustix::process::{Resource, Rlimit, setrlimit};
        let _ = setrlimit(Resource::Core, Rlimit { current: Some(0), maximum: Some(0) });
    }
}

/// Under a limit of locked memory a lock of all *future* memory may succeed now and make an allocation fail later, which
/// would end the process. So all is locked or nothing.
#[cfg(target_os = "linux")]
fn may_lock_all() -> bool {
    use rustix::process::{Resource, getrlimit};
    use rustix::thread::{CapabilitySet, capabilities};

    let unlimited = getrlimit(Resource::Memlock).current.is_none();
    unlimited || capabilities(None).is_ok_and(|sets| sets.effective.contains(CapabilitySet::IPC_LOCK))
}

/// Whether memory could be locked; needs `CAP_IPC_LOCK` or a large `RLIMIT_MEMLOCK`.
pub(crate) fn memory_is_locked() -> bool {
    MEMORY_LOCKED.load(Ordering::Relaxed)
}
