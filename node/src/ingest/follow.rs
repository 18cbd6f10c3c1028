//! Following: the operator adopts a name that somebody else holds the key of.
//!
//! A followed name is kept as if it had been published here, with two differences. What is below its head is pinned
//! whatever it is, not only where it is a log of ours. And its record is looked for again and again, since its owner
//! does not know this node. The quotas of admission hold; who may publish and how often does not, since it is the
//! operator who asks.

use perennis_rt as rt;
use perennis_shared::cid::Block;
use perennis_shared::ipns::{Ladder, Name, Record, UnverifiedRecord, compare};
use perennis_shared::time::Millis;

use super::{FetchedGraph, Ingest, IngestError, Message, facts_below, refused};
use crate::groups::Share;
use crate::storage::FollowState;
use crate::storage::{FetchAttempt, FetchEnd, Follow, NameChange, StorageError};
use crate::storage::{GraphFacts, NameState, Pin, Shortfall, ShortfallKind};
use crate::storage::{Walked, walk};

/// A name to follow, and what came with the request.
pub(crate) struct Adoption {
    /// Its record.
    record: Record,
    /// Blocks below its head, if any were brought along; the rest is fetched.
    pub(crate) blocks: Vec<Block>,
    /// Where to look for the record and the blocks, beside the places of the configuration.
    pub(crate) sources: Vec<String>,
    /// When the record is looked for again.
    pub(crate) next: Millis,
    /// Whether more blocks come in further requests.
    pub(crate) is_part: bool,
    /// The followed name whose record points at it; `None` where the operator asks.
    led_by: Option<Name>,
    /// The blocks' share of the memory for messages.
    share: Option<Share>,
}

impl Adoption {
    /// A record alone.
    pub(crate) fn of_record(record: Record, sources: Vec<String>, next: Millis) -> Adoption {
        Adoption {
            record,
            blocks: Vec::new(),
            sources,
            next,
            is_part: false,
            led_by: None,
            share: None,
        }
    }

    /// A record alone, of a name that a followed one points at.
    pub(crate) fn of_next(
        record: Record,
        sources: Vec<String>,
        next: Millis,
        led_by: Name,
    ) -> Adoption {
        Adoption {
            led_by: Some(led_by),
            ..Adoption::of_record(record, sources, next)
        }
    }

    /// A record alone, as it was sent.
    pub(crate) fn of_bytes(
        name: &Name,
        bytes: &[u8],
        sources: Vec<String>,
        next: Millis,
    ) -> Result<Adoption, IngestError> {
        let record = UnverifiedRecord::parse(bytes)?.verify(name, rt::now())?;
        Ok(Adoption::of_record(record, sources, next))
    }

    /// Takes record and blocks from a message of the form of a publish. Rungs in it are left out: they are for the
    /// nodes their owner has chosen.
    pub(crate) fn of_message(
        name: &Name,
        message: Message,
        sources: Vec<String>,
        next: Millis,
    ) -> Result<Adoption, IngestError> {
        let message = message.finish()?;
        Ok(Adoption {
            blocks: message.blocks,
            share: Some(message.share),
            ..Adoption::of_bytes(name, message.record.bytes(), sources, next)?
        })
    }
}

