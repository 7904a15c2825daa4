//! Policies and identities that are changed over the API of a real server process: how long that holds, and what the operator is told.

use kes_tests::{Binary, Body, Client, Connection, Credential, Home, Kind, Request, Response, Server, peer};
use rustix::process::Signal;
use serde_json::json;
use std::process::Command;

struct Rig {
    home: Home,
    config: String,
    server: Server,
    admin: Client,
    member: Client,
    identity: String,
}

impl Rig {
    fn start(more: &str) -> Self {
        let (admin, member) = (Credential::from_seed(0), Credential::from_seed(1));
        let home = Home::new();
        let config = home.config(&format!(
            "admin: {{identity: {}}}\npolicy: {{kept: {{allow: [/v1/status], identities: [{}]}}}}\n{more}",
            admin.identity(),
            Credential::from_seed(2).identity()
        ));
        let server = Server::start(Kind::Ours, &home, &config);
        let identity = member.identity().to_owned();
        Self { home, config, server, admin: Client::new(&admin), member: Client::new(&member), identity }
    }

    fn ask(&self, client: &Client, method: &str, target: &str, body: &str) -> Response {
        let mut request = Request::new(method, target);
        if !body.is_empty() {
            request = request.body(Body::Sized(body.into()));
        }
        let mut connection = Connection::open(self.server.address(), client).expect("a connection");
        connection.exchange(&request).expect("a response")
    }

