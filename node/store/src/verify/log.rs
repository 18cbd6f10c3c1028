//! The files: headers, frames, bodies.

use std::io;

use perennis_shared::cid::Cid;

use super::{FindingKind, Verifier, VerifyStage};
use crate::disk::DiskFile;
use crate::group::{HEAD_BYTES, Op};
use crate::keys;
use crate::kv::KvSnapshot;
use crate::layout::{NEWEST, SEGMENTS, segments};
use crate::location::{FileNumber, Location};
use crate::log::{Files, FoundGroup, Groups, Heard, Known, survey_files};
use crate::rows::{FileKind, FileRow, Loss, LossKind, read_location};
use crate::segment::{GROUPS_START, Segment};

/// How far the order of groups was followed.
struct Order {
    last: u64,
    /// Up to here groups may have been removed with their segments.
    removed_until: u64,
    /// What is said of the end.
    heard: Heard,
    /// Whether something in the log was acknowledged for certain.
    is_begun: bool,
}

impl Verifier<'_> {
    /// Reads every file that holds blocks.
    pub(super) fn check_files(&mut self, index: Option<&dyn KvSnapshot>) -> io::Result<()> {
        let dir = segments(self.dir);
        let heard = Heard::read(self.disk.as_ref(), self.dir, self.store);
        let heard = heard.unwrap_or_else(|error| {
            self.found(
                FindingKind::Unreadable,
                NEWEST.to_owned(),
                error.to_string(),
            );
            Heard::default()
        });
        let known = Known {
            store: self.store,
            files: self.files.clone(),
            newest: heard.said.map(|said| said.number),
        };
        let files = match self.disk.list(&dir) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                let detail = "the folder of the log is not there".to_owned();
                self.found(FindingKind::MissingFile, SEGMENTS.to_owned(), detail);
                Files::default()
            }
            _ => survey_files(self.disk.as_ref(), &dir, &known)?,
        };
        // What a crash leaves is no fault.
        let is_fault = |loss: &&Loss| loss.kind != LossKind::TornFile;
        for loss in files.losses.iter().filter(is_fault) {
            let kind = match loss.kind {
                LossKind::UnreadableFile => FindingKind::Header,
                _ => FindingKind::StrayFile,
            };
            self.found(kind, loss.file.to_string(), loss.to_string());
        }
        let checkpoints = crate::checkpoint::Checkpoints::new(
            std::sync::Arc::clone(self.disk),
            self.dir,
            self.store,
        );
        // Segments go once the older of two checkpoints has them; where there is one only, another was damaged, or a migration wrote
        // it before the log began. What the index has is not missing.
        let groups = checkpoints.groups()?.into_iter();
        let mut whole = groups.filter(|group| checkpoints.open(*group).is_ok());
        let index_has = index.map_or(0, |_| self.applied.group);
        let removed_until = whole.next_back().unwrap_or(0).max(index_has);
        let mut order = Order {
            last: 0,
            removed_until,
            heard,
            is_begun: self.is_begun || self.applied.offset > 0 || heard.said.is_some(),
        };
        let last = files.log.keys().next_back().copied();
        let of = files.log.len();
        for (done, (number, file)) in files.log.iter().enumerate() {
            self.progress(VerifyStage::Files, done, of);
            self.sum.files += 1;
            let is_last = Some(*number) == last;
            if let Err(error) = self.check_segment(&file.segment, is_last, &mut order, index) {
                self.found(
                    FindingKind::Unreadable,
                    number.to_string(),
                    error.to_string(),
                );
            }
        }
        self.check_end(&order);
        for (number, row) in self.files.clone() {
            let is_there = files.log.contains_key(&number);
            if row.kind == FileKind::Log && !is_there && self.is_in_use(number, &row) {
                self.found_missing(number, row.live_bytes);
            }
        }
        self.progress(VerifyStage::Files, of, of);
        Ok(())
    }

    /// Whether the group that was acknowledged last is there.
    fn check_end(&mut self, order: &Order) {
        let last = order.last.max(self.applied.group);
        if let Some(said) = order.heard.said.filter(|said| said.is_missed(last)) {
            let detail = format!(
                "groups up to {} were acknowledged, and the log ends with {last}",
                said.group
            );
            let place = said.number.to_string();
            self.found(FindingKind::MissingGroups, place, detail);
        }
        if !order.heard.is_whole() && order.is_begun {
            let detail = "it is gone or damaged: whether groups are missing at the end of the log is not known";
            self.found(
                FindingKind::UnknownEnd,
                NEWEST.to_owned(),
                detail.to_owned(),
            );
        }
    }

    fn check_segment(
        &mut self,
        segment: &Segment,
        is_last: bool,
        order: &mut Order,
        index: Option<&dyn KvSnapshot>,
    ) -> io::Result<()> {
        segment.file.forget_cache()?;
        let number = segment.number;
        self.check_headers(segment)?;
        let mut groups = Groups::new(segment, GROUPS_START, true)?;
        let mut next = groups.next()?;
        while let Some(found) = next {
            next = groups.next()?;
            self.sum.groups += 1;
            if found.group > self.applied.group {
                let ops = found.batches.iter().flat_map(|(_, batch)| &batch.ops);
                for op in ops {
                    match op {
                        Op::Drop(file) => drop(self.dropped.insert(*file)),
                        Op::Pack(pack) => self.dropped.extend(&pack.dropped),
                        _ => {}
                    }
                }
            }
            let entries = found.batches.iter().flat_map(|(_, batch)| &batch.entries);
            let mut bytes = 0;
            self.sum.bodies += entries
                .inspect(|entry| bytes += u64::from(entry.length))
                .count() as u64;
            self.sum.body_bytes += bytes;
            self.check_order(number, &found, order);
            // One that nothing shows to be acknowledged counts whole or not at all: the next start decides.
            let said = order.heard.said;
            let is_unproven = is_last
                && next.is_none()
                && found.group > self.applied.group
                && groups.closed() < Some(found.group)
                && !said.is_some_and(|said| said.proves(number, found.group));
            if is_unproven && !found.is_whole() {
                let place = format!("{number} at {}", found.start);
                let detail = format!("group {}, the last, is not whole", found.group);
                self.found(FindingKind::Tail, place, detail);
                continue;
            }
            self.check_heads(segment, &found)?;
            self.check_group(number, &found);
            for (hash, location) in &found.damaged_bodies {
                let index = index.filter(|_| found.group <= self.applied.group);
                self.check_damaged_body(Cid::new_v1(0x55, *hash), *location, index);
            }
        }
        for range in groups.damage() {
            let place = format!("{number} at {}", range.start);
            let detail = format!("{} bytes are no frames of the log", range.end - range.start);
            // Behind the last group there need not be any.
            let kind = if range.start >= groups.end() {
                FindingKind::Tail
            } else {
                FindingKind::Frames
            };
            self.found(kind, place, detail);
        }
        if groups.damage().is_empty() && groups.has_tail()? {
            let place = format!("{number} at {}", groups.end());
            self.found(
                FindingKind::Tail,
                place,
                "bytes follow the last group".into(),
            );
        }
        Ok(())
    }

    fn check_headers(&mut self, segment: &Segment) -> io::Result<()> {
        let file: &dyn DiskFile = segment.file.as_ref();
        let headers = Segment::headers(file)?;
        for (which, header) in ["first", "second"].into_iter().zip(headers) {
            let is_right = header.is_some_and(|header| {
                header.number == segment.number && header.salt == segment.salt
            });
            if !is_right {
                let detail = format!("the {which} header is damaged");
                self.found(FindingKind::Header, segment.number.to_string(), detail);
            }
        }
        Ok(())
    }

    /// One of the two heads is enough for the group to be read, so the other may be damaged.
    fn check_heads(&mut self, segment: &Segment, found: &FoundGroup) -> io::Result<()> {
        if found.expected.is_none() {
            return Ok(());
        }
        let number = segment.number;
        for copy in 0..2 {
            if !found.has_head(segment, copy)? {
                let offset = found.start + copy * HEAD_BYTES as u64;
                let detail = format!("one of the two heads of group {} is damaged", found.group);
                self.found(FindingKind::Frames, format!("{number} at {offset}"), detail);
            }
        }
        Ok(())
    }

    fn check_group(&mut self, number: FileNumber, found: &FoundGroup) {
        let here = found.batches.len();
        let detail = match found.expected {
            None => "both heads of the group are damaged".to_owned(),
            Some(all) if all as usize > here => {
                format!(
                    "{} of {all} batches of group {} are damaged",
                    all as usize - here,
                    found.group
                )
            }
            _ if found.heads.is_none() => {
                format!("the end mark of group {} is damaged", found.group)
            }
            _ => return,
        };
        let place = format!("{number} at {}", found.start);
        let kind = if found.expected.is_some_and(|all| all as usize == here) {
            FindingKind::Frames
        } else {
            FindingKind::Group
        };
        self.found(kind, place, detail);
    }

    /// Whether the group that this one follows was there.
    fn check_order(&mut self, number: FileNumber, found: &FoundGroup, order: &mut Order) {
        let Some(previous) = found.previous else {
            order.last = order.last.max(found.group);
            return;
        };
        if previous > order.last && previous > order.removed_until {
            let place = format!("{number} at {}", found.start);
            let detail = format!("it follows group {previous}, which is not in the log");
            self.found(FindingKind::MissingGroups, place, detail);
        }
        order.last = found.group;
        order.is_begun |= previous > 0;
    }

    /// Whether a file is in use, by the index and by what the log has behind it.
    pub(super) fn is_in_use(&self, number: FileNumber, row: &FileRow) -> bool {
        !row.is_dropped && !self.dropped.contains(&number)
    }

    /// A file of blocks is gone.
    pub(super) fn found_missing(&mut self, number: FileNumber, live_bytes: u64) {
        let detail = format!("it is not there; {live_bytes} bytes of blocks were in it");
        let row = self.files.get(&number);
        let name = row.map_or_else(|| number.to_string(), |row| row.file_name(number));
        self.found(FindingKind::MissingFile, name, detail);
    }

    /// `index` where it has the group.
    fn check_damaged_body(&mut self, cid: Cid, location: Location, index: Option<&dyn KvSnapshot>) {
        // That of a block that is in use is found again at its place, with its own row.
        let row = index.map(|index| index.value(&keys::block(cid.hash())));
        let is_needed = match row {
            Some(Ok(row)) => row.and_then(|row| read_location(&row)) == Some(location),
            Some(Err(_)) | None => true,
        };
        let place = format!("{} at {}", location.file, location.offset);
        let is_found_again = index.is_some() && is_needed;
        if !is_found_again {
            let kind = if is_needed {
                FindingKind::Block
            } else {
                FindingKind::DeadBody
            };
            let detail = format!("the {} bytes of the block are damaged", location.length);
            self.found_of(kind, place, Some(cid), detail);
        }
    }
}