impl Ingest {
    /// Follows a name from a record of it, and keeps the blocks that came along. A name that is followed already gets
    /// the record and the blocks, and the sources in place of those before.
    pub(crate) async fn follow(&self, name: &Name, adoption: Adoption) -> Result<(), IngestError> {
        let now = rt::now();
        let _share = adoption.share;
        let record = adoption.record.still_valid(now)?;
        let kept = self.storage.kept(*name).await?;
        // What is kept may be newer: then that is followed.
        let record = match &kept {
            Some(kept) => {
                if compare(&record, &kept.record).is_gt() {
                    self.is_known(name, Some(kept), &record, now).await?;
                    record
                } else {
                    kept.record.clone()
                }
            }
            None => record,
        };
        let is_same = kept
            .as_ref()
            .is_some_and(|kept| kept.record.bytes() == record.bytes());
        let before = kept.as_ref().and_then(|kept| kept.followed.as_ref());
        let blocks = adoption.blocks;
        // Who is led here names no sources in place of the operator's.
        let known = before.filter(|_| adoption.led_by.is_some());
        let row = FollowState {
            since: before.map_or(now, |row| row.since),
            is_asked: adoption.led_by.is_none() || before.is_some_and(|row| row.is_asked),
            led_by: before.map_or_else(Vec::new, |row| row.led_by.clone()),
            sources: known.map_or(adoption.sources, |row| row.sources.clone()),
            is_published: before.map_or(kept.is_some(), |row| row.is_published),
            found_at: Some(now),
            failures: 0,
            last_error: None,
        };
        let row = match adoption.led_by {
            Some(name) => row.led_by(name),
            None => row,
        };
        let mut facts = facts_below(kept.as_ref(), &record);
        if facts.pin != Pin::Pinned && record.root().is_some() {
            facts.pin = Pin::Queued;
            facts.shortfall = None;
        }
        let sent: u64 = blocks.iter().map(|block| block.bytes().len() as u64).sum();
        self.check_size(sent, blocks.len() as u64)?;
        let is_new = before.is_none();
        let ladder = self
            .ladder_after(name, kept.as_ref(), &record, Ladder::default())
            .await?;
        let change = NameChange {
            facts,
            blocks,
            is_new_record: !is_same || is_new,
            ladder,
            followed: Some(Follow {
                row,
                next: Some(adoption.next),
            }),
            ..NameChange::of(*name, record, now)
        };
        self.commit(change, kept.as_ref()).await?;
        if is_new {
            self.metrics.followed_names.add(1);
        }
        // What came along may be everything: then nobody has to wait for the fetch.
        if sent == 0 || adoption.is_part {
            return Ok(());
        }
        match self.settle(name, None).await {
            Err(error @ IngestError::Quota { .. }) if is_new => {
                self.unfollow(name).await?;
                Err(error)
            }
            settled => settled.map(drop),
        }
    }

    /// Ends following a name. It stays, with what is below it, where it is kept for another reason: its owner has
    /// published it here. Otherwise all that is known about it goes. One to which another followed name leads is not let go.
    pub(crate) async fn unfollow(&self, name: &Name) -> Result<(), IngestError> {
        let _forgetting = self.forgetting.write().await;
        let row = self.storage.followed_row(*name).await?;
        let row = row.ok_or(IngestError::NotFollowed)?;
        match self.led_from(name).await? {
            Some(leading) => Err(IngestError::Led { by: leading.asked }),
            None => self.end_following(name, &row).await,
        }
    }

    /// As [`Ingest::unfollow`], whatever leads to the name; called while it can be forgotten.
    pub(super) async fn end_following(
        &self,
        name: &Name,
        row: &FollowState,
    ) -> Result<(), IngestError> {
        let kept = self.storage.kept(*name).await?;
        let next = kept.as_ref().and_then(|kept| kept.record.next_name());
        if row.is_published {
            let facts = match &kept {
                // What is no list is let go by the next look at it.
                Some(kept) => match (&kept.facts.did, kept.head) {
                    (None, Some(_)) => GraphFacts::unknown(),
                    (_, None) => facts_below(None, &kept.record),
                    _ => kept.facts.clone(),
                },
                // Its head is lost.
                None => GraphFacts::unknown(),
            };
            let left = self.storage.unfollow(*name, facts).await;
            left.map_err(|error| refused(error, 0))?;
            self.metrics.followed_names.add(-1);
            self.read.changed(name);
        } else {
            // Also where its head is lost: where nobody has published it here, nobody looks for it any more.
            let left = self.storage.forget_all(vec![*name], None).await;
            let forgotten = left.map_err(|error| refused(error, 0))?;
            self.forgot(&forgotten);
            if forgotten.is_empty() {
                self.metrics.followed_names.add(-1);
            }
        }
        self.changed_names.add(*name);
        Ok(self.look_at(next).await?)
    }

