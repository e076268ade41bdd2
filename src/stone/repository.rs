//! `stone.index`: the packages of one version of a channel for one architecture. An index is a header and one payload
//! per package, so a new one is put together from the old one's payloads: nothing is compressed again.

use std::collections::BTreeMap;
use std::ops::Range;

use super::container::{
    FileType, HEADER_BYTES, PayloadKind, Reader, TableWriter, bad, file_header,
};
use crate::fault::{Fault, Kind, Result};
use crate::limit;
use crate::stone::Meta;

/// One package of an index, and the bytes that its payload (header and body) takes in the file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listed {
    /// Its metadata with `uri`, `hash` and `size`.
    pub meta: Meta,
    /// From the start of the file.
    pub span: Range<usize>,
}

/// Reads a whole index, in the order of the file. The file type is not looked at: clients do not look either.
pub fn read_spans(bytes: &[u8]) -> Result<Vec<Listed>> {
    let mut reader = Reader::new(bytes)?;
    let mut listed = Vec::new();
    while let Some(header) = reader.next_payload()? {
        if header.kind != PayloadKind::Meta || !header.is_known() {
            continue;
        }
        let here = |position: u64| usize::try_from(position).map_err(|_| bad("it is too large"));
        let start = here(reader.position())?.saturating_sub(HEADER_BYTES);
        let plain = reader.table(&header)?;
        listed.push(Listed {
            meta: Meta::decode(&plain, header.records)?,
            span: start..here(reader.position())?,
        });
    }
    Ok(listed)
}

/// Reads a whole index: one `Meta` per package, with `uri`, `hash` and `size`.
pub fn read(bytes: &[u8]) -> Result<Vec<Meta>> {
    Ok(read_spans(bytes)?.into_iter().map(|l| l.meta).collect())
}

/// The payload of one package, ready for `assemble`.
pub fn payload(tables: &mut TableWriter, meta: &Meta) -> Result<Vec<u8>> {
    if !meta.build_depends.is_empty() {
        // A client would take them for run-time dependencies.
        return Err(Fault::bug(format!(
            "{} would bring build dependencies into an index",
            meta.name
        )));
    }
    let (plain, records) = meta.encode()?;
    tables.payload(PayloadKind::Meta, records, &plain)
}

/// The metadata in a payload that `payload` made.
pub fn read_payload(payload: &[u8]) -> Result<Meta> {
    let mut one = file_header(FileType::Repository, 1).to_vec();
    one.extend_from_slice(payload);
    let mut metas = read(&one)?;
    metas.pop().ok_or_else(|| bad("a payload without metadata"))
}

/// An index of these payloads, which come sorted by package name in byte order.
pub fn assemble<'a>(payloads: impl IntoIterator<Item = &'a [u8]>) -> Result<Vec<u8>> {
    let mut out = file_header(FileType::Repository, 0).to_vec();
    let mut count = 0_usize;
    for payload in payloads {
        out.extend_from_slice(payload);
        count += 1;
    }
    let header = file_header(FileType::Repository, payload_count(count)?);
    out.splice(..HEADER_BYTES, header);
    Ok(out)
}

fn payload_count(count: usize) -> Result<u16> {
    u16::try_from(count).map_err(|_| {
        Fault::new(
            Kind::Operator,
            format!(
                "{count} packages, an index holds {}",
                limit::STONE_PAYLOADS_MAX
            ),
        )
        .next("split the channel")
    })
}

/// Writes an index of these packages, sorted by name.
pub fn write<'a>(packages: impl IntoIterator<Item = &'a Meta>) -> Result<Vec<u8>> {
    let mut sorted: Vec<&Meta> = packages.into_iter().collect();
    sorted.sort_by(|a, b| a.name.cmp(&b.name));
    let mut tables = TableWriter::new()?;
    let mut payloads = Vec::with_capacity(sorted.len());
    for meta in sorted {
        payloads.push(payload(&mut tables, meta)?);
    }
    assemble(payloads.iter().map(Vec::as_slice))
}

/// The index `old` with some packages replaced or added (`Some(payload)`) or taken out (`None`), by name.
/// `spans` is what `read_spans` said of `old`, sorted by name. Costs a copy of the file and nothing per package.
pub fn splice(
    old: &[u8],
    spans: &[Listed],
    changes: &BTreeMap<&str, Option<&[u8]>>,
) -> Result<Vec<u8>> {
    let mut payloads: BTreeMap<&str, &[u8]> = BTreeMap::new();
    for listed in spans {
        let bytes = old
            .get(listed.span.clone())
            .ok_or_else(|| bad("the spans are of another index"))?;
        payloads.insert(listed.meta.name.as_str(), bytes);
    }
    for (name, change) in changes {
        match change {
            Some(bytes) => payloads.insert(name, bytes),
            None => payloads.remove(name),
        };
    }
    assemble(payloads.into_values())
}
