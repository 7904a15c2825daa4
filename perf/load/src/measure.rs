//! The measures: what is run, in which order, and what is taken from it.

use crate::Res;
use crate::loops::{closed, handshakes, open_conns, open_loop};
use crate::request::{Blocking, Prep, prepare};
use crate::system::{cpu_ns, realtime, status_kb, ticks};
use crate::world::{Server, Target, World, client_config, start};
use std::fmt::Write as _;
use std::io::Write as _;
use std::sync::Arc;
use std::time::{Duration, Instant};

#[derive(Clone, Copy, Default)]
pub struct Sample {
    pub n: u64,
    pub cpu: u64,
    pub wall: u64,
    pub own: u64,
    pub user: u64,
    pub sys: u64,
    pub resumed: u64,
}
pub fn spec(m: &str, key: &str, d: usize) -> usize {
    m.split_whitespace().find_map(|w| w.strip_prefix(key).and_then(|x| x.parse().ok())).unwrap_or(d)
}
pub fn med(v: &[f64]) -> (f64, f64, f64) {
    let mut v = v.to_vec();
    v.sort_by(f64::total_cmp);
    if v.is_empty() { (f64::NAN, f64::NAN, f64::NAN) } else { (v[0], v[v.len() / 2], v[v.len() - 1]) }
}
pub fn pct(v: &[u32], p: f64) -> f64 {
    v.get(((v.len() as f64 * p) as usize).min(v.len().saturating_sub(1))).copied().unwrap_or(0) as f64 / 1000.0
}

/// Seconds a measure takes at least, for the time budget.
pub fn estimate(m: &str, n: usize, o: &Opt) -> f64 {
    let (n, r) = (n as f64, o.reps as f64);
    match m.split_whitespace().next().unwrap_or("") {
        "binary" => 0.0,
        "startup" => n * r * 0.2,
        "rss" => {
            if m.ends_with("idle") {
                0.0
            } else {
                n * 1.5
            }
        }
        "rate" => n * r * if o.short { 1.05 } else { 2.05 } + 0.5,
        _ => n * (r + 0.5) * o.slice + if m.contains("k=1") { 5.0 } else { 0.5 },
    }
}

pub const FULL: &[&str] = &[
    "startup",
    "binary",
    "rss idle",
    "status h1 c=1",
    "status h1 c=64",
    "generate h1 c=1",
    "generate h1 c=64",
    "encrypt h1 c=64",
    "decrypt h1 c=1",
    "decrypt h1 c=8",
    "decrypt h1 c=64",
    "decrypt h1 c=512",
    "decrypt h1 c=64 k=10000",
    "hmac h1 c=64",
    "decrypt h2 c=1 m=1",
    "decrypt h2 c=1 m=64",
    "generate h2 c=1 m=64",
    "decrypt h2 c=8 m=8",
    "handshake full p256",
    "handshake full ed25519",
    "handshake resumed p256",
    "rate decrypt r=2000",
    "rss c=512",
];
pub const SHORT: &[&str] = &[
    "startup",
    "binary",
    "rss idle",
    "status h1 c=64",
    "generate h1 c=64",
    "decrypt h1 c=1",
    "decrypt h1 c=64",
    "decrypt h2 c=1 m=64",
    "handshake full p256",
    "rate decrypt r=2000",
    "rss c=512",
];

pub struct Opt {
    pub reps: usize,
    pub slice: f64,
    pub short: bool,
    pub rt: bool,
    pub extend_until: Instant,
    pub raw: Option<std::fs::File>,
}
/// Leaves real-time priority when dropped, also after an error.
pub struct Back(Vec<u32>);
impl Drop for Back {
    fn drop(&mut self) {
        self.0.iter().for_each(|&p| {
            realtime(p, false);
        });
    }
}
pub struct Line {
    pub measure: String,
    pub unit: &'static str,
    pub vals: Vec<(f64, f64, f64)>,   // per target, smaller is better: min, median, max
    pub ratios: Vec<(f64, f64, f64)>, // per target against the base
    pub share: f64,                   // median of limit/candidate, repetition by repetition, when the third target is the limit
    pub note: String,
}

