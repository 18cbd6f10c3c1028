//! A disk in memory that forgets, tears, flips and runs full.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use parking_lot::Mutex;

use super::power::{Dice, Loss, Power, Step};
use crate::disk::{Disk, DiskFile};

mod sectors;

use sectors::{sectors, write};

/// A disk in memory on a [`Power`]. Clones are the same disk.
///
/// Folders are durable at once; the names in them follow [`Disk::sync_dir`], in order. Of a file's changes any part
/// may survive until they are synced, sector by sector and in any order.
#[derive(Clone, Debug)]
pub struct LyingDisk {
    world: Arc<Mutex<World>>,
    power: Power,
}

#[derive(Debug, Default)]
struct World {
    files: BTreeMap<u64, Inode>,
    names: BTreeMap<PathBuf, u64>,
    kept_names: BTreeMap<PathBuf, u64>,
    renames: Vec<Renaming>,
    dirs: BTreeSet<PathBuf>,
    next: u64,
    draws: u64,
    space_bytes: Option<u64>,
    read_fault: Option<io::ErrorKind>,
    sync_damage: Option<(usize, u8)>,
    read_only: bool,
}

#[derive(Clone, Debug, Default)]
struct Inode {
    /// As it is read.
    seen: Vec<u8>,
    /// As it is after a power cut that loses everything.
    kept: Vec<u8>,
    pending: Vec<FileChange>,
}

#[derive(Clone, Debug)]
enum FileChange {
    Write { offset: usize, bytes: Vec<u8> },
    Length(usize),
}

/// One change of a folder: a name goes, another comes.
#[derive(Clone, Debug)]
struct Renaming {
    dir: PathBuf,
    gone: Option<PathBuf>,
    come: Option<(PathBuf, u64)>,
}

impl LyingDisk {
    /// An empty disk.
    #[must_use]
    pub fn new(power: &Power) -> Self {
        Self {
            world: Arc::default(),
            power: power.clone(),
        }
    }

    /// What is left after the power was cut, as a disk on other power.
    #[must_use]
    pub fn survivors(&self, loss: Loss, power: &Power) -> Self {
        let world = self.world.lock();
        let mut dice = loss.dice(world.next);
        let mut names = world.kept_names.clone();
        let mut cut_dirs = BTreeSet::new();
        for renaming in &world.renames {
            // A folder's changes are kept in order: what follows a lost one is lost.
            if cut_dirs.contains(&renaming.dir) || !dice.survives() {
                cut_dirs.insert(renaming.dir.clone());
            } else {
                renaming.apply(&mut names);
            }
        }
        let files = world
            .files
            .iter()
            .map(|(number, file)| (*number, file.survivor(&mut dice)));
        let survivors = World {
            files: files.collect(),
            kept_names: names.clone(),
            names,
            dirs: world.dirs.clone(),
            next: world.next,
            draws: world.draws,
            space_bytes: world.space_bytes,
            ..World::default()
        };
        Self {
            world: Arc::new(Mutex::new(survivors)),
            power: power.clone(),
        }
    }

    /// Bounds the space of all files together; none is endless.
    pub fn set_space(&self, bytes: Option<u64>) {
        self.world.lock().space_bytes = bytes;
    }

    /// The space all files take now.
    #[must_use]
    pub fn used_bytes(&self) -> u64 {
        self.world.lock().used_bytes()
    }

    /// Lets every read fail with this kind: [`io::ErrorKind::UnexpectedEof`] is a short read.
    pub fn set_read_fault(&self, kind: Option<io::ErrorKind>) {
        self.world.lock().read_fault = kind;
    }

    /// Lets every sync keep the byte at this offset with the bits of a mask flipped, as a failing disk or cable does. It is seen by who
    /// reads what was kept, not what is in memory: after [`DiskFile::forget_cache`], or by the survivors.
    pub fn set_sync_damage(&self, damage: Option<(usize, u8)>) {
        self.world.lock().sync_damage = damage;
    }

    /// Refuses every change, as a folder without write permission does.
    pub fn set_read_only(&self, read_only: bool) {
        self.world.lock().read_only = read_only;
    }

    /// Flips the bits of `mask` in a byte that was safe. False where the file has no such byte.
    pub fn damage(&self, path: &Path, offset: usize, mask: u8) -> bool {
        let mut world = self.world.lock();
        let Some(file) = world
            .names
            .get(path)
            .copied()
            .and_then(|number| world.files.get_mut(&number))
        else {
            return false;
        };
        let mut found = false;
        for bytes in [&mut file.seen, &mut file.kept] {
            if let Some(byte) = bytes.get_mut(offset) {
                *byte ^= mask;
                found = true;
            }
        }
        found
    }

