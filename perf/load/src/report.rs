//! What is printed.

use crate::measure::{Line, Opt};
use crate::world::Target;
use crate::{Res, e, system};
use std::fmt::Write as _;

/// Whether the third target is the limit, of which shares are told.
pub fn has_limit(targets: &[Target]) -> bool {
    targets.len() == 3 && targets[2].name == "limit"
}

pub fn head(targets: &[Target], server_cpu: &[usize], load_cpu: &[usize], opt: &Opt) {
    let others: Vec<&str> = targets[1..].iter().map(|target| target.name.as_str()).collect();
    println!(
        "# base {} | {} | server on cpu {server_cpu:?}, generator on cpu {load_cpu:?} | {} reps of {} s | load average {}",
        targets[0].name,
        others.join(", "),
        opt.reps,
        opt.slice,
        system::load_average()
    );
}

pub fn line(line: &Line, targets: &[Target]) {
    let Line { measure, unit, vals, ratios, .. } = line;
    if targets.len() == 1 {
        println!("{measure}: {:.2} {unit}  [{:.2}..{:.2}]", vals[0].1, vals[0].0, vals[0].2);
    } else if has_limit(targets) {
        let share = 100.0 * line.share;
        println!(
            "{measure}: {:.2}x  [{:.2}..{:.2}]  {:.2} -> {:.2} {unit}; limit {:.2} = {:.2}x, {share:.0}% of the limit",
            ratios[1].1, ratios[1].0, ratios[1].2, vals[0].1, vals[1].1, vals[2].1, ratios[2].1
        );
    } else {
        for (at, target) in targets.iter().enumerate().skip(1) {
            let name = if targets.len() > 2 { format!(" ({})", target.name) } else { String::new() };
            let (low, median, high) = ratios[at];
            println!("{measure}{name}: {median:.2}x  [{low:.2}..{high:.2}]  {:.2} -> {:.2} {unit}", vals[0].1, vals[at].1);
        }
    }
    if !line.note.is_empty() {
        println!("    {}", line.note);
    }
}

pub fn markdown(lines: &[Line], targets: &[Target]) -> String {
    let mut table = String::from("| measure | unit |");
    targets.iter().for_each(|target| table += &format!(" {} min/med/max |", target.name));
    targets[1..].iter().for_each(|target| table += &format!(" {}/{} |", targets[0].name, target.name));
    table += &format!("\n|---|---|{}\n", "---|".repeat(targets.len() * 2 - 1));
    for line in lines {
        let _ = write!(table, "| {} | {} |", line.measure, line.unit);
        for (low, median, high) in &line.vals {
            let _ = if low == high { write!(table, " {median:.1} |") } else { write!(table, " {low:.1} / **{median:.1}** / {high:.1} |") };
        }
        line.ratios[1..].iter().for_each(|ratio| table += &format!(" {:.2} |", ratio.1));
        table += "\n";
    }
    table
}

/// Goals: `MEASURE >= RATIO` or `MEASURE >= SHARE%` in each line, `#` for comments, against the medians of the second target.
pub struct Goals(Vec<(String, f64, bool)>);

impl Goals {
    pub fn read(file: &str) -> Res<Self> {
        let text = std::fs::read_to_string(file).map_err(e("goals"))?;
        let lines = text.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#'));
        let goals = lines.map(|line| {
            let (measure, value) = line.rsplit_once(">=").ok_or_else(|| format!("goals: {line}"))?;
            let share = value.trim().ends_with('%');
            let value = value.trim().trim_end_matches('%').trim().parse().map_err(e("goals"))?;
            Ok((measure.trim().to_owned(), value, share))
        });
        goals.collect::<Res<_>>().map(Self)
    }

    /// Prints PASS, MISS or SKIP for each; answers the number of misses.
    pub fn compare(&self, lines: &[Line], limit: bool, short: bool) -> usize {
        let mut missed = 0;
        for (measure, goal, share) in &self.0 {
            let line = lines.iter().find(|line| line.measure == *measure && line.ratios.len() > 1);
            let value = match line {
                Some(line) if *share && limit => Some(100.0 * line.share),
                Some(line) if !share => Some(line.ratios[1].1),
                _ => None,
            };
            let unit = if *share { "%" } else { "x" };
            match value {
                Some(value) if value >= *goal => println!("PASS {measure}: {value:.2}{unit} >= {goal}{unit}"),
                None if short || *share => println!("SKIP {measure}: not measured"),
                value => {
                    missed += 1;
                    println!("MISS {measure}: {:.2}{unit} < {goal}{unit}", value.unwrap_or(f64::NAN));
                }
            }
        }
        missed
    }
}
