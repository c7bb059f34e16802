//! What the loss of a disk has cost: how many transactions, how old, and whether they were the last ones.

use std::fmt;
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};

/// A statement that committed, or was about to when the server was killed.
#[derive(Clone, Copy, Debug)]
pub struct Commit {
    /// Just before it was sent.
    pub sent: Instant,
    /// When its success was reported.
    pub acknowledged: Option<Instant>,
}

/// What became of a commit.
#[derive(Clone, Debug)]
pub struct Fate {
    pub what: String,
    pub commit: Commit,
    /// Whether the next server has it.
    pub found: bool,
}

/// Transactions that were acknowledged and are gone.
#[derive(Clone, Debug, Default)]
pub struct Loss {
    pub transactions: u64,
    /// How long before the kill the oldest of them was acknowledged.
    pub age: Duration,
    /// The oldest.
    pub oldest: String,
}

impl Loss {
    /// Counts them. Fails if something is there that was sent after something lost had been acknowledged: only the last ones may be lost.
    pub fn of(fates: &[Fate], killed_at: Instant) -> Result<Self> {
        let lost = |fate: &&Fate| !fate.found && fate.commit.acknowledged.is_some();
        let oldest = fates
            .iter()
            .filter(lost)
            .min_by_key(|fate| fate.commit.acknowledged);
        let Some((oldest, at)) = oldest.and_then(|fate| Some((fate, fate.commit.acknowledged?)))
        else {
            return Ok(Self::default());
        };
        for fate in fates {
            ensure!(
                !fate.found || fate.commit.sent <= at,
                "{} is there and {} is not, which was acknowledged {:?} before the other was sent",
                fate.what,
                oldest.what,
                fate.commit.sent.duration_since(at)
            );
        }
        Ok(Self {
            transactions: fates.iter().filter(lost).count() as u64,
            age: killed_at.saturating_duration_since(at),
            oldest: oldest.what.clone(),
        })
    }
}

impl fmt::Display for Loss {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.transactions {
            0 => f.write_str("none lost"),
            count => write!(
                f,
                "the last {count} lost, the oldest acknowledged {} ms before the kill",
                self.age.as_millis()
            ),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NEVER: u64 = u64::MAX;

    /// Commits of (sent, acknowledged, found) in milliseconds, and a kill at 100.
    fn loss(commits: &[(u64, u64, bool)]) -> Result<Loss> {
        let start = Instant::now();
        let at = |millis| start + Duration::from_millis(millis);
        let fates: Vec<Fate> = commits
            .iter()
            .enumerate()
            .map(|(index, &(sent, acknowledged, found))| Fate {
                what: format!("transaction {index}"),
                commit: Commit {
                    sent: at(sent),
                    acknowledged: (acknowledged != NEVER).then(|| at(acknowledged)),
                },
                found,
            })
            .collect();
        Loss::of(&fates, at(100))
    }

    #[test]
    fn what_was_not_acknowledged_is_not_lost() {
        let none = loss(&[(0, 10, true), (10, 20, true), (20, NEVER, false)]).unwrap();
        assert_eq!((none.transactions, none.age), (0, Duration::ZERO));
    }

    #[test]
    fn the_last_ones_are_counted() {
        let two = loss(&[
            (0, 10, true),
            (20, 40, false),
            (10, 30, false),
            (5, 50, true),
        ])
        .unwrap();
        assert_eq!(two.transactions, 2);
        assert_eq!(two.age, Duration::from_millis(70));
        assert_eq!(two.oldest, "transaction 2");
    }

    #[test]
    fn a_gap_is_refused() {
        assert!(loss(&[(0, 10, false), (11, 20, true)]).is_err());
        // Even one that was never acknowledged.
        assert!(loss(&[(0, 10, false), (11, NEVER, true)]).is_err());
        // Side by side they may come in either order.
        assert!(loss(&[(0, 10, false), (9, 20, true)]).is_ok());
    }
}
