//! Rate limits of accounts and containers, with the meaning of Swift's own: who asks too often waits, and who would have
//! to wait too long is refused with 498.
//!
//! Every process counts by itself, so a cluster of `n` proxies lets through up to `n` times the rate. A request is
//! counted after it was allowed: strangers take nothing of an account's rate.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use http::{Method, StatusCode};
use serde_json::{Value, json};

use super::reply::{Refused, refuse_with};
use super::request::Ask;

/// Accounts and containers counted at once; those beyond are not limited.
const KEYS_MAX: usize = 100_000;
/// Who was quiet for so long has its whole rate again, and may be a little ahead of it, in milliseconds.
const CREDIT_MS: u64 = 5000;

/// The limits of one process; none by default.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RateLimits {
    /// Containers made and deleted in one account per second; 0: no limit.
    pub account: u32,
    /// Writes per second to a container that holds so many objects, ascending; between two sizes the rate lies between
    /// theirs, below the first there is no limit.
    pub containers: Vec<(u64, u32)>,
    /// Listings per second, likewise.
    pub listings: Vec<(u64, u32)>,
    /// The longest a request waits.
    pub sleep_max: Duration,
}

impl Default for RateLimits {
    fn default() -> Self {
        Self {
            account: 0,
            containers: Vec::new(),
            listings: Vec::new(),
            sleep_max: Duration::from_secs(60),
        }
    }
}

impl RateLimits {
    /// What `/info` tells of them; `None`: there are none.
    pub(crate) fn told(&self) -> Option<Value> {
        let any = self.account > 0 || !self.containers.is_empty() || !self.listings.is_empty();
        any.then(|| {
            json!({
                "account_ratelimit": self.account,
                "container_ratelimits": self.containers,
                "container_listing_ratelimits": self.listings,
                "max_sleep_time_seconds": self.sleep_max.as_secs(),
            })
        })
    }
}

/// The rate for a container of a size, in requests per 1000 seconds.
fn rate(limits: &[(u64, u32)], objects: u64) -> Option<u64> {
    let above = limits.iter().position(|(size, _)| *size > objects);
    let (size, rate) = *limits[..above.unwrap_or(limits.len())].last()?;
    let rate = u64::from(rate) * 1000;
    let Some((next_size, next_rate)) = above.map(|at| limits[at]) else {
        return Some(rate);
    };
    let (way, whole) = (u128::from(objects - size), u128::from(next_size - size));
    let next_rate = u64::from(next_rate) * 1000;
    let part = |difference: u64| u64::try_from(u128::from(difference) * way / whole).unwrap_or(difference);
    Some(if next_rate >= rate {
        rate + part(next_rate - rate)
    } else {
        rate - part(rate - next_rate)
    })
}

/// When everybody may ask next.
#[derive(Debug, Default)]
pub(crate) struct Pace {
    next_us: Mutex<HashMap<String, u64>>,
}

impl Pace {
    /// Counts a request at a rate (per 1000 seconds); answers how long it waits. `None`: longer than `sleep_max`, and it
    /// is not counted.
    fn take(&self, key: String, rate: u64, now_ms: u64, sleep_max: Duration) -> Option<Duration> {
        if rate == 0 {
            return None;
        }
        let (now, step) = (now_ms * 1000, 1_000_000_000 / rate);
        let mut all = self.next_us.lock().unwrap_or_else(PoisonError::into_inner);
        if all.len() >= KEYS_MAX && !all.contains_key(&key) {
            all.retain(|_, next| *next > now);
            if all.len() >= KEYS_MAX {
                return Some(Duration::ZERO);
            }
        }
        let next = all.entry(key).or_insert(now);
        if *next + CREDIT_MS * 1000 < now {
            *next = now;
        }
        let wait = Duration::from_micros(next.saturating_sub(now));
        if wait > sleep_max {
            return None;
        }
        *next += step;
        Some(wait)
    }
}

