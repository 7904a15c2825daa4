//! The settings of MinIO, in the forms in which people run it.

use std::fmt::Write as _;
use std::path::Path;

use zeroize::Zeroizing;

/// How settings are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Form {
    /// Lines of an environment file.
    Environment,
    Compose,
    Kubernetes,
    Systemd,
}

/// What MinIO has to know.
pub(super) struct Settings<'s> {
    pub(super) endpoint: &'s str,
    pub(super) key: &'s str,
    pub(super) api_key: &'s str,
    /// The authority's certificate, as a file here.
    pub(super) ca: &'s Path,
    /// And its content.
    pub(super) authority: &'s str,
    /// A file here with the line of the API key.
    pub(super) api_key_file: &'s Path,
    /// The server listens on the loopback interface of this machine.
    pub(super) is_local: bool,
}

/// Where containers find the authority's certificate.
const CONTAINER_CA: &str = "/etc/kes/ca.crt";

/// The last open-source release has no image of its own any more in every registry: name the one you run.
const IMAGE: &str = "quay.io/minio/minio:latest";

impl Settings<'_> {
    /// The whole text. It holds the API key.
    pub(super) fn render(&self, form: Form) -> Zeroizing<String> {
        Zeroizing::new(match form {
            Form::Environment => self.environment(),
            Form::Compose => self.compose(),
            Form::Kubernetes => self.kubernetes(),
            Form::Systemd => self.systemd(),
        })
    }

    fn environment(&self) -> String {
        let ca = self.ca.display().to_string();
        let lines = [
            ("MINIO_KMS_KES_ENDPOINT", self.endpoint),
            ("MINIO_KMS_KES_KEY_NAME", self.key),
            ("MINIO_KMS_KES_API_KEY", self.api_key),
            ("MINIO_KMS_KES_CAPATH", &ca),
        ];
        lines.map(|(name, value)| format!("{name}={}\n", word(value))).concat()
    }

    fn compose(&self) -> String {
        // `$` begins a variable in a Compose file.
        let value = |text: &str| quoted(&text.replace('$', "$$"));
        let network = if self.is_local {
            "    # The server listens on this machine's loopback interface, so MinIO shares its network: ports 9000 and 9001.\n    \
             network_mode: host\n"
        } else {
            "    ports:\n      - \"9000:9000\"\n      - \"9001:9001\"\n"
        };
        format!(
            "# docker compose up: MinIO, sealing with kes. This file holds a secret: keep it as you keep passwords.
services:
  minio:
    image: {IMAGE}
    command: server /data --console-address :9001
{network}    environment:
      MINIO_KMS_KES_ENDPOINT: {endpoint}
      MINIO_KMS_KES_KEY_NAME: {key}
      MINIO_KMS_KES_API_KEY: {api_key}
      MINIO_KMS_KES_CAPATH: {CONTAINER_CA}
      MINIO_ROOT_USER: ${{MINIO_ROOT_USER:-minioadmin}}
      MINIO_ROOT_PASSWORD: ${{MINIO_ROOT_PASSWORD:-minioadmin}}
    volumes:
      - type: volume
        source: minio-data
        target: /data
      - type: bind
        source: {ca}
        target: {CONTAINER_CA}
        read_only: true
    restart: unless-stopped
volumes:
  minio-data: {{}}
",
            endpoint = value(self.endpoint),
            key = value(self.key),
            api_key = value(self.api_key),
            ca = value(&self.ca.display().to_string()),
        )
    }

    fn kubernetes(&self) -> String {
        let mut authority = String::new();
        for line in self.authority.lines() {
            let _ = writeln!(authority, "    {line}");
        }
        format!(
            "# kubectl apply -f -: MinIO with one drive, sealing with kes. A MinIO that is there already needs the first object, and
# of the second `envFrom`, the volume `kes-ca` and its mount.
apiVersion: v1
kind: Secret
metadata:
  name: minio-kes
type: Opaque
stringData:
  MINIO_KMS_KES_ENDPOINT: {endpoint}
  MINIO_KMS_KES_KEY_NAME: {key}
  MINIO_KMS_KES_API_KEY: {api_key}
  MINIO_KMS_KES_CAPATH: {CONTAINER_CA}
---
apiVersion: v1
kind: ConfigMap
metadata:
  name: minio-kes-ca
data:
  ca.crt: |
{authority}---
apiVersion: apps/v1
kind: StatefulSet
metadata:
  name: minio
spec:
  serviceName: minio
  replicas: 1
  selector:
    matchLabels:
      app: minio
  template:
    metadata:
      labels:
        app: minio
    spec:
      containers:
        - name: minio
          image: {IMAGE}
          args: [server, /data, --console-address, ':9001']
          envFrom:
            - secretRef:
                name: minio-kes
          ports:
            - name: s3
              containerPort: 9000
            - name: console
              containerPort: 9001
          readinessProbe:
            httpGet:
              path: /minio/health/ready
              port: s3
          volumeMounts:
            - name: data
              mountPath: /data
            - name: kes-ca
              mountPath: /etc/kes
              readOnly: true
      volumes:
        - name: kes-ca
          configMap:
            name: minio-kes-ca
  volumeClaimTemplates:
    - metadata:
        name: data
      spec:
        accessModes: [ReadWriteOnce]
        resources:
          requests:
            storage: 10Gi
---
apiVersion: v1
kind: Service
metadata:
  name: minio
spec:
  selector:
    app: minio
  ports:
    - name: s3
      port: 9000
    - name: console
      port: 9001
",
            endpoint = quoted(self.endpoint),
            key = quoted(self.key),
            api_key = quoted(self.api_key),
        )
    }

    fn systemd(&self) -> String {
        let setting = |name: &str, value: &str| format!("Environment={}\n", unit_word(&format!("{name}={value}")));
        format!(
            "# /etc/systemd/system/minio.service.d/kes.conf; then: systemctl daemon-reload && systemctl restart minio
# The API key stays in its own file: everybody may read the environment that a unit names.
[Unit]
Wants=kes.service
After=kes.service

[Service]
{}{}{}EnvironmentFile={}
",
            setting("MINIO_KMS_KES_ENDPOINT", self.endpoint),
            setting("MINIO_KMS_KES_KEY_NAME", self.key),
            setting("MINIO_KMS_KES_CAPATH", &self.ca.display().to_string()),
            self.api_key_file.display().to_string().replace('%', "%%"),
        )
    }
}

