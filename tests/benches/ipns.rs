//! IPNS records created and validated per second on one core; the peer does the same in tests/bench/ipns.
#![allow(clippy::unwrap_used, reason = "a bench fails by panicking")]

use std::time::Duration;

use perennis_rt as rt;
use perennis_shared::{
    ipns::{self, Name, RecordFields, UnverifiedRecord},
    sign::SigningKey,
    time::{Millis, Timestamp},
};
use perennis_tests::measure::{per_second, say};

const VALUE: &str = "/ipfs/bafyreigdyrzt5sfp7udm7hu76uh7y26nf3efuylqabf3oclgtqy55fbzdi";
const NOW: Millis = Millis(1_790_000_000_000);
const LIFETIME_MS: u64 = 90 * 24 * 3600 * 1000;
/// The peer's default.
const TTL: Duration = Duration::from_secs(5 * 60);

fn main() {
    // As the client holds it.
    let key = SigningKey::from_seed(&[7; 32]).with_engine(rt::sign_engine);
    let name = Name::from_public_key(&key.public());
    let create = |sequence| {
        let validity = Timestamp::from(Millis(NOW.0 + LIFETIME_MS));
        let fields = RecordFields {
            value: VALUE,
            sequence,
            validity,
            ttl: TTL,
        };
        ipns::create(&key, &fields).unwrap()
    };
    let record = create(1);
    say("ipns/create", per_second(create), "records/s");
    let validate = |_| {
        UnverifiedRecord::parse(record.bytes())
            .unwrap()
            .verify(&name, NOW)
            .unwrap()
    };
    say("ipns/validate", per_second(validate), "records/s");
    say("ipns/size", record.bytes().len() as f64, "bytes");
}
