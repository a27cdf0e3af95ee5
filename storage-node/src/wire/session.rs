//! The calling side of one open connection: many calls in flight, each answered, refused, or known to be lost.
//!
//! A call that was never handed to the socket is [`Outcome::NotSent`] (it was certainly not executed); one that was,
//! and whose connection then broke, is [`Outcome::Lost`].

use std::collections::HashMap;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use futures::StreamExt;
use parking_lot::Mutex;
use tokio::io::{AsyncWrite, AsyncWriteExt, ReadHalf, WriteHalf};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc, oneshot};
use tokio_util::codec::FramedRead;

use super::frame::{ANSWER, BUSY, Frame, FrameQueue, UNKNOWN, codec};
use super::socket::Socket;

/// Calls of one connection that may be in flight; one more is refused.
pub(super) const IN_FLIGHT_MAX: usize = 1024;
/// Bytes of calls that may wait for the socket.
const QUEUED_BYTES_MAX: usize = 64 * 1024 * 1024;
/// Frames that go out in one write.
pub(super) const FRAMES_PER_WRITE: usize = 256;
/// A peer that takes no byte for this long is given up.
pub(super) const WRITE_TIMEOUT: Duration = Duration::from_secs(10);

/// What became of a call.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Outcome {
    /// The answer's body.
    Answer(Bytes),
    /// The peer does not know the kind.
    Unknown,
    /// The peer, or this side's queue, has no room; not executed.
    Busy,
    /// Never handed to the socket; not executed.
    NotSent(String),
    /// Handed to the socket; may have been executed.
    Lost(String),
}

/// An open connection, shared by its callers.
pub(super) struct Session {
    queue: mpsc::Sender<Queued>,
    waiting: Arc<Mutex<Waiting>>,
    next: AtomicU64,
    queued_bytes: Arc<Semaphore>,
}

struct Queued {
    frame: Frame,
    /// Given back when the frame is written or dropped.
    _bytes: OwnedSemaphorePermit,
}

#[derive(Default)]
struct Waiting {
    calls: HashMap<u64, Call>,
    /// Set once, when the connection ended: why.
    ended: Option<String>,
}

struct Call {
    reply: oneshot::Sender<Outcome>,
    sent: bool,
}

impl Session {
    /// Runs a connection whose handshake is done.
    pub(super) fn start(socket: Socket) -> Arc<Self> {
        let (queue, queued) = mpsc::channel(IN_FLIGHT_MAX);
        let waiting = Arc::new(Mutex::new(Waiting::default()));
        let (reader, writer) = tokio::io::split(socket);
        let ended = Arc::clone(&waiting);
        let (for_read, for_write) = (Arc::clone(&waiting), Arc::clone(&waiting));
        tokio::spawn(async move {
            let why = tokio::select! {
                why = read_answers(reader, &for_read) => why,
                why = write_calls(writer, queued, &for_write) => why,
            };
            end(&ended, &why);
        });
        let queued_bytes = Arc::new(Semaphore::new(QUEUED_BYTES_MAX));
        Arc::new(Self {
            queue,
            waiting,
            next: AtomicU64::new(1),
            queued_bytes,
        })
    }

    /// Whether the connection has ended; every further call is [`Outcome::NotSent`].
    pub(super) fn has_ended(&self) -> bool {
        self.waiting.lock().ended.is_some()
    }

    /// One call. Dropping the future forgets the answer; the call itself may still be executed.
    pub(super) async fn call(&self, kind: u16, body: Bytes, deadline: Duration) -> Outcome {
        let Ok(bytes) = u32::try_from(body.len()) else {
            return Outcome::NotSent("too large".to_owned());
        };
        let Ok(permit) = Arc::clone(&self.queued_bytes).try_acquire_many_owned(bytes) else {
            return Outcome::Busy;
        };
        let correlation = self.next.fetch_add(1, Ordering::Relaxed);
        let (reply, answer) = oneshot::channel();
        {
            let mut waiting = self.waiting.lock();
            if let Some(why) = &waiting.ended {
                return Outcome::NotSent(why.clone());
            }
            if waiting.calls.len() >= IN_FLIGHT_MAX {
                return Outcome::Busy;
            }
            waiting.calls.insert(correlation, Call { reply, sent: false });
        }
        let forget = Forget {
            waiting: &self.waiting,
            correlation,
        };
        let deadline_ms = u32::try_from(deadline.as_millis()).unwrap_or(u32::MAX);
        let frame = Frame {
            correlation,
            kind,
            flags: 0,
            deadline_ms,
            body,
        };
        if self.queue.try_send(Queued { frame, _bytes: permit }).is_err() {
            return Outcome::Busy;
        }
        match tokio::time::timeout(deadline, answer).await {
            Ok(Ok(outcome)) => outcome,
            Ok(Err(_)) => Outcome::Lost("the connection ended".to_owned()),
            Err(_) => forget.give_up(),
        }
    }
}

