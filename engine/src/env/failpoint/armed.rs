//! What a build with failure points has of them: which are armed, and what each does.
//!
//! `unsafe`: one call of `kill(2)` on this process itself. The standard library's abort raises SIGABRT, which a server
//! handles for seconds, writing a stack trace while its other threads go on: not the sudden death that is to be tested.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU8, Ordering};
use std::time::Duration;

use parking_lot::{Mutex, MutexGuard};

use crate::{Error, ErrorKind, Result};

/// The environment variable that arms points in a live process.
pub const ENVIRONMENT_VARIABLE: &str = "SMARTENGINE_FAILPOINTS";

/// What an armed point does when it is hit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    /// [`hit`] returns [`ErrorKind::Unavailable`].
    Error,
    /// [`hit`] panics.
    Panic,
    /// The process is killed.
    Abort,
    /// [`hit`] waits and then succeeds.
    Sleep(Duration),
}

struct Point {
    action: Action,
    /// Hits still to pass before the action; 0 when it acts at each hit.
    pass: u64,
    hits: u64,
}

#[derive(Default)]
struct Registry {
    points: HashMap<String, Point>,
    environment_read: bool,
    environment_error: Option<String>,
}

impl Registry {
    fn state(&self) -> u8 {
        if self.points.is_empty() && self.environment_error.is_none() {
            UNARMED
        } else {
            ARMED
        }
    }

    fn read_environment(&mut self) {
        if std::mem::replace(&mut self.environment_read, true) {
            return;
        }
        let Some(value) = std::env::var_os(ENVIRONMENT_VARIABLE) else {
            return;
        };
        match parse(&value.to_string_lossy()) {
            Ok(points) => {
                for (name, action, at) in points {
                    self.points.insert(name, Point::new(action, at));
                }
            }
            Err(error) => self.environment_error = Some(error.message().to_owned()),
        }
    }
}

impl Point {
    fn new(action: Action, at: u64) -> Self {
        Self {
            action,
            pass: at.saturating_sub(1),
            hits: 0,
        }
    }
}

const UNREAD: u8 = 0;
const UNARMED: u8 = 1;
const ARMED: u8 = 2;

static STATE: AtomicU8 = AtomicU8::new(UNREAD);
static REGISTRY: Mutex<Option<Registry>> = Mutex::new(None);

fn with_registry<T>(body: impl FnOnce(&mut Registry) -> T) -> T {
    let mut guard: MutexGuard<'_, Option<Registry>> = REGISTRY.lock();
    let registry = guard.get_or_insert_default();
    registry.read_environment();
    let result = body(registry);
    STATE.store(registry.state(), Ordering::Relaxed);
    result
}

/// Passes the point `name`: does what it is armed with, or nothing.
#[inline]
pub fn hit(name: &'static str) -> Result<()> {
    if STATE.load(Ordering::Relaxed) == UNARMED {
        return Ok(());
    }
    hit_armed(name)
}

#[cold]
fn hit_armed(name: &str) -> Result<()> {
    let action = with_registry(|registry| {
        if let Some(message) = &registry.environment_error {
            return Err(Error::invalid(message.clone()));
        }
        let Some(point) = registry.points.get_mut(name) else {
            return Ok(None);
        };
        point.hits += 1;
        Ok((point.hits > point.pass).then_some(point.action))
    })?;
    match action {
        None => Ok(()),
        Some(Action::Error) => Err(Error::new(
            ErrorKind::Unavailable,
            format!("failure point {name}"),
        )),
        Some(Action::Panic) => panic!("failure point {name}"),
        Some(Action::Abort) => kill_self(),
        Some(Action::Sleep(duration)) => {
            std::thread::sleep(duration);
            Ok(())
        }
    }
}

fn kill_self() -> ! {
    // SAFETY: kill takes two integers and touches no memory of ours; the target is this process.
    unsafe {
        libc::kill(libc::getpid(), libc::SIGKILL);
    }
    std::process::abort()
}

/// An armed point; disarmed on drop.
#[derive(Debug)]
pub struct Armed {
    name: String,
}

impl Armed {
    /// How often the point was passed since it was armed, its own action included.
    pub fn hits(&self) -> u64 {
        with_registry(|registry| registry.points.get(&self.name).map_or(0, |p| p.hits))
    }
}

