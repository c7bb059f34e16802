//! The package as a user meets it: checked by lintian, and installed into a Debian that has nothing yet.
//!
//! The Debian is a folder that debootstrap fills, and programs run in it by chroot, so it takes root, and no container. Nothing of it runs on when the test ends: the
//! server is a child of this process.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};

use super::NAME;
use crate::host::exec;
use crate::host::paths;
use crate::host::progress::Step;
use crate::packages::bootstrap;
use crate::test::tally::Tally;

const SOCKET: &str = "/tmp/mysqld.sock";
const DATA: &str = "/var/tmp/data";
const READY_LIMIT: Duration = Duration::from_secs(120);
const EXAMPLE: &str = "/usr/share/doc/mysql-plugin-smartengine/examples/smartengine.cnf";

pub fn run(package: &Path) -> Result<Tally> {
    let mut tally = Tally::default();
    if exec::in_path("lintian") {
        tally.report("deb: lintian finds nothing", lint(package));
    } else {
        println!("deb: lintian: skipped: it is not installed (apt-get install lintian)");
        tally.skipped += 1;
    }
    if let Some(reason) = bootstrap::missing() {
        println!("deb: installation: skipped: {reason}");
        tally.skipped += 1;
        return Ok(tally);
    }
    let system = System::with(package)?;
    let tests: [(&str, fn(&System) -> Result<()>); 4] = [
        ("apt installs it with its server", installed),
        ("INSTALL PLUGIN loads the engine", by_statement),
        ("the example configuration loads it", by_configuration),
        ("apt removes all of it", removed),
    ];
    for (name, test) in tests {
        tally.report(&format!("deb: {name}"), test(&system));
    }
    system.remove()?;
    Ok(tally)
}

fn lint(package: &Path) -> Result<()> {
    let output = Command::new("lintian")
        // As root it asks for this.
        .args([
            "--allow-root",
            "--fail-on",
            "error,warning",
            "--tag-display-limit",
            "0",
        ])
        .arg(package)
        .output()?;
    let text = String::from_utf8_lossy(&output.stdout);
    ensure!(output.status.success(), "it found:\n{}", text.trim());
    Ok(())
}

/// A Debian in a folder.
struct System {
    root: PathBuf,
}

impl System {
    /// A fresh one, in whose `/tmp` the package is.
    fn with(package: &Path) -> Result<Self> {
        let root = paths::fresh("release-deb-test")?.join("root");
        let step = Step::spinner("make a fresh Debian by debootstrap");
        bootstrap::sid(&root)?;
        step.done();
        fs::copy(package, root.join("tmp/package.deb"))
            .with_context(|| format!("copy {}", package.display()))?;
        Ok(Self { root })
    }

    fn command(&self, program: &str) -> Command {
        let mut command = Command::new("chroot");
        command
            .arg(&self.root)
            .arg(program)
            .env("LC_ALL", "C")
            .env("DEBIAN_FRONTEND", "noninteractive")
            // Not all users have root's as chroot hands it on.
            .env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin");
        command
    }

    fn apt(&self, arguments: &[&str]) -> Result<()> {
        let mut command = self.command("apt-get");
        // The lists of an archive's copy may be older than their date allows.
        command.args(["-o", "Acquire::Check-Valid-Until=false", "-q", "-y"]);
        exec::output(command.args(arguments)).map(drop)
    }

    /// Starts a server that is stopped when what is returned is dropped.
    fn start(&self, options: &[&str]) -> Result<Running<'_>> {
        let log = self.root.join("tmp/mysqld.log");
        let mut server = self.command("mysqld");
        server
            .args(options)
            .args(["--user=root", "--skip-networking", "--loose-mysqlx=OFF"])
            // Its folder comes with another package of the server.
            .arg("--secure-file-priv=NULL")
            .arg(format!("--datadir={DATA}"))
            .arg(format!("--socket={SOCKET}"))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(fs::File::create(&log)?);
        let mut running = Running {
            system: self,
            child: exec::spawn(&mut server)?,
        };
        let started = Instant::now();
        while self.ask("SELECT 1").is_err() {
            if let Some(status) = running.child.try_wait()? {
                let text = fs::read_to_string(&log).unwrap_or_default();
                bail!("the server ended at its start ({status}):\n{}", text.trim());
            }
            ensure!(
                started.elapsed() < READY_LIMIT,
                "the server does not answer"
            );
            std::thread::sleep(Duration::from_millis(200));
        }
        Ok(running)
    }

    fn ask(&self, sql: &str) -> Result<String> {
        let mut client = self.command("mysql");
        client.args(["--no-defaults", "-uroot", "-BN", "-S", SOCKET, "-e", sql]);
        Ok(exec::output(&mut client)?.trim().to_owned())
    }

    fn remove(self) -> Result<()> {
        fs::remove_dir_all(&self.root).with_context(|| format!("remove {}", self.root.display()))
    }
}

