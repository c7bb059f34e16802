//! What is installed, compiled while the tests' servers are waited for: they leave the processors idle for a good part of the time.
//!
//! Another process does it, as a command of its own would, at the lowest priority. What it makes is found compiled by those who need it; if it failed,
//! they fail likewise and say why.

use std::fs::File;
use std::process::{Child, Command, Stdio};

use anyhow::{Context, Result};

use crate::host::exec;
use crate::host::paths;
use crate::packages::mysql::MysqlArgs;

/// The process; dropping this waits for its end.
pub struct Ahead(Child);

impl Ahead {
    pub fn start(mysql: &MysqlArgs) -> Result<Self> {
        let log = paths::target().join("ahead.log");
        let file = File::create(&log).with_context(|| format!("create {}", log.display()))?;
        let mut command = Command::new("nice");
        command
            .args(["-n", "19"])
            .arg(std::env::current_exe().context("find this program")?)
            .arg("deb")
            .args(mysql.to_options())
            .stdin(Stdio::null())
            .stdout(file.try_clone()?)
            .stderr(file);
        Ok(Self(exec::spawn(&mut command)?))
    }
}

impl Drop for Ahead {
    fn drop(&mut self) {
        // Its result is of no interest: see above.
        let _ = self.0.wait();
    }
}
