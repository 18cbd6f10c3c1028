#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::time::Duration;

use super::*;

fn in_file(text: &str) -> (tempfile::TempDir, Sources) {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("node.toml");
    std::fs::write(&file, text).unwrap();
    let sources = Sources {
        file: Some(file),
        ..Sources::default()
    };
    (dir, sources)
}

fn problems(text: &str) -> Vec<String> {
    let (_dir, sources) = in_file(text);
    let error = load(&sources).unwrap_err();
    error
        .problems
        .iter()
        .map(|problem| {
            let line = match &problem.origin {
                Origin::File { line, .. } => *line,
                _ => 0,
            };
            format!(
                "{line}: {} {}; {}",
                problem.key, problem.message, problem.fix
            )
        })
        .collect()
}

#[test]
fn nothing_given_is_the_default() {
    let loaded = load(&Sources::default()).unwrap();
    assert_eq!(loaded.config, Config::default());
    assert!(loaded.shown.iter().all(|row| row.origin == Origin::Default));
}

#[test]
fn what_is_shown_can_be_written_again() {
    let shown = load(&Sources::default()).unwrap().shown;
    let flags = shown
        .iter()
        .filter(|row| !row.value.is_empty())
        .map(|row| (row.key.to_owned(), row.value.clone()))
        .collect();
    let again = load(&Sources {
        flags,
        ..Sources::default()
    });
    assert_eq!(again.unwrap().config, Config::default());
}

#[test]
fn later_sources_win_and_the_origin_is_told() {
    let (dir, mut sources) = in_file(
        "data = \"d\"\n[ipns]\nrepublish-period = \"2h\"\nrouters = [\"https://a.example\", \"http://b.example/\"]\n\n[cache]\nrecords = 1_000\n",
    );
    sources.environment = vec![
        ("PERENNIS_IPNS_REPUBLISH_PERIOD".into(), "3h".into()),
        ("PERENNIS_HOME".into(), "/nowhere".into()),
        ("PERENNIS_CACHE_RECORDS".into(), "2000".into()),
    ];
    sources.flags = vec![("cache.records".into(), "3000".into())];
    let loaded = load(&sources).unwrap();
    assert_eq!(loaded.config.data, dir.path().join("d"));
    assert_eq!(
        loaded.config.ipns.republish_period,
        Duration::from_secs(3 * 3_600)
    );
    assert_eq!(
        loaded.config.ipns.routers,
        ["https://a.example", "http://b.example"]
    );
    assert_eq!(loaded.config.cache.records, 3_000);
    let origin = |key: &str| {
        let row = loaded.shown.iter().find(|row| row.key == key).unwrap();
        row.origin.to_string()
    };
    assert!(origin("ipns.routers").ends_with("node.toml:4"));
    assert_eq!(
        origin("ipns.republish-period"),
        "variable PERENNIS_IPNS_REPUBLISH_PERIOD"
    );
    assert_eq!(origin("cache.records"), "flag for cache.records");
}

#[test]
fn every_problem_is_told_with_its_line_and_a_fix() {
    let found = problems(
        "[http]\nlisten = \"everywhere\"\nmax-conections = 3\n\n[ipns]\nrepublish-period = \"4 fortnights\"\nrouters = [\"ftp://x\"]\n[admission]\nname-size = \"1B\"\nname-rate = 1.5\n[pins]\nallow-private-sources = \"perhaps\"\n",
    );
    let expected = [
        "3: http.max-conections is no setting; did you mean http.max-connections?",
        "2: http.listen = \"everywhere\" is no address with a port; write it as 127.0.0.1:4780 or [::1]:4780",
        "6: ipns.republish-period = \"4 fortnights\" is no span of time; write a span of time such as 30s, 15m, 4h or 7d, from 1s to 1d",
        "7: ipns.routers = [\"ftp://x\"] holds something that is no base URL; write \"ftp://x\" as https://host[:port], without user, query or fragment",
        "9: admission.name-size = \"1B\" is out of range; write a size such as 64MiB, from 4KiB to 1TiB",
        "10: admission.name-rate = \"1.5\" is no whole number; write a whole number from 1 to 1000000",
        "12: pins.allow-private-sources = \"perhaps\" is neither true nor false; write true or false",
    ];
    assert_eq!(found, expected);
}

#[test]
fn a_corrupt_line_is_told() {
    let found = problems("data = \"d\"\n[http\nlisten = 3\n");
    assert_eq!(found.len(), 1);
    assert!(found[0].starts_with("2:  is no TOML: "), "{}", found[0]);
    let found = problems("data = \"d\"\ndata = \"e\"\n");
    assert!(found[0].starts_with("2:  is no TOML: "), "{}", found[0]);
}

