//! `perennis dag convert`: strict in, canonical out.

use perennis_shared::cid::{Codec, cid_of};
use perennis_shared::codec::{CodecError, Value, dag_cbor, dag_json, dag_pb};
use perennis_shared::limits::JSON_BYTES;
use serde::Serialize;

use crate::args::{DagCodec, DagCommand, DagConvert};
use crate::context::Context;
use crate::failure::{Failure, root_cause};
use crate::files::{self, Existing, name_of, write_atomically};
use crate::page::bytes_text;

pub(crate) fn run(context: &Context<'_>, command: &DagCommand) -> Result<(), Failure> {
    match command {
        DagCommand::Convert(arguments) => convert(context, arguments),
    }
}

#[derive(Serialize)]
struct Converted {
    from: &'static str,
    to: &'static str,
    cid: String,
    bytes: usize,
    file: String,
}

fn convert(context: &Context<'_>, arguments: &DagConvert) -> Result<(), Failure> {
    let existing = match &arguments.output {
        Some(path) => Existing::unless_forced(path, arguments.force)?,
        None => Existing::Keep,
    };
    let input = files::read_bounded(&arguments.file, JSON_BYTES as u64)?;
    let refused = |action: &str, codec: DagCodec, error: CodecError| {
        Failure::invalid(
            "not_strict",
            format!("cannot {action} {}: {}", name(codec), root_cause(&error)),
        )
        .hint(
            "only canonical data within the limits is taken; write it again with a strict encoder",
        )
    };
    let value = decode(arguments.from, &input).map_err(|error| {
        refused(
            &format!("read {} as", name_of(&arguments.file)),
            arguments.from,
            error,
        )
    })?;
    let output =
        encode(arguments.to, value).map_err(|error| refused("write it as", arguments.to, error))?;
    let Some(path) = &arguments.output else {
        return context.output.bytes(&output);
    };
    write_atomically(path, &output, existing, false)?;
    let document = Converted {
        from: name(arguments.from),
        to: name(arguments.to),
        cid: cid_of(codec(arguments.to), &output).to_string(),
        bytes: output.len(),
        file: path.display().to_string(),
    };
    context.output.answer(&document, |page| {
        page.fields(&[
            ("file", Some(document.file.clone())),
            ("cid", Some(document.cid.clone())),
            ("size", Some(bytes_text(output.len() as u64))),
        ]);
    })
}

fn decode(codec: DagCodec, bytes: &[u8]) -> Result<Value, CodecError> {
    match codec {
        DagCodec::Cbor => dag_cbor::decode(bytes),
        // Text of people and of other tools: white space and another order are no faults of it. What is written is canonical.
        DagCodec::Json => dag_json::decode_relaxed(bytes),
        DagCodec::Pb => dag_pb::decode(bytes).and_then(dag_pb::Node::into_value),
    }
}

fn encode(codec: DagCodec, value: Value) -> Result<Vec<u8>, CodecError> {
    match codec {
        DagCodec::Cbor => dag_cbor::encode(&value),
        DagCodec::Json => dag_json::encode_bytes(&value),
        DagCodec::Pb => dag_pb::Node::from_value(value).and_then(|node| dag_pb::encode(&node)),
    }
}

fn name(codec: DagCodec) -> &'static str {
    match codec {
        DagCodec::Cbor => "dag-cbor",
        DagCodec::Json => "dag-json",
        DagCodec::Pb => "dag-pb",
    }
}

fn codec(codec: DagCodec) -> Codec {
    match codec {
        DagCodec::Cbor => Codec::DagCbor,
        DagCodec::Json => Codec::DagJson,
        DagCodec::Pb => Codec::DagPb,
    }
}
