//! Making, showing and keeping an identity.

use std::os::unix::fs::PermissionsExt as _;

use perennis_tests::home::Home;

use crate::user::{PHRASE, did, with_identity};

#[test]
fn a_generated_passphrase_is_shown_once_and_gives_the_same_identity_again() {
    let user = Home::new();
    let made = user.json(&["id", "new"]);
    let phrase = made["passphrase"].as_str().unwrap();
    assert_eq!(phrase.split(' ').count(), 6);
    let file = user.file("phrase", phrase);
    let derived = user.json(&["id", "derive", "--passphrase-file", &file]);
    for field in ["did", "didKey", "ipnsName", "profile"] {
        assert_eq!(derived[field], made[field]);
    }
    let shown = user.json(&["id", "show"]);
    assert_eq!(shown["did"], made["did"]);
    assert!(shown.get("passphrase").is_none());
    for entry in std::fs::read_dir(user.path()).unwrap() {
        let path = entry.unwrap().path();
        let content = std::fs::read(&path).unwrap();
        let found = content
            .windows(phrase.len())
            .any(|window| window == phrase.as_bytes());
        assert!(!found, "the passphrase is in {}", path.display());
    }
}

#[test]
fn a_given_passphrase_is_not_repeated() {
    let (user, file) = with_identity();
    let again = user.json(&["id", "new", "--passphrase-file", &file]);
    assert!(again.get("passphrase").is_none());
    assert_eq!(
        again["did"],
        did(&user).as_str(),
        "a second `id new` changed it"
    );
}

#[test]
fn a_home_without_identity_says_how_to_get_one() {
    let user = Home::new();
    for arguments in [
        &["id", "show"][..],
        &["label", "list"],
        &["label", "add", "@a", "spam"],
        &["publish"],
        &["export", "me.car"],
    ] {
        let ran = user.run_json(arguments);
        let code = ran.code.unwrap();
        assert!([3, 4].contains(&code), "{arguments:?} ended with {code}");
        let error = ran.error(code);
        assert_eq!(error["code"], "no_identity", "{arguments:?}");
        assert!(error["hint"].as_str().unwrap().contains("id new"));
    }
}

#[test]
fn a_home_never_changes_its_identity() {
    let (user, _) = with_identity();
    let before = did(&user);
    let other = user.file("other", "thimble mosaic ladder canyon velvet orbit");
    let error = user.error(3, &["id", "new", "--passphrase-file", &other]);
    assert_eq!(error["code"], "identity_exists");
    assert!(error["message"].as_str().unwrap().contains(&before));
    let error = user.error(3, &["id", "new", "--generate"]);
    assert_eq!(error["code"], "identity_exists");
    assert_eq!(did(&user), before);
}

#[test]
fn a_trivial_passphrase_is_refused_unless_that_is_wanted() {
    let user = Home::new();
    let file = user.file("phrase", "password");
    let new = ["id", "new", "--passphrase-file", &file];
    let error = user.error(3, &new);
    assert_eq!(error["code"], "weak_passphrase");
    assert_eq!(user.error(4, &["id", "show"])["code"], "no_identity");
    user.json(&[&new[..], &["--allow-weak"]].concat());
}

#[test]
fn an_identity_of_profile_v1_keeps_its_passphrase_and_its_did() {
    let user = Home::new();
    let file = user.file("phrase", "a");
    let made = user.json(&["id", "new", "--profile", "v1", "--passphrase-file", &file]);
    assert_eq!(made["profile"], "v1");
    assert_eq!(made["did"], made["didKey"]);
}

#[test]
fn the_recovery_sheet_is_private_complete_and_never_overwritten() {
    let user = Home::new();
    let sheet = user.beside("sheet.txt");
    let path = sheet.to_str().unwrap();
    let made = user.json(&["id", "new", "--recovery-sheet", path]);
    let text = std::fs::read_to_string(&sheet).unwrap();
    for field in ["passphrase", "did", "ipnsName"] {
        assert!(text.contains(made[field].as_str().unwrap()), "no {field}");
    }
    let mode = std::fs::metadata(&sheet).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);

    let other = Home::new();
    let error = other.error(3, &["id", "new", "--recovery-sheet", path]);
    assert_eq!(error["code"], "file_exists");
    assert_eq!(std::fs::read_to_string(&sheet).unwrap(), text);
    assert_eq!(
        other.error(4, &["id", "show"])["code"],
        "no_identity",
        "an identity was made whose passphrase nobody saw"
    );
}

#[test]
fn a_saved_key_is_sealed_and_one_changed_bit_is_refused() {
    let user = Home::new();
    let file = user.file("phrase", PHRASE);
    let made = user.json(&["id", "new", "--save", "--passphrase-file", &file]);
    let path = made["sealedKey"].as_str().unwrap();
    let mode = std::fs::metadata(path).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    let mut sealed = std::fs::read(path).unwrap();
    let middle = sealed.len() / 2;
    sealed[middle] ^= 1;
    std::fs::write(path, &sealed).unwrap();
    let error = user.error(3, &["publish", "--passphrase-file", &file]);
    assert_eq!(error["code"], "sealed_key_damaged");
}

#[test]
fn a_home_that_cannot_be_written_is_named() {
    let user = Home::new();
    // A file where the directory should be: this holds for root too, whom permissions do not stop.
    let blocked = user.file("blocked", "not a directory");
    let file = user.file("phrase", PHRASE);
    let error = user.error(
        1,
        &["id", "new", "--passphrase-file", &file, "--home", &blocked],
    );
    assert!(error["message"].as_str().unwrap().contains("blocked"));
}
