//! The 291 requests of `vectors/http/http.json`, in their order, against a real server process.
//!
//! The file says what the old server answered. [`departure`] lists every id where ours answers otherwise on purpose, and why; everything
//! else must be the same in status, headers and body, byte for byte.

use kes_tests::{Body, Client, Connection, Credential, Home, Kind, Request, Response, Server};
use serde_json::{Value, json};
use std::collections::BTreeMap;

const REFUSED: &str = "{\"message\":\"not authorized: insufficient permissions\"\n}";
const NOT_IMPLEMENTED: &str = "{\"message\":\"not implemented\"\n}";
const NOT_FOUND: &str = "404 page not found\n";

#[test]
fn every_recorded_request_is_answered_as_recorded() {
    let file: Value = serde_json::from_str(include_str!("../vectors/http/http.json")).expect("the vectors are JSON");
    let servers: BTreeMap<&str, Running> =
        file["servers"].as_object().expect("servers").iter().map(|(k, v)| (k.as_str(), Running::start(v))).collect();
    let clients: BTreeMap<&str, Client> =
        file["clients"].as_object().expect("clients").iter().map(|(k, v)| (k.as_str(), client(v))).collect();
    let anonymous = Client::anonymous();

    let vectors = file["vectors"].as_array().expect("vectors");
    let mut saved = String::new();
    let mut wrong = Vec::new();
    for vector in vectors {
        let id = vector["id"].as_str().expect("an id");
        let server = &servers[vector["server"].as_str().expect("a server")];
        let client = vector["client"].as_str().map_or(&anonymous, |name| &clients[name]);
        let request = request(vector, &server.server.address().to_string(), &saved);
        let expected = expectation(id, &vector["expect"]);
        let outcome = server.exchange(client, &request, &expected);
        match &outcome {
            Ok(response) if id == "enc-save" => saved = response.member("ciphertext"),
            // The old server has no such policy in later lists.
            Ok(response) if id == "route-legacy-policy-write" && response.status == 200 => {
                server
                    .exchange(
                        &clients["admin"],
                        &Request::new("DELETE", "/v1/policy/delete/p"),
                        &json!({"status": 200}),
                    )
                    .expect("the policy goes");
            }
            // The old server refused this import, and later lists in the file do not show its key.
            Ok(response) if id == "import-legacy-body" && response.status == 200 => {
                server
                    .exchange(&clients["admin"], &Request::new("DELETE", "/v1/key/delete/i5"), &json!({"status": 200}))
                    .expect("the key goes");
            }
            _ => {}
        }
        let faults = outcome.map_or_else(|fault| vec![fault], |response| compare(&expected, &response));
        wrong.extend(faults.into_iter().map(|fault| format!("{id}: {fault}")));
    }
    assert_eq!(vectors.len(), 291);
    assert!(wrong.is_empty(), "{} faults:\n{}", wrong.len(), wrong.join("\n"));
}

