//! Listing labels: one's own with what is staged, and those of others.

use std::{collections::BTreeMap, ops::Bound};

use perennis_rt as rt;
use perennis_shared::{
    cid::Cid,
    did::Did,
    log::{self, Entry},
    taglist::{DatedOp, Handle, Key, KeyPrefix, Label, LabelError, Op, tree},
};

use super::{Client, ListError, Resolved, ledger::entry, view::View};
use crate::store::BlockStore;

/// Which labels to list.
#[derive(Clone, Debug, Default)]
pub enum LabelFilter {
    /// All of them.
    #[default]
    All,
    /// Those on handles that begin with this text, with or without `@`, in any case.
    HandlesFrom(String),
    /// Those on one handle.
    Handle(Handle),
}

/// One page of a list.
#[derive(Clone, Debug)]
pub struct LabelQuery {
    /// Which labels.
    pub filter: LabelFilter,
    /// Begins behind this key: the `next` of the page before.
    pub after: Option<Key>,
    /// Most labels of the page.
    pub limit: usize,
    /// Lists labels that have ended as well.
    pub with_expired: bool,
}

impl Default for LabelQuery {
    /// The first 100 labels that have not ended.
    fn default() -> Self {
        Self {
            filter: LabelFilter::All,
            after: None,
            limit: 100,
            with_expired: false,
        }
    }
}

/// A part of a list, ascending by handle and label.
#[derive(Clone, Debug, Default)]
pub struct LabelPage {
    /// The labels.
    pub labels: Vec<ListedLabel>,
    /// Where the next page begins; none on the last one.
    pub next: Option<Key>,
    /// The entry of the log that they were read at; none before the first publish.
    pub head: Option<Cid>,
    /// Changes that wait to be published. Always 0 in a list of somebody else.
    pub staged: usize,
    /// Rows of the store that are damaged or gone: changes that wait may be missing among the labels. Nothing is
    /// published before [`Client::repair_state`]. Always 0 in a list of somebody else.
    pub damaged: u64,
}

/// A label of a list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ListedLabel {
    /// The label.
    pub label: Label,
    /// It waits to be signed and published.
    pub staged: bool,
}

/// Labels of somebody, and the head they were read at.
#[derive(Clone, Debug)]
pub struct ForeignLabels {
    /// Where the name points.
    pub resolved: Resolved,
    /// The labels.
    pub page: LabelPage,
}

impl<S: BlockStore + 'static> Client<S> {
    /// The own labels, as they will be once what is staged is published. Blocks that are not here any more are fetched.
    /// Damaged rows are left out and counted.
    ///
    /// # Errors
    /// There is no current identity, or a block cannot be had.
    pub async fn labels(&self, query: &LabelQuery) -> Result<LabelPage, ListError> {
        let facts = self.identity().await?.ok_or(ListError::NoIdentity)?;
        let name = facts.name;
        self.mend_clock().await?;
        let staged = self.read_staged(&name).await?;
        let rows = self.shared.store.check_rows().await?;
        let damaged = (rows.damaged.len() as u64 + rows.missing).max(staged.damaged.len() as u64);
        let waiting = staged.changes.len();
        let staged: BTreeMap<Key, DatedOp> = staged
            .changes
            .into_iter()
            .map(|change| (change.key(), change))
            .collect();
        let staged: Vec<DatedOp> = staged.into_values().collect();
        let mut view = self.view(&[]);
        let head = match self.own_head(&name).await {
            Err(error) if error.is_damage() => {
                let head = self.head_of_records(&name).await?;
                Some(head.ok_or(error)?)
            }
            head => head?,
        };
        let read_at = head;
        let head = match head {
            Some(head) => Some(entry(&mut view, &name, &head).await?),
            None => None,
        };
        let root = head.as_ref().and_then(Entry::root);
        // What another device has changed since is newer, and stays.
        let device = facts.device();
        let effective = view
            .run(|blocks| log::in_effect(head.as_ref(), staged.clone(), device, blocks))
            .await?;
        let overlay = effective.into_iter().map(|change| match change.op {
            Op::Set(label) => (label.key(), Some(label)),
            Op::Remove(key) => (key, None),
        });
        let overlay = overlay.collect();
        let page = page(&mut view, root, &overlay, query).await?;
        self.keep(view).await?;
        Ok(LabelPage {
            head: read_at,
            staged: waiting,
            damaged,
            ..page
        })
    }

    /// The labels that somebody has published. What is fetched for it is verified and kept.
    ///
    /// # Errors
    /// The DID does not resolve, or a block of the list cannot be had or is not what it should be.
    pub async fn labels_of(
        &self,
        did: &Did,
        query: &LabelQuery,
    ) -> Result<ForeignLabels, ListError> {
        let resolved = self.resolve_list(did, &[]).await?;
        let mut view = self.view(&[]);
        let root = entry(&mut view, &resolved.name, &resolved.head)
            .await?
            .root();
        let page = page(&mut view, root, &BTreeMap::new(), query).await?;
        self.keep(view).await?;
        let page = LabelPage {
            head: Some(resolved.head),
            ..page
        };
        Ok(ForeignLabels { resolved, page })
    }
}

