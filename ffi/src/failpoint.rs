//! The plugin's failure points. They are armed as the engine's are, and each has its name here.

use smartengine::failpoint::hit;
use smartengine::{Error, Result};

/// Passes the point of this name.
pub fn failpoint(name: &str) -> Result<()> {
    match name {
        "catalog.before_capture" => hit("catalog.before_capture"),
        "catalog.first_try_throws" => hit("catalog.first_try_throws"),
        "catalog.changed_while_read" => hit("catalog.changed_while_read"),
        "catalog.replayed" => hit("catalog.replayed"),
        "catalog.disk_written" => hit("catalog.disk_written"),
        "innodb_part.noted" => hit("innodb_part.noted"),
        "innodb_part.committed" => hit("innodb_part.committed"),
        "catalog.written_by_8_0" => hit("catalog.written_by_8_0"),
        "catalog.written_by_99_0" => hit("catalog.written_by_99_0"),
        "catalog.no_version" => hit("catalog.no_version"),
        "catalog.read_entry" => hit("catalog.read_entry"),
        _ => Err(Error::invalid(format!("no failure point {name:?}"))),
    }
}
