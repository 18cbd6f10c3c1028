//! The report: figures as lines in docs/bench/figures.jsonl, a table in docs/BENCHMARKS.md between two marks, and a
//! plot of ours against peers in docs/bench/peers.svg. Everything outside the marks is written by people.

use std::{fmt::Write as _, fs, path::PathBuf};

use anyhow::{Context, Result};

use super::{
    figure::Figure,
    goals::{self, short},
};
use crate::{binary, process};

const BEGIN: &str = "<!-- figures: written by `cargo xtask bench` -->";
const END: &str = "<!-- end of figures -->";

/// Figures of earlier runs.
///
/// # Errors
/// The file is there and cannot be read.
pub(super) fn last() -> Result<Vec<Figure>> {
    let path = folder().join("figures.jsonl");
    if !path.is_file() {
        return Ok(Vec::new());
    }
    let text =
        fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))?;
    Ok(text.lines().filter_map(Figure::parse).collect())
}

/// Writes all three.
///
/// # Errors
/// A file cannot be written, or BENCHMARKS.md lacks the marks.
pub(super) fn write(figures: &[Figure]) -> Result<()> {
    let mut figures = figures.to_vec();
    figures.sort_by_key(|figure| {
        goals::NAMED
            .iter()
            .position(|named| named.figure == figure.name)
            .unwrap_or(usize::MAX)
    });
    fs::create_dir_all(folder())?;
    let lines: String = figures
        .iter()
        .map(|figure| figure.to_line() + "\n")
        .collect();
    fs::write(folder().join("figures.jsonl"), lines)?;
    fs::write(folder().join("peers.svg"), plot(&figures))?;
    let path = binary::workspace().join("docs/BENCHMARKS.md");
    let text = fs::read_to_string(&path).context("cannot read docs/BENCHMARKS.md")?;
    let (before, rest) = text
        .split_once(BEGIN)
        .context("docs/BENCHMARKS.md lacks its first mark")?;
    let (_, after) = rest
        .split_once(END)
        .context("docs/BENCHMARKS.md lacks its second mark")?;
    let text = format!(
        "{before}{BEGIN}\n\n{}\n\n{}\n{END}{after}",
        machine(),
        table(&figures)
    );
    fs::write(&path, text).context("cannot write docs/BENCHMARKS.md")
}

fn folder() -> PathBuf {
    binary::workspace().join("docs/bench")
}

/// What the figures were measured on.
fn machine() -> String {
    let cores = std::thread::available_parallelism().map_or(0, usize::from);
    let cpu = fs::read_to_string("/proc/cpuinfo").ok().and_then(|text| {
        text.lines()
            .find(|line| line.starts_with("model name"))
            .and_then(|line| line.split_once(':'))
            .map(|(_, name)| name.trim().to_owned())
    });
    let kernel = process::output(process::command("uname").arg("-s")).unwrap_or_default();
    format!(
        "Last measured on {} ({cores} cores), {}.",
        cpu.as_deref().unwrap_or("an unknown processor"),
        kernel.trim()
    )
}

fn table(figures: &[Figure]) -> String {
    let mut text =
        String::from("| what | ours | peer | ratio | goal | |\n|---|---:|---:|---:|---:|---|\n");
    for figure in figures {
        let (title, goal) = goals::of(figure);
        let (wanted, met) = goals::verdict(figure, goal);
        let peer = figure
            .peer
            .as_ref()
            .map(|(name, value)| format!("{} ({name})", short(*value)))
            .unwrap_or_default();
        let ratio = figure
            .ratio()
            .map(|ratio| format!("{}×", short(ratio)))
            .unwrap_or_default();
        let word = match met {
            Some(true) => "met",
            Some(false) => "**missed**",
            None => "",
        };
        let _ = writeln!(
            text,
            "| {title}{} | {} {} | {peer} | {ratio} | {wanted} | {word} |",
            marked(&goals::letters(&figure.name)),
            short(figure.value),
            figure.unit
        );
    }
    for (letter, note) in goals::notes() {
        let _ = write!(
            text,
            "\n{} {note}.\n",
            marked(&letter.to_string()).trim_start()
        );
    }
    text
}

/// Letters of notes, as they stand in the table and before each.
fn marked(letters: &str) -> String {
    match letters {
        "" => String::new(),
        letters => format!(" <sup>{letters}</sup>"),
    }
}

const ROW: f64 = 34.0;
const LEFT: f64 = 330.0;
const WIDTH: f64 = 800.0;

