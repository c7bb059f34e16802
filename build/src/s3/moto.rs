//! moto, a server in Python that keeps its objects in memory: for machines where Ceph does not start.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result, bail};

use super::daemon;
use crate::exec;
use crate::paths::{self, FolderLock};
use crate::progress::Step;
use crate::tools::{is_complete, mark_complete};

const PACKAGE: &str = "moto[server]==5.2.*";
const LAYOUT: &str = "1";
const START_LIMIT: Duration = Duration::from_secs(60);
const USUAL_PORT: u16 = 7480;

/// Where the Python packages are.
fn packages() -> Result<PathBuf> {
    let folder = paths::cache()?.join("moto");
    if !is_complete(&folder, LAYOUT) {
        let _lock = FolderLock::acquire(&folder)?;
        if !is_complete(&folder, LAYOUT) {
            let step = Step::spinner("download moto from PyPI");
            exec::output(
                exec::pip()?
                    .args(["install", "--quiet", "--target"])
                    .arg(folder.join("packages"))
                    .arg(PACKAGE),
            )
            .context("fetch moto from PyPI")?;
            mark_complete(&folder, LAYOUT)?;
            step.done();
        }
    }
    Ok(folder.join("packages"))
}

pub fn start(folder: &Path, port: Option<u16>) -> Result<String> {
    if let Some(endpoint) = running(folder)? {
        return Ok(endpoint);
    }
    let packages = packages()?;
    fs::create_dir_all(folder).with_context(|| format!("create {}", folder.display()))?;
    let port = daemon::choose_port(port, USUAL_PORT)?;
    let log = folder.join("moto.log");
    let file = fs::File::create(&log)?;
    let mut command = daemon::detached(Path::new("python3"));
    command
        .args(["-c", SERVE])
        // The folder in the command line is what it is known by.
        .arg(format!("{}/", folder.display()))
        .args(["-H", "127.0.0.1", "-p", &port.to_string()])
        .env("PYTHONPATH", &packages)
        .stdout(file.try_clone()?)
        .stderr(file);
    let mut child = exec::spawn(&mut command)?;
    fs::write(folder.join("moto.pid"), child.id().to_string())?;
    fs::write(folder.join("port"), port.to_string())?;
    let started = daemon::wait(START_LIMIT, || {
        daemon::answers(port) || alive(folder).is_none()
    });
    if !started || alive(folder).is_none() {
        // It is our child as yet, and would stay as a zombie.
        let _ = child.kill();
        let _ = child.wait();
        bail!("it does not answer; {}", daemon::tail(&log));
    }
    Ok(endpoint(port))
}

/// Starts the server; its first argument only says whose it is.
const SERVE: &str = "import sys; del sys.argv[1]; from moto.server import main; main(sys.argv[1:])";

fn endpoint(port: u16) -> String {
    format!("http://127.0.0.1:{port}")
}

fn alive(folder: &Path) -> Option<u32> {
    daemon::alive(&folder.join("moto.pid"), folder)
}

pub fn running(folder: &Path) -> Result<Option<String>> {
    if alive(folder).is_none() {
        return Ok(None);
    }
    Ok(Some(endpoint(daemon::read_port(&folder.join("port"))?)))
}

pub fn stop(folder: &Path) -> Result<bool> {
    daemon::stop(&folder.join("moto.pid"), folder)
}
