//! Labels in CSV: what was valid is exported and read again without loss.
#![no_main]

use libfuzzer_sys::fuzz_target;
use perennis_shared::{
    taglist::{export, import},
    time::Millis,
};

fuzz_target!(|data: &[u8]| {
    let at = Millis(1_795_253_220_000);
    let Ok(found) = import::csv(data, at) else {
        return;
    };
    assert!(found.problems().len() as u64 <= found.problem_count());
    let labels = found.into_valid();
    let text = export::csv(&labels);
    let again = import::csv(text.as_bytes(), at).expect("an export is an import");
    assert_eq!(again.into_labels().as_ref(), Ok(&labels));
});
