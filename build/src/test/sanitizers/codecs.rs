//! The checks of the plugin's codecs under the sanitizers for addresses and undefined behaviour, in the image of the server.
//!
//! The checks feed every decoder with each cut and each flipped bit of what it reads, so a step outside of a buffer is seen where it happens. The server
//! around them is the stock one, without instruments: what it does with memory of its own is not looked at.

use anyhow::Result;

use crate::host::paths;
use crate::packages::mysql::Mysql;
use crate::plugin::Sanitizer;
use crate::test::server_image::ServerImage;

pub const OPTIONS: [&str; 3] = [
    "-O1",
    "-fsanitize=address,undefined",
    "-fno-sanitize-recover=undefined",
];
/// The server's memory is not ours to judge.
pub const ENVIRONMENT: [(&str, &str); 1] =
    [("ASAN_OPTIONS", "detect_leaks=0:detect_odr_violation=0")];
const CHECKS: [&str; 5] = ["collations", "definitions", "catalog", "rows", "entries"];

/// Builds the checks with the sanitizers and runs them; an error has what they said.
pub fn check(mysql: &Mysql) -> Result<()> {
    let folder = paths::fresh("sanitizers/codecs")?;
    let image = ServerImage::build(mysql, "codec_check", &OPTIONS, &folder)?;
    // Before all other libraries, as they replace functions of theirs.
    let libraries = Sanitizer::Address.runtimes()?;
    let said = image.output_with(&libraries, &ENVIRONMENT, &CHECKS)?;
    print!("{said}");
    Ok(())
}
