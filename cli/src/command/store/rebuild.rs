//! `perennis store rebuild`: makes the index of a stopped node's store anew from checkpoints, files and the log.

use std::time::Instant;

use perennis_store::{FORMAT, OpenError, Store, StoreOptions, inspect};
use serde::Serialize;

use super::bars::Bars;
use super::{configured, in_use, no_store, unopened};
use crate::args::StoreRebuild;
use crate::context::Context;
use crate::failure::Failure;
use crate::page::{plain, thousands};

#[derive(Serialize)]
struct Document {
    data: String,
    /// Blocks that the new index knows.
    blocks: u64,
    seconds: f64,
    /// What was found damaged meanwhile.
    found: Vec<FindingDocument>,
}

#[derive(Serialize)]
struct FindingDocument {
    kind: &'static str,
    loss: bool,
    message: String,
}

pub(super) fn run(context: &Context<'_>, arguments: &StoreRebuild) -> Result<(), Failure> {
    let config = configured(&arguments.place)?;
    let dir = &config.data;
    match inspect(dir, 0) {
        Ok(None) => return Err(no_store(dir)),
        Err(error @ OpenError::Locked { .. }) => {
            return Err(in_use(error, "a node runs on it: stop it first"));
        }
        Ok(Some(found)) if found.format < FORMAT => {
            return Err(unopened(OpenError::OlderFormat {
                dir: dir.clone(),
                found: found.format,
                known: FORMAT,
            }));
        }
        // An index that cannot be read is what this is for; all else is found again.
        Ok(Some(_)) | Err(_) => {}
    }
    let started = Instant::now();
    let mut bars = Bars::new(context);
    let rebuilt = Store::rebuild(dir, &StoreOptions::default(), &mut |progress| {
        bars.show(progress.stage.word(), progress.done, progress.of);
    });
    bars.end();
    let store = rebuilt.map_err(unopened)?;
    let found = store.found_at_start().iter().map(|loss| FindingDocument {
        kind: loss.kind.word(),
        loss: loss.kind.is_of_acknowledged_data(),
        message: loss.to_string(),
    });
    let document = Document {
        data: dir.display().to_string(),
        blocks: store.stats().blocks,
        seconds: started.elapsed().as_secs_f64(),
        found: found.collect(),
    };
    drop(store);
    context.output.answer(&document, |page| {
        let line = page.paint.good("the index was made anew");
        page.line(format!("{line}: {}", plain(&document.data)));
        page.fields(&[
            ("blocks", Some(thousands(document.blocks))),
            ("seconds", Some(format!("{:.1}", document.seconds))),
        ]);
        for found in &document.found {
            let message = plain(&found.message);
            let line = match found.loss {
                true => page.paint.bad(message),
                false => message,
            };
            page.line(line);
        }
    })
}