struct Running<'a> {
    system: &'a System,
    child: Child,
}

impl Running<'_> {
    fn stop(mut self) -> Result<()> {
        self.system.ask("SHUTDOWN")?;
        let status = self.child.wait()?;
        ensure!(status.success(), "the server ended with {status}");
        Ok(())
    }
}

impl Drop for Running<'_> {
    fn drop(&mut self) {
        // After a clean end there is nothing to do for either.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn installed(system: &System) -> Result<()> {
    let step = Step::spinner("install the package by apt");
    system.apt(&["update"])?;
    system.apt(&["install", "--no-install-recommends", "/tmp/package.deb"])?;
    // For the tests' own questions.
    system.apt(&["install", "--no-install-recommends", "mysql-client-core"])?;
    step.done();
    let version = exec::output(system.command("smartengine").arg("version"))?;
    ensure!(version.starts_with("smartengine "), "it says {version:?}");
    exec::output(system.command("dpkg").args(["--verify", NAME]))?;
    for file in [
        "usr/share/bash-completion/completions/smartengine",
        "usr/lib/mysql/plugin/ha_smartengine.so",
        "usr/share/doc/mysql-plugin-smartengine/third-party.gz",
    ] {
        ensure!(system.root.join(file).is_file(), "there is no {file}");
    }
    let mut initialize = system.command("mysqld");
    initialize.args(["--no-defaults", "--initialize-insecure", "--user=root"]);
    exec::output(initialize.arg(format!("--datadir={DATA}")))?;
    // Installing it activates nothing.
    let server = system.start(&[])?;
    let engines = system.ask("SHOW ENGINES")?;
    ensure!(!engines.contains("SMARTENGINE"), "there is\n{engines}");
    server.stop()
}

fn by_statement(system: &System) -> Result<()> {
    let server = system.start(&[])?;
    system.ask("INSTALL PLUGIN SMARTENGINE SONAME 'ha_smartengine.so'")?;
    let engines = system.ask("SHOW ENGINES")?;
    ensure!(engines.contains("SMARTENGINE\tYES"), "there is\n{engines}");
    system
        .ask("CREATE DATABASE shop; CREATE TABLE shop.t (a INT PRIMARY KEY) ENGINE=SMARTENGINE")?;
    system.ask("INSERT INTO shop.t VALUES (1), (2), (3)")?;
    system.ask("UNINSTALL PLUGIN SMARTENGINE")?;
    server.stop()
}

fn by_configuration(system: &System) -> Result<()> {
    let server = system.start(&[&format!("--defaults-file={EXAMPLE}")])?;
    let engines = system.ask("SHOW ENGINES")?;
    ensure!(
        engines.contains("SMARTENGINE\tDEFAULT"),
        "there is\n{engines}"
    );
    let sum = system.ask("SELECT SUM(a) FROM shop.t")?;
    ensure!(sum == "6", "the rows that were written add up to {sum}");
    server.stop()?;
    let mut check = system.command("smartengine");
    let answer = exec::output(check.args(["check", "--json", &format!("{DATA}/.smartengine")]))?;
    ensure!(answer.contains("\"sound\":true"), "the store: {answer}");
    Ok(())
}

fn removed(system: &System) -> Result<()> {
    let owned = exec::output(system.command("dpkg").args(["-L", NAME]))?;
    let files: Vec<PathBuf> = owned
        .lines()
        .map(|line| system.root.join(line.trim_start_matches('/')))
        .filter(|path| path.is_file())
        .collect();
    ensure!(files.len() > 10, "it owns {owned}");
    system.apt(&["purge", NAME])?;
    for file in files {
        ensure!(!file.exists(), "{} is left", file.display());
    }
    Ok(())
}
