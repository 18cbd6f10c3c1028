//! `perennis store losses`: what is lost or damaged, and that somebody has seen it.

use perennis_node::KnownDamage;
use perennis_node::damage::{Details, Report};
use perennis_rt::http::Request;
use perennis_store::{FORMAT, Inspection, OpenError, Store, StoreOptions, inspect};
use serde::Serialize;
use serde_json::{Value, json};

use super::running::same_store;
use super::{
    INDEX_HINT, LOG_HINT, ask_running, configured, index_trouble, log_trouble, no_store, unopened,
};
use crate::args::StoreLosses;
use crate::ask::NodeClient;
use crate::context::Context;
use crate::failure::Failure;
use crate::page::{Page, plain};
use crate::session::block_on;

/// What was asked for, and of whom.
#[derive(Serialize)]
struct Document {
    url: Option<String>,
    data: Option<String>,
    dismissed: bool,
    #[serde(flatten)]
    damage: Value,
}

pub(super) fn run(context: &Context<'_>, arguments: &StoreLosses) -> Result<(), Failure> {
    if arguments.node.url.is_some() {
        return block_on(ask(context, arguments));
    }
    let config = configured(&arguments.place)?;
    let dir = &config.data;
    let inspected = inspect(dir, 0);
    // Who runs on it is asked; nobody else knows what is missing.
    if !matches!(inspected, Err(OpenError::Locked { .. }))
        && let Some(trouble) = log_trouble(dir)
    {
        return Err(Failure::failed("log_missing", trouble).hint(LOG_HINT));
    }
    match inspected {
        Ok(None) => return Err(no_store(dir)),
        Ok(Some(found)) if found.format < FORMAT => {
            return Err(unopened(OpenError::OlderFormat {
                dir: dir.clone(),
                found: found.format,
                known: FORMAT,
            }));
        }
        Ok(Some(Inspection {
            index_damage: Some(damage),
            ..
        })) => {
            let trouble = index_trouble(dir, &damage);
            let message = format!("{trouble}, and what is lost is written there");
            return Err(Failure::failed("index_damaged", message).hint(INDEX_HINT));
        }
        Ok(Some(found)) if !arguments.dismiss => {
            return show(context, arguments, dir.display().to_string(), found);
        }
        Ok(Some(_)) => {}
        // A node runs on it, and knows more.
        Err(OpenError::Locked { .. }) => {
            return block_on(async {
                let (node, damage) = ask_running(&config, &arguments.node.token).await?;
                told_by(context, arguments, node, damage).await
            });
        }
        Err(error) => return Err(unopened(error)),
    }
    let store = Store::open(dir, &StoreOptions::default()).map_err(unopened)?;
    store.dismiss_losses().map_err(|error| {
        let failure = Failure::of(&error, "store");
        Failure {
            message: format!("the losses could not be dismissed: {}", failure.message),
            ..failure
        }
    })?;
    drop(store);
    match inspect(dir, 0) {
        Ok(Some(found)) => show(context, arguments, dir.display().to_string(), found),
        Ok(None) => Err(no_store(dir)),
        Err(error) => Err(unopened(error)),
    }
}

fn show(
    context: &Context<'_>,
    arguments: &StoreLosses,
    data: String,
    inspection: Inspection,
) -> Result<(), Failure> {
    let document = Document {
        url: None,
        data: Some(data),
        dismissed: arguments.dismiss,
        damage: json!(Details::of(&KnownDamage::at(inspection))),
    };
    tell(context, &document)
}

async fn ask(context: &Context<'_>, arguments: &StoreLosses) -> Result<(), Failure> {
    let node = NodeClient::of_operator(&arguments.node)?;
    let damage = node.expect("/v1/damage").await?;
    // Who names a folder as well means the node that runs on it.
    if arguments.place.dir.is_some() || arguments.place.data.is_some() {
        same_store(&configured(&arguments.place)?.data, &node, &damage)?;
    }
    told_by(context, arguments, node, damage).await
}

/// Shows what a node has told, or what is left of it once it was dismissed.
async fn told_by(
    context: &Context<'_>,
    arguments: &StoreLosses,
    node: NodeClient,
    mut damage: Value,
) -> Result<(), Failure> {
    if arguments.dismiss {
        damage = node.change(Request::delete(node.at("/v1/damage"))).await?;
    }
    let document = Document {
        url: Some(node.url),
        data: None,
        dismissed: arguments.dismiss,
        damage,
    };
    tell(context, &document)
}

fn tell(context: &Context<'_>, document: &Document) -> Result<(), Failure> {
    context
        .output
        .answer(document, |page| write(page, document))
}

fn write(page: &mut Page, document: &Document) {
    let damage = &document.damage;
    let asked = document.url.as_deref().or(document.data.as_deref());
    page.line(plain(asked.unwrap_or_default()));
    let counts = serde_json::from_value::<Report>(damage.clone());
    let counts = counts.map(|report| report.counts()).unwrap_or_default();
    if counts.is_empty() {
        let line = page.paint.good("nothing is known to be damaged or lost");
        page.line(line);
    }
    for count in counts {
        let line = page.paint.warn(count);
        page.line(line);
    }
    for (list, what) in [
        ("list", "message"),
        ("rows", "reason"),
        ("blocks", "reason"),
    ] {
        let items = damage[list].as_array().map_or(&[][..], Vec::as_slice);
        for item in items {
            let text = |field: &str| plain(item[field].as_str().unwrap_or_default());
            let line = match list {
                "rows" => format!(
                    "a row of {} ({}): {}",
                    text("table"),
                    text("key"),
                    text(what)
                ),
                "blocks" => format!("{}: {}", text("cid"), text(what)),
                _ => text(what),
            };
            let found = page.paint.dim(text("found"));
            page.line(format!("{found}  {line}"));
        }
    }
    if document.dismissed {
        page.line("the losses were dismissed");
    }
}
