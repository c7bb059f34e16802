//! The storage engines that are compared, and what has to be known about each to compare them fairly.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use clap::ValueEnum;

use crate::server::client::Client;

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Engine {
    #[value(name = "SMARTENGINE", alias = "smartengine")]
    Smartengine,
    #[value(name = "InnoDB", alias = "innodb")]
    InnoDb,
}

impl Engine {
    pub fn name(self) -> &'static str {
        match self {
            Self::Smartengine => "SMARTENGINE",
            Self::InnoDb => "InnoDB",
        }
    }

    /// How much space the tables of a schema take once background work has caught up, the log left out.
    ///
    /// SMARTENGINE keeps all schemas in one store, so there its tables have to be the only ones.
    pub fn bytes_stored(self, client: &mut Client, datadir: &Path, schema: &str) -> Result<u64> {
        match self {
            Self::Smartengine => {
                client.query("SET GLOBAL smartengine_flush_memtable = 1")?;
                client.query("SET GLOBAL smartengine_compact = 1")?;
                if !client
                    .query("SELECT @@smartengine_store_url")?
                    .scalar()
                    .is_empty()
                {
                    let bytes = client.query(
                        "SELECT variable_value FROM performance_schema.global_status WHERE variable_name = 'Smartengine_sst_bytes'",
                    )?;
                    return bytes.scalar().parse().context("Smartengine_sst_bytes");
                }
                let folder = client.query("SELECT @@smartengine_data_dir")?.scalar();
                let folder = match folder.as_str() {
                    "" => ".smartengine",
                    folder => folder,
                };
                folder_bytes(&datadir.join(folder).join("store"), &|_| true)
            }
            Self::InnoDb => folder_bytes(&datadir.join(schema), &|path| {
                path.extension().is_some_and(|extension| extension == "ibd")
            }),
        }
    }
}

/// The size of all files below a folder that `counted` accepts.
fn folder_bytes(dir: &Path, counted: &dyn Fn(&Path) -> bool) -> Result<u64> {
    let mut bytes = 0;
    let mut folders: Vec<PathBuf> = vec![dir.to_path_buf()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).with_context(|| format!("read {}", folder.display()))? {
            let path = entry?.path();
            // A background job may remove a file between the listing and the look at it.
            let Ok(data) = path.symlink_metadata() else {
                continue;
            };
            if data.is_dir() {
                folders.push(path);
            } else if counted(&path) {
                bytes += data.len();
            }
        }
    }
    Ok(bytes)
}
