//! Certificates, configuration and server processes: each server gets the same, and a store of its own.

use crate::request::{Blocking, Prep};
use crate::system::{cpu_ns, free_port, pin};
use crate::{Res, e};
use base64::Engine;
use base64::engine::general_purpose::STANDARD as B64;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use rustls::{ClientConfig, DigitallySignedStruct, SignatureScheme};
use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::net::SocketAddr;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

#[derive(Clone)]
pub struct Id {
    pub cert: CertificateDer<'static>,
    pub key: Vec<u8>,
    pub identity: String,
}
pub fn make_cert(dir: &Path, name: &str, alg: &str) -> Res<Id> {
    let a = if alg == "ed25519" { &rcgen::PKCS_ED25519 } else { &rcgen::PKCS_ECDSA_P256_SHA256 };
    let kp = rcgen::KeyPair::generate_for(a).map_err(e("key"))?;
    let mut p = rcgen::CertificateParams::new(vec!["localhost".into(), "127.0.0.1".into()]).map_err(e("params"))?;
    p.distinguished_name.push(rcgen::DnType::CommonName, name);
    p.extended_key_usages = vec![rcgen::ExtendedKeyUsagePurpose::ServerAuth, rcgen::ExtendedKeyUsagePurpose::ClientAuth];
    let c = p.self_signed(&kp).map_err(e("sign"))?;
    std::fs::write(dir.join(format!("{name}.crt")), c.pem()).map_err(e("write"))?;
    std::fs::write(dir.join(format!("{name}.key")), kp.serialize_pem()).map_err(e("write"))?;
    let spki = rcgen::PublicKeyData::subject_public_key_info(&kp);
    let identity = ring::digest::digest(&ring::digest::SHA256, &spki).as_ref().iter().map(|b| format!("{b:02x}")).collect();
    Ok(Id { cert: c.der().clone(), key: kp.serialize_der(), identity })
}

#[derive(Debug)]
pub struct NoVerify;
impl ServerCertVerifier for NoVerify {
    fn verify_server_cert(
        &self,
        _: &CertificateDer,
        _: &[CertificateDer],
        _: &ServerName,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }
    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Ok(HandshakeSignatureValid::assertion())
    }
    fn verify_tls13_signature(
        &self,
        _: &[u8],
        _: &CertificateDer,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Ok(HandshakeSignatureValid::assertion())
    }
    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        vec![SignatureScheme::ECDSA_NISTP256_SHA256, SignatureScheme::ED25519, SignatureScheme::RSA_PSS_SHA256]
    }
}
pub fn client_config(id: &Id, alpn: &str, resume: bool) -> Arc<ClientConfig> {
    let mut p = rustls::crypto::ring::default_provider();
    // AES-128-GCM first, as Go clients (MinIO) offer it; both sides then use the same suite.
    p.cipher_suites.sort_by_key(|s| s.suite() != rustls::CipherSuite::TLS13_AES_128_GCM_SHA256);
    let mut c = ClientConfig::builder_with_provider(Arc::new(p))
        .with_protocol_versions(&[&rustls::version::TLS13])
        .unwrap()
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(NoVerify))
        .with_client_auth_cert(vec![id.cert.clone()], PrivateKeyDer::Pkcs8(id.key.clone().into()))
        .unwrap();
    c.alpn_protocols = vec![alpn.as_bytes().to_vec()];
    if !resume {
        c.resumption = rustls::client::Resumption::disabled();
    }
    Arc::new(c)
}

/// One stored key as KES HEAD writes it: base64(protobuf).
pub fn stored_key(i: usize, creator: &str) -> String {
    let d = |l: &str| ring::digest::digest(&ring::digest::SHA256, format!("{l}{i}").as_bytes());
    let mut b = vec![0x0a, 0x24, 0x0a, 0x20];
    b.extend_from_slice(d("key").as_ref());
    b.extend_from_slice(&[0x10, 1, 0x12, 0x24, 0x0a, 0x20]);
    b.extend_from_slice(d("mac").as_ref());
    b.extend_from_slice(&[0x10, 1, 0x1a, 6, 0x08, 0x80, 0xa0, 0x9e, 0xc1, 0x06, 0x22, creator.len() as u8]);
    b.extend_from_slice(creator.as_bytes());
    B64.encode(b)
}

pub struct World {
    pub dir: PathBuf,
    pub ids: BTreeMap<&'static str, Id>,
    pub nkeys: usize,
    pub audit: String,
    pub mlock: bool,
    pub server_cpu: Vec<usize>,
    pub keep: bool,
}
impl World {
    pub fn new(nkeys: usize, audit: &str, server_cpu: Vec<usize>, keep: bool) -> Res<World> {
        let dir = std::env::temp_dir().join(format!("kes-perf-{}", std::process::id()));
        std::fs::create_dir_all(&dir).map_err(e("temp dir"))?;
        let mut ids = BTreeMap::new();
        for alg in ["p256", "ed25519"] {
            make_cert(&dir, &format!("server-{alg}"), alg)?;
            ids.insert(alg, make_cert(&dir, &format!("client-{alg}"), alg)?);
        }
        let keys = dir.join("keys");
        std::fs::create_dir_all(&keys).map_err(e("keys"))?;
        for i in 0..nkeys {
            std::fs::write(keys.join(name(i)), stored_key(i, &ids["p256"].identity)).map_err(e("key file"))?;
        }
        Ok(World { dir, ids, nkeys, audit: audit.into(), mlock: false, server_cpu, keep })
    }
}
impl Drop for World {
    fn drop(&mut self) {
        if !self.keep {
            let _ = std::fs::remove_dir_all(&self.dir);
        }
    }
}
pub fn name(i: usize) -> String {
    format!("bench-{i:05}")
}

