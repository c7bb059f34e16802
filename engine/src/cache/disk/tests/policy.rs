use super::super::layout::{Entry, PieceKey};
use super::super::shard::Shard;
use crate::env::Sequence;

fn entry(piece: u32) -> Entry {
    Entry {
        key: PieceKey { file: 1, piece },
        len: 1,
        crcs: [piece; 4],
    }
}

fn insert(shard: &mut Shard, piece: u32) {
    let slot = shard.take_slot().unwrap().slot;
    if let Some((slot, _)) = shard.publish(slot, entry(piece)) {
        shard.give_back(slot);
    }
}

fn get(shard: &mut Shard, piece: u32) -> bool {
    let hit = shard.use_piece(entry(piece).key).is_some();
    if !hit {
        insert(shard, piece);
    }
    hit
}

#[test]
fn a_scan_does_not_push_out_what_is_in_use() {
    let mut shard = Shard::new(0, 1000);
    let mut sequence = Sequence::new(1);
    for _ in 0..20_000 {
        get(&mut shard, sequence.below(500) as u32);
    }
    for cold in 1_000..50_000 {
        // A scan reads a piece block by block.
        for _ in 0..4 {
            get(&mut shard, cold);
        }
        get(&mut shard, sequence.below(500) as u32);
    }
    let hot = (0..500).filter(|&piece| shard.contains(entry(piece).key));
    assert!(hot.count() > 490);
    shard.check();
}

#[test]
fn what_is_wanted_again_soon_after_it_went_stays_the_second_time() {
    let mut shard = Shard::new(0, 1000);
    for piece in 0..1200 {
        insert(&mut shard, piece);
    }
    assert!(!shard.contains(entry(0).key));
    insert(&mut shard, 0);
    for piece in 2000..2900 {
        insert(&mut shard, piece);
    }
    assert!(shard.contains(entry(0).key));
    assert!(!shard.contains(entry(1).key));
}

#[test]
fn its_tables_agree_after_anything() {
    for seed in 0..50 {
        let mut sequence = Sequence::new(seed);
        let capacity = 1 + sequence.below(60) as u32;
        let mut shard = Shard::new(100, capacity);
        let recovered = sequence.below(u64::from(capacity) * 2) as u32;
        for slot in 0..recovered {
            if sequence.below(3) > 0 {
                shard.recover(100 + slot, entry(slot / 2 * 3));
            }
        }
        shard.check();
        for _ in 0..2000 {
            let piece = sequence.below(100) as u32;
            match sequence.below(10) {
                0 => {
                    if let Some((slot, removed)) = shard.remove(entry(piece).key) {
                        assert_eq!(removed, entry(piece));
                        shard.give_back(slot);
                    }
                }
                1 => insert(&mut shard, piece),
                2 => {
                    let slot = shard.take_slot().unwrap().slot;
                    shard.give_back(slot);
                }
                _ => {
                    get(&mut shard, piece);
                }
            }
            if let Some(found) = shard.use_piece(entry(piece).key) {
                assert_eq!(found.entry, entry(piece));
                assert!(shard.is_current(&found));
                insert(&mut shard, piece);
                assert!(!shard.is_current(&found));
            }
        }
        shard.check();
    }
}

#[test]
fn slots_being_written_are_not_given_twice() {
    let mut shard = Shard::new(0, 3);
    let slots: Vec<u32> = (0..3).map(|_| shard.take_slot().unwrap().slot).collect();
    assert_eq!(slots, [0, 1, 2]);
    assert!(shard.take_slot().is_none());
    shard.publish(1, entry(7));
    let taken = shard.take_slot().unwrap();
    assert_eq!((taken.slot, taken.evicted), (1, Some(entry(7))));
}
