//! A sample that misses no key and no form: evenly spread over all that there is, the same at every run, in bounded
//! memory however much there is.

use std::collections::BTreeMap;

use kes_crypto::Form;

use super::sealed::Sealed;

/// Collects sealed keys and keeps some of them.
pub(super) struct Sample {
    size: usize,
    /// By key and by form of the ciphertext.
    strata: BTreeMap<(String, &'static str, String), Stratum>,
    pub(super) found: usize,
}

/// Every `step`-th of those that were seen.
struct Stratum {
    kept: Vec<Sealed>,
    step: usize,
    seen: usize,
}

impl Sample {
    pub(super) fn new(size: usize) -> Self {
        Self { size: size.max(1), strata: BTreeMap::new(), found: 0 }
    }

    pub(super) fn add(&mut self, sealed: Sealed) {
        self.found += 1;
        let form = Form::of(&sealed.ciphertext);
        let kind = match &sealed.malformed {
            Some(_) => "malformed",
            None => form.layout.as_str(),
        };
        // Forms with a label are told apart by it as well: their ciphers may need different readers.
        let label = form.label.map(|label| label.algorithm()).unwrap_or_default();
        let stratum = self.strata.entry((sealed.key.clone(), kind, format!("{}{label}", form.generation)));
        stratum.or_insert_with(|| Stratum { kept: Vec::new(), step: 1, seen: 0 }).add(sealed, self.size);
    }

    /// The sample: at least one of each key and form, and otherwise as many as were asked for.
    pub(super) fn take(self) -> Vec<Sealed> {
        let mut strata: Vec<_> = self.strata.into_values().map(|stratum| stratum.kept).collect();
        let mut shares = vec![0_usize; strata.len()];
        let mut left = self.size.max(strata.len());
        // One after the other, until all are shared out or nothing is left to share.
        while left > 0 {
            let before = left;
            for (share, kept) in shares.iter_mut().zip(&strata) {
                if *share < kept.len() && left > 0 {
                    *share += 1;
                    left -= 1;
                }
            }
            if left == before {
                break;
            }
        }
        strata.iter_mut().zip(shares).flat_map(|(kept, share)| spread(std::mem::take(kept), share)).collect()
    }
}

impl Stratum {
    fn add(&mut self, sealed: Sealed, size: usize) {
        if self.seen.is_multiple_of(self.step) {
            self.kept.push(sealed);
        }
        self.seen += 1;
        if self.kept.len() >= 2 * size {
            let mut position = 0;
            self.kept.retain(|_| {
                position += 1;
                position % 2 == 1
            });
            self.step *= 2;
        }
    }
}

/// So many of them, at even distances.
fn spread(all: Vec<Sealed>, share: usize) -> Vec<Sealed> {
    let length = all.len();
    if share >= length {
        return all;
    }
    let wanted: Vec<usize> = (0..share).map(|at| at * length / share).collect();
    all.into_iter().enumerate().filter(|(at, _)| wanted.binary_search(at).is_ok()).map(|(_, sealed)| sealed).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sealed(key: &str, number: usize) -> Sealed {
        Sealed { source: number.to_string(), key: key.to_owned(), ..Sealed::default() }
    }

    #[test]
    fn a_sample_misses_no_key_and_is_spread_evenly() {
        let mut sample = Sample::new(10);
        (0..10_000).for_each(|number| sample.add(sealed("usual", number)));
        sample.add(sealed("rare", 10_000));
        assert_eq!(sample.found, 10_001);
        assert!(sample.strata.values().all(|stratum| stratum.kept.len() < 20));
        let taken = sample.take();
        assert_eq!(taken.len(), 10);
        assert_eq!(taken.iter().filter(|sealed| sealed.key == "rare").count(), 1);
        let usual: Vec<usize> =
            taken.iter().filter(|sealed| sealed.key == "usual").map(|sealed| sealed.source.parse().unwrap()).collect();
        assert!(usual[0] < 1_500 && usual[8] > 8_000 && usual.windows(2).all(|two| two[0] < two[1]), "{usual:?}");
    }

    #[test]
    fn few_are_all_taken_and_many_keys_get_one_each() {
        let mut sample = Sample::new(100);
        (0..7).for_each(|number| sample.add(sealed("k", number)));
        assert_eq!(sample.take().len(), 7);
        let mut sample = Sample::new(2);
        (0..30).for_each(|number| sample.add(sealed(&format!("k{}", number % 5), number)));
        assert_eq!(sample.take().len(), 5);
    }
}
