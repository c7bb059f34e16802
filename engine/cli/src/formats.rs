//! The versions of the formats that a store's newest objects are in.

use smartengine::inspect::Overview;
use smartengine::internals::format::sst::FOOTER_LEN;
use smartengine::internals::manifest::sst_key;
use smartengine::object_store::ObjectStore;
use smartengine::{ErrorKind, Result};

/// Where the version is in all objects but files: behind the magic.
const AT_HEAD: u64 = 8;
/// Where it is in a file, counted in the footer.
const IN_FOOTER: u64 = 48;

/// Formats under their names of [`smartengine::FORMAT_VERSIONS`], and the version of the newest object in each. What the store has none of, or whose newest was
/// removed meanwhile, is left out.
pub fn of_store(store: &dyn ObjectStore, found: &Overview) -> Result<Vec<(&'static str, u32)>> {
    let newest = |kind: &str| {
        let mut keys = found.objects.iter().map(|object| &object.key);
        keys.rfind(|key| key.starts_with(kind)).cloned()
    };
    let file = found.version.files().map(|(_, file)| file);
    let file = file.max_by_key(|file| file.id);
    let places = [
        ("manifest", newest("manifest/"), AT_HEAD),
        ("log in the store", newest("wal/"), AT_HEAD),
        (
            "SST",
            file.map(|file| sst_key(file.id)),
            file.map_or(0, |file| file.size.saturating_sub(FOOTER_LEN as u64)) + IN_FOOTER,
        ),
    ];
    let mut versions = Vec::new();
    for (kind, key, at) in places {
        let Some(key) = key else { continue };
        match store.get_range(&key, at..at + 4) {
            Ok(bytes) => {
                if let Some(bytes) = bytes.first_chunk() {
                    versions.push((kind, u32::from_le_bytes(*bytes)));
                }
            }
            Err(error) if error.kind() == ErrorKind::NotFound => {}
            Err(error) => return Err(error),
        }
    }
    Ok(versions)
}
