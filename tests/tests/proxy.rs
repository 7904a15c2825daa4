//! A TLS proxy in front: a real nginx with the configuration of `examples/nginx.conf`, and a peer that plays a bad one.

use kes_tests::{
    Authority, Body, Client, Connection, Credential, Home, Kind, Recipe, Request, Response, Server, Versions, checkout,
};
use std::fs::File;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

const HEADER: &str = "X-Tls-Client-Cert";
const REFUSED: &str = "not authorized: insufficient permissions";

/// A kes server that trusts a proxy, and the credentials of everybody in the story.
struct Rig {
    home: Home,
    server: Server,
    proxy: Credential,
    admin: Credential,
    app: Credential,
    stranger: Credential,
}

impl Rig {
    /// Clients are not verified: their certificates are those of API keys. `tls` is added to the section.
    fn start(tls: &str) -> Self {
        let [proxy, admin, app, stranger] = [9, 0, 1, 2].map(Credential::from_seed);
        Self::with(tls, proxy, admin, app, stranger)
    }

    fn with(tls: &str, proxy: Credential, admin: Credential, app: Credential, stranger: Credential) -> Self {
        let home = Home::new();
        home.write_credential("proxy", &proxy);
        let rules = format!(
            "admin: {{identity: {}}}\npolicy: {{app: {{allow: [/v1/key/create/*, /v1/status, /v1/log/audit], identities: [{}]}}}}",
            admin.identity(),
            app.identity()
        );
        let section = format!("tls:\n  proxy: {{identities: [{}], header: {{cert: {HEADER}}}{tls}", proxy.identity());
        let config = home.config(&rules).replacen("tls:\n", &section, 1);
        let server = Server::start(Kind::Ours, &home, &config);
        Self { home, server, proxy, admin, app, stranger }
    }

    /// What the server answers a proxy that sends these headers, whatever they are.
    fn as_proxy(&self, target: &str, headers: &[(&str, &str)]) -> Response {
        send(self.server.address(), &self.proxy, target, headers)
    }
}

fn send(address: SocketAddr, credential: &Credential, target: &str, headers: &[(&str, &str)]) -> Response {
    let method = if target.contains("/create/") { "POST" } else { "GET" };
    let mut request = Request::new(method, target);
    request.headers = headers.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
    let mut connection = Connection::open(address, &Client::new(credential)).expect("a connection");
    connection.exchange(&request).expect("a response")
}

#[track_caller]
fn refused(response: &Response, status: u16, message: &str) {
    let body = format!("{{\"message\":\"{message}\"\n}}");
    assert_eq!((response.status, response.text()), (status, body));
}

/// As nginx's `$ssl_client_escaped_cert`.
fn escaped(credential: &Credential) -> String {
    let pem = credential.certificate_pem();
    pem.bytes()
        .map(|byte| if byte.is_ascii_alphanumeric() { char::from(byte).into() } else { format!("%{byte:02X}") })
        .collect()
}

/// nginx, killed and waited for when dropped.
struct Nginx {
    child: Child,
    address: SocketAddr,
}

