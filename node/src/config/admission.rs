//! The settings `admission`.

use std::time::Duration;

use perennis_shared::ipns::Name;

use super::setting::table;
use super::syntax::{DAY, GIB, KIB, MIB, MINUTE, Names, Number, Size, SpanOr, TIB};

table! {
    /// Who may store how much.
    pub struct AdmissionConfig at config.admission {
        allow: Vec<Name> = Vec::new(),
            "admission.allow" as Names,
            "DIDs or IPNS names that may publish; none lets everybody";
        max_names: u64 = 1_000_000,
            "admission.max-names" as Number(1, u64::MAX >> 1),
            "most names kept, from 1";
        grace: Option<Duration> = Some(30 * DAY),
            "admission.grace" as SpanOr(MINUTE, 3_650 * DAY, "never"),
            "how long a name is kept whose record has ended and that no rung renews, 1m to 3650d, or never, which keeps it until it is removed; followed names and those in `admission.allow` are kept";
        unclaimed_names: u64 = 100_000,
            "admission.unclaimed-names" as Number(1, u64::MAX >> 1),
            "most names kept that nobody has claimed, from 1: not in `admission.allow`, not followed, and published without a token; beyond it those written longest ago go";
        unclaimed_bytes: u64 = 16 * GIB,
            "admission.unclaimed-size" as Size(4 * KIB, 1_024 * TIB),
            "most bytes of blocks kept for names that nobody has claimed, 4KiB to 1024TiB; beyond it those written longest ago go";
        group_names: u64 = 256,
            "admission.group-names" as Number(1, u64::MAX >> 1),
            "most names that nobody has claimed from one IPv4 address, or from addresses that share 48 bits of IPv6, from 1";
        group_bytes: u64 = 512 * MIB,
            "admission.group-size" as Size(4 * KIB, 1_024 * TIB),
            "most bytes of blocks for names that nobody has claimed from one IPv4 address, or from addresses that share 48 bits of IPv6, 4KiB to 1024TiB";
        name_bytes: u64 = 256 * MIB,
            "admission.name-size" as Size(4 * KIB, TIB),
            "most bytes of blocks kept for one name, 4KiB to 1TiB";
        name_blocks: u64 = 262_144,
            "admission.name-blocks" as Number(4, u64::MAX >> 1),
            "most blocks kept for one name, from 4";
        message_bytes: u64 = 32 * MIB,
            "admission.message-size" as Size(16 * KIB, 48 * MIB),
            "largest publish message, 16KiB to 48MiB";
        memory_bytes: u64 = 256 * MIB,
            "admission.memory" as Size(16 * KIB, 64 * GIB),
            "memory for messages that are being received, 16KiB to 64GiB";
        name_rate: u32 = 60,
            "admission.name-rate" as Number(1, 1_000_000),
            "writes per minute for one name, 1 to 1,000,000";
        address_rate: u32 = 600,
            "admission.address-rate" as Number(1, 1_000_000),
            "writes per minute at the public listener from one address, 1 to 1,000,000; those with a token of the scope publish are not counted";
        origin_rate: u32 = 6_000,
            "admission.origin-rate" as Number(1, 1_000_000),
            "writes per minute at the public listener from pages of one origin, whatever their addresses, 1 to 1,000,000";
    }
}
