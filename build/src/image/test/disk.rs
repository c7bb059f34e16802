//! A disk that is too small.

use anyhow::{Result, ensure};

use super::{Lab, holds};

pub fn full(lab: &Lab) -> Result<()> {
    let container = lab.run(
        "full",
        &[
            "--mount=type=tmpfs,destination=/var/lib/mysql,tmpfs-size=40m",
            "-e",
            "MYSQL_ALLOW_EMPTY_PASSWORD=1",
        ],
        &[],
    )?;
    let code = container.wait_end()?;
    ensure!(code == 1, "it ended with {code}");
    holds(
        &container.logs()?,
        "could not be made; the lines above say why",
    )
}