/// Bars of how many times the peer's rate ours is; a line marks the peer at one.
fn plot(figures: &[Figure]) -> String {
    let rates: Vec<(&str, f64)> = figures
        .iter()
        .filter(|figure| figure.unit.ends_with("/s"))
        .filter_map(|figure| Some((goals::of(figure).0, figure.ratio()?)))
        .collect();
    let longest = rates.iter().map(|(_, ratio)| *ratio).fold(1.0, f64::max);
    let scale = (WIDTH - LEFT - 90.0) / longest;
    let height = ROW * rates.len() as f64 + 60.0;
    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {height}\" font-family=\"sans-serif\" \
         font-size=\"13\">\n<title>How many times the peer's rate</title>\n\
         <rect width=\"100%\" height=\"100%\" fill=\"#ffffff\"/>\n\
         <text x=\"12\" y=\"24\" font-size=\"15\" font-weight=\"600\" fill=\"#1f2933\">Times the peer's rate, same \
         machine, same run</text>\n"
    );
    for (index, (title, ratio)) in rates.iter().enumerate() {
        let top = 42.0 + ROW * index as f64;
        let width = (ratio * scale).max(1.0);
        let colour = if *ratio >= 1.0 { "#2f7d5b" } else { "#b3541e" };
        let _ = writeln!(
            svg,
            "<text x=\"{:.0}\" y=\"{:.0}\" text-anchor=\"end\" fill=\"#1f2933\">{title}</text>\
             <rect x=\"{LEFT:.0}\" y=\"{top:.0}\" width=\"{width:.1}\" height=\"20\" rx=\"2\" fill=\"{colour}\"/>\
             <text x=\"{:.1}\" y=\"{:.0}\" fill=\"#1f2933\">{}×</text>",
            LEFT - 10.0,
            top + 15.0,
            LEFT + width + 6.0,
            top + 15.0,
            short(*ratio)
        );
    }
    let _ = writeln!(
        svg,
        "<line x1=\"{x:.1}\" y1=\"36\" x2=\"{x:.1}\" y2=\"{:.0}\" stroke=\"#7b8794\" stroke-dasharray=\"4 3\"/>",
        height - 14.0,
        x = LEFT + scale
    );
    svg.push_str("</svg>\n");
    svg
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_missed_goal_is_told() {
        let figures = [
            Figure::new("ipns/create", 80.0, "records/s").beside("npm ipns", 10.0),
            Figure::new("ipns/validate", 20.0, "records/s").beside("npm ipns", 10.0),
            Figure::new("something/else", 1.0, "x"),
        ];
        let text = table(&figures);
        let verdicts: Vec<&str> = text
            .lines()
            .skip(2)
            .take_while(|line| !line.is_empty())
            .filter_map(|line| line.trim_end_matches(" |").rsplit("| ").next())
            .collect();
        assert_eq!(verdicts, ["met", "**missed**", ""]);
    }

    #[test]
    fn what_differs_from_what_a_user_has_is_said_beside_the_figure() {
        let text = table(&[
            Figure::new("publish/rate", 1.0, "publishes/s"),
            Figure::new("ipns/create", 1.0, "records/s"),
        ]);
        let publishes = text.lines().find(|line| line.contains("publishes/s"));
        let letters = publishes.and_then(|line| line.split("<sup>").nth(1)?.split('<').next());
        let letters = letters.unwrap_or_default();
        let note = |letter| {
            text.contains(&format!(
                "\n<sup>{letter}</sup> `admission.name-rate` is 1,000,000"
            ))
        };
        assert!(letters.chars().any(note), "{text}");
        let records = text.lines().find(|line| line.contains("records/s"));
        assert!(
            records.is_some_and(|line| !line.contains("<sup>")),
            "{text}"
        );
    }

    /// A note of figures that are gone is said beside nothing.
    #[test]
    fn every_note_is_of_a_figure() {
        for (letter, note) in goals::notes() {
            let mut named = goals::NAMED.iter();
            let is_used = named.any(|named| goals::letters(named.figure).contains(letter));
            assert!(is_used, "{note}");
        }
    }

    #[test]
    fn the_plot_has_a_bar_for_each_rate_with_a_peer() {
        let figures = [
            Figure::new("ipns/create", 80.0, "records/s").beside("npm ipns", 10.0),
            Figure::new("ipns/size", 397.0, "bytes").beside("npm ipns", 397.0),
            Figure::new("publish/rate", 1000.0, "publishes/s"),
        ];
        assert_eq!(
            plot(&figures).matches("<rect").count(),
            2,
            "the ground and one bar"
        );
    }
}
