//! The way to this very process: a caller that answers calls to its own node without a socket.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use metadata::ids::NodeId;

use crate::node::DeviceSet;
use crate::wire::{CallKind, Caller, Channel, Peer, Service, SharedCaller, WireError};

/// What a process that is a storage node hands to its own client.
#[derive(Clone)]
pub struct LocalNode {
    /// Its node id.
    pub node: NodeId,
    /// What answers its calls.
    pub service: Arc<dyn Service>,
    /// Its devices.
    pub devices: DeviceSet,
    /// The number its calls to other nodes carry, see [`Peer::process`].
    pub process: u64,
}

/// Calls to the own node go straight to its service; all others to `remote`.
pub struct LocalFirst {
    local: Option<LocalNode>,
    remote: SharedCaller,
}

impl LocalFirst {
    /// Puts the own node, when there is one, in front of `remote`.
    #[must_use]
    pub fn new(local: Option<LocalNode>, remote: SharedCaller) -> Self {
        Self { local, remote }
    }
}

#[async_trait]
impl Caller for LocalFirst {
    async fn call(
        &self,
        node: NodeId,
        channel: Channel,
        kind: CallKind,
        body: Bytes,
        deadline: Duration,
    ) -> Result<Bytes, WireError> {
        let Some(local) = self.local.as_ref().filter(|local| local.node == node) else {
            return self.remote.call(node, channel, kind, body, deadline).await;
        };
        let peer = Peer {
            node: Some(local.node),
            process: local.process,
        };
        match tokio::time::timeout(deadline, local.service.serve(&peer, kind, body)).await {
            Ok(Some(answer)) => Ok(answer),
            Ok(None) => Err(WireError::UnknownCall { node }),
            Err(_) => Err(WireError::NoAnswer {
                node,
                reason: "no answer before the deadline".to_owned(),
            }),
        }
    }
}
