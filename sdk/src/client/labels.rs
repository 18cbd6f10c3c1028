//! Listing labels: one's own with what is staged, and those of others.

use std::{collections::VecDeque, vec};

use perennis_rt as rt;
use perennis_shared::{
    cid::Cid,
    did::Did,
    limits::PAGE_ROWS,
    log::{self, Entry},
    taglist::{DatedOp, Handle, Key, KeyPrefix, Label, LabelError, Op, tree},
};

use super::{Client, IdentityFacts, ListError, Resolved, ledger::entry, view::View};
use crate::store::BlockStore;

/// Blocks that a scan holds before it begins a new view.
const SCAN_BLOCKS: usize = 16_384;

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

/// A list being read from its beginning to its end, as it was when the reading began. What it takes grows with the list
/// and with what is staged, and not with the number of pages.
pub struct LabelScan<'a, S> {
    client: &'a Client<S>,
    view: View<'a, S>,
    root: Option<Cid>,
    prefix: KeyPrefix,
    with_expired: bool,
    /// What is staged, ascending by key, put in front of the tree's labels.
    overlay: std::iter::Peekable<vec::IntoIter<(Key, Option<Label>)>>,
    /// Labels of the tree that were read and not given out.
    rows: VecDeque<Label>,
    /// Up to which key the tree was read.
    read: Option<Key>,
    /// Whether the tree has more.
    has_more: bool,
    /// A label that was looked at and not given out.
    peeked: Option<ListedLabel>,
    /// The entry of the log that the labels are read at; none before the first publish.
    pub head: Option<Cid>,
    /// Changes that wait to be published. Always 0 in a list of somebody else.
    pub staged: usize,
    /// As [`LabelPage::damaged`].
    pub damaged: u64,
}

impl<S: BlockStore + 'static> LabelScan<'_, S> {
    /// The next labels, ascending by handle and label: at most `limit` of them, and none at the end.
    ///
    /// # Errors
    /// A block cannot be had, or is not part of a list.
    pub async fn next(&mut self, limit: usize) -> Result<Vec<ListedLabel>, ListError> {
        let mut labels = Vec::new();
        let now = rt::now();
        while labels.len() < limit {
            let is_overlaid = self.peeked.is_some() || self.overlay.peek().is_some();
            if !is_overlaid && let Some(label) = self.rows.pop_front() {
                if self.with_expired || !label.is_expired(now) {
                    let staged = false;
                    labels.push(ListedLabel { label, staged });
                }
                continue;
            }
            match self.next_label(limit).await? {
                Some(label) => labels.push(label),
                None => break,
            }
        }
        self.save().await?;
        Ok(labels)
    }

    /// Keeps what was fetched, and forgets blocks that a long list does not come back to.
    async fn save(&mut self) -> Result<(), ListError> {
        if self.view.loaded() < SCAN_BLOCKS && !self.view.has_fetched() {
            return Ok(());
        }
        let mut next = self.client.view(&[]);
        next.in_bulk(self.root);
        next.goes_on_from(&self.view);
        let view = std::mem::replace(&mut self.view, next);
        Ok(self.client.keep(view).await?)
    }

    async fn page(mut self, limit: usize) -> Result<LabelPage, ListError> {
        let labels = self.next(limit).await?;
        self.peeked = self.next_label(1).await?;
        self.save().await?;
        Ok(LabelPage {
            next: match &self.peeked {
                Some(_) => labels.last().map(|listed| listed.label.key()),
                None => None,
            },
            labels,
            head: self.head,
            staged: self.staged,
            damaged: self.damaged,
        })
    }

    async fn next_label(&mut self, batch: usize) -> Result<Option<ListedLabel>, ListError> {
        if let Some(peeked) = self.peeked.take() {
            return Ok(Some(peeked));
        }
        let now = rt::now();
        loop {
            if self.rows.is_empty() && self.has_more {
                self.read_rows(batch).await?;
                continue;
            }
            let row = self.rows.front().map(Label::key);
            let change = self.overlay.peek().map(|(key, _)| *key);
            let (label, staged) = match (row, change) {
                (None, None) => return Ok(None),
                (Some(row), change) if change.is_none_or(|change| row < change) => {
                    (self.rows.pop_front(), false)
                }
                (row, _) => {
                    if row == change {
                        self.rows.pop_front();
                    }
                    (self.overlay.next().and_then(|(_, label)| label), true)
                }
            };
            let Some(label) = label else {
                continue;
            };
            if self.with_expired || !label.is_expired(now) {
                return Ok(Some(ListedLabel { label, staged }));
            }
        }
    }

    async fn read_rows(&mut self, batch: usize) -> Result<(), ListError> {
        let (root, prefix, after) = (self.root, self.prefix, self.read);
        let batch = batch.saturating_add(1).min(PAGE_ROWS);
        let page = self
            .view
            .run(|blocks| tree::scan(root, &prefix, after.as_ref(), batch, blocks))
            .await?;
        self.has_more = page.next.is_some();
        self.read = page.next;
        self.rows.extend(page.items);
        Ok(())
    }
}

