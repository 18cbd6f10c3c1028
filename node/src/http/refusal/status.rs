//! The status of a refusal: what its caller may do decides the class, and a code for which HTTP has a status of its own that one.

use hyper::StatusCode;
use perennis_shared::error::ErrorKind;

/// The codes with a status of their own, by status. All others have that of their kind.
const BY_CODE: &[(StatusCode, &[&str])] = &[
    (StatusCode::UNAUTHORIZED, &["unauthorized"]),
    (
        StatusCode::FORBIDDEN,
        &["denied", "foreign_origin", "not_allowed", "scope"],
    ),
    (StatusCode::NOT_FOUND, &["not_found", "record_lost"]),
    (StatusCode::METHOD_NOT_ALLOWED, &["method_not_allowed"]),
    (StatusCode::NOT_ACCEPTABLE, &["not_acceptable"]),
    (StatusCode::REQUEST_TIMEOUT, &["too_slow"]),
    (
        StatusCode::CONFLICT,
        &[
            "equivocation",
            "followed_for_another",
            "snapshot_exists",
            "stale_record",
        ],
    ),
    (StatusCode::PAYLOAD_TOO_LARGE, &["too_large"]),
    (
        StatusCode::UNSUPPORTED_MEDIA_TYPE,
        &["unsupported_media_type"],
    ),
    (StatusCode::RANGE_NOT_SATISFIABLE, &["range_outside"]),
    (
        StatusCode::UNPROCESSABLE_ENTITY,
        &[
            "head_mismatch",
            "invalid_block",
            "invalid_head",
            "invalid_ladder",
            "missing_blocks",
            "name_chain_too_long",
            "name_cycle",
            "no_head",
            "unreadable_links",
            "wrong_peer",
        ],
    ),
    (StatusCode::TOO_MANY_REQUESTS, &["quota", "too_many_writes"]),
    (StatusCode::INTERNAL_SERVER_ERROR, &[super::INTERNAL]),
    (
        StatusCode::NOT_IMPLEMENTED,
        &["dnslink_not_followed", "path_inside_document"],
    ),
    (
        StatusCode::BAD_GATEWAY,
        &["routers_failed", "unresolved_name"],
    ),
    (
        StatusCode::SERVICE_UNAVAILABLE,
        &[
            "clock",
            "data_folder_gone",
            "index_unreadable",
            "no_place",
            "opening",
            "resolve_too_slow",
            "stopped",
            "stopping",
        ],
    ),
    (StatusCode::INSUFFICIENT_STORAGE, &["disk_full"]),
];

/// The status for a code and a kind. `is_relayed` says that another server failed, which the node asked for the client.
pub(super) fn of(code: &str, kind: ErrorKind, is_relayed: bool) -> StatusCode {
    let of_code = BY_CODE.iter().find(|(_, codes)| codes.contains(&code));
    if let Some((status, _)) = of_code {
        return *status;
    }
    match kind {
        ErrorKind::Reject => StatusCode::BAD_REQUEST,
        ErrorKind::Retry if is_relayed => StatusCode::BAD_GATEWAY,
        ErrorKind::Retry => StatusCode::SERVICE_UNAVAILABLE,
        ErrorKind::Corrupt | ErrorKind::Fatal => StatusCode::INTERNAL_SERVER_ERROR,
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn every_code_has_one_status() {
        let mut seen = BTreeSet::new();
        for code in BY_CODE.iter().flat_map(|(_, codes)| *codes) {
            assert!(seen.insert(code), "{code}");
        }
        assert!(BY_CODE.is_sorted_by_key(|(status, _)| status.as_u16()));
    }

    #[test]
    fn the_kind_decides_where_the_code_does_not() {
        for (kind, own, relayed) in [
            (ErrorKind::Reject, 400, 400),
            (ErrorKind::Retry, 503, 502),
            (ErrorKind::Corrupt, 500, 500),
            (ErrorKind::Fatal, 500, 500),
        ] {
            assert_eq!(of("some_code", kind, false).as_u16(), own);
            assert_eq!(of("some_code", kind, true).as_u16(), relayed);
            assert_eq!(of("not_found", kind, true).as_u16(), 404);
        }
    }
}
