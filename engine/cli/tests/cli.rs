//! The program itself, on stores of a directory.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::time::Duration;

use serde_json::Value;
use smartengine::object_store::open_store;
use smartengine::{Engine, Isolation, Options};

struct Store {
    dir: tempfile::TempDir,
}

fn options(dir: &Path) -> Options {
    let mut options = Options::new(dir.join("data"));
    let url = format!("file://{}", dir.join("bucket").display());
    options.store = Some(open_store(&url).unwrap());
    options.remote_wal = true;
    options.gc_grace = Duration::ZERO;
    options.wal_upload_size = 4 << 10;
    options.disable_auto_compactions = true;
    options.memtable_size = 1 << 20;
    options.target_file_size = 64 << 10;
    options.base_level_size = 64 << 10;
    options
}

/// Opens an engine. A child process of another test holds copies of all open files between its fork and its start, locks among them.
fn open(dir: &Path) -> Engine {
    for _ in 0..200 {
        match Engine::open(options(dir)) {
            Err(error) if error.message().contains("another process holds it") => {
                std::thread::sleep(Duration::from_millis(10));
            }
            opened => return opened.unwrap(),
        }
    }
    panic!("the engine's directory stays locked");
}

fn key(index: u32, n: u32) -> Vec<u8> {
    [index.to_be_bytes(), n.to_be_bytes()].concat()
}

/// Bytes that do not compress.
fn value(n: u32) -> Vec<u8> {
    let mut state = n;
    let next = |_| {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (state >> 24) as u8
    };
    (0..200).map(next).collect()
}

fn write(engine: &Engine, rows: std::ops::Range<u32>) {
    for n in rows {
        let mut txn = engine.begin(Isolation::RepeatableRead);
        txn.put(&key(1 + n % 2, n), &value(n)).unwrap();
        if n % 5 == 0 {
            txn.delete(&key(1 + n % 2, n / 2)).unwrap();
        }
        txn.commit().unwrap();
    }
}

impl Store {
    /// A store with files at two levels at least, and a log.
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let engine = open(dir.path());
        write(&engine, 0..2000);
        engine.compact().unwrap();
        write(&engine, 1000..1500);
        engine.flush().unwrap();
        write(&engine, 3000..3020);
        engine.sync_wal().unwrap();
        engine.close().unwrap();
        // The next ones end without writing their memtables to files, so that a fence and chunks of the last stay.
        for first in [3100, 3200] {
            let engine = open(dir.path());
            write(&engine, first..first + 100);
            engine.sync_wal().unwrap();
            std::thread::sleep(Duration::from_millis(500));
            drop(engine);
        }
        Self { dir }
    }

    fn path(&self) -> PathBuf {
        self.dir.path().join("bucket")
    }

    fn url(&self) -> String {
        format!("file://{}", self.path().display())
    }

    /// All objects and their bytes.
    fn objects(&self) -> BTreeMap<String, Vec<u8>> {
        let store = open_store(&self.url()).unwrap();
        let listed = store.list("", "", 10_000).unwrap().into_iter();
        listed
            .map(|meta| (meta.key.clone(), store.get(&meta.key).unwrap().to_vec()))
            .collect()
    }

    fn replace(&self, key: &str, bytes: &[u8]) {
        std::fs::write(self.path().join(key), bytes).unwrap();
    }
}

fn run(args: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_smartengine"))
        .args(args)
        .output()
        .unwrap()
}

fn code(output: &Output) -> i32 {
    output.status.code().unwrap()
}

