use std::thread;
use std::time::Duration;

use super::*;
use crate::host::paths::FolderLock;

struct Scratch(PathBuf);

impl Scratch {
    fn new(name: &str) -> Self {
        let name = format!("xtask-{name}-{}", std::process::id());
        let dir = std::env::temp_dir().join(name);
        fs::create_dir_all(dir.join("stock")).unwrap();
        fs::write(dir.join("mysqld"), "server").unwrap();
        fs::write(dir.join("stock/auth.so"), "auth").unwrap();
        Self(dir)
    }

    /// What a command does that builds `code`: the lock, the archive, the library linked of it, the hold.
    fn build(&self, code: &str) -> (BuildFolder, Hold) {
        let parent = self.0.join("mysql-plugins");
        let _lock = FolderLock::acquire(&parent).unwrap();
        let archive = self.0.join("archive.a");
        fs::remove_file(&archive).ok();
        fs::write(&archive, code).unwrap();
        let folder =
            BuildFolder::of(&parent, &archive, Some(&self.0.join("mysqld")), "a test").unwrap();
        let hold = folder.hold().unwrap();
        if !folder.library().exists() {
            folder.link_stock(&self.0.join("stock")).unwrap();
            fs::write(folder.symbols(), format!("symbols {code}")).unwrap();
            fs::write(folder.unchecked(), code).unwrap();
            folder.accept().unwrap();
        }
        folder.publish(&self.0).unwrap();
        folder.remove_others().unwrap();
        (folder, hold)
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

#[test]
fn what_a_command_built_stays_its_own_while_another_builds() {
    let scratch = Scratch::new("builds");
    let (first, hold) = scratch.build("of the first");
    let (second, _second_hold) = scratch.build("of the second");
    let read = |folder: &BuildFolder| fs::read_to_string(folder.library()).unwrap();
    assert_eq!(read(&first), "of the first");
    assert_eq!(read(&second), "of the second");
    assert_eq!(
        fs::read_to_string(scratch.0.join(LIBRARY)).unwrap(),
        "of the second"
    );
    assert_eq!(
        fs::read_to_string(scratch.0.join(SYMBOLS)).unwrap(),
        "symbols of the second"
    );
    drop(hold);
    second.remove_others().unwrap();
    assert!(!first.path().exists());
    assert!(second.library().exists());
}

#[test]
fn another_way_of_linking_is_another_folder() {
    let scratch = Scratch::new("ways");
    let archive = scratch.0.join("archive.a");
    fs::write(&archive, "code").unwrap();
    let path = |how| {
        let mysqld = scratch.0.join("mysqld");
        let folder = BuildFolder::of(&scratch.0.join("builds"), &archive, Some(&mysqld), how);
        folder.unwrap().path().to_path_buf()
    };
    assert_eq!(path("one"), path("one"));
    assert_ne!(path("one"), path("other"));
}

#[test]
fn commands_that_build_at_once_never_find_another_library_or_half_of_one() {
    let scratch = Scratch::new("at-once");
    thread::scope(|scope| {
        for command in 0..4 {
            let scratch = &scratch;
            scope.spawn(move || {
                for round in 0..20 {
                    let code = format!("{command} {round}\n").repeat(1000);
                    let (folder, _hold) = scratch.build(&code);
                    // A server of this command starts now, and again later.
                    for _ in 0..3 {
                        let found = fs::read_to_string(folder.library()).unwrap();
                        assert!(found == code, "another's library, or half of one");
                        assert!(folder.path().join("auth.so").exists());
                        thread::sleep(Duration::from_millis(1));
                    }
                }
            });
        }
    });
}

#[test]
fn the_library_that_people_look_for_is_whole_at_every_moment() {
    let scratch = Scratch::new("published");
    let _kept = scratch.build(&"a".repeat(1 << 20));
    thread::scope(|scope| {
        let writer = scope.spawn(|| {
            for round in 0..50 {
                let letter = if round % 2 == 0 { "b" } else { "c" };
                scratch.build(&letter.repeat(1 << 20));
            }
        });
        while !writer.is_finished() {
            assert_eq!(fs::read(scratch.0.join(LIBRARY)).unwrap().len(), 1 << 20);
        }
    });
}
