//! A private apt: Debian packages fetched and unpacked into a folder of ours, without root and without touching the
//! host's own package lists. apt itself resumes broken downloads and checks the archive's signature and every hash.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::thread;
use std::time::Duration;

use anyhow::{Context, Result, bail};

use crate::host::exec;
use crate::host::progress::Step;

const KEYRING: &str = "/usr/share/keyrings/debian-archive-keyring.gpg";
/// Names the archive where the host's apt does not.
const MIRROR_VARIABLE: &str = "SMARTENGINE_DEBIAN_MIRROR";

/// The Debian archive that the host itself uses.
fn mirror() -> Result<String> {
    if let Ok(mirror) = std::env::var(MIRROR_VARIABLE) {
        return Ok(mirror);
    }
    let mut files = vec![PathBuf::from("/etc/apt/sources.list")];
    if let Ok(folder) = fs::read_dir("/etc/apt/sources.list.d") {
        files.extend(folder.flatten().map(|entry| entry.path()));
    }
    let sources = files
        .iter()
        .filter_map(|file| fs::read_to_string(file).ok());
    match sources.filter_map(|text| archive_in(&text)).next() {
        Some(archive) => Ok(archive),
        None => bail!(
            "apt's sources in /etc/apt name no Debian archive: set {MIRROR_VARIABLE} to the URL of one, which ends with /debian"
        ),
    }
}

/// The first URL of a Debian archive in an apt source list of either style.
fn archive_in(sources: &str) -> Option<String> {
    sources
        .lines()
        .filter(|line| !line.trim_start().starts_with('#'))
        .flat_map(str::split_whitespace)
        .map(|word| word.trim_end_matches('/'))
        .find(|word| word.contains("://") && word.ends_with("/debian"))
        .map(str::to_string)
}

/// apt with its state, lists and cache under one folder, looking at one suite.
pub struct Apt {
    dir: PathBuf,
    suite: &'static str,
}

/// A package file, by the name that `apt-get download` gives it.
#[derive(Debug, PartialEq, Eq)]
struct Download {
    file: String,
    size: u64,
}

impl Apt {
    /// Prepares the folder and fetches the suite's package lists.
    pub fn update(dir: &Path, suite: &'static str) -> Result<Self> {
        if !Path::new(KEYRING).exists() {
            bail!("{KEYRING} is missing: it comes with the package debian-archive-keyring");
        }
        for sub in ["lists/partial", "cache/archives/partial", "state"] {
            fs::create_dir_all(dir.join(sub))
                .with_context(|| format!("create {}", dir.join(sub).display()))?;
        }
        let mirror = mirror()?;
        fs::write(
            dir.join("sources.list"),
            format!("deb [signed-by={KEYRING}] {mirror} {suite} main\n"),
        )?;
        fs::write(dir.join("state/status"), "")?;
        fs::write(dir.join("apt.conf"), configuration(dir))?;
        let apt = Self {
            dir: dir.to_path_buf(),
            suite,
        };
        let step = Step::spinner(format!("package lists of Debian {suite}"));
        exec::output(apt.command("apt-get").args(["update", "-q"]))?;
        step.done();
        Ok(apt)
    }

    fn command(&self, program: &str) -> Command {
        let mut command = Command::new(program);
        command
            .env("APT_CONFIG", self.dir.join("apt.conf"))
            .env("LC_ALL", "C");
        command
    }

    /// The version of `package` that the suite has now.
    pub fn candidate(&self, package: &str) -> Result<String> {
        let text = exec::output(self.command("apt-cache").args(["policy", package]))?;
        match parse_candidate(&text) {
            Some(version) => Ok(version.to_string()),
            None => bail!("Debian {} has no package {package}", self.suite),
        }
    }

