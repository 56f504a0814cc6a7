//! What happened, as one number and, when asked, as a story.
//!
//! Every step of a run is folded into a chained hash: two runs of one seed did the same exactly when
//! their hashes agree. Words are only made when somebody reads them.

use crate::{clock::Moment, decision::mix, picture::Picture, story::named};
use std::{
    fmt::{self, Write},
    hash::{Hash, Hasher},
};

/// The hash of a run so far, and its story if one is being told.
#[derive(Debug, Default)]
pub struct Trace {
    hash: [u64; 2],
    steps: u64,
    story: Option<Vec<Line>>,
    picture: Picture,
    hashes: Vec<u64>,
    /// Room for what prints.
    printed: String,
}

/// One line of the story.
#[derive(Debug, Clone)]
pub struct Line {
    /// When, in true time.
    pub at: Moment,
    /// Which step of the run.
    pub step: u64,
    /// Who: `c0`, `w1`, `store`, `client2`, `fault`.
    pub who: String,
    /// What.
    pub text: String,
}

impl Trace {
    /// A trace that keeps its story when `story` is set.
    #[must_use]
    pub fn new(story: bool) -> Self {
        Self {
            hash: [0x243f_6a88_85a3_08d3, 0x1319_8a2e_0370_7344],
            steps: 0,
            story: story.then(Vec::new),
            picture: Picture::default(),
            hashes: Vec::new(),
            printed: String::new(),
        }
    }

    /// Begins a step.
    pub fn step(&mut self, at: Moment) {
        if self.is_told() && self.steps > 0 {
            self.hashes.push(self.hash[0]);
        }
        self.steps += 1;
        self.fold(at.0);
    }

    /// Folds a word into the hash.
    pub fn fold(&mut self, word: u64) {
        let [a, b] = self.hash;
        let next = mix(a ^ word);
        self.hash = [next, b.rotate_left(23) ^ next.wrapping_add(word)];
    }

    /// Folds a value into the hash, word for word as it is made of.
    pub fn fold_value(&mut self, value: &impl Hash) {
        value.hash(&mut Folder(self));
    }

    /// Folds bytes into the hash.
    pub fn fold_bytes(&mut self, bytes: &[u8]) {
        self.fold(u64::try_from(bytes.len()).unwrap_or(0));
        for chunk in bytes.chunks(8) {
            let mut word = [0; 8];
            word[..chunk.len()].copy_from_slice(chunk);
            self.fold(u64::from_le_bytes(word));
        }
    }

    /// Folds what prints into the hash.
    pub fn fold_debug(&mut self, value: &dyn fmt::Debug) {
        // What prints comes in small pieces, and a hash is quickest over large ones.
        let mut text = std::mem::take(&mut self.printed);
        text.clear();
        // Writing into a text cannot fail.
        let _infallible = write!(text, "{value:?}");
        self.fold_bytes(text.as_bytes());
        self.printed = text;
    }

    /// Adds a line to the story, if one is told.
    pub fn tell(&mut self, at: Moment, who: impl fmt::Display, text: impl FnOnce() -> String) {
        let step = self.steps;
        if let Some(story) = &mut self.story {
            story.push(Line {
                at,
                step,
                who: who.to_string(),
                text: named(&text()),
            });
        }
    }

    /// Adds to the picture, if a story is told.
    pub(crate) fn draw(&mut self, add: impl FnOnce(&mut Picture)) {
        if self.is_told() {
            add(&mut self.picture);
        }
    }

    /// What can be drawn of the run.
    #[must_use]
    pub const fn picture(&self) -> &Picture {
        &self.picture
    }

    /// True when a story is told.
    #[must_use]
    pub const fn is_told(&self) -> bool {
        self.story.is_some()
    }

    /// The hash so far.
    #[must_use]
    pub const fn hash(&self) -> u128 {
        let [a, b] = self.hash;
        ((a as u128) << 64) | b as u128
    }

    /// The hash after each step but the last, if a story is told: where two runs part.
    #[must_use]
    pub fn hashes(&self) -> &[u64] {
        &self.hashes
    }

    /// How many steps were folded.
    #[must_use]
    pub const fn steps(&self) -> u64 {
        self.steps
    }

    /// The story so far.
    #[must_use]
    pub fn story(&self) -> &[Line] {
        self.story.as_deref().unwrap_or_default()
    }
}

/// Folds whatever is written to it into a trace.
struct Folder<'a>(&'a mut Trace);

impl Hasher for Folder<'_> {
    fn write(&mut self, bytes: &[u8]) {
        for chunk in bytes.chunks(8) {
            let mut word = [0; 8];
            word[..chunk.len()].copy_from_slice(chunk);
            self.0.fold(u64::from_le_bytes(word));
        }
    }

    fn write_u8(&mut self, word: u8) {
        self.0.fold(word.into());
    }

    fn write_u16(&mut self, word: u16) {
        self.0.fold(word.into());
    }

    fn write_u32(&mut self, word: u32) {
        self.0.fold(word.into());
    }

    fn write_u64(&mut self, word: u64) {
        self.0.fold(word);
    }

    fn finish(&self) -> u64 {
        self.0.hash[0]
    }
}
