use std::sync::Arc;
use std::time::Duration;

use http_body_util::BodyExt;
use s3s::Body;
use store::RequestId;

use super::{DECLARATION, Timing, answer};
use crate::s3::errors::error;
use crate::s3::request::Ticket;

const TIMING: Timing = Timing {
    after: Duration::from_secs(10),
    every: Duration::from_secs(5),
};

fn ticket() -> Arc<Ticket> {
    Arc::new(Ticket::new(RequestId(7)))
}

fn document(text: &str) -> http::Response<Body> {
    http::Response::new(Body::from(format!("{DECLARATION}{text}")))
}

async fn body(response: http::Response<Body>) -> String {
    let bytes = response
        .into_body()
        .collect()
        .await
        .expect("the body ends well")
        .to_bytes();
    String::from_utf8(bytes.to_vec()).expect("it is text")
}

#[tokio::test(start_paused = true)]
async fn quick_work_is_answered_as_it_is() {
    let work = async { Err(error("NoSuchUpload")) };
    let refused = answer(work, &TIMING, &ticket()).await.expect_err("it fails at once");
    assert_eq!(refused.code().as_str(), "NoSuchUpload");
}

#[tokio::test(start_paused = true)]
async fn long_work_is_bridged_by_spaces() {
    let work = async {
        tokio::time::sleep(Duration::from_secs(31)).await;
        Ok(document("<Done/>"))
    };
    let response = answer(work, &TIMING, &ticket()).await.expect("it began");
    assert_eq!(response.status(), 200);
    let text = body(response).await;
    assert_eq!(text, format!("{DECLARATION}    <Done/>"));
}

#[tokio::test(start_paused = true)]
async fn a_late_failure_is_told_inside_the_200() {
    let work = async {
        tokio::time::sleep(Duration::from_secs(11)).await;
        Err(error("InvalidPart"))
    };
    let text = body(answer(work, &TIMING, &ticket()).await.expect("it began")).await;
    assert!(
        text.starts_with(DECLARATION) && text.matches("<?xml").count() == 1,
        "{text}"
    );
    assert!(
        text.contains("<Code>InvalidPart</Code>") && text.contains("<RequestId>"),
        "{text}"
    );
}
