//! One-node Ceph with its S3 gateway, from Debian's packages: a monitor, a storage daemon on a file, and the gateway, all in one folder.
//!
//! Made once: keys, the monitor's map and store, the storage daemon's. The file `.complete` says that all of it was made; without it the folder
//! is made anew. Then the three daemons are started, each of which writes its process id into `run/`. Ceph runs as the user who starts it; no
//! part of it needs root.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, bail};

use super::{ACCESS_KEY, SECRET_KEY, daemon};
use crate::host::exec;
use crate::host::paths::{self, FolderLock};
use crate::host::progress::Step;
use crate::packages::apt::{self, Apt};
use crate::packages::tools::{is_complete, mark_complete};
use crate::server::free_port;

const SUITE: &str = "bookworm";
const PACKAGES: [&str; 6] = [
    "ceph-mon",
    "ceph-osd",
    "radosgw",
    "ceph-common",
    "ceph-base",
    "python3.11-minimal",
];
/// Python modules of the program `ceph`, which are no libraries by their names.
const MODULES: [&str; 8] = [
    "python3-ceph-argparse",
    "python3-ceph-common",
    "python3-cephfs",
    "python3-prettytable",
    "python3-rados",
    "python3-rbd",
    "python3-wcwidth",
    "python3-yaml",
];
/// The C and C++ runtimes are the host's.
const FROM_HOST: [&str; 4] = ["libc6", "libgcc-s1", "libstdc++6", "libcrypt1"];
/// Raised when what is fetched changes.
const LAYOUT: &str = "1";
/// Raised when what is made in the folder of a server changes.
const CLUSTER: &str = "1";
const USUAL_PORT: u16 = 7480;
const READY_LIMIT: Duration = Duration::from_secs(90);
/// The daemons in the order in which they start, and their programs.
const DAEMONS: [(&str, &str); 3] = [
    ("mon.a", "ceph-mon"),
    ("osd.0", "ceph-osd"),
    ("client.rgw.a", "radosgw"),
];

/// The folder that the packages are unpacked in.
fn root() -> Result<PathBuf> {
    let folder = paths::cache()?.join("ceph").join(SUITE);
    let root = folder.join("root");
    if is_complete(&folder, LAYOUT) {
        return Ok(root);
    }
    let _lock = FolderLock::acquire(&folder)?;
    if is_complete(&folder, LAYOUT) {
        return Ok(root);
    }
    let apt = Apt::update(&folder.join("apt"), SUITE)?;
    let mut names: Vec<String> = PACKAGES
        .iter()
        .chain(&MODULES)
        .map(|name| name.to_string())
        .collect();
    let libraries = apt.libraries(&[&PACKAGES[..], &MODULES[..]].concat())?;
    names.extend(
        libraries
            .into_iter()
            .filter(|name| !FROM_HOST.contains(&name.as_str())),
    );
    // Left out together with whatever else only scripts need; it has Python's own modules.
    names.extend(["libpython3.11-minimal", "libpython3.11-stdlib"].map(str::to_string));
    let debs = folder.join("debs");
    let files = apt.download(&debs, &names, "Ceph")?;
    apt::unpack(&files, &root, "Ceph")?;
    mark_complete(&folder, LAYOUT)?;
    fs::remove_dir_all(&debs).with_context(|| format!("remove {}", debs.display()))?;
    Ok(root)
}

/// Where the libraries are: some packages still have theirs beside `usr`.
fn library_path(root: &Path) -> Result<String> {
    let multiarch = paths::multiarch()?;
    let folders = [
        root.join("usr/lib").join(multiarch),
        root.join("lib").join(multiarch),
        root.join("usr/lib").join(multiarch).join("ceph"),
    ];
    let folders = folders.map(|folder| folder.display().to_string());
    Ok(folders.join(":"))
}

/// The packages' own Python, with their modules.
pub fn python() -> Result<Command> {
    let root = root()?;
    let mut command = Command::new(root.join("usr/bin/python3.11"));
    command
        .arg("-Wignore")
        .env("LD_LIBRARY_PATH", library_path(&root)?)
        .env("PYTHONPATH", root.join("usr/lib/python3/dist-packages"))
        .env("PYTHONDONTWRITEBYTECODE", "1");
    Ok(command)
}

/// The programs and the folder of one server.
struct Cluster<'a> {
    root: PathBuf,
    folder: &'a Path,
}

