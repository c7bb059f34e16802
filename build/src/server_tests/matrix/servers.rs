//! Which servers are tried: each by a name, and where its three parts are.

use std::path::PathBuf;
use std::str::FromStr;

use anyhow::{Context, Result, bail, ensure};

use crate::packages::mysql::{Mysql, MysqlArgs};

/// The server that Debian's packages give, by this name.
const PACKAGES: &str = "packages";

/// One value of `--server`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Given {
    pub name: String,
    place: Place,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Place {
    Packages,
    Folders {
        root: PathBuf,
        source: PathBuf,
        build: Option<PathBuf>,
        boost: Option<PathBuf>,
    },
}

impl FromStr for Given {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if text == PACKAGES {
            return Ok(Self {
                name: text.to_owned(),
                place: Place::Packages,
            });
        }
        let wanted = || {
            format!(
                "{text:?} is neither {PACKAGES} nor NAME=ROOT,SOURCE nor NAME=ROOT,SOURCE,BUILD nor NAME=ROOT,SOURCE,BUILD,BOOST (BUILD may be empty then)"
            )
        };
        let (name, folders) = text.split_once('=').ok_or_else(wanted)?;
        let folders: Vec<&str> = folders.split(',').collect();
        let (root, source, build, boost) = match folders[..] {
            [root, source] => (root, source, None, None),
            [root, source, build] => (root, source, Some(build), None),
            [root, source, "", boost] => (root, source, None, Some(boost)),
            [root, source, build, boost] => (root, source, Some(build), Some(boost)),
            _ => return Err(wanted()),
        };
        let empty = [Some(name), Some(root), Some(source), build, boost].contains(&Some(""));
        if empty {
            return Err(wanted());
        }
        Ok(Self {
            name: name.to_owned(),
            place: Place::Folders {
                root: root.into(),
                source: source.into(),
                build: build.map(PathBuf::from),
                boost: boost.map(PathBuf::from),
            },
        })
    }
}

/// A server that was found.
pub struct Server {
    pub name: String,
    pub mysql: Mysql,
    /// What its headers say, `8.0.36` for instance.
    pub version: String,
    /// How other commands are told of it.
    pub arguments: MysqlArgs,
}

impl Server {
    fn find(given: &Given) -> Result<Self> {
        let arguments = match &given.place {
            Place::Packages => MysqlArgs::default(),
            Place::Folders {
                root,
                source,
                build,
                boost,
            } => MysqlArgs {
                mysql_root: Some(root.clone()),
                mysql_source: Some(source.clone()),
                mysql_build: build.clone(),
                boost: boost.clone(),
                ..MysqlArgs::default()
            },
        };
        let mysql = Mysql::locate(&arguments)?;
        Ok(Self {
            name: given.name.clone(),
            version: mysql.version()?,
            mysql,
            arguments,
        })
    }

    /// Orders servers by their versions: 8.0.36 before 8.4.2, 9.7.4 before 9.7.10.
    pub fn order(&self) -> Vec<u32> {
        numbers(&self.version)
    }
}

fn numbers(version: &str) -> Vec<u32> {
    version
        .split('.')
        .map(|part| part.parse().unwrap_or(0))
        .collect()
}

/// Finds all of them, the oldest first.
pub fn find(given: &[Given]) -> Result<Vec<Server>> {
    for (index, one) in given.iter().enumerate() {
        if given[..index].iter().any(|other| other.name == one.name) {
            bail!(
                "--server {} is given twice: each needs a name of its own",
                one.name
            );
        }
    }
    let mut servers = given
        .iter()
        .map(|one| Server::find(one).with_context(|| format!("--server {}", one.name)))
        .collect::<Result<Vec<_>>>()?;
    ensure!(!servers.is_empty(), "no --server was given");
    servers.sort_by_key(Server::order);
    Ok(servers)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn folders_are_read_in_their_order() {
        let given: Given = "8.0=/a,/b,/c".parse().unwrap();
        assert_eq!(given.name, "8.0");
        let place = Place::Folders {
            root: "/a".into(),
            source: "/b".into(),
            build: Some("/c".into()),
            boost: None,
        };
        assert_eq!(given.place, place);
        let given: Given = "8.0=/a,/b,,/d".parse().unwrap();
        let place = Place::Folders {
            root: "/a".into(),
            source: "/b".into(),
            build: None,
            boost: Some("/d".into()),
        };
        assert_eq!(given.place, place);
        let given: Given = "packages".parse().unwrap();
        assert_eq!(given.place, Place::Packages);
    }

    #[test]
    fn what_is_not_a_server_is_refused_with_what_is_allowed() {
        for text in [
            "",
            "8.0",
            "=/a,/b",
            "8.0=/a",
            "8.0=/a,/b,/c,/d,/e",
            "8.0=/a,/b,/c,",
            "8.0=/a,,/c",
        ] {
            let error = text.parse::<Given>().unwrap_err();
            assert!(error.contains("NAME=ROOT,SOURCE,BUILD"), "{text}: {error}");
        }
    }

    #[test]
    fn a_patch_of_two_digits_is_newer_than_one_of_one() {
        assert!(numbers("9.7.10") > numbers("9.7.4"));
        assert!(numbers("8.4.2") > numbers("8.0.36"));
    }
}
