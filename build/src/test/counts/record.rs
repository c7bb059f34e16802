//! The record of counts, as text: a line for each fact that counts depend on, and one for each loop.
//!
//! ```text
//! engine with rustc 1.95.0
//! engine get_hit 3261.5
//! ```

use anyhow::{Context, Result, bail};

pub const ENGINE: &str = "engine";
pub const CODEC: &str = "codec";

const HEADER: &str = "\
# Instructions that one turn of each loop takes, as `cargo xtask counts --record` wrote them. `cargo xtask counts` fails where one has grown by
# more than 3 %. Lines with `with` say what else the counts of a group depend on.
";

#[derive(Debug, Default)]
pub struct Record {
    /// A group, and a fact that its counts depend on.
    pub environment: Vec<(String, String)>,
    pub counts: Vec<Count>,
}

#[derive(Debug)]
pub struct Count {
    pub group: String,
    pub name: String,
    /// Of one turn.
    pub instructions: f64,
}

/// One loop in both records.
#[derive(Debug)]
pub struct Verdict {
    pub name: String,
    pub recorded: Option<f64>,
    pub now: Option<f64>,
}

impl Verdict {
    /// By how many percent the count has grown.
    pub fn change(&self) -> Option<f64> {
        let (recorded, now) = (self.recorded?, self.now?);
        Some((now / recorded - 1.0) * 100.0)
    }

    pub fn is_measured(&self) -> bool {
        self.change().is_some()
    }

    /// A loop that only one record has does not: nothing would hold it.
    pub fn passes(&self, limit: f64) -> bool {
        self.change().is_some_and(|change| change <= limit)
    }
}

impl Record {
    pub fn parse(text: &str) -> Result<Self> {
        let mut record = Self::default();
        for line in text.lines() {
            if line.is_empty() || line.starts_with('#') {
                continue;
            }
            let words: Vec<&str> = line.split_ascii_whitespace().collect();
            match words[..] {
                [group, "with", ..] => {
                    let fact = words[2..].join(" ");
                    record.environment.push((group.to_string(), fact));
                }
                [group, name, count] => record.counts.push(Count {
                    group: group.to_string(),
                    name: name.to_string(),
                    instructions: count
                        .parse()
                        .with_context(|| format!("{line:?}: {count:?} is no number"))?,
                }),
                _ => bail!("{line:?} is neither `group with fact` nor `group loop count`"),
            }
        }
        Ok(record)
    }

    pub fn to_text(&self) -> String {
        let mut text = HEADER.to_string();
        for group in [ENGINE, CODEC] {
            text.push('\n');
            for (_, fact) in self.environment.iter().filter(|(of, _)| of == group) {
                text.push_str(&format!("{group} with {fact}\n"));
            }
            for count in self.counts.iter().filter(|count| count.group == group) {
                let Count {
                    name, instructions, ..
                } = count;
                text.push_str(&format!("{group} {name} {instructions:.1}\n"));
            }
        }
        text
    }

    /// What the counts of a group depend on and is not the same in both; a line for each.
    pub fn environment_differences(&self, now: &Self, group: &str) -> Vec<String> {
        let facts = |record: &Self| -> Vec<String> {
            let of_group = record.environment.iter().filter(|(of, _)| of == group);
            of_group.map(|(_, fact)| fact.clone()).collect()
        };
        let (before, after) = (facts(self), facts(now));
        let without = |these: &[String], those: &[String]| -> String {
            let only: Vec<_> = these
                .iter()
                .filter(|fact| !those.contains(fact))
                .cloned()
                .collect();
            match only.is_empty() {
                true => "nothing".to_string(),
                false => only.join(", "),
            }
        };
        match before == after {
            true => Vec::new(),
            false => vec![format!(
                "the counts of {group} were recorded with {}, and this is {}",
                without(&before, &after),
                without(&after, &before)
            )],
        }
    }

    /// The loops of a group that either record has.
    pub fn compare(&self, now: &Self, group: &str) -> Vec<Verdict> {
        let of = |record: &Self, name: &str| {
            let mut counts = record.counts.iter();
            counts
                .find(|count| count.group == group && count.name == name)
                .map(|count| count.instructions)
        };
        let mut names: Vec<&str> = Vec::new();
        for count in now.counts.iter().chain(&self.counts) {
            if count.group == group && !names.contains(&count.name.as_str()) {
                names.push(&count.name);
            }
        }
        names
            .into_iter()
            .map(|name| Verdict {
                name: format!("{group} {name}"),
                recorded: of(self, name),
                now: of(now, name),
            })
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(text: &str) -> Record {
        Record::parse(text).unwrap()
    }

    #[test]
    fn a_record_comes_back_from_its_text() {
        let text =
            "engine with rustc 1.95.0 (x)\nengine get 100.0\n\ncodec with g++ 12\ncodec row 5.5\n";
        assert_eq!(record(text).to_text(), format!("{HEADER}\n{text}"));
        assert!(Record::parse("engine get many").is_err());
        assert!(Record::parse("engine").is_err());
    }

    #[test]
    fn what_costs_more_than_the_limit_fails_and_what_saves_does_not() {
        let before = record("engine a 100\nengine b 100\nengine c 100\nengine gone 1");
        let now = record("engine a 102.9\nengine b 103.1\nengine c 50\nengine new 1");
        let passes: Vec<_> = before
            .compare(&now, ENGINE)
            .iter()
            .map(|verdict| (verdict.name.clone(), verdict.passes(3.0)))
            .collect();
        let expected = [
            ("engine a", true),
            ("engine b", false),
            ("engine c", true),
            ("engine new", false),
            ("engine gone", false),
        ]
        .map(|(name, passes)| (name.to_string(), passes));
        assert_eq!(passes, expected);
    }

    #[test]
    fn another_compiler_is_named() {
        let before = record("engine with rustc 1\nengine with glibc 2\ncodec with g++ 12");
        let now = record("engine with rustc 2\nengine with glibc 2\ncodec with g++ 12");
        assert_eq!(
            before.environment_differences(&now, ENGINE),
            ["the counts of engine were recorded with rustc 1, and this is rustc 2"]
        );
        assert!(before.environment_differences(&now, CODEC).is_empty());
    }
}
