//! Reading Prometheus's text format (version 0.0.4), any family of it.

/// All samples of one answer.
#[derive(Debug, Default)]
pub(super) struct Exposition<'t> {
    samples: Vec<Sample<'t>>,
}

#[derive(Debug)]
pub(super) struct Sample<'t> {
    name: &'t str,
    labels: Vec<(&'t str, &'t str)>,
    pub(super) value: f64,
}

impl<'t> Exposition<'t> {
    /// Lines that are no samples are left out: what can be shown is shown.
    pub(super) fn parse(text: &'t str) -> Self {
        let lines = text.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#'));
        Self { samples: lines.filter_map(Sample::parse).collect() }
    }

    /// The samples of one name.
    pub(super) fn all(&self, name: &str) -> impl Iterator<Item = &Sample<'t>> {
        self.samples.iter().filter(move |sample| sample.name == name)
    }

    /// The first sample of one name.
    pub(super) fn one(&self, name: &str) -> Option<f64> {
        self.all(name).next().map(|sample| sample.value)
    }

    /// The sum over all labels; 0 for a family without samples.
    pub(super) fn sum(&self, name: &str) -> f64 {
        self.all(name).fold(0.0, |sum, sample| sum + sample.value)
    }
}

impl<'t> Sample<'t> {
    pub(super) fn label(&self, name: &str) -> Option<&'t str> {
        self.labels.iter().find(|(label, _)| *label == name).map(|(_, value)| *value)
    }

    fn parse(line: &'t str) -> Option<Self> {
        let end = line.find(['{', ' ', '\t'])?;
        let (name, rest) = line.split_at(end);
        let (labels, rest) = match rest.strip_prefix('{') {
            Some(rest) => labels(rest)?,
            None => (Vec::new(), rest),
        };
        let value = rest.split_ascii_whitespace().next()?.parse().ok()?;
        Some(Self { name, labels, value })
    }
}

/// `a="b",c="d"} 1`: the labels, with their escapes as they are, and what stands behind the brace.
fn labels(mut rest: &str) -> Option<(Vec<(&str, &str)>, &str)> {
    let mut labels = Vec::new();
    loop {
        rest = rest.trim_start_matches([',', ' ']);
        if let Some(behind) = rest.strip_prefix('}') {
            return Some((labels, behind));
        }
        let (name, value) = rest.split_once("=\"")?;
        let end = closing_quote(value)?;
        labels.push((name.trim(), &value[..end]));
        rest = &value[end + 1..];
    }
}

fn closing_quote(text: &str) -> Option<usize> {
    let mut escaped = false;
    text.bytes().position(|byte| {
        let closes = byte == b'"' && !escaped;
        escaped = byte == b'\\' && !escaped;
        closes
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn samples_are_found_by_name_and_label() {
        let text = "# HELP a b\na 1\nb{x=\"1\",le=\"+Inf\"} 2.5e+01 1700000000\nb{x=\"q\\\"}\", le=\"0.1\",} 3\n\nnonsense\nc{x=\"y 1\n";
        let exposition = Exposition::parse(text);
        assert_eq!((exposition.one("a"), exposition.one("c"), exposition.sum("b")), (Some(1.0), None, 28.0));
        let labels: Vec<_> = exposition.all("b").map(|sample| (sample.label("x"), sample.label("le"))).collect();
        assert_eq!(labels, [(Some("1"), Some("+Inf")), (Some("q\\\"}"), Some("0.1"))]);
        assert!(exposition.sum("none").is_sign_positive(), "nothing is not shown as -0");
    }
}
