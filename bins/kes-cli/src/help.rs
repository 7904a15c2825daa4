//! What help shows behind the options: examples for every command, and the topics of `kes help TOPIC`.

/// Texts of `kes help TOPIC`.
pub(crate) const TOPICS: &[(&str, &str)] =
    &[("exit-codes", EXIT_CODES), ("environment", ENVIRONMENT), ("servers-file", SERVERS_FILE)];

/// The text of a topic.
pub(crate) fn topic(name: &str) -> Option<&'static str> {
    TOPICS.iter().find(|(topic, _)| *topic == name).map(|(_, text)| *text)
}

pub(crate) const TOP: &str = "Examples:
  kes server --quick ./kes             from nothing to a server
  kes connect minio ./kes              what to tell MinIO, and a proof that it works
  kes identity new                     make an API key
  export KES_SERVER=127.0.0.1:7373 KES_API_KEY=kes:v1:...
  kes status                           see that the server is there
  kes key create my-key                make a key
  kes key dek my-key                   make a data key sealed by it
  kes -c prod key ls 'backup-*'        ask a server of ~/.config/kes/config.toml

More:
  kes help COMMAND                     the same as kes COMMAND --help
  kes help exit-codes                  what the exit status tells
  kes help environment                 all variables
  kes help servers-file                several servers, each with a name";

const EXIT_CODES: &str = "Exit status of every command:

    0  done
    1  failed, for a reason that has no status of its own
    2  wrong usage: nothing was done
    3  not found: a key, policy or identity is not there
    4  exists already
    5  not authorized: the server's policies do not allow it
    6  no connection, or one side does not trust the other's certificate
    7  the server is there, its key store is not
  130  interrupted (Ctrl-C)

Errors go to standard error: `Error: ` and what happened, then `hint: ` and what to do, where there is something to do.
";

const ENVIRONMENT: &str =
    "Variables, in the order in which they are looked at. One that is set but empty counts as unset.

  --server              MINIO_KES_SERVER, KES_SERVER, MINIO_KMS_KES_ENDPOINT
  --api-key             MINIO_KES_API_KEY, KES_API_KEY, MINIO_KMS_KES_API_KEY
  --client-key          MINIO_KES_KEY_FILE, KES_CLIENT_KEY, MINIO_KES_CLIENT_KEY, MINIO_KMS_KES_KEY_FILE
  --client-cert         MINIO_KES_CERT_FILE, KES_CLIENT_CERT, MINIO_KES_CLIENT_CERT, MINIO_KMS_KES_CERT_FILE
  password of the key   MINIO_KES_KEY_PASSWORD, KES_KEY_PASSWORD, MINIO_KMS_KES_KEY_PASSWORD
  --ca-path             MINIO_KES_CA_PATH, KES_CA_PATH, MINIO_KMS_KES_CAPATH, MINIO_KMS_KES_CA_PATH
  --server-fingerprint  KES_SERVER_FINGERPRINT
  --insecure            KES_INSECURE (on, true or 1)
  --timeout             KES_TIMEOUT
  --output              KES_OUTPUT
  --cli-config          KES_CLI_CONFIG; else config.toml below $XDG_CONFIG_HOME/kes or ~/.config/kes
  colors                NO_COLOR, CLICOLOR_FORCE, CLICOLOR, TERM
  proxy                 HTTPS_PROXY, NO_PROXY
  trusted CAs           SSL_CERT_FILE, SSL_CERT_DIR

A flag beats the entry that -c names, that beats the environment, and that the default entry of the file of servers.
";

