//! Inside a crate nothing calls upward: the floors of docs/ARCHITECTURE.md, held over what the sources import.
//!
//! Each crate lists its rooms (the modules of its root) from the lowest floor to the highest. A room imports from floors below its
//! own, never from one above or beside it. Files may know each other in pairs, as a type and what makes it do; a circle
//! of more is one file in many pieces, and fails. A file and the folder of its name are one room inside.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::Result;

use super::imports::{Crate, Module};
use super::{Findings, sources};

/// A crate, where its sources are, and its rooms from the lowest floor to the highest.
struct House {
    root: &'static str,
    floors: &'static [&'static [&'static str]],
    /// Whether rooms may use what the root has of its own: where the root is what they are made of, and not above them.
    is_root_the_ground: bool,
}

/// Most files that may import each other.
const PAIR: usize = 2;

/// Every crate of ours.
const HOUSES: &[House] = &[
    House {
        root: "shared/src",
        is_root_the_ground: false,
        floors: &[
            &["error"],
            &[
                "backoff",
                "kdf",
                "limits",
                "passphrase",
                "sign",
                "time",
                "varint",
            ],
            &["cid", "keywrap"],
            &["codec"],
            &["ipns", "taglist", "unixfs", "wire"],
            &["did"],
            &["log", "uri"],
            &["kinds"],
        ],
    },
    House {
        root: "rt/src",
        is_root_the_ground: true,
        floors: &[&["address_rule", "files"], &["native", "web"], &["http"]],
    },
    House {
        root: "net/src",
        is_root_the_ground: false,
        floors: &[
            &["address", "bitswap", "error", "framing", "memory_limit"],
            &["blocks", "network", "peers", "transport"],
            &["status"],
            &["command"],
            &["protocol"],
            &["dht"],
            &["pubsub"],
            &["config"],
            &["swarm"],
            &["net"],
        ],
    },
    House {
        root: "sdk/src",
        is_root_the_ground: false,
        floors: &[
            &["node_url", "remote", "store"],
            &["tokens"],
            &["exchange", "router", "testing"],
            &["client"],
        ],
    },
    House {
        root: "sdk-wasm/src",
        is_root_the_ground: false,
        floors: &[
            &["error", "indexed_db", "lock"],
            &["object"],
            &["identity", "label"],
            &["client"],
        ],
    },
    House {
        root: "node/store/src",
        is_root_the_ground: false,
        floors: &[
            &["clock", "disk", "layout"],
            &["kv", "location", "reserve"],
            &["frame", "keys", "open_error", "options"],
            &["format", "group", "pack", "segment"],
            &["rows"],
            &["batch", "block_table", "log"],
            &["index", "soundness"],
            &["checkpoint", "shared"],
            &["commit", "rebuild"],
            &["migrate", "store"],
            &["read"],
            &["damage", "snapshot", "upkeep"],
            &["inspect", "verify"],
            &["open"],
        ],
    },
    House {
        root: "node/src",
        is_root_the_ground: false,
        floors: &[
            &[
                "caller",
                "clock",
                "config",
                "data_folder",
                "groups",
                "log_tally",
                "opening",
                "pending_names",
                "scope",
                "shutdown",
                "ssrf_guard",
            ],
            &["demand", "keystore", "token"],
            &["routes"],
            &["storage"],
            &["damage"],
            &["metrics"],
            &["probe", "read"],
            &["ingest", "resolve"],
            &["swarm", "workers"],
            &["node"],
            &["http"],
            &["app"],
        ],
    },
    House {
        root: "cli/src",
        is_root_the_ground: false,
        floors: &[
            &["args", "failure", "page", "umask"],
            &["files", "log_lines", "output", "secret", "when"],
            &["home"],
            &["context"],
            &["sealed", "session"],
            &["unlock"],
            &["ask"],
            &["command"],
        ],
    },
    House {
        root: "tests/src",
        is_root_the_ground: false,
        floors: &[
            &[
                "binary",
                "document",
                "measure",
                "publisher",
                "retry",
                "skipped",
                "terminal",
                "umask",
            ],
            &["dialled", "process", "schema", "small_disk", "vectors"],
            &["home", "node", "peers"],
            &["kill", "person", "readers", "tour"],
            &["bench", "interop"],
        ],
    },
    House {
        root: "xtask/src",
        is_root_the_ground: false,
        floors: &[
            &["skipped", "workspace"],
            &["shell"],
            &["check", "fuzz", "licences", "product", "tools"],
            &["setup"],
            &["deny", "no_std", "peers"],
            &["bench", "browser", "interop"],
            &["demo", "test"],
        ],
    },
];

pub(super) fn check() -> Result<Findings> {
    let files = sources::rust_files()?;
    let mut findings = Findings::new();
    for house in HOUSES {
        // The store lies in the folder of the node, with a root of its own.
        let below = format!("{}/", house.root);
        let files = files.iter().filter(|file| file.path.starts_with(&below));
        let read = Crate::read(
            house.root,
            files.map(|file| (file.path.as_str(), file.text.as_str())),
        );
        findings.extend(broken(house, &read));
    }
    Ok(findings)
}

fn broken(house: &House, read: &Crate) -> Findings {
    let mut findings = Findings::new();
    let floor_of = |room: &str| house.floors.iter().position(|floor| floor.contains(&room));
    let rooms: BTreeSet<&String> = read.modules().filter_map(|module| module.first()).collect();
    for room in &rooms {
        if floor_of(room).is_none() {
            findings.push(format!(
                "{}: the room {room} has no floor in xtask/src/check/floors.rs",
                house.root
            ));
        }
    }
    for room in house.floors.iter().copied().flatten() {
        if !rooms.iter().any(|there| there.as_str() == *room) {
            findings.push(format!("{}: there is no room {room}", house.root));
        }
    }
    let mut graph = Graph::new();
    for module in read.modules() {
        let imports = read.imports(module);
        for target in &imports {
            // The root is above all rooms: what it has of its own, nobody below may use.
            if target.is_empty() && !house.is_root_the_ground {
                let from = module.join("::");
                findings.push(format!("{}: {from} imports from the root", house.root));
            }
            if let (Some(from), Some(to)) = (module.first(), target.first())
                && from != to
                && floor_of(to) >= floor_of(from)
            {
                let (from, to) = (module.join("::"), target.join("::"));
                findings.push(format!(
                    "{}: {from} imports {to}, which stands no lower",
                    house.root
                ));
            }
        }
        let others = imports
            .into_iter()
            .filter(|target| !is_inside(module, target) && !is_inside(target, module));
        graph.insert(module.clone(), others.collect());
    }
    for circle in circles(&graph) {
        let names: Vec<String> = circle.iter().map(|module| module.join("::")).collect();
        findings.push(format!(
            "{}: {} files import each other: {}",
            house.root,
            names.len(),
            names.join(", ")
        ));
    }
    findings
}

/// Whether a module is one of those inside another.
fn is_inside(module: &Module, room: &Module) -> bool {
    module.starts_with(room)
}

type Graph = BTreeMap<Module, BTreeSet<Module>>;

/// The groups of more than [`PAIR`] modules of which each reaches each other.
fn circles(graph: &Graph) -> Vec<Vec<&Module>> {
    let reached: BTreeMap<&Module, BTreeSet<&Module>> = graph
        .keys()
        .map(|module| (module, reach(graph, module)))
        .collect();
    let mut done = BTreeSet::new();
    let mut circles = Vec::new();
    for (module, others) in &reached {
        if done.contains(module) || !others.contains(module) {
            continue;
        }
        let is_mutual = |other: &&&Module| {
            reached
                .get(**other)
                .is_some_and(|back| back.contains(module))
        };
        let circle: Vec<&Module> = others.iter().filter(is_mutual).copied().collect();
        done.extend(circle.iter().copied());
        if circle.len() > PAIR {
            circles.push(circle);
        }
    }
    circles
}

/// All modules that one leads to; itself where a way leads back.
fn reach<'a>(graph: &'a Graph, from: &Module) -> BTreeSet<&'a Module> {
    let mut reached = BTreeSet::new();
    let mut ahead: Vec<&Module> = graph.get(from).into_iter().flatten().collect();
    while let Some(module) = ahead.pop() {
        if reached.insert(module) {
            ahead.extend(graph.get(module).into_iter().flatten());
        }
    }
    reached
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOUSE: House = House {
        root: "src",
        is_root_the_ground: false,
        floors: &[&["low", "beside"], &["high"]],
    };

    fn found(files: &[(&str, &str)]) -> Findings {
        broken(&HOUSE, &Crate::read("src", files.iter().copied()))
    }

    #[test]
    fn downward_is_right() {
        let files = [
            ("src/low.rs", ""),
            ("src/beside.rs", ""),
            ("src/high.rs", "use crate::low::X; use crate::beside::Y;"),
        ];
        assert_eq!(found(&files), Findings::new());
    }

    #[test]
    fn upward_sideways_and_rooms_without_a_floor_are_found() {
        let files = [
            ("src/low.rs", ""),
            ("src/beside.rs", "use crate::low::X;"),
            ("src/new.rs", ""),
        ];
        let found = found(&files);
        for part in [
            "beside imports low",
            "room new has no floor",
            "no room high",
        ] {
            assert!(
                found.iter().any(|line| line.contains(part)),
                "{part}: {found:?}"
            );
        }
        assert_eq!(found.len(), 3);
        let upward = [
            ("src/low.rs", "fn f() { crate::high::go(); }"),
            ("src/beside.rs", ""),
            ("src/high.rs", ""),
        ];
        assert_eq!(
            broken(&HOUSE, &Crate::read("src", upward.into_iter())).len(),
            1
        );
    }

    #[test]
    fn three_files_that_import_each_other_are_found_and_two_are_not() {
        let mut files = vec![
            ("src/low.rs", ""),
            ("src/beside.rs", ""),
            ("src/high.rs", "mod a; mod b; mod c; use a::A;"),
            ("src/high/a.rs", "use super::b::B;"),
            ("src/high/b.rs", "use super::a::A;"),
            ("src/high/c.rs", ""),
        ];
        assert_eq!(found(&files), Findings::new());
        files[4].1 = "use super::c::C;";
        files[5].1 = "use super::a::A;";
        let found = found(&files);
        assert!(
            found.len() == 1 && found[0].contains("3 files import each other"),
            "{found:?}"
        );
    }
}
