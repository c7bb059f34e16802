//! Opening what the user names.

use std::path::Path;
use std::sync::Arc;

use smartengine::object_store::{ObjectStore, open_store_for_reading};
use smartengine::{Error, Result};

/// The store at a URL, or in a directory: the store's own, or that of an engine whose store is in it.
pub fn open(given: &str) -> Result<Arc<dyn ObjectStore>> {
    if given.contains("://") {
        return open_store_for_reading(given);
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
