//! `perennis config check`.

use std::collections::BTreeMap;

use perennis_node::config::{self, Origin, Problem, Sources};
use serde::Serialize;

use crate::args::{ConfigCheck, ConfigCommand};
use crate::context::Context;
use crate::failure::Failure;

pub(crate) fn run(context: &Context<'_>, command: &ConfigCommand) -> Result<(), Failure> {
    match command {
        ConfigCommand::Check(arguments) => check(context, arguments),
    }
}

#[derive(Serialize)]
struct CheckDocument {
    valid: bool,
    file: Option<String>,
    problems: Vec<ProblemDocument>,
    #[serde(skip_serializing_if = "Option::is_none")]
    settings: Option<BTreeMap<&'static str, SettingDocument>>,
}

#[derive(Serialize)]
struct ProblemDocument {
    setting: String,
    origin: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    line: Option<usize>,
    message: String,
    hint: String,
}

impl From<&Problem> for ProblemDocument {
    fn from(problem: &Problem) -> Self {
        Self {
            setting: problem.key.clone(),
            origin: problem.origin.to_string(),
            line: match &problem.origin {
                Origin::File { line, .. } => Some(*line),
                _ => None,
            },
            message: problem.message.clone(),
            hint: problem.fix.clone(),
        }
    }
}

#[derive(Serialize)]
struct SettingDocument {
    value: String,
    origin: String,
}

fn check(context: &Context<'_>, arguments: &ConfigCheck) -> Result<(), Failure> {
    let file = arguments.config.clone().or_else(|| arguments.file.clone());
    let shown_file = file.as_ref().map(|path| path.display().to_string());
    let document = match config::check(&Sources::of_process(file, Vec::new())) {
        Ok(loaded) => CheckDocument {
            valid: true,
            file: shown_file,
            problems: Vec::new(),
            settings: Some(
                loaded
                    .shown
                    .into_iter()
                    .map(|setting| {
                        let shown = SettingDocument {
                            value: setting.value,
                            origin: setting.origin.to_string(),
                        };
                        (setting.key, shown)
                    })
                    .collect(),
            ),
        },
        Err(error) => CheckDocument {
            valid: false,
            file: shown_file,
            problems: error.problems.iter().map(ProblemDocument::from).collect(),
            settings: None,
        },
    };
    context.output.answer(&document, |page| {
        if let Some(settings) = &document.settings {
            let rows: Vec<Vec<String>> = settings
                .iter()
                .map(|(key, setting)| {
                    vec![
                        (*key).to_owned(),
                        setting.value.clone(),
                        setting.origin.clone(),
                    ]
                })
                .collect();
            page.table(&["SETTING", "VALUE", "FROM"], &rows);
            let line = page.paint.good("valid");
            page.line(line);
            return;
        }
        for problem in &document.problems {
            let place = page.paint.bad(&problem.origin);
            let setting = if problem.setting.is_empty() {
                String::new()
            } else {
                format!("{} ", problem.setting)
            };
            page.line(format!("{place}: {setting}{}", problem.message));
            let hint = page.paint.dim(format!("  next: {}", problem.hint));
            page.line(hint);
        }
    })?;
    if document.valid {
        Ok(())
    } else {
        Err(Failure::verdict())
    }
}
