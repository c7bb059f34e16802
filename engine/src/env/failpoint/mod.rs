//! Named points at which a run can be made to fail: to return an error, to panic, or to die on the spot.
//!
//! They are there only in a build with the feature `failpoints`, which the tests use. In any other build, such as the one that is installed
//! on a server, [`hit`] is empty, nothing reads the environment, and nothing can be armed.
//!
//! Production code calls [`hit`] with the point's name, which costs a test build one relaxed atomic load while nothing is armed. A test arms
//! a point with `arm`. A live server is broken from outside by the environment variable `SMARTENGINE_FAILPOINTS`, read at
//! the first hit: `name=action` or `name=action@n` (at the nth hit and not before), several separated by `;`, where action is
//! `error`, `panic`, `abort` (the process is killed as by kill -9: nothing is flushed, no handler runs) or `sleep:<ms>`. A value
//! that does not parse makes every hit fail, so that a mistyped test cannot pass by doing nothing.
//!
//! Points are named `layer.step`, "flush.before_install". They are global to the process.

#[cfg(feature = "failpoints")]
mod armed;

#[cfg(feature = "failpoints")]
pub use armed::{Action, Armed, ENVIRONMENT_VARIABLE, arm, hit};

/// Passes a point that this build does not have.
#[cfg(not(feature = "failpoints"))]
#[inline(always)]
pub fn hit(_name: &'static str) -> crate::Result<()> {
    Ok(())
}
