//! `smartengine gc --dry-run`.

use std::fmt::Write as _;

use serde_json::json;
use smartengine::Result;
use smartengine::inspect::{Garbage, garbage, overview};

use crate::{Outcome, open, print, print_json, text};

#[derive(clap::Args)]
pub struct Args {
    /// The store.
    store: String,
    /// Show the plan. It is all that there is: only a server that is attached removes anything.
    #[arg(long, required = true)]
    dry_run: bool,
}

pub fn run(args: &Args, as_json: bool) -> Result<Outcome> {
    let store = open::open(&args.store)?;
    let found = overview(&store)?;
    let plan = garbage(&*store, &found)?;
    let total: u64 = plan.iter().map(|one| one.size).sum();
    if as_json {
        let objects: Vec<_> = plan
            .iter()
            .map(|one| {
                json!({
                    "object": one.key,
                    "bytes": one.size,
                    "why": one.why,
                    "only_if_writer_is_gone": one.only_if_writer_is_gone,
                })
            })
            .collect();
        print_json(&json!({"objects": objects, "bytes": total}))?;
    } else {
        print(&as_text(&plan, found.objects.len(), total))?;
    }
    Ok(Outcome::Well)
}

fn as_text(plan: &[Garbage], objects: usize, total: u64) -> String {
    let mut out = String::new();
    for one in plan {
        // Writing to a string does not fail.
        let _ = writeln!(out, "{} ({}): {}", one.key, text::bytes(one.size), one.why);
    }
    let _ = writeln!(
        out,
        "{} of {objects} objects are garbage, {}; nothing was removed",
        plan.len(),
        text::bytes(total)
    );
    out
}