#[test]
fn a_missing_file_is_told() {
    let error = load(&Sources {
        file: Some("/nonexistent/node.toml".into()),
        ..Sources::default()
    });
    let text = error.unwrap_err().to_string();
    assert!(
        text.contains("/nonexistent/node.toml:1: cannot be read"),
        "{text}"
    );
}

#[test]
fn a_file_that_is_named_can_be_read() {
    let (_dir, sources) = in_file("http.token-file = \"token\"\n");
    load(&sources).unwrap();
    let missing = check(&sources).unwrap_err().to_string();
    assert!(missing.contains("which cannot be read"), "{missing}");
}

#[test]
fn other_machines_reach_what_is_public_and_never_the_admin_listener() {
    let (_dir, sources) = in_file("http.listen = \"0.0.0.0:80\"\n");
    assert!(!load(&sources).unwrap().config.http.is_local());
    let found = problems("http.admin-listen = \"0.0.0.0:4783\"\n");
    assert_eq!(found.len(), 1);
    assert!(
        found[0].contains("can be reached from other machines"),
        "{}",
        found[0]
    );
}

#[test]
fn a_period_may_be_off() {
    let (_dir, sources) = in_file("probe.period = \"off\"\n");
    assert_eq!(load(&sources).unwrap().config.probe.period, None);
    let found = problems("probe.period = \"never\"\n");
    assert!(found[0].ends_with("from 1s to 7d, or off"), "{}", found[0]);
}

#[test]
fn what_one_fetch_brings_has_its_bounds() {
    let (_dir, sources) = in_file("fetch.max-size = \"2MiB\"\n");
    assert_eq!(load(&sources).unwrap().config.fetch.max_bytes, 2 << 20);
    assert_eq!(Config::default().fetch.max_bytes, 64 << 30);
    assert_eq!(
        problems("[fetch]\nmax-size = \"2TiB\"\n"),
        [
            "2: fetch.max-size = \"2TiB\" is out of range; write a size such as 64MiB, from 1MiB to 1TiB"
        ]
    );
}

#[test]
fn words_are_refused_with_all_that_may_be_written() {
    let found = problems(
        "[p2p]\ndht = \"perhaps\"\npubsub = \"true\"\n[provide]\nstrategy = \"some\"\n[log]\nformat = \"xml\"\n",
    );
    let expected = [
        "2: p2p.dht = \"perhaps\" is no part in the DHT; write server, client or off",
        "3: p2p.pubsub = \"true\" is neither on nor off; write on or off",
        "5: provide.strategy = \"some\" is no strategy; write roots, all or off",
        "7: log.format = \"xml\" is no format; write human or json",
    ];
    assert_eq!(found, expected);
}

#[test]
fn a_variable_that_is_nearly_one_of_a_setting_is_refused_and_those_of_other_programs_are_not() {
    let told = |name: &str| {
        let sources = Sources {
            environment: vec![(name.to_owned(), "1".to_owned())],
            ..Sources::default()
        };
        load(&sources)
            .err()
            .map(|error| error.problems[0].to_string())
    };
    for (name, fix) in [
        ("PERENNIS_HTTP_LISTN", "did you mean PERENNIS_HTTP_LISTEN?"),
        ("PERENNIS_DATTA", "did you mean PERENNIS_DATA?"),
        ("PERENNIS_HOMME", "did you mean PERENNIS_HOME?"),
        (
            "PERENNIS_P2P_NONSENSE",
            "unset it; `perennis config check` lists all settings",
        ),
        ("PERENNIS_Http_Listen", "did you mean PERENNIS_HTTP_LISTEN?"),
    ] {
        let expected = format!("variable {name}: it belongs to no setting; {fix}");
        assert_eq!(told(name), Some(expected));
    }
    for name in [
        "PERENNIS_HOME",
        "PERENNIS_BIN",
        "PERENNIS_CRASH_POINTS",
        "PERENNIS_VECTORS",
        "PERENNIS_CASES",
        "PERENNIS_REQUIRE",
        "PERENNIS_SKIPPED",
    ] {
        assert_eq!(told(name), None, "{name}");
    }
}

#[test]
fn keys_and_variables_are_unique() {
    let mut keys: Vec<String> = settings().iter().map(|row| variable_of(row.key)).collect();
    keys.sort();
    keys.dedup();
    assert_eq!(keys.len(), settings().len());
    assert!(!keys.contains(&"PERENNIS_HOME".to_owned()));
}