impl Nginx {
    /// nginx before the server, with the example's configuration in which `change` is replaced: each text must be there.
    fn start(rig: &Rig, change: &[(&str, &str)]) -> Self {
        let address = TcpListener::bind("127.0.0.1:0").and_then(|listener| listener.local_addr()).expect("a free port");
        let folder = rig.home.path().display().to_string();
        let file = |name: &str| format!("{folder}/{name}");
        let mut example = std::fs::read_to_string(checkout().join("examples/nginx.conf")).expect("the example");
        let mut replace = |from: &str, to: &str| {
            assert!(example.contains(from), "the example has no {from:?}");
            example = example.replace(from, to);
        };
        replace("10.1.2.3:7373", &rig.server.address().to_string());
        replace("listen 7373 ssl http2", &format!("listen {address} ssl http2"));
        replace("/etc/nginx/kes/public.crt", &file("server.crt"));
        replace("/etc/nginx/kes/private.key", &file("server.key"));
        replace("/etc/nginx/kes/proxy.crt", &file("proxy.crt"));
        replace("/etc/nginx/kes/proxy.key", &file("proxy.key"));
        replace("/etc/nginx/kes/kes-ca.crt", &file("server.crt"));
        replace("proxy_ssl_name                kes.example.net", "proxy_ssl_name localhost");
        // Another address than the client's, so that the audit log can tell them apart.
        replace("proxy_http_version 1.1;", "proxy_http_version 1.1; proxy_bind 127.0.0.3;");
        change.iter().for_each(|(from, to)| replace(from, to));
        let paths = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"]
            .map(|name| format!("    {name}_temp_path {folder}/{name};\n"))
            .concat();
        let whole = format!(
            "daemon off;\nmaster_process off;\npid {folder}/nginx.pid;\nerror_log stderr;\nevents {{}}\n\
             http {{\n    access_log off;\n{paths}{example}\n}}\n"
        );
        rig.home.write("nginx.conf", whole);
        let log = File::create(rig.home.path().join("nginx.log")).expect("a log for nginx");
        let child = Command::new(program())
            .args(["-p", &folder, "-e", "stderr", "-c", &file("nginx.conf")])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log)
            .spawn()
            .expect("nginx starts");
        let mut nginx = Self { child, address };
        let start = Instant::now();
        while TcpStream::connect(address).is_err() {
            let said = || std::fs::read_to_string(rig.home.path().join("nginx.log")).unwrap_or_default();
            assert!(nginx.child.try_wait().expect("our own child").is_none(), "nginx has ended:\n{}", said());
            assert!(start.elapsed() < Duration::from_secs(10), "nginx does not listen:\n{}", said());
            std::thread::yield_now();
        }
        nginx
    }

    fn get(&self, credential: &Credential, target: &str, headers: &[(&str, &str)]) -> Response {
        send(self.address, credential, target, headers)
    }
}