    /// The libraries that `packages` need, themselves left out.
    pub fn libraries(&self, packages: &[&str]) -> Result<Vec<String>> {
        let text = exec::output(
            self.command("apt-cache")
                .args([
                    "depends",
                    "--recurse",
                    "--no-recommends",
                    "--no-suggests",
                    "--no-conflicts",
                    "--no-breaks",
                    "--no-replaces",
                    "--no-enhances",
                ])
                .args(packages),
        )?;
        Ok(parse_libraries(&text))
    }

    /// Downloads into `dir`; what is there already and whole is not fetched again.
    pub fn download(&self, dir: &Path, packages: &[String], what: &str) -> Result<Vec<PathBuf>> {
        fs::create_dir_all(dir).with_context(|| format!("create {}", dir.display()))?;
        let list = exec::output(
            self.command("apt-cache")
                .args(["show", "--no-all-versions"])
                .args(packages),
        )?;
        let downloads = parse_packages(&list)?;
        let total = downloads.iter().map(|download| download.size).sum();
        let step = Step::bytes(format!("download {what}"), total);
        let log = dir.join("apt.log");
        let mut child = exec::spawn(
            self.command("apt-get")
                .current_dir(dir)
                .args(["download", "-q"])
                .args(packages)
                .stdin(Stdio::null())
                .stdout(fs::File::create(&log)?)
                .stderr(fs::File::options().append(true).open(&log)?),
        )?;
        let status = loop {
            if let Some(status) = child.try_wait()? {
                break status;
            }
            step.set(downloaded(dir, &downloads));
            thread::sleep(Duration::from_millis(200));
        };
        if !status.success() {
            let text = fs::read_to_string(&log).unwrap_or_default();
            let tail: Vec<_> = text.lines().rev().take(5).collect();
            bail!(
                "download from Debian {} failed; run the command again to go on where it stopped:\n{}",
                self.suite,
                tail.into_iter().rev().collect::<Vec<_>>().join("\n")
            );
        }
        step.done();
        Ok(downloads
            .into_iter()
            .map(|download| dir.join(download.file))
            .collect())
    }
}

/// Unpacks packages over one another into `root`.
pub fn unpack(debs: &[PathBuf], root: &Path, what: &str) -> Result<()> {
    fs::create_dir_all(root).with_context(|| format!("create {}", root.display()))?;
    let step = Step::count(format!("unpack {what}"), debs.len() as u64);
    for deb in debs {
        exec::output(Command::new("dpkg").arg("-x").arg(deb).arg(root))?;
        step.advance();
    }
    step.done();
    Ok(())
}

fn configuration(dir: &Path) -> String {
    let dir = dir.display();
    // The sandbox user cannot enter a home folder, and hooks of the host (image builders install some that empty apt's
    // caches) have no business here.
    format!(
        "#clear APT::Update::Post-Invoke;\n\
         #clear APT::Update::Post-Invoke-Success;\n\
         #clear DPkg::Post-Invoke;\n\
         #clear Acquire::IndexTargets::deb::DEP-11;\n\
         Dir::Etc::SourceList \"{dir}/sources.list\";\n\
         Dir::Etc::SourceParts \"/dev/null\";\n\
         Dir::State \"{dir}/state\";\n\
         Dir::State::Lists \"{dir}/lists\";\n\
         Dir::State::Status \"{dir}/state/status\";\n\
         Dir::Cache \"{dir}/cache\";\n\
         APT::Sandbox::User \"root\";\n\
         Acquire::Languages \"none\";\n\
         Acquire::Retries \"3\";\n"
    )
}

fn downloaded(dir: &Path, downloads: &[Download]) -> u64 {
    downloads
        .iter()
        .filter_map(|download| fs::metadata(dir.join(&download.file)).ok())
        .map(|metadata| metadata.len())
        .sum()
}

fn parse_candidate(policy: &str) -> Option<&str> {
    policy
        .lines()
        .find_map(|line| line.trim().strip_prefix("Candidate: "))
        .filter(|version| *version != "(none)")
}

