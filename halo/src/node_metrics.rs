//! What a storage node knows of its devices, shards and background work, as metrics.
//!
//! Values are read when they are scraped; nothing counts twice. A device that is not open has only its state.

use metrics::{counter, gauge};
use storage_node::device::DeviceState;
use storage_node::node::{DeviceStatus, NodeStatus};
use storage_node::shard::{ShardRole, ShardStatus};

/// Sets the gauges and counters of one node.
pub fn record(status: &NodeStatus) {
    gauge!("halo_node_quarantined").set(f64::from(u8::from(status.shards.quarantine.is_some())));
    counter!("halo_log_syncs_total").absolute(status.shards.syncs);
    counter!("halo_log_synced_jobs_total").absolute(status.shards.synced_jobs);
    for (peer, offset) in &status.shards.clock_offsets_ms {
        gauge!("halo_clock_offset_seconds", "peer" => peer.to_string()).set(*offset as f64 / 1000.0);
    }
    status.devices.iter().for_each(device);
    status.shards.shards.iter().for_each(shard);
    for line in &status.work {
        counter!("halo_work_done_total", "work" => line.name.clone()).absolute(line.done);
        counter!("halo_work_failed_total", "work" => line.name.clone()).absolute(line.failed);
        gauge!("halo_work_asks", "work" => line.name.clone()).set(f64::from(u8::from(line.asks.is_some())));
    }
}

fn device(status: &DeviceStatus) {
    let name = status.device.0.to_string();
    let gauge = |metric: &'static str, value: u64| gauge!(metric, "device" => name.clone()).set(value as f64);
    let counter = |metric: &'static str, value: u64| counter!(metric, "device" => name.clone()).absolute(value);
    let open = status.usage.as_ref();
    // One series per device: 2 serves, 1 only reads, 0 is out.
    gauge(
        "halo_device_state",
        match open.map_or(DeviceState::Out, |usage| usage.state) {
            DeviceState::Ok => 2,
            DeviceState::ReadOnly => 1,
            DeviceState::Out => 0,
        },
    );
    let Ok(usage) = open else { return };
    gauge("halo_device_capacity_bytes", usage.capacity_bytes);
    gauge("halo_device_used_bytes", usage.used_bytes);
    gauge("halo_device_live_bytes", usage.live_bytes);
    gauge("halo_device_dead_bytes", usage.dead_bytes);
    gauge("halo_device_blobs", usage.blobs);
    gauge("halo_device_segments", usage.segments);
    gauge("halo_device_blocked_segments", usage.blocked_segments);
    counter("halo_device_syncs_total", usage.syncs);
    counter("halo_device_puts_total", usage.puts);
    counter("halo_device_removes_total", usage.removes);
    counter("halo_device_reads_total", usage.reads);
    counter("halo_device_corrupt_records_total", usage.corrupt_records);
    counter("halo_device_torn_bytes_total", usage.torn_bytes);
}

fn shard(status: &ShardStatus) {
    let name = status.shard.0.to_string();
    let gauge = |metric: &'static str, value: u64| gauge!(metric, "shard" => name.clone()).set(value as f64);
    gauge("halo_shard_leads", u64::from(status.role == ShardRole::Leader));
    gauge("halo_shard_stopped", u64::from(status.role == ShardRole::Stopped));
    gauge("halo_shard_term", status.term);
    gauge("halo_shard_log_bytes", status.log_bytes);
    gauge("halo_shard_last_index", status.last_index.unwrap_or_default());
    gauge("halo_shard_applied_index", status.applied_index.unwrap_or_default());
    gauge("halo_shard_purged_index", status.purged_index.unwrap_or_default());
}
