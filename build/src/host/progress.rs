//! Progress on a terminal as a bar; where standard error is a file or a CI log, one line when a step starts and ends.

use std::io::{IsTerminal, stderr};
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressStyle};

/// One long step. Dropped without [`Step::done`], it leaves no claim of success behind.
pub struct Step {
    bar: ProgressBar,
    what: String,
    started: Instant,
}

impl Step {
    /// A step of `total` bytes.
    pub fn bytes(what: impl Into<String>, total: u64) -> Self {
        let bar = ProgressBar::new(total);
        bar.set_style(style(
            "{msg} [{bar:32}] {bytes}/{total_bytes} {bytes_per_sec} {eta}",
        ));
        Self::start(bar, what.into())
    }

    /// A step of `total` things.
    pub fn count(what: impl Into<String>, total: u64) -> Self {
        let bar = ProgressBar::new(total);
        bar.set_style(style("{msg} [{bar:32}] {pos}/{len} {eta}"));
        Self::start(bar, what.into())
    }

    /// A step whose length is unknown.
    pub fn spinner(what: impl Into<String>) -> Self {
        let bar = ProgressBar::new_spinner();
        bar.set_style(style("{spinner} {msg} {elapsed}"));
        Self::start(bar, what.into())
    }

    fn start(bar: ProgressBar, what: String) -> Self {
        if !stderr().is_terminal() {
            eprintln!("{what} …");
        }
        bar.set_message(what.clone());
        bar.enable_steady_tick(Duration::from_millis(120));
        Self {
            bar,
            what,
            started: Instant::now(),
        }
    }

    pub fn set(&self, position: u64) {
        self.bar.set_position(position);
    }

    pub fn advance(&self) {
        self.bar.inc(1);
    }

    /// Closes the step with one line that stays.
    pub fn done(self) {
        self.bar.finish_and_clear();
        eprintln!(
            "{}: {:.1} s",
            self.what,
            self.started.elapsed().as_secs_f64()
        );
    }
}

impl Drop for Step {
    fn drop(&mut self) {
        self.bar.finish_and_clear();
    }
}

fn style(template: &str) -> ProgressStyle {
    ProgressStyle::with_template(template)
        .expect("templates are constants of this file")
        .progress_chars("=> ")
}
