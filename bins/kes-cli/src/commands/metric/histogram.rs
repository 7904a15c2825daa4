//! Durations in buckets, and what can be told of them.

use super::exposition::{Exposition, Sample};

/// Counts by upper bound, in seconds; the last bound is infinite.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Histogram {
    /// Bound and how many lie below it, cumulative, in ascending order.
    buckets: Vec<(f64, f64)>,
    sum: f64,
}

/// A share of all durations was below this, as exactly as buckets tell.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Quantile {
    /// Somewhere below the smallest bound.
    Below(f64),
    About(f64),
    /// Somewhere above the greatest bound.
    Above(f64),
}

impl Histogram {
    /// The histogram of a family, summed over the samples that `wanted` chooses.
    pub(super) fn read(exposition: &Exposition<'_>, family: &str, wanted: impl Fn(&Sample<'_>) -> bool) -> Self {
        let mut histogram = Self::default();
        for sample in exposition.all(&format!("{family}_bucket")).filter(|sample| wanted(sample)) {
            let Some(bound) = sample.label("le").and_then(|bound| bound.parse::<f64>().ok()) else { continue };
            match histogram.buckets.iter_mut().find(|(known, _)| *known == bound) {
                Some((_, count)) => *count += sample.value,
                None => histogram.buckets.push((bound, sample.value)),
            }
        }
        histogram.buckets.sort_by(|(a, _), (b, _)| a.total_cmp(b));
        let sum = format!("{family}_sum");
        histogram.sum = exposition.all(&sum).filter(|sample| wanted(sample)).map(|sample| sample.value).sum();
        histogram
    }

    pub(super) fn count(&self) -> f64 {
        self.buckets.last().map_or(0.0, |(_, count)| *count)
    }

    /// What came on top of `before`. A server that has started anew counts from zero, and so does this.
    pub(super) fn since(&self, before: &Self) -> Self {
        if self.count() < before.count() || self.buckets.len() < before.buckets.len() {
            return self.clone();
        }
        let earlier = |bound: f64| before.buckets.iter().find(|(known, _)| *known == bound).map_or(0.0, |(_, n)| *n);
        let buckets = self.buckets.iter().map(|(bound, count)| (*bound, (count - earlier(*bound)).max(0.0))).collect();
        Self { buckets, sum: (self.sum - before.sum).max(0.0) }
    }

    /// Mean in seconds; `None` of nothing.
    pub(super) fn mean(&self) -> Option<f64> {
        (self.count() > 0.0).then(|| self.sum / self.count())
    }

    /// Interpolated within the bucket, as Prometheus does; `None` of nothing.
    pub(super) fn quantile(&self, share: f64) -> Option<Quantile> {
        let rank = share * self.count();
        if self.count() <= 0.0 {
            return None;
        }
        let at = self.buckets.iter().position(|(_, count)| *count >= rank)?;
        let (bound, count) = self.buckets[at];
        let below = at.checked_sub(1).map(|before| self.buckets[before]);
        Some(match below {
            None if bound.is_finite() => Quantile::Below(bound),
            None => return None,
            Some((lower, _)) if bound.is_infinite() => Quantile::Above(lower),
            Some((lower, before)) if count > before => {
                Quantile::About(lower + (bound - lower) * (rank - before) / (count - before))
            }
            Some(_) => Quantile::About(bound),
        })
    }
}

impl Quantile {
    pub(super) fn seconds(self) -> f64 {
        let (Self::Below(seconds) | Self::About(seconds) | Self::Above(seconds)) = self;
        seconds
    }
}

impl std::fmt::Display for Quantile {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let sign = match self {
            Self::Below(_) => "<",
            Self::About(_) => "",
            Self::Above(_) => ">",
        };
        write!(f, "{sign}{}", duration(self.seconds()))
    }
}

/// `850ns`, `12µs`, `1.2ms`, `3.40s`.
pub(super) fn duration(seconds: f64) -> String {
    match seconds {
        s if s < 1e-6 => format!("{:.0}ns", s * 1e9),
        s if s < 0.995e-4 => format!("{:.1}µs", s * 1e6),
        s if s < 0.9995e-3 => format!("{:.0}µs", s * 1e6),
        s if s < 0.0995 => format!("{:.1}ms", s * 1e3),
        s if s < 0.9995 => format!("{:.0}ms", s * 1e3),
        s => format!("{s:.2}s"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn histogram(counts: [f64; 4]) -> Histogram {
        let bounds = [0.01, 0.05, 0.1, f64::INFINITY];
        Histogram { buckets: bounds.into_iter().zip(counts).collect(), sum: counts[3] * 0.02 }
    }

    #[test]
    fn shares_are_interpolated_within_a_bucket() {
        let all = histogram([50.0, 90.0, 99.0, 100.0]);
        assert_eq!(all.quantile(0.5), Some(Quantile::Below(0.01)));
        assert_eq!(all.quantile(0.7).unwrap().to_string(), "30.0ms");
        assert_eq!(all.quantile(0.999), Some(Quantile::Above(0.1)));
        assert_eq!(Histogram::default().quantile(0.5), None);
        assert_eq!(histogram([0.0; 4]).quantile(0.5), None);
        assert_eq!(all.mean(), Some(0.02));
    }

    #[test]
    fn only_what_came_on_top_counts_and_a_restart_is_no_negative_number() {
        let (before, after) = (histogram([1.0, 2.0, 3.0, 4.0]), histogram([2.0, 4.0, 6.0, 8.0]));
        assert_eq!(after.since(&before).count(), 4.0);
        assert_eq!(before.since(&after).count(), 4.0);
        assert_eq!(after.since(&Histogram::default()), after);
    }

    #[test]
    fn labels_are_summed() {
        let text = "h_bucket{r=\"a\",le=\"0.1\"} 1\nh_bucket{r=\"a\",le=\"+Inf\"} 2\nh_bucket{r=\"b\",le=\"0.1\"} 3\n\
                    h_bucket{r=\"b\",le=\"+Inf\"} 3\nh_bucket{r=\"c\",le=\"+Inf\"} 9\nh_sum{r=\"a\"} 1\nh_sum{r=\"b\"} 0.5\n";
        let read = Histogram::read(&Exposition::parse(text), "h", |sample| sample.label("r") != Some("c"));
        assert_eq!(read, Histogram { buckets: vec![(0.1, 4.0), (f64::INFINITY, 5.0)], sum: 1.5 });
    }

    #[test]
    fn durations_are_short() {
        let shown = [5e-8, 5e-6, 85.4e-6, 850e-6, 0.00123, 0.05, 0.25, 3.4].map(duration);
        assert_eq!(shown, ["50ns", "5.0µs", "85.4µs", "850µs", "1.2ms", "50.0ms", "250ms", "3.40s"]);
    }
}
