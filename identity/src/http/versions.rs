//! Which versions of the API there are.

use std::sync::Arc;

use http::StatusCode;
use serde_json::{Value, json};

use super::answer::Answer;
use super::caller::Call;
use crate::refusal::Refusal;

pub(crate) async fn list(call: Arc<Call>) -> Result<Answer, Refusal> {
    let body = json!({ "versions": { "values": [v3(&call)] } });
    Ok(Answer::of(StatusCode::MULTIPLE_CHOICES, body))
}

pub(crate) async fn show(call: Arc<Call>) -> Result<Answer, Refusal> {
    Ok(Answer::ok(json!({ "version": v3(&call) })))
}

fn v3(call: &Call) -> Value {
    json!({
        "id": "v3.14", "status": "stable", "updated": "2020-04-07T00:00:00Z",
        "links": [{ "rel": "self", "href": format!("{}/v3/", call.base) }],
        "media-types": [{ "base": "application/json", "type": "application/vnd.openstack.identity-v3+json" }],
    })
}
