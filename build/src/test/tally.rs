//! How many tests ended how, and what those printed that failed: a run's last lines name them, however much it printed before.

use anyhow::Result;

/// Of what one failed test printed, no more lines than these are said again.
const LINES: usize = 60;

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    pub passed: usize,
    pub failed: usize,
    pub skipped: usize,
    /// What is said of those that failed, as far as a runner tells.
    pub failures: Vec<Failure>,
}

/// A test that failed, and what it printed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Failure {
    pub name: String,
    pub lines: Vec<String>,
}

impl Tally {
    /// Of a test that is one in itself.
    pub fn one_passed() -> Self {
        Self {
            passed: 1,
            ..Self::default()
        }
    }

    /// Of a part that could not run here.
    pub fn one_skipped() -> Self {
        Self {
            skipped: 1,
            ..Self::default()
        }
    }

    /// Says how a test ended and counts it.
    pub fn report(&mut self, name: &str, result: Result<()>) {
        match result {
            Ok(()) => {
                println!("{name}: passed");
                self.passed += 1;
            }
            Err(error) => {
                println!("{name}: FAILED: {error:#}");
                self.fail(name, &format!("{error:#}"));
            }
        }
    }

    /// Counts a test that failed, with what is to be said of it.
    pub fn fail(&mut self, name: &str, text: &str) {
        self.failed += 1;
        let mut failure = Failure::new(name);
        text.lines().for_each(|line| failure.line(line));
        self.failures.push(failure);
    }

    pub fn add(&mut self, other: Self) {
        self.passed += other.passed;
        self.failed += other.failed;
        self.skipped += other.skipped;
        self.failures.extend(other.failures);
    }
}

impl Failure {
    pub fn new(name: &str) -> Self {
        Self {
            name: name.to_owned(),
            lines: Vec::new(),
        }
    }

    /// Takes in a line that it printed, up to a limit; an empty one says nothing.
    pub fn line(&mut self, line: &str) {
        if self.lines.len() < LINES && !line.trim().is_empty() {
            self.lines.push(line.to_owned());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failure_is_counted_and_kept() {
        let mut tally = Tally::one_passed();
        tally.fail("a", "first\n\nsecond");
        let mut total = Tally::one_skipped();
        total.add(tally);
        assert_eq!((total.passed, total.failed, total.skipped), (1, 1, 1));
        let [failure] = &total.failures[..] else {
            panic!("one failed")
        };
        assert_eq!((failure.name.as_str(), failure.lines.len()), ("a", 2));
    }

    #[test]
    fn a_failure_that_prints_without_end_is_cut() {
        let mut failure = Failure::new("a");
        (0..1000).for_each(|line| failure.line(&line.to_string()));
        assert_eq!(failure.lines.len(), LINES);
    }
}
