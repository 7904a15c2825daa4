//! What bounds the service, seen from outside.

use kes_tests::{Client, Connection, Credential, Home, Kind, Request, Server};

/// Resident memory of the server that is its own, in KiB.
fn memory(server: &Server) -> usize {
    let status = std::fs::read_to_string(format!("/proc/{}/status", server.pid())).expect("our own child");
    let rss = status.lines().find_map(|line| line.strip_prefix("RssAnon:")).expect("Linux tells it");
    rss.trim().trim_end_matches(" kB").parse().expect("a number")
}

/// Connections that have made a request and wait for the next one.
fn idle(server: &Server, client: &Client, count: usize) -> Vec<Connection> {
    let address = server.address();
    let open = move |count: usize| {
        let connections = (0..count).map(|_| {
            let mut connection = Connection::open(address, client).expect("a connection");
            assert_eq!(connection.exchange(&Request::get("/version")).expect("a response").status, 200);
            connection
        });
        connections.collect::<Vec<_>>()
    };
    std::thread::scope(|scope| {
        let threads: Vec<_> = (0..4).map(|_| scope.spawn(move || open(count / 4))).collect();
        threads.into_iter().flat_map(|thread| thread.join().expect("connections")).collect()
    })
}

/// Idle connections cost what they cost and no more, and give it back to the next ones.
#[test]
#[ignore = "needs 10 000 file descriptors and two minutes"]
fn ten_thousand_idle_connections_are_bounded() {
    const MANY: usize = 10_000;
    let home = Home::new();
    let admin = Credential::from_seed(0);
    let limits = "limits: {idle: 10m, header: 10m, connections: 10000}\nlog: {audit: off, error: off}";
    let config = home.config(&format!("admin: {{identity: {}}}\n{limits}", admin.identity()));
    let server = Server::start(Kind::Ours, &home, &config);
    let client = Client::new(&admin);
    drop(idle(&server, &client, 200));
    let before = memory(&server);
    let first = idle(&server, &client, MANY);
    let full = memory(&server);
    assert!(Connection::open(server.address(), &client).is_err(), "one more than the limit");
    drop(first);
    let mut after = memory(&server);
    // The server learns of closed connections one after the other.
    while open_connections(&server) > 0 {
        after = memory(&server);
    }
    let second = idle(&server, &client, MANY);
    let again = memory(&server);
    println!(
        "RSS of its own: {before} KiB idle, {full} KiB with {MANY} connections ({:.1} KiB each), {after} KiB when they are gone, {again} KiB with as many again",
        (full - before) as f64 / MANY as f64
    );
    assert!(full - before < MANY * 64, "{before} -> {full} KiB");
    assert!(again < full + full / 10, "{full} -> {again} KiB: what is gone is not given to the next");
    drop(second);
}

/// File descriptors of the server that are sockets of connections, as the system counts them.
fn open_connections(server: &Server) -> usize {
    let files = std::fs::read_dir(format!("/proc/{}/fd", server.pid())).expect("our own child").count();
    files.saturating_sub(100)
}

#[test]
fn beyond_the_limit_connections_are_closed_and_seen() {
    let home = Home::new();
    let admin = Credential::from_seed(0);
    let config = home.config(&format!("admin: {{identity: {}}}\nlimits: {{connections: 3}}", admin.identity()));
    let server = Server::start(Kind::Ours, &home, &config);
    let client = Client::new(&admin);
    let mut open: Vec<Connection> = Vec::new();
    while open.len() < 3 {
        // The one that found out that the server listens may still be closing.
        let connection = Connection::open(server.address(), &client);
        open.extend(connection.ok());
    }
    for connection in &mut open {
        assert_eq!(connection.exchange(&Request::get("/version")).expect("a response").status, 200);
    }
    assert!(Connection::open(server.address(), &client).is_err());
    server.expect_stderr("closed new connections: 3 are open, which is 'limits.connections'");
    let page = open[0].exchange(&Request::get("/v1/metrics?view=full")).expect("a response").text();
    assert!(page.contains("\nkes_connections_limit 3\n"), "{page}");
    assert!(!page.contains("{reason=\"too_many_connections\"} 0\n"), "{page}");
}
