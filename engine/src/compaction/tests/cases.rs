//! Each kind of task, and when it is picked.

use super::*;

#[test]
fn nothing_is_done_about_a_tree_in_shape() {
    assert!(pick_idle(&Version::default(), &config()).is_none());
    let few = version(
        vec![
            (0, file(1, (1, 0), (1, 9), 500)),
            (0, file(2, (1, 0), (1, 9), 500)),
            (6, file(3, (1, 0), (1, 9), 5000)),
            (5, file(4, (1, 0), (1, 9), 500)),
        ],
        &[],
    );
    assert!(pick_idle(&few, &config()).is_none());
}

#[test]
fn targets_follow_the_largest_level() {
    let empty = targets(&Version::default(), &config());
    assert_eq!(
        (empty.base_level, empty.bytes),
        (6, [0, 0, 0, 0, 0, 0, 1000])
    );
    let large = version(vec![(6, file(1, (1, 0), (1, 9), 500_000))], &[]);
    let found = targets(&large, &config());
    assert_eq!(found.base_level, 3);
    assert_eq!(found.bytes, [0, 0, 0, 500, 5000, 50_000, 500_000]);
    let above = version(vec![(4, file(1, (1, 0), (1, 9), 500_000))], &[]);
    assert_eq!(targets(&above, &config()), found);
    let huge = version(vec![(6, file(1, (1, 0), (1, 9), 1 << 50))], &[]);
    assert_eq!(targets(&huge, &config()).base_level, 1);
}

#[test]
fn level_0_is_merged_with_what_it_meets() {
    let mut files: Vec<_> = (1..=4)
        .map(|id| (0, file(id, (1, id as u32), (1, 10 + id as u32), 100)))
        .collect();
    files.push((6, file(10, (1, 0), (1, 5), 100)));
    files.push((6, file(11, (1, 6), (1, 20), 100)));
    files.push((6, file(12, (1, 21), (1, 30), 100)));
    let Some(Task::Merge {
        reason: Reason::Level0,
        from: 0,
        to: 6,
        upper,
        lower,
    }) = pick_idle(&version(files, &[]), &config())
    else {
        panic!("no merge")
    };
    assert_eq!(ids(&upper), [4, 3, 2, 1]);
    assert_eq!(ids(&lower), [10, 11]);
}

#[test]
fn files_that_meet_nothing_are_moved() {
    let files = (1..=4u32)
        .map(|id| (0, file(id.into(), (1, 10 * id), (1, 10 * id + 9), 100)))
        .collect();
    let moved = pick_idle(&version(files, &[]), &config());
    assert!(
        matches!(&moved, Some(Task::Move { from: 0, to: 6, files }) if files.len() == 4),
        "{moved:?}"
    );
}

/// Flush number `flush` of eight indexes of 100 bytes each.
fn flush_of_eight(flush: u64) -> impl Iterator<Item = (usize, FileMeta)> {
    (1..=8).map(move |index| {
        (
            0,
            file(10 * flush + u64::from(index), (index, 0), (index, 9), 100),
        )
    })
}

#[test]
fn what_counts_in_level_0_is_runs_and_bytes() {
    let config = PickConfig {
        base_size: 100_000,
        ..config()
    };
    let below = |number| {
        (
            6,
            file(number, (number as u32, 0), (number as u32, 9), 5000),
        )
    };
    let with = |flushes: u64| {
        let files = (1..=flushes).flat_map(flush_of_eight);
        version(files.chain((1..=8).map(below)).collect(), &[])
    };
    for flushes in 1..=3 {
        let three = with(flushes);
        assert_eq!(
            sorted_runs(three.level(0), |file| file).len() as u64,
            flushes
        );
        assert!(pick_idle(&three, &config).is_none(), "{flushes} flushes");
    }
    let picked = pick_idle(&with(4), &config);
    assert!(
        matches!(&picked, Some(Task::Merge { reason: Reason::Level0, upper, .. }) if upper.len() == 32),
        "{picked:?}"
    );
    let full = PickConfig {
        level0_size: 1600,
        ..config
    };
    assert!(pick_idle(&with(1), &full).is_none());
    assert!(pick_idle(&with(2), &full).is_some());
}

#[test]
fn a_run_takes_what_shares_no_key_with_it_and_no_more_than_it_may() {
    let runs = |files: Vec<FileMeta>| {
        let version = version(files.into_iter().map(|file| (0, file)).collect(), &[]);
        let runs = sorted_runs(version.level(0), |file| file);
        runs.iter().map(|run| ids(run)).collect::<Vec<_>>()
    };
    assert!(runs(Vec::new()).is_empty());
    // Newest first: 5 and 4 lie apart, 3 reaches over both, 2 and 1 lie apart again.
    let mixed = vec![
        file(1, (1, 0), (1, 5), 1),
        file(2, (1, 6), (1, 9), 1),
        file(3, (1, 3), (1, 7), 1),
        file(4, (1, 8), (1, 9), 1),
        file(5, (1, 0), (1, 2), 1),
    ];
    assert_eq!(runs(mixed), [vec![5, 3, 4], vec![1, 2]]);
    // One that ends where another begins shares that key.
    let touching = vec![file(1, (1, 0), (1, 5), 1), file(2, (1, 5), (1, 9), 1)];
    assert_eq!(runs(touching), [vec![2], vec![1]]);
    let many = (0..130u32).map(|n| file(1 + u64::from(n), (1, 10 * n), (1, 10 * n + 9), 1));
    assert_eq!(runs(many.collect()).len(), 3);
}

