//! Writes what is made of the program's arguments into a folder: manual pages, and completions for bash, zsh and fish.
//!
//! `cargo run -p smartengine-cli --example pages -- FOLDER`. It is an example so that neither the program nor its users' builds carry the generators.

use std::error::Error;
use std::path::Path;

use clap_complete::Shell;

fn main() -> Result<(), Box<dyn Error>> {
    let folder = std::env::args_os().nth(1);
    let folder = folder.ok_or("give the folder to write to")?;
    let folder = Path::new(&folder);
    std::fs::create_dir_all(folder)?;
    let mut command = smartengine_cli::command();
    clap_mangen::generate_to(command.clone(), folder)?;
    let name = command.get_name().to_owned();
    for shell in [Shell::Bash, Shell::Zsh, Shell::Fish] {
        clap_complete::generate_to(shell, &mut command, &name, folder)?;
    }
    Ok(())
}
