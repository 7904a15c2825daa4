//! Paired load generator for KES servers; `../../run.sh` is the usual way to call it, `../../README.md` says what is measured and how.
//!
//! `kes-load pair NAME=BIN NAME=BIN [NAME=BIN] [options]` starts every server with `--config FILE` (pinned to one core, same certificates,
//! same policy, own filesystem store with the same keys), then measures them in interleaved slices. The first is the base; a ratio is
//! base/other, so 2.00x means that the other needs half of the base's CPU.
//! `kes-load serve NAME=BIN` starts one with the same configuration and tells its address and folder, for other tools.

#![expect(clippy::disallowed_methods, reason = "a generator waits in threads of its own")]

mod loops;
mod measure;
mod report;
mod request;
mod system;
mod world;

use measure::{FULL, Line, Opt, SHORT, estimate, measure};
use report::Goals;
use std::collections::BTreeMap;
use std::io::Read;
use std::time::{Duration, Instant};
use world::{Server, Target, World, client_config, start};

type Res<T> = Result<T, String>;

/// Names what failed.
fn e<T: std::fmt::Display>(what: &'static str) -> impl Fn(T) -> String {
    move |error| format!("{what}: {error}")
}

const USAGE: &str = "kes-load pair NAME=BIN[,ENV=VALUE...] NAME=BIN... [--short] [--measure M]... [--only TEXT] [--reps N] [--slice S]
              [--goals FILE] [--raw FILE] [--md FILE] [--server-cpu 0] [--load-cpu 1] [--audit off|on] [--keys N] [--budget S] [--no-rt]
              [--mlock] [--keep]
kes-load serve NAME=BIN      (prints address, pid and folder; ends with its input)";

fn main() {
    let code = Arguments::parse(std::env::args().skip(1)).and_then(|arguments| match arguments.command.as_str() {
        "pair" => pair(&arguments),
        "serve" => serve(&arguments),
        _ => Err(USAGE.into()),
    });
    std::process::exit(code.unwrap_or_else(|error| {
        eprintln!("kes-load: {error}");
        if error == USAGE { 64 } else { 1 }
    }));
}

struct Arguments {
    command: String,
    targets: Vec<Target>,
    measures: Vec<String>,
    options: BTreeMap<String, String>,
}

impl Arguments {
    fn parse(mut words: impl Iterator<Item = String>) -> Res<Self> {
        let command = words.next().ok_or(USAGE)?;
        let (mut targets, mut measures, mut options) = (vec![], vec![], BTreeMap::new());
        while let Some(word) = words.next() {
            match word.as_str() {
                "--short" | "--keep" | "--no-rt" | "--mlock" => {
                    options.insert(word, "1".into());
                }
                "--measure" => measures.push(words.next().ok_or(USAGE)?),
                option if option.starts_with("--") => {
                    let value = words.next().ok_or(USAGE)?;
                    options.insert(word, value);
                }
                _ => targets.push(Target::parse(&word)),
            }
        }
        if targets.is_empty() {
            return Err(USAGE.into());
        }
        Ok(Self { command, targets, measures, options })
    }
    fn has(&self, option: &str) -> bool {
        self.options.contains_key(option)
    }
    fn text(&self, option: &str, default: &str) -> String {
        self.options.get(option).cloned().unwrap_or_else(|| default.into())
    }
    fn number(&self, option: &str, default: f64) -> f64 {
        self.options.get(option).and_then(|text| text.parse().ok()).unwrap_or(default)
    }
    fn cpus(&self, option: &str, default: &str) -> Vec<usize> {
        self.text(option, default).split(',').filter_map(|cpu| cpu.parse().ok()).collect()
    }
    fn world(&self) -> Res<World> {
        let keys = self.number("--keys", 10_000.0) as usize;
        let mut world = World::new(keys, &self.text("--audit", "off"), self.cpus("--server-cpu", "0"), self.has("--keep"))?;
        world.mlock = self.has("--mlock");
        Ok(world)
    }
}

