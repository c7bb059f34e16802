//! Docker: the daemon that runs, or one of our own.
//!
//! Ours has its socket and its state in a folder of `/run`, and its images in the cache folder, so that a second build finds the layers of the first.
//! It is ended by its process id when the command ends, and the next command ends one that a killed command left.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, bail};

use crate::host::exec;
use crate::host::in_use;
use crate::host::paths;
use crate::host::progress::Step;
use crate::s3::daemon;

/// Paths of sockets may not be long, so it is not in `target`.
const FOLDER: &str = "/run/smartengine-docker";
const READY_LIMIT: Duration = Duration::from_secs(60);
/// What a daemon is started with, in the order in which it is tried: machines differ in what they let one do.
const ATTEMPTS: [&[&str]; 3] = [
    &[],
    &["--storage-driver=vfs"],
    &["--storage-driver=vfs", "--iptables=false", "--bridge=none"],
];

/// A daemon, and its own end if it is ours.
pub struct Docker {
    socket: Option<String>,
    program: PathBuf,
}

/// Why no Docker can be used on this machine, if so.
pub fn missing() -> Option<String> {
    if client().is_ok_and(|client| answers(&client, None)) {
        return None;
    }
    if !is_root() {
        return Some("no Docker answers, and to start one takes root".to_string());
    }
    let programs = [
        "dockerd",
        "docker",
        "iptables",
        "debootstrap",
        "docker-compose",
        "python3",
    ];
    let lacking: Vec<_> = programs
        .into_iter()
        .filter(|name| find(name).is_none())
        .collect();
    (!lacking.is_empty()).then(|| {
        format!(
            "{} not found (apt-get install --no-install-recommends docker.io iptables debootstrap docker-compose python3-pip)",
            lacking.join(", ")
        )
    })
}

fn is_root() -> bool {
    exec::output(Command::new("id").arg("-u")).is_ok_and(|id| id.trim() == "0")
}

/// Where a program is, for a `PATH` that may lack what root's has.
fn find(program: &str) -> Option<PathBuf> {
    ["/usr/bin", "/usr/sbin", "/usr/local/bin", "/usr/local/sbin"]
        .map(|folder| Path::new(folder).join(program))
        .into_iter()
        .find(|path| path.is_file())
}

fn client() -> Result<PathBuf> {
    find("docker").context("the program docker is not found (apt-get install docker.io)")
}

fn answers(client: &Path, socket: Option<&str>) -> bool {
    let mut command = Command::new(client);
    if let Some(socket) = socket {
        command.args(["-H", socket]);
    }
    command
        .args(["version", "--format", "{{.Server.Version}}"])
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status()
        .is_ok_and(|status| status.success())
}

impl Docker {
    /// The daemon that the environment or the usual socket leads to, or one that is started.
    pub fn locate() -> Result<Self> {
        let program = client()?;
        if answers(&program, None) {
            return Ok(Self {
                socket: None,
                program,
            });
        }
        if let Some(reason) = missing() {
            bail!("{reason}");
        }
        Self::start(program)
    }

    fn start(program: PathBuf) -> Result<Self> {
        let folder = PathBuf::from(FOLDER);
        let data = paths::cache()?.join("docker");
        fs::create_dir_all(&folder).with_context(|| format!("create {FOLDER}"))?;
        // Both folders are one daemon's at a time.
        in_use::occupy(&folder)?;
        in_use::occupy(&data)?;
        let pid_file = folder.join("pid");
        daemon::stop(&pid_file, &folder)?;
        let socket = format!("unix://{FOLDER}/socket");
        let log = folder.join("log");
        let step = Step::spinner("start Docker");
        for options in ATTEMPTS {
            let file = fs::File::create(&log)?;
            let mut command = daemon::detached(&find("dockerd").context("dockerd is not found")?);
            command
                .arg("--data-root")
                .arg(data.join("data"))
                .arg(format!("--exec-root={FOLDER}/exec"))
                .arg(format!("--pidfile={FOLDER}/pid"))
                .args(["-H", &socket])
                .args(options)
                .stdout(file.try_clone()?)
                .stderr(file);
            let mut child = exec::spawn(&mut command)?;
            daemon::wait(READY_LIMIT, || {
                answers(&program, Some(&socket)) || daemon::alive_pid(child.id(), &folder).is_none()
            });
            if answers(&program, Some(&socket)) {
                step.done();
                return Ok(Self {
                    socket: Some(socket),
                    program,
                });
            }
            eprintln!(
                "dockerd {} does not start; {}",
                options.join(" "),
                daemon::tail(&log)
            );
            let _ = child.kill();
            let _ = child.wait();
        }
        bail!(
            "dockerd does not start on this machine; {}",
            daemon::tail(&log)
        )
    }

    /// Whether it was started by this command.
    pub fn is_own(&self) -> bool {
        self.socket.is_some()
    }

    pub fn command(&self) -> Command {
        self.client(&self.program)
    }

    fn client(&self, program: &Path) -> Command {
        let mut command = Command::new(program);
        if let Some(socket) = &self.socket {
            command.env("DOCKER_HOST", socket);
        }
        command.stdin(Stdio::null());
        command
    }

    /// Compose, in either of the forms that it is installed in.
    pub fn compose(&self) -> Command {
        match find("docker-compose") {
            Some(program) => self.client(&program),
            None => {
                let mut command = self.command();
                command.arg("compose");
                command
            }
        }
    }

    pub fn output(&self, arguments: &[&str]) -> Result<String> {
        exec::output(self.command().args(arguments)).map(|text| text.trim().to_string())
    }

    pub fn has_image(&self, name: &str) -> Result<bool> {
        Ok(!self.output(&["images", "-q", name])?.is_empty())
    }

    /// The bytes of all layers of an image.
    pub fn size(&self, image: &str) -> Result<u64> {
        self.output(&["image", "inspect", "-f", "{{.Size}}", image])?
            .parse()
            .context("read an image's size")
    }
}

impl Drop for Docker {
    fn drop(&mut self) {
        if self.is_own() {
            let folder = Path::new(FOLDER);
            if let Err(error) = daemon::stop(&folder.join("pid"), folder) {
                eprintln!("dockerd: {error:#}");
            }
        }
    }
}
