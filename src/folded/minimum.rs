//! The least weight that stays in a profile: `500` or `0.1%`.

use std::str::FromStr;

/// The least weight of a stack or a frame.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Minimum {
    /// In the profile's unit.
    Weight(u64),
    /// In percent of the weight of all stacks.
    Percent(f64),
}

impl Minimum {
    /// Whether `weight` is enough in a profile that weighs `all`.
    pub fn is_met(self, weight: u64, all: f64) -> bool {
        match self {
            Minimum::Weight(least) => weight >= least,
            Minimum::Percent(percent) => weight as f64 * 100.0 >= percent * all,
        }
    }
}

/// Why a text is not a [`Minimum`].
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum NoMinimum {
    /// It is no whole number.
    #[error("expected a weight such as 500, or a share such as 0.1%")]
    Weight,
    /// There is no number before the `%`.
    #[error("expected a number before the %")]
    Share,
    /// The share is negative, or more than everything.
    #[error("a share must be 0% to 100%")]
    Range,
}

impl FromStr for Minimum {
    type Err = NoMinimum;

    fn from_str(text: &str) -> Result<Minimum, NoMinimum> {
        let Some(percent) = text.strip_suffix('%') else {
            return text.parse().map(Minimum::Weight).map_err(|_| NoMinimum::Weight);
        };
        let percent: f64 = percent.parse().map_err(|_| NoMinimum::Share)?;
        if !(0.0..=100.0).contains(&percent) {
            return Err(NoMinimum::Range);
        }
        Ok(Minimum::Percent(percent))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn weights_and_shares_are_read() {
        for (text, minimum) in [
            ("500", Ok(Minimum::Weight(500))),
            ("0.1%", Ok(Minimum::Percent(0.1))),
            ("1.5", Err(NoMinimum::Weight)),
            ("%", Err(NoMinimum::Share)),
            ("NaN%", Err(NoMinimum::Range)),
            ("101%", Err(NoMinimum::Range)),
        ] {
            assert_eq!(text.parse(), minimum, "{text}");
        }
    }
}