const SERVERS_FILE: &str = "Several servers, each with a name, in ~/.config/kes/config.toml:

  default = \"prod\"

  [servers.prod]
  endpoints = [\"kes1.example.com:7373\", \"kes2.example.com:7373\"]
  api_key_command = [\"pass\", \"show\", \"kes/prod\"]
  ca_path = \"prod-ca.crt\"

  [servers.lab]
  endpoints = \"127.0.0.1:7373\"
  client_key = \"lab.key\"
  client_cert = \"lab.crt\"
  fingerprint = \"a1f64c2cd1a5f3a1f64c2cd1a5f3a1f64c2cd1a5f3a1f64c2cd1a5f3a1f64c2c\"

`kes -c lab status` asks lab, `kes status` asks prod, `kes servers` lists both.

  endpoints         one, or several of one cluster
  api_key           the key itself; keep the file to yourself (chmod 600)
  api_key_file      a file that holds it
  api_key_command   a program and its arguments that print it, within 60 seconds
  client_key        private key of a client certificate
  client_cert       the certificate
  password_file     a file with the password of the private key
  password_command  a program and its arguments that print it
  ca_path           CA certificates to trust: a file or a folder
  fingerprint       as --server-fingerprint
  insecure          true: skip the check of the server's certificate
  timeout           such as \"10s\"

A path is taken from the folder of this file; `~/` is your home.
A flag beats the entry that -c names, that beats the environment, and that the default entry.
";

pub(crate) const INIT: &str = "Examples:
  kes init /etc/kes/one --dns kes.example.net
  kes init --backend vault /etc/kes/two

It never overwrites anything. `kes server --config FOLDER/config.yml` starts the server.";

pub(crate) const CONNECT: &str = "Examples:
  kes connect minio ./kes > minio.settings
  kes connect minio --help             all forms of the settings";

pub(crate) const CONNECT_MINIO: &str = "Examples:
  kes connect minio ./kes > minio.settings
  kes connect minio ./kes --minio-data '/mnt/drive{1...4}'
  kes connect minio ./kes --k8s --endpoint https://kes.example.net:7373 | kubectl apply -f -

The settings go to standard output, the proof to standard error.";

pub(crate) const LS: &str = "Examples:
  kes ls                               all keys
  kes ls 'my-*'                        keys that match
  kes ls -i                            identities
  kes ls -p --json                     policies, as one JSON document";

pub(crate) const KEY: &str = "Examples:
  kes key create my-key
  kes key encrypt my-key \"Hello World\"
  kes key ls 'my-*'";

pub(crate) const KEY_CREATE: &str = "Examples:
  kes key create my-key
  kes key create my-key-1 my-key-2";

pub(crate) const KEY_IMPORT: &str = "Examples:
  head -c 32 /dev/urandom | base64 | kes key import my-key -
  kes key import my-key @key.base64
  kes key import --minio-static @/run/secrets/minio-key --config /etc/kes/config.yml";

pub(crate) const KEY_INFO: &str = "Examples:
  kes key info my-key
  kes key info my-key --json";

pub(crate) const KEY_LS: &str = "Examples:
  kes key ls
  kes key ls 'my-key*'
  kes key ls --json --limit 10 my-";

pub(crate) const KEY_RM: &str = "What these keys have sealed never opens again. There is no way back.

Examples:
  kes key rm my-key
  kes key rm --yes my-key-1 my-key-2";

pub(crate) const KEY_ENCRYPT: &str = "The message is at most 1 MB. In a pipe the result is {\"ciphertext\":\"...\"}.

Examples:
  kes key encrypt my-key \"Hello World\"
  kes key encrypt my-key @secret.bin --raw > secret.sealed
  printf %s \"$PASSWORD\" | kes key encrypt my-key -
  kes key encrypt my-key hello \"$(printf %s bucket/object | base64)\"";

pub(crate) const KEY_DECRYPT: &str = "In a pipe the result is {\"plaintext\":\"...\"}, in base64.

Examples:
  kes key decrypt my-key \"$CIPHERTEXT\"
  kes key decrypt my-key @secret.sealed --binary --raw > secret.bin
  kes key encrypt my-key hello | jq -r .ciphertext | kes key decrypt my-key --text -";

pub(crate) const KEY_DEK: &str =
    "Encrypt with the plaintext, then forget it and keep the ciphertext: `kes key decrypt` opens it again.

Examples:
  kes key dek my-key
  kes key dek my-key \"$(printf %s bucket/object | base64)\"";

pub(crate) const KEY_HMAC: &str = "The same key and message always give the same 32 bytes.

Examples:
  kes key hmac my-key \"Hello World\"
  kes key hmac my-key @message.bin --raw > message.mac
  kes key hmac my-key --json - < message.txt";

pub(crate) const POLICY: &str = "Examples:
  kes policy ls
  kes policy show my-app";

pub(crate) const POLICY_INFO: &str = "Examples:
  kes policy info my-app
  kes policy info my-app --json";

pub(crate) const POLICY_LS: &str = "Examples:
  kes policy ls
  kes policy ls 'my-*' --json";

pub(crate) const POLICY_SHOW: &str = "Examples:
  kes policy show my-app
  kes policy show my-app --json > my-app.json";

pub(crate) const POLICY_CREATE: &str =
    "The policy holds until the server restarts or reads its configuration again. What is to last stands there.

Examples:
  kes policy create my-app my-app.json
  echo '{\"allow\":[\"/v1/key/generate/my-*\",\"/v1/key/decrypt/my-*\"]}' | kes policy create my-app -
  kes policy create my-app config.yml    the policy my-app of a server's configuration";

pub(crate) const POLICY_ASSIGN: &str =
    "It holds until the server restarts or reads its configuration again. An identity has one policy.

Examples:
  kes policy assign my-app 339e2ff917630507b6a423b5ce084e285d1fa65d93b3e27a6195d3bbebc9ae23
  kes policy assign my-app client.crt";

pub(crate) const POLICY_RM: &str =
    "Its members may do nothing then. It comes back when the server restarts, if its configuration has it.

Examples:
  kes policy rm my-app";

pub(crate) const IDENTITY: &str = "Examples:
  kes identity                         make an API key; in a pipe only the key is printed
  kes identity kes:v1:...              whose API key is this?
  kes identity client.crt              whose certificate is this?
  kes identity private.key             the API key of a private key
  kes identity info                    who am I to the server?";

pub(crate) const IDENTITY_NEW: &str = "Examples:
  kes identity new
  kes identity new --key client.key --cert client.crt my-app
  kes identity new --key server.key --cert server.crt --ip 10.0.0.92 --dns kes.example.com --expiry 8760h kes
  kes identity new --quiet > api-key.txt";

pub(crate) const IDENTITY_OF: &str = "Examples:
  kes identity of kes:v1:...
  kes identity of client.crt
  kes identity of - < api-key.txt";

pub(crate) const IDENTITY_INFO: &str = "Examples:
  kes identity info                    who am I, and what may I do?
  kes identity info 339e2ff917630507b6a423b5ce084e285d1fa65d93b3e27a6195d3bbebc9ae23
  kes identity info client.crt --json";

pub(crate) const IDENTITY_LS: &str = "Examples:
  kes identity ls
  kes identity ls '339e*'";

pub(crate) const IDENTITY_RM: &str = "Examples:
  kes identity rm 339e2ff917630507b6a423b5ce084e285d1fa65d93b3e27a6195d3bbebc9ae23";

pub(crate) const STATUS: &str = "Examples:
  kes status
  kes status --short
  kes status --api                     the routes of the server, with their limits
  kes status --json | jq .uptime";

pub(crate) const DOCTOR: &str = "Exit status: 0 all is well (there may be warnings), 1 there are problems.

Examples:
  kes doctor --key my-key
  kes doctor --minio-env /etc/default/minio
  kes doctor --config /etc/kes/config.yaml --minio-env /etc/default/minio";

pub(crate) const READY: &str =
    "Prints nothing. Exit status 0: it can serve; 7: its key store does not answer; 6: it cannot be reached.

Examples:
  kes ready && echo fine
  kes ready --timeout 2s";

pub(crate) const API: &str =
    "The answer is printed as it came. `kes status --api` lists the routes. Log streams are for `kes log`.

Examples:
  kes api /v1/status
  kes api /v1/key/list/my-
  kes api /v1/key/generate/my-key '{}'
  kes api -X DELETE /v1/key/delete/my-key";

pub(crate) const SERVERS: &str = "No secret is shown. `kes help servers-file` tells how the file is written.

Examples:
  kes servers
  kes servers --json";

pub(crate) const VERSION: &str = "Examples:
  kes version
  kes version --json";

pub(crate) const COMPLETION: &str = "Examples:
  source <(kes completion bash)                                    now; in ~/.bashrc: always
  kes completion bash > /etc/bash_completion.d/kes                 for everybody
  kes completion zsh > \"${fpath[1]}/_kes\"
  kes completion fish > ~/.config/fish/completions/kes.fish
  kes completion powershell >> $PROFILE
  kes completion elvish >> ~/.config/elvish/rc.elv";

pub(crate) const MAN: &str = "Examples:
  kes man | man -l -
  kes man /usr/local/share/man/man1";
