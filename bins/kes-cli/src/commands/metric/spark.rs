//! Small graphs of one line.

const BLOCKS: [char; 8] = ['▁', '▂', '▃', '▄', '▅', '▆', '▇', '█'];
const ASCII: [char; 8] = ['_', '.', '-', ':', '=', '+', '*', '#'];

/// The last `width` values, from zero to `top` or, without it, to the greatest; a value that is missing is a gap.
pub(super) fn line(values: &[Option<f64>], width: usize, top: Option<f64>, unicode: bool) -> String {
    let values = &values[values.len().saturating_sub(width)..];
    let top = top.unwrap_or_else(|| values.iter().flatten().copied().fold(0.0, f64::max));
    let steps = if unicode { BLOCKS } else { ASCII };
    let mark = |value: &Option<f64>| match value {
        None => ' ',
        Some(value) if top > 0.0 => {
            let step = (value / top * steps.len() as f64).ceil() as usize;
            steps[step.clamp(1, steps.len()) - 1]
        }
        Some(_) => steps[0],
    };
    values.iter().map(mark).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_greatest_value_is_the_full_height() {
        let values = [Some(0.0), Some(1.0), None, Some(4.0), Some(8.0)];
        assert_eq!(line(&values, 10, None, true), "▁▁ ▄█");
        assert_eq!(line(&values, 2, None, true), "▄█");
        assert_eq!(line(&values, 10, Some(16.0), false), "__ .:");
        assert_eq!(line(&[Some(0.0), None], 10, None, true), "▁ ");
        assert_eq!(line(&[], 10, None, true), "");
        assert_eq!(line(&values, 0, None, true), "");
    }
}
