//! `smartengine list`.
//!
//! It needs nothing but a listing: a store that is damaged can be listed too.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use serde_json::json;
use smartengine::object_store::ObjectMeta;
use smartengine::{Error, ErrorKind, Result};

use crate::{Outcome, open, print, print_json, text};

/// Objects asked for at once.
const PAGE: usize = 1000;

#[derive(clap::Args)]
pub struct Args {
    /// The store.
    store: String,
    /// Only of this kind.
    #[arg(long)]
    kind: Option<Kind>,
    /// Only how many there are of each kind, and their size.
    #[arg(long)]
    summary: bool,
}

/// What an object is, by its key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, clap::ValueEnum)]
enum Kind {
    /// What there is to read: the versions of the list of files
    Manifest,
    /// Rows and entries
    Sst,
    /// Commits that are not in files yet
    Wal,
    /// The store's number, and a hint where the manifest's newest version is
    Store,
    /// What is none of the engine's
    Other,
}

impl Kind {
    fn of(key: &str) -> Self {
        match key.split_once('/') {
            Some(("manifest", _)) => Self::Manifest,
            Some(("sst", _)) => Self::Sst,
            Some(("wal", _)) => Self::Wal,
            None if ["STORE", "CURRENT"].contains(&key) => Self::Store,
            _ => Self::Other,
        }
    }

    fn name(self) -> &'static str {
        match self {
            Self::Manifest => "manifest",
            Self::Sst => "sst",
            Self::Wal => "wal",
            Self::Store => "store",
            Self::Other => "other",
        }
    }
}

pub fn run(args: &Args, as_json: bool) -> Result<Outcome> {
    let store = open::open(&args.store)?;
    let mut kinds: BTreeMap<Kind, Vec<ObjectMeta>> = BTreeMap::new();
    let mut after = String::new();
    loop {
        let page = store.list("", &after, PAGE)?;
        let Some(last) = page.last() else { break };
        after.clone_from(&last.key);
        let full = page.len() == PAGE;
        for object in page {
            kinds.entry(Kind::of(&object.key)).or_default().push(object);
        }
        if !full {
            break;
        }
    }
    if kinds.is_empty() {
        // A mistyped prefix must not pass for an empty store.
        return Err(Error::new(
            ErrorKind::NotFound,
            "there is no object at all: nobody has opened a store there",
        ));
    }
    kinds.retain(|kind, _| args.kind.is_none_or(|only| only == *kind));
    if as_json {
        print_json(&as_value(&kinds, args.summary))?;
    } else {
        print(&as_text(&kinds, args.summary))?;
    }
    Ok(Outcome::Well)
}

fn bytes_of(objects: &[ObjectMeta]) -> u64 {
    objects.iter().map(|object| object.size).sum()
}

fn as_value(kinds: &BTreeMap<Kind, Vec<ObjectMeta>>, summary: bool) -> serde_json::Value {
    let all: Vec<_> = kinds
        .iter()
        .flat_map(|(kind, objects)| objects.iter().map(|object| (*kind, object)))
        .map(|(kind, object)| json!({"kind": kind.name(), "object": object.key, "bytes": object.size}))
        .collect();
    let sums: Vec<_> = kinds
        .iter()
        .map(|(kind, objects)| {
            json!({"kind": kind.name(), "count": objects.len(), "bytes": bytes_of(objects)})
        })
        .collect();
    match summary {
        true => json!({"kinds": sums}),
        false => json!({"kinds": sums, "objects": all}),
    }
}

fn as_text(kinds: &BTreeMap<Kind, Vec<ObjectMeta>>, summary: bool) -> String {
    let mut out = String::new();
    // Writing to a string does not fail.
    if !summary {
        for (kind, objects) in kinds {
            for ObjectMeta { key, size } in objects {
                let _ = writeln!(out, "{:<9} {size:>12} {key}", kind.name());
            }
        }
        out.push('\n');
    }
    for (kind, objects) in kinds {
        let (count, size) = (objects.len(), text::bytes(bytes_of(objects)));
        let _ = writeln!(out, "{:<9} {count:>8} objects {size:>11}", kind.name());
    }
    out
}
