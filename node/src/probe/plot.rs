//! The probe's measurements as a picture: one panel a route, time from left to right, latency upwards in powers of ten.
//!
//! It is readable in light and dark, by itself and in a page, and loads nothing.

use std::fmt::Write as _;
use std::time::Duration;

use perennis_shared::time::Millis;

use super::history::{Sample, percentile};
use crate::metrics::ProbeOutcome;

/// What is drawn of one route.
pub(super) struct RouteRow {
    pub(super) label: String,
    pub(super) idle: Option<&'static str>,
    pub(super) publish: Vec<Sample>,
    pub(super) resolve: Vec<Sample>,
}

/// Sizes in pixels: the picture, the panel of a route in it, and the field of points in that.
const WIDTH: u32 = 760;
const HEAD: u32 = 34;
const PANEL: u32 = 156;
const FOOT: u32 = 24;
const LEFT: u32 = 56;
const TOP: u32 = 26;
const FIELD_WIDTH: f64 = 688.0;
const FIELD_HEIGHT: f64 = 110.0;

/// Latency at the lines across a panel, from the lowest to the highest: a power of ten each.
const LINES: [&str; 6] = ["1 ms", "10 ms", "100 ms", "1 s", "10 s", "100 s"];

const STYLE: &str = "\
svg{color-scheme:light dark;font:12px system-ui,sans-serif}\
.back{fill:#fff}text{fill:#222}.dim{fill:#666}.line{stroke:#ddd}\
.publish{fill:#b3540a;stroke:#b3540a}.resolve{fill:#0b62a8;stroke:#0b62a8}\
.stale{fill:none}.failed{stroke-width:1.6}\
@media(prefers-color-scheme:dark){.back{fill:#16181b}text{fill:#e6e6e6}.dim{fill:#a0a4a8}.line{stroke:#3a3f44}\
.publish{fill:#f0a35e;stroke:#f0a35e}.resolve{fill:#6cb8f6;stroke:#6cb8f6}.stale{fill:none}}";

/// Draws the routes below each other.
pub(super) fn draw(rows: &[RouteRow]) -> String {
    let count = u32::try_from(rows.len()).unwrap_or(u32::MAX);
    let height = HEAD + count.max(1).saturating_mul(PANEL).saturating_add(FOOT);
    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {height}\" width=\"{WIDTH}\" height=\"{height}\" role=\"img\">\
         <title>Latency of publishing and resolving an IPNS name, by route</title><style>{STYLE}</style>\
         <rect class=\"back\" width=\"100%\" height=\"100%\"/>"
    );
    legend(&mut svg);
    let times = Times::of(rows);
    for (number, row) in (0..).zip(rows) {
        panel(&mut svg, HEAD + number * PANEL, row, times.as_ref());
    }
    match &times {
        Some(times) => axis(&mut svg, height - FOOT + 12, times),
        None => text(
            &mut svg,
            LEFT,
            HEAD + 2 * TOP,
            "dim",
            "nothing has been measured yet",
        ),
    }
    svg.push_str("</svg>\n");
    svg
}

/// The times of the first and the last sample.
struct Times {
    first: Millis,
    last: Millis,
}

impl Times {
    fn of(rows: &[RouteRow]) -> Option<Times> {
        let all = || {
            rows.iter()
                .flat_map(|row| row.publish.iter().chain(&row.resolve))
        };
        let times = || all().map(|sample| sample.at);
        Some(Times {
            first: times().min()?,
            last: times().max()?,
        })
    }

    fn x(&self, at: Millis) -> f64 {
        let whole = (self.last - self.first).as_secs_f64().max(1.0);
        f64::from(LEFT) + FIELD_WIDTH * (at - self.first).as_secs_f64() / whole
    }
}

fn legend(svg: &mut String) {
    let mut x = LEFT;
    for (class, word) in [
        ("publish", "publish"),
        ("resolve", "resolve"),
        ("resolve stale", "an old record"),
        ("resolve failed", "failed"),
    ] {
        let outcome = match word {
            "failed" => ProbeOutcome::Failed,
            _ => ProbeOutcome::Ok,
        };
        mark(svg, class, outcome, f64::from(x), 18.0);
        text(svg, x + 8, 22, "", word);
        x += 120;
    }
}

fn panel(svg: &mut String, top: u32, row: &RouteRow, times: Option<&Times>) {
    let medians: Vec<String> = [("publish", &row.publish), ("resolve", &row.resolve)]
        .into_iter()
        .filter_map(|(word, samples)| Some(format!("{word} {} ms", median(samples)?)))
        .collect();
    let told = match (row.idle, medians.is_empty()) {
        (Some(why), _) => why.to_owned(),
        (None, true) => String::new(),
        (None, false) => format!("median: {}", medians.join(", ")),
    };
    text(svg, LEFT, top + 14, "", &row.label);
    let right = LEFT + FIELD_WIDTH as u32;
    let said = escaped(&told);
    let _ = write!(
        svg,
        "<text class=\"dim\" x=\"{right}\" y=\"{}\" text-anchor=\"end\">{said}</text>",
        top + 14
    );
    let Some(times) = times else { return };
    let bottom = f64::from(top + TOP) + FIELD_HEIGHT;
    for (number, label) in (0..).zip(LINES) {
        let y = bottom - FIELD_HEIGHT * f64::from(number) / 5.0;
        let _ = write!(
            svg,
            "<line class=\"line\" x1=\"{LEFT}\" x2=\"{right}\" y1=\"{y:.1}\" y2=\"{y:.1}\"/>\
             <text class=\"dim\" x=\"{}\" y=\"{:.1}\" text-anchor=\"end\">{label}</text>",
            LEFT - 8,
            y + 4.0
        );
    }
    for (class, samples) in [("publish", &row.publish), ("resolve", &row.resolve)] {
        for sample in samples {
            let y = bottom - FIELD_HEIGHT * share(sample.took);
            let class = match sample.outcome {
                ProbeOutcome::Ok => class.to_owned(),
                ProbeOutcome::Stale => format!("{class} stale"),
                ProbeOutcome::Failed => format!("{class} failed"),
            };
            mark(svg, &class, sample.outcome, times.x(sample.at), y);
        }
    }
}

