//! What the lock manager and the list of snapshots find around them: the scheduler's primitives, and batches that are sets of keys.

#[path = "../../src/txn/locks/mod.rs"]
pub mod locks;

#[path = "../../src/txn/snapshots.rs"]
pub mod snapshots;

pub use smartengine::Isolation;
pub use smartengine::internals::txn::spill;

pub type TxnId = u64;

pub mod sync {
    //! With the interface of the real ones.

    use std::ops::{Deref, DerefMut};
    use std::time::Instant;

    pub use shuttle::sync::atomic;

    pub fn thread_number() -> usize {
        shuttle::current::me().into()
    }

    #[derive(Default)]
    pub struct Mutex<T>(shuttle::sync::Mutex<T>);

    /// Always holds a guard but while its owner waits.
    pub struct MutexGuard<'a, T>(Option<shuttle::sync::MutexGuard<'a, T>>);

    impl<T> Mutex<T> {
        pub fn new(value: T) -> Self {
            Self(shuttle::sync::Mutex::new(value))
        }

        pub fn lock(&self) -> MutexGuard<'_, T> {
            MutexGuard(Some(self.0.lock().unwrap()))
        }
    }

    impl<T> Deref for MutexGuard<'_, T> {
        type Target = T;

        fn deref(&self) -> &T {
            self.0.as_ref().unwrap()
        }
    }

    impl<T> DerefMut for MutexGuard<'_, T> {
        fn deref_mut(&mut self) -> &mut T {
            self.0.as_mut().unwrap()
        }
    }

    #[derive(Default)]
    pub struct RwLock<T>(shuttle::sync::RwLock<T>);

    impl<T> RwLock<T> {
        pub fn read(&self) -> shuttle::sync::RwLockReadGuard<'_, T> {
            self.0.read().unwrap()
        }

        pub fn write(&self) -> shuttle::sync::RwLockWriteGuard<'_, T> {
            self.0.write().unwrap()
        }
    }

    #[derive(Default)]
    pub struct Condvar(shuttle::sync::Condvar);

    /// Time does not pass.
    pub struct NeverTimedOut;

    impl NeverTimedOut {
        pub fn timed_out(&self) -> bool {
            false
        }
    }

    impl Condvar {
        pub fn new() -> Self {
            Self(shuttle::sync::Condvar::new())
        }

        pub fn notify_one(&self) {
            self.0.notify_one();
        }

        pub fn wait_until<T>(&self, guard: &mut MutexGuard<'_, T>, _: Instant) -> NeverTimedOut {
            let held = guard.0.take().unwrap();
            guard.0 = Some(self.0.wait(held).unwrap());
            NeverTimedOut
        }
    }
}

pub mod batch {
    use std::collections::BTreeSet;
    use std::sync::Arc;

    use smartengine::internals::txn::spill::SpillSpace;

    use super::sync::Mutex;
    use crate::Result;

    pub use smartengine::internals::txn::batch::Nearby;

    /// The keys that a batch gives values to.
    #[derive(Default)]
    pub struct BatchView(Mutex<BTreeSet<Vec<u8>>>);

    impl BatchView {
        /// One look for each part, so that others go on between them.
        pub fn nearby(&self, from: &[u8], to: &[u8]) -> Result<Nearby> {
            let keys = self.0.lock();
            if keys.range(from.to_vec()..to.to_vec()).next().is_some() {
                return Ok(Nearby::Within);
            }
            let behind = keys.range(to.to_vec()..).next().cloned();
            drop(keys);
            let before = self.0.lock().range(..from.to_vec()).next_back().cloned();
            Ok(Nearby::Around { before, behind })
        }

        pub fn keys(&self) -> BTreeSet<Vec<u8>> {
            self.0.lock().clone()
        }
    }

    #[derive(Default)]
    pub struct Batch {
        view: Arc<BatchView>,
        written: Vec<Vec<u8>>,
    }

    impl Batch {
        pub fn new(_: Arc<SpillSpace>) -> Self {
            Self::default()
        }

        pub fn view(&self) -> &Arc<BatchView> {
            &self.view
        }

        pub fn put(&mut self, key: &[u8], _: &[u8]) {
            self.written.push(key.to_vec());
            self.view.0.lock().insert(key.to_vec());
        }

        pub fn delete(&mut self, key: &[u8]) {
            self.view.0.lock().remove(key);
        }

        pub fn savepoint(&self) -> usize {
            self.written.len()
        }

        pub fn rollback_to(&mut self, savepoint: usize) {
            for key in self.written.drain(savepoint..) {
                self.view.0.lock().remove(&key);
            }
        }

        pub fn clear(&mut self) {
            self.rollback_to(0);
        }
    }
}
