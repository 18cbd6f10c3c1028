//! The client in JavaScript.

use std::time::Duration;

use js_sys::{Array, Function, Object, Uint8Array};
use perennis_rt as rt;
use perennis_sdk::NodeUrl;
use perennis_sdk::client::{
    self, BackupCheck, CapsuleReader, CapsuleSummary, ClientConfig, LabelFilter, LabelQuery,
    PublishOptions, PublishOutcome, ResolveStep, Resolved, StateCheck,
};
use perennis_shared::did::Did;
use perennis_shared::ipns::LadderPlan;
use perennis_shared::taglist::{Key, Op, differences};
use perennis_shared::uri;
use wasm_bindgen::prelude::*;

use crate::error::{JsResult, from_sdk, invalid, make};
use crate::identity::Identity;
use crate::indexed_db::IndexedDb;
use crate::label;
use crate::lock::{self, Guard};
use crate::object::{Fields, Options, exact};

/// Shortest period of a backup, in milliseconds.
const SHORTEST_PERIOD_MS: f64 = 1_000.0;
/// Largest capsule that is taken in, in bytes.
const CAPSULE_BYTES: usize = 256 << 20;

/// One identity's list in this browser, and its way to the network.
#[wasm_bindgen]
pub struct Client {
    inner: client::Client<IndexedDb>,
    nodes: Vec<NodeUrl>,
    database: String,
    /// The backup that repeats itself; it ends with this client.
    backup: Option<rt::Repeating>,
}

#[wasm_bindgen]
impl Client {
    /// Opens the client's database, making it when it is not there.
    ///
    /// Options: `database`, its name (default `"perennis"`; one per identity); `nodes`, base URLs of the nodes that are
    /// published to and asked; `routers` and `gateways`, further ones that are only asked; `token`, which the one node that is named
    /// asks for who publishes. It is kept in memory alone, and sent by HTTPS or to this machine only.
    ///
    /// # Errors
    /// The browser refuses storage, a URL is not one, the token is none, or it would be sent to several nodes or without encryption
    /// (`token_exposed`).
    pub async fn open(options: Option<Object>) -> JsResult<Client> {
        let known = ["database", "nodes", "routers", "gateways", "token"];
        let options = Options::new(options, &known)?;
        let database = options
            .text("database")?
            .unwrap_or_else(|| "perennis".into());
        let nodes = options.urls("nodes")?.unwrap_or_default();
        let config = ClientConfig {
            tokens: options.tokens(&nodes)?,
            nodes: nodes.clone(),
            routers: options.urls("routers")?.unwrap_or_default(),
            gateways: options.urls("gateways")?.unwrap_or_default(),
            ..ClientConfig::default()
        };
        let store = IndexedDb::open(&database)
            .await
            .map_err(|error| from_sdk(error.code(), &error))?;
        let inner =
            client::Client::new(store, config).map_err(|error| invalid("no_http", &error))?;
        Ok(Self {
            inner,
            nodes,
            database,
            backup: None,
        })
    }

    /// Makes an identity the one of this database. Nothing secret is kept.
    ///
    /// # Errors
    /// `other_identity`: the database belongs to another one, so most likely the passphrase was another.
    pub async fn adopt(&self, identity: &Identity) -> JsResult<()> {
        let _guard = self.lock().await?;
        self.inner
            .adopt(&identity.0)
            .await
            .map(drop)
            .map_err(|error| from_sdk(error.code(), &error))
    }

    /// The identity of this database, `{did, didKey, ipnsName, profile}`, or undefined.
    ///
    /// # Errors
    /// The store fails.
    pub async fn identity(&self) -> JsResult<JsValue> {
        let facts = self
            .inner
            .identity()
            .await
            .map_err(|error| from_sdk(error.code(), &error))?;
        Ok(facts.map_or(JsValue::UNDEFINED, |facts| {
            Fields::new()
                .set("did", facts.did.to_string())
                .set("didKey", facts.did_key)
                .set("ipnsName", facts.name.to_string())
                .set("profile", facts.profile.as_str())
                .done()
        }))
    }

