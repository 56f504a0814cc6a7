//! How a command ends when it does not end well.

use std::process::ExitCode;

use super::{output, problem::Problem};
use crate::config::ConfigErrors;

/// Exit status of a wrong usage, the same that clap uses.
pub(super) const USAGE: u8 = 2;

/// How a command ended.
pub(super) type Outcome<T = ExitCode> = Result<T, Failure>;

/// Why a command did not do what was asked.
#[derive(Debug)]
pub(super) enum Failure {
    /// The command line is wrong; nothing was tried.
    Usage(String),
    /// The configuration is wrong; each line of it says what and where.
    Configuration(ConfigErrors),
    /// It was tried and failed. The hint says what to do, where that is known.
    Failed {
        /// What failed.
        what: String,
        /// What to do about it.
        hint: Option<String>,
    },
    /// The server refused, and said why.
    Refused(Box<Problem>),
    /// Whoever read our output has gone: there is nobody to tell, and nothing went wrong.
    OutputClosed,
}

impl Failure {
    pub(super) fn usage(what: impl Into<String>) -> Self {
        Self::Usage(what.into())
    }

    pub(super) fn failed(what: impl Into<String>) -> Self {
        Self::Failed {
            what: what.into(),
            hint: None,
        }
    }

    pub(super) fn with_hint(what: impl Into<String>, hint: impl Into<String>) -> Self {
        Self::Failed {
            what: what.into(),
            hint: Some(hint.into()),
        }
    }

    /// What went wrong, in short.
    pub(super) fn first_line(&self) -> String {
        match self {
            Self::Usage(what) | Self::Failed { what, .. } => what.clone(),
            Self::Refused(problem) => {
                let text = problem.to_string();
                text.lines().next().unwrap_or_default().to_owned()
            }
            Self::Configuration(_) | Self::OutputClosed => String::new(),
        }
    }

    /// Says it on standard error; the exit status that goes with it.
    pub(super) fn report(&self) -> ExitCode {
        match self {
            Self::Usage(what) => {
                output::say(&format!("error: {what}"));
                ExitCode::from(USAGE)
            }
            Self::Configuration(errors) => {
                output::say(&errors.to_string());
                ExitCode::from(USAGE)
            }
            Self::Failed { what, hint } => {
                output::say(&format!("error: {what}"));
                if let Some(hint) = hint {
                    output::say(&format!("hint: {hint}"));
                }
                ExitCode::FAILURE
            }
            Self::Refused(problem) => {
                output::say(&format!("error: {problem}"));
                ExitCode::FAILURE
            }
            Self::OutputClosed => ExitCode::SUCCESS,
        }
    }
}

/// The causes are joined into the one line.
impl From<anyhow::Error> for Failure {
    fn from(error: anyhow::Error) -> Self {
        Self::failed(format!("{error:#}"))
    }
}

impl From<ConfigErrors> for Failure {
    fn from(errors: ConfigErrors) -> Self {
        Self::Configuration(errors)
    }
}
