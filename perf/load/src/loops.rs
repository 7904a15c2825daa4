//! Load in closed loops (as fast as it goes) and in an open one (at a fixed rate).

use crate::request::{Blocking, Prep, check, parse};
use crate::{Res, e};
use bytes::Bytes;
use rustls::pki_types::ServerName;
use rustls::{ClientConfig, HandshakeKind};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_rustls::client::TlsStream;

pub enum Conn {
    H1(Box<TlsStream<TcpStream>>, Vec<u8>),
    H2(h2::client::SendRequest<Bytes>),
}
pub async fn connect(addr: SocketAddr, cfg: &Arc<ClientConfig>) -> Res<TlsStream<TcpStream>> {
    let t = TcpStream::connect(addr).await.map_err(e("connect"))?;
    t.set_nodelay(true).map_err(e("nodelay"))?;
    tokio_rustls::TlsConnector::from(cfg.clone()).connect(ServerName::try_from("localhost").unwrap(), t).await.map_err(e("handshake"))
}
pub async fn h1_call(s: &mut TlsStream<TcpStream>, buf: &mut Vec<u8>, p: &Prep) -> Res<()> {
    s.write_all(&p.raw).await.map_err(e("write"))?;
    s.flush().await.map_err(e("flush"))?;
    buf.clear();
    loop {
        if s.read_buf(buf).await.map_err(e("read"))? == 0 {
            return Err("connection closed".into());
        }
        if let Some((code, from, to)) = parse(buf)? {
            return check(p, code, &buf[from..to]);
        }
    }
}
pub async fn h2_call(s: &mut h2::client::SendRequest<Bytes>, p: &Prep) -> Res<()> {
    let r =
        http::Request::builder().method(&p.method).uri(&p.uri).header("user-agent", "Go-http-client/2.0").header("accept-encoding", "gzip");
    let r = if p.body.is_empty() { r } else { r.header("content-type", "application/json").header("content-length", p.body.len()) };
    let mut ready = s.clone().ready().await.map_err(e("h2 ready"))?;
    let (resp, mut send) = ready.send_request(r.body(()).unwrap(), p.body.is_empty()).map_err(e("h2 send"))?;
    if !p.body.is_empty() {
        send.send_data(p.body.clone(), true).map_err(e("h2 data"))?;
    }
    let (parts, mut body) = resp.await.map_err(e("h2 response"))?.into_parts();
    let mut all = Vec::new();
    while let Some(d) = body.data().await {
        let d = d.map_err(e("h2 body"))?;
        let _ = body.flow_control().release_capacity(d.len());
        all.extend_from_slice(&d);
    }
    check(p, parts.status.as_u16(), &all)
}
pub async fn open_conns(addr: SocketAddr, cfg: &Arc<ClientConfig>, n: usize, h2p: bool) -> Res<Vec<Conn>> {
    let mut v = Vec::new();
    for _ in 0..n {
        let s = connect(addr, cfg).await?;
        if h2p {
            let (send, conn) = h2::client::handshake(s).await.map_err(e("h2 handshake"))?;
            tokio::spawn(async move {
                let _ = conn.await;
            });
            v.push(Conn::H2(send));
        } else {
            v.push(Conn::H1(Box::new(s), Vec::with_capacity(4096)));
        }
    }
    Ok(v)
}
pub async fn closed(conns: &mut Vec<Conn>, preps: &Arc<Vec<Prep>>, streams: usize, dur: Duration, seed: usize) -> Res<u64> {
    let end = Instant::now() + dur;
    let mut set = tokio::task::JoinSet::new();
    for (i, c) in conns.drain(..).enumerate() {
        let preps = preps.clone();
        let at = seed.wrapping_add(i.wrapping_mul(7919));
        set.spawn(async move {
            let mut n = 0u64;
            match c {
                Conn::H1(mut s, mut buf) => {
                    let mut at = at;
                    while Instant::now() < end {
                        h1_call(&mut s, &mut buf, &preps[at % preps.len()]).await?;
                        at = at.wrapping_add(31);
                        n += 1;
                    }
                    Ok::<_, String>((Conn::H1(s, buf), n))
                }
                Conn::H2(s) => {
                    let mut inner = tokio::task::JoinSet::new();
                    for j in 0..streams {
                        let (mut s, preps) = (s.clone(), preps.clone());
                        inner.spawn(async move {
                            let (mut n, mut at) = (0u64, at.wrapping_add(j * 101));
                            while Instant::now() < end {
                                h2_call(&mut s, &preps[at % preps.len()]).await?;
                                at = at.wrapping_add(31);
                                n += 1;
                            }
                            Ok::<_, String>(n)
                        });
                    }
                    while let Some(r) = inner.join_next().await {
                        n += r.map_err(e("task"))??;
                    }
                    Ok((Conn::H2(s), n))
                }
            }
        });
    }
    let mut n = 0;
    while let Some(r) = set.join_next().await {
        let (c, k) = r.map_err(e("task"))??;
        n += k;
        conns.push(c);
    }
    Ok(n)
}
/// New connection per request; returns (connections, resumed ones).
pub async fn handshakes(addr: SocketAddr, cfg: &Arc<ClientConfig>, p: &Arc<Prep>, par: usize, dur: Duration) -> Res<(u64, u64)> {
    let end = Instant::now() + dur;
    let mut set = tokio::task::JoinSet::new();
    for _ in 0..par {
        let (cfg, p) = (cfg.clone(), p.clone());
        set.spawn(async move {
            let (mut n, mut r, mut buf) = (0, 0, Vec::with_capacity(4096));
            while Instant::now() < end {
                let mut s = connect(addr, &cfg).await?;
                h1_call(&mut s, &mut buf, &p).await?;
                r += (s.get_ref().1.handshake_kind() == Some(HandshakeKind::Resumed)) as u64;
                let _ = s.shutdown().await;
                n += 1;
            }
            Ok::<_, String>((n, r))
        });
    }
    let (mut n, mut r) = (0, 0);
    while let Some(x) = set.join_next().await {
        let (a, b) = x.map_err(e("task"))??;
        n += a;
        r += b;
    }
    Ok((n, r))
}

/// Fixed rate on `conns` blocking connections. A request that could not start on time because its connection still waited counts
/// from its planned time (no coordinated omission); one that woke late for the generator's own reasons counts from the wake-up.
pub fn open_loop(conns: &mut [Blocking], preps: &[Prep], rate: f64, dur: Duration) -> Res<Vec<u32>> {
    let n = conns.len();
    let t0 = Instant::now() + Duration::from_millis(5);
    let total = (rate * dur.as_secs_f64()) as usize;
    let out: Vec<Res<Vec<u32>>> = std::thread::scope(|s| {
        let hs: Vec<_> = conns
            .iter_mut()
            .enumerate()
            .map(|(i, c)| {
                s.spawn(move || {
                    unsafe { libc::prctl(libc::PR_SET_TIMERSLACK, 1000) };
                    let mut v = Vec::with_capacity(total / n + 1);
                    for k in (i..total).step_by(n) {
                        let due = t0 + Duration::from_secs_f64(k as f64 / rate);
                        let mut from = due;
                        let now = Instant::now();
                        if now < due {
                            std::thread::sleep(due - now);
                            from = Instant::now();
                        }
                        c.call(&preps[k % preps.len()])?;
                        v.push(from.elapsed().as_nanos().min(u32::MAX as u128) as u32);
                    }
                    Ok(v)
                })
            })
            .collect();
        hs.into_iter().map(|h| h.join().unwrap()).collect()
    });
    let mut all = Vec::new();
    for r in out {
        all.extend(r?);
    }
    Ok(all)
}
