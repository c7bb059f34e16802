use std::path::PathBuf;

use super::*;
use crate::ErrorKind;

fn write(fs: &dyn Fs, path: &Path, bytes: &[u8]) -> Arc<dyn FsFile> {
    let file = fs
        .open(path, OpenMode::CreateNew)
        .or_else(|_| fs.open(path, OpenMode::Write))
        .unwrap();
    file.write_at(&[IoSlice::new(bytes)], 0).unwrap();
    file
}

fn read(fs: &dyn Fs, path: &Path) -> Option<Vec<u8>> {
    let file = fs.open(path, OpenMode::Read).ok()?;
    let mut bytes = vec![0; file.size().unwrap() as usize];
    assert_eq!(file.read_at(&mut bytes, 0).unwrap(), bytes.len());
    Some(bytes)
}

/// What both file systems do alike.
fn contract(fs: &dyn Fs, dir: &Path) {
    let deep = dir.join("a/b");
    fs.create_dir_all(&deep).unwrap();
    fs.create_dir_all(&deep).unwrap();
    let (one, two) = (deep.join("one"), deep.join("two"));
    assert_eq!(
        fs.open(&one, OpenMode::Read).err().unwrap().kind(),
        ErrorKind::NotFound
    );
    assert_eq!(
        fs.open(&one, OpenMode::Write).err().unwrap().kind(),
        ErrorKind::NotFound
    );
    let file = write(fs, &one, b"0123456789");
    assert_eq!(
        fs.open(&one, OpenMode::CreateNew).err().unwrap().kind(),
        ErrorKind::AlreadyExists
    );
    let pieces = [b"ab".as_slice(), b"", b"cde"].map(IoSlice::new);
    file.write_at(&pieces, 8).unwrap();
    file.sync_data().unwrap();
    fs.sync_dir(&deep).unwrap();
    assert_eq!(read(fs, &one).unwrap(), b"01234567abcde");
    let mut tail = [0; 10];
    assert_eq!(file.read_at(&mut tail, 10).unwrap(), 3);
    assert_eq!(file.read_at(&mut tail, 100).unwrap(), 0);
    file.set_len(4).unwrap();
    file.set_len(6).unwrap();
    assert_eq!(read(fs, &one).unwrap(), b"0123\0\0");

    write(fs, &two, b"two");
    fs.rename(&one, &two).unwrap();
    assert_eq!(fs.list(&deep).unwrap(), ["two"]);
    assert_eq!(read(fs, &two).unwrap(), b"0123\0\0");
    // The open file is the renamed one.
    file.write_at(&[IoSlice::new(b"x")], 0).unwrap();
    assert_eq!(read(fs, &two).unwrap(), b"x123\0\0");
    fs.remove(&two).unwrap();
    assert_eq!(fs.remove(&two).err().unwrap().kind(), ErrorKind::NotFound);
    assert!(fs.list(&deep).unwrap().is_empty());
    assert!(fs.list(&dir.join("none")).is_err());

    let lock = fs.lock(&deep.join("LOCK")).unwrap();
    let second = fs.lock(&deep.join("LOCK")).err().unwrap();
    assert_eq!(second.kind(), ErrorKind::Unavailable);
    drop(lock);
    fs.lock(&deep.join("LOCK")).unwrap();
}

#[test]
fn both_file_systems_keep_the_contract() {
    let dir = tempfile::tempdir().unwrap();
    contract(&RealFs, dir.path());
    contract(&FaultFs::new(), &PathBuf::from("/"));
}

#[test]
fn a_loss_of_power_takes_what_was_not_synced() {
    let fs = FaultFs::new();
    let dir = PathBuf::from("/d");
    fs.create_dir_all(&dir).unwrap();
    let path = dir.join("f");
    let file = write(&fs, &path, b"kept");
    file.sync_data().unwrap();
    // Its bytes are durable, its name is not.
    assert_eq!(read(&fs.crash(PowerLoss::All), &path), None);
    fs.sync_dir(&dir).unwrap();
    file.write_at(&[IoSlice::new(b"LOST")], 0).unwrap();
    assert_eq!(read(&fs.crash(PowerLoss::All), &path).unwrap(), b"kept");
    assert_eq!(
        read(&fs.crash(PowerLoss::ProcessOnly), &path).unwrap(),
        b"LOST"
    );
    fs.rename(&path, &dir.join("g")).unwrap();
    assert!(read(&fs.crash(PowerLoss::All), &path).is_some());
    fs.remove(&dir.join("g")).unwrap();
    assert!(read(&fs.crash(PowerLoss::All), &path).is_some());
    assert_eq!(read(&fs.crash(PowerLoss::ProcessOnly), &path), None);
}

#[test]
fn a_loss_of_power_tears_between_sectors_and_nowhere_else() {
    let fs = FaultFs::new();
    let dir = PathBuf::from("/d");
    fs.create_dir_all(&dir).unwrap();
    let path = dir.join("f");
    let file = write(&fs, &path, &[0; 4096]);
    file.sync_data().unwrap();
    fs.sync_dir(&dir).unwrap();
    file.write_at(&[IoSlice::new(&[1; 3000])], 300).unwrap();
    let mut torn = 0;
    for seed in 0..50 {
        let found = read(&fs.crash(PowerLoss::Part(seed)), &path).unwrap();
        assert_eq!(found.len(), 4096);
        assert_eq!(
            found,
            read(&fs.crash(PowerLoss::Part(seed)), &path).unwrap()
        );
        for (sector, bytes) in found.chunks(512).enumerate() {
            let written = |at: usize| (300..3300).contains(&(sector * 512 + at));
            let any = bytes.contains(&1);
            assert!(
                bytes
                    .iter()
                    .enumerate()
                    .all(|(at, b)| *b == u8::from(any && written(at)))
            );
        }
        let sectors = found.chunks(512).filter(|bytes| bytes.contains(&1)).count();
        torn += usize::from((1..7).contains(&sectors));
    }
    assert!(torn > 20, "{torn}");
}

#[test]
fn a_failed_sync_forgets_what_was_not_durable() {
    let fs = FaultFs::new();
    let dir = PathBuf::from("/d");
    fs.create_dir_all(&dir).unwrap();
    let path = dir.join("f");
    let file = write(&fs, &path, b"first");
    fs.sync_dir(&dir).unwrap();
    fs.fail(Operation::Sync, 0, 1, ErrorKind::Unavailable);
    assert!(file.sync_data().is_err());
    file.sync_data().unwrap();
    assert_eq!(read(&fs, &path).unwrap(), b"first");
    assert_eq!(read(&fs.crash(PowerLoss::All), &path).unwrap(), b"");
    assert_eq!(fs.count(Operation::Sync), 2);
}
