//! `perennis store verify`: reads everything in a stopped node's store and says what is wrong. It changes nothing.

use perennis_store::{
    DamageCounts, Finding, FindingKind, OpenError, Verification, VerifyEvent, VerifyStage, inspect,
    verify,
};
use serde::Serialize;

use super::bars::Bars;
use super::{configured, in_use, no_store, unopened};
use crate::args::StoreVerify;
use crate::context::Context;
use crate::failure::Failure;
use crate::page::{bytes_text, plain};

/// Findings that are told one by one.
const LISTED: usize = 1_000;

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Document {
    data: String,
    /// Whether nothing is wrong but what a crash leaves.
    whole: bool,
    files: u64,
    groups: u64,
    bodies: u64,
    body_bytes: u64,
    checkpoints: u64,
    rows: u64,
    blocks: u64,
    findings: u64,
    losses: u64,
    /// The first of the findings.
    found: Vec<FindingDocument>,
    /// What was written down as lost or damaged before; none where the index cannot be read.
    known: Option<KnownDocument>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct KnownDocument {
    /// Losses of acknowledged data that nobody has dismissed.
    losses: u64,
    quarantined_blocks: u64,
    rows_set_aside: u64,
}

impl KnownDocument {
    const fn of(counts: &DamageCounts) -> KnownDocument {
        KnownDocument {
            losses: counts.losses,
            quarantined_blocks: counts.quarantined_blocks,
            rows_set_aside: counts.rows_set_aside,
        }
    }

    /// How much of each, in words; none where there is nothing.
    fn sentence(&self) -> Option<String> {
        let counted = [
            (self.losses, "loss", "losses"),
            (self.quarantined_blocks, "damaged block", "damaged blocks"),
            (
                self.rows_set_aside,
                "row that cannot be read",
                "rows that cannot be read",
            ),
        ];
        let parts: Vec<_> = counted
            .iter()
            .filter(|(count, ..)| *count > 0)
            .map(|(count, one, many)| format!("{count} {}", if *count == 1 { one } else { many }))
            .collect();
        (!parts.is_empty()).then(|| parts.join(", "))
    }
}

#[derive(Serialize)]
struct FindingDocument {
    kind: &'static str,
    loss: bool,
    place: String,
    block: Option<String>,
    detail: String,
}

impl FindingDocument {
    fn of(finding: &Finding) -> FindingDocument {
        FindingDocument {
            kind: finding.kind.word(),
            loss: finding.kind.is_loss(),
            place: finding.place.clone(),
            block: finding.block.map(|cid| cid.to_string()),
            detail: finding.detail.clone(),
        }
    }
}

pub(super) fn run(context: &Context<'_>, arguments: &StoreVerify) -> Result<(), Failure> {
    let config = configured(&arguments.place)?;
    let dir = &config.data;
    let mut found = Vec::new();
    let mut is_whole = true;
    let mut bars = Bars::new(context);
    let verified = verify(dir, &mut |event| match event {
        VerifyEvent::Progress(progress) => {
            bars.show(title(progress.stage), progress.done, progress.of);
        }
        VerifyEvent::Found(finding) => {
            // Bytes of a write that was cut off are what any crash leaves.
            is_whole &= finding.kind == FindingKind::Tail;
            if found.len() < LISTED {
                found.push(FindingDocument::of(&finding));
            }
        }
    });
    bars.end();
    let sum = match verified {
        Ok(Some(sum)) => sum,
        Ok(None) => return Err(no_store(dir)),
        Err(error @ OpenError::Locked { .. }) => {
            return Err(in_use(
                error,
                "a node runs on it: stop it, or verify a snapshot; a running node reads everything by itself again and again",
            ));
        }
        Err(error) => return Err(unopened(error)),
    };
    let known = match inspect(dir, 0) {
        Ok(Some(seen)) if seen.index_damage.is_none() => Some(KnownDocument::of(&seen.damage)),
        // What is wrong with the index was found above; of a node that was started meanwhile nothing is known.
        _ => None,
    };
    let document = Document::new(dir.display().to_string(), is_whole, &sum, found, known);
    tell(context, &document)?;
    if is_whole {
        Ok(())
    } else {
        Err(Failure::verdict())
    }
}

impl Document {
    fn new(
        data: String,
        whole: bool,
        sum: &Verification,
        found: Vec<FindingDocument>,
        known: Option<KnownDocument>,
    ) -> Document {
        Document {
            data,
            whole,
            files: sum.files,
            groups: sum.groups,
            bodies: sum.bodies,
            body_bytes: sum.body_bytes,
            checkpoints: sum.checkpoints,
            rows: sum.rows,
            blocks: sum.blocks,
            findings: sum.findings,
            losses: sum.losses,
            found,
            known,
        }
    }
}

fn tell(context: &Context<'_>, document: &Document) -> Result<(), Failure> {
    context.output.answer(document, |page| {
        for finding in &document.found {
            let kind = format!("{:<15}", finding.kind);
            let kind = if finding.loss {
                page.paint.bad(kind)
            } else {
                page.paint.warn(kind)
            };
            let block = finding.block.as_deref().unwrap_or_default();
            let line = format!("{kind} {}: {} {block}", plain(&finding.place), plain(&finding.detail));
            page.line(line.trim_end());
        }
        let left = document.findings.saturating_sub(document.found.len() as u64);
        if left > 0 {
            page.line(format!("and {left} more"));
        }
        let known = document.known.as_ref().and_then(KnownDocument::sentence);
        let verdict = match (document.whole, document.findings) {
            (true, _) if known.is_some() => page.paint.good("what is there is whole"),
            (true, 0) => page.paint.good("everything is whole"),
            (true, _) => page.paint.good("everything that was acknowledged is whole"),
            (false, findings) => page.paint.bad(format!(
                "{findings} things are wrong; {} take something away that was acknowledged",
                document.losses
            )),
        };
        page.line(verdict);
        if let Some(known) = known {
            let line = format!(
                "not everything that was acknowledged is there, as was known before: {known}; `perennis store losses` lists them"
            );
            let line = page.paint.warn(line);
            page.line(line);
        }
        page.fields(&[
            ("files", Some(document.files.to_string())),
            ("groups of the log", Some(document.groups.to_string())),
            (
                "bodies",
                Some(format!(
                    "{}, {}",
                    document.bodies,
                    bytes_text(document.body_bytes)
                )),
            ),
            ("checkpoints", Some(document.checkpoints.to_string())),
            ("rows of the index", Some(document.rows.to_string())),
            ("blocks", Some(document.blocks.to_string())),
        ]);
        if !document.whole {
            page.line("start the node: it sets damaged blocks aside, fetches them again, and makes a damaged index anew");
        }
    })
}

const fn title(stage: VerifyStage) -> &'static str {
    match stage {
        VerifyStage::Files => "files",
        VerifyStage::Checkpoints => "checkpoints",
        VerifyStage::Index => "blocks",
        _ => "store",
    }
}
