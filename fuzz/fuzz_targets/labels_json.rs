//! Labels in JSON: what was valid is exported as taglist/v1 and read again, each label with its handle.
#![no_main]

use libfuzzer_sys::fuzz_target;
use perennis_shared::{
    taglist::{
        Key, Label, LabelEdit, export,
        import::{self, ImportOptions},
    },
    time::Millis,
};

fuzz_target!(|data: &[u8]| {
    let options = ImportOptions {
        now: Millis(1_795_253_220_000),
        ..ImportOptions::default()
    };
    let Ok(found) = import::json(data, &options) else {
        return;
    };
    let mut labels: Vec<Label> = found
        .into_valid()
        .iter()
        .map(|edit| edit.apply(None, options.now))
        .collect();
    // What the format has no word for.
    labels.retain(|label| !label.negated && label.subject.handle.number().is_none());
    for label in &mut labels {
        label.updated = label.updated.max(Millis::FIRST_COUNT);
    }
    let written = export::compat(&labels);
    assert_eq!((written.negated, written.numbered), (0, 0));
    let again = import::json(written.text.as_bytes(), &options).expect("an export is an import");
    let again = again.into_edits().expect("an export has no problems");
    let keys: Vec<Key> = again.iter().map(LabelEdit::key).collect();
    assert_eq!(keys, labels.iter().map(Label::key).collect::<Vec<_>>());
});