    /// The bytes of a file, as they are read.
    #[must_use]
    pub fn bytes(&self, path: &Path) -> Option<Vec<u8>> {
        let world = self.world.lock();
        let file = world.files.get(world.names.get(path)?)?;
        Some(file.seen.clone())
    }

    /// Flips the bits of `mask` in a byte as it is held in memory; where it is durable it stays as it was.
    pub fn damage_cached(&self, path: &Path, offset: usize, mask: u8) -> bool {
        let mut world = self.world.lock();
        let number = world.names.get(path).copied();
        let file = number.and_then(|number| world.files.get_mut(&number));
        let byte = file.and_then(|file| file.seen.get_mut(offset));
        byte.map(|byte| *byte ^= mask).is_some()
    }

    /// The files that have a name, with their lengths.
    #[must_use]
    pub fn files(&self) -> Vec<(PathBuf, usize)> {
        let world = self.world.lock();
        let length = |number: &u64| world.files.get(number).map_or(0, |file| file.seen.len());
        world
            .names
            .iter()
            .map(|(path, number)| (path.clone(), length(number)))
            .collect()
    }

    /// Records a change of names; it is seen at once and durable with the next sync of its folder.
    fn rename_with(
        &self,
        change: impl FnOnce(&mut World) -> io::Result<Renaming>,
    ) -> io::Result<()> {
        let step = self.power.step();
        if let Step::Off = step {
            return Err(off());
        }
        if let Step::Fail(kind) = step {
            return Err(kind.into());
        }
        let mut world = self.world.lock();
        if world.read_only {
            return Err(io::ErrorKind::PermissionDenied.into());
        }
        let renaming = change(&mut world)?;
        renaming.apply(&mut world.names);
        world.renames.push(renaming);
        world.forget_nameless();
        if step == Step::Cut {
            Err(off())
        } else {
            Ok(())
        }
    }

    fn file(&self, path: &Path, number: u64) -> Arc<dyn DiskFile> {
        Arc::new(LyingFile {
            disk: self.clone(),
            number,
            path: path.to_path_buf(),
        })
    }
}

impl Renaming {
    fn new(path: &Path, gone: Option<&Path>, come: Option<(&Path, u64)>) -> Self {
        Self {
            dir: path.parent().unwrap_or(path).to_path_buf(),
            gone: gone.map(Path::to_path_buf),
            come: come.map(|(path, number)| (path.to_path_buf(), number)),
        }
    }

    fn apply(&self, names: &mut BTreeMap<PathBuf, u64>) {
        if let Some(path) = &self.gone {
            names.remove(path);
        }
        if let Some((path, number)) = &self.come {
            names.insert(path.clone(), *number);
        }
    }
}

impl World {
    fn number(&self, path: &Path) -> io::Result<u64> {
        self.names
            .get(path)
            .copied()
            .ok_or_else(|| io::ErrorKind::NotFound.into())
    }

    fn used_bytes(&self) -> u64 {
        let linked: BTreeSet<_> = self.names.values().collect();
        linked
            .iter()
            .filter_map(|number| self.files.get(number))
            .map(|file| file.seen.len() as u64)
            .sum()
    }

    /// Checks that files may grow by `bytes`.
    fn check_space(&self, bytes: usize) -> io::Result<()> {
        match self.space_bytes {
            Some(space) if self.used_bytes() + bytes as u64 > space => {
                Err(io::ErrorKind::StorageFull.into())
            }
            _ => Ok(()),
        }
    }

    /// Drops the bytes of files that no name can lead to, whatever survives.
    fn forget_nameless(&mut self) {
        let mut known: BTreeSet<u64> = self
            .names
            .values()
            .chain(self.kept_names.values())
            .copied()
            .collect();
        known.extend(
            self.renames
                .iter()
                .filter_map(|renaming| renaming.come.as_ref().map(|(_, number)| *number)),
        );
        self.files.retain(|number, _| known.contains(number));
    }
}

impl Inode {
    fn change(&mut self, change: FileChange) {
        change.apply(&mut self.seen);
        self.pending.push(change);
    }

