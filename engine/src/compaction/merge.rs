//! Merging input files into output files.

use std::sync::Arc;

use crate::Result;
use crate::iter::{InternalIterator, MergingIterator};
use crate::manifest::{FileMeta, LEVELS, Version};
use crate::output::{DropRules, Output, OutputSpec};
use crate::types::decode_internal;

/// What is merged.
pub struct Inputs<I> {
    /// One iterator for each sorted run.
    pub runs: Vec<I>,
    /// The version that the inputs come from, which says what lies below.
    pub version: Arc<Version>,
    /// Level of the output.
    pub output_level: usize,
}

/// Merges the inputs and returns the output files in key order.
pub fn merge<I: InternalIterator>(
    inputs: Inputs<I>,
    mut rules: DropRules,
    spec: OutputSpec<'_>,
) -> Result<Vec<FileMeta>> {
    let mut below = Below::new(&inputs.version, inputs.output_level);
    let mut output = Output::new(spec);
    let mut merged = MergingIterator::new(inputs.runs);
    merged.seek_to_first()?;
    while merged.valid() {
        let (key, kind) = decode_internal(merged.key())?;
        if rules.keep(key.user, key.seq(), kind, |user_key| {
            below.is_empty_at(user_key)
        }) {
            output.add(merged.key(), merged.value())?;
        }
        merged.next()?;
    }
    output.finish()
}

/// The files of the levels below the output, walked along with the merge.
struct Below<'a> {
    levels: Vec<&'a [Arc<FileMeta>]>,
}

impl<'a> Below<'a> {
    fn new(version: &'a Version, output_level: usize) -> Self {
        Self {
            levels: (output_level + 1..LEVELS)
                .map(|level| version.level(level))
                .collect(),
        }
    }

    /// Whether no file below covers `user_key`. Asked with ascending keys.
    fn is_empty_at(&mut self, user_key: &[u8]) -> bool {
        self.levels.iter_mut().all(|files| {
            while let Some((first, rest)) = files.split_first()
                && first.largest.user_key() < user_key
            {
                *files = rest;
            }
            files
                .first()
                .is_none_or(|file| user_key < file.smallest.user_key())
        })
    }
}
