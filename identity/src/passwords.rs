//! Passwords: hashed with Argon2id (19 MiB, 2 passes, OWASP's first choice) on threads of their own.
//!
//! At most one hash runs for every two cores, at low priority, and a bounded number waits: a storm of logins neither
//! takes the memory nor the cores of those who read and write objects (MEM-1).

use std::sync::Arc;
use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};

use argon2::password_hash::{PasswordHasher, PasswordVerifier};
use argon2::{Algorithm, Argon2, Params, Version};
use clock::Dice;
use parking_lot::Mutex;
use tokio::sync::oneshot;
use zeroize::Zeroizing;

use crate::error::IdentityError;

/// Memory of one hash, KiB.
const MEMORY_KIB: u32 = 19 * 1024;
/// Passes over it.
const PASSES: u32 = 2;
/// Checks that may wait; one more is told to come back.
const QUEUE_MAX: usize = 256;
/// How much the threads yield to those who serve objects.
const NICE: i32 = 10;
/// Longest password, in bytes: hashing time does not depend on it, copying does.
pub(crate) const PASSWORD_BYTES_MAX: usize = 4096;
const SALT_BYTES: usize = 16;

enum Work {
    Hash {
        salt: [u8; SALT_BYTES],
        answer: oneshot::Sender<Option<String>>,
    },
    Verify {
        hash: String,
        answer: oneshot::Sender<bool>,
    },
}

struct Job {
    password: Zeroizing<String>,
    work: Work,
}

/// The threads that hash.
pub(crate) struct Passwords {
    queue: SyncSender<Job>,
    /// Compared against when there is no such user, so that the time of an answer does not tell.
    nobody: String,
}

impl Passwords {
    /// Starts the threads; they end with this value.
    pub(crate) fn start(dice: &dyn Dice) -> Self {
        let (queue, jobs) = sync_channel(QUEUE_MAX);
        let jobs = Arc::new(Mutex::new(jobs));
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        for _ in 0..(cores / 2).max(1) {
            let jobs = jobs.clone();
            let thread = std::thread::Builder::new().name("password-hash".to_owned());
            if let Err(error) = thread.spawn(move || work_off(&jobs)) {
                tracing::error!(%error, "no thread for password hashing");
            }
        }
        let mut bytes = [0; 32];
        dice.fill(&mut bytes);
        let nobody = hash(&hex::encode(bytes), &[7; SALT_BYTES]).unwrap_or_default();
        Self { queue, nobody }
    }

    /// Hashes a new password.
    ///
    /// # Errors
    /// [`IdentityError::Busy`].
    pub(crate) async fn hash(&self, dice: &dyn Dice, password: &str) -> Result<String, IdentityError> {
        let mut salt = [0; SALT_BYTES];
        dice.fill(&mut salt);
        let (answer, answered) = oneshot::channel();
        self.submit(password, Work::Hash { salt, answer })?;
        let hashed = answered.await.map_err(|_| IdentityError::Busy)?;
        hashed.ok_or(IdentityError::Invalid("the password cannot be hashed"))
    }

    /// Whether a password is the one that was hashed; without a hash the answer is no, and takes as long.
    ///
    /// # Errors
    /// [`IdentityError::Busy`].
    pub(crate) async fn verify(&self, password: &str, hash: Option<&str>) -> Result<bool, IdentityError> {
        if password.len() > PASSWORD_BYTES_MAX {
            return Ok(false);
        }
        let (answer, answered) = oneshot::channel();
        let hash_known = hash.is_some();
        let hash = hash.unwrap_or(&self.nobody).to_owned();
        self.submit(password, Work::Verify { hash, answer })?;
        let same = answered.await.map_err(|_| IdentityError::Busy)?;
        Ok(same && hash_known)
    }

    fn submit(&self, password: &str, work: Work) -> Result<(), IdentityError> {
        let job = Job {
            password: Zeroizing::new(password.to_owned()),
            work,
        };
        match self.queue.try_send(job) {
            Ok(()) => Ok(()),
            Err(TrySendError::Full(_)) => Err(IdentityError::Busy),
            Err(TrySendError::Disconnected(_)) => Err(IdentityError::Invalid("no thread hashes passwords")),
        }
    }
}

fn work_off(jobs: &Mutex<Receiver<Job>>) {
    // On Linux a thread has a priority of its own.
    if let Err(error) = rustix::process::nice(NICE) {
        tracing::debug!(%error, "password hashing keeps its priority");
    }
    loop {
        let job = jobs.lock().recv();
        let Ok(Job { password, work }) = job else { return };
        match work {
            // A client that went away needs no answer.
            Work::Hash { answer, .. } if answer.is_closed() => {}
            Work::Verify { answer, .. } if answer.is_closed() => {}
            Work::Hash { salt, answer } => {
                let _ = answer.send(hash(&password, &salt));
            }
            Work::Verify { hash, answer } => {
                let same = argon2().verify_password(password.as_bytes(), hash.as_str()).is_ok();
                let _ = answer.send(same);
            }
        }
    }
}

fn argon2() -> Argon2<'static> {
    let params = Params::new(MEMORY_KIB, PASSES, 1, None).expect("the parameters are within the algorithm's limits");
    Argon2::new(Algorithm::Argon2id, Version::V0x13, params)
}

fn hash(password: &str, salt: &[u8]) -> Option<String> {
    let hashed = argon2().hash_password_with_salt(password.as_bytes(), salt);
    hashed.ok().map(|hash| hash.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;
    use clock::SeededDice;

    #[tokio::test]
    async fn only_the_right_password_is_right() {
        let dice = SeededDice::new(1);
        let passwords = Passwords::start(&dice);
        let hash = passwords.hash(&dice, "correct horse").await.expect("hashed");
        assert!(hash.starts_with("$argon2id$v=19$m=19456,t=2,p=1$"), "{hash}");
        assert!(passwords.verify("correct horse", Some(&hash)).await.expect("checked"));
        assert!(!passwords.verify("correct hors", Some(&hash)).await.expect("checked"));
        assert!(!passwords.verify("", None).await.expect("checked"));
        let again = passwords.hash(&dice, "correct horse").await.expect("hashed");
        assert_ne!(hash, again, "salts differ");
    }

    #[tokio::test]
    async fn a_full_queue_refuses_instead_of_growing() {
        let passwords = Arc::new(Passwords::start(&SeededDice::new(1)));
        let waiting = 2 * QUEUE_MAX;
        let checks: Vec<_> = (0..waiting)
            .map(|_| {
                let (answer, answered) = oneshot::channel();
                let hash = passwords.nobody.clone();
                (passwords.submit("x", Work::Verify { hash, answer }), answered)
            })
            .collect();
        let refused = checks
            .iter()
            .filter(|(sent, _)| matches!(sent, Err(IdentityError::Busy)));
        assert!(refused.count() >= QUEUE_MAX / 2);
    }
}