    fn survivor(&self, dice: &mut Dice) -> Self {
        let mut kept = self.kept.clone();
        for change in &self.pending {
            match change {
                FileChange::Length(_) => {
                    if dice.survives() {
                        change.apply(&mut kept);
                    }
                }
                FileChange::Write { offset, bytes } => {
                    // Lost, whole, or torn at its sectors.
                    let fate = dice.prefix(2);
                    for (at, sector) in sectors(*offset, bytes) {
                        if fate == 2 || (fate == 1 && dice.survives()) {
                            write(&mut kept, at, sector);
                        }
                    }
                }
            }
        }
        Self {
            seen: kept.clone(),
            kept,
            pending: Vec::new(),
        }
    }
}

impl FileChange {
    fn apply(&self, bytes: &mut Vec<u8>) {
        match self {
            Self::Write { offset, bytes: new } => write(bytes, *offset, new),
            Self::Length(length) => bytes.resize(*length, 0),
        }
    }
}

fn off() -> io::Error {
    io::Error::other("the power is off")
}

impl Disk for LyingDisk {
    fn create(&self, path: &Path, bytes: u64) -> io::Result<Arc<dyn DiskFile>> {
        let length = usize::try_from(bytes).unwrap_or(usize::MAX);
        let mut made = 0;
        self.rename_with(|world| {
            if !path.parent().is_some_and(|dir| world.dirs.contains(dir)) {
                return Err(io::ErrorKind::NotFound.into());
            }
            world.check_space(length)?;
            world.next += 1;
            made = world.next;
            let mut file = Inode::default();
            file.change(FileChange::Length(length));
            world.files.insert(made, file);
            Ok(Renaming::new(path, None, Some((path, made))))
        })?;
        Ok(self.file(path, made))
    }

    fn open(&self, path: &Path) -> io::Result<Arc<dyn DiskFile>> {
        if self.power.is_off() {
            return Err(off());
        }
        let number = self.world.lock().number(path)?;
        Ok(self.file(path, number))
    }

    fn list(&self, dir: &Path) -> io::Result<Vec<String>> {
        if self.power.is_off() {
            return Err(off());
        }
        let world = self.world.lock();
        if !world.dirs.contains(dir) {
            return Err(io::ErrorKind::NotFound.into());
        }
        let inside = world.names.keys().filter(|path| path.parent() == Some(dir));
        Ok(inside
            .filter_map(|path| Some(path.file_name()?.to_str()?.to_owned()))
            .collect())
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        self.rename_with(|world| {
            world.number(path)?;
            Ok(Renaming::new(path, Some(path), None))
        })
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.rename_with(|world| {
            let number = world.number(from)?;
            Ok(Renaming::new(to, Some(from), Some((to, number))))
        })
    }

    fn link(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.rename_with(|world| {
            let number = world.number(from)?;
            if world.names.contains_key(to) {
                return Err(io::ErrorKind::AlreadyExists.into());
            }
            Ok(Renaming::new(to, None, Some((to, number))))
        })
    }

    fn create_dir(&self, dir: &Path) -> io::Result<()> {
        let mut world = self.world.lock();
        if world.read_only && !world.dirs.contains(dir) {
            return Err(io::ErrorKind::PermissionDenied.into());
        }
        world.dirs.extend(dir.ancestors().map(Path::to_path_buf));
        Ok(())
    }

    fn sync_dir(&self, dir: &Path) -> io::Result<()> {
        match self.power.step() {
            Step::Go => {}
            Step::Fail(kind) => return Err(kind.into()),
            Step::Cut | Step::Off => return Err(off()),
        }
        let mut world = self.world.lock();
        let (synced, rest) = std::mem::take(&mut world.renames)
            .into_iter()
            .partition(|change| change.dir == dir);
        world.renames = rest;
        let synced: Vec<Renaming> = synced;
        for renaming in synced {
            renaming.apply(&mut world.kept_names);
        }
        world.forget_nameless();
        Ok(())
    }

    /// The same in each run, and different each time in one.
    fn entropy(&self) -> io::Result<[u8; 16]> {
        let mut world = self.world.lock();
        world.draws += 1;
        let mut bytes = [0xa5; 16];
        bytes[..8].copy_from_slice(
            &world
                .draws
                .wrapping_mul(0x9e37_79b9_7f4a_7c15)
                .to_le_bytes(),
        );
        Ok(bytes)
    }
}

#[derive(Debug)]
struct LyingFile {
    disk: LyingDisk,
    number: u64,
    path: PathBuf,
}

