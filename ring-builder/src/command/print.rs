//! What the commands say, as text or as JSON.

use std::io::Write;

use comfy_table::{CellAlignment, Table, presets};
use serde::Serialize;

use super::CommandError;
use crate::builder::Builder;
use crate::device::Device;
use crate::rebalance::Moves;
use crate::report::Report;

fn json_line(out: &mut dyn Write, value: &impl Serialize) -> Result<(), CommandError> {
    serde_json::to_writer_pretty(&mut *out, value).map_err(std::io::Error::from)?;
    Ok(writeln!(out)?)
}

pub(super) fn done(out: &mut dyn Write, json: bool, text: &str) -> Result<(), CommandError> {
    if json {
        json_line(out, &serde_json::json!({ "done": text }))
    } else {
        Ok(writeln!(out, "{text}")?)
    }
}

pub(super) fn added(out: &mut dyn Write, json: bool, device: &Device) -> Result<(), CommandError> {
    if json {
        return json_line(out, device);
    }
    Ok(writeln!(
        out,
        "added device {}; run `rebalance` to give it its share",
        device.id
    )?)
}

pub(super) fn moved(
    out: &mut dyn Write,
    json: bool,
    version: u64,
    moves: Moves,
    rest_hours: u32,
) -> Result<(), CommandError> {
    if json {
        return json_line(out, &serde_json::json!({ "version": version, "moves": moves }));
    }
    let Moves {
        placed,
        refilled,
        moved,
        left_over,
        left_strained,
    } = moves;
    writeln!(
        out,
        "ring version {version}: {placed} replicas placed, {refilled} of removed devices, {moved} moved"
    )?;
    if left_over > 0 || left_strained > 0 {
        writeln!(
            out,
            "not done: {left_over} replicas above their devices' shares, {left_strained} partitions to spread wider; \
             run `rebalance` again when the copies have moved and {rest_hours} hours have passed"
        )?;
    }
    Ok(())
}

pub(super) fn verdict(out: &mut dyn Write, json: bool, report: &Report) -> Result<(), CommandError> {
    if json {
        return json_line(out, report);
    }
    writeln!(out, "{}", headline(report))?;
    for problem in &report.problems {
        writeln!(out, "problem: {problem}")?;
    }
    for note in &report.notes {
        writeln!(out, "note: {note}")?;
    }
    if report.problems.is_empty() {
        writeln!(
            out,
            "every device holds its share; the largest deviation is {:.2} %",
            report.worst_percent
        )?;
    }
    Ok(())
}

pub(super) fn show(out: &mut dyn Write, json: bool, builder: &Builder) -> Result<(), CommandError> {
    let report = builder.validate();
    if json {
        return json_line(out, &report);
    }
    writeln!(out, "{}", headline(&report))?;
    let mut table = Table::new();
    table.load_style(presets::NOTHING);
    table.set_header([
        "id", "region", "zone", "node", "address", "name", "weight", "share", "held", "off %",
    ]);
    for load in &report.devices {
        let Device {
            id,
            region,
            zone,
            node,
            address,
            name,
            weight,
        } = &load.device;
        table.add_row([
            id.to_string(),
            region.to_string(),
            zone.to_string(),
            node.to_string(),
            address.clone(),
            name.clone(),
            weight.to_string(),
            format!("{:.1}", load.share),
            load.held.to_string(),
            format!("{:+.2}", load.off_percent),
        ]);
    }
    for column in table.column_iter_mut().filter(|column| ![4, 5].contains(&column.index)) {
        column.set_cell_alignment(CellAlignment::Right);
    }
    Ok(writeln!(out, "{}", table.trim_fmt())?)
}

fn headline(report: &Report) -> String {
    let Report {
        version,
        partitions,
        replicas,
        min_part_hours,
        devices,
        ..
    } = report;
    let devices = devices.len();
    format!(
        "ring version {version}: {partitions} partitions x {replicas} replicas on {devices} devices, at least {min_part_hours} hours between moves of a partition"
    )
}
