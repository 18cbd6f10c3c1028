//! `import` and `export` of anybody's content, through a node.

use std::fs;

use perennis_shared::cid::{Block, Codec};
use perennis_shared::codec::{Value, car, dag_cbor};
use perennis_tests::home::Home;
use perennis_tests::node::Node;

fn leaf(content: &[u8]) -> Block {
    Block::new(Codec::Raw, content.to_vec()).unwrap()
}

fn list(links: &[&Block]) -> Block {
    let links = links.iter().map(|block| Value::Link(*block.cid()));
    let value = Value::List(links.collect());
    Block::new(Codec::DagCbor, dag_cbor::encode(&value).unwrap()).unwrap()
}

#[test]
fn a_file_is_imported_exported_and_let_go_again() {
    let user = Home::new();
    let node = Node::start(&user.beside("node"));
    let at_node = ["--node", node.admin()];
    let (one, two) = (leaf(b"leaf one"), leaf(&[7; 100_000]));
    let root = list(&[&one, &two, &one]);
    // Leaves first, and a root that `import` could take for that of an identity.
    let file = car::write(&[*root.cid(), *one.cid()], [&one, &two, &root]).unwrap();
    let path = user.file("any.car", &file);
    let import = [&["import", &path, "--name", "a name"][..], &at_node].concat();
    let done = user.json(&import);
    assert_eq!(
        (&done["kept"], &done["newBlocks"]),
        (&true.into(), &3.into())
    );
    assert_eq!(user.json(&import)["newBlocks"], 0);
    let piped = [&["--json", "import", "-"][..], &at_node].concat();
    let piped = user.run_with_input(&piped, &file).document(0, &["import"]);
    assert_eq!(piped["file"], "stdin");
    // A pipe by its path is read once, and is not looked at anywhere else.
    let by_path = [&["--json", "import", "/dev/stdin"][..], &at_node].concat();
    let by_path = user.run_with_input(&by_path, &file);
    assert_eq!(by_path.document(0, &["import"])["bytes"], piped["bytes"]);
    let list = user.json(&[&["pin", "list", "--imported"][..], &at_node].concat());
    assert_eq!(list["imported"].as_array().unwrap().len(), 4);

    let out = user.beside("out.car");
    let out = out.to_str().unwrap();
    let cid = root.cid().to_string();
    let export = [&["export", &cid, "--output", out][..], &at_node].concat();
    let exported = user.json(&export);
    assert_eq!(
        (&exported["blocks"], &exported["cid"]),
        (&3.into(), &cid.clone().into())
    );
    let expected = car::write(&[*root.cid()], [&root, &one, &two]).unwrap();
    assert_eq!(fs::read(out).unwrap(), expected);
    assert_eq!(user.error(3, &export)["code"], "file_exists");
    user.json(&[&export[..], &["--force"]].concat());
    let stdout = [&["export", &cid][..], &at_node].concat();
    assert_eq!(user.run(&stdout).expect(0).stdout, expected);
    // Bytes and a document cannot share stdout.
    user.error(2, &stdout);

    // In another form of its CID, and under one name of two.
    let raw = perennis_shared::cid::Cid::new_v1(0x55, *root.cid().hash()).to_string();
    let remove = [&["pin", "remove", &raw][..], &at_node].concat();
    let named = user.json(&[&remove[..], &["--name", "a name"]].concat());
    assert_eq!(
        (&named["imported"], &named["fetched"]),
        (&1.into(), &false.into())
    );
    assert_eq!(user.json(&remove)["imported"], 1);
    assert_eq!(user.error(4, &remove)["code"], "not_found");
}

#[test]
fn what_is_not_whole_is_told_and_kept_only_where_that_was_asked_for() {
    let user = Home::new();
    let node = Node::start(&user.beside("node"));
    let at_node = ["--node", node.admin()];
    let (one, two) = (leaf(b"leaf one"), leaf(b"leaf two"));
    let root = list(&[&one, &two]);
    let whole = car::write(&[*root.cid()], [&root, &one, &two]).unwrap();
    let lacking = car::write(&[*root.cid()], [&root, &one]).unwrap();
    let lacking = user.file("lacking.car", lacking);
    let import = [&["import", &lacking][..], &at_node].concat();
    let told = user.run_json(&import).document(3, &["import"]);
    assert_eq!(
        (&told["kept"], &told["missingBlocks"]),
        (&false.into(), &1.into())
    );
    assert_eq!(told["missing"][0], two.cid().to_string());
    let partial = [&import[..], &["--partial"]].concat();
    let told = user.json(&partial);
    assert_eq!(
        (&told["kept"], &told["roots"][0]["state"]),
        (&true.into(), &"incomplete".into())
    );
    // What is not there is not exported, and no half of a file is left.
    let out = user.beside("out.car");
    let cid = root.cid().to_string();
    let export = [&["export", &cid, "-o", out.to_str().unwrap()][..], &at_node].concat();
    let error = user.error(4, &export);
    assert_eq!(error["code"], "incomplete");
    assert!(
        error["message"]
            .as_str()
            .unwrap()
            .contains(&two.cid().to_string()),
        "{error}"
    );
    assert!(!out.exists());

    let cut = user.file("cut.car", &whole[..whole.len() - 1]);
    let error = user.error(3, &[&["import", &cut][..], &at_node].concat());
    assert_eq!(error["code"], "invalid_car");
    let message = error["message"].as_str().unwrap();
    assert!(
        message.contains(&format!("byte {}", whole.len() - 1)),
        "{error}"
    );
    let told = user.json(&[&["import", &cut, "--partial"][..], &at_node].concat());
    assert_eq!(told["truncated"]["offset"], whole.len() - 1);
    // With the rest it is whole.
    let whole = user.file("whole.car", whole);
    let done = user.json(&[&["import", &whole][..], &at_node].concat());
    assert_eq!(done["roots"][0]["state"], "pinned");
}

#[test]
fn a_file_above_the_limit_is_refused_before_it_is_sent() {
    let user = Home::new();
    let config = user.file("node.toml", "[import]\nmax-size = \"1MiB\"\n");
    let node = Node::start_with(&user.beside("node"), std::path::Path::new(&config));
    let leaves: Vec<Block> = (0..6_u8).map(|number| leaf(&[number; 200_000])).collect();
    let file = car::write(&[*leaves[0].cid()], &leaves).unwrap();
    let path = user.file("large.car", &file);
    let error = user.error(3, &["import", &path, "--node", node.admin()]);
    assert_eq!(error["code"], "too_large");
    // Of stdin the size is not known before.
    let piped = ["--json", "import", "-", "--node", node.admin()];
    let error = user.run_with_input(&piped, &file).error(3);
    assert_eq!(error["code"], "too_large");
}
