//! The engine's named failure points, as its sources have them, and how one is armed in a server.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use anyhow::{Context, Result, ensure};

use crate::host::paths;
use crate::server_tests::random::Random;

/// The variable that the engine reads at its first point.
pub const VARIABLE: &str = "SMARTENGINE_FAILPOINTS";
const CALL: &str = "failpoint::hit(";

/// The names of all points.
pub fn names() -> Result<Vec<String>> {
    let mut names = BTreeSet::new();
    collect(&paths::workspace().join("engine/src"), &mut names)?;
    ensure!(
        !names.is_empty(),
        "the engine's sources name no failure points"
    );
    Ok(names.into_iter().collect())
}

fn collect(folder: &Path, names: &mut BTreeSet<String>) -> Result<()> {
    for entry in fs::read_dir(folder).with_context(|| format!("read {}", folder.display()))? {
        let path = entry?.path();
        if path.is_dir() {
            collect(&path, names)?;
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            names.extend(points_in(&fs::read_to_string(&path)?));
        }
    }
    Ok(())
}

fn points_in(source: &str) -> Vec<String> {
    source
        .split(CALL)
        .skip(1)
        .filter_map(|rest| {
            Some(
                rest.trim_start()
                    .strip_prefix('"')?
                    .split_once('"')?
                    .0
                    .to_string(),
            )
        })
        .collect()
}

/// The value that kills a server at one of the points, or now and then makes the point fail or panic, with the server
/// going on: early for points that are passed seldom, later for those that every commit passes.
pub fn arm(names: &[String], random: &mut Random) -> String {
    let action = random.pick(&["abort", "abort", "abort", "error", "panic"]);
    let name = random.pick(names);
    let frequent = ["commit.", "wal.", "prepare."]
        .iter()
        .any(|layer| name.starts_with(layer));
    let at = match (frequent, random.below(3)) {
        (true, 0) => random.between(1, 20),
        (true, _) => random.between(20, 400),
        (false, 0) => random.between(2, 8),
        (false, _) => 1,
    };
    format!("{name}={action}@{at}")
}

/// Whether the server goes on, in whatever state, when the point is reached.
pub fn survives(value: &str) -> bool {
    !value.contains("=abort")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn points_are_read_off_the_sources() {
        let source = "failpoint::hit(\"a.b\")?;\nif x { failpoint::hit(\n    \"c.d\") }\nfailpoint::hit(name)";
        assert_eq!(points_in(source), ["a.b", "c.d"]);
        let names = names().unwrap();
        assert!(
            names.iter().any(|name| name == "wal.after_sync"),
            "{names:?}"
        );
    }

    #[test]
    fn an_armed_point_reads_as_the_engine_wants_it() {
        let names = ["wal.after_sync".to_string()];
        let mut random = Random::new(1);
        for _ in 0..20 {
            let value = arm(&names, &mut random);
            let (name, rest) = value.split_once('=').unwrap();
            let (action, at) = rest.split_once('@').unwrap();
            assert_eq!(name, "wal.after_sync");
            assert!(at.parse::<u64>().unwrap() > 0);
            assert_eq!(survives(&value), action != "abort");
        }
    }
}
