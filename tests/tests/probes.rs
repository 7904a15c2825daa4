//! `probe.address`, and the programs that ask it from inside a container without a shell.

use kes_tests::{Binary, Credential, Home, Kind, Server, free_address};
use rustix::process::Signal;
use std::process::{Command, Output};
use std::time::Duration;

fn run(binary: Binary, arguments: &[&str]) -> (Option<i32>, String) {
    let mut command = Command::new(binary.path());
    command.args(arguments).env_remove("KES_SERVER").env_remove("KES_CONFIG").env_remove("KES_API_KEY");
    let Output { status, stdout, stderr } = command.output().expect("the program can be started");
    (status.code(), String::from_utf8_lossy(&[stdout, stderr].concat()).into_owned())
}

#[test]
fn both_programs_tell_by_their_exit_status_whether_the_server_is_ready() {
    let home = Home::new();
    let probes = free_address();
    let admin = Credential::from_seed(0).identity().to_owned();
    let config = home.config(&format!("admin: {{identity: {admin}}}\nprobe: {{address: '0.0.0.0:{}'}}", probes.port()));
    let mut server = Server::start(Kind::Ours, &home, &config);
    server.expect_stdout("=> Server is up and running...");
    assert!(
        server.stdout().contains(&format!("Probes      · http://0.0.0.0:{}\n", probes.port())),
        "{}",
        server.stdout()
    );
    let file = home.path().join("config.yml");
    let file = file.to_str().expect("text");
    let url = format!("http://{probes}");
    let live = format!("{url}/live");
    let ask = |binary, arguments: &[&str]| run(binary, arguments);
    let silent = (Some(0), String::new());
    assert_eq!(ask(Binary::KesServer, &["--probe", "--config", file]), silent);
    assert_eq!(ask(Binary::KesServer, &["--probe", &url]), silent);
    assert_eq!(ask(Binary::KesServer, &["--probe", &live]), silent);
    assert_eq!(ask(Binary::Kes, &["server", "--probe", &live]), silent);
    assert_eq!(ask(Binary::Kes, &["status", "--probe", &url]), silent);
    let api = format!("https://{}", server.address());
    let key = Credential::api_key(0);
    let api = ["status", "--probe", "--server", &api, "-k", "--api-key", &key];
    assert_eq!(ask(Binary::Kes, &api), silent);

    std::fs::rename(home.path().join("keys"), home.path().join("gone")).expect("renamed");
    let ready = |text: &str| text.contains("key store is not reachable");
    let mut answer = ask(Binary::Kes, &["status", "--probe", &url]);
    while answer == silent {
        answer = ask(Binary::Kes, &["status", "--probe", &url]); // taken for new for a second
    }
    assert!(answer.0 == Some(7) && ready(&answer.1), "{answer:?}");
    let answer = ask(Binary::KesServer, &["--probe", &url]);
    assert!(answer.0 == Some(1) && ready(&answer.1), "{answer:?}");
    let answer = ask(Binary::Kes, &api);
    assert!(answer.0 == Some(7) && ready(&answer.1), "{answer:?}");
    assert_eq!(ask(Binary::KesServer, &["--probe", &live]), silent, "it lives");

    server.signal(Signal::TERM);
    assert!(server.wait(Duration::from_secs(20)).success());
    let answer = ask(Binary::KesServer, &["--probe", "--config", file]);
    assert!(answer.0 == Some(1) && answer.1.starts_with("Error: probe http://127.0.0.1:"), "{answer:?}");
    assert_eq!(ask(Binary::Kes, &["status", "--probe", &url]).0, Some(6));
}

#[test]
fn questions_that_cannot_be_asked_say_why() {
    let home = Home::new();
    home.write("config.yml", home.config("admin: {identity: disabled}").replace("{{address}}", "127.0.0.1:7373"));
    let file = home.path().join("config.yml");
    let (status, text) = run(Binary::KesServer, &["--probe", "--config", file.to_str().expect("text")]);
    assert_eq!((status, text.lines().next()), (Some(1), Some("Error: the configuration has no 'probe.address'")));
    let (status, text) = run(Binary::KesServer, &["--probe", "https://127.0.0.1:7373"]);
    assert_eq!(status, Some(1));
    assert!(text.contains("plain HTTP"), "{text}");
    assert_eq!(run(Binary::Kes, &["status", "--probe", "nonsense"]).0, Some(2));
}
