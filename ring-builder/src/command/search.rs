//! Which devices a command means: a search value in the syntax of Swift's tool, or options.
//!
//! ```text
//! d<id>r<region>z<zone>-<ip>:<port>R<replication ip>:<replication port>/<name>_<remark>
//! ```
//! Every part may be left out, but not all. A plain number is an id.

use crate::device::Device;

/// What a device must be like; absent parts match all.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Wanted {
    pub(super) id: Option<u32>,
    pub(super) region: Option<u32>,
    pub(super) zone: Option<u32>,
    pub(super) ip: Option<String>,
    pub(super) port: Option<u16>,
    pub(super) replication_ip: Option<String>,
    pub(super) replication_port: Option<u16>,
    pub(super) name: Option<String>,
    pub(super) weight: Option<f64>,
    pub(super) meta: Option<String>,
}

impl Wanted {
    /// Reads a search value.
    pub(super) fn parse(value: &str) -> Result<Self, String> {
        let bad = || {
            format!("search value {value:?} is not usable: give for example d3, r1z2, z1-10.0.0.1:7000/d0 or _remark")
        };
        if let Ok(id) = value.parse() {
            return Ok(Self {
                id: Some(id),
                ..Self::default()
            });
        }
        let mut text = Text(value);
        let mut wanted = Self {
            id: text.number("d").ok_or_else(bad)?,
            region: text.number("r").ok_or_else(bad)?,
            zone: text.number("z").ok_or_else(bad)?,
            ..Self::default()
        };
        text.take("-");
        wanted.ip = text.host();
        wanted.port = text.number(":").ok_or_else(bad)?;
        if text.take("R") {
            wanted.replication_ip = text.host();
            wanted.replication_port = text.number(":").ok_or_else(bad)?;
        }
        (wanted.name, wanted.meta) = text.name_and_meta();
        if text.0.is_empty() && wanted != Self::default() {
            Ok(wanted)
        } else {
            Err(bad())
        }
    }

    pub(super) fn matches(&self, device: &Device) -> bool {
        let (replication_ip, replication_port) = device.replication_host_port();
        is(self.id, device.id.0)
            && is(self.region, device.region)
            && is(self.zone, device.zone)
            && is(self.ip.as_deref(), normal_host(device.host()).as_str())
            && is(self.port, device.port())
            && is(self.replication_ip.as_deref(), normal_host(replication_ip).as_str())
            && is(self.replication_port, replication_port)
            && is(self.name.as_deref(), device.name.as_str())
            && is(self.weight.map(f64::to_bits), device.weight.to_bits())
            && self.meta.as_deref().is_none_or(|part| device.meta.contains(part))
    }
}

fn is<T: PartialEq>(wanted: Option<T>, found: T) -> bool {
    wanted.is_none_or(|wanted| wanted == found)
}

/// Lower case, and the usual short form of an IPv6 address, without brackets.
pub(super) fn normal_host(host: &str) -> String {
    let plain = host.trim_matches(['[', ']']).to_ascii_lowercase();
    plain
        .parse::<std::net::Ipv6Addr>()
        .map_or(plain, |address| address.to_string())
}

/// What is left of a value that is read from its front.
pub(super) struct Text<'a>(pub(super) &'a str);

impl<'a> Text<'a> {
    pub(super) fn take(&mut self, prefix: &str) -> bool {
        let rest = self.0.strip_prefix(prefix);
        self.0 = rest.unwrap_or(self.0);
        rest.is_some()
    }

    fn take_while(&mut self, is_part: impl Fn(char) -> bool) -> &'a str {
        let end = self.0.find(|c| !is_part(c)).unwrap_or(self.0.len());
        let (part, rest) = self.0.split_at(end);
        self.0 = rest;
        part
    }

    /// A number behind `prefix`: `Some(None)` without the prefix, `None` when no number that fits follows it.
    pub(super) fn number<N: std::str::FromStr>(&mut self, prefix: &str) -> Option<Option<N>> {
        if !self.take(prefix) {
            return Some(None);
        }
        self.take_while(|c| c.is_ascii_digit()).parse().ok().map(Some)
    }

    /// An IPv4 address, or an IPv6 address in brackets.
    pub(super) fn host(&mut self) -> Option<String> {
        let host = if self.0.starts_with('[') {
            let end = self.0.find(']')?;
            let (host, rest) = self.0.split_at(end + 1);
            self.0 = rest;
            host
        } else if self.0.starts_with(|c: char| c.is_ascii_digit()) {
            self.take_while(|c| c.is_ascii_digit() || c == '.')
        } else {
            return None;
        };
        Some(normal_host(host))
    }

    /// `/<name>` and `_<remark>`, both optional. Nothing is left behind a remark; quotes around it are dropped.
    pub(super) fn name_and_meta(&mut self) -> (Option<String>, Option<String>) {
        let name = self.take("/").then(|| self.take_while(|c| c != '_').to_owned());
        let meta = self.take("_").then(|| {
            let meta = std::mem::take(&mut self.0);
            let inner = meta.strip_prefix('"').and_then(|rest| rest.strip_suffix('"'));
            inner.unwrap_or(meta).to_owned()
        });
        (name, meta)
    }
}

/// Options instead of a search value.
#[derive(Clone, Debug, Default, PartialEq, clap::Args)]
pub struct Filter {
    /// Id of the device
    #[arg(short = 'u', long)]
    pub id: Option<u32>,
    /// Site
    #[arg(short = 'r', long)]
    pub region: Option<u32>,
    /// Room or rack inside the site
    #[arg(short = 'z', long)]
    pub zone: Option<u32>,
    /// Host of the node
    #[arg(short = 'i', long)]
    pub ip: Option<String>,
    /// Port of the node
    #[arg(short = 'p', long)]
    pub port: Option<u16>,
    /// Host for traffic between nodes
    #[arg(short = 'j', long, alias = "replication_ip")]
    pub replication_ip: Option<String>,
    /// Port for traffic between nodes
    #[arg(short = 'q', long, alias = "replication_port")]
    pub replication_port: Option<u16>,
    /// Folder name of the device
    #[arg(short = 'd', long, alias = "name")]
    pub device: Option<String>,
    /// Share of the data
    #[arg(short = 'w', long)]
    pub weight: Option<f64>,
    /// Part of the remark
    #[arg(short = 'm', long)]
    pub meta: Option<String>,
}

impl Filter {
    /// What was asked for by options; none when there were none.
    pub(super) fn wanted(&self) -> Option<Wanted> {
        let Self {
            id,
            region,
            zone,
            ip,
            port,
            replication_ip,
            replication_port,
            device,
            weight,
            meta,
        } = self.clone();
        let wanted = Wanted {
            id,
            region,
            zone,
            ip: ip.as_deref().map(normal_host),
            port,
            replication_ip: replication_ip.as_deref().map(normal_host),
            replication_port,
            name: device,
            weight,
            meta,
        };
        (wanted != Wanted::default()).then_some(wanted)
    }
}

/// The name of a device in the syntax of search values, with all its parts.
pub(super) fn full_name(device: &Device) -> String {
    let Device {
        id,
        region,
        zone,
        address,
        name,
        meta,
        ..
    } = device;
    let replication = device.replication.as_ref().unwrap_or(address);
    format!("d{id}r{region}z{zone}-{address}R{replication}/{name}_\"{meta}\"")
}

#[cfg(test)]
mod tests;
