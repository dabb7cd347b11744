//! `batches=1,25%,100%`: how many members may have the version after each batch, as a count or as a share of all. The figures
//! are targets, not sizes: first 1 member, then more until 25 % have it, then all. People who know FlightCtl read it so, and
//! a list stays right when the fleet grows. Shares are rounded up, so that every batch has somebody in it.

use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};
use crate::names::{number, shown};

/// How far one batch goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Target {
    /// A number of members.
    Count(usize),
    /// A share of the members, 1 to 100.
    Percent(usize),
}

/// How far each batch goes, in order.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Batches(Vec<Target>);

impl Default for Batches {
    /// One batch of all.
    fn default() -> Batches {
        Batches(vec![Target::Percent(100)])
    }
}

impl Batches {
    /// Reads the value of `batches`. Fails (exit 2) on anything that is not a list of growing counts or percentages.
    pub fn parse(bytes: &[u8]) -> Result<Batches> {
        let words = bytes.split(|byte| *byte == b',').map(<[u8]>::trim_ascii);
        let targets = words.map(target).collect::<Result<Vec<Target>>>()?;
        let shrinks = |(before, after): (&Target, &Target)| match (before, after) {
            (Target::Count(before), Target::Count(after)) => after < before,
            (Target::Percent(before), Target::Percent(after)) => after < before,
            _ => false,
        };
        if targets.iter().zip(targets.iter().skip(1)).any(shrinks) {
            return Err(Error::usage(
                "the figures shrink; each says how many members have the version after that batch, so let them grow to 100%",
            ));
        }
        Ok(Batches(targets))
    }

    /// How many of a fleet of this size have the version after each batch; a batch that admits
    /// nobody is left out.
    pub fn targets(&self, members: usize) -> Vec<usize> {
        let mut targets = Vec::new();
        for target in &self.0 {
            let target = match target {
                Target::Count(count) => (*count).min(members),
                Target::Percent(percent) => (members * percent).div_ceil(100),
            };
            if target > targets.last().copied().unwrap_or(0) {
                targets.push(target);
            }
        }
        targets
    }

    /// How many are admitted after the batch that follows these.
    pub fn after(&self, admitted: usize, members: usize) -> usize {
        self.targets(members).into_iter().find(|target| *target > admitted).unwrap_or(members)
    }
}

fn target(word: &[u8]) -> Result<Target> {
    let wrong = || {
        Error::usage(format!(
            "{} is neither a number of members nor a percentage from 1% to 100%; write for example 1,25%,100%",
            shown(word)
        ))
    };
    let (digits, is_percent) = match word.strip_suffix(b"%") {
        Some(digits) => (digits, true),
        None => (word, false),
    };
    match number(digits, 6) {
        Some(percent @ 1..=100) if is_percent => Ok(Target::Percent(percent)),
        Some(count @ 1..) if !is_percent => Ok(Target::Count(count)),
        _ => Err(wrong()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn targets(batches: &str, members: usize) -> Vec<usize> {
        Batches::parse(batches.as_bytes()).unwrap().targets(members)
    }

    #[test]
    fn figures_are_targets_that_grow_and_not_sizes_that_add_up() {
        assert_eq!(targets("1,25%,100%", 8), [1, 2, 8]);
        assert_eq!(targets("1, 25%, 100%", 200), [1, 50, 200]);
        assert_eq!(targets("10%,50%,100%", 3), [1, 2, 3], "rounded up");
        assert_eq!(targets("1,25%,100%", 1), [1]);
        assert_eq!(targets("5,10%,100%", 20), [5, 20], "a batch that admits nobody");
        assert_eq!(targets("2,5", 5), [2, 5]);
        assert_eq!(targets("2,50", 5), [2, 5]);
        assert_eq!(Batches::default().targets(7), [7]);
        assert_eq!(Batches::default().targets(0), [0_usize; 0]);
        assert_eq!(
            targets("10%,20%", 10),
            [1, 2],
            "that it never reaches all is refused where the members are known"
        );
    }

    #[test]
    fn the_next_batch_goes_on_from_wherever_the_last_one_ended() {
        let batches = Batches::parse(b"1,25%,100%").unwrap();
        let after = |admitted| batches.after(admitted, 8);
        assert_eq!((after(0), after(1), after(2), after(5), after(8)), (1, 2, 8, 8, 8));
    }

    #[test]
    fn what_is_no_list_of_batches_is_refused() {
        for bad in [
            "",
            "0",
            "0%",
            "101%",
            "1,,100%",
            "1;100%",
            "-1",
            "x",
            "1.5%",
            "100 %",
            "1000000",
            "50%,10%,100%",
            "3,2",
        ] {
            assert!(Batches::parse(bad.as_bytes()).is_err(), "{bad}");
        }
    }
}