/// Takes a call off the list when its future is dropped, so that late answers find nobody and no entry stays.
struct Forget<'a> {
    waiting: &'a Mutex<Waiting>,
    correlation: u64,
}

impl Forget<'_> {
    /// The deadline passed.
    fn give_up(&self) -> Outcome {
        match self.waiting.lock().calls.remove(&self.correlation) {
            Some(Call { sent: false, .. }) => Outcome::NotSent("the peer took no bytes before the deadline".to_owned()),
            _ => Outcome::Lost("no answer before the deadline".to_owned()),
        }
    }
}

impl Drop for Forget<'_> {
    fn drop(&mut self) {
        self.waiting.lock().calls.remove(&self.correlation);
    }
}

fn end(waiting: &Mutex<Waiting>, why: &str) {
    let calls = {
        let mut waiting = waiting.lock();
        waiting.ended.get_or_insert_with(|| why.to_owned());
        std::mem::take(&mut waiting.calls)
    };
    for call in calls.into_values() {
        let outcome = if call.sent {
            Outcome::Lost(why.to_owned())
        } else {
            Outcome::NotSent(why.to_owned())
        };
        // The caller may have given up meanwhile; then nobody listens, which is fine.
        let _ = call.reply.send(outcome);
    }
}

async fn read_answers(reader: ReadHalf<Socket>, waiting: &Mutex<Waiting>) -> String {
    let mut frames = FramedRead::with_capacity(reader, codec(), 64 * 1024);
    while let Some(bytes) = frames.next().await {
        let frame = match bytes.map(Frame::decode) {
            Ok(Some(frame)) if frame.flags & ANSWER != 0 => frame,
            Ok(_) => return "the peer sent something that is no answer".to_owned(),
            Err(e) => return format!("reading: {e}"),
        };
        let Some(call) = waiting.lock().calls.remove(&frame.correlation) else {
            continue;
        };
        let outcome = match frame.flags {
            flags if flags & UNKNOWN != 0 => Outcome::Unknown,
            flags if flags & BUSY != 0 => Outcome::Busy,
            _ => Outcome::Answer(frame.body),
        };
        let _ = call.reply.send(outcome);
    }
    "the peer closed the connection".to_owned()
}

async fn write_calls(
    mut writer: WriteHalf<Socket>,
    mut queued: mpsc::Receiver<Queued>,
    waiting: &Mutex<Waiting>,
) -> String {
    let mut batch = Vec::with_capacity(FRAMES_PER_WRITE);
    while queued.recv_many(&mut batch, FRAMES_PER_WRITE).await > 0 {
        {
            let mut waiting = waiting.lock();
            batch.retain(|queued| match waiting.calls.get_mut(&queued.frame.correlation) {
                Some(call) => {
                    call.sent = true;
                    true
                }
                None => false,
            });
        }
        if let Err(e) = write_frames(&mut writer, batch.iter().map(|queued| &queued.frame)).await {
            return format!("writing: {e}");
        }
        batch.clear();
    }
    "nobody calls any more".to_owned()
}

/// Writes frames in one go, and gives up on a peer that takes nothing.
pub(super) async fn write_frames<'a>(
    writer: &mut (impl AsyncWrite + Unpin),
    frames: impl Iterator<Item = &'a Frame>,
) -> io::Result<()> {
    let mut queue = FrameQueue::default();
    frames.for_each(|frame| queue.push(frame));
    queue.close_small();
    let write = async {
        writer.write_all_buf(&mut queue).await?;
        writer.flush().await
    };
    tokio::time::timeout(WRITE_TIMEOUT, write)
        .await
        .unwrap_or_else(|_| Err(io::Error::new(io::ErrorKind::TimedOut, "the peer takes no bytes")))
}
