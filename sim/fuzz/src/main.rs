//! Plays inputs of the targets outside of the fuzzer, and measures the transition target.
#![allow(clippy::print_stdout, reason = "this is what the command is for")]
#![allow(
    clippy::disallowed_types,
    reason = "it prints how long the work took for real"
)]

use anyhow::Context as _;
use clap::Parser;
use niyanta_core::rng::Rng;
use sim_fuzz::{TARGETS, Target, transition};
use std::{fs, path::PathBuf, time::Instant};

/// What the fuzz targets do, without a fuzzer.
#[derive(Debug, Parser)]
enum Command {
    /// Play files: what a crash that the fuzzer found does.
    Play {
        /// Which target.
        target: String,
        /// Which files.
        files: Vec<PathBuf>,
    },
    /// Tell a course of the transition target step by step, up to where it breaks.
    Tell {
        /// Which file.
        file: PathBuf,
    },
    /// Play random courses of the transition target, and print how many transitions a second it makes.
    Random {
        /// How many.
        #[arg(long, default_value_t = 1_000)]
        courses: u64,
        /// The first one's seed.
        #[arg(long, default_value_t = 0)]
        seed: u64,
        /// Nobody is lied to: what the store holds is judged to the end.
        #[arg(long)]
        sane: bool,
    },
    /// Play random bytes as inputs of a target.
    Bytes {
        /// Which target.
        target: String,
        /// How many.
        #[arg(long, default_value_t = 1_000)]
        inputs: u64,
        /// The first one's seed.
        #[arg(long, default_value_t = 0)]
        seed: u64,
    },
}

fn main() -> anyhow::Result<()> {
    match Command::parse() {
        Command::Play { target, files } => play(&target, &files),
        Command::Tell { file } => {
            let bytes = fs::read(&file).with_context(|| file.display().to_string())?;
            transition::tell(&bytes, |line| println!("{line}"));
            Ok(())
        }
        Command::Random {
            courses,
            seed,
            sane,
        } => {
            random(courses, seed, sane);
            Ok(())
        }
        Command::Bytes {
            target,
            inputs,
            seed,
        } => bytes(find(&target)?, inputs, seed),
    }
}

fn find(target: &str) -> anyhow::Result<&'static Target> {
    let found = TARGETS.iter().find(|known| known.name == target);
    let names: Vec<_> = TARGETS.iter().map(|known| known.name).collect();
    found.with_context(|| format!("targets are {}", names.join(", ")))
}

/// Half of the bytes are small, as counts and choices are.
fn bytes(target: &Target, inputs: u64, seed: u64) -> anyhow::Result<()> {
    for seed in seed..seed + inputs {
        let mut rng = Rng::new(seed).child("bytes");
        let length = 1 + rng.number() % 1_024;
        let bytes: Vec<u8> = (0..length)
            .map(|_| match rng.number().to_le_bytes() {
                [first, 0..128, ..] => first % 8,
                [first, ..] => first,
            })
            .collect();
        let outcome = std::panic::catch_unwind(|| (target.run)(&bytes));
        if outcome.is_err() {
            let file = format!("{}-{seed}", target.name);
            fs::write(&file, &bytes)?;
            anyhow::bail!("the input is in {file}");
        }
    }
    Ok(())
}

fn play(target: &str, files: &[PathBuf]) -> anyhow::Result<()> {
    let target = find(target)?;
    for file in files {
        println!("{}", file.display());
        let bytes = fs::read(file).with_context(|| file.display().to_string())?;
        (target.run)(&bytes);
    }
    Ok(())
}

fn random(courses: u64, seed: u64, sane: bool) {
    let began = Instant::now();
    let mut transitions = 0;
    for seed in seed..seed + courses {
        let mut rng = Rng::new(seed).child("course");
        let steps = 1 + rng.number() % 256;
        let bytes = (0..=steps).flat_map(|_| {
            let [a, b, c, d, ..] = rng.number().to_le_bytes();
            [a, b, c, d]
        });
        let mut course = transition::Course::read(&bytes.collect::<Vec<_>>());
        if sane {
            course
                .steps
                .retain(|step| step.verb != transition::Verb::Lie);
        }
        transitions += transition::run(&course.write());
    }
    let spent = began.elapsed().as_secs_f64();
    println!("{transitions} transitions of {courses} courses in {spent:.1} s");
}