/// A value of an environment file, which a shell may read as well.
fn word(text: &str) -> String {
    let bare = |c: char| {
        c.is_ascii_alphanumeric() || matches!(c, '/' | '.' | '_' | '-' | ':' | '+' | '=' | '@' | ',' | '[' | ']')
    };
    if text.chars().all(bare) { text.to_owned() } else { format!("'{}'", text.replace('\'', r"'\''")) }
}

/// A YAML scalar in double quotes. JSON is YAML.
fn quoted(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}

/// A word of a systemd unit: `%` begins a specifier, and what has blanks or quotes is quoted.
fn unit_word(text: &str) -> String {
    let text = text.replace('%', "%%");
    if text.contains([' ', '\t', '"', '\'', '\\']) {
        format!("\"{}\"", text.replace('\\', r"\\").replace('"', "\\\""))
    } else {
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde::Deserialize as _;
    use serde_yaml::Value;

    const API_KEY: &str = "kes:v1:AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA";
    const AUTHORITY: &str = "-----BEGIN CERTIFICATE-----\nMIIB\n-----END CERTIFICATE-----\n";

    fn render(form: Form, ca: &str) -> String {
        let settings = Settings {
            endpoint: "https://127.0.0.1:7373",
            key: "minio-key",
            api_key: API_KEY,
            ca: Path::new(ca),
            authority: AUTHORITY,
            api_key_file: Path::new("/srv/kes/minio.env"),
            is_local: true,
        };
        settings.render(form).to_string()
    }

    #[test]
    fn the_environment_is_what_minio_reads() {
        assert_eq!(
            render(Form::Environment, "/srv/kes/ca.crt"),
            format!(
                "MINIO_KMS_KES_ENDPOINT=https://127.0.0.1:7373\nMINIO_KMS_KES_KEY_NAME=minio-key\n\
                 MINIO_KMS_KES_API_KEY={API_KEY}\nMINIO_KMS_KES_CAPATH=/srv/kes/ca.crt\n"
            )
        );
        assert!(render(Form::Environment, "/my keys/ca.crt").ends_with("CAPATH='/my keys/ca.crt'\n"));
    }

    #[test]
    fn compose_is_whole_and_valid() {
        let file: Value = serde_yaml::from_str(&render(Form::Compose, "/srv/$1 \"x\"/ca.crt")).unwrap();
        let minio = &file["services"]["minio"];
        assert_eq!(minio["environment"]["MINIO_KMS_KES_API_KEY"], API_KEY);
        assert_eq!(minio["environment"]["MINIO_KMS_KES_CAPATH"], minio["volumes"][1]["target"]);
        assert_eq!(minio["volumes"][1]["source"], "/srv/$$1 \"x\"/ca.crt");
        assert_eq!(minio["network_mode"], "host");
        assert!(file["volumes"].get(minio["volumes"][0]["source"].as_str().unwrap()).is_some());
    }

    #[test]
    fn kubernetes_objects_fit_together() {
        let text = render(Form::Kubernetes, "/srv/kes/ca.crt");
        let objects: Vec<Value> =
            serde_yaml::Deserializer::from_str(&text).map(|one| Value::deserialize(one).unwrap()).collect();
        let kinds: Vec<_> = objects.iter().map(|object| object["kind"].as_str().unwrap()).collect();
        assert_eq!(kinds, ["Secret", "ConfigMap", "StatefulSet", "Service"]);
        assert_eq!(objects[0]["stringData"]["MINIO_KMS_KES_API_KEY"], API_KEY);
        assert_eq!(objects[1]["data"]["ca.crt"], AUTHORITY);
        let pod = &objects[2]["spec"]["template"]["spec"];
        assert_eq!(pod["containers"][0]["envFrom"][0]["secretRef"]["name"], objects[0]["metadata"]["name"]);
        assert_eq!(pod["volumes"][0]["configMap"]["name"], objects[1]["metadata"]["name"]);
        assert_eq!(objects[2]["spec"]["selector"]["matchLabels"], objects[2]["spec"]["template"]["metadata"]["labels"]);
        assert_eq!(objects[3]["spec"]["selector"], objects[2]["spec"]["selector"]["matchLabels"]);
    }

    #[test]
    fn a_unit_never_holds_the_key() {
        let text = render(Form::Systemd, "/srv/my 100%/ca.crt");
        assert!(!text.contains(API_KEY) && text.contains("\nEnvironmentFile=/srv/kes/minio.env\n"));
        assert!(text.contains("\nEnvironment=\"MINIO_KMS_KES_CAPATH=/srv/my 100%%/ca.crt\"\n"), "{text}");
        assert!(text.contains("\nEnvironment=MINIO_KMS_KES_ENDPOINT=https://127.0.0.1:7373\n"));
    }
}
