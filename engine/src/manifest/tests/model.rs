//! Random edits against a plain model, and lookups in levels against a search through all files.

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::*;
use crate::types::KeyRef;

#[derive(Clone, Debug)]
enum Step {
    /// Adds files at level 0.
    Flush(u8),
    /// Replaces the files of this level, and those they overlap one level down, by one file there.
    Merge(usize),
    /// Moves a file of this level one down, if it overlaps none there.
    Move(usize, usize),
    Floor(u64),
    Drop(u32),
    Forget(usize),
    /// A new writer attaches.
    Attach,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        6 => (1..4_u8).prop_map(Step::Flush),
        3 => (0..LEVELS - 1).prop_map(Step::Merge),
        3 => (0..LEVELS - 1, 0..8_usize).prop_map(|(level, file)| Step::Move(level, file)),
        1 => (0..100_u64).prop_map(Step::Floor),
        1 => (0..5_u32).prop_map(Step::Drop),
        1 => (0..5_usize).prop_map(Step::Forget),
        1 => Just(Step::Attach),
    ];
    proptest::collection::vec(step, 1..120)
}

/// Places by file, kept by hand.
#[derive(Default)]
struct Model {
    files: BTreeMap<u64, (usize, FileMeta)>,
    dropped: BTreeMap<u32, u64>,
    floor: u64,
    seq: u64,
}

fn key(number: u64) -> String {
    format!("k{:03}", number % 200)
}

fn edit_for(step: &Step, version: &Version, model: &mut Model) -> Option<VersionEdit> {
    let mut edit = VersionEdit::default();
    match step {
        Step::Flush(count) => {
            let mut id = version.next_file;
            for _ in 0..*count {
                model.seq += 1;
                let from = model.seq * 7919;
                let (a, b) = (key(from), key(from + model.seq % 40));
                let (lower, upper) = if a <= b { (a, b) } else { (b, a) };
                edit.added.push((0, file(id, &lower, &upper, model.seq)));
                id += 1;
            }
            edit.next_file = Some(id);
            edit.last_seq = Some(model.seq);
        }
        Step::Merge(level) => {
            let inputs = version.level(*level);
            let lower = inputs.iter().map(|f| f.smallest.user_key()).min()?;
            let upper = inputs.iter().map(|f| f.largest.user_key()).max()?;
            let below = version.overlapping(level + 1, lower, upper);
            let all: Vec<&Arc<FileMeta>> = inputs.iter().chain(&below).collect();
            let mut output = (**all[0]).clone();
            output.id = version.next_file;
            output.smallest = all.iter().map(|f| f.smallest.clone()).min()?;
            output.largest = all.iter().map(|f| f.largest.clone()).max()?;
            output.smallest_seq = all.iter().map(|f| f.smallest_seq).min()?;
            output.largest_seq = all.iter().map(|f| f.largest_seq).max()?;
            edit.next_file = Some(output.id + 1);
            edit.deleted.extend(inputs.iter().map(|f| (*level, f.id)));
            edit.deleted.extend(below.iter().map(|f| (level + 1, f.id)));
            edit.added.push((level + 1, output));
        }
        Step::Move(level, at) => {
            let moved = version.level(*level).get(*at)?;
            let (lower, upper) = (moved.smallest.user_key(), moved.largest.user_key());
            if !version.overlapping(level + 1, lower, upper).is_empty() {
                return None;
            }
            edit.deleted.push((*level, moved.id));
            edit.added.push((level + 1, (**moved).clone()));
        }
        Step::Floor(by) => {
            model.floor += by;
            edit.wal_floor = Some(model.floor);
        }
        Step::Drop(index) => {
            model.dropped.insert(*index, model.seq);
            edit.dropped_indexes.push((*index, model.seq));
        }
        Step::Forget(at) => {
            let index = *model.dropped.keys().nth(*at)?;
            model.dropped.remove(&index);
            edit.forgotten_indexes.push(index);
        }
        Step::Attach => return None,
    }
    for (_, id) in &edit.deleted {
        model.files.remove(id);
    }
    for (level, file) in &edit.added {
        model.files.insert(file.id, (*level, file.clone()));
    }
    Some(edit)
}

fn check(version: &Version, model: &Model) {
    let found: BTreeMap<u64, (usize, FileMeta)> = version
        .files()
        .map(|(level, file)| (file.id, (level, (**file).clone())))
        .collect();
    assert_eq!(found, model.files);
    assert_eq!(version.dropped_indexes, model.dropped);
    assert_eq!(version.wal_floor, model.floor);
    assert_eq!(version.last_seq, model.seq);
    for level in 0..LEVELS {
        let files = version.level(level);
        let bytes: u64 = files.iter().map(|f| f.size).sum();
        assert_eq!(version.level_bytes(level), bytes);
        for number in (0..200).step_by(17) {
            check_lookups(version, level, number);
        }
    }
}

fn check_lookups(version: &Version, level: usize, number: u64) {
    let files = version.level(level);
    let (lower, upper) = (key(number), key(number + 20).max(key(number)));
    let (lower, upper) = (lower.as_bytes(), upper.as_bytes());
    let hit = |f: &&Arc<FileMeta>| f.smallest.user_key() <= upper && lower <= f.largest.user_key();
    let expected: Vec<Arc<FileMeta>> = files.iter().filter(hit).cloned().collect();
    assert_eq!(version.overlapping(level, lower, upper), expected);
    if level == 0 {
        return;
    }
    assert_eq!(
        version.overlapping_range(level, lower, upper).len(),
        expected.len()
    );
    let holds =
        |f: &&Arc<FileMeta>| f.smallest.user_key() <= lower && lower <= f.largest.user_key();
    assert_eq!(version.find_file(level, lower), files.iter().find(holds));
    let target = KeyRef::at(lower, 5);
    let first = files.iter().position(|f| target <= f.largest.as_ref());
    assert_eq!(
        version.seek_file(level, target),
        first.unwrap_or(files.len())
    );
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn versions_follow_the_model(steps in steps()) {
        let store: Arc<dyn ObjectStore> = Arc::new(MemoryStore::new());
        let mut manifest = attach(&store, "first");
        let mut model = Model::default();
        for step in &steps {
            if matches!(step, Step::Attach) {
                manifest = attach(&store, "next");
            }
            let Some(edit) = edit_for(step, &manifest.current(), &mut model) else { continue };
            manifest.commit(&edit).unwrap();
        }
        check(&manifest.current(), &model);
        let (_, loaded) = Manifest::load(store).unwrap();
        check(&loaded, &model);
        assert_eq!(loaded, *manifest.current());
    }
}
