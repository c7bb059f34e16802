//! The plugin's rooms: which may include which.

use crate::source::Source;

/// From the lowest to the highest. What lies at the top of `mysql-plugin/` itself is for all (`compat.h`) or knows all (`plugin.cc`).
const ROOMS: [&str; 7] = [
    "base", "codec", "table", "session", "catalog", "handler", "server",
];

/// The room a file of the plugin stands in; `None` for the top, tests and everything else.
fn room_of(path: &str) -> Option<&str> {
    let (room, _) = path.strip_prefix("mysql-plugin/")?.split_once('/')?;
    (room != "tests").then_some(room)
}

fn rank(room: &str) -> Option<usize> {
    ROOMS.iter().position(|known| *known == room)
}

/// A file includes what is in its own room and in those below.
pub fn point_down(source: &Source) -> Vec<String> {
    let Some(from) = room_of(&source.path) else {
        return Vec::new();
    };
    let Some(from_rank) = rank(from) else {
        return vec![format!("{from} has no place among the rooms")];
    };
    let mut breaches = Vec::new();
    for (number, line) in source.lines() {
        let Some((to, _)) = line
            .strip_prefix("#include \"")
            .and_then(|path| path.split_once('/'))
        else {
            continue;
        };
        if rank(to).is_some_and(|to| to > from_rank) {
            breaches.push(format!("{number}: {from} may not include what is in {to}"));
        }
    }
    breaches
}