pub fn run_closed(rt: &tokio::runtime::Runtime, w: &World, sv: &[(Target, Server)], m: &str, o: &Opt) -> Res<Vec<Vec<Sample>>> {
    let op = m.split_whitespace().next().unwrap();
    let h2p = m.contains(" h2 ");
    let hs = op == "handshake";
    let alg = if m.ends_with("ed25519") { "ed25519" } else { "p256" };
    let (c, st, k) = (spec(m, "c=", 1), spec(m, "m=", 1), spec(m, "k=", 1));
    let cfg = client_config(&w.ids[alg], if h2p { "h2" } else { "http/1.1" }, m.contains("resumed"));
    let h1cfg = client_config(&w.ids[alg], "http/1.1", false);
    let mut states = Vec::new();
    for (t, s) in sv {
        let p = Arc::new(prepare(if hs { "version" } else { op }, k, s.addr, &h1cfg).map_err(|x| format!("{}: {x}", t.name))?);
        let conns = if hs { vec![] } else { rt.block_on(open_conns(s.addr, &cfg, c, h2p)).map_err(|x| format!("{}: {x}", t.name))? };
        states.push((p, conns));
    }
    let me = std::process::id();
    let mut out = vec![Vec::new(); sv.len()];
    for rep in 0..=o.reps {
        let mut order: Vec<usize> = (0..sv.len()).collect();
        if rep % 2 == 1 {
            order.reverse();
        }
        for i in order {
            let (t, s) = &sv[i];
            let (p, conns) = &mut states[i];
            let dur = Duration::from_secs_f64(if rep == 0 { o.slice / 2.0 } else { o.slice }); // rep 0 warms up
            let (c0, g0, tk, w0) = (cpu_ns(s.pid), cpu_ns(me), ticks(s.pid), Instant::now());
            let (mut n, mut resumed) = (0, 0);
            // A starved slice (busy machine) goes on until the server had enough CPU, as far as the time budget allows.
            for again in 0..4 {
                let (a, b) = if hs {
                    let one = Arc::new(Prep::get("/version", s.addr));
                    rt.block_on(handshakes(s.addr, &cfg, &one, 4, dur))
                } else {
                    rt.block_on(closed(conns, p, st, dur, rep * 1013 + again)).map(|n| (n, 0))
                }
                .map_err(|x| format!("{}: {x}", t.name))?;
                n += a;
                resumed += b;
                let used = (cpu_ns(s.pid) - c0) as f64 / 1e9;
                if rep == 0 || used > 0.4 * o.slice || Instant::now() + dur > o.extend_until {
                    break;
                }
            }
            let (wall, cpu, own, tk2) = (w0.elapsed().as_nanos() as u64, cpu_ns(s.pid) - c0, cpu_ns(me) - g0, ticks(s.pid));
            if rep > 0 {
                out[i].push(Sample { n, cpu, wall, own, user: tk2.0 - tk.0, sys: tk2.1 - tk.1, resumed });
            }
        }
    }
    Ok(out)
}

