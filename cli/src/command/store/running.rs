//! What the node that runs on a folder knows of damage. A folder does not say where its node listens, so what answers at the
//! configured address is held against the folder: another node's losses are neither shown nor dismissed for this one's.

use std::path::Path;

use perennis_node::config::Config;
use perennis_store::store_id;
use serde_json::Value;

use super::url_of;
use crate::args::TokenArgs;
use crate::ask::NodeClient;
use crate::failure::Failure;

/// How the right address is given.
const RIGHT_ADDRESS: &str = "name the node's address with --config FILE or PERENNIS_HTTP_ADMIN_LISTEN as it was started, or ask it alone with `perennis store losses --node URL`; the first line it prints says the URL";

/// The node that has the folder open, and what it says is damaged.
pub(crate) async fn ask_running(
    config: &Config,
    token: &TokenArgs,
) -> Result<(NodeClient, Value), Failure> {
    let dir = config.data.display();
    let node = NodeClient::at_url(&url_of(config), token)?;
    let asked = node.expect("/v1/damage").await;
    let damage = asked.map_err(|failure| match failure.code.as_ref() {
        // It may well be the one; it cannot say so yet.
        "opening" => failure,
        _ => Failure {
            message: format!(
                "a process has {dir} open, and at {} is no node that says what is damaged: {}",
                node.url, failure.message
            ),
            hint: RIGHT_ADDRESS.to_owned(),
            ..failure
        },
    })?;
    same_store(&config.data, &node, &damage)?;
    Ok((node, damage))
}

/// Whether what a node says is about the store in a folder.
pub(super) fn same_store(dir: &Path, node: &NodeClient, damage: &Value) -> Result<(), Failure> {
    let here = store_id(dir);
    let dir = dir.display();
    let here = here.map_err(|error| {
        Failure::failed("segments", format!("{dir} does not say which store it is"))
            .because(&error)
            .hint(RIGHT_ADDRESS)
    })?;
    let Some(here) = here.map(|store| store.to_string()) else {
        return Err(Failure::failed(
            "other_store",
            format!(
                "nothing was stored in {dir} yet, so it cannot be told whether the node at {} runs on it",
                node.url
            ),
        )
        .hint(RIGHT_ADDRESS));
    };
    match damage["store"].as_str() {
        Some(store) if store == here => Ok(()),
        _ => Err(Failure::failed(
            "other_store",
            format!(
                "the node at {} runs on another store than the one in {dir}: nothing was changed there",
                node.url
            ),
        )
        .hint(RIGHT_ADDRESS)),
    }
}