impl Cluster<'_> {
    fn configuration(&self) -> PathBuf {
        self.folder.join("ceph.conf")
    }

    fn command(&self, program: &str) -> Result<Command> {
        let mut command = Command::new(self.root.join("usr/bin").join(program));
        command.env("LD_LIBRARY_PATH", library_path(&self.root)?);
        Ok(command)
    }

    /// Runs a program on this cluster.
    fn tool(&self, program: &str, arguments: &[&str]) -> Result<String> {
        let mut command = self.command(program)?;
        command.arg("-c").arg(self.configuration()).args(arguments);
        exec::output(&mut command)
    }

    /// Makes everything that a first start needs.
    fn make(&self, port: u16) -> Result<()> {
        if self.folder.exists() {
            fs::remove_dir_all(self.folder)
                .with_context(|| format!("remove {}", self.folder.display()))?;
        }
        for name in ["run", "log", "mon", "osd", "rgw"] {
            let folder = self.folder.join(name);
            fs::create_dir_all(&folder).with_context(|| format!("create {}", folder.display()))?;
        }
        let monitor = (free_port()?, free_port()?);
        let id = uuid()?;
        fs::write(
            self.configuration(),
            configuration(self.folder, &self.root, &id, monitor, port)?,
        )?;
        fs::write(self.folder.join("port"), port.to_string())?;
        let keyring = self.folder.join("keyring");
        for (name, rights) in [
            ("mon.", &["mon", "allow *"][..]),
            (
                "client.admin",
                &["mon", "allow *", "osd", "allow *", "mgr", "allow *"],
            ),
            ("client.rgw.a", &["mon", "allow rw", "osd", "allow rwx"]),
            ("osd.0", &["mon", "allow profile osd", "osd", "allow *"]),
        ] {
            let mut command = self.command("ceph-authtool")?;
            if !keyring.exists() {
                command.arg("--create-keyring");
            }
            command.arg(&keyring).args(["--gen-key", "-n", name]);
            for right in rights.chunks(2) {
                command.arg("--cap").args(right);
            }
            exec::output(&mut command)?;
        }
        let map = self.folder.join("monmap");
        let addresses = format!("[v2:127.0.0.1:{},v1:127.0.0.1:{}]", monitor.0, monitor.1);
        let mut command = self.command("monmaptool")?;
        command.args(["--create", "--fsid", &id, "--addv", "a", &addresses]);
        exec::output(command.arg(&map))?;
        let (map, keyring) = (map.display().to_string(), keyring.display().to_string());
        self.tool(
            "ceph-mon",
            &["--mkfs", "-i", "a", "--monmap", &map, "--keyring", &keyring],
        )?;
        self.start("mon.a", "ceph-mon")?;
        let storage = uuid()?;
        exec::output(
            python()?
                .arg(self.root.join("usr/bin/ceph"))
                .arg("-c")
                .arg(self.configuration())
                .args(["--connect-timeout", "60", "osd", "new", &storage]),
        )?;
        self.tool("ceph-osd", &["-i", "0", "--mkfs", "--osd-uuid", &storage])?;
        Ok(())
    }

    fn pid_file(&self, name: &str) -> PathBuf {
        self.folder.join("run").join(format!("{name}.pid"))
    }

    /// Starts a daemon unless it runs; it leaves the terminal by itself.
    fn start(&self, name: &str, program: &str) -> Result<()> {
        if daemon::alive(&self.pid_file(name), self.folder).is_some() {
            return Ok(());
        }
        let log = self.folder.join("log").join(format!("{name}.out"));
        let file = fs::File::create(&log)?;
        let mut command = daemon::detached(&self.root.join("usr/bin").join(program));
        command
            .env("LD_LIBRARY_PATH", library_path(&self.root)?)
            .arg("-c")
            .arg(self.configuration())
            .args(match name.split_once('.') {
                Some(("client", _)) => ["-n", name],
                Some((_, id)) => ["-i", id],
                None => bail!("{name} is no daemon's name"),
            })
            .stdout(Stdio::null())
            .stderr(file);
        if !exec::run_status(&mut command)? {
            let own = self.folder.join("log").join(format!("{name}.log"));
            bail!(
                "{program} does not start; {}\n{}",
                daemon::tail(&log),
                daemon::tail(&own)
            );
        }
        Ok(())
    }
}

fn uuid() -> Result<String> {
    let text = fs::read_to_string("/proc/sys/kernel/random/uuid").context("draw a UUID")?;
    Ok(text.trim().to_string())
}