    /// A policy `new` that lets the member see the status, and the policy of the file gone.
    fn change(&self) {
        let assign = json!({ "identity": self.identity }).to_string();
        for (method, target, body) in [
            ("POST", "/v1/policy/write/new", r#"{"allow":["/v1/status"],"deny":[]}"#),
            ("POST", "/v1/policy/assign/new", &assign),
            ("DELETE", "/v1/policy/delete/kept", ""),
        ] {
            let answer = self.ask(&self.admin, method, target, body);
            assert_eq!((answer.status, answer.text()), (200, String::new()), "{target}");
        }
        assert_eq!(self.status_as(&self.member), 200);
        assert_eq!(self.status_as(&Client::new(&Credential::from_seed(2))), 403);
    }

    fn status_as(&self, client: &Client) -> u16 {
        self.ask(client, "GET", "/v1/status", "").status
    }

    fn is_as_configured(&self) {
        assert_eq!(self.status_as(&self.member), 403);
        assert_eq!(self.status_as(&Client::new(&Credential::from_seed(2))), 200);
        let list = self.ask(&self.admin, "GET", "/v1/policy/list/", "").text();
        assert_eq!(list, "{\"names\":[\"kept\"],\"continue_at\":\"\"}\n");
    }
}

#[test]
fn changes_hold_until_a_reload_which_names_them() {
    let rig = Rig::start("");
    rig.change();
    // A reload that fails changes nothing.
    rig.server.rewrite_config(Kind::Ours, &rig.home, "version: v1\npolicy: 7\n");
    rig.server.signal(Signal::HUP);
    rig.server.expect_stderr("Failed to reload server config");
    assert_eq!(rig.status_as(&rig.member), 200);
    rig.server.rewrite_config(Kind::Ours, &rig.home, &rig.config);
    rig.server.signal(Signal::HUP);
    rig.server.expect_stderr("dropped 1 policy that was written over the API: new");
    rig.server.expect_stderr("dropped 1 deletion of a policy over the API: kept");
    rig.server
        .expect_stderr(&format!("dropped 1 identity that was assigned over the API: {} (policy new)", rig.identity));
    rig.server.expect_stderr("dropped 1 deletion of an identity over the API: ");
    rig.is_as_configured();
}

#[test]
fn changes_end_with_the_process() {
    let mut rig = Rig::start("");
    rig.change();
    let file = || std::fs::read_to_string(rig.home.path().join("config.yml")).expect("the configuration");
    assert!(!file().contains("new"), "nothing is written down");
    let server = Server::start(Kind::Ours, &rig.home, &rig.config);
    rig.server = server;
    rig.is_as_configured();
}

#[test]
fn changes_are_audited_and_can_be_switched_off() {
    let rig = Rig::start("log: {audit_events: mutations}");
    rig.change();
    rig.server.expect_stdout("msg=\"policy 'new' written\" req.method=POST req.path=/v1/policy/write/new");
    rig.server.expect_stdout(&format!("msg=\"policy 'new' assigned to '{}'\"", rig.identity));
    rig.server.expect_stdout("msg=\"policy 'kept' deleted\" req.method=DELETE");

    let rig = Rig::start("compat: {ephemeral_policies: off}");
    let answer = rig.ask(&rig.admin, "POST", "/v1/policy/write/new", "{}");
    assert_eq!((answer.status, answer.text()), (501, "{\"message\":\"not implemented\"\n}".to_owned()));
    assert_eq!(rig.ask(&rig.member, "POST", "/v1/policy/write/new", "{}").status, 403);
    rig.is_as_configured();
    let rig = Rig::start("compat: {legacy_routes: off}");
    assert_eq!(rig.ask(&rig.admin, "POST", "/v1/policy/write/new", "{}").text(), "404 page not found\n");
}

#[test]
fn patterns_are_read_as_configured() {
    for (matching, expected) in [("both", 200), ("head", 403), ("glob", 200)] {
        let rig = Rig::start(&format!("compat: {{policy_match: {matching}}}"));
        let write = rig.ask(&rig.admin, "POST", "/v1/policy/write/new", r#"{"allow":["/v1/stat?s"]}"#);
        assert_eq!(write.status, 200);
        let assign = json!({ "identity": rig.identity }).to_string();
        assert_eq!(rig.ask(&rig.admin, "POST", "/v1/policy/assign/new", &assign).status, 200);
        assert_eq!(rig.status_as(&rig.member), expected, "{matching}");
    }
}

/// The command line of today.
#[test]
fn the_command_line_shows_what_does_not_last() {
    let rig = Rig::start("");
    rig.home.write_credential("admin", &Credential::from_seed(0));
    rig.home.write("rules.json", r#"{"allow":["/v1/status"]}"#);
    let kes = |arguments: &str| {
        let mut command = Command::new(Binary::Kes.path());
        command.args(arguments.split(' ')).current_dir(rig.home.path()).env_clear();
        command.envs([("KES_SERVER", rig.server.address().to_string().as_str()), ("KES_CA_PATH", "server.crt")]);
        command.envs([("KES_CLIENT_CERT", "admin.crt"), ("KES_CLIENT_KEY", "admin.key")]);
        let output = command.output().expect("the command line starts");
        let text = [output.stdout, output.stderr].concat();
        (output.status.code(), String::from_utf8_lossy(&text).into_owned())
    };
    let done = (Some(0), String::new());
    let (admin, member) = (Credential::from_seed(0), &rig.identity);
    assert_eq!(kes("policy create new rules.json"), done);
    assert_eq!(kes(&format!("policy assign new {member}")), done);
    assert_eq!(rig.status_as(&rig.member), 200);
    assert_eq!(kes("policy ls").1, "Policy\nkept\nnew  ephemeral\n");
    assert_eq!(kes("policy ls --json").1, "[\"kept\",\"new\"]\n");
    let mut lines = vec![admin.identity().to_owned(), format!("{member}  ephemeral")];
    lines.push(Credential::from_seed(2).identity().to_owned());
    lines.sort();
    assert_eq!(kes("identity ls").1, format!("Identity\n{}\n", lines.join("\n")));
    for arguments in ["policy info new".to_owned(), format!("identity info {member}")] {
        let text = kes(&arguments).1;
        assert!(text.contains("Lasts       until the server restarts or reads its configuration again"), "{text}");
    }
    assert_eq!(kes(&format!("identity rm {member}")), done);
    assert_eq!(rig.status_as(&rig.member), 403);
    assert_eq!(kes("policy rm new"), done);
    assert_eq!(kes("policy ls").1, "Policy\nkept\n");

    let off = format!("{}compat: {{ephemeral_policies: off}}\n", rig.config);
    rig.server.rewrite_config(Kind::Ours, &rig.home, &off);
    rig.server.signal(Signal::HUP);
    rig.server.expect_stdout("Reloading configuration after SIGHUP signal completed.");
    let (code, text) = kes("policy create new rules.json");
    assert_eq!(code, Some(1));
    assert!(text.contains("not implemented") && text.contains("compat.ephemeral_policies: off"), "{text}");
}

/// What MinIO before 2022 compares.
#[test]
fn old_words_on_request() {
    for (compat, exists, refused) in [
        ("", "key already exists", "not authorized: insufficient permissions"),
        ("compat: {legacy_messages: on}", "key does already exist", "prohibited by policy"),
    ] {
        let rig = Rig::start(compat);
        assert_eq!(rig.ask(&rig.admin, "POST", "/v1/key/create/k1", "").status, 200);
        let again = rig.ask(&rig.admin, "POST", "/v1/key/create/k1", "");
        assert_eq!((again.status, again.member("message")), (400, exists.to_owned()));
        let status = rig.ask(&rig.member, "GET", "/v1/status", "");
        assert_eq!((status.status, status.member("message")), (403, refused.to_owned()));
    }
}

/// A client of the time when these routes were the usual way: its requests, and its reading of what `?enclave=` asks for.
#[test]
#[ignore = "needs the KES command line of 2023: peers/peers.sh install kes-2023"]
fn the_command_line_of_2023_changes_policies() {
    let rig = Rig::start("");
    for (name, seed) in [("admin", 0), ("member", 1)] {
        rig.home.write_credential(name, &Credential::from_seed(seed));
    }
    rig.home.write("rules.json", r#"{"allow":["/v1/status","/v1/key/create/*"],"deny":["/v1/key/create/x*"]}"#);
    let kes = |who: &str, arguments: &str| {
        let output = Command::new(peer("kes-2023"))
            .args(arguments.split(' '))
            .arg("-k")
            .current_dir(rig.home.path())
            .env("KES_SERVER", format!("https://{}", rig.server.address()))
            .env("KES_CLIENT_CERT", format!("{who}.crt"))
            .env("KES_CLIENT_KEY", format!("{who}.key"))
            .env_remove("KES_API_KEY")
            .output()
            .expect("the old command line starts");
        let text = [output.stdout, output.stderr].concat();
        (output.status.code(), String::from_utf8_lossy(&text).into_owned())
    };
    let done = (Some(0), String::new());
    let identity = &rig.identity;
    assert_eq!(kes("admin", "policy create new rules.json"), done);
    assert_eq!(kes("admin", &format!("policy assign new {identity}")), done);
    assert_eq!(kes("member", "key create k1"), done);
    let denied = kes("member", "key create x1");
    assert!(denied.0 == Some(1) && denied.1.contains("not authorized: insufficient permissions"), "{denied:?}");
    for (arguments, expected) in
        [("policy info new".to_owned(), "Name        new"), (format!("identity info {identity}"), "Policy      new")]
    {
        let (code, text) = kes("admin", &arguments);
        assert!(code == Some(0) && text.contains(expected), "{arguments}: {text}");
    }
    let (code, text) = kes("member", "identity info -e default");
    let shown = ["Policy      new", "/v1/key/create/*", "/v1/key/create/x*", "Role        User"];
    assert!(code == Some(0) && shown.iter().all(|words| text.contains(words)), "{text}");
    assert_eq!(kes("member", "key create -e default k2"), done);
    assert_eq!(kes("admin", &format!("identity rm {identity}")), done);
    assert!(kes("member", "key create k3").1.contains("not authorized"));
    assert_eq!(kes("admin", "policy rm new"), done);
    let gone = kes("admin", "policy rm new");
    assert!(gone.0 == Some(1) && gone.1.contains("policy does not exist"), "{gone:?}");
    let itself = kes("admin", &format!("policy assign kept {}", Credential::from_seed(0).identity()));
    assert!(itself.0 == Some(1) && itself.1.contains("cannot assign policy to system admin"), "{itself:?}");
}
