//! Starting other programs, with errors that say which program and what it printed.

use std::io::ErrorKind;
use std::path::Path;
use std::process::{Command, Stdio};

use anyhow::{Context, Result, anyhow, bail};

/// The Debian package that brings a program we may have to ask for.
fn package_of(program: &str) -> Option<&'static str> {
    Some(match program {
        "g++" => "g++",
        "cc" | "gcc" => "gcc",
        "nm" | "ld" | "objcopy" | "readelf" => "binutils",
        "apt-get" | "apt-cache" => "apt",
        "dpkg" | "dpkg-deb" => "dpkg",
        "dpkg-shlibdeps" => "dpkg-dev",
        "git" => "git",
        "gzip" => "gzip",
        "tar" => "tar",
        "perl" => "perl",
        "python3" => "python3",
        _ => return None,
    })
}

fn name_of(command: &Command) -> String {
    Path::new(command.get_program())
        .file_name()
        .unwrap_or(command.get_program())
        .to_string_lossy()
        .into_owned()
}

fn start_error(command: &Command, error: std::io::Error) -> anyhow::Error {
    let name = name_of(command);
    match package_of(&name) {
        Some(package) if error.kind() == ErrorKind::NotFound => anyhow!(
            "{name} is not installed: it comes with the Debian package {package} (apt-get install {package})"
        ),
        _ => anyhow!(error).context(format!("start {}", command.get_program().to_string_lossy())),
    }
}

/// Runs to the end with the terminal's input and output.
pub fn run(command: &mut Command) -> Result<()> {
    if run_status(command)? {
        return Ok(());
    }
    bail!("{} failed", describe(command))
}

/// Runs to the end with the terminal's input and output; tells whether it succeeded.
pub fn run_status(command: &mut Command) -> Result<bool> {
    let status = command
        .status()
        .map_err(|error| start_error(command, error))?;
    Ok(status.success())
}

/// Runs to the end and returns what it printed on standard output.
pub fn output(command: &mut Command) -> Result<String> {
    let name = name_of(command);
    String::from_utf8(output_bytes(command)?).with_context(|| format!("read what {name} printed"))
}

/// The same of a program that may print any bytes.
pub fn output_bytes(command: &mut Command) -> Result<Vec<u8>> {
    let output = command
        .stdin(Stdio::null())
        .output()
        .map_err(|error| start_error(command, error))?;
    if !output.status.success() {
        bail!(
            "{} failed ({}): {}",
            describe(command),
            output.status,
            String::from_utf8_lossy(&output.stderr).trim()
        );
    }
    Ok(output.stdout)
}

/// Takes from a command's environment what cargo tells the program that it runs (this one) about itself. To build scripts that look there, it
/// would differ by how we were called, and they and all that needs them would be compiled each time that changes.
pub fn forget_package(command: &mut Command) {
    const OF_THIS_PACKAGE: [&str; 4] = [
        "CARGO_PKG_",
        "CARGO_MANIFEST_",
        "CARGO_CRATE_",
        "CARGO_BIN_",
    ];
    for (name, _) in std::env::vars_os() {
        let text = name.to_string_lossy();
        if OF_THIS_PACKAGE
            .iter()
            .any(|prefix| text.starts_with(prefix))
        {
            command.env_remove(&name);
        }
    }
}

/// Starts a program in the background, with the same errors as [`run`].
pub fn spawn(command: &mut Command) -> Result<std::process::Child> {
    command.spawn().map_err(|error| start_error(command, error))
}

/// The program and its first few arguments, for messages.
fn describe(command: &Command) -> String {
    const SHOWN: usize = 6;
    let mut text = name_of(command);
    for argument in command.get_args().take(SHOWN) {
        text.push(' ');
        text.push_str(&argument.to_string_lossy());
    }
    if command.get_args().len() > SHOWN {
        text.push_str(" …");
    }
    text
}

/// Whether a program of this name is in `PATH`.
pub fn in_path(program: &str) -> bool {
    std::env::var_os("PATH")
        .is_some_and(|path| std::env::split_paths(&path).any(|dir| dir.join(program).is_file()))
}

/// Python's package installer, as a command that further arguments are added to.
pub fn pip() -> Result<Command> {
    let has_module = Command::new("python3")
        .args(["-m", "pip", "--version"])
        .output()
        .is_ok_and(|output| output.status.success());
    if !has_module {
        bail!(
            "pip is not installed: it comes with the Debian package python3-pip (apt-get install python3-pip)"
        );
    }
    let mut command = Command::new("python3");
    command.args(["-m", "pip"]);
    Ok(command)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_missing_program_is_named_with_its_package() {
        let error = start_error(
            &Command::new("g++"),
            std::io::Error::from(ErrorKind::NotFound),
        );
        assert!(error.to_string().contains("apt-get install g++"), "{error}");
    }

    #[test]
    fn a_failure_carries_the_programs_own_words() {
        let error = output(Command::new("sh").args(["-c", "echo broken >&2; exit 3"])).unwrap_err();
        assert!(error.to_string().contains("broken"), "{error}");
    }

    #[test]
    fn path_lookup_finds_the_shell() {
        assert!(in_path("sh"));
        assert!(!in_path("no-such-program-here"));
    }
}
