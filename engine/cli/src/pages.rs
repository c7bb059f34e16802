//! `smartengine pages`: what is made of the program's arguments, for those who make packages of it.

use std::path::{Path, PathBuf};

use clap_complete::Shell;
use smartengine::{Error, Result};

use crate::Outcome;

#[derive(clap::Args)]
pub struct Args {
    /// Where to write them; made if it is not there.
    #[arg(value_name = "FOLDER")]
    folder: PathBuf,
}

pub fn run(args: &Args, command: clap::Command) -> Result<Outcome> {
    write(&args.folder, command).map_err(|error| {
        Error::io(
            format!("write the pages to {}", args.folder.display()),
            error,
        )
    })?;
    Ok(Outcome::Well)
}

fn write(folder: &Path, mut command: clap::Command) -> std::io::Result<()> {
    std::fs::create_dir_all(folder)?;
    clap_mangen::generate_to(command.clone(), folder)?;
    let name = command.get_name().to_owned();
    for shell in [Shell::Bash, Shell::Zsh, Shell::Fish] {
        clap_complete::generate_to(shell, &mut command, &name, folder)?;
    }
    Ok(())
}