fn serve(arguments: &Arguments) -> Res<i32> {
    let world = arguments.world()?;
    let server = start(&world, &arguments.targets[0], "p256")?;
    println!("{} pid {} dir {}", server.addr, server.pid, world.dir.display());
    let requests = request::prepare("decrypt", 1, server.addr, &client_config(&world.ids["p256"], "http/1.1", false))?;
    std::fs::write(world.dir.join("decrypt.json"), &requests[0].body).map_err(e("write"))?;
    // Any input, or its end, is the signal to stop.
    let _ = std::io::stdin().read(&mut [0; 1]);
    Ok(0)
}

/// 0: all measured and goals met; 1: a server or a measure failed; 2: a goal was missed.
fn pair(arguments: &Arguments) -> Res<i32> {
    let begin = Instant::now();
    system::allow_many_files();
    let more = std::thread::available_parallelism().is_ok_and(|count| count.get() > 1);
    let load_cpu = arguments.cpus("--load-cpu", if more { "1" } else { "0" });
    system::pin(&load_cpu);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(e("runtime"))?;
    let short = arguments.has("--short");
    let world = arguments.world()?;
    let targets = &arguments.targets;

    let mut measures = arguments.measures.clone();
    if measures.is_empty() {
        measures = if short { SHORT } else { FULL }.iter().map(ToString::to_string).collect();
    }
    if let Some(only) = arguments.options.get("--only") {
        measures.retain(|measure| measure.contains(only.as_str()));
    }
    let raw = arguments.options.get("--raw").map(std::fs::File::create).transpose().map_err(e("raw"))?;
    let mut opt = Opt {
        reps: arguments.number("--reps", if short { 3.0 } else { 5.0 }) as usize,
        slice: arguments.number("--slice", if short { 0.35 } else { 0.5 }),
        short,
        rt: !arguments.has("--no-rt"),
        extend_until: begin,
        raw,
    };
    let boot = |algorithm| targets.iter().map(|target| Ok((target.clone(), start(&world, target, algorithm)?))).collect::<Res<Vec<_>>>();
    let main: Vec<(Target, Server)> = boot("p256")?;
    let ed25519 = if measures.iter().any(|measure| measure.ends_with("ed25519")) { boot("ed25519")? } else { vec![] };
    report::head(targets, &world.server_cpu, &load_cpu, &opt);

    let budget = arguments.number("--budget", if short { 40.0 } else { 205.0 }) * if targets.len() > 2 { 1.5 } else { 1.0 };
    let deadline = begin + Duration::from_secs_f64(budget);
    let mut lines: Vec<Line> = vec![];
    let mut failed = 0;
    for (at, what) in measures.iter().enumerate() {
        opt.extend_until = extend_until(&measures[at..], targets.len(), &opt, deadline);
        // One more try: a busy machine may break a connection; a broken server fails twice.
        let first = measure(&runtime, &world, &main, &ed25519, what, &mut opt);
        match first.or_else(|_| measure(&runtime, &world, &main, &ed25519, what, &mut opt)) {
            Ok(measured) => {
                measured.iter().for_each(|line| report::line(line, targets));
                lines.extend(measured);
            }
            Err(error) => {
                failed += 1;
                println!("{what}: FAILED ({error})");
            }
        }
    }
    if let Some(file) = arguments.options.get("--md") {
        std::fs::write(file, report::markdown(&lines, targets)).map_err(e("md"))?;
    }
    let missed = match arguments.options.get("--goals") {
        Some(file) => Goals::read(file)?.compare(&lines, report::has_limit(targets), short),
        None => 0,
    };
    println!("# {:.0} s, {failed} failed, {missed} goals missed, load average {}", begin.elapsed().as_secs_f64(), system::load_average());
    Ok(if failed > 0 { 1 } else { i32::from(missed > 0) * 2 })
}

/// Until when the first of these measures may go on, so that the others still have their time before the deadline.
fn extend_until(measures: &[String], targets: usize, opt: &Opt, deadline: Instant) -> Instant {
    let needed: f64 = measures.iter().map(|measure| estimate(measure, targets, opt)).sum();
    let spare = deadline.saturating_duration_since(Instant::now()).as_secs_f64() - needed;
    if spare <= 0.0 {
        return Instant::now();
    }
    let share = spare / measures.len() as f64 * 2.0;
    Instant::now() + Duration::from_secs_f64(estimate(&measures[0], targets, opt) + share.min(spare))
}
