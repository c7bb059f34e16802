//! The checks of the plugin's codecs under the sanitizers for addresses and undefined behaviour, in the image of the server.
//!
//! The checks feed every decoder with each cut and each flipped bit of what it reads, so a step outside of a buffer is seen where it happens. The server
//! around them is the stock one, without instruments: what it does with memory of its own is not looked at.

use std::path::PathBuf;
use std::process::Command;

use anyhow::{Context, Result};

use crate::host::exec;
use crate::host::paths;
use crate::packages::mysql::Mysql;
use crate::test::server_image::ServerImage;

const OPTIONS: [&str; 3] = [
    "-O1",
    "-fsanitize=address,undefined",
    "-fno-sanitize-recover=undefined",
];
const CHECKS: [&str; 5] = ["collations", "definitions", "catalog", "rows", "entries"];

/// Builds the checks with the sanitizers and runs them; an error has what they said.
pub fn check_codecs(mysql: &Mysql) -> Result<()> {
    let folder = paths::fresh("sanitizers")?;
    let image = ServerImage::build(mysql, "codec_check", &OPTIONS, &folder)?;
    // Before all other libraries, as they replace functions of theirs.
    let libraries = [runtime("libasan.so")?, runtime("libubsan.so")?];
    let said = image.output_with(
        &libraries,
        // The server's memory is not theirs to judge.
        &[("ASAN_OPTIONS", "detect_leaks=0:detect_odr_violation=0")],
        &CHECKS,
    )?;
    print!("{said}");
    Ok(())
}

/// A library of the compiler's.
fn runtime(name: &str) -> Result<PathBuf> {
    let path = exec::output(Command::new("g++").arg(format!("-print-file-name={name}")))?;
    std::fs::canonicalize(path.trim())
        .with_context(|| format!("g++ has no {name}: it comes with the compiler's package"))
}