fn text(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// Runs it with `--json`; the exit code and the answer.
fn ask(args: &[&str]) -> (i32, Value) {
    let output = run(&[args, &["--json"]].concat());
    let value = serde_json::from_slice(&output.stdout);
    (code(&output), value.unwrap_or(Value::Null))
}

fn problems(answer: &Value) -> Vec<(String, Option<u64>)> {
    let problems = answer["problems"].as_array().unwrap().iter();
    problems
        .map(|found| {
            let object = found["object"].as_str().unwrap().to_owned();
            (object, found["offset"].as_u64())
        })
        .collect()
}

#[test]
fn a_sound_store_is_found_to_be_sound_and_left_as_it_is() {
    let store = Store::new();
    let before = store.objects();
    let url = store.url();
    let (code, answer) = ask(&["verify", &url]);
    assert_eq!(
        (code, &answer["sound"]),
        (0, &Value::Bool(true)),
        "{answer}"
    );
    assert!(answer["files"].as_u64().unwrap() > 4, "{answer}");
    assert!(answer["chunks"].as_u64().unwrap() > 2, "{answer}");
    assert!(answer["records"].as_u64().unwrap() > 10, "{answer}");
    let (code, answer) = ask(&["inspect", &url]);
    assert_eq!(code, 0);
    assert_eq!(answer["epoch"], 3);
    let levels = answer["files"].as_array().unwrap().iter();
    let levels: std::collections::BTreeSet<_> =
        levels.map(|file| file["level"].as_u64().unwrap()).collect();
    assert!(levels.len() > 1, "{answer}");
    for object in before.keys() {
        let dumped = run(&["dump", &url, object, "--json"]);
        assert_eq!(dumped.status.code(), Some(0), "{object}");
        for line in text(&dumped).lines() {
            serde_json::from_str::<Value>(line).unwrap();
        }
        let shown = run(&["dump", &url, object, "--limit", "3"]);
        assert_eq!(shown.status.code(), Some(0));
        assert!(!shown.stdout.is_empty());
    }
    // As people give it: a directory, with text for an answer.
    let path = store.path().display().to_string();
    for args in [
        &["inspect", &path, "--files", "--chunks"][..],
        &["verify", &path],
        &["gc", "--dry-run", &path],
        &["info", &path, "--indexes"],
        &["check", &path],
        &["list", &path],
    ] {
        let output = run(args);
        assert_eq!(output.status.code(), Some(0), "{args:?}");
        assert!(output.stdout.len() > 20);
    }
    assert_eq!(store.objects(), before);
    assert!(
        !store.path().join(".tmp").exists()
            || std::fs::read_dir(store.path().join(".tmp"))
                .unwrap()
                .count()
                == 0
    );
}

#[test]
fn every_flipped_bit_is_found_and_named() {
    let store = Store::new();
    let url = store.url();
    let (code, answer) = ask(&["gc", "--dry-run", &url]);
    assert_eq!(code, 0);
    let garbage: Vec<&str> = answer["objects"]
        .as_array()
        .unwrap()
        .iter()
        .map(|one| one["object"].as_str().unwrap())
        .collect();
    let mut flips = 0;
    for (object, bytes) in store.objects() {
        if garbage.contains(&object.as_str()) && object.starts_with("sst/") {
            continue;
        }
        let last = bytes.len() - 1;
        let mut places = vec![
            0,
            last / 3,
            last / 2,
            last.saturating_sub(70),
            last - last / 7,
            last,
        ];
        places.dedup();
        for place in places {
            let mut bad = bytes.clone();
            bad[place] ^= 1 << (place % 8);
            store.replace(&object, &bad);
            let (code, answer) = ask(&["verify", &url]);
            assert_eq!(code, 4, "{object} at {place}");
            let found = problems(&answer);
            let named = found.iter().find(|(name, _)| *name == object);
            let (_, offset) = named.unwrap_or_else(|| panic!("{object} at {place}: {answer}"));
            assert!(offset.is_some(), "{object} at {place}: {answer}");
            if object.starts_with("sst/") {
                // The piece that begins there has the byte.
                assert!(
                    offset.unwrap() <= place as u64,
                    "{object} at {place}: {answer}"
                );
                assert_eq!(found.len(), 1, "{answer}");
            }
            flips += 1;
        }
        store.replace(&object, &bytes);
    }
    assert!(flips > 100, "{flips}");
    assert_eq!(ask(&["verify", &url]).0, 0);
}

#[test]
fn what_is_missing_cut_or_another_objects_is_found() {
    let store = Store::new();
    let url = store.url();
    let objects = store.objects();
    let ssts: Vec<&String> = objects
        .keys()
        .filter(|key| key.starts_with("sst/"))
        .collect();
    let live = ask(&["inspect", &url]).1;
    let live: Vec<String> = live["files"]
        .as_array()
        .unwrap()
        .iter()
        .map(|file| format!("sst/{:020}.sst", file["id"].as_u64().unwrap()))
        .collect();
    for object in &live {
        let bytes = &objects[object];
        std::fs::remove_file(store.path().join(object)).unwrap();
        let (code, answer) = ask(&["verify", &url]);
        assert_eq!((code, &problems(&answer)[0].0), (4, object));
        store.replace(object, &bytes[..bytes.len() - 1]);
        let (code, answer) = ask(&["verify", &url]);
        assert_eq!((code, &problems(&answer)[0].0), (4, object));
        store.replace(object, bytes);
    }
    // A sound file, but not this one.
    let (one, other) = (ssts[0], ssts[ssts.len() - 1]);
    store.replace(
        &live[0],
        if **one == live[0] {
            &objects[other]
        } else {
            &objects[one]
        },
    );
    assert_eq!(ask(&["verify", &url]).0, 4);
    store.replace(&live[0], &objects[&live[0]]);
    for prefix in ["manifest/", "wal/"] {
        let needed = objects.keys().filter(|key| key.starts_with(prefix));
        let needed: Vec<&String> = needed.collect();
        // Not the last: that it was there nobody can tell.
        let object = needed[needed.len() - 3];
        std::fs::remove_file(store.path().join(object)).unwrap();
        let (code, answer) = ask(&["verify", &url]);
        assert_eq!(code, 4, "{object}: {answer}");
        store.replace(object, &objects[object]);
    }
    assert_eq!(ask(&["verify", &url]).0, 0);
}

#[test]
fn a_running_server_is_not_in_its_way() {
    let store = Store::new();
    let url = store.url();
    let engine = open(store.dir.path());
    let stop = std::sync::atomic::AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let mut n = 10_000;
            while !stop.load(std::sync::atomic::Ordering::Relaxed) {
                write(&engine, n..n + 200);
                n += 200;
            }
        });
        for _ in 0..15 {
            let (code, answer) = ask(&["verify", &url]);
            assert_eq!(code, 0, "{answer}");
            assert_eq!(code_of_inspect(&url), 0);
        }
        stop.store(true, std::sync::atomic::Ordering::Relaxed);
    });
    engine.close().unwrap();
}