/// Lists `root` with `overlay` in front of it.
async fn page<S: BlockStore>(
    view: &mut View<'_, S>,
    root: Option<Cid>,
    overlay: &BTreeMap<Key, Option<Label>>,
    query: &LabelQuery,
) -> Result<LabelPage, ListError> {
    let prefix = query.filter.prefix()?;
    view.in_bulk(root);
    let limit = query.limit.max(1);
    let now = rt::now();
    let mut labels: Vec<ListedLabel> = Vec::new();
    let mut after = query.after;
    loop {
        let rows = view
            .run(|blocks| tree::scan(root, &prefix, after.as_ref(), limit, blocks))
            .await?;
        let mut merged: BTreeMap<Key, ListedLabel> = BTreeMap::new();
        for label in rows.items {
            let staged = false;
            merged.insert(label.key(), ListedLabel { label, staged });
        }
        let start = after.map_or(Bound::Unbounded, Bound::Excluded);
        let end = rows.next.map_or(Bound::Unbounded, Bound::Included);
        for (key, change) in overlay.range((start, end)) {
            match change {
                Some(label) if query.filter.matches(key) => {
                    let listed = ListedLabel {
                        label: label.clone(),
                        staged: true,
                    };
                    merged.insert(*key, listed);
                }
                _ => drop(merged.remove(key)),
            }
        }
        let is_listed = |listed: &ListedLabel| query.with_expired || !listed.label.is_expired(now);
        labels.extend(merged.into_values().filter(is_listed));
        if labels.len() > limit {
            labels.truncate(limit);
            let next = labels.last().map(|listed| listed.label.key());
            return Ok(LabelPage {
                labels,
                next,
                ..LabelPage::default()
            });
        }
        match rows.next {
            Some(next) => after = Some(next),
            None => {
                return Ok(LabelPage {
                    labels,
                    ..LabelPage::default()
                });
            }
        }
    }
}

impl LabelFilter {
    fn prefix(&self) -> Result<KeyPrefix, LabelError> {
        match self {
            Self::All => Ok(KeyPrefix::ALL),
            Self::HandlesFrom(text) => KeyPrefix::of_handles(text),
            Self::Handle(handle) => Ok(KeyPrefix::of_handle(handle)),
        }
    }

    fn matches(&self, key: &Key) -> bool {
        match self {
            Self::All => true,
            Self::HandlesFrom(text) => {
                let text = text.strip_prefix('@').unwrap_or(text).to_ascii_lowercase();
                key.handle().as_str().starts_with(&text)
            }
            Self::Handle(handle) => key.handle() == handle.lower(),
        }
    }
}
