//! `smartengine verify`.

use std::fmt::Write as _;
use std::time::Duration;

use indicatif::{ProgressBar, ProgressStyle};
use serde_json::json;
use smartengine::Result;
use smartengine::inspect::{Report, verify};

use crate::{Outcome, open, print, print_json, text};

#[derive(clap::Args)]
pub struct Args {
    /// The store.
    store: String,
    /// Files to read at the same time.
    #[arg(long, default_value_t = 4, value_parser = clap::value_parser!(u16).range(1..=64))]
    jobs: u16,
    /// Show no progress.
    #[arg(long)]
    quiet: bool,
}

pub fn run(args: &Args, as_json: bool) -> Result<Outcome> {
    let store = open::open(&args.store)?;
    // It draws on standard error, and only where that is a terminal.
    let bar = match args.quiet {
        true => ProgressBar::hidden(),
        false => ProgressBar::new(0),
    };
    let style = "{bar:30} {bytes} of {total_bytes}, {bytes_per_sec}, {eta} left  {msg}";
    if let Ok(style) = ProgressStyle::with_template(style) {
        bar.set_style(style);
    }
    bar.enable_steady_tick(Duration::from_millis(200));
    let report = verify(&store, usize::from(args.jobs), &|progress| {
        bar.set_length(progress.total);
        bar.set_position(progress.done);
        bar.set_message(progress.object.clone());
    });
    bar.finish_and_clear();
    let report = report?;
    if as_json {
        print_json(&as_value(&report))?;
    } else {
        print(&as_text(&report))?;
    }
    Ok(match report.problems.is_empty() {
        true => Outcome::Well,
        false => Outcome::Errors,
    })
}

fn as_value(report: &Report) -> serde_json::Value {
    let problems: Vec<_> = report
        .problems
        .iter()
        .map(|found| json!({"object": found.object, "offset": found.offset, "message": found.message}))
        .collect();
    json!({
        "sound": problems.is_empty(),
        "problems": problems,
        "manifests": report.manifests,
        "files": report.files,
        "file_bytes": report.file_bytes,
        "entries": report.entries,
        "chunks": report.chunks,
        "chunk_bytes": report.chunk_bytes,
        "records": report.records,
        "other_objects": report.other_objects,
        "removed_meanwhile": report.removed_meanwhile,
    })
}

fn as_text(report: &Report) -> String {
    let mut out = String::new();
    for found in &report.problems {
        // Writing to a string does not fail.
        let _ = match found.offset {
            Some(offset) => writeln!(out, "{}: byte {offset}: {}", found.object, found.message),
            None => writeln!(out, "{}: {}", found.object, found.message),
        };
    }
    let _ = writeln!(
        out,
        "checked {} files of {} with {} entries, {} objects of the manifest, {} chunks of the log of {} with {} records",
        report.files,
        text::bytes(report.file_bytes),
        report.entries,
        report.manifests,
        report.chunks,
        text::bytes(report.chunk_bytes),
        report.records
    );
    if report.other_objects > 0 {
        let _ = writeln!(
            out,
            "{} other objects are not needed and were not read; `smartengine gc --dry-run` says more",
            report.other_objects
        );
    }
    if report.removed_meanwhile > 0 {
        let _ = writeln!(
            out,
            "{} objects were removed by a running server meanwhile",
            report.removed_meanwhile
        );
    }
    let _ = match report.problems.len() {
        0 => writeln!(out, "the store is sound"),
        1 => writeln!(out, "1 ERROR"),
        errors => writeln!(out, "{errors} ERRORS"),
    };
    out
}
