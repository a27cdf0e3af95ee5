//! What the commands say, as text or as JSON.

use std::io::Write;
use std::path::Path;

use comfy_table::{CellAlignment, Table, presets};
use serde::Serialize;
use serde_json::json;

use super::CommandError;
use super::analyze::Step;
use super::change::Answer;
use super::inspect::RingFileState;
use super::rebalance::Done;
use super::search::normal_host;
use crate::builder::Builder;
use crate::device::Device;
use crate::figures::{Dispersion, Spread};
use crate::report::Report;

type Printed = Result<(), CommandError>;

fn json_line(out: &mut dyn Write, value: &impl Serialize) -> Printed {
    serde_json::to_writer_pretty(&mut *out, value).map_err(std::io::Error::from)?;
    Ok(writeln!(out)?)
}

pub(super) fn done(out: &mut dyn Write, json: bool, text: &str) -> Printed {
    if json {
        json_line(out, &json!({ "done": text }))
    } else {
        Ok(writeln!(out, "{text}")?)
    }
}

pub(super) fn answer(out: &mut dyn Write, json: bool, answer: &Answer) -> Printed {
    if json {
        return json_line(out, &json!({ "done": answer.lines, "devices": answer.devices }));
    }
    for line in &answer.lines {
        writeln!(out, "{line}")?;
    }
    Ok(())
}

pub(super) fn rebalanced(out: &mut dyn Write, json: bool, done: &Done) -> Printed {
    if json {
        return json_line(out, done);
    }
    let Done {
        version,
        moves,
        parts,
        partitions,
        balance,
        dispersion,
        remarks,
        saved,
    } = done;
    if *parts > 0 || *saved {
        #[allow(clippy::cast_precision_loss, reason = "at most MAX_SLOTS")]
        let percent = 100.0 * *parts as f64 / f64::from(*partitions);
        writeln!(
            out,
            "reassigned {parts} ({percent:.2} %) partitions: {} placed, {} of removed devices, {} moved; balance is now \
             {balance:.2}, dispersion {dispersion:.2}",
            moves.placed, moves.refilled, moves.moved
        )?;
    }
    if *saved {
        writeln!(out, "ring version {version}")?;
    }
    for remark in remarks {
        writeln!(out, "note: {remark}")?;
    }
    Ok(())
}

pub(super) fn verdict(out: &mut dyn Write, json: bool, report: &Report) -> Printed {
    if json {
        return json_line(out, report);
    }
    let Report {
        version,
        partitions,
        replicas,
        min_part_hours,
        devices,
        ..
    } = report;
    let devices = devices.len();
    writeln!(
        out,
        "ring version {version}: {partitions} partitions x {replicas} replicas on {devices} devices, at least {min_part_hours} hours between moves of a partition"
    )?;
    for problem in &report.problems {
        writeln!(out, "problem: {problem}")?;
    }
    for note in &report.notes {
        writeln!(out, "note: {note}")?;
    }
    if report.problems.is_empty() {
        let worst = report.worst_percent;
        writeln!(
            out,
            "every device holds its share; the largest deviation is {worst:.2} %"
        )?;
    }
    Ok(())
}

/// What `show` shows.
pub(super) struct Sheet<'a> {
    pub(super) path: &'a Path,
    pub(super) builder: &'a Builder,
    pub(super) ring_path: &'a Path,
    pub(super) state: RingFileState,
    pub(super) hours_left: u32,
}

pub(super) fn show(out: &mut dyn Write, json: bool, sheet: &Sheet<'_>) -> Printed {
    let Sheet {
        path,
        builder,
        ring_path,
        state,
        hours_left,
    } = sheet;
    let mut regions: Vec<u32> = builder.devices().map(|device| device.region).collect();
    let mut zones: Vec<(u32, u32)> = builder.devices().map(|device| (device.region, device.zone)).collect();
    regions.sort_unstable();
    regions.dedup();
    zones.sort_unstable();
    zones.dedup();
    let (balance, dispersion) = (builder.balance(), builder.dispersion().percent);
    let devices: Vec<Device> = in_order(builder);
    if json {
        let value = json!({
            "version": builder.version(), "changed": builder.changed(), "part_power": builder.part_power(),
            "partitions": builder.partitions(), "replicas": builder.replica_count(), "regions": regions.len(),
            "zones": zones.len(), "balance": balance, "dispersion": dispersion,
            "min_part_hours": builder.min_part_hours(), "hours_left": hours_left, "overload": builder.overload(),
            "ring_file": state, "devices": rows(builder, &devices),
        });
        return json_line(out, &value);
    }
    writeln!(
        out,
        "{}, ring version {}{}",
        path.display(),
        builder.version(),
        if builder.changed() { ", changed since" } else { "" }
    )?;
    writeln!(
        out,
        "{} partitions, {:.6} replicas, {} regions, {} zones, {} devices, {balance:.2} balance, {dispersion:.2} dispersion",
        builder.partitions(),
        builder.replica_count(),
        regions.len(),
        zones.len(),
        devices.len()
    )?;
    writeln!(
        out,
        "a partition rests for {} hours after a move ({hours_left} hours remaining)",
        builder.min_part_hours()
    )?;
    writeln!(
        out,
        "the overload is {:.2} % ({:.6})",
        builder.overload() * 100.0,
        builder.overload()
    )?;
    let said = match state {
        RingFileState::Absent => "is not there: `rebalance` or `write_ring` writes it",
        RingFileState::UpToDate => "is up to date",
        RingFileState::Obsolete => "is obsolete: run `rebalance`, or `write_ring` when nothing moved",
        RingFileState::Unreadable => "cannot be read: `write_ring` writes it anew",
    };
    writeln!(out, "ring file {} {said}", ring_path.display())?;
    table(out, builder, &devices)
}