impl<S: BlockStore + 'static> Client<S> {
    /// The own labels, as they will be once what is staged is published. Blocks that are not here any more are fetched.
    /// Damaged rows are left out and counted. Every page reads all that is staged: [`Client::scan_labels`] reads a whole list.
    ///
    /// # Errors
    /// There is no current identity, or a block cannot be had.
    pub async fn labels(&self, query: &LabelQuery) -> Result<LabelPage, ListError> {
        let scan = self.own_scan(query).await?;
        scan.page(query.limit.max(1)).await
    }

    /// Begins to read the own labels as [`Client::labels`] gives them; the query's limit has no meaning here.
    ///
    /// # Errors
    /// As [`Client::labels`].
    pub async fn scan_labels(&self, query: &LabelQuery) -> Result<LabelScan<'_, S>, ListError> {
        self.own_scan(query).await
    }

    async fn own_scan(&self, query: &LabelQuery) -> Result<LabelScan<'_, S>, ListError> {
        let facts = self.identity().await?.ok_or(ListError::NoIdentity)?;
        let name = facts.name;
        self.mend_clock().await?;
        let staged = self.read_staged(&name).await?;
        let rows = self.shared.store.check_rows().await?;
        let damaged = (rows.damaged.len() as u64 + rows.missing).max(staged.damaged.len() as u64);
        let waiting = staged.changes.len();
        let mut view = self.view(&[]);
        let head = match self.own_head(&name).await {
            Err(error) if error.is_damage() => {
                let head = self.head_of_records(&name).await?;
                Some(head.ok_or(error)?)
            }
            head => head?,
        };
        let entry = match head {
            Some(head) => Some(entry(&mut view, &name, &head).await?),
            None => None,
        };
        let overlay = overlay(&mut view, entry.as_ref(), &facts, staged.changes, query).await?;
        let root = entry.as_ref().and_then(Entry::root);
        let scan = self.begin(view, root, overlay, query)?;
        Ok(LabelScan {
            head,
            staged: waiting,
            damaged,
            ..scan
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
        let (resolved, scan) = self.scan_labels_of(did, query).await?;
        let page = scan.page(query.limit.max(1)).await?;
        Ok(ForeignLabels { resolved, page })
    }

    /// Begins to read the labels that somebody has published; the query's limit has no meaning here.
    ///
    /// # Errors
    /// As [`Client::labels_of`].
    pub async fn scan_labels_of(
        &self,
        did: &Did,
        query: &LabelQuery,
    ) -> Result<(Resolved, LabelScan<'_, S>), ListError> {
        let resolved = self.resolve_list(did, &[]).await?;
        let mut view = self.view(&[]);
        let entry = entry(&mut view, &resolved.name, &resolved.head).await?;
        let scan = self.begin(view, entry.root(), Vec::new(), query)?;
        let head = Some(resolved.head);
        Ok((resolved, LabelScan { head, ..scan }))
    }

    fn begin<'a>(
        &'a self,
        mut view: View<'a, S>,
        root: Option<Cid>,
        overlay: Vec<(Key, Option<Label>)>,
        query: &LabelQuery,
    ) -> Result<LabelScan<'a, S>, ListError> {
        view.in_bulk(root);
        Ok(LabelScan {
            client: self,
            view,
            root,
            prefix: query.filter.prefix()?,
            with_expired: query.with_expired,
            overlay: overlay.into_iter().peekable(),
            rows: VecDeque::new(),
            read: query.after,
            has_more: root.is_some(),
            peeked: None,
            head: None,
            staged: 0,
            damaged: 0,
        })
    }
}

/// Of what waits what is in effect and asked for, ascending by key: what another device has changed since is newer, and
/// stays.
async fn overlay<S: BlockStore>(
    view: &mut View<'_, S>,
    head: Option<&Entry>,
    facts: &IdentityFacts,
    waiting: Vec<DatedOp>,
    query: &LabelQuery,
) -> Result<Vec<(Key, Option<Label>)>, ListError> {
    let is_asked_for =
        |key: &Key| query.after.is_none_or(|after| *key > after) && query.filter.matches(key);
    let mut waiting: Vec<(Key, DatedOp)> = waiting
        .into_iter()
        .map(|change| (change.key(), change))
        .filter(|(key, _)| is_asked_for(key))
        .collect();
    // Of several changes of one label the last one counts. The sort keeps their order, and costs little where an import
    // has sorted them before.
    waiting.sort_by_key(|one| one.0);
    waiting.dedup_by(|later, earlier| {
        let is_same = later.0 == earlier.0;
        if is_same {
            std::mem::swap(later, earlier);
        }
        is_same
    });
    // Nothing in the list is later than its head.
    let is_newest = |change: &DatedOp| head.is_none_or(|head| change.clock > head.clock());
    let changes = waiting.into_iter().map(|(_, change)| change);
    let (newest, mut older): (Vec<DatedOp>, Vec<DatedOp>) = changes.partition(is_newest);
    let device = facts.device();
    if !older.is_empty() {
        let looked_up = view.run(|blocks| log::in_effect(head, older.clone(), device, blocks));
        older = looked_up.await?;
    }
    let has_older = !older.is_empty();
    let mut overlay: Vec<(Key, Option<Label>)> = newest
        .into_iter()
        .chain(older)
        .map(|change| match change.op {
            Op::Set(label) => (label.key(), Some(label)),
            Op::Remove(key) => (key, None),
        })
        .collect();
    if has_older {
        overlay.sort_by_key(|(key, _)| *key);
    }
    Ok(overlay)
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
