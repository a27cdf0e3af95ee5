//! The network: calls as closures that travel for a while, get lost, arrive twice, or meet a cut.
//!
//! A call is a message to its target and a message back. Nothing arrives at once: a message is delivered by the world
//! between two of its steps, so machines touch each other only through here.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::{Range, RangeInclusive};
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use futures::future::BoxFuture;
use metadata::ids::{DeviceId, NodeId};
use metadata::model::PolicyId;
use parking_lot::Mutex;
use storage_node::blob_http::{BlobClientError, Fault, ListAnswer, ListCall, RemoteBlobs};
use storage_node::device::{Blob, BlobHeader, BlobKey, BlobSlice, BlobStore, DeviceError, Digest, Purpose};
use storage_node::node::DeviceSet;
use storage_node::wire::{CallKind, Caller, Channel, Peer, Service, WireError};
use tokio::runtime::Handle;
use tokio::sync::oneshot;

use crate::dice::SimDice;
use crate::trace::Trace;

/// A machine: storage nodes have the number of their node, proxies numbers from [`PROXY`] on.
pub(crate) type MachineId = u64;
/// The number of the first proxy.
pub(crate) const PROXY: MachineId = 100;

/// What the network does to messages.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Weather {
    /// The usual delay of a message, in milliseconds.
    pub(crate) delay_ms: (u64, u64),
    /// Messages that take much longer, in thousandths, and how long at most.
    pub(crate) slow_permille: u64,
    pub(crate) slow_ms: u64,
    /// Messages that are lost, in thousandths.
    pub(crate) loss_permille: u64,
    /// Calls that arrive twice, in thousandths.
    pub(crate) twice_permille: u64,
}

impl Weather {
    pub(crate) const FAIR: Self = Self {
        delay_ms: (1, 3),
        slow_permille: 0,
        slow_ms: 0,
        loss_permille: 0,
        twice_permille: 0,
    };
}

/// What a running machine answers with.
#[derive(Clone)]
pub(crate) struct Endpoint {
    pub(crate) handle: Handle,
    pub(crate) service: Arc<dyn Service>,
    pub(crate) devices: DeviceSet,
}

type Arrive = Box<dyn FnOnce(Option<&Endpoint>) + Send>;

struct Message {
    from: MachineId,
    to: MachineId,
    what: String,
    arrive: Arrive,
}

/// The network; clones share it.
#[derive(Clone)]
pub(crate) struct Net {
    inner: Arc<Mutex<Inner>>,
    dice: SimDice,
    trace: Trace,
}

struct Inner {
    now_ms: u64,
    sent: u64,
    weather: Weather,
    under_way: BTreeMap<(u64, u64), Message>,
    endpoints: BTreeMap<MachineId, Endpoint>,
    /// One-way cuts.
    cuts: BTreeSet<(MachineId, MachineId)>,
}

/// What a call has done at its target.
type Work<T> = Arc<dyn Fn(&Endpoint) -> BoxFuture<'static, T> + Send + Sync>;
/// Who waits for the first answer.
type Answered<T> = Arc<Mutex<Option<oneshot::Sender<Result<T, Lost>>>>>;

/// Why a call got no answer.
enum Lost {
    Unreachable,
    NoAnswer,
}

impl Net {
    pub(crate) fn new(dice: SimDice, trace: Trace) -> Self {
        let inner = Inner {
            now_ms: 0,
            sent: 0,
            weather: Weather::FAIR,
            under_way: BTreeMap::new(),
            endpoints: BTreeMap::new(),
            cuts: BTreeSet::new(),
        };
        Self {
            inner: Arc::new(Mutex::new(inner)),
            dice,
            trace,
        }
    }

    pub(crate) fn set_weather(&self, weather: Weather) {
        self.inner.lock().weather = weather;
    }

    pub(crate) fn cut(&self, from: MachineId, to: MachineId) {
        self.inner.lock().cuts.insert((from, to));
    }

    pub(crate) fn mend(&self) {
        self.inner.lock().cuts.clear();
    }

    pub(crate) fn attach(&self, machine: MachineId, endpoint: Endpoint) {
        self.inner.lock().endpoints.insert(machine, endpoint);
    }

    pub(crate) fn detach(&self, machine: MachineId) {
        let gone = self.inner.lock().endpoints.remove(&machine);
        drop(gone);
    }

