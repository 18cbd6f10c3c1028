//! Labels from files and to files: a difference first, then the change, and no half of a bad file.

use crate::user::{pairs, with_identity};

const CSV: &str = "handle,label,note,expires\n\
    @one,spam,\"sells \"\"followers\"\", cheap\",2035-01-01T00:00:00Z\n\
    @two,friend,,\n";

#[test]
fn a_dry_run_tells_the_difference_and_changes_nothing() {
    let (user, _) = with_identity();
    let file = user.file("labels.csv", CSV);
    let dry = user.json(&["label", "import", &file, "--dry-run"]);
    assert_eq!(dry["added"], 2);
    assert_eq!(dry["staged"], 0);
    assert!(pairs(&user.json(&["label", "list"])).is_empty());
    let done = user.json(&["label", "import", &file]);
    assert_eq!(done["added"], 2);
    assert_eq!(done["staged"], 2);
    let again = user.json(&["label", "import", &file]);
    assert_eq!(again["unchanged"], 2);
    assert_eq!(again["added"], 0);
    let list = user.json(&["label", "list"]);
    assert_eq!(list["labels"][0]["note"], "sells \"followers\", cheap");
}

#[test]
fn a_file_with_a_bad_row_is_refused_whole_unless_that_row_is_left_out() {
    let (user, _) = with_identity();
    let file = user.file("labels.csv", "handle,label\n@ok,spam\n@not ok,spam\n");
    let error = user.error(3, &["label", "import", &file]);
    assert_eq!(error["code"], "invalid_rows");
    assert!(error["message"].as_str().unwrap().contains("line 3"));
    assert!(pairs(&user.json(&["label", "list"])).is_empty());
    let skipped = user.json(&["label", "import", &file, "--skip-invalid"]);
    assert_eq!(skipped["invalid"][0]["row"], 3);
    assert_eq!(pairs(&user.json(&["label", "list"])).len(), 1);
    for content in ["", "who,what\n", "{\"version\":"] {
        let file = user.file("broken", content);
        user.error(3, &["label", "import", &file]);
    }
}

#[test]
fn what_is_exported_is_imported_again() {
    let (user, _) = with_identity();
    let file = user.file("labels.csv", CSV);
    user.json(&["label", "import", &file]);
    for name in ["out.csv", "out.json"] {
        let path = user.beside(name);
        let path = path.to_str().unwrap();
        assert_eq!(user.json(&["label", "export", path])["labels"], 2);
        let (other, _) = with_identity();
        assert_eq!(other.json(&["label", "import", path])["added"], 2);
        assert_eq!(
            pairs(&other.json(&["label", "list"])),
            pairs(&user.json(&["label", "list"]))
        );
    }
    let text = user.run(&["label", "export"]).expect(0).text();
    assert!(text.starts_with("handle,label"), "{text}");
}

#[test]
fn an_import_names_each_part_that_changes_and_keeps_the_others() {
    let (user, _) = with_identity();
    let add = [
        "label",
        "add",
        "@one",
        "spam",
        "--note",
        "sells",
        "--user-id",
        "1778338116564078593",
        "--expires",
        "90d",
    ];
    user.json(&add);
    let file = user.file(
        "more.csv",
        "handle;label;note;colour\n@one;spam;;#00ff00\n@two;spam;<clear>;\n",
    );
    let dry = user.json(&["label", "import", &file, "--dry-run"]);
    assert_eq!(
        (&dry["separator"], &dry["encoding"]),
        (&";".into(), &"UTF-8".into())
    );
    let changed = &dry["changes"][0];
    assert_eq!(
        (&changed["change"], &changed["fields"][0]["field"]),
        (&"changed".into(), &"colour".into())
    );
    assert_eq!(changed["fields"].as_array().unwrap().len(), 1, "{changed}");
    assert_eq!(dry["staged"], 1);
    user.json(&["label", "import", &file]);
    let one = &user.json(&["label", "list", "@one"])["labels"][0];
    assert_eq!(
        (&one["note"], &one["userId"]),
        (&"sells".into(), &"1778338116564078593".into())
    );
    assert!(one["expires"].is_string());
    let undone = user.json(&["label", "undo"]);
    assert_eq!(undone["changes"], 2, "an import is one change of the list");
}

#[test]
fn a_list_of_accounts_wants_a_label_and_other_fields_a_map() {
    let (user, _) = with_identity();
    let list = user.file("accounts.txt", "@one\n1778338116564078593\n");
    let error = user.error(3, &["label", "import", &list]);
    assert!(
        error["hint"].as_str().unwrap().contains("--label"),
        "{error}"
    );
    user.json(&["label", "import", &list, "--label", "spam"]);
    let read = pairs(&user.json(&["label", "list"]));
    let handles: Vec<&str> = read.iter().map(|(handle, _)| handle.as_str()).collect();
    assert_eq!(handles, ["#1778338116564078593", "@one"]);

    let other = user.file("other.csv", "account,why,when\n@three,bot,today\n");
    let error = user.error(3, &["label", "import", &other]);
    assert!(error["hint"].as_str().unwrap().contains("--map"), "{error}");
    let mapped = [
        "label",
        "import",
        &other,
        "--map",
        "handle=account",
        "--map",
        "label=why",
    ];
    let read = user.json(&mapped);
    assert_eq!(
        (&read["added"], &read["leftOutFields"][0]),
        (&1.into(), &"when".into())
    );
    user.error(2, &["label", "import", &other, "--map", "size=why"]);
}

#[test]
fn renamed_accounts_and_handles_that_changed_hands_are_told() {
    let (user, _) = with_identity();
    user.json(&["label", "add", "@old", "spam", "--user-id", "17"]);
    let file = user.file("ids.csv", "handle,label,id\n@new,spam,17\n@old,bot,18\n");
    let read = user.json(&["label", "import", &file, "--dry-run"]);
    assert_eq!(read["mismatched"], 2, "{read}");
    let kinds: Vec<&str> = read["mismatches"]
        .as_array()
        .unwrap()
        .iter()
        .map(|mismatch| mismatch["kind"].as_str().unwrap())
        .collect();
    assert!(
        kinds.contains(&"renamed") && kinds.contains(&"reused"),
        "{kinds:?}"
    );
}

#[test]
fn an_export_leaves_out_what_has_ended_and_writes_over_nothing() {
    let (user, _) = with_identity();
    user.json(&["label", "add", "@one", "spam", "--expires", "1s"]);
    user.json(&["label", "add", "@two", "spam", "--negate"]);
    let ended = perennis_tests::retry::until_ok(|| {
        let listed = pairs(&user.json(&["label", "list"])).len();
        anyhow::ensure!(listed == 1, "{listed} labels have not ended");
        Ok(())
    });
    ended.unwrap();
    let path = user.beside("out.csv");
    let path = path.to_str().unwrap();
    let out = user.json(&["label", "export", path]);
    assert_eq!(
        (&out["labels"], &out["leftOut"]["ended"]),
        (&1.into(), &1.into())
    );
    let error = user.error(3, &["label", "export", path]);
    assert_eq!(error["code"], "file_exists");
    let all = user.json(&["label", "export", path, "--force", "--with-ended"]);
    assert_eq!(
        (&all["labels"], &all["leftOut"]["ended"]),
        (&2.into(), &0.into())
    );
    let json = user.json(&["label", "export", path, "--force", "--format", "json"]);
    assert_eq!(
        (&json["labels"], &json["leftOut"]["negated"]),
        (&0.into(), &1.into())
    );
}