impl Drop for Armed {
    fn drop(&mut self) {
        with_registry(|registry| registry.points.remove(&self.name));
    }
}

/// Arms the point `name` to do `action` from its `at`-th hit on (1 is the next one).
pub fn arm(name: &str, action: Action, at: u64) -> Armed {
    with_registry(|registry| {
        registry
            .points
            .insert(name.to_owned(), Point::new(action, at))
    });
    Armed {
        name: name.to_owned(),
    }
}

/// Parses what [`ENVIRONMENT_VARIABLE`] may hold: each point's name, its action, and the hit from which it acts.
pub fn parse(value: &str) -> Result<Vec<(String, Action, u64)>> {
    let refuse = |part: &str| {
        Error::invalid(format!(
            "{ENVIRONMENT_VARIABLE}: {part:?} is not name=error|panic|abort|sleep:<ms>, with an optional @<hit>"
        ))
    };
    let mut points = Vec::new();
    for part in value.split(';').map(str::trim).filter(|p| !p.is_empty()) {
        let (name, rest) = part.split_once('=').ok_or_else(|| refuse(part))?;
        let (action, at) = match rest.split_once('@') {
            Some((action, at)) => (action, at.parse().map_err(|_| refuse(part))?),
            None => (rest, 1),
        };
        let action = match action.split_once(':') {
            None if action == "error" => Action::Error,
            None if action == "panic" => Action::Panic,
            None if action == "abort" => Action::Abort,
            Some(("sleep", ms)) => {
                Action::Sleep(Duration::from_millis(ms.parse().map_err(|_| refuse(part))?))
            }
            _ => return Err(refuse(part)),
        };
        if name.is_empty() || at == 0 {
            return Err(refuse(part));
        }
        points.push((name.to_owned(), action, at));
    }
    Ok(points)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn acts_from_the_nth_hit_until_disarmed() {
        let armed = arm("test.nth", Action::Error, 3);
        assert!(hit("test.nth").is_ok());
        assert!(hit("test.nth").is_ok());
        assert_eq!(hit("test.nth").unwrap_err().kind(), ErrorKind::Unavailable);
        assert!(hit("test.nth").is_err());
        assert_eq!(armed.hits(), 4);
        assert!(hit("test.other").is_ok());
        drop(armed);
        assert!(hit("test.nth").is_ok());
    }

    #[test]
    fn panics_when_told_to() {
        let _armed = arm("test.panic", Action::Panic, 1);
        assert!(std::panic::catch_unwind(|| hit("test.panic")).is_err());
    }

    #[test]
    fn parses_the_environment_form() {
        assert_eq!(
            parse("a=abort@3; b=error ;c=sleep:20").unwrap(),
            [
                ("a".to_owned(), Action::Abort, 3),
                ("b".to_owned(), Action::Error, 1),
                ("c".to_owned(), Action::Sleep(Duration::from_millis(20)), 1),
            ]
        );
        for bad in [
            "a",
            "a=",
            "=error",
            "a=error@0",
            "a=error@x",
            "a=sleep",
            "a=sleep:x",
        ] {
            assert_eq!(parse(bad).unwrap_err().kind(), ErrorKind::Invalid, "{bad}");
        }
    }

    /// Runs only in the process that the next test starts.
    #[test]
    fn victim() {
        if std::env::var("SMARTENGINE_TEST_VICTIM").is_err() {
            return;
        }
        hit("test.victim").unwrap();
        hit("test.victim").unwrap();
        panic!("it should be dead by now");
    }

    #[test]
    fn the_environment_kills_a_live_process_at_a_point() {
        use std::os::unix::process::ExitStatusExt;

        let run = |points: &str| {
            std::process::Command::new(std::env::current_exe().unwrap())
                .args(["--exact", "env::failpoint::armed::tests::victim"])
                .env("SMARTENGINE_TEST_VICTIM", "1")
                .env(ENVIRONMENT_VARIABLE, points)
                .output()
                .unwrap()
        };
        assert_eq!(
            run("test.victim=abort@2").status.signal(),
            Some(libc::SIGKILL)
        );
        let refused = run("test.victim=abort@two");
        let said = String::from_utf8_lossy(&refused.stdout).into_owned();
        assert!(said.contains("abort@two"), "{said}");
    }
}
