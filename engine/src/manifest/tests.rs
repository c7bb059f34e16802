use super::*;
use crate::object_store::MemoryStore;
use crate::types::{InternalKeyBuf, ValueKind};

pub(super) fn file(id: u64, lower: &str, upper: &str, seq: u64) -> FileMeta {
    FileMeta {
        id,
        size: 1000,
        smallest: InternalKeyBuf::new(lower.as_bytes(), seq, ValueKind::Put),
        largest: InternalKeyBuf::new(upper.as_bytes(), seq, ValueKind::Put),
        smallest_seq: seq,
        largest_seq: seq,
        entries: 10,
        deletions: 1,
        raw_bytes: 3000,
    }
}

fn attach(store: &Arc<dyn ObjectStore>, writer: &str) -> Manifest {
    let (mut manifest, version) = Manifest::load(Arc::clone(store)).unwrap();
    manifest
        .commit(&VersionEdit {
            epoch: Some((version.epoch + 1, writer.to_owned())),
            ..VersionEdit::default()
        })
        .unwrap();
    manifest
}

/// An edit that adds the next file at level 0.
fn flush(manifest: &Manifest) -> VersionEdit {
    let version = manifest.current();
    let (id, seq) = (version.next_file, version.last_seq + 1);
    VersionEdit {
        last_seq: Some(seq),
        next_file: Some(id + 1),
        added: vec![(0, file(id, "a", "z", seq))],
        ..VersionEdit::default()
    }
}

#[test]
fn commits_are_there_after_a_load_with_and_without_the_hint() {
    let store: Arc<dyn ObjectStore> = Arc::new(MemoryStore::new());
    let mut manifest = attach(&store, "a");
    for count in 0..200 {
        let edit = flush(&manifest);
        manifest.commit(&edit).unwrap();
        let hints: [Option<&[u8]>; 5] = [
            None,
            Some(b"garbage"),
            Some(b"00000000000000000000\n"),
            Some(b"00000000000000000640\n"),
            Some(b""),
        ];
        let (_, version) = Manifest::load(Arc::clone(&store)).unwrap();
        assert_eq!(version, *manifest.current());
        if count % 23 == 0 {
            let kept = store.get(CURRENT_KEY).unwrap();
            for hint in hints {
                match hint {
                    Some(hint) => store.put(CURRENT_KEY, hint).unwrap(),
                    None => store.delete(CURRENT_KEY).unwrap(),
                }
                let (_, version) = Manifest::load(Arc::clone(&store)).unwrap();
                assert_eq!(version, *manifest.current());
            }
            store.put(CURRENT_KEY, &kept).unwrap();
            manifest.trim().unwrap();
        }
    }
    assert_eq!(manifest.current().level(0).len(), 200);
    let seqs: Vec<u64> = manifest
        .current()
        .level(0)
        .iter()
        .map(|f| f.largest_seq)
        .collect();
    assert!(seqs.is_sorted_by(|a, b| a > b));
}

#[test]
fn a_second_writer_fences_the_first() {
    let store: Arc<dyn ObjectStore> = Arc::new(MemoryStore::new());
    let mut first = attach(&store, "a");
    let mut second = attach(&store, "b");
    let edit = flush(&first);
    let error = first.commit(&edit).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Fenced);
    assert!(error.message().contains("epoch 2, writer b"), "{error}");
    assert_eq!(first.commit(&edit).unwrap_err().kind(), ErrorKind::Fenced);
    let edit = flush(&second);
    second.commit(&edit).unwrap();
}
