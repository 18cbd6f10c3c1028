//! What a figure was measured with that a user does not have who sets nothing, or that is less than what runs in a user's process.

/// Figures of these names, or below one that ends with a slash, and what is said beside each.
pub(in super::super) const NOTES: &[(&[&str], &str)] = &[
    (
        &[
            "publish/",
            "http/",
            "node/",
            "republish/rss/",
            "kill-node/",
            "kill-follow/",
            "kill-fetch/",
        ],
        "`admission.name-rate` is 1,000,000 and not what it is by default, so that a few names publish as fast as many would",
    ),
    (
        &[
            "republish",
            "republish/cpu",
            "republish/p99",
            "republish/slowest",
            "republish/peers",
            "republish/failed",
            "republish/bad",
            "republish/bad/",
            "republish/others",
            "republish/others/",
        ],
        "measured with the part of a node that puts records (`perennis-net`) in a process of its own, with records in memory: a whole \
         node has its store and its queue beside it",
    ),
    (
        &["net/", "node/", "readers/", "http/", "publish/"],
        "on loopback: `p2p.bootstrap` is `none`, and peers come over TCP alone",
    ),
    (
        &[
            "store/", "kill/", "start/", "unclean/", "rebuild/", "flips/", "region/",
        ],
        "by the library, without a node around it",
    ),
    (
        &["store/put/", "store/get/"],
        "the peer's tables and values share one cache of 64 MiB, and its CRC-32C is the processor's; both are set, as the library's \
         defaults are 32 MiB and a CRC-32C in software where its build is portable",
    ),
    (&["list/", "log/"], "in memory, without a disk"),
];
