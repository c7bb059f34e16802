//! Each rule refuses the edit that breaks it, and publishes nothing.

use super::*;
use crate::types::MAX_SEQ;

const FIRST: u64 = 1 << 40;

/// A writer of epoch 1 with a file at level 1 from d to m, and an index that was dropped.
fn prepared() -> (Arc<dyn ObjectStore>, Manifest) {
    let store: Arc<dyn ObjectStore> = Arc::new(MemoryStore::new());
    let mut manifest = attach(&store, "a");
    manifest
        .commit(&VersionEdit {
            wal_floor: Some(100),
            last_seq: Some(50),
            next_file: Some(FIRST + 10),
            index_ceiling: Some(20),
            added: vec![(1, file(FIRST, "d", "m", 40))],
            dropped_indexes: vec![(3, 30)],
            last_ingest_seq: Some(44),
            first_chunk: Some(7),
            user_version: Some(80_036),
            ..VersionEdit::default()
        })
        .unwrap();
    (store, manifest)
}

fn added(level: usize, file: FileMeta) -> VersionEdit {
    VersionEdit {
        added: vec![(level, file)],
        ..VersionEdit::default()
    }
}

fn changed(change: impl FnOnce(&mut FileMeta)) -> VersionEdit {
    let mut meta = file(FIRST + 1, "n", "p", 45);
    change(&mut meta);
    added(2, meta)
}

fn breaking() -> Vec<(Rule, VersionEdit)> {
    let edit = VersionEdit::default;
    let epoch = |epoch| VersionEdit {
        epoch: Some((epoch, "a".to_owned())),
        ..edit()
    };
    let long = "k".repeat(crate::types::MAX_KEY_LEN + 1);
    vec![
        (Rule::EpochRises, epoch(0)),
        (Rule::EpochRises, epoch(1)),
        (Rule::EpochRises, epoch(1 << 24)),
        (Rule::EpochRises, epoch(u64::MAX)),
        (
            Rule::FloorNeverGoesBack,
            VersionEdit {
                wal_floor: Some(99),
                ..edit()
            },
        ),
        (
            Rule::LastSeqNeverGoesBack,
            VersionEdit {
                last_seq: Some(49),
                ..edit()
            },
        ),
        (
            Rule::LastSeqNeverGoesBack,
            VersionEdit {
                last_seq: Some(MAX_SEQ + 1),
                ..edit()
            },
        ),
        (
            Rule::NextFileNeverGoesBack,
            VersionEdit {
                next_file: Some(FIRST),
                ..edit()
            },
        ),
        (
            Rule::IndexCeilingNeverGoesBack,
            VersionEdit {
                index_ceiling: Some(19),
                ..edit()
            },
        ),
        (
            Rule::FirstChunkNeverGoesBack,
            VersionEdit {
                first_chunk: Some(6),
                ..edit()
            },
        ),
        (
            Rule::UserVersionNeverGoesBack,
            VersionEdit {
                user_version: Some(80_035),
                ..edit()
            },
        ),
        (
            Rule::WriterIdWithEpoch,
            VersionEdit {
                writer_id: Some(1),
                ..edit()
            },
        ),
        (
            Rule::DeletedFileExists,
            VersionEdit {
                deleted: vec![(1, FIRST + 1)],
                ..edit()
            },
        ),
        (
            Rule::DeletedFileExists,
            VersionEdit {
                deleted: vec![(2, FIRST)],
                ..edit()
            },
        ),
        (
            Rule::DeletedFileExists,
            VersionEdit {
                deleted: vec![(1, FIRST); 2],
                ..edit()
            },
        ),
        (
            Rule::NoFileTwice,
            VersionEdit {
                added: vec![
                    (0, file(FIRST + 1, "a", "b", 1)),
                    (2, file(FIRST + 1, "x", "y", 1)),
                ],
                ..edit()
            },
        ),
        (Rule::NoFileTwice, added(0, file(FIRST, "d", "m", 40))),
        (
            Rule::FileNumberAllocated,
            added(0, file(FIRST + 10, "a", "b", 1)),
        ),
        (Rule::NewFileOfOwnEpoch, added(0, file(7, "a", "b", 1))),
        (Rule::FileMakesSense, changed(|f| f.file_seq = Some(44))),
        (
            Rule::FileMakesSense,
            changed(|f| {
                f.file_seq = Some(44);
                (f.smallest_seq, f.largest_seq) = (44, 44);
            }),
        ),
        (
            Rule::SeqBelowLast,
            added(2, file(FIRST + 1, "n", "p", 0).numbered(45)),
        ),
        (
            Rule::LastSeqNeverGoesBack,
            VersionEdit {
                last_ingest_seq: Some(43),
                ..edit()
            },
        ),
        (
            Rule::LastSeqNeverGoesBack,
            VersionEdit {
                last_ingest_seq: Some(MAX_SEQ + 1),
                ..edit()
            },
        ),
        (Rule::FileMakesSense, changed(|f| f.entries = 0)),
        (Rule::FileMakesSense, changed(|f| f.deletions = 11)),
        (Rule::FileMakesSense, changed(|f| f.size = 0)),
        (Rule::FileMakesSense, changed(|f| f.smallest_seq = 46)),
        (
            Rule::FileMakesSense,
            changed(|f| std::mem::swap(&mut f.smallest, &mut f.largest)),
        ),
        (
            Rule::FileMakesSense,
            changed(|f| f.smallest = InternalKeyBuf::default()),
        ),
        (
            Rule::FileMakesSense,
            added(2, file(FIRST + 1, "a", &long, 1)),
        ),
        (Rule::SeqBelowLast, changed(|f| f.largest_seq = 51)),
        (Rule::LevelDisjoint, added(1, file(FIRST + 1, "a", "e", 45))),
        (Rule::LevelDisjoint, added(1, file(FIRST + 1, "m", "n", 45))),
        (Rule::LevelDisjoint, added(1, file(FIRST + 1, "e", "f", 45))),
        (
            Rule::DropsMakeSense,
            VersionEdit {
                dropped_indexes: vec![(4, FIRST + 11)],
                ..edit()
            },
        ),
        (
            Rule::DropsMakeSense,
            VersionEdit {
                dropped_indexes: vec![(3, 29)],
                ..edit()
            },
        ),
        (
            Rule::DropsMakeSense,
            VersionEdit {
                forgotten_indexes: vec![4],
                ..edit()
            },
        ),
    ]
}