    /// Puts a label on a handle, or changes it. Kept durably here and listed at once; `publish` makes it known. What is not
    /// named, and empty text, stays as it is.
    ///
    /// Options: `note`, `colour` (`#rrggbb`), `source` (the DID it was learnt from), `expires` (Unix milliseconds, a Date, or
    /// an RFC 3339 time or date), `id` (the account's number: a string, a BigInt, or a number below 2^53), `negated` (true states
    /// that the label does not apply), `clear` (names of these options whose parts are cleared). Resolves to how many changes
    /// wait to be published.
    ///
    /// # Errors
    /// The handle, the label or an option is not valid or not known, an end is not to come, or the store fails.
    pub async fn label(&self, handle: &str, label: &str, options: Option<Object>) -> JsResult<u32> {
        let now = rt::now();
        let edit = label::parse_edit(handle, label, options, now)?;
        let _guard = self.lock().await?;
        let query = LabelQuery {
            filter: LabelFilter::Handle(edit.handle),
            with_expired: true,
            limit: 10_000,
            ..LabelQuery::default()
        };
        let known = self.inner.labels(&query).await;
        let known = known
            .map_err(|error| from_sdk(error.code(), &error))?
            .labels;
        let before = known
            .iter()
            .map(|listed| &listed.label)
            .find(|label| label.label == edit.label);
        let wanted = edit.apply(before, now);
        if before.is_some_and(|before| differences(before, &wanted).is_empty()) {
            return self.count_staged().await;
        }
        self.keep(Op::Set(wanted)).await
    }

    /// Takes a label off a handle. Resolves to how many changes wait to be published.
    ///
    /// # Errors
    /// The handle or the label is not valid, or the store fails.
    pub async fn unlabel(&self, handle: &str, label: &str) -> JsResult<u32> {
        let key = Key::new(&label::parse_handle(handle)?, &label::parse_tag(label)?);
        let _guard = self.lock().await?;
        self.keep(Op::Remove(key)).await
    }

    /// Takes back the changes of the last call that changed something, if they are not published. Resolves to how many they
    /// were.
    ///
    /// # Errors
    /// The store fails, or the changes are damaged.
    pub async fn undo(&self) -> JsResult<u32> {
        let _guard = self.lock().await?;
        let undone = self.inner.unstage().await;
        let undone = undone.map_err(|error| from_sdk(error.code(), &error))?;
        Ok(count(undone.len()))
    }

    /// Drops all changes that wait to be published. Resolves to how many they were.
    ///
    /// # Errors
    /// The store fails.
    pub async fn discard(&self) -> JsResult<u32> {
        let _guard = self.lock().await?;
        let dropped = self.inner.discard_staged().await;
        Ok(count(
            dropped.map_err(|error| from_sdk(error.code(), &error))?,
        ))
    }

    /// How many changes wait to be published.
    ///
    /// # Errors
    /// The store fails.
    pub async fn staged(&self) -> JsResult<u32> {
        self.count_staged().await
    }

    /// One page of the own labels, with what is staged: `{labels, next}`. Where rows of the database are damaged, their
    /// number is in `damaged`: changes that wait may be missing then.
    ///
    /// Options: `prefix` (of handles) or `handle` (all of one), `after` (the `next` of the page before), `limit` (default 100, at
    /// most 10,000), `withEnded` (labels that have ended as well).
    ///
    /// # Errors
    /// There is no identity, or a block cannot be had.
    pub async fn labels(&self, options: Option<Object>) -> JsResult<JsValue> {
        let query = label::parse_query(options)?;
        let page = self
            .inner
            .labels(&query)
            .await
            .map_err(|error| from_sdk(error.code(), &error))?;
        Ok(label::page_object(&page))
    }

    /// One page of the labels that somebody has published: `{labels, next, head, sequence, …}`.
    ///
    /// # Errors
    /// The DID does not resolve, or a block cannot be had or is not what it should be.
    #[wasm_bindgen(js_name = labelsOf)]
    pub async fn labels_of(&self, did: &str, options: Option<Object>) -> JsResult<JsValue> {
        let query = label::parse_query(options)?;
        let found = self.inner.labels_of(&parse_did(did)?, &query).await;
        let found = found.map_err(|error| from_sdk(error.code(), &error))?;
        let resolved: Object = resolved_object(&found.resolved).unchecked_into();
        let page: Object = label::page_object(&found.page).unchecked_into();
        Ok(Object::assign(&resolved, &page).into())
    }

