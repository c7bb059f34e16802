use super::*;
use crate::env::Sequence;
use crate::env::fs::PowerLoss;

const LEN: usize = 2 * PIECE + 5000;

fn read_all(rig: &Rig, files: u64) {
    for file in 0..files {
        let read = rig.reader(file, LEN).read(0..LEN as u64).unwrap();
        assert!(read == content(file, LEN), "file {file}");
    }
}

fn flip(fs: &FaultFs, name: &str, bit: usize) {
    let path = Path::new(DIR).join(name);
    let mut bytes = fs.content(&path).unwrap();
    bytes[bit / 8] ^= 1 << (bit % 8);
    fs.set_content(&path, bytes).unwrap();
}

#[test]
fn a_flipped_bit_of_a_piece_is_noticed_and_repaired() {
    let rig = Rig::new(SMALL);
    rig.write(0, LEN, PIECE);
    // A piece that is fetched again goes to the slot that was freed, so that the flips go on hitting all three.
    for (damaged, at) in (1..).zip((0..LEN * 8).step_by(4099)) {
        flip(&rig.fs, "pieces", at);
        let gets = rig.gets();
        read_all(&rig, 1);
        assert_eq!(rig.stats().damaged, damaged, "bit {at}");
        assert_eq!(rig.gets(), gets + 1);
        read_all(&rig, 1);
        assert_eq!(rig.gets(), gets + 1);
    }
    flip(&rig.fs, "pieces", 5);
    read_all(&rig.restart(SMALL, 1), 1);
}

#[test]
fn a_flipped_bit_of_the_index_costs_a_piece_at_most() {
    for at in 0..(HEADER_LEN as usize + 3 * ENTRY_LEN) * 8 {
        if (36 * 8..HEADER_LEN as usize * 8).contains(&at) {
            continue;
        }
        let rig = Rig::new(SMALL);
        rig.write(0, LEN, PIECE);
        flip(&rig.fs, "index", at);
        let rig = rig.restart(SMALL, 1);
        let pieces = rig.stats().pieces;
        assert_eq!(pieces, if at < 36 * 8 { 0 } else { 2 });
        read_all(&rig, 1);
        assert_eq!(rig.stats().pieces, 3);
    }
}

#[test]
fn files_that_are_cut_swapped_or_not_its_own_give_nothing_wrong() {
    let make = || {
        let rig = Rig::new(SMALL);
        for file in 0..4 {
            rig.write(file, LEN, PIECE);
        }
        rig
    };
    for cut in [0, 1, 35, 4095, 4096, 4100, 4132, 4200] {
        let rig = make();
        for (name, at) in [("index", cut), ("pieces", cut * 40)] {
            let path = Path::new(DIR).join(name);
            let mut bytes = rig.fs.content(&path).unwrap();
            bytes.truncate(at);
            rig.fs.set_content(&path, bytes).unwrap();
            // With what was open still open, too.
            read_all(&rig, 4);
        }
        read_all(&rig.restart(SMALL, 1), 4);
    }
    let rig = make();
    let path = Path::new(DIR).join("pieces");
    let mut bytes = rig.fs.content(&path).unwrap();
    bytes.rotate_left(PIECE);
    rig.fs.set_content(&path, bytes).unwrap();
    let rig = rig.restart(SMALL, 1);
    assert_eq!(rig.stats().pieces, 12);
    read_all(&rig, 4);
    assert_eq!(rig.stats().damaged, 12);
}

#[test]
fn after_any_crash_no_read_is_wrong() {
    let rounds = if cfg!(miri) { 2 } else { 25 };
    let mut kept = 0;
    for seed in 0..rounds {
        let mut sequence = Sequence::new(seed);
        let mut rig = Rig::new(SMALL);
        for file in 0..16 {
            rig.remote.put(&key_of(file), &content(file, LEN)).unwrap();
        }
        for _ in 0..4 {
            for _ in 0..sequence.below(40) {
                let file = sequence.below(16);
                let from = sequence.below(LEN as u64);
                let to = from + sequence.below(LEN as u64 - from) + 1;
                let read = rig.reader(file, LEN).read(from..to).unwrap();
                assert!(read == content(file, LEN)[from as usize..to as usize]);
                if sequence.below(10) == 0 {
                    rig.cached.cache().remove_file(file);
                }
            }
            let loss = match sequence.below(3) {
                0 => PowerLoss::ProcessOnly,
                1 => PowerLoss::All,
                _ => PowerLoss::Part(sequence.below(u64::MAX)),
            };
            let fs = rig.fs.crash(loss);
            fs.create_dir_all(Path::new(DIR)).unwrap();
            rig = Rig::over(fs, rig.remote.clone(), SMALL, 1);
            kept += rig.stats().pieces;
        }
        read_all(&rig, 16);
    }
    assert!(kept > 100, "{kept}");
}
