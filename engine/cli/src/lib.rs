//! `smartengine`: looks into a store without attaching to it. It only reads, so it can be used beside a running server.
//!
//! It is a library, so that it is compiled with what else is linked before the program is.
//!
//! Answers go to standard output, as text or with `--json` as JSON; progress and errors to standard error. It ends with what fsck ends with:
//! 0 all is well, 4 the store has errors, 8 it could not be looked into, 16 wrong usage.

mod dump;
mod formats;
mod gc;
mod indexes;
mod inspect;
mod list;
mod open;
mod pages;
mod text;
mod verify;
mod version;

use std::process::ExitCode;

use clap::{CommandFactory, Parser, Subcommand};
use smartengine::{Error, ErrorKind, Result};

const ERRORS_LEFT: u8 = 4;
const OPERATIONAL_ERROR: u8 = 8;
const USAGE: u8 = 16;

/// Look into a store of SmartEngine. Nothing is ever written to it: that is safe beside a running server.
///
/// STORE is a URL, s3://bucket/prefix or file:///directory, or a directory: a store's own, or an engine's with its store in it.
/// Exit codes: 0 all is well, 4 the store has errors, 8 it could not be looked into, 16 wrong usage.
#[derive(Parser)]
#[command(name = "smartengine", version, arg_required_else_help = true)]
struct Cli {
    /// Answer in JSON.
    #[arg(long, global = true)]
    json: bool,
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Show what is in it: writer, levels, files, sizes, the log.
    #[command(visible_alias = "info")]
    Inspect(inspect::Args),
    /// Read everything that is needed and check every checksum, every order and every count.
    #[command(visible_alias = "check")]
    Verify(verify::Args),
    /// List the objects by kind, with their sizes.
    List(list::Args),
    /// Show what would be removed, and why.
    Gc(gc::Args),
    /// Show one object: a file, a chunk of the log, an object of the manifest.
    Dump(dump::Args),
    /// Write this program's manual pages, and completions for bash, zsh and fish, into a folder.
    Pages(pages::Args),
    /// Show the version of this program and of the formats that it knows.
    Version,
}

/// The outcome of a command, apart from what it has printed.
enum Outcome {
    Well,
    Errors,
}

/// The program, with the arguments and the output of this process.
pub fn run() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => {
            let wrong = error.use_stderr();
            // Nobody is left to be told.
            let _ = error.print();
            return match wrong {
                true => ExitCode::from(USAGE),
                false => ExitCode::SUCCESS,
            };
        }
    };
    let done = match &cli.command {
        Command::Inspect(args) => inspect::run(args, cli.json),
        Command::Verify(args) => verify::run(args, cli.json),
        Command::List(args) => list::run(args, cli.json),
        Command::Gc(args) => gc::run(args, cli.json),
        Command::Dump(args) => dump::run(args, cli.json),
        Command::Pages(args) => pages::run(args, Cli::command()),
        Command::Version => version::run(cli.json),
    };
    match done {
        Ok(Outcome::Well) => ExitCode::SUCCESS,
        Ok(Outcome::Errors) => ExitCode::from(ERRORS_LEFT),
        Err(error) => {
            eprintln!("smartengine: {error}");
            ExitCode::from(code_of(&error))
        }
    }
}

fn code_of(error: &Error) -> u8 {
    match error.kind() {
        ErrorKind::Corruption => ERRORS_LEFT,
        ErrorKind::Invalid => USAGE,
        _ => OPERATIONAL_ERROR,
    }
}

/// Writes to standard output. A reader that went away early, as `head` does, ends the program quietly.
fn print(text: &str) -> Result<()> {
    use std::io::Write;
    let mut out = std::io::stdout().lock();
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        Err(error) if error.kind() == std::io::ErrorKind::BrokenPipe => std::process::exit(0),
        written => written.map_err(|error| Error::io("write to standard output", error)),
    }
}

/// Prints a value as one line of JSON.
fn print_json(value: &serde_json::Value) -> Result<()> {
    print(&format!("{value}\n"))
}