impl LyingFile {
    fn with<T>(&self, work: impl FnOnce(&mut Inode) -> T) -> io::Result<T> {
        let mut world = self.disk.world.lock();
        // A file whose last name is gone can still be used by who holds it; the double need not keep its bytes.
        world
            .files
            .get_mut(&self.number)
            .map(work)
            .ok_or_else(|| io::ErrorKind::NotFound.into())
    }

    /// Makes a change of the file, of which `half` happens where it fails.
    fn change(&self, grown: usize, whole: FileChange, half: Option<FileChange>) -> io::Result<()> {
        let step = self.disk.power.step();
        if step == Step::Off {
            return Err(off());
        }
        {
            let world = self.disk.world.lock();
            if world.read_only {
                return Err(io::ErrorKind::PermissionDenied.into());
            }
            world.check_space(grown)?;
        }
        match step {
            Step::Fail(kind) => {
                if let Some(half) = half {
                    self.with(|file| file.change(half))?;
                }
                Err(kind.into())
            }
            Step::Cut => {
                self.with(|file| file.change(whole))?;
                Err(off())
            }
            Step::Go | Step::Off => self.with(|file| file.change(whole)),
        }
    }

    fn set_length(&self, bytes: u64) -> io::Result<()> {
        let length = usize::try_from(bytes).unwrap_or(usize::MAX);
        let now = self.with(|file| file.seen.len())?;
        self.change(length.saturating_sub(now), FileChange::Length(length), None)
    }
}

impl DiskFile for LyingFile {
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<()> {
        if self.disk.power.is_off() {
            return Err(off());
        }
        if let Some(kind) = self.disk.world.lock().read_fault {
            return Err(kind.into());
        }
        let start = usize::try_from(offset).unwrap_or(usize::MAX);
        self.with(|file| {
            match start
                .checked_add(buffer.len())
                .and_then(|end| file.seen.get(start..end))
            {
                Some(bytes) => {
                    buffer.copy_from_slice(bytes);
                    Ok(())
                }
                None => Err(io::ErrorKind::UnexpectedEof.into()),
            }
        })?
    }

    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        let offset = usize::try_from(offset).unwrap_or(usize::MAX);
        let now = self.with(|file| file.seen.len())?;
        let half = FileChange::Write {
            offset,
            bytes: bytes[..bytes.len() / 2].to_vec(),
        };
        let whole = FileChange::Write {
            offset,
            bytes: bytes.to_vec(),
        };
        self.change(
            (offset + bytes.len()).saturating_sub(now),
            whole,
            Some(half),
        )
    }

    fn sync(&self) -> io::Result<()> {
        match self.disk.power.step() {
            Step::Go => {
                let damage = self.disk.world.lock().sync_damage;
                self.with(|file| {
                    for change in std::mem::take(&mut file.pending) {
                        change.apply(&mut file.kept);
                    }
                    if let Some((offset, mask)) = damage
                        && let (Some(seen), Some(byte)) =
                            (file.seen.get(offset), file.kept.get_mut(offset))
                    {
                        *byte = seen ^ mask;
                    }
                })
            }
            // As operating systems do: the pages count as clean now, and the next sync will not write them.
            Step::Fail(kind) => {
                self.with(|file| file.pending.clear())?;
                Err(kind.into())
            }
            Step::Cut | Step::Off => Err(off()),
        }
    }

    /// What is not synced cannot be forgotten; what a failed sync gave up is.
    fn forget_cache(&self) -> io::Result<()> {
        if self.disk.power.is_off() {
            return Err(off());
        }
        self.with(|file| {
            if file.pending.is_empty() {
                file.seen = file.kept.clone();
            }
        })
    }

    fn length(&self) -> io::Result<u64> {
        self.with(|file| file.seen.len() as u64)
    }

    fn has_name(&self) -> io::Result<bool> {
        if self.disk.power.is_off() {
            return Err(off());
        }
        let world = self.disk.world.lock();
        Ok(world.names.get(&self.path) == Some(&self.number))
    }

    fn truncate(&self, bytes: u64) -> io::Result<()> {
        let now = self.length()?;
        self.set_length(bytes.min(now))
    }

    fn reserve(&self, bytes: u64) -> io::Result<()> {
        let now = self.length()?;
        if bytes <= now {
            Ok(())
        } else {
            self.set_length(bytes)
        }
    }
}
