//! The plugin's decoders, fed with bytes that went wrong, under the sanitizers (`mysql-plugin/tests/image/codec_fuzz.cc`).
//!
//! Two seconds a decoder; a minute with `--full`. `SMARTENGINE_FUZZ_SEED` begins elsewhere. An input that fails is left in a file that the message
//! names; it is added, with the fix, to `mysql-plugin/tests/found/<decoder>/`, which every run begins with.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::thread;

use anyhow::{Context, Result, bail};

use crate::host::paths;
use crate::packages::mysql::Mysql;
use crate::plugin::Sanitizer;
use crate::test::sanitizers::codecs;
use crate::test::server_image::ServerImage;
use crate::test::tally::Tally;

/// Each block says that it was entered, which is how inputs are told apart.
const COVERAGE: &str = "-fsanitize-coverage=trace-pc";
const SEED: &str = "SMARTENGINE_FUZZ_SEED";

struct Fuzzer {
    image: ServerImage,
    libraries: Vec<PathBuf>,
    folder: PathBuf,
}

/// Fuzzes each decoder for so many seconds.
pub fn decoders(mysql: &Mysql, seconds: u32) -> Result<Tally> {
    let seed = seed()?;
    let folder = paths::fresh("sanitizers/fuzz")?;
    let mut options = codecs::OPTIONS.to_vec();
    options.push(COVERAGE);
    let fuzzer = Fuzzer {
        image: ServerImage::build(mysql, "codec_fuzz", &options, &folder)?,
        libraries: Sanitizer::Address.runtimes()?,
        folder,
    };
    fuzzer.sees_a_planted_fault()?;
    println!("fuzzing from the seed {seed} ({SEED})");
    fuzzer.all(seconds, seed)
}

fn seed() -> Result<u64> {
    match std::env::var(SEED) {
        Ok(text) => text
            .parse()
            .with_context(|| format!("{SEED} is {text:?}; it has to be a number")),
        Err(_) => Ok(1),
    }
}

impl Fuzzer {
    fn output(&self, arguments: &[&str]) -> Result<String> {
        self.image
            .output_with(&self.libraries, &codecs::ENVIRONMENT, arguments)
    }

    fn sees_a_planted_fault(&self) -> Result<()> {
        match self.output(&["overrun"]) {
            Ok(_) => bail!("a step past the end of a sample went unseen: the sanitizer is blind"),
            Err(error) if format!("{error:#}").contains("heap-buffer-overflow") => Ok(()),
            Err(error) => Err(error),
        }
    }

    /// As many at once as there are processors.
    fn all(&self, seconds: u32, seed: u64) -> Result<Tally> {
        let names = self.output(&["list"])?;
        let next = Mutex::new(names.lines());
        let tally = Mutex::new(Tally::default());
        thread::scope(|scope| {
            for _ in 0..thread::available_parallelism().map_or(1, usize::from) {
                scope.spawn(|| {
                    loop {
                        let Some(name) = next.lock().expect("no one panics with it").next() else {
                            break;
                        };
                        let result = self.one(name, seconds, seed);
                        let mut tally = tally.lock().expect("no one panics with it");
                        match result {
                            Ok(said) => {
                                tally.passed += 1;
                                print!("{said}");
                            }
                            Err(error) => {
                                println!("{name}: {error:#}");
                                tally.fail(name, &format!("{error:#}"));
                            }
                        }
                    }
                });
            }
        });
        Ok(tally.into_inner().expect("no one panics with it"))
    }

    fn one(&self, name: &str, seconds: u32, seed: u64) -> Result<String> {
        let folder = self.folder.join(name);
        let image = self.image.link_into(&folder)?;
        let found = paths::workspace()
            .join("mysql-plugin/tests/found")
            .join(name);
        image
            .output_with(
                &self.libraries,
                &codecs::ENVIRONMENT,
                &[
                    "fuzz",
                    name,
                    &seconds.to_string(),
                    &seed.to_string(),
                    &found.to_string_lossy(),
                ],
            )
            .with_context(|| match keep_input(&folder) {
                Ok(path) => format!("the input is in {}", path.display()),
                Err(error) => format!("the input is lost: {error:#}"),
            })
    }
}

/// What was being tried, without the length before it and what an earlier input left behind it.
fn keep_input(folder: &Path) -> Result<PathBuf> {
    let bytes = fs::read(folder.join("input"))?;
    let (length, rest) = bytes.split_at_checked(4).context("it is too short")?;
    let length = u32::from_be_bytes(length.try_into().expect("four bytes")) as usize;
    let path = folder.join("failed");
    fs::write(&path, rest.get(..length).context("it is cut short")?)?;
    Ok(path)
}