/// Our answer where it is not the recorded one, with the reason.
fn departure(id: &str) -> Option<(&'static str, Value)> {
    let list =
        "lists are served without their final slash: a redirect costs a round trip and not every client follows it";
    let clean = "uncleaned paths are no routes: a proxy and this server must not read one path in two ways";
    let legacy = "routes that old clients still know are answered, so that their error says what is the matter";
    let globs = "patterns were written as globs up to 2023-10-03; their written meaning is restored";
    let keys =
        |names: &str| json!({"status": 200, "headers": {"content-type": "application/json"}, "body_regex": names});
    let not_found = json!({"status": 404, "headers": {"content-type": "text/plain; charset=utf-8"}, "body": NOT_FOUND});
    let message = |status: u16, text: &str| json!({"status": status, "headers": {"content-type": "application/json"}, "body": format!("{{\"message\":\"{text}\"\n}}")});
    let changes =
        "policies and identities can be changed over the API again, as up to 2023-08, until a restart or a reload";
    let gone = json!({"status": 501, "headers": {"content-type": "application/json"}, "body": NOT_IMPLEMENTED});
    let status = json!({"status": 200, "headers": {"content-type": "application/json"}, "body_regex": "\\{\"version\":.*\\}\\n"});
    let described = |name| json!({"status": 200, "headers": {"content-type": "application/json"}, "body_regex": format!("\\{{\"name\":\"{name}\",.*\\}}\\n")});
    let refused = json!({"status": 403, "headers": {"content-type": "application/json"}, "body": REFUSED});
    Some(match id {
        "route-redirect-list" | "route-redirect-query" => {
            (list, keys(r#"\{"names":\["broken","legacy","legacych","pbkey"\]\}\n"#))
        }
        "route-redirect-policy-list" => {
            (list, keys(r#"\{"names":\["app","empty","globs","minimal","rules","star"\],"continue_at":""\}\n"#))
        }
        "route-redirect-nopol" => (list, refused),
        "route-redirect-create" => (
            "a route without its final slash is that route: GET is the wrong method for it",
            json!({"status": 405, "headers": {"accept": "PUT"}, "body": "{\"message\":\"received method 'GET' expected 'PUT'\"\n}"}),
        ),
        "route-redirect-double-slash"
        | "route-redirect-inner-double"
        | "route-redirect-dot"
        | "route-redirect-dotdot"
        | "route-redirect-dot-end"
        | "route-redirect-post" => (clean, not_found),
        "route-legacy-bulk" => {
            (legacy, json!({"status": 200, "headers": {"content-type": "application/json"}, "body": "[]\n"}))
        }
        "route-legacy-trace" => {
            (legacy, json!({"status": 200, "headers": {"content-type": "application/x-ndjson"}, "stream": true}))
        }
        "route-legacy-policy-write" => (changes, json!({"status": 200, "headers": {}, "body": ""})),
        "route-legacy-policy-assign" => (changes, message(400, "identity is unknown")),
        "route-legacy-identity-delete" => (changes, message(404, "identity does not exist")),
        "route-legacy-enclave" | "route-legacy-secret" => (legacy, gone),
        "self-app" => (
            "the old server looked up an empty name; this is the form that official clients read",
            json!({"status": 200, "headers": {"content-type": "application/json"},
                   "body_regex": r#"\{"identity":"fd110d30[0-9a-f]{56}","policy":"app","allow":\{.*\},"created_at":"[^"]*","created_by":"339e2ff9[0-9a-f]{56}"\}\n"#}),
        ),
        "list-prefix-star-literal" => (
            "a final star is the prefix before it, as for policies and identities",
            keys(r#"\{"names":\["k1","k2","k3"\]\}\n"#),
        ),
        "import-legacy-body" => {
            ("clients up to 2023-09 send these names", json!({"status": 200, "headers": {}, "body": ""}))
        }
        "auth-rules-deny-inner-star" => ("a deny pattern that its author wrote as a glob must not be inert", refused),
        "auth-globs-inner-star" => (globs, described("g1")),
        "auth-globs-question" => (globs, described("ga")),
        "auth-globs-class" => (globs, described("g2")),
        "auth-globs-star-mid" => (globs, status),
        "metrics" => (
            "the parameter `escaping` is an artefact of the old server's library",
            json!({"status": 200, "headers": {"content-type": "text/plain; version=0.0.4; charset=utf-8"},
                   "body_contains": ["# TYPE kes_http_request_active gauge\n", "# TYPE kes_http_response_time histogram\n", "kes_system_up_time "]}),
        ),
        "enc-byte-array" => (
            "bytes as an array of numbers were an accident of the old decoder",
            json!({"status": 400, "headers": {"content-type": "application/json"}, "body": "{\"message\":\"invalid request body\"\n}"}),
        ),
        "name-bad-escape" => {
            ("errors of HTTP itself have empty bodies", json!({"status": 400, "headers": {}, "body": ""}))
        }
        _ => return None,
    })
}

fn expectation(id: &str, recorded: &Value) -> Value {
    let head = std::env::var("KES_EXPECT").is_ok_and(|value| value == "head");
    departure(id).filter(|_| !head).map_or_else(|| recorded.clone(), |(_reason, ours)| ours)
}

#[test]
fn every_departure_names_a_vector() {
    let file: Value = serde_json::from_str(include_str!("../vectors/http/http.json")).expect("the vectors are JSON");
    let departs = |vector: &&Value| departure(vector["id"].as_str().expect("an id")).is_some();
    assert_eq!(file["vectors"].as_array().expect("vectors").iter().filter(departs).count(), 29);
}

struct Running {
    _home: Home,
    server: Server,
}

impl Running {
    fn start(description: &Value) -> Self {
        let home = Home::new();
        for (name, content) in description["store_files"].as_object().expect("store files") {
            home.write(&format!("keys/{name}"), content.as_str().expect("a file's text"));
        }
        let mut config = description["config"].clone();
        config["address"] = json!("{{address}}");
        config["tls"] = json!({"key": home.path().join("server.key"), "cert": home.path().join("server.crt")});
        config["keystore"] = json!({"fs": {"path": home.path().join("keys")}});
        // JSON is YAML.
        let server = Server::start(Kind::Ours, &home, &config.to_string());
        Self { _home: home, server }
    }

    fn exchange(&self, client: &Client, request: &Request, expected: &Value) -> Result<Response, String> {
        let connection = Connection::open(self.server.address(), client);
        let mut connection = connection.map_err(|fault| format!("no connection: {fault:?}"))?;
        if expected["stream"] == json!(true) {
            connection.send(&request.bytes("localhost", "HTTP/1.1")).map_err(|fault| format!("{fault:?}"))?;
            return connection.read_head().map_err(|fault| format!("no headers: {fault:?}"));
        }
        connection.exchange(request).map_err(|fault| format!("no response: {fault:?}"))
    }
}

fn client(description: &Value) -> Client {
    let credential = Credential::from_api_key(description["api_key"].as_str().expect("an API key"));
    assert_eq!(description["identity"], json!(credential.identity()));
    Client::new(&credential)
}

fn request(vector: &Value, authority: &str, ciphertext: &str) -> Request {
    let text = |name: &str| vector[name].as_str().expect("a string").replace("{{authority}}", authority);
    let mut request = Request::new(&text("method"), &text("path"));
    if let Some(headers) = vector["headers"].as_object() {
        request
            .headers
            .extend(headers.iter().map(|(name, value)| (name.clone(), value.as_str().expect("a header").to_owned())));
    }
    let body = match &vector["body"] {
        Value::Null => return request,
        Value::String(text) => text.replace("{{ct}}", ciphertext),
        generated => {
            let part = |name: &str| generated["gen"][name].as_str().unwrap_or_default();
            let count = usize::try_from(generated["gen"]["count"].as_u64().expect("a count")).expect("a small count");
            format!("{}{}{}", part("prefix"), part("fill").repeat(count), part("suffix"))
        }
    };
    let chunked = vector["chunked"] == json!(true);
    request.body(if chunked { Body::Unsized(body.into()) } else { Body::Sized(body.into()) })
}

/// The differences between an expectation and a response.
fn compare(expected: &Value, response: &Response) -> Vec<String> {
    let mut faults = Vec::new();
    let text = response.text();
    let shown: String = text.chars().take(200).collect();
    if expected["status"] != json!(response.status) {
        return vec![format!("status {} instead of {}: {shown}", response.status, expected["status"])];
    }
    for (name, value) in expected["headers"].as_object().into_iter().flatten() {
        if response.header(name) != value.as_str() {
            faults.push(format!("header {name}: {:?} instead of {value}", response.header(name)));
        }
    }
    if let Some(body) = expected["body"].as_str()
        && text != body
    {
        faults.push(format!("body {shown:?} instead of {body:?}"));
    }
    if let Some(pattern) = expected["body_regex"].as_str() {
        let regex = regex_lite::Regex::new(&format!("^(?s:{pattern})$")).expect("a pattern of the file");
        if !regex.is_match(&text) {
            faults.push(format!("body {shown:?} does not match {pattern}"));
        }
    }
    for part in expected["body_contains"].as_array().into_iter().flatten().filter_map(Value::as_str) {
        if !text.contains(part) {
            faults.push(format!("no {part:?} in {shown:?}"));
        }
    }
    if let Some(length) = expected["body_length"].as_u64()
        && length != response.body.len() as u64
    {
        faults.push(format!("a body of {} bytes instead of {length}", response.body.len()));
    }
    if let Some(members) = expected["body_json_set"].as_array() {
        let answered = response.json();
        let answered = answered.as_array().map(Vec::as_slice).unwrap_or_default();
        faults.extend(members.iter().filter(|member| !answered.contains(member)).map(|member| format!("no {member}")));
        faults.extend(
            answered.iter().filter(|member| !members.contains(member)).map(|member| format!("unexpected {member}")),
        );
    }
    faults
}
