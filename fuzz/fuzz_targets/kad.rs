//! Requests and answers of other peers: nothing that is read panics, limits hold, and an echo of a put is its answer.
#![no_main]

use libfuzzer_sys::fuzz_target;
use perennis_shared::limits::{KAD_ADDRESSES, KAD_ANSWER_BYTES, KAD_PEERS, KAD_PROVIDERS};
use perennis_shared::wire::kad::{Answer, Question, Request, answer, is_put_answer, put_value};

/// Bytes of the key of an Ed25519 name.
const KEY: usize = 44;

fuzz_target!(|data: &[u8]| {
    let (key, message) = data.split_at(data.len().min(KEY));
    let is_answer = is_put_answer(message, key);
    if let Ok(is_answer) = is_answer {
        // What follows is read too, and an unknown field changes nothing.
        let longer = [message, &[0x78, 0]].concat();
        assert_eq!(is_put_answer(&longer, key), Ok(is_answer));
    }
    assert_eq!(is_put_answer(&put_value(key, message), key), Ok(true));
    match Request::parse(message) {
        // What is put is put again.
        Ok(Request::Put { key, value }) => {
            let again = put_value(key, value);
            assert_eq!(Request::parse(&again), Ok(Request::Put { key, value }));
        }
        Ok(Request::AddProvider { providers, .. }) => assert!(providers.len() <= KAD_PEERS),
        Ok(Request::Ask { question, key }) => {
            let told = answer(question, key, None, [message], [message]);
            assert!(told.len() <= KAD_ANSWER_BYTES.max(key.len() + 64));
        }
        Ok(Request::Ping) | Err(_) => {}
    }
    for question in [Question::Record, Question::Providers, Question::Closest] {
        if let Ok(answer) = Answer::parse(message, question, key) {
            assert!(answer.closer.len() <= KAD_PEERS && answer.providers.len() <= KAD_PROVIDERS);
            let mut contacts = answer.closer.iter().chain(&answer.providers);
            assert!(contacts.all(|contact| contact.addresses.len() <= KAD_ADDRESSES));
        }
    }
});
