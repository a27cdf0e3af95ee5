//! Answers of the admin API as tables.

use crate::admin_api::model::{Buckets, Keys, MemberLine, Place, Projects, ShardHealth, ShardLine, Status};
use crate::terminal::{self, Colour, coloured};

pub(super) fn status(status: &Status) {
    terminal::line(format!("cluster {}: {}", status.cluster, verdict(status)));
    let mut nodes = terminal::table(&["node", "state", "leads", "syncs", "problem"]);
    for node in &status.nodes {
        let state = if node.up {
            coloured("up", Colour::Green)
        } else {
            coloured("away", Colour::Red)
        };
        let problem = node.problem.clone().unwrap_or_default();
        nodes.add_row([
            node.node.to_string(),
            state,
            node.leads.to_string(),
            node.syncs.to_string(),
            problem,
        ]);
    }
    terminal::line(nodes.to_string());
    devices(status);
    let mut shards = terminal::table(&[
        "shard", "health", "leader", "members", "short", "lost", "streams", "problem",
    ]);
    for shard in &status.shards {
        shards.add_row([
            if shard.shard == 0 {
                "0 (system)".to_owned()
            } else {
                shard.shard.to_string()
            },
            health(shard),
            shard.leader.map_or("none".to_owned(), |node| node.to_string()),
            shard.members.iter().map(member).collect::<Vec<_>>().join("  "),
            number(shard.short_chunks),
            number(shard.lost_chunks),
            number(shard.streams),
            shard.problem.clone().unwrap_or_default(),
        ]);
    }
    terminal::line(shards.to_string());
}

fn verdict(status: &Status) -> String {
    let short = match status.short_chunks {
        Some(count) => format!("{count} chunks short of a copy"),
        None => "how many chunks are short of a copy is not known, because a shard does not answer".to_owned(),
    };
    let lost = match status.lost_chunks {
        Some(0) | None => String::new(),
        Some(count) => format!(", {count} chunks without any known copy"),
    };
    let (word, colour) = if status.healthy {
        ("healthy", Colour::Green)
    } else {
        ("needs an eye", Colour::Yellow)
    };
    format!(
        "{}; {short}{lost} (counted just now, over all shards)",
        coloured(word, colour)
    )
}

fn devices(status: &Status) {
    let header = [
        "device", "node", "state", "used", "live", "capacity", "blobs", "segments", "damaged", "problem",
    ];
    let mut devices = terminal::table(&header);
    for device in &status.devices {
        let colour = if device.state == "ok" {
            Colour::Green
        } else {
            Colour::Red
        };
        devices.add_row([
            device.device.to_string(),
            device.node.to_string(),
            coloured(&device.state, colour),
            terminal::bytes(device.used_bytes),
            terminal::bytes(device.live_bytes),
            terminal::bytes(device.capacity_bytes),
            device.blobs.to_string(),
            device.segments.to_string(),
            device.corrupt_records.to_string(),
            device.problem.clone().unwrap_or_default(),
        ]);
    }
    terminal::line(devices.to_string());
}

fn health(shard: &ShardLine) -> String {
    match shard.health {
        ShardHealth::Ok => coloured("ok", Colour::Green),
        ShardHealth::Degraded => coloured("degraded", Colour::Yellow),
        ShardHealth::Down => coloured("down", Colour::Red),
    }
}

fn member(member: &MemberLine) -> String {
    let behind = match member.behind {
        Some(0) | None => String::new(),
        Some(entries) => format!(" -{entries}"),
    };
    format!("{}:{}{behind}", member.node, member.role)
}

fn number(count: Option<u64>) -> String {
    count.map_or("?".to_owned(), |count| count.to_string())
}

pub(super) fn keys(keys: &Keys) {
    let mut table = terminal::table(&["access key", "project", "made", "description"]);
    for key in &keys.keys {
        table.add_row([
            &key.access_key,
            &key.project,
            &terminal::date(key.created_ms),
            &key.description,
        ]);
    }
    terminal::line(table.to_string());
}

pub(super) fn projects(projects: &Projects) {
    let mut table = terminal::table(&["project", "name", "made"]);
    for project in &projects.projects {
        table.add_row([&project.id, &project.name, &terminal::date(project.created_ms)]);
    }
    terminal::line(table.to_string());
}

pub(super) fn buckets(buckets: &Buckets) {
    let mut table = terminal::table(&["bucket", "project", "shard", "objects", "bytes", "made", "state"]);
    for bucket in &buckets.buckets {
        table.add_row([
            bucket.name.clone(),
            bucket.project.clone(),
            bucket.shard.to_string(),
            number(bucket.objects),
            bucket.bytes.map_or("?".to_owned(), terminal::bytes),
            terminal::date(bucket.created_ms),
            bucket.state.clone(),
        ]);
    }
    terminal::line(table.to_string());
}

pub(super) fn place(place: &Place) {
    let Place {
        bucket,
        key,
        version,
        size,
        etag,
        shard,
        ..
    } = place;
    terminal::line(format!(
        "{bucket}/{key}, version {version}: {size} bytes, etag {etag}, shard {shard}"
    ));
    if place.inline {
        terminal::line("Its bytes lie in the shard, beside the key: as many copies as the shard has members.");
        return;
    }
    let mut table = terminal::table(&["part", "chunk", "partition", "copies (device:state, * = handoff)"]);
    for stream in &place.streams {
        for chunk in &stream.chunks {
            let copies = chunk.copies.iter().map(|copy| {
                let mark = if copy.primary { "" } else { "*" };
                let fragment = copy
                    .fragment
                    .map_or(String::new(), |number| format!("fragment {number} on "));
                let colour = if copy.state == "ok" { Colour::Green } else { Colour::Red };
                format!("{fragment}{}{mark}:{}", copy.device, coloured(&copy.state, colour))
            });
            table.add_row([
                stream.part.map_or(String::new(), |part| part.to_string()),
                chunk.chunk.to_string(),
                chunk.partition.to_string(),
                copies.collect::<Vec<_>>().join("  "),
            ]);
        }
    }
    terminal::line(table.to_string());
    if place.truncated {
        terminal::note("There are more chunks than are shown.");
    }
}
