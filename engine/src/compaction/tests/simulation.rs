//! Trees grown by random flushes, drops and snapshots, with several tasks under way at a time, each carried out with the real rules of what
//! is dropped: no task may change what a snapshot sees, and picking comes to an end.

use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;

use super::*;
use crate::output::DropRules;

/// User key, sequence number, kind.
type Entry = (Vec<u8>, SeqNo, ValueKind);

#[derive(Clone, Debug)]
enum Action {
    /// A memtable: keys, each with whether it is deleted.
    Flush(Vec<(IndexId, u32, bool)>),
    Start,
    /// The nth of the tasks under way ends.
    Finish(usize),
    Drop(IndexId),
    Snapshot,
    Release,
}

struct Running {
    task: Task,
    from: Version,
    outputs: Vec<Vec<Entry>>,
    snapshots_then: Vec<SeqNo>,
}

struct Tree {
    version: Version,
    contents: BTreeMap<u64, Vec<Entry>>,
    next_file: u64,
    seq: SeqNo,
    snapshots: BTreeSet<SeqNo>,
    running: Vec<Running>,
    busy: HashSet<u64>,
    config: PickConfig,
    /// All that was ever written.
    history: Vec<Entry>,
    dropped: BTreeSet<IndexId>,
    merges: usize,
    /// Whether a flush writes a file an index.
    file_an_index: bool,
}

/// Entries a file holds at most, unless they are versions of one key.
const FILE_ENTRIES: usize = 12;

impl Tree {
    fn new(trigger: usize, multiplier: u64) -> Self {
        let config = PickConfig {
            level0_trigger: trigger,
            base_size: 1500,
            multiplier,
            ..config()
        };
        Self {
            version: version(Vec::new(), &[]),
            contents: BTreeMap::new(),
            next_file: first_file_of_epoch(1) + 1000,
            seq: 0,
            snapshots: BTreeSet::new(),
            running: Vec::new(),
            busy: HashSet::new(),
            config,
            history: Vec::new(),
            dropped: BTreeSet::new(),
            merges: 0,
            file_an_index: false,
        }
    }

    fn snapshot_list(&self) -> Vec<SeqNo> {
        let mut all = self.snapshots.clone();
        all.insert(self.seq);
        all.into_iter().collect()
    }

    fn describe(&mut self, entries: Vec<Entry>) -> FileMeta {
        let id = self.next_file;
        self.next_file += 1;
        let (first, last) = (&entries[0], &entries[entries.len() - 1]);
        let seqs = || entries.iter().map(|(_, seq, _)| *seq);
        let deletions = entries
            .iter()
            .filter(|(_, _, kind)| *kind == ValueKind::Delete)
            .count() as u64;
        let meta = FileMeta {
            id,
            size: 100 * entries.len() as u64,
            smallest: InternalKeyBuf::new(&first.0, first.1, first.2),
            largest: InternalKeyBuf::new(&last.0, last.1, last.2),
            smallest_seq: seqs().min().unwrap(),
            largest_seq: seqs().max().unwrap(),
            entries: entries.len() as u64,
            deletions,
            raw_bytes: 0,
            file_seq: None,
            tail: None,
        };
        self.contents.insert(id, entries);
        meta
    }

    fn install(&mut self, mut edit: VersionEdit, known: &Version) {
        edit.next_file = Some(self.next_file);
        edit.last_seq = Some(self.seq.max(self.version.last_seq));
        let unknown = |index: &&IndexId| !known.dropped_indexes.contains_key(index);
        let late = self.version.dropped_indexes.keys().filter(unknown);
        edit.dropped_indexes = late.map(|&index| (index, self.next_file)).collect();
        // Applying checks that levels are disjoint, and more.
        self.version = self.version.apply(&edit).unwrap();
        self.check();
    }

    fn flush(&mut self, keys: &[(IndexId, u32, bool)]) {
        let mut entries = Vec::new();
        for &(index, number, deleted) in keys {
            if self.dropped.contains(&index) {
                continue;
            }
            self.seq += 1;
            let kind = match deleted {
                true => ValueKind::Delete,
                false => ValueKind::Put,
            };
            entries.push((key(index, number), self.seq, kind));
        }
        if entries.is_empty() {
            return;
        }
        self.history.extend(entries.clone());
        entries.sort_by_key(|(key, seq, _)| (key.clone(), std::cmp::Reverse(*seq)));
        let together = |a: &Entry, b: &Entry| !self.file_an_index || a.0[..4] == b.0[..4];
        let files: Vec<Vec<Entry>> = entries.chunk_by(together).map(<[_]>::to_vec).collect();
        let runs = self.level0_runs();
        let edit = VersionEdit {
            added: files
                .into_iter()
                .map(|entries| (0, self.describe(entries)))
                .collect(),
            ..VersionEdit::default()
        };
        let known = self.version.clone();
        self.install(edit, &known);
        assert!(self.level0_runs() <= runs + 1, "a flush is one run");
    }