    /// Keeps what a search for the record of a followed name came to, unless the name was unfollowed meanwhile.
    pub(crate) async fn save_followed(
        &self,
        name: &Name,
        row: FollowState,
        next: Millis,
    ) -> Result<(), StorageError> {
        let _not_forgetting = self.forgetting.read().await;
        match self
            .storage
            .kept(*name)
            .await?
            .and_then(|kept| kept.followed)
        {
            // It was unfollowed and is followed anew, with a search of its own.
            Some(now) if now.since != row.since => Ok(()),
            // Whoever followed or published meanwhile has said something newer about these.
            Some(now) => {
                let row = FollowState {
                    sources: now.sources,
                    is_published: now.is_published,
                    is_asked: now.is_asked,
                    led_by: now.led_by,
                    ..row
                };
                self.storage.save_followed(*name, row, next).await
            }
            None => Ok(()),
        }
    }

    /// Whether so much may be kept for one name.
    pub(crate) fn check_size(&self, bytes: u64, blocks: u64) -> Result<(), IngestError> {
        self.admission.check_size(&GraphFacts {
            bytes,
            blocks,
            ..GraphFacts::unknown()
        })
    }

    /// Takes in the record of a followed name that was found elsewhere; true when it is newer than what was kept. A search
    /// that found it says when the next one follows: that is kept in the same batch, and only where the record is newer.
    pub(crate) async fn found(
        &self,
        name: &Name,
        record: Record,
        next: Option<Millis>,
    ) -> Result<bool, IngestError> {
        let now = rt::now();
        let record = record.still_valid(now)?;
        let Some(kept) = self.storage.kept(*name).await? else {
            return Ok(false);
        };
        let Some(row) = kept.followed.clone() else {
            return Ok(false);
        };
        if self.is_known(name, Some(&kept), &record, now).await? {
            return Ok(false);
        }
        let ladder = self
            .ladder_after(name, Some(&kept), &record, Ladder::default())
            .await?;
        let followed = next.map(|next| Follow {
            row: row.found(now),
            next: Some(next),
        });
        let change = NameChange {
            facts: facts_below(Some(&kept), &record),
            ladder,
            followed,
            ..NameChange::of(*name, record, now)
        };
        self.commit(change, Some(&kept)).await?;
        Ok(true)
    }

    /// Walks what is below the head of a name and keeps what was found; true when everything is here. A fetch that came to
    /// this ends with it: its row becomes what was found, in the same batch.
    pub(crate) async fn settle(
        &self,
        name: &Name,
        fetch: Option<&FetchAttempt>,
    ) -> Result<bool, IngestError> {
        let kept = self.storage.kept(*name).await?;
        let Some((kept, head)) = kept.and_then(|kept| Some((kept.clone(), kept.head?))) else {
            self.fetch_ended(fetch, FetchEnd::Done).await?;
            return Ok(true);
        };
        let held = self.read.held().as_ref();
        let Some(walked) = walk(held, head, self.most_blocks(), || false).await? else {
            self.fetch_ended(fetch, FetchEnd::Later).await?;
            return Ok(false);
        };
        self.settle_walked(name, &kept, &walked, fetch).await?;
        Ok(walked.missing.is_empty() && !walked.is_too_large)
    }

    /// Keeps what a walk below a head has found, as [`Ingest::settle`] does. Tells whether it is a complete tag list.
    pub(crate) async fn settle_walked(
        &self,
        name: &Name,
        kept: &NameState,
        walked: &Walked,
        fetch: Option<&FetchAttempt>,
    ) -> Result<bool, IngestError> {
        if walked.is_too_large {
            let why = self.too_large(walked);
            let missing = walked.missing.len() as u64;
            self.settle_incomplete(name, kept, missing.max(1), why, fetch)
                .await?;
            return Ok(false);
        }
        if let Some(first) = walked.missing.first() {
            let missing = walked.missing.len() as u64;
            // What a fetch has found out says more.
            let why = kept.facts.shortfall.clone();
            let why = why.filter(|why| {
                kept.facts.pin == Pin::Incomplete { missing } && why.kind != ShortfallKind::Quota
            });
            let why = why.unwrap_or_else(|| Shortfall::awaited(*first, missing));
            self.settle_incomplete(name, kept, missing, why, fetch)
                .await?;
            return Ok(false);
        }
        let is_counted = match &walked.opaque {
            None => kept.facts.pin == Pin::Pinned,
            opaque => kept.facts.pin == Pin::Opaque && kept.facts.shortfall == *opaque,
        };
        let is_counted =
            is_counted && kept.facts.bytes == walked.bytes && kept.facts.blocks == walked.blocks;
        if is_counted {
            self.fetch_ended(fetch, FetchEnd::Done).await?;
            return Ok(kept.facts.did.is_some());
        }
        let found = WholeGraph {
            blocks: Vec::new(),
            bytes: walked.bytes,
            count: walked.blocks,
            opaque: walked.opaque.clone(),
        };
        self.adopt_whole(name, kept, found, fetch).await
    }

