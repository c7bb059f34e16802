//! The texts that a Debian package has besides its files.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result};

use super::{LAYOUT, SERVER};
use crate::host::exec;
use crate::release::contents;
use crate::release::facts::{self, DESCRIPTION, NAME, SUMMARY, VERSION};

const COPYRIGHT: &str = include_str!("../../../release/copyright");
/// What lintian finds and should not, with the reason.
pub const OVERRIDES: &str = include_str!("../../../release/lintian-overrides");

/// Of one package for one version of the server.
pub struct Control {
    server_version: String,
    architecture: String,
    kibibytes: u64,
    programs: [PathBuf; 2],
}

impl Control {
    /// Of what is laid out in `root`, for that version of the server's package.
    pub fn new(server_version: &str, root: &Path) -> Result<Self> {
        let architecture = exec::output(Command::new("dpkg").arg("--print-architecture"))?;
        let size = exec::output(
            Command::new("du")
                .args(["--summarize", "--apparent-size", "--block-size=1024"])
                .arg(root),
        )?;
        let kibibytes = size.split_whitespace().next().unwrap_or_default();
        Ok(Self {
            server_version: server_version.to_owned(),
            architecture: architecture.trim().to_owned(),
            kibibytes: kibibytes.parse().context("read what du printed")?,
            programs: [
                root.join(LAYOUT.plugins).join("ha_smartengine.so"),
                root.join("usr/bin/smartengine"),
            ],
        })
    }

    /// The package's version: ours, and the server's, so that a build for a newer server is newer.
    fn version(&self) -> String {
        version_for(&self.server_version)
    }

    pub fn file_name(&self) -> String {
        format!("{NAME}_{}_{}.deb", self.version(), self.architecture)
    }

    /// `DEBIAN/control`. What the programs' libraries come in is asked of dpkg-shlibdeps, in `folder`.
    pub fn text(&self, folder: &Path) -> Result<String> {
        let libraries = self.libraries(folder)?;
        Ok(format!(
            "Package: {NAME}\nVersion: {}\nArchitecture: {}\nMaintainer: {}\nInstalled-Size: {}\n\
             Depends: {libraries}, {SERVER} (= {})\nSection: database\nPriority: optional\nDescription: {SUMMARY}\n{}",
            self.version(),
            self.architecture,
            facts::maintainer()?,
            self.kibibytes,
            self.server_version,
            paragraphs(),
        ))
    }

    fn libraries(&self, folder: &Path) -> Result<String> {
        // It wants to be in a source package.
        contents::write(
            &folder.join("debian/control"),
            &format!("Source: {NAME}\n\nPackage: {NAME}\nArchitecture: any\n"),
        )?;
        let text = exec::output(
            Command::new("dpkg-shlibdeps")
                .args(["-O", "--warnings=0"])
                .args(&self.programs)
                .current_dir(folder),
        )
        .context(
            "find the packages of the libraries (dpkg-shlibdeps is in the package dpkg-dev)",
        )?;
        let found = text.trim().strip_prefix("shlibs:Depends=");
        Ok(found
            .with_context(|| format!("dpkg-shlibdeps printed {text:?}"))?
            .to_owned())
    }

    pub fn copyright(&self) -> Result<String> {
        let year = facts::date_text("%Y")?;
        Ok(COPYRIGHT
            .replace("{maintainer}", &facts::maintainer()?)
            .replace("{year}", &year))
    }

    pub fn changelog(&self) -> Result<String> {
        Ok(format!(
            "{NAME} ({}) unstable; urgency=medium\n\n  * Built for {SERVER} {}.\n\n -- {}  {}\n",
            self.version(),
            self.server_version,
            facts::maintainer()?,
            facts::date_text("%a, %d %b %Y %H:%M:%S +0000")?
        ))
    }
}

/// The part after the last hyphen is Debian's revision; it is the server's, so ours may not have one.
fn version_for(server_version: &str) -> String {
    format!("{VERSION}+mysql{server_version}")
}

/// The description's paragraphs, folded as control files have them.
fn paragraphs() -> String {
    const WIDTH: usize = 76;
    let folded = DESCRIPTION.map(|paragraph| {
        let mut lines: Vec<String> = vec![String::new()];
        for word in paragraph.split_whitespace() {
            let line = lines.last_mut().expect("there is always a line");
            if line.len() + word.len() >= WIDTH {
                lines.push(format!(" {word}"));
            } else {
                line.push(' ');
                line.push_str(word);
            }
        }
        lines.join("\n") + "\n"
    });
    folded.join(" .\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paragraphs_are_folded_and_parted_by_dots() {
        let text = paragraphs();
        assert_eq!(text.matches("\n .\n").count(), 2);
        for line in text.lines() {
            assert!(line.starts_with(' ') && line.len() <= 80, "{line}");
            assert!(!line.starts_with("  "), "{line}");
        }
        let words = |text: &str| {
            text.split_whitespace()
                .map(str::to_owned)
                .collect::<Vec<_>>()
        };
        let folded: Vec<_> = words(&text)
            .into_iter()
            .filter(|word| word != ".")
            .collect();
        assert_eq!(folded, words(&DESCRIPTION.join(" ")));
    }

    #[test]
    fn a_package_for_a_newer_server_is_newer() {
        let newer = |a: &str, b: &str| {
            Command::new("dpkg")
                .args(["--compare-versions", a, "gt", b])
                .status()
                .unwrap()
                .success()
        };
        let version = version_for("9.7.4-2");
        assert!(newer(&version_for("9.7.10-1"), &version));
        assert!(newer(&version_for("9.7.4-3"), &version));
        assert!(newer(&version, VERSION));
        assert!(!newer(&version, &version));
    }
}
