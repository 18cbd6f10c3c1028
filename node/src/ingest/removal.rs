//! Removing names: by the operator, after their records have ended, and to make room for others.
//!
//! All that is kept about a name goes in one batch; its blocks go with the next collection of garbage where nothing else holds
//! them. A name that is followed for another stays as long as that one is followed. Which names went, when and why, is remembered
//! for those who ask, of the last of them and until the node stops; the log has them all.

use perennis_rt as rt;
use perennis_shared::ipns::Name;
use perennis_shared::time::Millis;

use super::name_locks::LockedName;
use super::{Ingest, IngestError, refused};
use crate::metrics::Removal;
use crate::storage::{Forgotten, NameState};

/// Names of which it is remembered that they were removed.
pub(super) const REMEMBERED: usize = 16_384;

/// That a name was removed.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Removed {
    pub(crate) at: Millis,
    pub(crate) why: Removal,
}

/// A name that the operator has removed, as it was.
#[derive(Debug)]
pub(crate) struct RemovedName {
    /// None where its head was lost.
    pub(crate) kept: Option<NameState>,
    pub(crate) was_followed: bool,
}

impl Ingest {
    /// Removes a name for good, and has it taken no more where that is asked for.
    pub(crate) async fn remove(&self, name: &Name, deny: bool) -> Result<RemovedName, IngestError> {
        let locked = self.changing.lock(name).await;
        // What leads to what may not change meanwhile.
        let _forgetting = self.forgetting.write().await;
        if let Some(leading) = self.led_from(name).await? {
            return Err(IngestError::Led { by: leading.asked });
        }
        let denied = deny.then(rt::now);
        let mut removed = self
            .forget_locked(vec![locked], Removal::Operator, denied)
            .await?;
        let removed = removed.pop().ok_or(IngestError::NotRemoved)?;
        if let Some(kept) = &removed.kept {
            self.look_at(kept.record.next_name()).await?;
        }
        Ok(RemovedName {
            was_followed: removed.followed.is_some(),
            kept: removed.kept,
        })
    }

    /// Takes a name again that was removed; false where it may come already.
    pub(crate) async fn allow(&self, name: &Name) -> Result<bool, IngestError> {
        let _locked = self.changing.lock(name).await;
        Ok(self.storage.allow(*name).await?)
    }

    /// Removes a name whose record has ended so long ago, where that is still so and nothing speaks against it; tells whether it
    /// was removed. Nothing may be said of it while the clock is in doubt.
    pub(crate) async fn remove_lapsed(
        &self,
        name: &Name,
        now: Millis,
    ) -> Result<bool, IngestError> {
        let locked = self.changing.lock(name).await;
        let _not_forgetting = self.forgetting.read().await;
        let Some(kept) = self.storage.kept(*name).await? else {
            return Ok(false);
        };
        if !self.has_lapsed(name, &kept, now).await? {
            return Ok(false);
        }
        let removed = self
            .remove_locked(vec![locked], Removal::Lapsed, None)
            .await?;
        Ok(removed > 0)
    }

    /// Whether a name has lapsed for longer than such names are kept.
    pub(crate) async fn has_lapsed(
        &self,
        name: &Name,
        kept: &NameState,
        now: Millis,
    ) -> Result<bool, IngestError> {
        let rules = &self.admission.rules;
        let Some(grace) = rules.grace else {
            return Ok(false);
        };
        if kept.followed.is_some() || rules.allow.contains(name) || now <= kept.valid_until + grace
        {
            return Ok(false);
        }
        let ladder = self.storage.ladder(*name).await?.above(&kept.record);
        let is_over = |end: Millis| now > end + grace;
        Ok(ladder
            .alive_until()
            .is_none_or(|end| is_over(end.to_millis())))
    }

    /// When and why a name was removed, if it was lately.
    pub(crate) fn removed(&self, name: &Name) -> Option<Removed> {
        self.removed.get(name)
    }

    /// Removes names, and tells how many of them there were.
    pub(super) async fn remove_locked(
        &self,
        names: Vec<LockedName>,
        why: Removal,
        denied: Option<Millis>,
    ) -> Result<usize, IngestError> {
        let removed = self.forget_locked(names, why, denied).await?;
        Ok(removed.len())
    }

    async fn forget_locked(
        &self,
        locked: Vec<LockedName>,
        why: Removal,
        denied: Option<Millis>,
    ) -> Result<Vec<Forgotten>, IngestError> {
        if locked.is_empty() {
            return Ok(Vec::new());
        }
        let names = locked.iter().map(LockedName::name).collect();
        let forgotten = self.storage.forget_all(names, denied).await;
        let forgotten = forgotten.map_err(|error| refused(error, 0))?;
        self.forgot(&forgotten);
        for row in &forgotten {
            let at = rt::now();
            self.removed.insert(row.name, Removed { at, why });
            self.metrics.removed_names.inc(why);
            let kept = row.kept.as_ref();
            let bytes = kept.map(|kept| kept.facts.bytes);
            let ended = kept.map(|kept| kept.valid_until.to_string());
            tracing::info!(name = %row.name, why = why.word(), bytes, ended, denied = denied.is_some(), "a name was removed");
        }
        Ok(forgotten)
    }

    /// Counts names that are kept no more, and has nobody read what was there.
    pub(super) fn forgot(&self, forgotten: &[Forgotten]) {
        for row in forgotten {
            if let Some(unclaimed) = &row.unclaimed {
                self.storage.unclaimed_sums().lock().subtract(unclaimed);
            }
            if let Some(kept) = &row.kept {
                self.metrics.names.add(-1);
                let is_list = kept.facts.is_pinned_list();
                self.metrics.tag_lists.add(-i64::from(is_list));
            }
            if row.followed.is_some() {
                self.metrics.followed_names.add(-1);
            }
            self.read.changed(&row.name);
            self.changed_names.add(row.name);
        }
        self.storage.names_removed(forgotten.len() as u64);
    }
}
