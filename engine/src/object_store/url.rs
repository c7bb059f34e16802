//! Stores by their URL, as a user writes it.

use std::sync::Arc;

use super::{LocalStore, MemoryStore, ObjectStore};
use crate::{Error, Result, ResultExt};

/// Opens the store that `url` names: `file:///absolute/path`, or `memory://` for one that vanishes with the process.
pub fn open_store(url: &str) -> Result<Arc<dyn ObjectStore>> {
    let refuse = |cause: &str| {
        Err(Error::invalid(format!(
            "store {url:?}: {cause}; allowed are file:///absolute/path and memory://"
        )))
    };
    match url.split_once("://") {
        Some(("file", path)) if path.starts_with('/') && path.len() > 1 => {
            let store = LocalStore::open(path).context(|| format!("open store {url}"))?;
            Ok(Arc::new(store))
        }
        Some(("file", _)) => refuse("the path is not absolute"),
        Some(("memory", "")) => Ok(Arc::new(MemoryStore::new())),
        Some(("memory", _)) => refuse("a store in memory has no path"),
        Some((scheme, _)) => refuse(&format!("no store of kind {scheme}:// is built in")),
        None => refuse("not a URL"),
    }
}

#[cfg(test)]
mod tests {
    use super::open_store;
    use crate::ErrorKind;

    #[test]
    fn opens_what_it_names_and_says_what_is_allowed() {
        let dir = tempfile::tempdir().unwrap();
        let url = format!("file://{}/new/store", dir.path().display());
        open_store(&url).unwrap().put("a", b"1").unwrap();
        assert_eq!(open_store(&url).unwrap().get("a").unwrap(), "1");
        open_store("memory://").unwrap();
        for bad in [
            "",
            "/tmp",
            "file://relative",
            "file:///",
            "s3://bucket/prefix",
            "memory://x",
        ] {
            let error = open_store(bad).err().expect(bad);
            assert_eq!(error.kind(), ErrorKind::Invalid);
            assert!(error.message().contains("file:///absolute/path"), "{error}");
        }
    }
}