/// What counts a request, and its rate.
async fn limit_of(ask: &Ask) -> Result<Option<(String, u64)>, Refused> {
    let limits = &ask.swift.options.rate_limits;
    let writes = ["PUT", "DELETE", "POST", "COPY"].contains(&ask.method.as_str());
    let account = &ask.path.account;
    let (Some(container), object) = (&ask.path.container, &ask.path.object) else {
        return Ok(None);
    };
    if object.is_none() && matches!(ask.method, Method::PUT | Method::DELETE) {
        let rate = u64::from(limits.account) * 1000;
        return Ok((rate > 0).then(|| (format!("account/{account}"), rate)));
    }
    let (kind, limits) = match (object, &ask.method) {
        (Some(_), _) if writes => ("write", &limits.containers),
        (None, &Method::GET) => ("list", &limits.listings),
        _ => return Ok(None),
    };
    if limits.is_empty() {
        return Ok(None);
    }
    let Some(found) = ask.find_container().await? else {
        return Ok(None);
    };
    let rate = rate(limits, found.totals.objects);
    Ok(rate.map(|rate| (format!("{kind}/{account}/{container}"), rate)))
}

/// Lets a request wait for its turn, or refuses it.
pub(crate) async fn wait(ask: &Ask) -> Result<(), Refused> {
    let Some((key, rate)) = limit_of(ask).await? else {
        return Ok(());
    };
    let sleep_max = ask.swift.options.rate_limits.sleep_max;
    match ask.swift.pace.take(key, rate, ask.swift.clock.now_ms(), sleep_max) {
        Some(Duration::ZERO) => Ok(()),
        Some(wait) => {
            tokio::time::sleep(wait).await;
            Ok(())
        }
        None => Err(refuse_with(limited(), "Slow down")),
    }
}

/// 498: too often.
fn limited() -> StatusCode {
    StatusCode::from_u16(498).expect("three digits make a status")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rates_fall_between_two_sizes_and_stay_beyond_the_last() {
        let limits = [(100, 100), (200, 50), (500, 1)];
        assert_eq!(rate(&limits, 99), None);
        assert_eq!(rate(&limits, 100), Some(100_000));
        assert_eq!(rate(&limits, 150), Some(75_000));
        assert_eq!(rate(&limits, 200), Some(50_000));
        assert_eq!(rate(&limits, 10_000), Some(1000));
        assert_eq!(rate(&[], 5), None);
    }

    #[test]
    fn who_asks_too_often_waits_and_then_is_refused() {
        let (pace, max) = (Pace::default(), Duration::from_secs(2));
        let take = |now_ms| pace.take("a".into(), 1000, now_ms, max);
        assert_eq!(take(10_000), Some(Duration::ZERO));
        assert_eq!(take(10_000), Some(Duration::from_secs(1)));
        assert_eq!(take(10_000), Some(Duration::from_secs(2)));
        assert_eq!(take(10_000), None, "three seconds are too long");
        assert_eq!(
            take(11_000),
            Some(Duration::from_secs(2)),
            "the refused one did not count"
        );
        assert_eq!(
            pace.take("b".into(), 1000, 10_000, max),
            Some(Duration::ZERO),
            "others are not touched"
        );
        // Up to five seconds of quiet count as credit, more do not.
        assert_eq!(take(17_000), Some(Duration::ZERO));
        assert_eq!(take(17_000), Some(Duration::ZERO));
        assert_eq!(take(100_000), Some(Duration::ZERO));
        assert_eq!(take(100_000), Some(Duration::from_secs(1)));
    }

    #[test]
    fn mem_1_the_counts_are_bounded() {
        let pace = Pace::default();
        for at in 0..KEYS_MAX + 10 {
            assert!(pace.take(at.to_string(), 1000, 1000, Duration::ZERO).is_some());
        }
        assert_eq!(pace.next_us.lock().map(|all| all.len()).ok(), Some(KEYS_MAX));
    }
}
