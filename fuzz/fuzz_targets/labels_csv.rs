//! Labels in tables: what was valid is exported and read again without loss.
#![no_main]

use libfuzzer_sys::fuzz_target;
use perennis_shared::{
    taglist::{
        Label, Tag, export,
        import::{self, ImportOptions},
    },
    time::Millis,
};

fuzz_target!(|data: &[u8]| {
    let now = Millis(1_795_253_220_000);
    let options = ImportOptions {
        now,
        label: Tag::parse("spam").ok(),
        ..ImportOptions::default()
    };
    let Ok(found) = import::csv(data, &options) else {
        return;
    };
    assert!(found.problems().len() as u64 <= found.problem_count());
    let labels = |edits: Vec<perennis_shared::taglist::LabelEdit>| -> Vec<Label> {
        edits.iter().map(|edit| edit.apply(None, now)).collect()
    };
    let first = labels(found.into_valid());
    let text = export::csv(&first);
    let again = import::csv(text.as_bytes(), &options).expect("an export is an import");
    let again = again.into_edits().expect("an export has no problems");
    assert_eq!(labels(again), first);
});
