//! Labels in taglist/v1 JSON: what was valid is exported and read again, each label with its handle.
#![no_main]

use libfuzzer_sys::fuzz_target;
use perennis_shared::taglist::{Label, export, import};

fuzz_target!(|data: &[u8]| {
    let Ok(found) = import::compat(data) else {
        return;
    };
    let keys = |labels: &[Label]| labels.iter().map(Label::key).collect::<Vec<_>>();
    let labels = found.into_valid();
    let written = export::compat(&labels);
    assert_eq!(written.left_out, 0);
    let again = import::compat(written.text.as_bytes()).expect("an export is an import");
    let again = again.into_labels().expect("an export has no problems");
    assert_eq!(keys(&again), keys(&labels));
});
