//! Which block goes where.

use perennis_shared::codec::{dag_json, dag_pb};

use super::*;

const ROOM: u64 = PACK_BYTES as u64 - 100;

fn check(blocks: &[(Tag, u64)]) -> Vec<PackPlan> {
    let plans = split(blocks, PACK_BYTES as u64);
    let mut next = 0;
    for plan in &plans {
        assert_eq!(plan.entries.start, next, "every block once, in order");
        next = plan.entries.end;
        let part = &blocks[plan.entries.clone()];
        assert!(!part.is_empty() && part.len() <= PACK_ENTRIES);
        assert!(part.iter().map(|(_, weight)| weight).sum::<u64>() <= ROOM);
        let (count, first) = (plan.range.count(), plan.range.first());
        assert_eq!(Partitions::new(first, count), Some(plan.range));
        assert!(part.iter().all(|(tag, _)| plan.range.contains(*tag)));
    }
    assert_eq!(next, blocks.len());
    // Two packs cover different partitions, or are of one single partition that is too much for one.
    for (one, other) in plans.iter().zip(plans.iter().skip(1)) {
        let apart = one.range.first() + one.range.count() <= other.range.first();
        assert!(apart || (one.range == other.range && one.range.count() == 1));
    }
    plans
}

fn counts(plans: &[PackPlan]) -> Vec<(u16, u16, usize)> {
    let count = |plan: &PackPlan| (plan.range.first(), plan.range.count(), plan.entries.len());
    plans.iter().map(count).collect()
}

#[test]
fn a_range_is_halved_until_it_fits() {
    assert_eq!(check(&[]), []);
    assert_eq!(counts(&check(&[(0x0900_0000, 1)])), [(9, 1, 1)]);
    let spread: Vec<_> = (0..256_u32)
        .map(|partition| (partition << 24, 1 << 16))
        .collect();
    assert_eq!(counts(&check(&spread[..255])), [(0, 256, 255)]);
    assert_eq!(counts(&check(&spread)), [(0, 128, 128), (128, 128, 128)]);
    // One heavy owner does not tear the others apart more than it must.
    let mut heavy = spread[..128].to_vec();
    heavy.splice(70..70, (0..40).map(|_| (70 << 24, 1 << 20)));
    let found = counts(&check(&heavy));
    assert_eq!(found[..3], [(0, 64, 64), (64, 4, 4), (68, 2, 2)]);
    assert!(found[3..6].iter().all(|pack| (pack.0, pack.1) == (70, 1)));
    assert_eq!(
        found[6..],
        [(71, 1, 1), (72, 8, 8), (80, 16, 16), (96, 32, 32)]
    );
}

#[test]
fn what_is_too_much_for_one_pack_in_one_partition_becomes_several_of_about_one_size() {
    let blocks = vec![(5, 1 << 20); 33];
    assert_eq!(counts(&check(&blocks)), [(0, 1, 11); 3]);
    let small = vec![(5, 60); PACK_ENTRIES + 2];
    let found = counts(&check(&small));
    assert_eq!(found.len(), 2);
    assert!(found.iter().all(|(_, _, count)| *count > PACK_ENTRIES / 3));
    // Weights of the largest block that there can be.
    check(&[(5, 8 << 20); 3]);
}

#[test]
fn the_largest_block_fits_into_a_pack() {
    let codecs = [0x70, 0x71, 0x0129, 1, 2, 3, 4, u64::MAX >> 1];
    let hash = *cid_of(Codec::Raw, b"").hash();
    assert_eq!(codecs.len(), CODECS);
    assert!(weight(&hash, 2 << 20, &codecs) <= ROOM);
}

#[test]
fn a_block_that_is_above_the_size_asked_for_is_a_pack_by_itself() {
    let blocks = [(1, 10), (1, 5000), (1, 10), (2, 9000)];
    let plans = split(&blocks, 1000);
    assert_eq!(counts(&plans), [(0, 1, 1); 4]);
}

proptest! {
    #[test]
    fn every_block_is_in_one_pack_that_is_not_too_large(
        mut blocks in proptest::collection::vec((any::<Tag>(), 1..9_u64 << 20), 0..200),
        narrow in 0..32_u32,
    ) {
        for (tag, _) in &mut blocks {
            *tag = tag.checked_shr(narrow).unwrap_or(0);
        }
        blocks.sort_by_key(|(tag, _)| *tag);
        check(&blocks);
    }

    #[test]
    fn a_block_takes_no_more_than_its_weight(
        links in proptest::collection::vec((any::<u8>(), any::<bool>(), any::<bool>()), 0..40),
        form in 0..4,
        padding in 0..40_usize,
    ) {
        let links: Vec<Cid> = links
            .iter()
            .map(|(number, own_hash, old)| {
                let cid = cid_of(if *own_hash { Codec::DagPb } else { Codec::Raw }, &[*number]);
                if *old && *own_hash { Cid::new_v0(*cid.hash()).unwrap() } else { cid }
            })
            .collect();
        let value = Value::List(links.iter().copied().map(Value::Link).collect());
        let (codec, body) = match form {
            0 => (Codec::DagCbor, dag_cbor::encode(&value).unwrap()),
            1 => (Codec::DagJson, dag_json::encode_bytes(&value).unwrap()),
            2 => {
                let link = |hash: &Cid| dag_pb::Link { hash: *hash, name: None, size_claimed: None };
                let node = dag_pb::Node { links: links.iter().map(link).collect(), data: None };
                (Codec::DagPb, dag_pb::encode(&node).unwrap())
            }
            _ => (Codec::Raw, vec![7; padding * 1000]),
        };
        let mut sample = Sample::new(0, codec, body);
        sample.codecs.extend([0x0300, u64::MAX >> 1]);
        let size = |samples: &[Sample]| packed(samples).len() as u64;
        let other = Sample::new(0, Codec::Raw, *b"another one");
        let alone = size(std::slice::from_ref(&other));
        let weight = weight(sample.cid.hash(), sample.body.len() as u32, &sample.codecs);
        prop_assert!(size(&[other, sample]) - alone <= weight);
    }

    #[test]
    fn links_of_the_shortest_kind_take_no_more_than_their_block(count in 0..200_usize) {
        // A digest of one byte: as short as a CID can be and still differ.
        let short = |number: usize| {
            let bytes = [1, 0x55, 0x12, 1, (number % 256) as u8];
            perennis_shared::cid::parse_cid_bytes(&bytes).unwrap()
        };
        let links: Vec<Cid> = (0..count).map(short).collect();
        let sample = Sample::node(0, &links);
        let bytes = packed(std::slice::from_ref(&sample)).len() as u64;
        let weight = weight(sample.cid.hash(), sample.body.len() as u32, &sample.codecs);
        prop_assert!(bytes <= weight + 100);
        let mut written = Vec::new();
        links.iter().for_each(|link| write_cid(&mut written, link));
        prop_assert_eq!(written.len(), 5 * count);
    }
}
