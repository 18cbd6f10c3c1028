//! Media types: which of several forms of an answer a client accepts (RFC 9110, section 12.5.1), and what a body is.
//!
//! One reading of `Accept` for all endpoints: each says which media ranges it can serve, and with what. Must never touch:
//! what an answer says.

use hyper::HeaderMap;
use hyper::header;

/// One media range of `Accept`, such as `application/*;q=0.5`.
#[derive(Clone, Copy, Debug)]
pub(super) struct MediaRange<'a> {
    essence: &'a str,
    /// All behind the first `;`.
    parameters: &'a str,
}

/// What a client accepts most of what is offered, where `serves` says whether a media range stands for an offer. How much it
/// accepts an offer is said by the range that names it most closely: a type with the most parameters, then `application/*`, then
/// `*/*`. Of offers that it accepts as much the one that it names first, and then the one that is offered first. Ranges whose
/// quality is no number from 0 to 1 count as not sent. None where it accepts none; the first offer where it does not say what
/// it accepts.
pub(super) fn accepted<T: Copy>(
    headers: &HeaderMap,
    offers: &[T],
    serves: impl Fn(&MediaRange<'_>, T) -> bool,
) -> Option<T> {
    if !headers.contains_key(header::ACCEPT) {
        return offers.first().copied();
    }
    let mut best: Option<(f32, usize, T)> = None;
    for offer in offers {
        let mut closest: Option<(usize, f32, usize)> = None;
        for (place, range) in ranges(headers).enumerate() {
            let (quality, closeness) = (range.quality(), range.closeness());
            let is_closer = closest.is_none_or(|(before, ..)| closeness > before);
            if (0.0..=1.0).contains(&quality) && is_closer && serves(&range, *offer) {
                closest = Some((closeness, quality, place));
            }
        }
        let Some((_, quality, place)) = closest.filter(|(_, quality, _)| *quality > 0.0) else {
            continue;
        };
        let is_more = best
            .is_none_or(|(most, first, _)| quality > most || (quality == most && place < first));
        if is_more {
            best = Some((quality, place, *offer));
        }
    }
    best.map(|(_, _, offer)| offer)
}

/// Whether a client names one of these media types in `Accept` and does not refuse it.
pub(super) fn is_named(headers: &HeaderMap, media_types: &[&str]) -> bool {
    ranges(headers).any(|range| range.is_one_of(media_types) && range.quality() > 0.0)
}

/// How much a client asks for one media type by its name: its highest quality, 0 where it does not.
pub(super) fn named_quality(headers: &HeaderMap, media_type: &str) -> f32 {
    ranges(headers)
        .filter(|range| range.is_one_of(&[media_type]))
        .map(|range| range.quality())
        .fold(0.0, f32::max)
}

/// Every media range that the headers `Accept` name, in their order.
fn ranges(headers: &HeaderMap) -> impl Iterator<Item = MediaRange<'_>> {
    let values = headers.get_all(header::ACCEPT).iter();
    values
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| split(value, ','))
        .map(MediaRange::parse)
}

/// The media type of a body; none where it is not said.
pub(super) fn content_type(headers: &HeaderMap) -> Option<MediaRange<'_>> {
    let value = headers.get(header::CONTENT_TYPE)?.to_str().ok()?;
    Some(MediaRange::parse(value))
}

impl<'a> MediaRange<'a> {
    fn parse(text: &'a str) -> MediaRange<'a> {
        let (essence, parameters) = text.split_once(';').unwrap_or((text, ""));
        MediaRange {
            essence: essence.trim(),
            parameters,
        }
    }

    /// Whether this is one of these media types.
    pub(super) fn is_one_of(&self, media_types: &[&str]) -> bool {
        media_types
            .iter()
            .any(|media_type| self.essence.eq_ignore_ascii_case(media_type))
    }

    /// Whether its type begins with this.
    pub(super) fn is_of(&self, prefix: &str) -> bool {
        let begin = self.essence.get(..prefix.len());
        begin.is_some_and(|begin| begin.eq_ignore_ascii_case(prefix))
    }

    /// Whether this stands for everything, or for every `application/…`.
    pub(super) fn is_wildcard(&self) -> bool {
        self.is_one_of(&["*/*", "application/*"])
    }

    /// The value of a parameter, without quotes.
    pub(super) fn parameter(&self, name: &str) -> Option<&'a str> {
        split(self.parameters, ';')
            .filter_map(|parameter| parameter.split_once('='))
            .find(|(key, _)| key.trim().eq_ignore_ascii_case(name))
            .map(|(_, value)| value.trim().trim_matches('"'))
    }

    /// How closely it names what it stands for.
    fn closeness(&self) -> usize {
        match self.essence {
            "*/*" => 0,
            essence if essence.ends_with("/*") => 1,
            _ => {
                let parameters = split(self.parameters, ';').filter(|parameter| {
                    let name = parameter.split_once('=').map(|(name, _)| name.trim());
                    name.is_some_and(|name| !name.eq_ignore_ascii_case("q"))
                });
                2 + parameters.count()
            }
        }
    }

    /// How much it is wanted, 1 where that is not said; not a number where what is said is none.
    fn quality(&self) -> f32 {
        self.parameter("q")
            .map_or(1.0, |quality| quality.parse().unwrap_or(f32::NAN))
    }
}