/// Library packages in the output of `apt-cache depends --recurse`: real package names stand at the line's start.
///
/// perl, PAM and the like come along only because maintainer scripts want them, which are never run here.
fn parse_libraries(depends: &str) -> Vec<String> {
    const SCRIPTS_ONLY: [&str; 14] = [
        "libperl",
        "libpython",
        "libpam",
        "libselinux",
        "libsemanage",
        "libsepol",
        "libaudit",
        "libdebconf",
        "libdebian-installer",
        "libnewt",
        "libslang",
        "libsystemd-shared",
        "libtextwrap",
        "libcap-ng",
    ];
    let names: BTreeSet<&str> = depends
        .lines()
        .filter(|line| line.starts_with("lib") || line.starts_with("zlib"))
        .filter(|name| !SCRIPTS_ONLY.iter().any(|prefix| name.starts_with(prefix)))
        .filter(|name| !name.ends_with("-perl"))
        .collect();
    names.into_iter().map(str::to_string).collect()
}

/// Stanzas with the fields `Package`, `Version`, `Architecture` and `Size`, apart by empty lines.
fn parse_packages(show: &str) -> Result<Vec<Download>> {
    show.split("\n\n")
        .filter(|stanza| !stanza.trim().is_empty())
        .map(|stanza| {
            let field = |name: &str| {
                stanza
                    .lines()
                    .find_map(|line| line.strip_prefix(name)?.strip_prefix(": "))
                    .with_context(|| format!("apt-cache show names no {name}: {stanza}"))
            };
            // apt writes the colon of an epoch as in a URL.
            let version = field("Version")?.replace(':', "%3a");
            let (package, architecture) = (field("Package")?, field("Architecture")?);
            Ok(Download {
                file: format!("{package}_{version}_{architecture}.deb"),
                size: field("Size")?.parse().context("read a package's size")?,
            })
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_archive_is_found_in_both_styles_of_source_list() {
        let old = "# deb http://a.example/debian x main\ndeb [arch=amd64] http://b.example/debian/ stable main\n";
        assert_eq!(archive_in(old).as_deref(), Some("http://b.example/debian"));
        let new = "Types: deb\nURIs: http://c.example/debian\nSuites: stable\n";
        assert_eq!(archive_in(new).as_deref(), Some("http://c.example/debian"));
        assert_eq!(
            archive_in("deb http://c.example/debian-security x main"),
            None
        );
    }

    #[test]
    fn the_candidate_is_read_from_the_policy() {
        let policy = "mysql-source:\n  Installed: (none)\n  Candidate: 9.7.4-2\n  Version table:\n";
        assert_eq!(parse_candidate(policy), Some("9.7.4-2"));
        assert_eq!(parse_candidate("x:\n  Candidate: (none)\n"), None);
        assert_eq!(parse_candidate(""), None);
    }

    #[test]
    fn only_libraries_that_programs_load_are_taken() {
        let depends = "mysql-client\n  Depends: libc6\nlibc6\n |Depends: libx\n<libc-virtual>\nlibperl5.42\n\
                       zlib1g\nlibc6\nlibpam0g\nlibjson-perl\nperl\nlibaio1t64\n";
        assert_eq!(parse_libraries(depends), ["libaio1t64", "libc6", "zlib1g"]);
    }

    #[test]
    fn stanzas_give_file_names_and_sizes() {
        let show = "Package: a\nArchitecture: amd64\nVersion: 1:2.0-3+b1\nDescription: x\n y\nSize: 1234\n\n\
                    Package: b\nVersion: 1\nArchitecture: all\nSize: 5\n\n";
        let file = |file: &str, size| Download {
            file: file.into(),
            size,
        };
        let expected = [
            file("a_1%3a2.0-3+b1_amd64.deb", 1234),
            file("b_1_all.deb", 5),
        ];
        assert_eq!(parse_packages(show).unwrap(), expected);
        assert!(parse_packages("Package: a\n").is_err());
    }
}