/// When the first and the last were measured.
fn axis(svg: &mut String, y: u32, times: &Times) {
    text(svg, LEFT, y, "dim", &times.first.to_string());
    let right = LEFT + FIELD_WIDTH as u32;
    let last = times.last;
    let _ = write!(
        svg,
        "<text class=\"dim\" x=\"{right}\" y=\"{y}\" text-anchor=\"end\">{last}</text>"
    );
}

fn mark(svg: &mut String, class: &str, outcome: ProbeOutcome, x: f64, y: f64) {
    let _ = match outcome {
        ProbeOutcome::Ok | ProbeOutcome::Stale => {
            write!(
                svg,
                "<circle class=\"{class}\" cx=\"{x:.1}\" cy=\"{y:.1}\" r=\"2.4\"/>"
            )
        }
        ProbeOutcome::Failed => write!(
            svg,
            "<path class=\"{class}\" d=\"M{:.1} {:.1}l6 6m0-6l-6 6\"/>",
            x - 3.0,
            y - 3.0
        ),
    };
}

fn text(svg: &mut String, x: u32, y: u32, class: &str, words: &str) {
    let words = escaped(words);
    let _ = write!(
        svg,
        "<text class=\"{class}\" x=\"{x}\" y=\"{y}\">{words}</text>"
    );
}

/// Where a latency lies between the lowest and the highest line, 0 to 1.
fn share(took: Duration) -> f64 {
    let millis = took.as_secs_f64() * 1_000.0;
    (millis.max(1.0).log10() / 5.0).min(1.0)
}

/// The median in whole milliseconds of what ended well.
fn median(samples: &[Sample]) -> Option<u128> {
    let well = samples
        .iter()
        .filter(|sample| sample.outcome == ProbeOutcome::Ok);
    let mut times: Vec<Duration> = well.map(|sample| sample.took).collect();
    times.sort_unstable();
    percentile(&times, 50).map(|took| took.as_millis())
}

fn escaped(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for letter in text.chars() {
        match letter {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&quot;"),
            // XML has no place for these.
            letter if letter.is_control() => escaped.push('\u{fffd}'),
            letter => escaped.push(letter),
        }
    }
    escaped
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample(at: u64, took_ms: u64, outcome: ProbeOutcome) -> Sample {
        Sample {
            at: Millis(at),
            took: Duration::from_millis(took_ms),
            outcome,
        }
    }

    #[test]
    fn each_sample_is_a_mark_inside_of_its_panel() {
        let row = RouteRow {
            label: "https://a.example/<&>".to_owned(),
            idle: None,
            publish: vec![
                sample(1_000, 0, ProbeOutcome::Ok),
                sample(2_000, 10, ProbeOutcome::Ok),
            ],
            resolve: vec![
                sample(1_500, 100, ProbeOutcome::Stale),
                sample(9_000, 3_600_000, ProbeOutcome::Failed),
            ],
        };
        let svg = draw(&[row]);
        // Three in the legend, three here; one cross each.
        assert_eq!(svg.matches("<circle").count(), 6);
        assert_eq!(svg.matches("<path").count(), 2);
        assert!(svg.contains("https://a.example/&lt;&amp;&gt;"));
        assert!(svg.contains("publish 0 ms"));
        // The fastest lies at the left end of the lowest line, the slowest at the right end of the highest.
        let bottom = f64::from(HEAD + TOP) + FIELD_HEIGHT;
        assert!(
            svg.contains(&format!("cx=\"{LEFT}.0\" cy=\"{bottom:.1}\"")),
            "{svg}"
        );
        let right = f64::from(LEFT) + FIELD_WIDTH - 3.0;
        assert!(
            svg.contains(&format!("d=\"M{right:.1} {}.0l6", HEAD + TOP - 3)),
            "{svg}"
        );
    }

    #[test]
    fn without_measurements_it_says_so() {
        let row = RouteRow {
            label: "dht".to_owned(),
            idle: Some("no peers of the DHT are known"),
            publish: Vec::new(),
            resolve: Vec::new(),
        };
        let svg = draw(&[row]);
        assert!(svg.contains("no peers of the DHT are known"));
        assert!(svg.contains("nothing has been measured yet"));
        assert!(draw(&[]).starts_with("<svg "));
    }
}
