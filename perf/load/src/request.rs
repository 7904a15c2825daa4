//! Prepared requests, checked answers, and a blocking connection.

use crate::world::name;
use crate::{Res, e};
use base64::Engine;
use base64::engine::general_purpose::STANDARD as B64;
use bytes::Bytes;
use rustls::ClientConfig;
use rustls::pki_types::ServerName;
use std::io::{Read, Write};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

pub struct Prep {
    pub raw: Vec<u8>,
    pub method: http::Method,
    pub uri: String,
    pub body: Bytes,
    pub expect: Vec<u8>,
}
pub const CONTEXT: &[u8] = br#"{"bench-bucket":"bench-bucket/some/prefix/object-0001.parquet"}"#;
impl Prep {
    pub fn get(path: &str, addr: SocketAddr) -> Prep {
        Prep {
            raw: format!("GET {path} HTTP/1.1\r\nHost: {addr}\r\nUser-Agent: Go-http-client/1.1\r\nAccept-Encoding: gzip\r\n\r\n")
                .into_bytes(),
            method: http::Method::GET,
            uri: format!("https://{addr}{path}"),
            body: Bytes::new(),
            expect: b"{".to_vec(),
        }
    }
    pub fn put(path: &str, addr: SocketAddr, body: String, expect: &str) -> Prep {
        Prep {
            raw: format!("PUT {path} HTTP/1.1\r\nHost: {addr}\r\nUser-Agent: Go-http-client/1.1\r\nContent-Length: {}\r\nContent-Type: application/json\r\nAccept-Encoding: gzip\r\n\r\n{body}", body.len()).into_bytes(),
            method: http::Method::PUT, uri: format!("https://{addr}{path}"), body: body.into(), expect: expect.as_bytes().to_vec(),
        }
    }
    pub fn op(op: &str, i: usize, addr: SocketAddr) -> Prep {
        let ctx = B64.encode(CONTEXT);
        let b32 = B64.encode([i as u8; 32]);
        let path = format!("/v1/key/{op}/{}", name(i));
        match op {
            "encrypt" => Prep::put(&path, addr, format!("{{\"plaintext\":\"{b32}\",\"context\":\"{ctx}\"}}"), "\"ciphertext\""),
            "hmac" => Prep::put(&path, addr, format!("{{\"message\":\"{b32}\"}}"), "\"hmac\""),
            "generate" => Prep::put(&path, addr, format!("{{\"context\":\"{ctx}\"}}"), "\"ciphertext\""),
            _ => Prep::get(&format!("/v1/{op}"), addr),
        }
    }
}
pub fn field<'a>(body: &'a str, key: &str) -> Option<&'a str> {
    let at = body.find(&format!("\"{key}\""))? + key.len() + 2;
    body[at..].trim_start().strip_prefix(':')?.trim_start().strip_prefix('"')?.split('"').next()
}
pub fn find(h: &[u8], n: &[u8]) -> Option<usize> {
    h.windows(n.len()).position(|w| w == n)
}
/// (status, body start, end) once the whole response is there.
pub fn parse(b: &[u8]) -> Res<Option<(u16, usize, usize)>> {
    let Some(h) = find(b, b"\r\n\r\n") else { return Ok(None) };
    let code = std::str::from_utf8(b.get(9..12).unwrap_or(b"")).ok().and_then(|s| s.parse().ok()).ok_or("bad status line")?;
    let (mut len, mut chunked) = (0usize, false);
    for l in b[..h].split(|&c| c == b'\n').skip(1) {
        if l.len() > 15 && l[..15].eq_ignore_ascii_case(b"content-length:") {
            len = std::str::from_utf8(&l[15..]).unwrap_or("").trim().parse().map_err(e("content-length"))?;
        } else if l.len() > 18 && l[..18].eq_ignore_ascii_case(b"transfer-encoding:") {
            chunked = true;
        }
    }
    if chunked {
        return Ok(if b.ends_with(b"0\r\n\r\n") { Some((code, h + 4, b.len())) } else { None });
    }
    Ok(if b.len() >= h + 4 + len { Some((code, h + 4, h + 4 + len)) } else { None })
}
pub fn check(p: &Prep, code: u16, body: &[u8]) -> Res<()> {
    if code != 200 {
        return Err(format!("{} {}: status {code}: {}", p.method, p.uri, String::from_utf8_lossy(&body[..body.len().min(200)])));
    }
    if find(body, &p.expect).is_none() {
        return Err(format!("{} {}: wrong answer: {}", p.method, p.uri, String::from_utf8_lossy(&body[..body.len().min(200)])));
    }
    Ok(())
}

pub struct Blocking {
    pub s: rustls::StreamOwned<rustls::ClientConnection, std::net::TcpStream>,
    pub buf: Vec<u8>,
}
impl Blocking {
    pub fn connect(addr: SocketAddr, cfg: &Arc<ClientConfig>) -> Res<Blocking> {
        let t = std::net::TcpStream::connect(addr).map_err(e("connect"))?;
        t.set_nodelay(true).map_err(e("nodelay"))?;
        t.set_read_timeout(Some(Duration::from_secs(20))).map_err(e("timeout"))?;
        let c = rustls::ClientConnection::new(cfg.clone(), ServerName::try_from("localhost").unwrap()).map_err(e("tls"))?;
        Ok(Blocking { s: rustls::StreamOwned::new(c, t), buf: Vec::with_capacity(8192) })
    }
    pub fn call(&mut self, p: &Prep) -> Res<String> {
        self.s.write_all(&p.raw).map_err(e("write"))?;
        self.s.flush().map_err(e("flush"))?;
        self.buf.clear();
        let mut tmp = [0u8; 4096];
        loop {
            let n = self.s.read(&mut tmp).map_err(e("read"))?;
            if n == 0 {
                return Err("connection closed".into());
            }
            self.buf.extend_from_slice(&tmp[..n]);
            if let Some((code, from, to)) = parse(&self.buf)? {
                check(p, code, &self.buf[from..to])?;
                return Ok(String::from_utf8_lossy(&self.buf[from..to]).into_owned());
            }
        }
    }
}

/// Requests of one measure; for decrypt the ciphertexts come from the server itself.
pub fn prepare(op: &str, nkeys: usize, addr: SocketAddr, cfg: &Arc<ClientConfig>) -> Res<Vec<Prep>> {
    if op == "status" || op == "version" {
        let p = if op == "version" { Prep::get("/version", addr) } else { Prep::op(op, 0, addr) };
        return Ok(vec![p]);
    }
    let mut c = Blocking::connect(addr, cfg)?;
    if op != "decrypt" {
        let v: Vec<_> = (0..nkeys).map(|i| Prep::op(op, i, addr)).collect();
        for p in &v {
            c.call(p)?; // also fills the server's key cache
        }
        return Ok(v);
    }
    let ctx = B64.encode(CONTEXT);
    (0..nkeys.max(64))
        .map(|i| {
            let k = i % nkeys;
            let r = c.call(&Prep::op("generate", k, addr))?;
            let (pt, ct) = (field(&r, "plaintext").ok_or("no plaintext")?, field(&r, "ciphertext").ok_or("no ciphertext")?);
            Ok(Prep::put(&format!("/v1/key/decrypt/{}", name(k)), addr, format!("{{\"ciphertext\":\"{ct}\",\"context\":\"{ctx}\"}}"), pt))
        })
        .collect()
}
