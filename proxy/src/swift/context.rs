//! What every request of the edge shares.

use std::sync::Arc;

use clock::{Dice, WallClock};
use identity::token::TokenSource;
use store::{Bucket, RequestContext, Store, StoreError};

use super::SwiftOptions;
use super::ratelimit::Pace;
use super::reply::{Refused, from_store};
use super::request::Container;
use super::settings::Settings;
use crate::http::Admission;

/// The parts of one edge. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Swift {
    pub(crate) store: Store,
    pub(crate) tokens: Arc<dyn TokenSource>,
    pub(crate) clock: Arc<dyn WallClock>,
    pub(crate) dice: Arc<dyn Dice>,
    pub(crate) admission: Admission,
    pub(crate) pace: Arc<Pace>,
    pub(crate) options: Arc<SwiftOptions>,
}

impl Swift {
    /// The container of that name in the project that `cx` acts in; a global name of another project does not count.
    pub(crate) async fn bucket(&self, cx: &RequestContext, name: &str) -> Result<Option<Bucket>, Refused> {
        match self.store.bucket(cx, name).await {
            Ok(bucket) if bucket.info.project == cx.project => Ok(Some(bucket)),
            Ok(_) | Err(StoreError::NoSuchBucket) => Ok(None),
            Err(error) => Err(from_store(error)),
        }
    }

    /// As [`Self::bucket`], with what the bucket's shard keeps of it.
    pub(crate) async fn container(&self, cx: &RequestContext, name: &str) -> Result<Option<Arc<Container>>, Refused> {
        let Some(bucket) = self.bucket(cx, name).await? else {
            return Ok(None);
        };
        let (config, totals) = match self.store.bucket_state(cx, &bucket).await {
            Ok(state) => state,
            Err(StoreError::NoSuchBucket) => return Ok(None),
            Err(error) => return Err(from_store(error)),
        };
        let settings = Settings::of_container(&config)?;
        Ok(Some(Arc::new(Container {
            bucket,
            config,
            totals,
            settings,
        })))
    }
}
