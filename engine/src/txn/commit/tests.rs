//! Commits become visible in order, or none after a failure.

use std::sync::atomic::AtomicUsize;

use super::*;

/// Requests from this number on are decisions.
const DECISION: u32 = 1_000_000;

#[derive(Default)]
struct Log {
    written: Mutex<Vec<(SeqNo, u32)>>,
    fail_at: Option<usize>,
    calls: AtomicUsize,
}

impl GroupWriter for Log {
    type Request = u32;
    type Slot = usize;

    fn write(&self, first: SeqNo, group: &mut [u32]) -> Result<Vec<usize>> {
        if Some(self.calls.fetch_add(1, Ordering::Relaxed)) == self.fail_at {
            return Err(Error::new(ErrorKind::Unavailable, "disk on fire"));
        }
        let mut written = self.written.lock();
        written.extend((first..).zip(group.iter().copied()));
        Ok(vec![written.len(); group.len()])
    }

    fn decides(request: &u32) -> bool {
        *request >= DECISION
    }
}

#[test]
fn commits_are_published_in_the_order_of_the_log() {
    let snapshots = Arc::new(Snapshots::default());
    let pipeline = Pipeline::<Log>::new(snapshots.clone(), Arc::default());
    let log = Log::default();
    let applied = Mutex::new(Vec::new());
    std::thread::scope(|scope| {
        for thread in 0..8u32 {
            let (pipeline, log, applied, snapshots) = (&pipeline, &log, &applied, &snapshots);
            scope.spawn(move || {
                for i in 0..200 {
                    let id = thread * 1000 + i;
                    let seq = pipeline
                        .commit(
                            log,
                            id,
                            |seq, _| {
                                applied.lock().push((seq, id));
                                Ok(())
                            },
                            |_| Ok(()),
                        )
                        .unwrap();
                    assert!(snapshots.visible() >= seq);
                }
            });
        }
    });
    assert_eq!(snapshots.visible(), 1600);
    let mut applied = applied.into_inner();
    applied.sort_unstable();
    assert_eq!(applied, *log.written.lock());
}

#[test]
fn after_a_failed_write_nothing_is_acknowledged() {
    let snapshots = Arc::new(Snapshots::default());
    let pipeline = Pipeline::<Log>::new(snapshots.clone(), Arc::default());
    let log = Log {
        fail_at: Some(2),
        ..Log::default()
    };
    let commit = |id| pipeline.commit(&log, id, |_, _| Ok(()), |_| Ok(()));
    assert_eq!(commit(1).unwrap(), 1);
    assert_eq!(commit(2).unwrap(), 2);
    assert_eq!(commit(3).unwrap_err().kind(), ErrorKind::Unavailable);
    let later = commit(4).unwrap_err();
    assert_eq!(later.kind(), ErrorKind::ReadOnly);
    assert!(later.message().contains("disk on fire"));
    assert_eq!(snapshots.visible(), 2);
}

#[test]
fn after_a_fence_only_decisions_are_taken() {
    let snapshots = Arc::new(Snapshots::default());
    let gate = Arc::new(Gate::default());
    let told = Arc::new(Mutex::new(Vec::new()));
    let listener = told.clone();
    gate.tell(move |kind, why| listener.lock().push((kind, why.to_owned())));
    let pipeline = Pipeline::<Log>::new(snapshots.clone(), gate.clone());
    let log = Log::default();
    let commit = |id| pipeline.commit(&log, id, |_, _| Ok(()), |_| Ok(()));
    assert_eq!(commit(1).unwrap(), 1);
    let fence = Error::new(ErrorKind::Fenced, "fenced by epoch 2");
    assert!(gate.close_with(&fence));
    assert_eq!(commit(2).unwrap_err().kind(), ErrorKind::Fenced);
    assert_eq!(commit(DECISION).unwrap(), 2);
    assert_eq!(snapshots.visible(), 2);
    assert!(!gate.close("disk on fire"));
    commit(DECISION).unwrap_err();
    let causes = [
        (ErrorKind::Fenced, "fenced by epoch 2".to_owned()),
        (ErrorKind::ReadOnly, "disk on fire".to_owned()),
    ];
    assert_eq!(*told.lock(), causes);
    assert_eq!(snapshots.visible(), 2);
}

#[test]
fn a_failed_sync_fails_the_commits_behind_it() {
    let snapshots = Arc::new(Snapshots::default());
    let pipeline = Pipeline::<Log>::new(snapshots.clone(), Arc::default());
    let log = Log::default();
    std::thread::scope(|scope| {
        let (enter, entered) = crossbeam_channel::bounded(0);
        let (leave, left) = crossbeam_channel::bounded::<()>(0);
        let first = scope.spawn({
            let (pipeline, log) = (&pipeline, &log);
            move || {
                pipeline.commit(
                    log,
                    1,
                    |_, _| Ok(()),
                    |_| {
                        enter.send(()).unwrap();
                        left.recv().unwrap();
                        Err(Error::new(ErrorKind::Unavailable, "sync failed"))
                    },
                )
            }
        });
        entered.recv().unwrap();
        let second = scope.spawn(|| pipeline.commit(&log, 2, |_, _| Ok(()), |_| Ok(())));
        leave.send(()).unwrap();
        assert_eq!(
            first.join().unwrap().unwrap_err().kind(),
            ErrorKind::Unavailable
        );
        assert_eq!(
            second.join().unwrap().unwrap_err().kind(),
            ErrorKind::ReadOnly
        );
    });
    assert_eq!(snapshots.visible(), 0);
}
