//! `tasks`, asked of a build whose tasks run in tokio's order: makes the other build, and hands over.

use anyhow::Context as _;
use std::{
    env,
    path::{Path, PathBuf},
    process::{Command, ExitCode},
};

/// Has the build with `--cfg madsim` do what this one was asked for.
pub(crate) fn hand_over() -> anyhow::Result<ExitCode> {
    let program = build()?;
    let mut command = Command::new(&program);
    let status = command.args(env::args_os().skip(1)).status();
    let status = status.with_context(|| format!("{} does not start", program.display()))?;
    Ok(if status.success() {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

/// Builds this program once more, in a folder beside its own, and says where it is.
fn build() -> anyhow::Result<PathBuf> {
    let folder = folder()?;
    let cargo = env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let manifest = Path::new(env!("CARGO_MANIFEST_DIR")).join("Cargo.toml");
    let mut command = Command::new(cargo);
    command.args(["build", "--quiet", "--bin", "sim", "--manifest-path"]);
    command.arg(manifest).arg("--target-dir").arg(&folder);
    for (package, level) in OPTIMISED {
        let setting = format!("profile.dev.package.\"{package}\".opt-level={level}");
        command.arg("--config").arg(setting);
    }
    // The one that is given encoded would win over the other.
    command.env_remove("CARGO_ENCODED_RUSTFLAGS");
    command.env("RUSTFLAGS", "--cfg madsim --cfg tokio_unstable");
    command.env("CARGO_INCREMENTAL", "0");
    command.env("CARGO_PROFILE_DEV_DEBUG", "0");
    let status = command.status().context("cargo does not start")?;
    anyhow::ensure!(status.success(), "the build with --cfg madsim fails");
    Ok(folder.join("debug").join("sim"))
}

/// `tmp/madsim` in the target folder that this program is in.
fn folder() -> anyhow::Result<PathBuf> {
    let program = env::current_exe().context("this program cannot be found")?;
    let target = program.parent().and_then(Path::parent);
    let target = target.context("this program is in no target folder")?;
    Ok(target.join("tmp").join("madsim"))
}

/// What runs all the time in this build alone, and how far it is optimised; the workspace says it of
/// what runs in both.
const OPTIMISED: [(&str, u8); 6] = [
    ("madsim", 3),
    ("async-task", 2),
    ("naive-timer", 2),
    ("spin", 2),
    ("rand@0.8", 2),
    ("rand_xoshiro", 2),
];