    /// Signs what is staged and sends it to the nodes: `{name, sequence, head, validUntil, aliveUntil,
    /// nodes: [{url, stored, error}], outdated: [{handle, label}]}`. Changes of the labels in `outdated` were not made: another
    /// device had published later ones.
    ///
    /// What was signed is kept here before anything is sent, so that a closed tab loses nothing: `deliver` goes on. When
    /// at least one node has stored it, every own block is checked and missing ones are brought back (`backupBlocks`).
    ///
    /// Options: `nodes` (instead of the client's), `token` (of the one node that is published to), `lifetimeDays` (default 90), `ladderRungs` (default 12; 0 for none)
    /// and `ladderStepDays` (default 30): the nodes renew the record by so many steps while nothing new is published.
    ///
    /// # Errors
    /// Nothing was signed, or no node has stored it: `not_delivered`, and `retryable` says whether one may yet.
    pub async fn publish(&self, identity: &Identity, options: Option<Object>) -> JsResult<JsValue> {
        let options = Options::new(
            options,
            &[
                "nodes",
                "token",
                "lifetimeDays",
                "ladderRungs",
                "ladderStepDays",
            ],
        )?;
        let nodes = options.urls("nodes")?.unwrap_or_else(|| self.nodes.clone());
        let mut publish = PublishOptions {
            tokens: options.tokens(&nodes)?,
            ..PublishOptions::default()
        };
        if let Some(days) = options.number("lifetimeDays")? {
            publish.lifetime = Duration::from_secs(days.saturating_mul(24 * 60 * 60));
        }
        let mut ladder = LadderPlan::default();
        if let Some(rungs) = options.number("ladderRungs")? {
            ladder.rungs = usize::try_from(rungs).unwrap_or(usize::MAX);
        }
        if let Some(days) = options.number("ladderStepDays")? {
            ladder.step = Duration::from_secs(days.saturating_mul(24 * 60 * 60));
        }
        publish.ladder = Some(ladder).filter(|ladder| ladder.rungs > 0);
        let guard = self.lock().await?;
        let outcome = self.inner.publish(&identity.0, &nodes, &publish).await;
        drop(guard);
        let outcome = outcome.map_err(|error| from_sdk(error.code(), &error))?;
        self.delivered(&outcome)?;
        self.backup_blocks().await?;
        Ok(outcome_object(&outcome))
    }

    /// Sends what an earlier publish could not: the same outcome, or undefined where nothing waits.
    ///
    /// # Errors
    /// The store fails, or still no node has stored it.
    pub async fn deliver(&self) -> JsResult<JsValue> {
        let _guard = self.lock().await?;
        let outcome = self
            .inner
            .deliver()
            .await
            .map_err(|error| from_sdk(error.code(), &error))?;
        let Some(outcome) = outcome else {
            return Ok(JsValue::UNDEFINED);
        };
        self.delivered(&outcome)?;
        Ok(outcome_object(&outcome))
    }

    /// Where a DID or an IPNS name points: `{did, name, head, path, sequence, validUntil, source, equivocation, steps: [{name, value,
    /// sequence, validUntil, source}]}`. The name may stand in a URI or a gateway's URL. A record that points at another name is
    /// followed, and each is a step. A record older than one this client has seen is refused.
    ///
    /// # Errors
    /// Nobody has a valid record, or it leads to no content: `name_cycle`, `name_chain_too_long`, `no_head`.
    pub async fn resolve(&self, did: &str) -> JsResult<JsValue> {
        let resolved = self.inner.resolve(&parse_did(did)?).await;
        Ok(resolved_object(
            &resolved.map_err(|error| from_sdk(error.code(), &error))?,
        ))
    }

    /// Checks every own block against its CID, and fetches what is lost or damaged here from the nodes:
    /// `{blocks, bytes, repaired, lost}`. Runs by itself after each publish, and periodically after `startBackup`.
    ///
    /// # Errors
    /// There is no identity, or the store fails.
    #[wasm_bindgen(js_name = backupBlocks)]
    pub async fn backup_blocks(&self) -> JsResult<JsValue> {
        let _guard = self.lock().await?;
        let check = self
            .inner
            .check_backup()
            .await
            .map_err(|error| from_sdk(error.code(), &error))?;
        Ok(check_object(&check))
    }

    /// Reads every row of the database and says which are damaged: `{damaged: [{row, what, held, rebuilt, loss}], missing}`.
    /// While one is, nothing is published, and `code` of the error is `state_damaged`.
    ///
    /// # Errors
    /// The store fails.
    #[wasm_bindgen(js_name = checkState)]
    pub async fn check_state(&self) -> JsResult<JsValue> {
        let _guard = self.lock().await?;
        let check = self.inner.check_state().await;
        let check = check.map_err(|error| from_sdk(error.code(), &error))?;
        Ok(state_object(&check))
    }

