//! One measured figure, and the line of JSON it travels in.

use anyhow::{Context, Result};
use serde_json::{Value, json};

/// A figure of ours and, where there is one, the peer's from the same run.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Figure {
    pub(super) name: String,
    pub(super) value: f64,
    pub(super) unit: String,
    pub(super) peer: Option<(String, f64)>,
}

impl Figure {
    pub(super) fn new(name: &str, value: f64, unit: &str) -> Self {
        Self {
            name: name.to_owned(),
            value,
            unit: unit.to_owned(),
            peer: None,
        }
    }

    pub(super) fn beside(mut self, peer: &str, value: f64) -> Self {
        self.peer = Some((peer.to_owned(), value));
        self
    }

    /// Reads `{"name":…,"value":…,"unit":…,"peer":…,"peer_value":…}`; `None` for a line that is no such object.
    pub(super) fn parse(line: &str) -> Option<Self> {
        let value: Value = serde_json::from_str(line.trim()).ok()?;
        let peer = value["peer"]
            .as_str()
            .zip(value["peer_value"].as_f64())
            .map(|(name, value)| (name.to_owned(), value));
        Some(Self {
            name: value["name"].as_str()?.to_owned(),
            value: value["value"].as_f64()?,
            unit: value["unit"].as_str()?.to_owned(),
            peer,
        })
    }

    pub(super) fn to_line(&self) -> String {
        let mut object = json!({"name": self.name, "value": self.value, "unit": self.unit});
        if let Some((name, value)) = &self.peer {
            object["peer"] = json!(name);
            object["peer_value"] = json!(value);
        }
        object.to_string()
    }

    /// Ours divided by the peer's.
    pub(super) fn ratio(&self) -> Option<f64> {
        let (_, peer) = self.peer.as_ref()?;
        (*peer > 0.0).then(|| self.value / peer)
    }
}

/// Reads figures from lines, and fails where there is none: a program that printed nothing measured nothing.
///
/// # Errors
/// No line is a figure.
pub(super) fn read_all<'a>(lines: impl Iterator<Item = &'a str>) -> Result<Vec<Figure>> {
    let figures: Vec<Figure> = lines.filter_map(Figure::parse).collect();
    (!figures.is_empty())
        .then_some(figures)
        .context("no figure was printed")
}

/// Puts new figures in the place of old ones of the same name, others at the end.
pub(super) fn replace(figures: &mut Vec<Figure>, measured: Vec<Figure>) {
    for new in measured {
        match figures.iter_mut().find(|old| old.name == new.name) {
            Some(old) => *old = new,
            None => figures.push(new),
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

    use super::*;

    #[test]
    fn a_figure_survives_its_line() {
        for figure in [
            Figure::new("a/b", 1.5, "x/s"),
            Figure::new("a", 3.0, "x").beside("Peer 1", 2.0),
        ] {
            assert_eq!(Figure::parse(&figure.to_line()).unwrap(), figure);
        }
        assert_eq!(Figure::parse("running 3 tests"), None);
        assert_eq!(Figure::parse("{\"name\":\"a\"}"), None);
    }

    #[test]
    fn new_figures_take_the_place_of_old_ones() {
        let mut figures = vec![Figure::new("a", 1.0, "x"), Figure::new("b", 1.0, "x")];
        replace(
            &mut figures,
            vec![Figure::new("a", 2.0, "x"), Figure::new("c", 3.0, "x")],
        );
        let values: Vec<_> = figures.iter().map(|figure| figure.value).collect();
        assert_eq!(values, [2.0, 1.0, 3.0]);
    }
}
