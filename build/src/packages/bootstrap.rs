//! A fresh Debian in a folder, for containers and for trying packages.

use std::path::Path;
use std::process::Command;

use anyhow::{Result, bail};

use crate::host::exec;

const PROGRAM: &str = "/usr/sbin/debootstrap";

/// Why none can be made on this machine, if so.
pub fn missing() -> Option<String> {
    let user = exec::output(Command::new("id").arg("-u")).unwrap_or_default();
    if user.trim() != "0" {
        return Some("to make a fresh Debian takes root".to_owned());
    }
    (!Path::new(PROGRAM).exists())
        .then(|| "debootstrap is not installed (apt-get install debootstrap)".to_owned())
}

/// Makes Debian's unstable suite in `root`, which debootstrap creates.
pub fn sid(root: &Path) -> Result<()> {
    if let Some(reason) = missing() {
        bail!("{}: {reason}", root.display());
    }
    exec::output(
        Command::new(PROGRAM)
            .args(["--variant=minbase", "sid"])
            .arg(root),
    )
    .map(drop)
}