    /// Drops damaged rows and makes anew those that follow from the rest, so that publishing goes on: the same as
    /// `checkState` tells before. Changes that could not be read are lost.
    ///
    /// # Errors
    /// The store fails.
    #[wasm_bindgen(js_name = repairState)]
    pub async fn repair_state(&self) -> JsResult<JsValue> {
        let _guard = self.lock().await?;
        let check = self.inner.repair_state().await;
        let check = check.map_err(|error| from_sdk(error.code(), &error))?;
        Ok(state_object(&check))
    }

    /// Every `periodMs` milliseconds, from one period from now on: sends what still waits to be delivered, then does
    /// what `backupBlocks` does. `told`, where it is given, is called after each step as `told(error, check)`. A
    /// second call replaces the first; it ends with `stopBackup()` and with the client.
    ///
    /// # Errors
    /// The period is below a second.
    #[wasm_bindgen(js_name = startBackup)]
    pub fn start_backup(&mut self, period_ms: f64, told: Option<Function>) -> JsResult<()> {
        if !(SHORTEST_PERIOD_MS..=f64::from(u32::MAX)).contains(&period_ms) {
            return Err(make(
                "invalid_argument",
                "the period must be a number of milliseconds, at least 1000",
                false,
            ));
        }
        let period = Duration::from_secs_f64(period_ms / 1_000.0);
        let (client, database) = (self.inner.clone(), self.database.clone());
        self.backup = Some(rt::every(
            move || rt::sleep(period),
            move || back_up(client.clone(), database.clone(), told.clone()),
        ));
        Ok(())
    }

    /// Ends what `startBackup` began. A step that is under way ends at its next pause.
    #[wasm_bindgen(js_name = stopBackup)]
    pub fn stop_backup(&mut self) {
        self.backup = None;
    }

    /// Brings an identity's data back from the nodes, into an empty database or over an older state. Does what
    /// `repairState` does first.
    ///
    /// # Errors
    /// No node has a valid record, or the data cannot be had whole.
    pub async fn restore(&self, identity: &Identity) -> JsResult<JsValue> {
        let _guard = self.lock().await?;
        let resolved = self.inner.restore(&identity.0, &self.nodes).await;
        Ok(resolved_object(
            &resolved.map_err(|error| from_sdk(error.code(), &error))?,
        ))
    }

    /// Everything of this identity as one CAR file, which any IPFS node imports.
    ///
    /// # Errors
    /// Nothing was published yet, or a block is lost.
    #[wasm_bindgen(js_name = exportCapsule)]
    pub async fn export_capsule(&self) -> JsResult<Uint8Array> {
        let failed = |error: client::ExportError| from_sdk(error.code(), &error);
        let mut export = self.inner.export().await.map_err(failed)?;
        let mut bytes = Vec::new();
        while let Some(chunk) = export.chunk().await.map_err(failed)? {
            bytes.extend_from_slice(&chunk);
        }
        Ok(Uint8Array::from(bytes.as_slice()))
    }

    /// Takes in a CAR file made by `exportCapsule`, after verifying all of it: `{name, head, sequence, blocks}`.
    ///
    /// # Errors
    /// The file is damaged, not whole, or another identity's than the one of this database.
    #[wasm_bindgen(js_name = importCapsule)]
    pub async fn import_capsule(&self, bytes: &[u8]) -> JsResult<JsValue> {
        let failed = |error: client::RestoreError| from_sdk(error.code(), &error);
        let mut reader = CapsuleReader::new(CAPSULE_BYTES);
        reader.push(bytes).map_err(failed)?;
        let _guard = self.lock().await?;
        let CapsuleSummary {
            name,
            head,
            sequence,
            blocks,
        } = self.inner.import(reader).await.map_err(failed)?;
        Ok(Fields::new()
            .set("name", name.to_string())
            .set("head", head.to_string())
            .set("sequence", exact(sequence))
            .set("blocks", count(blocks))
            .done())
    }
}

impl Client {
    async fn lock(&self) -> JsResult<Guard> {
        lock_list(&self.database).await
    }

    /// Keeps a change, for who holds the lock.
    async fn keep(&self, op: Op) -> JsResult<u32> {
        let staged = self.inner.stage(&[op]).await;
        Ok(count(
            staged.map_err(|error| from_sdk(error.code(), &error))?,
        ))
    }

