//! Virtual-hosted style: which bucket a `Host` header names.

use s3s::S3Result;
use s3s::host::{S3Host, VirtualHost};

/// The domains whose subdomains are buckets.
#[derive(Clone, Debug, Default)]
pub(crate) struct Domains(Vec<String>);

impl Domains {
    /// Domains without port; longer ones win over their own suffixes.
    pub(crate) fn new(domains: &[String]) -> Self {
        let mut domains: Vec<String> = domains.iter().map(|domain| domain.to_ascii_lowercase()).collect();
        domains.sort_by_key(|domain| std::cmp::Reverse(domain.len()));
        Self(domains)
    }

    /// The bucket of `bucket.domain[:port]`; `None` for the domain itself and for any other host (path style).
    pub(crate) fn bucket<'a>(&self, host: &'a str) -> Option<&'a str> {
        let name = without_port(host);
        for domain in &self.0 {
            let Some(at) = name.len().checked_sub(domain.len()) else {
                continue;
            };
            let Some((front, end)) = name.split_at_checked(at) else {
                continue;
            };
            if !end.eq_ignore_ascii_case(domain) {
                continue;
            }
            if front.is_empty() {
                return None;
            }
            if let Some(bucket) = front.strip_suffix('.') {
                return (!bucket.is_empty()).then_some(bucket);
            }
        }
        None
    }
}

fn without_port(host: &str) -> &str {
    match host.rsplit_once(':') {
        Some((name, port)) if port.bytes().all(|b| b.is_ascii_digit()) && !name.ends_with(':') => name,
        _ => host,
    }
}

impl S3Host for Domains {
    fn parse_host_header<'a>(&'a self, host: &'a str) -> S3Result<VirtualHost<'a>> {
        let parsed = VirtualHost::new(host);
        Ok(match self.bucket(host) {
            Some(bucket) => parsed.with_bucket(bucket.to_ascii_lowercase()),
            None => parsed,
        })
    }
}

#[cfg(test)]
#[path = "host_tests.rs"]
mod tests;
