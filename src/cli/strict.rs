//! `--strict`: the exit status says whether the profile is good enough.

use clap::Args;

use super::io::say;
use super::program::Done;
use crate::tally::Tally;

/// `--strict`, the same in all programs that read profiles.
#[derive(Args, Clone, Debug, Default)]
pub(crate) struct StrictArgs {
    /// Exit with 3 if anything was skipped, lost, truncated or unresolved. With PCT, exit with 3 if
    /// less than PCT % of the recorded weight is in the output with a whole stack and a named
    /// function
    #[arg(long, value_name = "PCT", num_args = 0..=1, require_equals = true,
          default_missing_value = "clean", value_parser = parse)]
    strict: Option<Strict>,
}

/// A demand on a profile.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Strict {
    /// Nothing is wrong with it.
    Clean,
    /// At least this percentage of its weight is good.
    Percent(f64),
}

impl StrictArgs {
    /// Whether anything is demanded.
    pub(crate) fn is_given(&self) -> bool {
        self.strict.is_some()
    }

    /// [`Done::Gate`] if the profile does not meet the demand. `program` says why, if the quality
    /// line does not.
    pub(crate) fn done(&self, program: &str, tally: &Tally) -> Done {
        let is_met = match self.strict {
            None => true,
            Some(Strict::Clean) => tally.is_clean(),
            Some(Strict::Percent(least)) => {
                let share = tally.good_share();
                let is_met = share.is_some_and(|share| share * 100.0 >= least);
                if !is_met {
                    let good = match share {
                        Some(share) => format!("only {:.2} % of the weight is good", share * 100.0),
                        None => "nobody knows how much of the weight is missing".into(),
                    };
                    say(program, format_args!("{good}, and --strict={least} was given"));
                }
                is_met
            }
        };
        if is_met { Done::Ok } else { Done::Gate }
    }
}

fn parse(text: &str) -> Result<Strict, String> {
    if text == "clean" {
        return Ok(Strict::Clean);
    }
    match text.parse() {
        Ok(percent) if (0.0..=100.0).contains(&percent) => Ok(Strict::Percent(percent)),
        _ => Err("a percentage between 0 and 100 is expected".into()),
    }
}
