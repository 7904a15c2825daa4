//! What became of a key, and how many of each.

use kes_crypto::Fingerprint;
use kes_keystore::KeyName;

/// What became of a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// The target had the same value already.
    Same,
    /// It was not there, and is now; read back and compared.
    Copied,
    /// Another value was there and had to make way (`--force`).
    Replaced,
    /// Another value was there and stays (`--merge`).
    Skipped,
    /// Another value is there, and nobody said what to do with it.
    Differs,
    /// The source holds no key under this name, or does not hand it out.
    Unreadable,
    /// The target did not take it, or does not return it.
    Failed,
}

impl Verdict {
    pub(super) const ALL: [Self; 7] =
        [Self::Copied, Self::Same, Self::Replaced, Self::Skipped, Self::Differs, Self::Unreadable, Self::Failed];

    pub(super) const fn as_str(self) -> &'static str {
        match self {
            Self::Same => "same",
            Self::Copied => "copied",
            Self::Replaced => "replaced",
            Self::Skipped => "skipped",
            Self::Differs => "differs",
            Self::Unreadable => "unreadable",
            Self::Failed => "failed",
        }
    }

    pub(super) fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|verdict| verdict.as_str() == text)
    }

    /// Whether the target ends up as it was asked for.
    pub(super) const fn is_good(self) -> bool {
        matches!(self, Self::Same | Self::Copied | Self::Replaced | Self::Skipped)
    }
}

/// The verdict on one key.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Record {
    pub(super) name: KeyName,
    pub(super) verdict: Verdict,
    /// Of the source's value.
    pub(super) fingerprint: Option<Fingerprint>,
    /// Of the target's value, where that is another one.
    pub(super) target: Option<Fingerprint>,
    pub(super) problem: Option<String>,
    /// A store was not there or did not answer: it would be the same with the next key.
    pub(super) outage: bool,
}

impl Record {
    pub(super) fn new(name: KeyName, verdict: Verdict) -> Self {
        Self { name, verdict, fingerprint: None, target: None, problem: None, outage: false }
    }

    pub(super) fn with(self, fingerprint: Fingerprint) -> Self {
        Self { fingerprint: Some(fingerprint), ..self }
    }
}

/// How many keys of each verdict.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Tally([u64; Verdict::ALL.len()]);

impl Tally {
    pub(super) fn add(&mut self, verdict: Verdict) {
        self.0[verdict as usize] += 1;
    }

    pub(super) fn of(&self, verdict: Verdict) -> u64 {
        self.0[verdict as usize]
    }

    pub(super) fn all(&self) -> u64 {
        self.0.iter().sum()
    }

    /// Keys that the target has got.
    pub(super) fn migrated(&self) -> u64 {
        self.of(Verdict::Copied) + self.of(Verdict::Replaced)
    }

    /// Keys that the target has not got, or not so.
    pub(super) fn bad(&self) -> u64 {
        self.of(Verdict::Differs) + self.of(Verdict::Unreadable) + self.of(Verdict::Failed)
    }
}

impl std::fmt::Display for Tally {
    /// `3 copied, 1 same`; empty if there is nothing.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let parts = Verdict::ALL.into_iter().filter(|verdict| self.of(*verdict) > 0);
        let parts: Vec<_> = parts.map(|verdict| format!("{} {}", self.of(verdict), verdict.as_str())).collect();
        f.write_str(&parts.join(", "))
    }
}
