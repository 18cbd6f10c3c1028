//! Changing and reading the own list, before anything is published.

use perennis_tests::home::Home;

use crate::user::{pairs, with_identity};

fn pair(handle: &str, label: &str) -> (String, String) {
    (handle.to_owned(), label.to_owned())
}

#[test]
fn labels_are_staged_without_a_passphrase_and_visible_at_once() {
    let (user, _) = with_identity();
    let added = user.json(&[
        "label",
        "add",
        "@Some_One",
        "spam",
        "bot",
        "--note",
        "sells followers",
        "--expires",
        "90d",
        "--colour",
        "#c0392b",
        "--user-id",
        "12345",
    ]);
    assert_eq!(added["staged"], 2);
    user.json(&["label", "add", "another", "friend", "--negate"]);
    let list = user.json(&["label", "list"]);
    assert_eq!(
        pairs(&list),
        [
            pair("@another", "friend"),
            pair("@Some_One", "bot"),
            pair("@Some_One", "spam")
        ]
    );
    assert_eq!(list["staged"], 3);
    assert!(list["head"].is_null());
    let label = &list["labels"][1];
    assert_eq!(label["note"], "sells followers");
    assert_eq!(label["colour"], "#c0392b");
    assert_eq!(label["userId"], "12345");
    assert_eq!(label["staged"], true);
    assert!(label["expires"].is_string());
    assert_eq!(list["labels"][0]["negated"], true);
}

#[test]
fn a_list_is_read_by_prefix_and_in_pages() {
    let (user, _) = with_identity();
    for handle in ["@alpha", "@alto", "@beta", "@gamma"] {
        user.json(&["label", "add", handle, "spam"]);
    }
    let al = user.json(&["label", "list", "--prefix", "@al"]);
    assert_eq!(pairs(&al), [pair("@alpha", "spam"), pair("@alto", "spam")]);
    let mut seen = Vec::new();
    let mut after: Option<String> = None;
    loop {
        let mut arguments = vec!["label", "list", "--limit", "1"];
        if let Some(after) = &after {
            arguments.extend(["--after", after]);
        }
        let page = user.json(&arguments);
        seen.extend(pairs(&page));
        match page["next"].as_str() {
            Some(next) => after = Some(next.to_owned()),
            None => break,
        }
    }
    assert_eq!(seen, pairs(&user.json(&["label", "list", "--all"])));
    assert_eq!(seen.len(), 4);
}

#[test]
fn labels_are_removed_one_by_one_or_all_from_a_handle() {
    let (user, _) = with_identity();
    user.json(&["label", "add", "@one", "spam", "bot", "friend"]);
    user.json(&["label", "remove", "@one", "bot"]);
    let list = user.json(&["label", "list"]);
    assert_eq!(pairs(&list), [pair("@one", "friend"), pair("@one", "spam")]);
    let absent = user.error(4, &["label", "remove", "@one", "bot"]);
    assert_eq!(absent["code"], "label_not_found");
    user.json(&["label", "remove", "@one", "--all"]);
    assert!(pairs(&user.json(&["label", "list"])).is_empty());
}

#[test]
fn what_is_no_handle_or_label_is_refused_by_name() {
    let (user, _) = with_identity();
    for handle in ["@", "@way_too_long_handle", "@sp ace", "@ümlaut", "a@b"] {
        let error = user.error(3, &["label", "add", handle, "spam"]);
        assert_eq!(error["code"], "invalid_handle", "{handle}");
    }
    for label in ["Spam", "sp am", "", &"x".repeat(51)] {
        let error = user.error(3, &["label", "add", "@one", label]);
        assert_eq!(error["code"], "invalid_label", "{label}");
    }
    for (flag, value, code) in [
        ("--colour", "red", 3),
        ("--source", "nobody", 3),
        ("--expires", "yesterday", 2),
        ("--expires", "2001-01-01", 2),
        ("--expires", "0d", 2),
    ] {
        user.error(code, &["label", "add", "@one", "spam", flag, value]);
    }
    assert!(pairs(&user.json(&["label", "list"])).is_empty());
}

#[test]
fn two_commands_at_once_wait_for_each_other() {
    let (user, _) = with_identity();
    let children: Vec<_> = (0..4)
        .map(|number| {
            let handle = format!("@user{number}");
            user.command(&["--quiet", "label", "add", &handle, "spam"])
                .stdout(std::process::Stdio::null())
                .spawn()
                .unwrap()
        })
        .collect();
    for mut child in children {
        assert!(child.wait().unwrap().success());
    }
    assert_eq!(pairs(&user.json(&["label", "list"])).len(), 4);
}