    async fn count_staged(&self) -> JsResult<u32> {
        let staged = self.inner.staged_count().await;
        Ok(count(
            staged.map_err(|error| from_sdk(error.code(), &error))?,
        ))
    }

    /// An error where no node stored it.
    fn delivered(&self, outcome: &PublishOutcome) -> JsResult<()> {
        if outcome.nodes.iter().any(|node| node.stored) {
            return Ok(());
        }
        let Some(error) = outcome.nodes.iter().find_map(|node| node.error.as_deref()) else {
            return Err(make(
                "not_delivered",
                "no node was named to publish to",
                false,
            ));
        };
        Err(from_sdk("not_delivered", error))
    }
}

async fn lock_list(database: &str) -> JsResult<Guard> {
    let guard = lock::acquire(&format!("perennis:{database}")).await;
    guard.map_err(|_| {
        make(
            "busy",
            "another tab of this site is changing the same list; close it or try again",
            true,
        )
    })
}

/// One step of the repeated backup.
async fn back_up(client: client::Client<IndexedDb>, database: String, told: Option<Function>) {
    let step = async {
        let _guard = lock_list(&database).await?;
        let check = client.back_up().await;
        check.map_err(|error| from_sdk(error.code(), &error))
    };
    let (error, check) = match step.await {
        Ok(check) => (JsValue::NULL, check_object(&check)),
        Err(error) => (error, JsValue::UNDEFINED),
    };
    if let Some(told) = told {
        // What the page does with it is the page's; the next step comes all the same.
        let _ = told.call2(&JsValue::UNDEFINED, &error, &check);
    }
}

fn check_object(check: &BackupCheck) -> JsValue {
    let lost = check.lost.iter();
    let lost = lost.map(|(cid, _)| JsValue::from(cid.to_string()));
    Fields::new()
        .set("blocks", count(check.blocks))
        .set("bytes", exact(check.bytes))
        .set("repaired", count(check.repaired.len()))
        .set("lost", lost.collect::<Array>())
        .done()
}

fn state_object(check: &StateCheck) -> JsValue {
    let damaged = check.damaged.iter().map(|damage| {
        Fields::new()
            .set("row", damage.row.as_str())
            .set("what", damage.what)
            .set("held", damage.held)
            .set("rebuilt", damage.rebuilt)
            .set("loss", damage.loss)
            .done()
    });
    Fields::new()
        .set("damaged", damaged.collect::<Array>())
        .set("missing", exact(check.missing))
        .done()
}

fn parse_did(text: &str) -> JsResult<Did> {
    uri::parse_did(text).map_err(|error| invalid("invalid_did", &error))
}

fn resolved_object(resolved: &Resolved) -> JsValue {
    Fields::new()
        .set("did", resolved.did.to_string())
        .set("name", resolved.name.to_string())
        .set("head", resolved.head.to_string())
        .set("sequence", exact(resolved.sequence))
        .set("validUntil", resolved.valid_until.to_string())
        .set("source", resolved.source.as_str())
        .set("equivocation", resolved.equivocation.is_some())
        .set("path", resolved.path.as_str())
        .set(
            "steps",
            resolved.steps.iter().map(step_object).collect::<Array>(),
        )
        .done()
}

fn step_object(step: &ResolveStep) -> JsValue {
    Fields::new()
        .set("name", step.name.to_string())
        .set(
            "value",
            String::from_utf8_lossy(step.record.value()).as_ref(),
        )
        .set("sequence", exact(step.record.sequence()))
        .set("validUntil", step.record.validity().to_string())
        .set("source", step.source.as_str())
        .done()
}

fn outcome_object(outcome: &PublishOutcome) -> JsValue {
    let nodes = outcome.nodes.iter().map(|node| {
        Fields::new()
            .set("url", node.url.to_string())
            .set("stored", node.stored)
            .set_some(
                "error",
                node.error
                    .as_deref()
                    .map(|error| from_sdk(error.code(), error)),
            )
            .done()
    });
    Fields::new()
        .set("name", outcome.name.to_string())
        .set("sequence", exact(outcome.sequence))
        .set("head", outcome.head.to_string())
        .set("validUntil", outcome.valid_until.to_string())
        .set("aliveUntil", outcome.alive_until.to_string())
        .set("nodes", nodes.collect::<Array>())
        .set(
            "outdated",
            outcome
                .outdated
                .iter()
                .map(label::key_object)
                .collect::<Array>(),
        )
        .done()
}

fn count(number: usize) -> u32 {
    u32::try_from(number).unwrap_or(u32::MAX)
}
