//! A MySQL server of our own: made on an empty data directory, started, asked, killed.

pub mod client;
pub mod engines;

use std::ffi::OsString;
use std::fs;
use std::net::TcpListener;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

use crate::host::exec;
use crate::host::progress::Step;
use crate::packages::mysql::Mysql;
use crate::plugin::Plugin;
use client::Client;

/// The longest path of a Unix socket that the system takes.
const LONGEST_SOCKET: usize = 107;
const START_LIMIT: Duration = Duration::from_secs(120);
const STOP_LIMIT: Duration = Duration::from_secs(120);

/// How to start a server.
#[derive(Clone, Debug)]
pub struct Setup {
    pub mysql: Mysql,
    pub datadir: PathBuf,
    /// The plugin to load; none leaves a server without SMARTENGINE.
    pub plugin: Option<Plugin>,
    /// The TCP port; none takes a free one.
    pub port: Option<u16>,
    /// Where the error log goes; none is the terminal.
    pub log: Option<PathBuf>,
    /// Further options of `mysqld`.
    pub options: Vec<OsString>,
    /// Further variables of its environment.
    pub environment: Vec<(String, String)>,
}

/// A running server; killed when dropped.
pub struct Server {
    child: Child,
    socket: PathBuf,
    port: u16,
    log: Option<PathBuf>,
}

impl Setup {
    /// The server's program, with what it needs for anything that it is started for.
    pub fn mysqld(&self) -> Command {
        let mut command = Command::new(self.mysql.mysqld());
        command
            .arg("--no-defaults")
            .arg(option("basedir", self.mysql.base()))
            .arg(option("lc-messages-dir", self.mysql.messages()))
            .arg(option("datadir", &self.datadir))
            // A core file or a stray relative path lands beside the data, not in the checkout.
            .current_dir(self.datadir.parent().unwrap_or(&self.datadir))
            .envs(self.environment.iter().map(|(name, value)| (name, value)))
            .stdin(Stdio::null());
        if is_root() {
            command.arg("--user=root");
        }
        command
    }

    /// Makes the system tables, unless they are there.
    pub fn initialize(&self) -> Result<()> {
        if self.datadir.join("mysql.ibd").exists() {
            return Ok(());
        }
        fs::create_dir_all(&self.datadir)
            .with_context(|| format!("create {}", self.datadir.display()))?;
        if fs::read_dir(&self.datadir)?.next().is_some() {
            bail!(
                "{} is neither empty nor a MySQL data directory",
                self.datadir.display()
            );
        }
        let step = Step::spinner("initialise a data directory");
        // It loads no plugin, so options of the engine do not belong here.
        exec::output(
            self.mysqld()
                .args(["--initialize-insecure", "--secure-file-priv="]),
        )?;
        step.done();
        Ok(())
    }

    /// Starts the server and waits until it takes connections.
    pub fn start(&self) -> Result<Server> {
        let mut server = self.launch()?;
        server.wait_until_ready()?;
        Ok(server)
    }

    /// Starts the server, which may not take connections yet.
    pub fn launch(&self) -> Result<Server> {
        self.initialize()?;
        let socket = socket_for(&self.datadir);
        let port = match self.port {
            Some(port) => port,
            None => free_port()?,
        };
        let mut command = self.mysqld();
        command
            .arg(option("socket", &socket))
            .arg(format!("--port={port}"))
            .args([
                "--bind-address=127.0.0.1",
                "--loose-mysqlx=OFF",
                "--secure-file-priv=",
            ])
            .arg(option("pid-file", self.datadir.join("mysqld.pid")));
        if let Some(plugin) = &self.plugin {
            command
                .arg(option("plugin-dir", &plugin.folder))
                .arg("--plugin-load-add=ha_smartengine.so")
                .arg("--default-storage-engine=SMARTENGINE");
        }
        command.args(&self.options);
        // Ctrl-C is for us: the server is then shut down through SQL, as it does not stop on an interrupt.
        command.process_group(0);
        if let Some(log) = &self.log {
            let file = fs::File::options()
                .create(true)
                .append(true)
                .open(log)
                .with_context(|| format!("open {}", log.display()))?;
            command.stdout(file.try_clone()?).stderr(file);
        }
        Ok(Server {
            child: exec::spawn(&mut command)?,
            socket,
            port,
            log: self.log.clone(),
        })
    }
}

