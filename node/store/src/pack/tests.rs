#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::io;
use std::path::Path;

use perennis_shared::cid::{Cid, Codec, Multihash, cid_of, write_cid};
use perennis_shared::codec::{Value, dag_cbor};
use proptest::prelude::*;

use super::footer::Link;
use super::writer::NewPack;
use super::*;
use crate::disk::{Disk, DiskFile};
use crate::testing::{Loss, LyingDisk, Power};

mod forged;
mod plans;
mod written;

/// A block of a pack, with what it needs to be pushed.
#[derive(Clone, Debug)]
struct Sample {
    tag: Tag,
    cid: Cid,
    codecs: Vec<u64>,
    body: Vec<u8>,
}

impl Sample {
    fn new(tag: Tag, codec: Codec, body: impl Into<Vec<u8>>) -> Self {
        let body = body.into();
        Self {
            tag,
            cid: cid_of(codec, &body),
            codecs: vec![codec.code()],
            body,
        }
    }

    fn node(tag: Tag, links: &[Cid]) -> Self {
        let links = links.iter().copied().map(Value::Link).collect();
        Self::new(
            tag,
            Codec::DagCbor,
            dag_cbor::encode(&Value::List(links)).unwrap(),
        )
    }

    fn block(&self) -> PackBlock<'_> {
        PackBlock {
            tag: self.tag,
            hash: self.cid.hash(),
            codecs: &self.codecs,
            body: &self.body,
        }
    }
}

/// A root over a leaf of the pack and one that is elsewhere, the leaf, and a block of another owner without bytes.
fn samples() -> Vec<Sample> {
    let leaf = Sample::new(0x0702_0304, Codec::Raw, *b"leaf");
    let elsewhere = cid_of(Codec::Raw, b"elsewhere");
    let mut root = Sample::node(0x0702_0304, &[leaf.cid, elsewhere]);
    root.codecs.insert(0, Codec::Raw.code());
    vec![root, leaf, Sample::new(0x0711_0000, Codec::Raw, *b"")]
}

/// A disk in memory with the folder of packs.
fn disk() -> (LyingDisk, Power) {
    let power = Power::default();
    let disk = LyingDisk::new(&power);
    disk.create_dir(dir()).unwrap();
    (disk, power)
}

fn dir() -> &'static Path {
    Path::new("/packs")
}

fn range_of(samples: &[Sample]) -> Partitions {
    Partitions::spanning(samples[0].tag, samples[samples.len() - 1].tag)
}

fn write(disk: &dyn Disk, samples: &[Sample]) -> Result<NewPack, PackError> {
    let mut writer = PackWriter::create(disk, dir(), range_of(samples))?;
    for sample in samples {
        writer.push(sample.block())?;
    }
    writer.finish()
}

/// The bytes of a pack of these blocks.
fn packed(samples: &[Sample]) -> Vec<u8> {
    let (disk, _) = disk();
    let pack = write(&disk, samples).unwrap();
    let file = disk.open(&pack.name.path(dir())).unwrap();
    file.read_vec_at(file.length().unwrap() as usize, 0)
        .unwrap()
}

/// A file that is only read.
#[derive(Debug)]
struct Bytes(Vec<u8>);

impl DiskFile for Bytes {
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<()> {
        let start = usize::try_from(offset).unwrap();
        let bytes = start
            .checked_add(buffer.len())
            .and_then(|end| self.0.get(start..end));
        buffer.copy_from_slice(bytes.ok_or(io::ErrorKind::UnexpectedEof)?);
        Ok(())
    }

    fn length(&self) -> io::Result<u64> {
        Ok(self.0.len() as u64)
    }

    fn has_name(&self) -> io::Result<bool> {
        Ok(true)
    }

    fn write_at(&self, _: &[u8], _: u64) -> io::Result<()> {
        Err(io::ErrorKind::Unsupported.into())
    }

