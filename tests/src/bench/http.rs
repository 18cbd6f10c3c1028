//! The node over HTTP against Kubo, by `wrk`: IPNS records, raw blocks of three sizes, a DAG as a CAR, and files by their paths.
//!
//! Both serve the same bytes from a folder of their own, take turns under load, and are given the same paths in the same
//! order, drawn at random; the figure is the mean of the rounds.

mod kubo;
mod load;

use std::path::Path;

use anyhow::{Context, Result};

use super::{Scratch, figure::Figure, start};
use crate::node::Node;
use crate::peers::kubo::LABEL;
use crate::person::Person;
use kubo::Kubo;
use load::Target;

const ROUNDS: u32 = 2;

/// Blocks of each size, so that neither server answers from one cache line.
pub(super) const SMALL: (usize, u32) = (1 << 10, 512);
pub(super) const LARGE: (usize, u32) = (256 << 10, 64);
/// More than a node's cache of blocks holds.
pub(super) const MANY: (usize, u32) = (64 << 10, 2048);
/// The file that is given as a CAR.
pub(super) const FILE_BYTES: usize = 128 << 20;
/// The files that are asked for by their paths.
pub(super) const FILES: (usize, u32) = (1 << 20, 64);
const WORDS: &str = "harbor velvet summit nickel banjo orchid";

/// What a server serves for each figure.
struct Served {
    record: Target,
    small: Target,
    large: Target,
    many: Target,
    car: Option<Target>,
    files: Option<Target>,
}

/// Measures ours, and Kubo's where it is here.
///
/// # Errors
/// A server does not start, answers with an error, or wrk is not installed.
pub(super) fn measure() -> Result<Vec<Figure>> {
    let scratch = Scratch::new("http")?;
    let (ours, mut ours_served) = serve_ours(&scratch.path().join("ours"))?;
    let peer = Kubo::start(&scratch.path().join("kubo"))?;
    if let Some(peer) = &peer {
        let root = peer.file();
        let folder = peer.folder();
        let person = Person::new(WORDS)?;
        for fetched in [root, folder] {
            person.fetch(fetched, Some(&peer.address()?), &ours)?;
        }
        ours_served.car = Some(Target::car(ours.address(), root));
        let gateway = ours.gateway().context("the path gateway is on")?;
        let gateway = gateway.trim_start_matches("http://");
        ours_served.files = Some(Target::files(gateway, kubo::paths_below(folder), FILES.0));
    }
    let mut figures = Vec::new();
    for (name, unit, pick) in FIGURES {
        let Some(target) = pick(&ours_served) else {
            continue;
        };
        let mut our_rate = 0.0;
        let mut peer_rate = 0.0;
        for _ in 0..ROUNDS {
            our_rate += load::rate(target)? / f64::from(ROUNDS);
            if let Some(theirs) = peer.as_ref().and_then(|peer| pick(peer.served())) {
                peer_rate += load::rate(theirs)? / f64::from(ROUNDS);
            }
        }
        let figure = Figure::new(name, our_rate, unit);
        figures.push(match &peer {
            Some(_) => figure.beside(LABEL, peer_rate),
            None => figure,
        });
    }
    drop(ours);
    Ok(figures)
}

type Pick = fn(&Served) -> Option<&Target>;

const FIGURES: &[(&str, &str, Pick)] = &[
    ("http/ipns", "requests/s", |served| Some(&served.record)),
    ("http/block/1KiB", "requests/s", |served| {
        Some(&served.small)
    }),
    ("http/block/256KiB", "requests/s", |served| {
        Some(&served.large)
    }),
    ("http/block/64KiB", "requests/s", |served| {
        Some(&served.many)
    }),
    ("http/car", "requests/s", |served| served.car.as_ref()),
    ("http/file", "requests/s", |served| served.files.as_ref()),
];

fn serve_ours(dir: &Path) -> Result<(Node, Served)> {
    let seeded = start::seed(dir, &[SMALL, LARGE, MANY])?;
    let node = start::start_with(dir, &[("PERENNIS_HTTP_GATEWAY_LISTEN", "127.0.0.1:0")])?;
    let name = seeded.name.context("the seed publishes a name")?;
    let blocks = |size: usize| -> Vec<String> {
        seeded
            .blocks
            .iter()
            .filter(|(bytes, _)| *bytes == size)
            .map(|(_, cid)| format!("/ipfs/{cid}?format=raw"))
            .collect()
    };
    let served = Served {
        record: Target::record(node.address(), format!("/routing/v1/ipns/{name}")),
        small: Target::blocks(node.address(), blocks(SMALL.0), SMALL.0),
        large: Target::blocks(node.address(), blocks(LARGE.0), LARGE.0),
        many: Target::blocks(node.address(), blocks(MANY.0), MANY.0),
        car: None,
        files: None,
    };
    Ok((node, served))
}