/// By place, as operators look for them.
fn in_order(builder: &Builder) -> Vec<Device> {
    let mut devices: Vec<Device> = builder.devices().cloned().collect();
    let key = |device: &Device| {
        (
            device.region,
            device.zone,
            normal_host(device.host()),
            device.port(),
            device.name.clone(),
        )
    };
    devices.sort_by_cached_key(key);
    devices
}

pub(super) fn devices(out: &mut dyn Write, json: bool, builder: &Builder, devices: &[Device]) -> Printed {
    if json {
        json_line(out, &rows(builder, devices))
    } else {
        table(out, builder, devices)
    }
}

/// One device with its figures.
#[derive(Serialize)]
struct Row<'a> {
    #[serde(flatten)]
    device: &'a Device,
    held: u64,
    balance: f64,
}

fn rows<'a>(builder: &Builder, devices: &'a [Device]) -> Vec<Row<'a>> {
    let (held, balances) = (builder.parts_held(), builder.balances());
    devices
        .iter()
        .map(|device| Row {
            device,
            held: held[&device.id],
            balance: balances[&device.id],
        })
        .collect()
}

fn table(out: &mut dyn Write, builder: &Builder, devices: &[Device]) -> Printed {
    let mut table = plain_table(&[
        "id",
        "region",
        "zone",
        "node",
        "address",
        "replication",
        "name",
        "weight",
        "partitions",
        "balance",
        "remark",
    ]);
    for Row { device, held, balance } in rows(builder, devices) {
        table.add_row([
            device.id.to_string(),
            device.region.to_string(),
            device.zone.to_string(),
            device.node.to_string(),
            device.address.clone(),
            device.replication.clone().unwrap_or_else(|| device.address.clone()),
            device.name.clone(),
            format!("{:.2}", device.weight),
            held.to_string(),
            format!("{balance:.2}"),
            device.meta.clone(),
        ]);
    }
    align(&mut table, &[4, 5, 6, 10]);
    Ok(writeln!(out, "{}", table.trim_fmt())?)
}

fn plain_table(header: &[&str]) -> Table {
    let mut table = Table::new();
    table.load_style(presets::NOTHING);
    table.set_header(header.to_vec());
    table
}

/// All columns to the right but these.
fn align(table: &mut Table, left: &[usize]) {
    for column in table.column_iter_mut().filter(|column| !left.contains(&column.index)) {
        column.set_cell_alignment(CellAlignment::Right);
    }
}

pub(super) fn dispersion(
    out: &mut dyn Write,
    json: bool,
    builder: &Builder,
    dispersion: &Dispersion,
    worst: Option<&Spread>,
) -> Printed {
    let (balance, overload, required) = (builder.balance(), builder.overload(), builder.required_overload());
    if json {
        let value = json!({
            "dispersion": dispersion.percent, "balance": balance, "overload": overload,
            "required_overload": required, "worst": worst, "domains": dispersion.domains,
        });
        return json_line(out, &value);
    }
    let overload = overload * 100.0;
    writeln!(
        out,
        "dispersion is {:.6}, balance is {balance:.6}, overload is {overload:.2} %",
        dispersion.percent
    )?;
    writeln!(out, "required overload is {:.6} %", required * 100.0)?;
    if let Some(Spread { name, percent, .. }) = worst {
        writeln!(out, "worst domain is {percent:.6} ({name})")?;
    }
    if dispersion.domains.is_empty() {
        return Ok(());
    }
    let counts = (0..=builder.replicas()).map(|copies| copies.to_string());
    let header: Vec<String> = ["domain", "copies", "%", "most"]
        .map(str::to_owned)
        .into_iter()
        .chain(counts)
        .collect();
    let mut table = plain_table(&header.iter().map(String::as_str).collect::<Vec<_>>());
    for Spread {
        name,
        most,
        placed,
        percent,
        partitions,
        ..
    } in &dispersion.domains
    {
        let figures = [
            name.clone(),
            placed.to_string(),
            format!("{percent:.2}"),
            most.to_string(),
        ];
        table.add_row(figures.into_iter().chain(partitions.iter().map(ToString::to_string)));
    }
    align(&mut table, &[0]);
    Ok(writeln!(out, "{}", table.trim_fmt())?)
}

pub(super) fn partitions(out: &mut dyn Write, json: bool, found: &[(u32, usize)]) -> Printed {
    if json {
        let rows = found
            .iter()
            .map(|(partition, matches)| json!({ "partition": partition, "matches": matches }));
        return json_line(out, &rows.collect::<Vec<_>>());
    }
    writeln!(out, "Partition   Matches")?;
    for (partition, matches) in found {
        writeln!(out, "{partition:>9}   {matches:>7}")?;
    }
    Ok(())
}

pub(super) fn analyzed(out: &mut dyn Write, json: bool, check: bool, rounds: &[Vec<Step>]) -> Printed {
    if check {
        return done(
            out,
            json,
            &format!("the scenario is well formed and has {} rounds", rounds.len()),
        );
    }
    if json {
        return json_line(out, &json!({ "rounds": rounds }));
    }
    for (number, steps) in (1..).zip(rounds) {
        writeln!(out, "round {number}")?;
        for (
            at,
            Step {
                moved,
                balance,
                dispersion,
                removed,
                ..
            },
        ) in (1..).zip(steps)
        {
            writeln!(
                out,
                "    rebalance {at}: moved {moved} partitions, balance is {balance:.6}, dispersion {dispersion:.6}, {removed} devices removed"
            )?;
        }
    }
    Ok(())
}