fn code_of_inspect(url: &str) -> i32 {
    code(&run(&["inspect", url]))
}

#[test]
fn garbage_is_told_and_why() {
    let store = Store::new();
    let url = store.url();
    let orphan = "sst/00000001099511628888.sst";
    store.replace(orphan, b"left by a crash");
    let (code, answer) = ask(&["gc", "--dry-run", &url]);
    assert_eq!(code, 0);
    let listed = answer["objects"].as_array().unwrap();
    let found = listed.iter().find(|one| one["object"] == orphan).unwrap();
    assert_eq!(found["only_if_writer_is_gone"], Value::Bool(false));
    assert!(
        found["why"]
            .as_str()
            .unwrap()
            .contains("no version names it")
    );
    // It does not make the store unsound.
    let (code, answer) = ask(&["verify", &url]);
    assert_eq!(code, 0);
    assert!(answer["other_objects"].as_u64().unwrap() >= 1);
    // What the plan does not name, the next server leaves alone; what it names goes.
    let planned: Vec<String> = listed
        .iter()
        .map(|one| one["object"].as_str().unwrap().to_owned())
        .collect();
    open(store.dir.path()).close().unwrap();
    open(store.dir.path()).close().unwrap();
    let left = store.objects();
    assert!(!left.contains_key(orphan));
    let ssts = planned.iter().filter(|key| key.starts_with("sst/"));
    assert!(ssts.clone().count() >= 1);
    for key in ssts {
        assert!(!left.contains_key(key), "{key}");
    }
}

#[test]
fn exit_codes_are_those_of_fsck() {
    let dir = tempfile::tempdir().unwrap();
    let absent = dir.path().join("absent").display().to_string();
    let absent_url = format!("file://{absent}");
    let empty = dir.path().display().to_string();
    for (args, wanted) in [
        (&["--help"][..], 0),
        (&["--version"], 0),
        (&[], 16),
        (&["verify"], 16),
        (&["mend", "x"], 16),
        (&["gc", &absent], 16),
        (&["verify", "ftp://x"], 16),
        (&["inspect", &absent], 8),
        (&["inspect", &absent_url], 8),
        (&["verify", &absent], 8),
        (&["verify", &empty], 8),
        (&["inspect", &empty], 8),
    ] {
        assert_eq!(code(&run(args)), wanted, "{args:?}");
    }
    assert!(!Path::new(&absent).exists());
    let store = Store::new();
    let url = store.url();
    assert_eq!(code(&run(&["dump", &url, "sst/x"])), 16);
    assert_eq!(
        code(&run(&["dump", &url, "sst/00000000000000000001.sst"])),
        8
    );
    let object = store
        .objects()
        .into_keys()
        .find(|key| key.starts_with("sst/"))
        .unwrap();
    store.replace(
        &object,
        b"no longer an SST, though long enough to have been one: sixty-four bytes",
    );
    assert_eq!(code(&run(&["dump", &url, &object])), 4);
}

