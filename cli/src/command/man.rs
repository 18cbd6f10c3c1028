//! `perennis man`: manual pages, made from the same definitions as the help.

use std::path::Path;

use clap::CommandFactory as _;
use clap_mangen::Man;
use serde::Serialize;

use crate::args::{Cli, ManArgs};
use crate::context::Context;
use crate::failure::{Failure, file_failure};

/// The pages that were written.
#[derive(Serialize)]
struct ManDocument {
    folder: String,
    pages: Vec<String>,
}

pub(crate) fn run(context: &Context<'_>, arguments: &ManArgs) -> Result<(), Failure> {
    let mut root = Cli::command().disable_help_subcommand(true);
    root.build();
    match &arguments.all {
        Some(folder) => write_all(context, &root, folder),
        None => print(context, &root, &arguments.command),
    }
}

/// The page of one command.
fn print(context: &Context<'_>, root: &clap::Command, words: &[String]) -> Result<(), Failure> {
    let mut command = root;
    for word in words {
        command = command.find_subcommand(word).ok_or_else(|| {
            let names: Vec<&str> = command
                .get_subcommands()
                .map(clap::Command::get_name)
                .collect();
            Failure::usage(format!("{} has no command {word:?}", command.get_name())).hint(
                match names.is_empty() {
                    true => format!("ask for `{}` alone", command.get_name()),
                    false => format!("it has {}", names.join(", ")),
                },
            )
        })?;
    }
    context.output.bytes(&page(command))
}

fn write_all(context: &Context<'_>, root: &clap::Command, folder: &Path) -> Result<(), Failure> {
    std::fs::create_dir_all(folder).map_err(|error| file_failure("make", folder, &error))?;
    let mut pages = Vec::new();
    for command in every(root) {
        let name = Man::new(command.clone()).get_filename();
        let path = folder.join(&name);
        std::fs::write(&path, page(command))
            .map_err(|error| file_failure("write", &path, &error))?;
        pages.push(name);
    }
    let document = ManDocument {
        folder: folder.display().to_string(),
        pages,
    };
    context.output.answer(&document, |page| {
        page.line(format!(
            "{} manual pages are in {}; `man -M` or MANPATH finds them in a folder man1",
            document.pages.len(),
            document.folder
        ));
    })
}

/// A command and all below it.
fn every(command: &clap::Command) -> Vec<&clap::Command> {
    let below = command.get_subcommands().flat_map(every);
    std::iter::once(command).chain(below).collect()
}

fn page(command: &clap::Command) -> Vec<u8> {
    let mut text = Vec::new();
    Man::new(command.clone())
        .manual("Perennis")
        .render(&mut text)
        .expect("writing to memory does not fail");
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_command_has_a_page_with_its_options() {
        let mut root = Cli::command().disable_help_subcommand(true);
        root.build();
        let commands = every(&root);
        assert!(commands.len() > 50, "{}", commands.len());
        for command in commands {
            let page = String::from_utf8(page(command)).unwrap();
            let name = command.get_display_name().unwrap_or(command.get_name());
            let about = command.get_about().unwrap().to_string();
            // A page is roff, in which a hyphen is written with a backslash.
            let page = page.replace('\\', "");
            assert!(page.contains(&format!(".TH {name} 1")), "{name}: {page}");
            let first = about.split(['`', '\'', '.']).next().unwrap();
            assert!(page.contains(first), "{name} does not say: {about}");
            for option in command.get_opts().filter(|option| !option.is_hide_set()) {
                let long = option.get_long().unwrap();
                assert!(page.contains(&format!("--{long}")), "{name}: --{long}");
            }
        }
    }
}