    /// The sorted runs of level 0, seen to be such, and no file behind one that is newer.
    fn level0_runs(&self) -> usize {
        let runs = sorted_runs(self.version.level(0), |file| file);
        for run in &runs {
            for pair in run.windows(2) {
                assert!(pair[0].largest.user_key() < pair[1].smallest.user_key());
            }
        }
        let places = |file: &Arc<FileMeta>| {
            let run = runs
                .iter()
                .position(|run| run.iter().any(|f| f.id == file.id));
            run.unwrap()
        };
        let in_order = self.version.level(0).iter().map(places);
        assert!(in_order.is_sorted());
        runs.len()
    }

    fn pick(&mut self) -> Option<Task> {
        let oldest = self.snapshots.first().copied();
        self.config.oldest_snapshot = oldest.unwrap_or(self.seq);
        pick(&self.version, &self.config, &self.busy)
    }

    fn start(&mut self) -> bool {
        let Some(task) = self.pick() else {
            return false;
        };
        let files = task.file_ids();
        assert!(!files.is_empty());
        for id in files {
            assert!(self.busy.insert(id), "{task:?} takes a busy file");
        }
        let mut outputs = Vec::new();
        let snapshots_then = self.snapshot_list();
        if let Task::Merge {
            to, upper, lower, ..
        } = &task
        {
            self.merges += 1;
            let mut entries: Vec<Entry> = upper
                .iter()
                .chain(lower)
                .flat_map(|file| self.contents[&file.id].clone())
                .collect();
            entries.sort_by_key(|(key, seq, _)| (key.clone(), std::cmp::Reverse(*seq)));
            let dropped = self.version.dropped_indexes.clone();
            let mut rules = DropRules::new(snapshots_then.clone(), dropped);
            let version = &self.version;
            let empty_below =
                |key: &[u8]| (to + 1..=BOTTOM).all(|level| version.find_file(level, key).is_none());
            entries.retain(|(key, seq, kind)| rules.keep(key, *seq, *kind, empty_below));
            for entry in entries {
                let cut = outputs.last().is_none_or(|output: &Vec<Entry>| {
                    output.len() >= FILE_ENTRIES && output[output.len() - 1].0 != entry.0
                });
                if cut {
                    outputs.push(Vec::new());
                }
                outputs.last_mut().unwrap().push(entry);
            }
        }
        self.running.push(Running {
            task,
            from: self.version.clone(),
            outputs,
            snapshots_then,
        });
        true
    }

    fn finish(&mut self, which: usize) {
        if self.running.is_empty() {
            return;
        }
        let running = self.running.remove(which % self.running.len());
        // Snapshots only end; one that began since sees all that was committed when the task began.
        let then = running.snapshots_then.last().copied().unwrap();
        assert!(
            self.snapshots
                .iter()
                .all(|s| *s >= then || running.snapshots_then.contains(s))
        );
        let mut edit = VersionEdit::default();
        let known = match &running.task {
            Task::Merge { .. } => running.from.clone(),
            _ => self.version.clone(),
        };
        match &running.task {
            Task::Delete { files } => {
                edit.deleted = files
                    .iter()
                    .map(|(level, file)| (*level, file.id))
                    .collect();
                for (_, file) in files {
                    let dead = |(key, _, _): &Entry| {
                        self.dropped
                            .contains(&crate::types::index_id_of(key).unwrap())
                    };
                    assert!(self.contents[&file.id].iter().all(dead));
                }
            }
            Task::Move { from, to, files } => {
                assert!(from < to);
                for file in files {
                    edit.deleted.push((*from, file.id));
                    edit.added.push((*to, FileMeta::clone(file)));
                }
            }
            Task::Merge {
                from,
                to,
                upper,
                lower,
                ..
            } => {
                assert!(from <= to);
                edit.deleted
                    .extend(upper.iter().map(|file| (*from, file.id)));
                edit.deleted.extend(lower.iter().map(|file| (*to, file.id)));
                for output in running.outputs {
                    let meta = self.describe(output);
                    edit.added.push((*to, meta));
                }
            }
        }
        for id in running.task.file_ids() {
            self.busy.remove(&id);
        }
        self.install(edit, &known);
    }