/// The parts of a list between separators outside of quotes.
fn split(text: &str, separator: char) -> impl Iterator<Item = &str> {
    let mut is_quoted = false;
    text.split(move |character| {
        is_quoted ^= character == '"';
        character == separator && !is_quoted
    })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

    use hyper::header::HeaderValue;

    use super::*;

    const RAW: &str = "application/vnd.ipld.raw";
    const CAR: &str = "application/vnd.ipld.car";

    #[test]
    fn a_type_is_asked_for_as_much_as_its_highest_quality_says() {
        let quality = |accept: &str| {
            let mut headers = HeaderMap::new();
            headers.append(header::ACCEPT, HeaderValue::from_str(accept).unwrap());
            named_quality(&headers, RAW)
        };
        assert_eq!(named_quality(&HeaderMap::new(), RAW), 0.0);
        assert_eq!(quality("*/*, application/*"), 0.0);
        assert_eq!(quality("application/vnd.ipld.raw;q=x"), 0.0);
        assert_eq!(quality("text/plain, application/vnd.ipld.RAW;q=0.5"), 0.5);
        let twice = "application/vnd.ipld.raw;q=0.5, application/vnd.ipld.raw";
        assert_eq!(quality(twice), 1.0);
    }

    fn chosen(accept: &[&str]) -> Option<&'static str> {
        let mut headers = HeaderMap::new();
        for value in accept {
            headers.append(header::ACCEPT, HeaderValue::from_str(value).unwrap());
        }
        accepted(&headers, &["raw", "car"], |range, offer| match offer {
            _ if range.is_wildcard() => true,
            "car" => range.is_one_of(&[CAR]) && range.parameter("version") != Some("2"),
            _ => range.is_one_of(&[RAW]),
        })
    }

    #[test]
    fn the_most_wanted_of_what_is_served_is_chosen() {
        for (accept, expected) in [
            (&[][..], Some("raw")),
            (&[RAW], Some("raw")),
            (&["*/*"], Some("raw")),
            (&[" application/* "], Some("raw")),
            (&["Application/VND.ipld.car"], Some("car")),
            (&["text/html"], None),
            (&[""], None),
            (&["text/html, */*;q=0.8"], Some("raw")),
            (&["text/html", CAR], Some("car")),
            // Of equal ones the first.
            (&["application/vnd.ipld.car, */*"], Some("car")),
            (&["*/*, application/vnd.ipld.car"], Some("raw")),
            (&["*/*;q=0.5", CAR], Some("car")),
            (
                &["*/*; Q=0.5, application/vnd.ipld.car; q=0.4"],
                Some("raw"),
            ),
            (&["application/vnd.ipld.car;q=0"], None),
            (&["application/vnd.ipld.car;q=much"], None),
            (&["application/vnd.ipld.car;q=NaN, */*;q=0.1"], Some("raw")),
            (
                &["application/vnd.ipld.car;version=1;order=dfs"],
                Some("car"),
            ),
            (&["application/vnd.ipld.car;version=\"2\""], None),
            // What is named most closely says how much it is wanted, in whatever order.
            (&["application/vnd.ipld.raw;q=0, */*"], Some("car")),
            (&["*/*, application/vnd.ipld.raw;q=0.1"], Some("car")),
            (&["*/*;q=0, application/*"], Some("raw")),
            (&["application/vnd.ipld.car;q=7, */*;q=0.1"], Some("raw")),
            (
                &["application/vnd.ipld.car;q=0, application/vnd.ipld.car;version=1"],
                Some("car"),
            ),
            (&["text/x;a=\",;\", application/vnd.ipld.car"], Some("car")),
        ] {
            assert_eq!(chosen(accept), expected, "{accept:?}");
        }
    }

    #[test]
    fn a_type_is_named_where_it_is_not_refused() {
        for (accept, is_car) in [
            ("application/vnd.ipld.CAR;version=2", true),
            ("*/*", false),
            ("application/vnd.ipld.car;q=0", false),
            ("application/vnd.ipld.car;q=x", false),
        ] {
            let mut headers = HeaderMap::new();
            headers.insert(header::ACCEPT, HeaderValue::from_static(accept));
            assert_eq!(is_named(&headers, &[CAR]), is_car, "{accept}");
        }
        assert!(!is_named(&HeaderMap::new(), &[CAR]));
    }

    #[test]
    fn parameters_are_read_with_their_quotes() {
        let range =
            MediaRange::parse("application/ld+json;profile=\"https://example.org/;x\" ;Q=1");
        assert_eq!(range.parameter("profile"), Some("https://example.org/;x"));
        assert_eq!(range.parameter("q"), Some("1"));
        assert_eq!(range.parameter("version"), None);
    }

    #[test]
    fn a_body_has_one_media_type() {
        let mut headers = HeaderMap::new();
        assert!(content_type(&headers).is_none());
        for (value, is_car) in [
            (CAR, true),
            ("application/vnd.ipld.car; version=1", true),
            (" Application/VND.IPLD.Car ;VERSION=\"1\"", true),
            (RAW, false),
            ("application/vnd.ipld.carx", false),
            ("application/*", false),
            ("", false),
        ] {
            headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(value));
            let sent = content_type(&headers).unwrap();
            assert_eq!(sent.is_one_of(&[CAR]), is_car, "{value}");
        }
    }
}
