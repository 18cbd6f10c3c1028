//! The contract of the command line itself: exit codes, one document on stdout, usage errors, help.

use perennis_tests::home::Home;

#[test]
fn a_usage_error_is_two_and_one_document_with_json() {
    let user = Home::new();
    for arguments in [
        &["no-such-command"][..],
        &["id"],
        &["id", "derive", "--profile", "v3"],
        &["record", "verify", "file"],
        &["dag", "convert", "--from", "xml", "--to", "dag-json"],
        &["--no-such-flag"],
        &[],
    ] {
        let error = user.error(2, arguments);
        assert_eq!(error["code"], "usage", "{arguments:?}");
        let plain = user.run(arguments).expect(2);
        assert!(plain.stdout.is_empty(), "{arguments:?}: {}", plain.text());
        assert!(!plain.stderr.is_empty());
    }
}

#[test]
fn help_and_version_go_to_stdout() {
    let user = Home::new();
    let help = user.run(&["--help"]).expect(0);
    for word in [
        "Exit codes",
        "--home",
        "--json",
        "--quiet",
        "--passphrase-file",
    ] {
        assert!(help.text().contains(word), "no {word} in the help");
    }
    let version = user.run(&["--version"]).expect(0);
    assert!(version.text().starts_with("perennis "));
}

#[test]
fn an_error_for_people_names_cause_and_next_step_on_stderr() {
    let user = Home::new();
    let ran = user.run(&["car", "verify", "no-such-file.car"]).expect(4);
    assert!(ran.stdout.is_empty());
    assert!(ran.stderr.contains("no-such-file.car"));
    assert!(ran.stderr.contains("next:"));
    assert!(!ran.stderr.contains('\x1b'), "colours without a terminal");
}

#[test]
fn completions_name_the_commands() {
    let script = Home::new().run(&["completions", "bash"]).expect(0).text();
    for word in ["record", "derive", "--passphrase-file"] {
        assert!(script.contains(word), "no {word} in the script");
    }
}
