//! Sources of credentials, as AWS has them.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use serde_json::json;
use time::OffsetDateTime;

use super::alone::World;
use super::{Act, Front, REGION, Request};

/// A world whose API is this one.
pub fn world(api: &Arc<Front>) -> World {
    World::default().with(api).set("TEST_ENDPOINT", api.url())
}

/// As the metadata services write times.
pub fn at(time: SystemTime) -> String {
    OffsetDateTime::from(time).format(&time::format_description::well_known::Rfc3339).unwrap()
}

pub fn in_an_hour() -> String {
    at(SystemTime::now() + Duration::from_secs(3600))
}

/// Credentials as containers get them.
pub fn document(id: &str, end: &str) -> Act {
    let body = json!({ "AccessKeyId": id, "SecretAccessKey": "s", "Token": "t", "Expiration": end, "RoleArn": "r" });
    Act::Answer(200, body.to_string())
}

/// Instance metadata of version 2: nothing without a token of its own.
pub fn metadata(request: &Request, id: &str, end: &str) -> Act {
    let path = request.line.split(' ').nth(1).unwrap_or_default();
    if request.line.starts_with("PUT /latest/api/token ") {
        return Act::Answer(200, "metadata-token".to_owned());
    }
    if request.header("x-aws-ec2-metadata-token") != Some("metadata-token") {
        return Act::Answer(401, String::new());
    }
    match path.trim_end_matches('/') {
        "/latest/meta-data/iam/security-credentials" | "/latest/meta-data/iam/security-credentials-extended" => {
            Act::Answer(200, "kes-role".to_owned())
        }
        path if path.ends_with("/kes-role") => {
            let body = json!({
                "Code": "Success", "Type": "AWS-HMAC", "AccessKeyId": id, "SecretAccessKey": "s", "Token": "t",
                "AccountId": "123456789012", "LastUpdated": at(SystemTime::now()), "Expiration": end,
            });
            Act::Answer(200, body.to_string())
        }
        "/latest/meta-data/placement/region" => Act::Answer(200, REGION.to_owned()),
        _ => Act::Answer(404, String::new()),
    }
}