pub fn measure(
    rt: &tokio::runtime::Runtime,
    w: &World,
    main: &[(Target, Server)],
    ed: &[(Target, Server)],
    m: &str,
    o: &mut Opt,
) -> Res<Vec<Line>> {
    let names: Vec<&Target> = main.iter().map(|x| &x.0).collect();
    let ratio = |v: &[Vec<f64>]| -> Vec<(f64, f64, f64)> {
        v.iter().map(|x| med(&x.iter().zip(&v[0]).map(|(a, b)| b / a).collect::<Vec<_>>())).collect()
    };
    let simple = |m: &str, unit: &'static str, v: Vec<Vec<f64>>| Line {
        measure: m.into(),
        unit,
        share: if v.len() == 3 { ratio(&[v[2].clone(), v[1].clone()])[1].1 } else { f64::NAN },
        ratios: ratio(&v),
        vals: v.iter().map(|x| med(x)).collect(),
        note: String::new(),
    };
    if m == "binary" {
        let v = names.iter().map(|t| vec![std::fs::metadata(&t.bin).map(|x| x.len() as f64 / 1e6).unwrap_or(f64::NAN)]).collect();
        return Ok(vec![simple("binary size", "MB", v)]);
    }
    if m == "startup" {
        let (mut a, mut c) = (vec![vec![]; names.len()], vec![vec![]; names.len()]);
        for _ in 0..o.reps {
            for (i, t) in names.iter().enumerate() {
                let s = start(w, t, "p256")?;
                a[i].push(s.start.as_secs_f64() * 1e3);
                c[i].push(s.start_cpu as f64 / 1e6);
            }
        }
        return Ok(vec![simple("startup to first answer", "ms", a), simple("startup CPU", "ms", c)]);
    }
    if m == "rss idle" {
        let f = |k: &str| main.iter().map(|(_, s)| vec![status_kb(s.pid, k) as f64 / 1024.0]).collect::<Vec<_>>();
        return Ok(vec![simple("rss idle", "MiB", f("VmRSS")), simple("rss idle, anonymous", "MiB", f("RssAnon"))]);
    }
    if m.starts_with("rss c=") {
        let n = spec(m, "c=", 512);
        let cfg = client_config(&w.ids["p256"], "http/1.1", false);
        let (mut a, mut b) = (vec![], vec![]);
        for (t, _) in main {
            let s = start(w, t, "p256")?;
            let r: Res<()> = rt.block_on(async {
                let p = Arc::new(prepare("decrypt", 1, s.addr, &client_config(&w.ids["p256"], "http/1.1", false))?);
                let mut conns = open_conns(s.addr, &cfg, n, false).await?;
                closed(&mut conns, &p, 1, Duration::from_millis(300), 0).await?;
                a.push(vec![status_kb(s.pid, "VmRSS") as f64 / 1024.0]);
                b.push(vec![status_kb(s.pid, "RssAnon") as f64 / 1024.0]);
                Ok(())
            });
            r?;
        }
        return Ok(vec![simple(&format!("rss, {n} connections"), "MiB", a), simple(&format!("rss, {n} connections, anonymous"), "MiB", b)]);
    }
    if m.starts_with("rate ") {
        let (rate, n) = (spec(m, "r=", 2000) as f64, spec(m, "c=", 32));
        let op = m.split_whitespace().nth(1).unwrap();
        let cfg = client_config(&w.ids["p256"], "http/1.1", false);
        let mut st = Vec::new();
        for (_, s) in main {
            let p = prepare(op, 1, s.addr, &cfg)?;
            let mut c = (0..n).map(|_| Blocking::connect(s.addr, &cfg)).collect::<Res<Vec<_>>>()?;
            for x in &mut c {
                x.call(&p[0])?;
            }
            st.push((p, c, Vec::<u32>::new(), [vec![], vec![], vec![], vec![]]));
        }
        let dur = Duration::from_secs_f64(if o.short { 1.0 } else { 2.0 });
        let pids: Vec<u32> = main.iter().map(|x| x.1.pid).chain([std::process::id()]).collect();
        let rt_ok = o.rt && pids.iter().all(|&p| realtime(p, true));
        let _back = Back(pids);
        for rep in 0..o.reps {
            let mut order: Vec<usize> = (0..main.len()).collect();
            if rep % 2 == 1 {
                order.reverse();
            }
            for i in order {
                let (p, c, all, by) = &mut st[i];
                let c0 = cpu_ns(main[i].1.pid);
                let mut v = open_loop(c, p, rate, dur)?;
                by[3].push((cpu_ns(main[i].1.pid) - c0) as f64 / 1e3 / v.len() as f64);
                v.sort_unstable();
                for (j, q) in [0.5, 0.99, 0.999].into_iter().enumerate() {
                    by[j].push(pct(&v, q));
                }
                all.extend(v);
            }
        }
        let labels = [("p50", 0), ("p99", 1), ("p99.9", 2)];
        let mut out: Vec<Line> = labels
            .iter()
            .map(|(l, j)| simple(&format!("{op} at {rate}/s {l}"), "us", st.iter().map(|x| x.3[*j].clone()).collect()))
            .collect();
        let note: Vec<String> = st
            .iter_mut()
            .zip(main)
            .map(|(x, t)| {
                x.2.sort_unstable();
                format!(
                    "{} pooled p50/p99/p99.9/max = {:.0}/{:.0}/{:.0}/{:.0} us of {}",
                    t.0.name,
                    pct(&x.2, 0.5),
                    pct(&x.2, 0.99),
                    pct(&x.2, 0.999),
                    pct(&x.2, 1.0),
                    x.2.len()
                )
            })
            .collect();
        out[2].note = note.join("; ") + if rt_ok { "; real-time priority" } else { "; normal priority" };
        out.push(simple(&format!("{op} at {rate}/s"), "us CPU", st.iter().map(|x| x.3[3].clone()).collect()));
        return Ok(out);
    }
    let sv = if m.ends_with("ed25519") { ed } else { main };
    let s = run_closed(rt, w, sv, m, o)?;
    if let Some(f) = &mut o.raw {
        for (i, v) in s.iter().enumerate() {
            for (r, x) in v.iter().enumerate() {
                let _ = writeln!(f, "{m}\t{}\t{r}\t{}\t{}\t{}\t{}\t{}\t{}", names[i].name, x.n, x.cpu, x.wall, x.own, x.user, x.sys);
            }
        }
    }
    let cpu: Vec<Vec<f64>> = s.iter().map(|v| v.iter().map(|x| x.cpu as f64 / 1e3 / x.n.max(1) as f64).collect()).collect();
    let mut l = simple(m, "us CPU", cpu);
    for (i, v) in s.iter().enumerate() {
        let rps = med(&v.iter().map(|x| x.n as f64 / x.wall as f64 * 1e9).collect::<Vec<_>>()).1;
        let own = med(&v.iter().map(|x| x.own as f64 / x.wall as f64 * 100.0).collect::<Vec<_>>()).1;
        let (u, y) = v.iter().fold((0, 0), |a, x| (a.0 + x.user, a.1 + x.sys));
        let busy = med(&v.iter().map(|x| x.cpu as f64 / x.wall as f64 * 100.0).collect::<Vec<_>>()).1;
        let _ = write!(
            l.note,
            "{}{} {rps:.0}/s, server {busy:.0}% busy ({:.0}% in kernel), generator {own:.0}%",
            if i > 0 { "; " } else { "" },
            names[i].name,
            100.0 * y as f64 / (u + y).max(1) as f64
        );
        if m.contains("resumed") {
            let (n, r) = v.iter().fold((0, 0), |a, x| (a.0 + x.n, a.1 + x.resumed));
            let _ = write!(l.note, ", {:.0}% resumed", 100.0 * r as f64 / n.max(1) as f64);
        }
    }
    Ok(vec![l])
}