impl Drop for Nginx {
    fn drop(&mut self) {
        // An error means that it has ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn program() -> &'static str {
    let known = ["/usr/sbin/nginx", "/usr/local/sbin/nginx", "/opt/homebrew/bin/nginx"];
    known.into_iter().find(|path| Path::new(path).is_file()).expect("nginx is missing: peers/peers.sh install nginx")
}

#[test]
#[ignore = "needs nginx: peers/peers.sh install nginx"]
fn clients_keep_their_identity_and_address_behind_nginx() {
    let rig = Rig::start("}\n");
    let nginx = Nginx::start(&rig, &[]);
    let answer = nginx.get(&rig.app, "/v1/key/create/k1", &[]);
    assert_eq!((answer.status, answer.text()), (200, String::new()));
    let identity = rig.app.identity();
    rig.server.expect_stdout("req.path=/v1/key/create/k1");
    let line = audit_line(&rig, "/v1/key/create/k1");
    assert!(line.contains(&format!("req.ip=127.0.0.1 req.identity={identity} ")), "{line}");
    // Over HTTP/2, with a body, and for all kinds of callers.
    let client = Client::with(Some(&rig.app), &["h2"], Versions::Both);
    let create = Request::new("POST", "/v1/key/create/k2").body(Body::Sized(Vec::new()));
    assert_eq!(kes_tests::h2(nginx.address, &client, &create).expect("a response").status, 200);
    assert_eq!(nginx.get(&rig.app, "/v1/status", &[]).status, 200);
    refused(&nginx.get(&rig.app, "/v1/metrics", &[]), 403, REFUSED);
    refused(&nginx.get(&rig.stranger, "/v1/status", &[]), 403, REFUSED);
    refused(&nginx.get(&rig.admin, "/v1/status", &[]), 403, REFUSED);
    rig.server.expect_stderr("tls.proxy.admin is off");
    let itself = nginx.get(&rig.app, "/v1/identity/self/describe", &[]);
    assert_eq!(itself.member("identity"), identity);
    // Nobody: nginx sends no header then.
    let mut nobody = Connection::open(nginx.address, &Client::anonymous()).expect("a connection");
    refused(&nobody.exchange(&Request::get("/version")).expect("a response"), 400, "no client certificate is present");
    // A log stream goes through line by line.
    let mut stream = Connection::open(nginx.address, &Client::new(&rig.app)).expect("a connection");
    stream.send(&Request::get("/v1/log/audit").bytes("x", "HTTP/1.1")).expect("a request");
    assert_eq!(stream.read_head().expect("headers before the first event").status, 200);
    let event = stream.read_chunk().expect("an event").expect("no end");
    assert!(String::from_utf8_lossy(&event).contains("\"path\":\"/v1/log/audit\""));
}

#[test]
#[ignore = "needs nginx: peers/peers.sh install nginx"]
fn what_clients_send_themselves_does_not_get_past_nginx() {
    let rig = Rig::start(", admin: on}\n");
    let nginx = Nginx::start(&rig, &[]);
    let (admin, app) = (escaped(&rig.admin), escaped(&rig.app));
    for headers in [
        &[(HEADER, &admin[..])][..],
        &[(HEADER, &app)],
        &[(HEADER, &app), (HEADER, &admin)],
        &[("x-tls-client-cert", &app), ("X-Forwarded-For", "6.6.6.6")],
    ] {
        refused(&nginx.get(&rig.stranger, "/v1/status", headers), 403, REFUSED);
    }
    assert_eq!(nginx.get(&rig.app, "/v1/key/create/k1", &[("X-Forwarded-For", "6.6.6.6")]).status, 200);
    rig.server.expect_stdout("req.path=/v1/key/create/k1");
    assert!(audit_line(&rig, "/v1/key/create/k1").contains("req.ip=127.0.0.1 "));
    assert!(!rig.server.stdout().contains("6.6.6.6"));
    // The configuration says that the proxy may forward the administrator.
    assert_eq!(nginx.get(&rig.admin, "/v1/metrics", &[]).status, 200);
}

#[test]
#[ignore = "needs nginx: peers/peers.sh install nginx"]
fn an_nginx_that_is_set_up_badly_is_refused() {
    let rig = Rig::start("}\n");
    let value = "X-Tls-Client-Cert $ssl_client_escaped_cert";
    let admin = escaped(&rig.admin);
    for (instead, message) in [
        // It adds its own value to the client's.
        (
            r#"X-Tls-Client-Cert "$http_x_tls_client_cert,$ssl_client_escaped_cert""#,
            "too many client certificates are present",
        ),
        (
            r#"X-Tls-Client-Cert "$ssl_client_escaped_cert, $http_x_tls_client_cert""#,
            "too many client certificates are present",
        ),
        ("X-Tls-Client-Cert $ssl_client_s_dn", "invalid client certificate"),
        ("X-Tls-Client-Cert $ssl_client_fingerprint", "invalid client certificate"),
        ("X-Client-Cert $ssl_client_escaped_cert", "no client certificate is present"),
    ] {
        let nginx = Nginx::start(&rig, &[(value, instead)]);
        let own: &[(&str, &str)] = if instead.contains("$http_") { &[(HEADER, &admin)] } else { &[] };
        refused(&nginx.get(&rig.app, "/v1/status", own), 400, message);
    }
}

#[test]
#[ignore = "needs nginx: peers/peers.sh install nginx"]
fn with_verification_forwarded_certificates_are_verified_too() {
    let (authority, other) = (Authority::root("clients"), Authority::root("others"));
    let signed = |name: &str| Recipe::new(name).signed_by(&authority);
    let ca = Home::new();
    ca.write("ca.crt", authority.credential().certificate_pem());
    let tls = format!("}}\n  auth: on\n  ca: {}/ca.crt\n", ca.path().display());
    let foreign = Recipe::new("app").signed_by(&other);
    let rig = Rig::with(&tls, signed("proxy"), signed("admin"), signed("app"), foreign.clone());
    let nginx = Nginx::start(&rig, &[]);
    assert_eq!(nginx.get(&rig.app, "/v1/status", &[]).status, 200);
    refused(&nginx.get(&foreign, "/v1/status", &[]), 403, "");
    refused(&nginx.get(&Credential::from_seed(1), "/v1/status", &[]), 403, "");
    refused(&nginx.get(&Recipe::new("app").for_servers().signed_by(&authority), "/v1/status", &[]), 403, "");
    // nginx itself takes no expired certificate; a proxy that does is refused.
    let expired = Recipe::new("app").expired().signed_by(&authority);
    assert_eq!(nginx.get(&expired, "/v1/status", &[]).status, 400);
    refused(&rig.as_proxy("/v1/status", &[(HEADER, &escaped(&expired))]), 403, "");
    let early = Recipe::new("app").not_yet_valid().signed_by(&authority);
    refused(&rig.as_proxy("/v1/status", &[(HEADER, &escaped(&early))]), 403, "");
    assert_eq!(rig.as_proxy("/v1/status", &[(HEADER, &escaped(&rig.app))]).status, 200);
}

/// No nginx: what a peer can do that has the proxy's key, or would like to have it.
#[test]
fn whoever_is_no_proxy_acts_as_itself_and_a_proxy_as_nobody() {
    let rig = Rig::start("}\n");
    let (admin, app) = (escaped(&rig.admin), escaped(&rig.app));
    // A header from somebody else is ignored, and warned about once.
    for header in [&admin, &app] {
        refused(&send(rig.server.address(), &rig.stranger, "/v1/status", &[(HEADER, header)]), 403, REFUSED);
    }
    refused(&send(rig.server.address(), &rig.app, "/v1/metrics", &[(HEADER, &admin)]), 403, REFUSED);
    assert_eq!(send(rig.server.address(), &rig.admin, "/v1/metrics", &[(HEADER, &app)]).status, 200);
    rig.server.expect_stderr("its sender is no TLS proxy");
    let warnings = rig.server.stderr().matches("its sender is no TLS proxy").count();
    assert!(warnings <= 3, "once for each identity: {warnings}");
    // A proxy has no rights of its own, and none of the administrator's.
    for target in ["/v1/status", "/version", "/v1/identity/self/describe"] {
        refused(&rig.as_proxy(target, &[]), 400, "no client certificate is present");
    }
    refused(&rig.as_proxy("/v1/status", &[(HEADER, &admin)]), 403, REFUSED);
    refused(&rig.as_proxy("/v1/status", &[(HEADER, &escaped(&rig.proxy))]), 403, REFUSED);
    assert_eq!(rig.as_proxy("/v1/status", &[(HEADER, &app)]).status, 200);
    // Whatever is not exactly one certificate.
    let two = "too many client certificates are present";
    refused(&rig.as_proxy("/v1/status", &[(HEADER, &app), (HEADER, &app)]), 400, two);
    refused(&rig.as_proxy("/v1/status", &[(HEADER, &app), ("X-TLS-CLIENT-CERT", &admin)]), 400, two);
    refused(&rig.as_proxy("/v1/status", &[(HEADER, &format!("{app}, {admin}"))]), 400, two);
    let authority = escaped(Authority::root("x").credential());
    refused(&rig.as_proxy("/v1/status", &[(HEADER, &authority)]), 403, REFUSED);
    let key = rig.app.key_pem().replace('\n', "%0A").replace(' ', "%20").replace('+', "%2B");
    for garbage in [
        "",
        "x",
        "%",
        "MIIB",
        &key,
        &app[..app.len() / 2],
        &rig.app.certificate_pem().replace('\n', "%0A").replace("-----", ""),
    ] {
        refused(&rig.as_proxy("/v1/status", &[(HEADER, garbage)]), 400, "invalid client certificate");
    }
}

/// The audit line of a path, of which there is one.
fn audit_line(rig: &Rig, path: &str) -> String {
    let output = rig.server.stdout();
    let found: Vec<_> = output.lines().filter(|line| line.contains(&format!("req.path={path} "))).collect();
    assert_eq!(found.len(), 1, "{output}");
    found[0].to_owned()
}
