//! What packages say about themselves.

use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, ensure};

use crate::host::exec;
use crate::host::paths;

/// The package's name, wherever packages are named.
pub const NAME: &str = "mysql-plugin-smartengine";
/// The version of the plugin and of the program.
pub const VERSION: &str = env!("CARGO_PKG_VERSION");
pub const SUMMARY: &str = "storage engine for MySQL whose tables live in an S3 bucket";
/// Paragraphs, each a line of its own.
pub const DESCRIPTION: [&str; 3] = [
    "SMARTENGINE is a log-structured merge tree that an unmodified MySQL server loads as a plugin. Its tables, and the definitions and accounts of the \
     server, are kept in an object store. The server's own disk is a cache: a new server with an empty one attaches the same bucket, and everything is \
     there again.",
    "The plugin is built for one version of the server and is loaded by no other. Nothing is loaded until the server's configuration says so, or \
     INSTALL PLUGIN; an example is among the documents.",
    "The program smartengine looks into a store from outside: what it holds, whether it is sound, what of it is garbage.",
];
/// The plugin's, which holds all other parts.
pub const LICENCE: &str = "GPL-2.0-only";

/// Seconds since 1970 that everything in a package is dated: `SOURCE_DATE_EPOCH`, as other builders of packages have it, or the time of the commit.
pub fn date() -> Result<u64> {
    let text = match std::env::var("SOURCE_DATE_EPOCH") {
        Ok(text) => text,
        Err(_) => last_commit("%ct")?,
    };
    text.trim()
        .parse()
        .with_context(|| format!("SOURCE_DATE_EPOCH is seconds since 1970, not {text:?}"))
}

/// The same as text, in the form that the program `date` takes, in UTC.
pub fn date_text(format: &str) -> Result<String> {
    let text = exec::output(
        Command::new("date")
            .env("LC_ALL", "C")
            .args(["--utc", &format!("--date=@{}", date()?)])
            .arg(format!("+{format}")),
    )?;
    Ok(text.trim().to_owned())
}

/// The digest of a file, in hexadecimal.
pub fn sha256(file: &Path) -> Result<String> {
    let text = exec::output(Command::new("sha256sum").arg("--binary").arg(file))?;
    let digest = text.split_whitespace().next();
    Ok(digest.context("sha256sum prints a digest")?.to_owned())
}

/// Whether what is built is not what was committed. Where there is no git checkout, nobody knows.
pub fn is_dirty() -> bool {
    let mut git = Command::new("git");
    git.args(["status", "--porcelain"])
        .current_dir(paths::workspace());
    exec::output(&mut git).is_ok_and(|text| !text.is_empty())
}

/// Who answers for a package, `Name <address>`: `DEBFULLNAME` and `DEBEMAIL`, as with Debian's tools, or who made the last commit.
pub fn maintainer() -> Result<String> {
    if let (Ok(name), Ok(address)) = (std::env::var("DEBFULLNAME"), std::env::var("DEBEMAIL")) {
        ensure!(
            address.contains('@') && !name.is_empty(),
            "DEBFULLNAME and DEBEMAIL are a name and an address, not {name:?} and {address:?}"
        );
        return Ok(format!("{name} <{address}>"));
    }
    Ok(last_commit("%cn <%ce>")?.trim().to_owned())
}

fn last_commit(format: &str) -> Result<String> {
    exec::output(
        Command::new("git")
            .args(["log", "-1", &format!("--format={format}")])
            .current_dir(paths::workspace()),
    )
    .context("packages are dated by the commit that they are made of: set SOURCE_DATE_EPOCH, DEBFULLNAME and DEBEMAIL where there is no git checkout")
}
