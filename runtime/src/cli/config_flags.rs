//! One flag for each configuration key, made from the table of keys.
//!
//! clap neither reads the environment nor checks the values of these flags: [`Config::load`] does
//! both, so that a mistake is told in the same words wherever it was made.

use std::{path::PathBuf, sync::LazyLock};

use clap::{
    Arg, ArgAction, ArgMatches, Args, Command, Error, FromArgMatches,
    builder::NonEmptyStringValueParser, parser::ValueSource, value_parser,
};

use crate::config::{Config, ConfigErrors, KEYS, Key, Profile, Sources};

const HEADING: &str = "Configuration (file, overridden by environment, overridden by flags)";

/// The names of the flags, in the order of the table; clap wants to borrow them for ever.
static FLAGS: LazyLock<Vec<String>> = LazyLock::new(|| KEYS.iter().map(Key::flag).collect());

/// The configuration as the command line gives it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct ConfigFlags {
    file: Option<PathBuf>,
    values: Vec<(&'static str, String)>,
}

impl ConfigFlags {
    /// Reads the file and the environment as well.
    pub(super) fn load(&self, profile: Profile<'_>) -> Result<Config, ConfigErrors> {
        use std::io::IsTerminal;
        Config::load(
            profile,
            &Sources {
                file: self.file.as_deref(),
                environment: &|name| std::env::var_os(name),
                flags: &self.values,
                is_terminal: std::io::stderr().is_terminal(),
            },
        )
    }
}

impl FromArgMatches for ConfigFlags {
    fn from_arg_matches(matches: &ArgMatches) -> Result<Self, Error> {
        let given = |name: &str| matches.value_source(name) == Some(ValueSource::CommandLine);
        Ok(Self {
            file: matches.get_one("config").cloned(),
            values: KEYS
                .iter()
                .filter(|key| given(key.name))
                .filter_map(|key| {
                    let value = matches.get_one::<String>(key.name)?;
                    Some((key.name, value.clone()))
                })
                .collect(),
        })
    }

    fn update_from_arg_matches(&mut self, matches: &ArgMatches) -> Result<(), Error> {
        *self = Self::from_arg_matches(matches)?;
        Ok(())
    }
}

impl Args for ConfigFlags {
    fn augment_args(command: Command) -> Command {
        let file = Arg::new("config")
            .long("config")
            .value_name("FILE")
            .value_parser(value_parser!(PathBuf))
            .help("A YAML file of configuration keys, such as `server_port: 8080`");
        KEYS.iter()
            .zip(FLAGS.iter())
            .fold(command.arg(file), |command, (key, flag)| {
                let arg = Arg::new(key.name)
                    .long(flag.as_str())
                    .value_name("VALUE")
                    .action(ArgAction::Set)
                    .help_heading(HEADING)
                    .help(format!(
                        "{} [env: {}] [default: {}]",
                        key.doc,
                        key.env,
                        key.default_text()
                    ))
                    .long_help(format!(
                        "{}\n\n{}\n[key: {}] [env: {}] [default: {}]",
                        key.doc,
                        key.allowed,
                        key.name,
                        key.env,
                        key.default_text()
                    ));
                command.arg(match key.name {
                    // A switch may be given alone.
                    "enable_ha" => arg.num_args(0..=1).default_missing_value("true"),
                    "subject_prefix" => arg,
                    _ => arg.value_parser(NonEmptyStringValueParser::new()),
                })
            })
    }

    fn augment_args_for_update(command: Command) -> Command {
        Self::augment_args(command)
    }
}