    fn sync(&self) -> io::Result<()> {
        Ok(())
    }

    fn forget_cache(&self) -> io::Result<()> {
        Ok(())
    }

    fn truncate(&self, _: u64) -> io::Result<()> {
        Err(io::ErrorKind::Unsupported.into())
    }

    fn reserve(&self, _: u64) -> io::Result<()> {
        Err(io::ErrorKind::Unsupported.into())
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[test]
fn names_are_read_back_and_others_refused() {
    let name = PackName([0xa7; 32]);
    let file = format!("{name}.pack");
    assert_eq!(PackName::parse(&file), Some(name));
    assert_eq!(name.path(dir()), dir().join(&file));
    let upper = file.replace('a', "A");
    for other in [
        &file[2..],
        &file[1..],
        &upper,
        "x",
        ".pack",
        &file.replace("a7", "+7"),
        &format!("{name}"),
    ] {
        assert_eq!(PackName::parse(other), None, "{other}");
    }
}

#[test]
fn golden_bytes_of_a_pack() {
    let samples = samples();
    let bytes = packed(&samples);
    let (root, leaf, empty) = (&samples[0], &samples[1], &samples[2]);
    let crc = |bytes: &[u8]| hex(&crc32c::crc32c(bytes).to_le_bytes());
    let hash = |sample: &Sample| hex(&sample.cid.hash().to_bytes());
    let elsewhere = hex(&cid_of(Codec::Raw, b"elsewhere").hash().to_bytes());
    assert_eq!(root.body.len(), 83);
    let header = format!(
        "5045524e50414b31{}0700{}{}",
        "01000000",
        "0100",
        "00".repeat(44)
    );
    let bodies = format!(
        "{}{}{}{}",
        hex(&root.body),
        "00".repeat(5),
        hex(b"leaf"),
        "00000000"
    );
    let footer = [
        "03000000".into(),
        // The root, under raw without links and under dag-cbor with one to entry 1 and one to another pack.
        format!(
            "0403020722{}4000000053000000{}02",
            hash(root),
            crc(&root.body)
        ),
        format!("55017103{}", format_args!("02550{}{elsewhere}55", "0")),
        format!("0403020722{}9800000004000000{}01", hash(leaf), crc(b"leaf")),
        "5501".into(),
        format!("0000110722{}a000000000000000{}01", hash(empty), "00000000"),
        "5501".into(),
    ]
    .concat();
    let split = 64 + 88 + 8;
    assert_eq!(hex(&bytes[..60]), header);
    assert_eq!(hex(&bytes[60..64]), crc(&bytes[..60]));
    assert_eq!(hex(&bytes[64..split]), bodies);
    let footer_end = bytes.len() - 32;
    assert_eq!(hex(&bytes[split..footer_end]), footer);
    let trailer = format!(
        "a000000000000000{}03000000{}{}",
        hex(&(footer.len() as u32 / 2).to_le_bytes()),
        crc(&bytes[split..footer_end]),
        hex(b"PERNPAKE"),
    );
    assert_eq!(hex(&bytes[footer_end..footer_end + 28]), trailer);
    assert_eq!(
        hex(&bytes[footer_end + 28..]),
        crc(&bytes[footer_end..footer_end + 28])
    );
    // The file as a whole, and with it its name, for ever.
    let name = verify(&Bytes(bytes)).unwrap().name;
    assert_eq!(
        name.to_string(),
        "d771b80187401528f647532dd4635528f1d292b02171b481d99e6db4a771718e"
    );
}

#[test]
fn a_footer_says_what_is_where_and_what_it_links_to() {
    let samples = samples();
    let footer = Footer::read(&Bytes(packed(&samples))).unwrap();
    assert_eq!(footer.len(), 3);
    assert!(footer.entry(3).is_none());
    for (entry, sample) in footer.entries().zip(&samples) {
        assert_eq!(entry.hash(), *sample.cid.hash());
        assert_eq!(entry.tag(), sample.tag);
        assert_eq!(entry.length() as usize, sample.body.len());
        assert_eq!(entry.codecs().collect::<Vec<_>>(), sample.codecs);
        let found = footer.entry_at(entry.offset(), entry.hash_bytes()).unwrap();
        assert_eq!(found.index(), entry.index());
        assert!(
            footer
                .entry_at(entry.offset() + 1, entry.hash_bytes())
                .is_none()
        );
    }
    let root = footer.entry(0).unwrap();
    assert_eq!(root.links(Codec::Raw.code()).unwrap().count(), 0);
    assert!(root.links(Codec::DagPb.code()).is_none());
    let links: Vec<Link<'_>> = root.links(Codec::DagCbor.code()).unwrap().collect();
    let (leaf, elsewhere) = (
        samples[1].cid.hash().to_bytes(),
        cid_of(Codec::Raw, b"elsewhere").hash().to_bytes(),
    );
    let raw = Codec::Raw.code();
    let expected = [
        Link {
            hash: &leaf,
            codec: raw,
            entry: Some(1),
        },
        Link {
            hash: &elsewhere,
            codec: raw,
            entry: None,
        },
    ];
    assert_eq!(links, expected);
    assert!(
        footer
            .entry(0)
            .is_some_and(|entry| footer.entry_at(entry.offset(), &leaf).is_none())
    );
}

#[test]
fn links_that_cannot_be_read_are_not_mistaken_for_none() {
    let mut broken = Sample::new(1, Codec::DagCbor, *b"\xff\xff");
    broken
        .codecs
        .extend([Codec::DagJson.code(), 0x0200, 0x3fff_ffff]);
    broken.codecs.insert(0, Codec::Raw.code());
    let footer = Footer::read(&Bytes(packed(&[broken.clone()]))).unwrap();
    let entry = footer.entry(0).unwrap();
    assert_eq!(entry.codecs().collect::<Vec<_>>(), broken.codecs);
    assert_eq!(entry.links(Codec::Raw.code()).map(Iterator::count), Some(0));
    for codec in &broken.codecs[1..] {
        assert!(entry.links(*codec).is_none(), "{codec:#x}");
    }
}

#[test]
fn footers_are_remembered_within_a_bound() {
    let packs: Vec<(PackName, Vec<u8>)> = (0..20_u32)
        .map(|number| {
            let bytes = packed(&[Sample::new(number, Codec::Raw, number.to_le_bytes())]);
            (verify(&Bytes(bytes.clone())).unwrap().name, bytes)
        })
        .collect();
    let one = Footer::read(&Bytes(packs[0].1.clone()))
        .unwrap()
        .memory_bytes() as u64;
    let footers = Footers::new(5 * one);
    let mut reads = 0;
    for round in 0..3 {
        for (name, bytes) in &packs {
            let read = || {
                reads += 1;
                Footer::read(&Bytes(bytes.clone()))
            };
            assert_eq!(footers.footer(name, read).unwrap().len(), 1);
            assert!(footers.memory_bytes().0 <= 5 * one, "round {round}");
            footers
                .footer(name, || -> Result<_, PackError> {
                    panic!("it was just read")
                })
                .unwrap();
        }
    }
    assert!(reads > 20 && footers.memory_bytes().0 > 0);
    // One that fails is asked for again; the last that is larger than all is kept beside them.
    let unread = || Err(PackError::Version(9));
    assert!(Footers::new(5 * one).footer(&packs[0].0, unread).is_err());
    let small = Footers::new(one / 2);
    let mut reads = 0;
    for (name, bytes) in &packs[..2] {
        for _ in 0..2 {
            let read = || {
                reads += 1;
                Footer::read(&Bytes(bytes.clone()))
            };
            small.footer(name, read).unwrap();
            assert_eq!(small.memory_bytes(), (0, one));
        }
    }
    assert_eq!(reads, 2);
}