    /// Keeps that blocks are missing, and why, where that is new.
    async fn settle_incomplete(
        &self,
        name: &Name,
        kept: &NameState,
        missing: u64,
        why: Shortfall,
        fetch: Option<&FetchAttempt>,
    ) -> Result<(), IngestError> {
        let is_known = kept.facts.pin == (Pin::Incomplete { missing })
            && kept.facts.shortfall.as_ref() == Some(&why);
        if is_known {
            return Ok(self.fetch_ended(fetch, FetchEnd::Later).await?);
        }
        let found = FetchedGraph::Incomplete { missing, why };
        let fetch = fetch.map(|fetch| fetch.ends(FetchEnd::Later));
        self.adopt(name, kept, Vec::new(), found, fetch).await
    }

    /// That there is more below a head than may be kept for one name.
    pub(crate) fn too_large(&self, walked: &Walked) -> Shortfall {
        let allowed = self.most_blocks();
        Shortfall::quota(&IngestError::Quota {
            what: "blocks for one name",
            setting: "admission.name-blocks",
            needed: allowed.saturating_add(1).max(walked.blocks),
            allowed,
        })
    }

    /// Ends a fetch that has changed nothing else.
    async fn fetch_ended(
        &self,
        fetch: Option<&FetchAttempt>,
        end: FetchEnd,
    ) -> Result<(), StorageError> {
        match fetch {
            Some(fetch) => self.storage.fetch_ended(fetch.ends(end)).await,
            None => Ok(()),
        }
    }

    /// Stores the last of what was missing below a head, which ends a fetch. Tells whether it is a tag list; what is none is
    /// held where the name is followed, and let go otherwise.
    pub(crate) async fn adopt_whole(
        &self,
        name: &Name,
        kept: &NameState,
        whole: WholeGraph,
        fetch: Option<&FetchAttempt>,
    ) -> Result<bool, IngestError> {
        let fetch = fetch.map(|fetch| fetch.ends(FetchEnd::Done));
        let WholeGraph {
            blocks,
            bytes,
            count,
            opaque,
        } = whole;
        let found = FetchedGraph::Complete {
            bytes,
            count,
            opaque: opaque.clone(),
        };
        // A value with a path behind its CID is none of a list of ours.
        if kept.record.head().is_some() {
            let adopted = self.adopt(name, kept, blocks.clone(), found, fetch).await;
            if !matches!(adopted, Err(IngestError::Head(_))) {
                return adopted.map(|()| true);
            }
        }
        if kept.followed.is_some() {
            let found = FetchedGraph::Other {
                bytes,
                count,
                opaque,
            };
            self.adopt(name, kept, blocks, found, fetch).await?;
        } else {
            let found = FetchedGraph::Foreign;
            self.adopt(name, kept, Vec::new(), found, fetch).await?;
        }
        Ok(false)
    }
}

/// Everything below a head, of which these blocks are not stored yet.
pub(crate) struct WholeGraph {
    pub(crate) blocks: Vec<Block>,
    /// Bytes and number of all its blocks.
    pub(crate) bytes: u64,
    pub(crate) count: u64,
    /// A block whose links cannot be read, if there is one.
    pub(crate) opaque: Option<Shortfall>,
}
