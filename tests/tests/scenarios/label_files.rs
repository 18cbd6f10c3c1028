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