impl Server {
    fn wait_until_ready(&mut self) -> Result<()> {
        let started = Instant::now();
        loop {
            if let Some(status) = self.child.try_wait()? {
                bail!("the server did not start ({status}){}", self.log_tail());
            }
            // A socket left by a server that was killed refuses until the new one listens.
            if let Ok(client) = Client::connect(&self.socket) {
                drop(client);
                return Ok(());
            }
            if started.elapsed() > START_LIMIT {
                bail!(
                    "the server takes no connections after {} s{}",
                    START_LIMIT.as_secs(),
                    self.log_tail()
                );
            }
            thread::sleep(Duration::from_millis(50));
        }
    }

    fn log_tail(&self) -> String {
        let Some(log) = &self.log else {
            return String::new();
        };
        let text = fs::read_to_string(log).unwrap_or_default();
        let lines: Vec<_> = text.lines().rev().take(12).collect();
        let tail = lines.into_iter().rev().collect::<Vec<_>>().join("\n  ");
        format!("; the end of {}:\n  {tail}", log.display())
    }

    pub fn connect(&self) -> Result<Client> {
        Client::connect(&self.socket)
    }

    pub fn socket(&self) -> &Path {
        &self.socket
    }

    pub fn port(&self) -> u16 {
        self.port
    }

    /// Whether it still runs; the status it ended with otherwise.
    pub fn ended(&mut self) -> Result<Option<ExitStatus>> {
        Ok(self.child.try_wait()?)
    }

    /// Ends it as a power cut would: no handler runs, nothing is flushed.
    pub fn kill(mut self) -> Result<()> {
        self.kill_now()
    }

    /// Like [`Server::kill`], for a server that others still look at.
    pub fn kill_now(&mut self) -> Result<()> {
        self.child.kill()?;
        self.child.wait()?;
        Ok(())
    }

    /// Ends it in good order.
    pub fn shut_down(mut self) -> Result<()> {
        self.connect()?.query("SHUTDOWN")?;
        let asked = Instant::now();
        loop {
            match self.child.try_wait()? {
                Some(status) if status.success() => return Ok(()),
                Some(status) => bail!("the server ended badly ({status}){}", self.log_tail()),
                None if asked.elapsed() > STOP_LIMIT => bail!(
                    "the server still runs {} s after SHUTDOWN{}",
                    STOP_LIMIT.as_secs(),
                    self.log_tail()
                ),
                None => thread::sleep(Duration::from_millis(20)),
            }
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // Both fail harmlessly when it has ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn option(name: &str, value: impl AsRef<Path>) -> OsString {
    let mut option = OsString::from(format!("--{name}="));
    option.push(value.as_ref());
    option
}

/// A socket beside the data, or where that path is too long, one in the folder for temporary files.
fn socket_for(datadir: &Path) -> PathBuf {
    let beside = datadir.join("mysqld.sock");
    if beside.as_os_str().len() <= LONGEST_SOCKET {
        return beside;
    }
    std::env::temp_dir().join(format!("smartengine-{}.sock", std::process::id()))
}

pub fn free_port() -> Result<u16> {
    let listener = TcpListener::bind(("127.0.0.1", 0)).context("find a free port")?;
    Ok(listener.local_addr()?.port())
}

fn is_root() -> bool {
    use std::os::unix::fs::MetadataExt;
    fs::metadata("/proc/self").is_ok_and(|data| data.uid() == 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_data_directories_get_a_socket_elsewhere() {
        let short = Path::new("/tmp/data");
        assert_eq!(socket_for(short), short.join("mysqld.sock"));
        let long = PathBuf::from(format!("/{}", "d".repeat(LONGEST_SOCKET)));
        assert!(socket_for(&long).as_os_str().len() <= LONGEST_SOCKET);
    }

    #[test]
    fn a_free_port_can_be_listened_on() {
        let port = free_port().unwrap();
        TcpListener::bind(("127.0.0.1", port)).unwrap();
    }
}
