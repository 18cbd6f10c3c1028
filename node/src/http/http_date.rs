//! Dates in headers (RFC 9110, section 5.6.7).

use std::time::{Duration, SystemTime};

use hyper::header::HeaderValue;
use perennis_shared::time::Millis;

use super::answer::text_header;

/// An instant as headers have it, in whole seconds; one after the last that can be written is that.
pub(super) fn http_date(at: Millis) -> HeaderValue {
    let since = Duration::from_millis(at.min(Millis::LAST).0);
    text_header(httpdate::fmt_http_date(SystemTime::UNIX_EPOCH + since))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn instants_are_written_as_headers_have_them() {
        for (at, text) in [
            (0, "Thu, 01 Jan 1970 00:00:00 GMT"),
            (784_111_777_999, "Sun, 06 Nov 1994 08:49:37 GMT"),
            (u64::MAX, "Fri, 31 Dec 9999 23:59:59 GMT"),
        ] {
            assert_eq!(http_date(Millis(at)), text);
        }
    }
}
