//! Publishes a label to a node and reads it back as somebody else would.
//!
//! Start a node, then: `cargo run --example publish_and_resolve -- http://127.0.0.1:4780`
#![allow(clippy::print_stdout, reason = "an example shows its result")]

use std::error::Error;

use perennis_rt as rt;
use perennis_sdk::{
    NodeUrl,
    client::{Client, ClientConfig, LabelQuery, PublishOptions},
    store::{Disk, DiskOptions, Memory},
};
use perennis_shared::{
    did::Identity,
    taglist::{Handle, Label, Op, Tag},
};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn Error>> {
    let node: NodeUrl = std::env::args()
        .nth(1)
        .ok_or("name a node's URL")?
        .parse()?;
    let config = ClientConfig {
        nodes: vec![node.clone()],
        ..ClientConfig::default()
    };

    // The same passphrase is the same identity on every device. A real one is generated.
    let identity = Identity::derive_v2("seven quiet rivers carry green lanterns", "example")?;

    // The author keeps a list in a file. Staging needs no identity, publishing does.
    let home = std::env::temp_dir().join("perennis-example.redb");
    let author = Client::new(
        Disk::open(home, DiskOptions::default()).await?,
        config.clone(),
    )?;
    author.adopt(&identity).await?;
    let label = Label::new(Handle::parse("@example")?, Tag::parse("friend")?, rt::now());
    author.stage(&[Op::Set(label)]).await?;
    let outcome = author
        .publish(
            &identity,
            std::slice::from_ref(&node),
            &PublishOptions::default(),
        )
        .await?;
    println!("{} alive until {}", identity.did(), outcome.valid_until);
    for node in &outcome.nodes {
        println!("  {} stored: {}", node.url, node.stored);
    }

    // A reader knows nothing but the DID.
    let reader = Client::new(Memory::new(), config)?;
    let found = reader
        .labels_of(&identity.did(), &LabelQuery::default())
        .await?;
    println!(
        "sequence {} from {}",
        found.resolved.sequence, found.resolved.source
    );
    for listed in found.page.labels {
        println!("  {} {}", listed.label.subject.handle, listed.label.label);
    }
    Ok(())
}