#[test]
fn text_for_people_is_aligned_and_carries_no_escape_codes() {
    let (user, _) = with_identity();
    user.json(&["label", "add", "@one", "spam", "--note", "a remark"]);
    let text = user.run(&["label", "list"]).expect(0).text();
    assert!(text.starts_with("HANDLE  LABEL"), "{text}");
    assert!(text.contains("a remark"));
    assert!(!text.contains('\x1b'));
    let quiet = Home::new().run(&["--quiet", "id", "show"]).expect(4);
    assert!(quiet.stderr.contains("error:"));
}

#[test]
fn an_edit_changes_what_it_names_and_nothing_else() {
    let (user, _) = with_identity();
    let full = [
        "label",
        "add",
        "@one",
        "spam",
        "--note",
        "sells",
        "--colour",
        "#c0392b",
        "--expires",
        "90d",
        "--user-id",
        "1778338116564078593",
        "--source",
        "did:web:example.org",
        "--negate",
    ];
    user.json(&full);
    let before = user.json(&["label", "list", "@one"])["labels"][0].clone();
    assert_eq!(before["userId"], "1778338116564078593", "to the last digit");
    for arguments in [
        &["label", "add", "@one", "spam"][..],
        &[
            "label",
            "add",
            "@ONE",
            "spam",
            "--note",
            "",
            "--colour",
            "",
            "--expires",
            "",
            "--source",
            "",
        ],
    ] {
        let again = user.json(arguments);
        let change = again["changes"][0]["change"].as_str().unwrap();
        assert!(["unchanged", "changed"].contains(&change), "{again}");
        assert_eq!(again["changes"][0]["fields"].as_array().unwrap().len(), 0);
    }
    let noted = user.json(&["label", "add", "@one", "spam", "--note", "buys"]);
    let fields = &noted["changes"][0]["fields"];
    assert_eq!(fields[0]["field"], "note");
    assert_eq!(
        (&fields[0]["before"], &fields[0]["after"]),
        (&"sells".into(), &"buys".into())
    );
    assert_eq!(fields.as_array().unwrap().len(), 1);
    let after = user.json(&["label", "list", "@one"])["labels"][0].clone();
    for field in [
        "colour", "expires", "userId", "source", "negated", "created",
    ] {
        assert_eq!(after[field], before[field], "{field}");
    }
    user.json(&[
        "label",
        "add",
        "@one",
        "spam",
        "--clear",
        "note,colour,source,expires,user-id,negate",
    ]);
    let cleared = user.json(&["label", "list", "@one"])["labels"][0].clone();
    for field in ["note", "colour", "expires", "userId", "source"] {
        assert!(cleared[field].is_null(), "{field}: {cleared}");
    }
    assert_eq!(cleared["negated"], false);
    let error = user.error(2, &["label", "add", "@one", "spam", "--clear", "nots"]);
    assert!(error["hint"].as_str().unwrap().contains("note"));
}

#[test]
fn the_last_command_is_taken_back_and_all_that_waits_is_dropped() {
    let (user, file) = with_identity();
    let error = user.error(4, &["label", "undo"]);
    assert_eq!(error["code"], "nothing_to_undo");
    user.json(&["label", "add", "@one", "spam"]);
    user.json(&["label", "add", "@two", "spam", "bot"]);
    let undone = user.json(&["label", "undo"]);
    assert_eq!(
        (&undone["changes"], &undone["staged"]),
        (&2.into(), &1.into())
    );
    assert_eq!(
        pairs(&user.json(&["label", "list"])),
        [pair("@one", "spam")]
    );

    let node = perennis_tests::node::Node::start(&user.beside("node"));
    crate::user::publish(&user, &file, &[&node]);
    user.json(&["label", "add", "@one", "spam", "--note", "kept"]);
    user.json(&["label", "add", "@three", "spam"]);
    crate::user::publish(&user, &file, &[&node]);
    assert_eq!(user.error(4, &["label", "undo"])["code"], "nothing_to_undo");
    let undone = user.json(&["label", "undo", "--published"]);
    assert_eq!(
        (&undone["undone"], &undone["staged"]),
        (&"published".into(), &2.into())
    );
    let list = user.json(&["label", "list"]);
    assert_eq!(pairs(&list), [pair("@one", "spam")]);
    assert!(list["labels"][0]["note"].is_null(), "{list}");
    assert_eq!(user.json(&["label", "discard"])["discarded"], 2);
    assert_eq!(pairs(&user.json(&["label", "list"])).len(), 2);
}
