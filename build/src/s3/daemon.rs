//! Programs that go on in the background: each has a file with its process id, and is known by a folder in its command line.

use std::fs;
use std::net::{SocketAddr, TcpStream};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

use crate::host::exec;

const STOP_LIMIT: Duration = Duration::from_secs(20);

/// `program` in a shell that first closes what the caller has open: a lock that it holds would stay held for as long as the program runs.
pub fn detached(program: &Path) -> Command {
    let mut command = Command::new("sh");
    command
        .args([
            "-c",
            "exec 3>&- 4>&- 5>&- 6>&- 7>&- 8>&- 9>&-; exec \"$@\"",
            "sh",
        ])
        .arg(program)
        .stdin(Stdio::null())
        // Ctrl-C in the terminal is not for it.
        .process_group(0);
    command
}

/// The process that the file names, if it runs and belongs to `folder`.
pub fn alive(pid_file: &Path, folder: &Path) -> Option<u32> {
    alive_pid(
        fs::read_to_string(pid_file).ok()?.trim().parse().ok()?,
        folder,
    )
}

/// The same of a process that is known by its number.
pub fn alive_pid(pid: u32, folder: &Path) -> Option<u32> {
    let ours = format!("{}/", folder.display());
    // A process that is just becoming another program has no command line for a moment, and one that has ended has none at all.
    for _ in 0..20 {
        let command_line = fs::read(format!("/proc/{pid}/cmdline")).ok()?;
        if !command_line.is_empty() {
            let command_line = String::from_utf8_lossy(&command_line).into_owned();
            return command_line.contains(&ours).then_some(pid);
        }
        thread::sleep(Duration::from_millis(10));
    }
    None
}

/// Ends the process that the file names; tells whether there was one.
pub fn stop(pid_file: &Path, folder: &Path) -> Result<bool> {
    let Some(pid) = alive(pid_file, folder) else {
        return Ok(false);
    };
    let signal = |name: &str| exec::output(Command::new("kill").args([name, &pid.to_string()]));
    let ended = || alive(pid_file, folder).is_none();
    // Either may find that it has just ended by itself.
    let _ = signal("-TERM");
    if !wait(STOP_LIMIT, ended) {
        let _ = signal("-KILL");
        if !wait(STOP_LIMIT, ended) {
            bail!("process {pid} of {} does not end", folder.display());
        }
    }
    let _ = fs::remove_file(pid_file);
    Ok(true)
}

/// Waits until `done`, for at most `limit`.
pub fn wait(limit: Duration, done: impl Fn() -> bool) -> bool {
    let start = Instant::now();
    while !done() {
        if start.elapsed() > limit {
            return false;
        }
        thread::sleep(Duration::from_millis(50));
    }
    true
}

/// Whether an HTTP server answers there.
pub fn answers(port: u16) -> bool {
    use std::io::{Read, Write};
    let address = SocketAddr::from(([127, 0, 0, 1], port));
    let Ok(mut stream) = TcpStream::connect(address) else {
        return false;
    };
    let ask = b"GET / HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n\r\n";
    let limit = stream.set_read_timeout(Some(Duration::from_secs(10)));
    let mut answer = [0; 12];
    limit.is_ok()
        && stream.write_all(ask).is_ok()
        && stream.read_exact(&mut answer).is_ok()
        && answer.ends_with(b" 200")
}

/// The port asked for, or `usual` if it is free, or any.
pub fn choose_port(wanted: Option<u16>, usual: u16) -> Result<u16> {
    let free = |port| std::net::TcpListener::bind(("127.0.0.1", port)).is_ok();
    match wanted {
        Some(port) if free(port) => Ok(port),
        Some(port) => bail!("port {port} is taken"),
        None if free(usual) => Ok(usual),
        None => crate::server::free_port(),
    }
}

/// The last lines of a log, for an error.
pub fn tail(log: &Path) -> String {
    let text = fs::read_to_string(log).unwrap_or_default();
    let lines: Vec<_> = text.lines().rev().take(8).collect();
    let lines = lines.into_iter().rev().collect::<Vec<_>>().join("\n  ");
    format!("the end of {}:\n  {lines}", log.display())
}

/// Reads a number out of a file.
pub fn read_port(file: &Path) -> Result<u16> {
    let text = fs::read_to_string(file).with_context(|| format!("read {}", file.display()))?;
    text.trim()
        .parse()
        .with_context(|| format!("{} holds no port", file.display()))
}
