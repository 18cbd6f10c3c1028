//! Starting the own log anew with the latest state of each label.
//!
//! A compaction is one entry, kept in one commit: what is cut off has not begun. What another device has published meanwhile
//! is merged by the next publish, as any other edit is. Publishing compacts by itself: every [`CHECK_EVERY`] entries it
//! compares the changes that the log records with the labels that the list has, and where more than [`DEAD_PERCENT`] percent
//! of them are of no label that is there any more, or were replaced since, the new entry is the second one of a new log.

use std::time::Duration;

use perennis_rt as rt;
use perennis_shared::{
    did::Identity,
    ipns::Name,
    limits::PAGE_ROWS,
    log::{self, Entry, EntryKind},
    taglist::{KeyPrefix, tree},
};

use super::{
    Client, ListError, PublishError,
    ledger::{Signed, author, entry},
    publish::keep_entry,
    view::View,
};
use crate::store::{BlockStore, Changes};

/// How long the trace of a removed label is kept by a compaction that begins by itself, so that an old copy of it on another
/// device is not taken for a new label: 90 days.
pub const KEEP_REMOVED: Duration = Duration::from_secs(90 * 24 * 60 * 60);

/// Entries between two looks at whether a log is worth compacting.
pub const CHECK_EVERY: u64 = 64;

/// From which share of dead changes on a log is compacted by itself, in percent.
pub const DEAD_PERCENT: u64 = 75;

/// Most entries that are looked at: a log that has more is compacted for their number alone.
const LOOKED_AT: usize = 4_096;

impl<S: BlockStore + 'static> Client<S> {
    /// Starts the own log anew with the latest state of each label. Labels that have ended are dropped, and so are
    /// the traces of labels removed longer than `keep_removed` ago. The next publish sends it; readers of the old log
    /// follow. Gives the first entry of the new log.
    ///
    /// # Errors
    /// Nothing was signed yet, the identity is another one, a row of the store is damaged, or a block cannot be had.
    pub async fn compact(
        &self,
        identity: &Identity,
        keep_removed: Duration,
    ) -> Result<Entry, PublishError> {
        let _publishing = self.shared.publishing.lock().await;
        self.expect_sound().await?;
        let name = self.recognise_locked(identity).await?.name;
        self.mend_clock_locked().await?;
        self.compact_locked(identity, &name, keep_removed).await
    }

    /// Compacts the log where it is worth it, for who holds the lock of publishing.
    pub(super) async fn compact_if_due(
        &self,
        identity: &Identity,
        name: &Name,
    ) -> Result<(), PublishError> {
        let Some(own) = self.own_head(name).await? else {
            return Ok(());
        };
        let mut view = self.view(&[]);
        let head = entry(&mut view, name, &own).await?;
        if !head.seq().is_multiple_of(CHECK_EVERY) || !is_due(&mut view, &head).await? {
            return Ok(());
        }
        self.compact_locked(identity, name, KEEP_REMOVED).await?;
        Ok(())
    }

    async fn compact_locked(
        &self,
        identity: &Identity,
        name: &Name,
        keep_removed: Duration,
    ) -> Result<Entry, PublishError> {
        let own = self.own_head(name).await?.ok_or(ListError::Empty)?;
        let mut view = self.view(&[]);
        let head = entry(&mut view, name, &own).await?;
        let document = view.block(head.document()).await.map_err(ListError::from)?;
        let author = author(identity, *head.document());
        let now = rt::now();
        view.warm(head.root()).await.map_err(ListError::from)?;
        let new = view
            .run(|blocks| log::compact(&author, &head, keep_removed, now, blocks))
            .await
            .map_err(ListError::from)?;
        let signed = Signed::new(&new.entry, new.added, &document, Some(&head));
        let changes = keep_entry(Changes::new(), name, &signed, [])?;
        self.shared.store.commit(changes).await?;
        Ok(new.entry)
    }
}

/// Whether so many of the changes that the log at `head` records are dead that it is worth compacting.
async fn is_due<S: BlockStore>(view: &mut View<'_, S>, head: &Entry) -> Result<bool, ListError> {
    let entries = view
        .run(|blocks| log::history(head, LOOKED_AT, blocks))
        .await?;
    if entries.len() == LOOKED_AT {
        return Ok(true);
    }
    let mut recorded: u64 = 0;
    for found in &entries {
        recorded = recorded.saturating_add(match found.kind() {
            EntryKind::Change => found.changes(),
            EntryKind::Merge => 0,
            // What the log began with.
            EntryKind::Compaction => count_rows(view, found).await?.1,
        });
    }
    let live = count_rows(view, head).await?.0;
    let dead = recorded.saturating_sub(live);
    Ok(dead.saturating_mul(100) > recorded.saturating_mul(DEAD_PERCENT))
}

/// How many labels a list has that have not ended, and how many rows.
async fn count_rows<S: BlockStore>(
    view: &mut View<'_, S>,
    at: &Entry,
) -> Result<(u64, u64), ListError> {
    let now = rt::now();
    let (mut labels, mut rows, mut after) = (0, 0, None);
    view.warm(at.root()).await?;
    loop {
        let page = view
            .run(|blocks| {
                tree::rows(
                    at.root(),
                    &KeyPrefix::ALL,
                    after.as_ref(),
                    PAGE_ROWS,
                    blocks,
                )
            })
            .await?;
        rows += page.items.len() as u64;
        let live = page.items.iter().filter_map(|row| row.label.as_ref());
        labels += live.filter(|label| !label.is_expired(now)).count() as u64;
        match page.next {
            Some(next) => after = Some(next),
            None => return Ok((labels, rows)),
        }
    }
}