#[test]
fn level_0_does_not_pass_newer_data_in_a_level_above_the_base() {
    let mut files: Vec<_> = (1..=4)
        .map(|id| (0, file(id, (1, 0), (1, 9), 100)))
        .collect();
    files.push((2, file(10, (2, 0), (2, 1), 1)));
    let picked = pick_idle(&version(files, &[]), &config());
    // Level 2 has no target and goes down first, or level 0 goes no deeper than level 2.
    match picked {
        Some(Task::Merge { from: 0, to, .. } | Task::Move { from: 0, to, .. }) => assert_eq!(to, 2),
        Some(Task::Move { from: 2, to: 3, .. }) => {}
        other => panic!("{other:?}"),
    }
}

#[test]
fn of_a_level_the_file_goes_that_costs_least() {
    let files = vec![
        (5, file(1, (1, 0), (1, 9), 1000)),
        (5, file(2, (1, 10), (1, 19), 1000)),
        (5, file(3, (1, 20), (1, 29), 1000)),
        (6, file(4, (1, 0), (1, 12), 9000)),
        (6, file(5, (1, 13), (1, 21), 2000)),
        (6, file(6, (1, 22), (1, 29), 1000)),
    ];
    let Some(Task::Merge {
        reason: Reason::Size,
        from: 5,
        to: 6,
        upper,
        lower,
    }) = pick_idle(&version(files.clone(), &[]), &config())
    else {
        panic!("no merge")
    };
    assert_eq!((ids(&upper), ids(&lower)), (vec![3], vec![5, 6]));
    // A file full of deletions comes before any other, ...
    let mut dense = files.clone();
    dense[0].1.deletions = 60;
    let picked = pick_idle(&version(dense, &[]), &config());
    assert!(
        matches!(&picked, Some(Task::Merge { upper, .. }) if ids(upper) == [1]),
        "{picked:?}"
    );
    // ... and one that is in use is left alone, as is one that meets it.
    let busy = HashSet::from([first_file_of_epoch(1) + 6]);
    let picked = pick(&version(files, &[]), &config(), &busy);
    assert!(
        matches!(&picked, Some(Task::Merge { upper, .. }) if ids(upper) == [1] || ids(upper) == [2]),
        "{picked:?}"
    );
}

#[test]
fn files_of_dropped_indexes_alone_are_deleted_whole() {
    let files = vec![
        (0, file(1, (1, 0), (1, 9), 100)),
        (5, file(2, (2, 0), (3, 9), 100)),
        (6, file(3, (1, 0), (2, 9), 100)),
    ];
    let Some(Task::Delete { files }) = pick_idle(&version(files, &[2, 3, 7]), &config()) else {
        panic!("no deletion")
    };
    let deleted: Vec<_> = files
        .iter()
        .map(|(level, file)| (*level, file.id - first_file_of_epoch(1)))
        .collect();
    assert_eq!(deleted, [(5, 2)]);
}

#[test]
fn files_that_hold_a_dropped_index_among_others_are_rewritten_once() {
    let held = file(3, (1, 0), (3, 9), 100);
    let Some(Task::Merge {
        reason: Reason::DroppedIndex,
        from: 6,
        to: 6,
        upper,
        lower,
    }) = pick_idle(&version(vec![(6, held)], &[2]), &config())
    else {
        panic!("no merge")
    };
    assert_eq!((ids(&upper), lower.len()), (vec![3], 0));
    // One written since the drop is known not to hold it, though its range covers it.
    let mut since = version(vec![(6, file(3, (1, 0), (3, 9), 100))], &[2]);
    since.dropped_indexes.insert(2, first_file_of_epoch(1) + 3);
    assert!(pick_idle(&since, &config()).is_none());
}

#[test]
fn everything_goes_to_the_bottom_and_loses_its_deletions() {
    let manual = PickConfig {
        everything: true,
        ..config()
    };
    let one = version(vec![(0, file(1, (1, 0), (1, 9), 100))], &[]);
    assert!(pick_idle(&one, &config()).is_none());
    let picked = pick_idle(&one, &manual);
    assert!(matches!(picked, Some(Task::Move { from: 0, to: 6, .. })));
    let upper = version(vec![(3, file(1, (1, 0), (1, 9), 100))], &[]);
    let picked = pick_idle(&upper, &manual);
    assert!(matches!(picked, Some(Task::Move { from: 3, to: 4, .. })));
    let mut deleting = file(5, (1, 0), (1, 9), 100);
    deleting.deletions = 1;
    let bottom = version(vec![(6, deleting)], &[]);
    assert!(pick_idle(&bottom, &config()).is_none());
    let picked = pick_idle(&bottom, &manual);
    assert!(matches!(
        picked,
        Some(Task::Merge {
            reason: Reason::Deletions,
            from: 6,
            to: 6,
            ..
        })
    ));
    // While someone may see what was deleted, rewriting would gain nothing, for ever.
    let seen = PickConfig {
        oldest_snapshot: 4,
        ..manual
    };
    assert!(pick_idle(&bottom, &seen).is_none());
}