#[test]
fn a_list_has_every_object_under_its_kind() {
    let store = Store::new();
    let (url, objects) = (store.url(), store.objects());
    let (code, answer) = ask(&["list", &url]);
    assert_eq!(code, 0);
    let listed: BTreeMap<&str, (u64, &str)> = answer["objects"]
        .as_array()
        .unwrap()
        .iter()
        .map(|one| {
            let key = one["object"].as_str().unwrap();
            (
                key,
                (
                    one["bytes"].as_u64().unwrap(),
                    one["kind"].as_str().unwrap(),
                ),
            )
        })
        .collect();
    assert_eq!(listed.len(), objects.len());
    for (key, bytes) in &objects {
        let kind = match key.split_once('/') {
            Some((folder, _)) => folder,
            None => "store",
        };
        assert_eq!(listed[key.as_str()], (bytes.len() as u64, kind), "{key}");
    }
    let (_, only) = ask(&["list", &url, "--kind", "sst", "--summary"]);
    let files: Vec<_> = objects
        .iter()
        .filter(|(key, _)| key.starts_with("sst/"))
        .collect();
    let bytes: usize = files.iter().map(|(_, bytes)| bytes.len()).sum();
    let sums = serde_json::json!([{"kind": "sst", "count": files.len(), "bytes": bytes}]);
    assert_eq!(only, serde_json::json!({"kinds": sums}));
    // It reads nothing but the listing, so damage is not in its way.
    store.replace("STORE", b"damaged");
    store.replace("left-by-somebody", b"");
    assert_eq!(ask(&["inspect", &url]).0, 4);
    let (code, answer) = ask(&["list", &url, "--kind", "other"]);
    assert_eq!(code, 0);
    assert_eq!(answer["objects"][0]["object"], "left-by-somebody");
}

#[test]
fn info_tells_the_formats_and_the_indexes() {
    let store = Store::new();
    let (code, answer) = ask(&["info", &store.url(), "--indexes"]);
    assert_eq!(code, 0);
    assert_eq!(
        answer["formats"],
        serde_json::json!({"manifest": 4, "log in the store": 1, "SST": 1})
    );
    let indexes = answer["indexes"].as_array().unwrap();
    let entries = indexes
        .iter()
        .map(|index| index["entries"].as_u64().unwrap());
    let in_files = answer["files"].as_array().unwrap().iter();
    let in_files = in_files.map(|file| file["entries"].as_u64().unwrap());
    assert_eq!(entries.sum::<u64>(), in_files.sum::<u64>());
    let ids: Vec<u64> = indexes
        .iter()
        .map(|index| index["index"].as_u64().unwrap())
        .collect();
    assert!(ids.contains(&1) && ids.contains(&2), "{ids:?}");
    // What this release wrote is what it says that it writes.
    let (code, version) = ask(&["version"]);
    assert_eq!(
        (code, version["version"].as_str()),
        (0, Some(env!("CARGO_PKG_VERSION")))
    );
    for (format, found) in answer["formats"].as_object().unwrap() {
        assert_eq!(&version["formats"][format], found, "{format}");
    }
    assert!(text(&run(&["version"])).starts_with("smartengine "));
}

#[test]
fn info_tells_the_servers_version_that_a_store_is_marked_with() {
    let store = Store::new();
    let (code, answer) = ask(&["info", &store.url()]);
    assert_eq!((code, &answer["user_version"]), (0, &Value::Null));
    let shown = text(&run(&["info", &store.url()]));
    assert!(
        shown.contains("\nnot marked with a server's version\n"),
        "{shown}"
    );
    let engine = open(store.dir.path());
    engine.raise_user_version(90_704).unwrap();
    engine.raise_user_version(80_036).unwrap();
    engine.close().unwrap();
    let (code, answer) = ask(&["info", &store.url()]);
    assert_eq!((code, &answer["user_version"]), (0, &Value::from(90_704)));
    let shown = text(&run(&["info", &store.url()]));
    assert!(
        shown.contains("\nwritten by servers of versions up to 9.7.4\n"),
        "{shown}"
    );
}

#[test]
fn a_secret_in_a_url_is_not_shown() {
    for command in ["info", "check", "list"] {
        let output = run(&[command, "s3://key:hunter2@bucket/prefix"]);
        let said = text(&output) + &String::from_utf8_lossy(&output.stderr);
        assert_eq!(code(&output), 16, "{said}");
        assert!(!said.contains("hunter2"), "{said}");
    }
}

#[test]
fn pages_are_written_of_each_command_and_for_each_shell() {
    let dir = tempfile::tempdir().unwrap();
    let folder = dir.path().join("made/anew");
    let output = run(&["pages", folder.to_str().unwrap()]);
    assert_eq!(code(&output), 0);
    for (file, wanted) in [
        ("smartengine.1", "smartengine\\-verify(1)"),
        ("smartengine-gc.1", "\\-\\-dry\\-run"),
        ("smartengine.bash", "complete -F"),
        ("_smartengine", "#compdef smartengine"),
        ("smartengine.fish", "complete -c smartengine"),
    ] {
        let made = std::fs::read_to_string(folder.join(file)).unwrap();
        assert!(made.contains(wanted), "{file} is\n{made}");
    }
    let in_the_way = dir.path().join("file");
    std::fs::write(&in_the_way, "").unwrap();
    let output = run(&["pages", in_the_way.to_str().unwrap()]);
    assert_eq!(code(&output), 8);
}
