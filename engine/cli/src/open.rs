//! Opening what the user names.

use std::path::Path;
use std::sync::Arc;

use smartengine::internals::object_store::S3Location;
use smartengine::object_store::{ObjectStore, StoreOptions, open_store_for_reading};
use smartengine::{Error, ErrorKind, Result};

/// The store at a URL, or in a directory: the store's own, or that of an engine whose store is in it.
pub fn open(given: &str) -> Result<Arc<dyn ObjectStore>> {
    if given.contains("://") {
        return open_store_for_reading(given).map_err(|error| match is_well_formed(given) {
            // The bucket does not let us in.
            true => Error::new(ErrorKind::Unavailable, error.message()),
            false => error,
        });
    }
    let path = std::fs::canonicalize(given)
        .map_err(|error| Error::io(format_args!("open {given}"), error))?;
    let inner = path.join("store");
    let dir = if !path.join("manifest").is_dir() && inner.join("manifest").is_dir() {
        &inner
    } else {
        Path::new(&path)
    };
    let dir = dir
        .to_str()
        .ok_or_else(|| Error::invalid(format!("{}: the path is not UTF-8", dir.display())))?;
    open_store_for_reading(&format!("file://{dir}"))
}

/// Whether it is a well-formed URL of a bucket.
fn is_well_formed(url: &str) -> bool {
    url.strip_prefix("s3://")
        .is_some_and(|rest| S3Location::parse(rest, &StoreOptions::default()).is_ok())
}