    /// Newest versions of a key lie above older ones, and every snapshot sees what was written.
    fn check(&self) {
        let mut by_key: BTreeMap<&[u8], Vec<(SeqNo, ValueKind)>> = BTreeMap::new();
        let places = self.version.levels.iter().enumerate();
        for (_, file) in places.flat_map(|(level, files)| files.iter().map(move |f| (level, f))) {
            for (key, seq, kind) in &self.contents[&file.id] {
                let versions = by_key.entry(key).or_default();
                if let Some((newer, _)) = versions.last() {
                    assert!(seq < newer, "{key:?}: {seq} lies below {newer}");
                }
                versions.push((*seq, *kind));
            }
        }
        let mut written: BTreeMap<&[u8], Vec<(SeqNo, ValueKind)>> = BTreeMap::new();
        for (key, seq, kind) in &self.history {
            written.entry(key).or_default().push((*seq, *kind));
        }
        for (key, all) in &written {
            if self
                .dropped
                .contains(&crate::types::index_id_of(key).unwrap())
            {
                continue;
            }
            for snapshot in self.snapshot_list() {
                let expected = all.iter().rev().find(|(seq, _)| *seq <= snapshot);
                let expected = expected.filter(|(_, kind)| *kind == ValueKind::Put);
                let found = by_key
                    .get(key)
                    .and_then(|versions| versions.iter().find(|(seq, _)| *seq <= snapshot));
                let found = found.filter(|(_, kind)| *kind == ValueKind::Put);
                assert_eq!(found, expected, "{key:?} at {snapshot}");
            }
        }
    }

    /// Picks until nothing is left, and returns how many tasks it took.
    fn settle(&mut self) -> usize {
        while !self.running.is_empty() {
            self.finish(0);
        }
        let mut tasks = 0;
        while self.start() {
            self.finish(0);
            tasks += 1;
            assert!(tasks < 2000, "picking does not end: {:?}", self.pick());
        }
        tasks
    }
}

fn action() -> impl Strategy<Value = Action> {
    let row = (1u32..5, 0u32..40, prop::bool::weighted(0.3));
    prop_oneof![
        6 => prop::collection::vec(row, 1..20).prop_map(Action::Flush),
        6 => Just(Action::Start),
        4 => any::<usize>().prop_map(Action::Finish),
        1 => (1u32..5).prop_map(Action::Drop),
        1 => Just(Action::Snapshot),
        1 => Just(Action::Release),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(150) })]

    #[test]
    fn tasks_change_nothing_that_is_seen_and_come_to_an_end(
        actions in prop::collection::vec(action(), 1..120),
        trigger in 1usize..4,
        multiplier in 2u64..5,
        file_an_index in any::<bool>(),
    ) {
        let mut tree = Tree::new(trigger, multiplier);
        tree.file_an_index = file_an_index;
        for action in actions {
            match action {
                Action::Flush(keys) => tree.flush(&keys),
                Action::Start => {
                    tree.start();
                }
                Action::Finish(which) => tree.finish(which),
                Action::Drop(index) => {
                    tree.dropped.insert(index);
                    let next = tree.next_file;
                    tree.version.dropped_indexes.insert(index, next);
                }
                Action::Snapshot => {
                    let seq = tree.seq;
                    tree.snapshots.insert(seq);
                }
                Action::Release => {
                    tree.snapshots.pop_first();
                }
            }
        }
        tree.settle();
        prop_assert!(tree.level0_runs() < trigger);
        let dropped = tree.version.dropped_indexes.clone();
        for (level, file) in tree.version.files() {
            prop_assert!(level == 0 || !touches_dropped(file, &dropped), "{:?}", file);
        }
        // Asked for, everything goes to the bottom; without snapshots one version of each row is left that is not deleted.
        tree.snapshots.clear();
        tree.config.everything = true;
        tree.settle();
        for (level, file) in tree.version.files() {
            prop_assert_eq!((level, file.deletions), (BOTTOM, 0));
        }
        // And it stays so.
        prop_assert_eq!(tree.settle(), 0);
    }
}