    /// Delivers what is due at `now_ms` to machines that are not `frozen`; for those it waits at their door.
    pub(crate) fn deliver(&self, now_ms: u64, frozen: &BTreeSet<MachineId>) {
        let mut again = Vec::new();
        loop {
            let (message, endpoint, cut) = {
                let mut inner = self.inner.lock();
                inner.now_ms = now_ms;
                let Some(entry) = inner.under_way.first_entry().filter(|entry| entry.key().0 <= now_ms) else {
                    break;
                };
                let (at, message) = entry.remove_entry();
                if frozen.contains(&message.to) {
                    again.push((at, message));
                    continue;
                }
                let cut = inner.cuts.contains(&(message.from, message.to));
                let endpoint = inner.endpoints.get(&message.to).cloned();
                (message, endpoint, cut)
            };
            let Message { from, to, what, arrive } = message;
            if cut {
                self.trace.event(&format!("cut   {from} -> {to} {what}"));
                // The sender's deadline passes: a cut network says nothing.
                std::mem::forget(arrive);
                continue;
            }
            self.trace.event(&format!("net   {from} -> {to} {what}"));
            arrive(endpoint.as_ref());
        }
        let mut inner = self.inner.lock();
        for ((_, number), message) in again {
            inner.under_way.insert((now_ms + 1, number), message);
        }
    }

    fn send(&self, from: MachineId, to: MachineId, what: String, arrive: Arrive) {
        let mut inner = self.inner.lock();
        let weather = inner.weather;
        let (least, most) = weather.delay_ms;
        let mut delay = self.dice.within(least..most + 1);
        if self.dice.chance(weather.slow_permille) {
            delay += self.dice.below(weather.slow_ms + 1);
        }
        inner.sent += 1;
        let key = (inner.now_ms + delay.max(1), inner.sent);
        if self.dice.chance(weather.loss_permille) {
            drop(inner);
            self.trace.event(&format!("lost  {from} -> {to} {what}"));
            std::mem::forget(arrive);
            return;
        }
        inner.under_way.insert(key, Message { from, to, what, arrive });
    }

    /// Has `work` done at `to` and brings back what it said.
    async fn ask<T: Send + 'static>(
        &self,
        from: MachineId,
        to: MachineId,
        what: &str,
        work: Work<T>,
    ) -> Result<T, Lost> {
        let (answered, answer) = oneshot::channel();
        let answered = Arc::new(Mutex::new(Some(answered)));
        let times = 1 + u64::from(self.dice.chance(self.inner.lock().weather.twice_permille));
        for _ in 0..times {
            let (net, work, answered, said) = (self.clone(), Arc::clone(&work), Arc::clone(&answered), what.to_owned());
            let arrive: Arrive = Box::new(move |endpoint| net.arrived(endpoint, from, to, said, &work, answered));
            self.send(from, to, what.to_owned(), arrive);
        }
        drop(answered);
        answer.await.unwrap_or(Err(Lost::NoAnswer))
    }

    /// A call arrived: starts the work on its machine, whose answer travels back.
    fn arrived<T: Send + 'static>(
        self,
        endpoint: Option<&Endpoint>,
        from: MachineId,
        to: MachineId,
        what: String,
        work: &Work<T>,
        answered: Answered<T>,
    ) {
        let back = move |net: Self, said: Result<T, Lost>| {
            let arrive: Arrive = Box::new(move |_| {
                if let Some(answered) = answered.lock().take() {
                    drop(answered.send(said));
                }
            });
            net.send(to, from, format!("answer to {what}"), arrive);
        };
        match endpoint {
            // Nobody listens: the other machine's system says so.
            None => back(self, Err(Lost::Unreachable)),
            Some(endpoint) => {
                let doing = work(endpoint);
                endpoint.handle.spawn(async move { back(self, Ok(doing.await)) });
            }
        }
    }
}

/// Calls of one process.
pub(crate) struct SimCaller {
    pub(crate) net: Net,
    pub(crate) from: MachineId,
    pub(crate) peer: Peer,
}

#[async_trait]
impl Caller for SimCaller {
    async fn call(
        &self,
        node: NodeId,
        _channel: Channel,
        kind: CallKind,
        body: Bytes,
        deadline: Duration,
    ) -> Result<Bytes, WireError> {
        let peer = self.peer.clone();
        let what = format!("{kind:?} {}", body.len());
        let work = Arc::new(move |endpoint: &Endpoint| -> BoxFuture<'static, Option<Bytes>> {
            let (service, peer, body) = (Arc::clone(&endpoint.service), peer.clone(), body.clone());
            Box::pin(async move { service.serve(&peer, kind, body).await })
        });
        let asked = self.net.ask(self.from, node.0, &what, work);
        let no_answer = |reason: &str| WireError::NoAnswer {
            node,
            reason: reason.to_owned(),
        };
        match tokio::time::timeout(deadline, asked).await {
            Ok(Ok(Some(answer))) => Ok(answer),
            Ok(Ok(None)) => Err(WireError::UnknownCall { node }),
            Ok(Err(Lost::Unreachable)) => Err(WireError::Unreachable {
                node,
                reason: "connection refused".to_owned(),
            }),
            Ok(Err(Lost::NoAnswer)) => Err(no_answer("the connection broke")),
            Err(_) => Err(no_answer("no answer before the deadline")),
        }
    }
}

