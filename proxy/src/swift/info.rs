//! `/info`: what this edge does, and its limits. What is not listed is not there.

use http::StatusCode;
use serde_json::{Value, json};
use store::PolicyList;

use super::SwiftOptions;
use super::reply::{JSON, Reply};
use super::sync::Realms;
use super::{bulk, extract, large, limits, policies, read, slo, tempurl};

/// The document.
pub(crate) fn document(options: &SwiftOptions, policies: &PolicyList, body_bytes_max: u64) -> Value {
    let mut info = json!({
        "swift": {
            "version": env!("CARGO_PKG_VERSION"),
            "account_autocreate": true,
            "account_listing_limit": limits::LISTING_MAX,
            "allow_account_management": false,
            "allow_open_expired": false,
            "container_listing_limit": limits::LISTING_MAX,
            "extra_header_count": 0,
            "max_account_name_length": limits::ACCOUNT_NAME_MAX,
            "max_container_name_length": limits::CONTAINER_NAME_MAX,
            "max_file_size": body_bytes_max,
            "max_header_size": limits::HEADER_MAX,
            "max_meta_count": limits::META_COUNT_MAX,
            "max_meta_name_length": limits::META_NAME_MAX,
            "max_meta_overall_size": limits::META_OVERALL_MAX,
            "max_meta_value_length": limits::META_VALUE_MAX,
            "max_object_name_length": limits::OBJECT_NAME_MAX,
            "policies": policies::told(policies, &options.policy),
            "strict_cors_mode": true,
            "valid_api_versions": ["v1", "v1.0"],
        },
        "account_quotas": {},
        "bulk_delete": { "max_deletes_per_request": bulk::DELETES_MAX, "max_failed_deletes": bulk::FAILURES_MAX },
        "bulk_upload": {
            "max_containers_per_extraction": extract::CONTAINERS_MAX,
            "max_failed_extractions": bulk::FAILURES_MAX,
        },
        "container_quotas": {},
        "container_sync": Realms(&options.sync).told(),
        "dlo": { "max_segments": 100_000 },
        "formpost": { "allowed_digests": tempurl::DIGESTS },
        "object_versioning": {},
        "slo": {
            "allow_async_delete": false,
            "max_manifest_segments": slo::SEGMENTS_MAX,
            "max_manifest_size": slo::MANIFEST_BYTES_MAX,
            "min_segment_size": 1,
            "max_nested": large::SUB_DEPTH_MAX,
            "yield_frequency": slo::BEAT.as_secs(),
        },
        "staticweb": {},
        "symlink": { "symloop_max": read::LINKS_MAX, "static_links": true },
        "tempurl": {
            "methods": tempurl::METHODS,
            "allowed_digests": tempurl::DIGESTS,
            "incoming_remove_headers": [],
            "incoming_allow_headers": [],
            "outgoing_remove_headers": ["x-object-meta-*"],
            "outgoing_allow_headers": ["x-object-meta-public-*"],
        },
        "versioned_writes": { "allowed_flags": ["x-versions-location", "x-history-location"] },
    });
    if let (Some(limits), Some(map)) = (options.rate_limits.told(), info.as_object_mut()) {
        map.insert("ratelimit".into(), limits);
    }
    if let (true, Some(map)) = (options.v1.is_some(), info.as_object_mut()) {
        map.insert("tempauth".into(), json!({ "account_acls": true }));
    }
    info
}

/// Answers `/info`.
pub(crate) fn show(options: &SwiftOptions, policies: &PolicyList, body_bytes_max: u64) -> Reply {
    Reply::text(
        StatusCode::OK,
        JSON,
        document(options, policies, body_bytes_max).to_string(),
    )
}
