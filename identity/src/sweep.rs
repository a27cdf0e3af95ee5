//! Removes what time has made meaningless: revocations of tokens that would have ended by now, old failed logins. Looks after
//! users whom directories keep.

use std::time::Duration;

use crate::error::IdentityError;
use crate::model::{Lockout, Revocation};
use crate::row::{LOCKOUTS, REVOCATIONS};
use crate::service::Identity;

/// How often.
const EVERY: Duration = Duration::from_secs(3600);
/// How long after its token's end a revocation is kept: expired tokens may still be shown to services (48 h).
const KEPT_MS: u64 = 49 * 3_600_000;

impl Identity {
    /// Sweeps once an hour and asks directories for their users again and again, forever.
    pub async fn sweep(&self) {
        tokio::join!(self.sweep_hourly(), self.options.ldap.refresh_forever(&self.records));
    }

    async fn sweep_hourly(&self) {
        loop {
            tokio::time::sleep(EVERY).await;
            if let Err(error) = self.sweep_once().await {
                tracing::warn!(%error, "old revocations stay for now");
            }
        }
    }

    pub(crate) async fn sweep_once(&self) -> Result<(), IdentityError> {
        let now = self.records.now_ms();
        for (key, row) in self.records.list::<Revocation>(REVOCATIONS, "").await? {
            if row.expires_ms.saturating_add(KEPT_MS) < now {
                self.records.remove(REVOCATIONS, &key).await?;
            }
        }
        // One-time passwords leave rows of another form, which stay: there is one for each user of them.
        for (key, row) in self.records.list::<serde_json::Value>(LOCKOUTS, "").await? {
            let Ok(lockout) = serde_json::from_value::<Lockout>(row) else {
                continue;
            };
            if lockout.last_ms.saturating_add(self.options.lockout_ms) < now {
                self.records.remove(LOCKOUTS, &key).await?;
            }
        }
        Ok(())
    }
}
