//! `smartengine version`.

use std::fmt::Write as _;

use serde_json::{Map, Value, json};
use smartengine::{FORMAT_VERSIONS, Result};

use crate::{Outcome, print, print_json};

pub fn run(as_json: bool) -> Result<Outcome> {
    let version = env!("CARGO_PKG_VERSION");
    if as_json {
        let formats: Map<String, Value> = FORMAT_VERSIONS
            .into_iter()
            .map(|(format, version)| (format.to_owned(), json!(version)))
            .collect();
        print_json(&json!({"version": version, "formats": formats}))?;
        return Ok(Outcome::Well);
    }
    let mut out = format!(
        "smartengine {version}\n\nformats, and the version of each that is read, with all older ones:\n"
    );
    for (format, version) in FORMAT_VERSIONS {
        // Writing to a string does not fail.
        let _ = writeln!(out, "{format:<18} {version}");
    }
    print(&out)?;
    Ok(Outcome::Well)
}