#[test]
fn an_edit_that_breaks_a_rule_is_refused_by_its_name() {
    let (store, mut manifest) = prepared();
    let before = manifest.current();
    for (rule, edit) in breaking() {
        let error = manifest.commit(&edit).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Internal);
        let name = format!("{rule:?}");
        assert!(error.message().contains(&name), "{name}: {error}");
    }
    assert!(Arc::ptr_eq(&before, &manifest.current()));
    assert_eq!(store.list(MANIFEST_PREFIX, "", 10).unwrap().len(), 2);
    let no_level = added(LEVELS, file(FIRST + 1, "a", "b", 45));
    assert_eq!(
        manifest.commit(&no_level).unwrap_err().kind(),
        ErrorKind::Internal
    );
}

#[test]
fn what_keeps_the_rules_is_taken() {
    let (_, mut manifest) = prepared();
    let moved = VersionEdit {
        deleted: vec![(1, FIRST)],
        added: vec![
            (2, file(FIRST, "d", "m", 40)),
            (1, file(FIRST + 1, "a", "z", 45)),
        ],
        forgotten_indexes: vec![3],
        ..VersionEdit::default()
    };
    let version = manifest.commit(&moved).unwrap();
    assert!(version.dropped_indexes.is_empty());
    assert_eq!(version.total_bytes(), 2000);
    // A file of an older epoch may move on, and files of both live side by side.
    let next = VersionEdit {
        epoch: Some((2, "b".to_owned())),
        ..VersionEdit::default()
    };
    let version = manifest.commit(&next).unwrap();
    assert_eq!(version.next_file, first_file_of_epoch(2));
    let moved = VersionEdit {
        deleted: vec![(2, FIRST)],
        added: vec![(3, file(FIRST, "d", "m", 40))],
        ..VersionEdit::default()
    };
    manifest.commit(&moved).unwrap();
    // So may one that was written before its commit was known.
    let ingested = file(FIRST + 2, "n", "p", 0).numbered(60);
    let edit = VersionEdit {
        last_ingest_seq: Some(60),
        added: vec![(6, ingested)],
        ..VersionEdit::default()
    };
    let version = manifest.commit(&edit).unwrap();
    assert_eq!((version.last_seq, version.greatest_seq()), (50, 60));
}
