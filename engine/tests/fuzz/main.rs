//! Every decoder of persisted bytes, fed with bytes that went wrong.
//!
//! Samples are changed again and again from a seed. What a decoder says to the result is known: it decodes, or it is
//! [`ErrorKind::Corruption`] (sound bytes of an unknown version: [`ErrorKind::Invalid`]). It never panics, runs in circles or asks for more
//! memory than its input accounts for. An input that is answered in a new way is kept, to be changed further; so the inputs work their way past one
//! check after the other, without instruments in the code.
//!
//! Two seconds a decoder; a minute with `SMARTENGINE_TEST_FULL` (`cargo xtask test --full`). `SMARTENGINE_FUZZ_SEED` begins elsewhere. An input that fails is
//! written to a file whose name the message gives; once it is understood it belongs into `tests/fuzz/found/<target>/`, which every run begins with.
//!
//! The entry points are not compiled into a release.
#![cfg(debug_assertions)]

mod memory;
mod mutate;

use std::collections::BTreeSet;
use std::fs;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::time::{Duration, Instant};

use smartengine::ErrorKind;
use smartengine::internals::env::Sequence;
use smartengine::internals::fuzz::{TARGETS, Target};

#[global_allocator]
static WATCHED: memory::Watched = memory::Watched;

/// What a decoder may take for itself, and a byte of input may come to: LZ4 makes 255 of one at the most, zstd is let grow as it reads.
const OWN: usize = 4 << 20;
const FOR_A_BYTE: usize = 300;
/// The longest that one input may take, on a machine that does much else.
const PATIENCE: Duration = Duration::from_secs(10);
const MOST_KEPT: usize = 4000;

fn seconds() -> u64 {
    match std::env::var_os("SMARTENGINE_TEST_FULL") {
        Some(_) => 60,
        None => 2,
    }
}

/// How an input was answered, without the numbers in it.
fn answer(target: &Target, input: &[u8]) -> Result<String, String> {
    let begun = Instant::now();
    let (decoded, largest) =
        memory::largest_request(|| catch_unwind(AssertUnwindSafe(|| (target.decode)(input))));
    let answer = match decoded {
        Err(_) => return Err("it panicked".to_owned()),
        Ok(Ok(())) => "decoded".to_owned(),
        Ok(Err(error)) => {
            let newer = error.kind() == ErrorKind::Invalid && error.message().contains("version");
            if error.kind() != ErrorKind::Corruption && !newer {
                return Err(format!("not a corruption: {error:?}"));
            }
            // Checksums are printed in hexadecimal, places in decimal.
            let words = error.to_string();
            words
                .split_whitespace()
                .filter(|word| !word.contains(|c: char| c.is_ascii_digit()) && word.len() < 20)
                .filter(|word| {
                    !word
                        .trim_matches(['(', ')', ','])
                        .chars()
                        .all(|c| c.is_ascii_hexdigit())
                })
                .collect::<Vec<_>>()
                .join(" ")
        }
    };
    if largest > OWN + FOR_A_BYTE * input.len() {
        return Err(format!(
            "it asked for {largest} bytes at once, of an input of {}",
            input.len()
        ));
    }
    if begun.elapsed() > PATIENCE {
        return Err(format!("it took {:?}", begun.elapsed()));
    }
    Ok(answer)
}

fn check(target: &Target, input: &[u8], answers: &mut BTreeSet<String>) -> bool {
    match answer(target, input) {
        Ok(answer) => answers.insert(answer),
        Err(wrong) => {
            let folder = Path::new(env!("CARGO_TARGET_TMPDIR"));
            let file = folder.join(format!("fuzz-{}", target.name));
            fs::write(&file, input).unwrap();
            panic!(
                "{}: {wrong}; the input is in {}",
                target.name,
                file.display()
            );
        }
    }
}

/// Inputs that were found to fail once.
fn found_before(target: &Target) -> Vec<Vec<u8>> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fuzz/found");
    let Ok(entries) = fs::read_dir(folder.join(target.name)) else {
        return Vec::new();
    };
    entries
        .map(|entry| fs::read(entry.unwrap().path()).unwrap())
        .collect()
}

fn fuzz(name: &str) {
    let target = TARGETS.iter().find(|target| target.name == name).unwrap();
    let seed = match std::env::var("SMARTENGINE_FUZZ_SEED") {
        Ok(seed) => seed.parse().unwrap(),
        Err(_) => 1,
    };
    let mut random = Sequence::new(seed);
    let mut inputs = (target.samples)();
    assert!(!inputs.is_empty(), "no sample could be made");
    let mut answers = BTreeSet::new();
    for sample in &inputs {
        check(target, sample, &mut answers);
        let as_it_was = sample.clone();
        let mut sealed = sample.clone();
        (target.seal)(&mut sealed);
        assert!(
            sealed == as_it_was,
            "{name}: sealing changes a sound sample"
        );
    }
    assert_eq!(answers.iter().collect::<Vec<_>>(), ["decoded"]);
    for input in found_before(target) {
        check(target, &input, &mut answers);
    }
    let until = Instant::now() + Duration::from_secs(seconds());
    let mut tried = 0_u64;
    while Instant::now() < until {
        let pick = |random: &mut Sequence| random.below(inputs.len() as u64) as usize;
        let (one, other) = (pick(&mut random), pick(&mut random));
        let mut input = mutate::mutate(&inputs[one], &inputs[other], &mut random);
        if random.below(4) != 0 {
            (target.seal)(&mut input);
        }
        tried += 1;
        if check(target, &input, &mut answers) && inputs.len() < MOST_KEPT {
            inputs.push(input);
        }
    }
    println!("{name}: {tried} inputs, {} answers", answers.len());
    assert!(
        answers.len() > 1,
        "nothing was ever found wrong: {answers:?}"
    );
}

/// A test for each target, and one that none is left out.
macro_rules! targets {
    ($($name:ident)*) => {
        $(#[test]
        fn $name() {
            fuzz(stringify!($name));
        })*

        #[test]
        fn every_target_has_a_test() {
            let tested = [$(stringify!($name)),*];
            for target in TARGETS {
                assert!(tested.contains(&target.name), "{} has no test", target.name);
            }
        }
    };
}

targets! {
    sst_footer
    stored_block
    block
    filter
    properties
    sst
    manifest_object
    file_descriptions
    wal_chunk_object
    wal_record
    wal_operations
    wal_segment
    disk_cache_index
    log_owners
    store_number
}