/// A monitor stops without a word where the disk has less free than the percentage that is critical to it; what the tests store is small.
fn configuration(
    folder: &Path,
    root: &Path,
    id: &str,
    monitor: (u16, u16),
    port: u16,
) -> Result<String> {
    let libraries = root.join("usr/lib").join(paths::multiarch()?);
    let (dir, libraries) = (folder.display(), libraries.display());
    let (v2, v1) = monitor;
    Ok(format!(
        "[global]\n\
         fsid = {id}\n\
         mon host = [v2:127.0.0.1:{v2}/0,v1:127.0.0.1:{v1}/0]\n\
         auth cluster required = cephx\n\
         auth service required = cephx\n\
         auth client required = cephx\n\
         keyring = {dir}/keyring\n\
         osd pool default size = 1\n\
         osd pool default min size = 1\n\
         osd pool default pg num = 8\n\
         mon allow pool size one = true\n\
         osd crush chooseleaf type = 0\n\
         run dir = {dir}/run\n\
         pid file = {dir}/run/$name.pid\n\
         log file = {dir}/log/$name.log\n\
         admin socket =\n\
         public addr = 127.0.0.1\n\
         cluster addr = 127.0.0.1\n\
         plugin dir = {libraries}/ceph\n\
         erasure code dir = {libraries}/ceph/erasure-code\n\
         osd class dir = {libraries}/rados-classes\n\
         [mon]\n\
         mon data = {dir}/mon\n\
         mon data avail warn = 1\n\
         mon data avail crit = 0\n\
         [osd]\n\
         osd data = {dir}/osd\n\
         osd objectstore = bluestore\n\
         bluestore block size = {BLOCK_FILE}\n\
         osd memory target = 1073741824\n\
         [client.rgw.a]\n\
         rgw frontends = beast endpoint=127.0.0.1:{port}\n\
         rgw data = {dir}/rgw\n"
    ))
}

/// What the storage daemon's file may grow to, in bytes; it is sparse.
const BLOCK_FILE: u64 = 32 << 30;

pub fn start(folder: &Path, port: Option<u16>) -> Result<String> {
    let cluster = Cluster {
        root: root()?,
        folder,
    };
    let _lock = FolderLock::acquire(&paths::target().join("s3"))?;
    let first = !is_complete(folder, CLUSTER);
    let step = Step::spinner("start Ceph");
    if first {
        stop(folder)?;
        cluster.make(daemon::choose_port(port, USUAL_PORT)?)?;
    }
    for (name, program) in DAEMONS {
        cluster.start(name, program)?;
    }
    let port = daemon::read_port(&folder.join("port"))?;
    let gateway = cluster.pid_file("client.rgw.a");
    let ready = daemon::wait(READY_LIMIT, || daemon::answers(port));
    if !ready || daemon::alive(&gateway, folder).is_none() {
        let log = folder.join("log/client.rgw.a.log");
        bail!("the gateway does not answer; {}", daemon::tail(&log));
    }
    if first {
        cluster.tool(
            "radosgw-admin",
            &[
                "-n",
                "client.rgw.a",
                "user",
                "create",
                "--uid",
                "smartengine",
                "--display-name",
                "smartengine",
                "--access-key",
                ACCESS_KEY,
                "--secret-key",
                SECRET_KEY,
            ],
        )?;
        mark_complete(folder, CLUSTER)?;
    }
    step.done();
    Ok(endpoint(port))
}

fn endpoint(port: u16) -> String {
    format!("http://127.0.0.1:{port}")
}

/// The endpoint, if all daemons run.
pub fn running(folder: &Path) -> Result<Option<String>> {
    let alive = |(name, _): &(&str, &str)| {
        let file = folder.join("run").join(format!("{name}.pid"));
        daemon::alive(&file, folder).is_some()
    };
    if !DAEMONS.iter().all(alive) {
        return Ok(None);
    }
    Ok(Some(endpoint(daemon::read_port(&folder.join("port"))?)))
}

/// Stops what runs, the gateway first; tells whether anything did.
pub fn stop(folder: &Path) -> Result<bool> {
    let mut any = false;
    for (name, _) in DAEMONS.iter().rev() {
        let file = folder.join("run").join(format!("{name}.pid"));
        any |= daemon::stop(&file, folder)?;
    }
    Ok(any)
}