/// Blobs of other nodes, asked by one process.
pub(crate) struct SimBlobs {
    pub(crate) net: Net,
    pub(crate) from: MachineId,
}

impl SimBlobs {
    async fn ask<T: Send + 'static>(
        &self,
        node: NodeId,
        device: DeviceId,
        what: &str,
        work: impl Fn(Arc<dyn BlobStore>) -> BoxFuture<'static, Result<T, DeviceError>> + Send + Sync + 'static,
    ) -> Result<T, BlobClientError> {
        type Said<T> = Result<T, (Fault, String)>;
        let there = Arc::new(move |endpoint: &Endpoint| -> BoxFuture<'static, Said<T>> {
            match endpoint.devices.get(device) {
                None => Box::pin(async { Err((Fault::NoSuchDevice, "no such device".to_owned())) }),
                Some(store) => {
                    let doing = work(store);
                    Box::pin(async move { doing.await.map_err(|e| (Fault::from(&e), e.to_string())) })
                }
            }
        });
        match self
            .net
            .ask(self.from, node.0, &format!("{what} on {device}"), there)
            .await
        {
            Ok(Ok(answer)) => Ok(answer),
            Ok(Err((fault, why))) => Err(BlobClientError::Fault(fault, why)),
            Err(Lost::Unreachable) => Err(BlobClientError::Refused("connection refused".to_owned())),
            Err(Lost::NoAnswer) => Err(BlobClientError::Broken("the connection broke".to_owned())),
        }
    }
}

#[async_trait]
impl RemoteBlobs for SimBlobs {
    async fn put(&self, node: NodeId, device: DeviceId, blob: &Blob) -> Result<(), BlobClientError> {
        let (blob, what) = (blob.clone(), format!("blob put {}", blob.header.len));
        let put = move |store: Arc<dyn BlobStore>| -> BoxFuture<'static, _> {
            let blob = blob.clone();
            Box::pin(async move { store.put(blob).await })
        };
        self.ask(node, device, &what, put).await
    }

    async fn read(
        &self,
        node: NodeId,
        device: DeviceId,
        key: BlobKey,
        range: Range<u32>,
        _purpose: Purpose,
    ) -> Result<BlobSlice, BlobClientError> {
        let read = move |store: Arc<dyn BlobStore>| -> BoxFuture<'static, _> {
            let range = range.clone();
            Box::pin(async move { store.read(key, range).await })
        };
        self.ask(node, device, "blob read", read).await
    }

    async fn stat(&self, node: NodeId, device: DeviceId, key: BlobKey) -> Result<Option<BlobHeader>, BlobClientError> {
        let stat = move |store: Arc<dyn BlobStore>| -> BoxFuture<'static, _> {
            Box::pin(async move { store.stat(key).await })
        };
        self.ask(node, device, "blob stat", stat).await
    }

    async fn stat_many(
        &self,
        node: NodeId,
        device: DeviceId,
        keys: Vec<BlobKey>,
    ) -> Result<Vec<Option<BlobHeader>>, BlobClientError> {
        let stat = move |store: Arc<dyn BlobStore>| -> BoxFuture<'static, _> {
            let keys = keys.clone();
            Box::pin(async move {
                let mut headers = Vec::with_capacity(keys.len());
                for key in keys {
                    headers.push(store.stat(key).await?);
                }
                Ok(headers)
            })
        };
        self.ask(node, device, "blob stats", stat).await
    }

    async fn remove(&self, node: NodeId, device: DeviceId, keys: &[BlobKey]) -> Result<(), BlobClientError> {
        let (keys, what) = (keys.to_vec(), format!("blob remove {}", keys.len()));
        let remove = move |store: Arc<dyn BlobStore>| -> BoxFuture<'static, _> {
            let keys = keys.clone();
            Box::pin(async move { store.remove(keys).await })
        };
        self.ask(node, device, &what, remove).await
    }

    async fn list(&self, node: NodeId, device: DeviceId, call: ListCall) -> Result<ListAnswer, BlobClientError> {
        let list = move |store: Arc<dyn BlobStore>| -> BoxFuture<'static, _> {
            let (after, until, limit) = (call.after, call.until_placement, call.limit as usize);
            Box::pin(async move { store.list(after, until, limit).await })
        };
        self.ask(node, device, "blob list", list).await
    }

    async fn digest(
        &self,
        node: NodeId,
        device: DeviceId,
        placements: RangeInclusive<u64>,
        policy: PolicyId,
    ) -> Result<Digest, BlobClientError> {
        let digest = move |store: Arc<dyn BlobStore>| -> BoxFuture<'static, _> {
            let placements = placements.clone();
            Box::pin(async move { store.digest(placements, policy).await })
        };
        self.ask(node, device, "blob digest", digest).await
    }
}
