//! What the kernel knows about a process.

pub fn pin(cpus: &[usize]) {
    unsafe {
        let mut set: libc::cpu_set_t = std::mem::zeroed();
        cpus.iter().for_each(|&c| libc::CPU_SET(c, &mut set));
        libc::sched_setaffinity(0, std::mem::size_of::<libc::cpu_set_t>(), &set);
    }
}
/// CPU time of a whole process in ns (all threads, also ended ones).
pub fn cpu_ns(pid: u32) -> u64 {
    unsafe {
        let mut clk: libc::clockid_t = 0;
        let mut t = libc::timespec { tv_sec: 0, tv_nsec: 0 };
        if libc::clock_getcpuclockid(pid as i32, &mut clk) != 0 || libc::clock_gettime(clk, &mut t) != 0 {
            return 0;
        }
        t.tv_sec as u64 * 1_000_000_000 + t.tv_nsec as u64
    }
}
/// (utime, stime) in clock ticks.
pub fn ticks(pid: u32) -> (u64, u64) {
    let s = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    let f: Vec<&str> = s.rsplit(')').next().unwrap_or("").split_whitespace().collect();
    let g = |i: usize| f.get(i).and_then(|x| x.parse().ok()).unwrap_or(0);
    (g(11), g(12))
}
/// SCHED_FIFO for all threads of a process, or back to normal. Only for latency at a fixed, low rate: a neighbour's compiler would
/// otherwise decide p99 (autogroups make niceness useless here). False without the right to do it.
pub fn realtime(pid: u32, on: bool) -> bool {
    let p = libc::sched_param { sched_priority: on as i32 };
    let mut ok = true;
    for t in std::fs::read_dir(format!("/proc/{pid}/task")).into_iter().flatten().flatten() {
        if let Ok(tid) = t.file_name().to_string_lossy().parse::<i32>() {
            ok &= unsafe { libc::sched_setscheduler(tid, if on { libc::SCHED_FIFO } else { libc::SCHED_OTHER }, &p) } == 0;
        }
    }
    ok
}
pub fn status_kb(pid: u32, key: &str) -> u64 {
    let s = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    s.lines().find(|l| l.starts_with(key)).and_then(|l| l.split_whitespace().nth(1)).and_then(|x| x.parse().ok()).unwrap_or(0)
}
pub fn free_port() -> u16 {
    std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

/// The soft limit of open files becomes the hard one: hundreds of connections.
pub fn allow_many_files() {
    unsafe {
        let mut limit: libc::rlimit = std::mem::zeroed();
        libc::getrlimit(libc::RLIMIT_NOFILE, &mut limit);
        limit.rlim_cur = limit.rlim_max;
        libc::setrlimit(libc::RLIMIT_NOFILE, &limit);
    }
}

pub fn load_average() -> String {
    std::fs::read_to_string("/proc/loadavg").ok().and_then(|text| text.split(' ').next().map(str::to_owned)).unwrap_or_else(|| "?".into())
}