#[derive(Clone)]
pub struct Target {
    pub name: String,
    pub bin: String,
    pub env: Vec<(String, String)>,
}
impl Target {
    /// `NAME=BIN[,ENV=VALUE...]`
    pub fn parse(text: &str) -> Target {
        let (name, rest) = text.split_once('=').unwrap_or(("server", text));
        let mut parts = rest.split(',');
        let bin = parts.next().unwrap_or_default().to_string();
        let env = parts.filter_map(|part| part.split_once('=')).map(|(k, v)| (k.to_string(), v.to_string())).collect();
        Target { name: name.into(), bin, env }
    }
}
pub struct Server {
    pub child: Child,
    pub pid: u32,
    pub addr: SocketAddr,
    pub start: Duration,
    pub start_cpu: u64,
}
impl Drop for Server {
    fn drop(&mut self) {
        unsafe { libc::kill(self.pid as i32, libc::SIGTERM) };
        let t = Instant::now();
        while t.elapsed() < Duration::from_secs(3) {
            if let Ok(Some(_)) = self.child.try_wait() {
                return;
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
pub fn start(w: &World, t: &Target, alg: &'static str) -> Res<Server> {
    let port = free_port();
    // each target has its own copy of the store (hard links), so that no server's writes reach another
    let store = w.dir.join(format!("store-{}", t.name));
    if !store.exists() {
        std::fs::create_dir_all(&store).map_err(e("store"))?;
        for i in 0..w.nkeys {
            std::fs::hard_link(w.dir.join("keys").join(name(i)), store.join(name(i))).map_err(e("link"))?;
        }
    }
    let mut y = String::new();
    let d = w.dir.display();
    write!(y, "version: v1\naddress: 127.0.0.1:{port}\nadmin:\n  identity: {}\ntls:\n  key: {d}/server-{alg}.key\n  cert: {d}/server-{alg}.crt\npolicy:\n", "f".repeat(64)).unwrap();
    write!(y, "  other:\n    allow:\n    - /v1/key/create/other*\n    identities:\n    - {}\n", "e".repeat(64)).unwrap();
    write!(y, "  bench:\n    allow:\n    - /v1/key/create/bench-*\n    - /v1/key/describe/bench-*\n    - /v1/key/generate/bench-*\n    - /v1/key/encrypt/bench-*\n    - /v1/key/decrypt/bench-*\n    - /v1/key/hmac/bench-*\n    - /v1/status\n    - /v1/metrics\n    deny:\n    - /v1/key/*/bench-internal*\n    identities:\n    - {}\n    - {}\n", w.ids["p256"].identity, w.ids["ed25519"].identity).unwrap();
    write!(y, "cache:\n  expiry:\n    any: 1h\n    unused: 1h\n    offline: 0s\nlog:\n  error: off\n  audit: {}\nkeystore:\n  fs:\n    path: {}\n", w.audit, store.display()).unwrap();
    let conf = w.dir.join(format!("{}-{alg}-{port}.yml", t.name));
    std::fs::write(&conf, y).map_err(e("config"))?;
    let log = w.dir.join(format!("{}-{alg}-{port}.log", t.name));
    let f = std::fs::File::create(&log).map_err(e("log"))?;
    let (cpu, mlock) = (w.server_cpu.clone(), w.mlock);
    let mut cmd = Command::new(&t.bin);
    // `kes server --config FILE`, but the lean binary is a server already.
    if Path::new(&t.bin).file_name().is_none_or(|name| name != "kes-server") {
        cmd.arg("server");
    }
    cmd.arg("--config")
        .arg(&conf)
        .stdin(Stdio::null())
        .stdout(if w.audit == "off" { Stdio::null() } else { Stdio::from(f.try_clone().unwrap()) })
        .stderr(Stdio::from(f))
        .envs(t.env.iter().cloned())
        .env_remove("KES_SERVER");
    unsafe {
        cmd.pre_exec(move || {
            pin(&cpu);
            if !mlock {
                // Go KES calls mlockall; where that is allowed its heap arenas become resident (27 -> 150 MiB). Default: not allowed.
                let r = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
                libc::setrlimit(libc::RLIMIT_MEMLOCK, &r);
                libc::prctl(libc::PR_CAPBSET_DROP, 14 /* CAP_IPC_LOCK */, 0, 0, 0);
            }
            libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL); // no server outlives the harness
            Ok(())
        });
    }
    let t0 = Instant::now();
    let mut child = cmd.spawn().map_err(|x| format!("{}: {x}", t.bin))?;
    let pid = child.id();
    let addr: SocketAddr = ([127, 0, 0, 1], port).into();
    let cfg = client_config(&w.ids[alg], "http/1.1", false);
    let p = Prep::get("/v1/status", addr);
    let limit = Duration::from_secs(15);
    loop {
        if let Ok(mut c) = Blocking::connect(addr, &cfg) {
            match c.call(&p) {
                Ok(_) => break,
                Err(x) if t0.elapsed() > limit => return Err(format!("{}: {x}", t.name)),
                Err(_) => {}
            }
        }
        if let Ok(Some(st)) = child.try_wait() {
            return Err(format!("{} ended at start: {st}; {}", t.name, std::fs::read_to_string(&log).unwrap_or_default()));
        }
        if t0.elapsed() > limit {
            let _ = child.kill();
            let _ = child.wait();
            return Err(format!("{} does not answer /v1/status; {}", t.name, std::fs::read_to_string(&log).unwrap_or_default()));
        }
        std::thread::sleep(Duration::from_micros(500));
    }
    Ok(Server { child, pid, addr, start: t0.elapsed(), start_cpu: cpu_ns(pid) })
}
