//! The engine's formats, for the plugin's account of itself.

/// `manifest 3, SST 1` and so on: the versions that are written.
pub fn format_versions() -> String {
    let formats: Vec<String> = smartengine::FORMAT_VERSIONS
        .iter()
        .map(|(name, version)| format!("{name} {version}"))
        .collect();
    formats.join(", ")
}

#[cfg(test)]
mod tests {
    #[test]
    fn each_format_is_named_with_its_version() {
        let text = super::format_versions();
        assert_eq!(text.split(", ").count(), smartengine::FORMAT_VERSIONS.len());
        for format in text.split(", ") {
            let (name, version) = format.rsplit_once(' ').unwrap();
            assert!(!name.is_empty());
            assert!(version.parse::<u32>().unwrap() >= 1, "{format}");
        }
    }
}
