//! The metrics page, as the official client and Prometheus read it.

use std::collections::BTreeMap;

use crate::support::{Mood, Payload, Rig, role};

/// A family: its type, and its samples with their labels.
type Families = BTreeMap<String, (String, Vec<(String, f64)>)>;

/// Reads Prometheus text, version 0.0.4, and refuses what Prometheus would.
fn parse(page: &str) -> Families {
    let mut families = Families::new();
    let mut current = String::new();
    assert!(page.ends_with('\n'));
    for line in page.lines() {
        if let Some(rest) = line.strip_prefix("# HELP ") {
            assert!(rest.contains(' '), "{line}");
        } else if let Some(rest) = line.strip_prefix("# TYPE ") {
            let (name, kind) = rest.split_once(' ').unwrap();
            assert!(["counter", "gauge", "histogram"].contains(&kind), "{line}");
            name.clone_into(&mut current);
            let twice = families.insert(current.clone(), (kind.to_owned(), Vec::new()));
            assert!(twice.is_none(), "{name} twice");
        } else {
            let (series, value) = line.rsplit_once(' ').unwrap();
            let name = series.split('{').next().unwrap();
            let (kind, samples) = families.get_mut(&current).unwrap();
            let suffix = name.strip_prefix(&current).unwrap_or_else(|| panic!("{line} under {current}"));
            assert!(suffix.is_empty() != (kind == "histogram"), "{line}");
            assert!(["", "_bucket", "_sum", "_count"].contains(&suffix), "{line}");
            assert!(samples.iter().all(|(other, _)| other != series), "{series} twice");
            samples.push((series.to_owned(), value.parse().unwrap()));
        }
    }
    families
}

/// Buckets must not shrink, and the last one is the count.
fn check_histogram(name: &str, samples: &[(String, f64)]) {
    let mut last = 0.0;
    for (series, value) in samples {
        if series.contains("_bucket") {
            let first = series.contains("le=\"0.01\"") || series.contains("le=\"0.000005\"");
            assert!(*value >= last || first, "{name}: {series}");
            last = *value;
        } else if series.contains("_count") {
            assert_eq!(*value, last, "{name}: {series}");
            last = 0.0;
        }
    }
}

async fn busy_rig() -> Rig {
    let rig = Rig::start(|_| ());
    let (app, stranger) = (rig.client(&role("app")).await, rig.client_h2(&role("stranger")).await);
    app.create("k1").await.ok();
    app.post("/v1/key/generate/k1", "{}").await.ok();
    assert_eq!(stranger.get("/v1/status").await.status, 403);
    assert_eq!(stranger.get("/nowhere").await.status, 404);
    rig.store.set(Mood::Broken);
    app.create("k2").await.refused(502, "failed to create key");
    rig.store.set(Mood::Well);
    rig
}

#[tokio::test]
async fn the_default_view_is_what_the_official_client_can_read() {
    let rig = busy_rig().await;
    let admin = rig.client(&role("admin")).await;
    for path in ["/v1/metrics", "/v1/metrics?view=fuller", "/v1/metrics?view=full&x"] {
        let page = admin.get(path).await;
        assert_eq!(page.ok().header("content-type"), Some("text/plain; version=0.0.4; charset=utf-8"));
        let families = parse(page.text());
        let expected = [
            "kes_http_request_active",
            "kes_http_request_error",
            "kes_http_request_failure",
            "kes_http_request_success",
            "kes_http_response_time",
            "kes_log_audit_events",
            "kes_log_error_events",
            "kes_system_mem_heap_objects",
            "kes_system_mem_heap_used",
            "kes_system_mem_stack_used",
            "kes_system_num_cpu",
            "kes_system_num_cpu_used",
            "kes_system_num_threads",
            "kes_system_up_time",
        ];
        assert_eq!(families.keys().collect::<Vec<_>>(), expected);
        for (name, (kind, samples)) in &families {
            let by_code = name.starts_with("kes_http_request_") && kind == "counter";
            assert!(by_code || kind == "histogram" || samples.len() == 1, "{name}: {samples:?}");
        }
    }
    rig.stop().await;
}

#[tokio::test]
async fn everything_is_counted_once() {
    let rig = busy_rig().await;
    let admin = rig.client(&role("admin")).await;
    let families = parse(admin.get("/v1/metrics").await.text());
    let of = |name: &str| families[name].1.clone();
    assert_eq!(of("kes_http_request_active"), [("kes_http_request_active".to_owned(), 1.0)], "this one");
    let code = |family: &str, code: u16| format!("kes_http_request_{family}{{code=\"{code}\"}}");
    assert_eq!(of("kes_http_request_success"), [(code("success", 200), 2.0)]);
    assert_eq!(of("kes_http_request_error"), [(code("error", 403), 1.0), (code("error", 404), 1.0)]);
    assert_eq!(of("kes_http_request_failure"), [(code("failure", 502), 1.0)]);
    assert_eq!(of("kes_log_audit_events"), [("kes_log_audit_events".to_owned(), 5.0)]);
    check_histogram("kes_http_response_time", &of("kes_http_response_time"));
    assert_eq!(of("kes_http_response_time").last().unwrap().1, 5.0);
    rig.stop().await;
}

#[tokio::test]
async fn the_operators_view_parses_too() {
    let rig = busy_rig().await;
    let admin = rig.client(&role("admin")).await;
    let page = admin.call("GET", "/v1/metrics?view=full", &[("accept", "*/*")], Payload::None).await;
    let families = parse(page.ok().text());
    assert!(families.len() > 30, "{:?}", families.keys());
    for (name, (kind, samples)) in &families {
        if kind == "histogram" && *name != "kes_store_seconds" {
            check_histogram(name, samples);
        }
    }
    let routes = &families["kes_route_requests_total"].1;
    let created = "kes_route_requests_total{route=\"/v1/key/create/\",class=\"success\"}".to_owned();
    assert!(routes.contains(&(created, 1.0)), "{routes:?}");
    let errors = &families["kes_store_errors_total"].1;
    assert!(
        errors.iter().any(|(series, count)| series.contains("operation=\"create\"") && *count == 1.0),
        "{errors:?}"
    );
    rig.stop().await;
}
