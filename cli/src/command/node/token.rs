//! `perennis node token`: tokens of callers, of which the node's file has the digests.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use perennis_node::config::{self, Sources};
use perennis_node::{NamedToken, Scope, Scopes, TokenFile, TokenFileError};
use perennis_rt as rt;
use perennis_shared::error::Retryable as _;
use serde::Serialize;
use zeroize::Zeroizing;

use crate::args::{NodeToken, NodeTokenCommand};
use crate::command::invalid_config::config_failure;
use crate::context::Context;
use crate::failure::{Exit, Failure};
use crate::files::{self, Existing, name_of};

/// Random bytes of a token.
const TOKEN_BYTES: usize = 32;

/// Largest file of tokens, in bytes.
const FILE_BYTES: u64 = 1 << 20;

/// The file, and what is in it now.
#[derive(Serialize)]
struct Document<'a> {
    file: String,
    tokens: Vec<Row>,
    /// The new token, where it went into no file.
    #[serde(skip_serializing_if = "Option::is_none")]
    token: Option<&'a str>,
    /// The file that has the new token.
    #[serde(skip_serializing_if = "Option::is_none")]
    out: Option<String>,
}

#[derive(Serialize)]
struct Row {
    name: String,
    scopes: Vec<&'static str>,
}

impl Row {
    fn of(token: &NamedToken) -> Row {
        let scopes = Scope::GRANTED.into_iter();
        let scopes = scopes.filter(|scope| token.scopes.has(*scope));
        Row {
            name: token.name.clone(),
            scopes: scopes.map(Scope::word).collect(),
        }
    }
}

pub(super) fn run(context: &Context<'_>, arguments: &NodeToken) -> Result<(), Failure> {
    match &arguments.command {
        Some(NodeTokenCommand::List(below)) => list(context, &path_of(below.config.as_deref())?),
        Some(NodeTokenCommand::Remove(below)) => {
            remove(context, &path_of(below.config.as_deref())?, &below.name)
        }
        None => draw(context, arguments),
    }
}

fn draw(context: &Context<'_>, arguments: &NodeToken) -> Result<(), Failure> {
    let name = arguments.name.as_deref().unwrap_or_default();
    let scopes: Scopes = arguments.scopes.join(",").parse().map_err(|error| {
        Failure::usage("--scope grants nothing")
            .because(&error)
            .hint("write --scope publish, or several: --scope publish,pin")
    })?;
    let path = path_of(arguments.config.as_deref())?;
    let mut file = read(&path)?;
    let token = random_token()?;
    file.add(name, scopes, &token)
        .map_err(|error| refused(&path, &error))?;
    if let Some(out) = &arguments.out {
        let text = Zeroizing::new(format!("{}\n", *token));
        files::write_atomically(out, text.as_bytes(), Existing::Keep, true)?;
    }
    write(&path, &file).inspect_err(|_| {
        // It would be a token that nobody knows.
        if let Some(out) = &arguments.out {
            let _ = fs::remove_file(out);
        }
    })?;
    let document = Document {
        out: arguments.out.as_deref().map(name_of),
        token: arguments.out.is_none().then_some(&**token),
        ..document(&path, &file)
    };
    context
        .output
        .answer(&document, |page| match &document.out {
            Some(out) => page.line(format!("the token of {name} ({scopes}) is in {out}")),
            None => page.line(token.as_str()),
        })?;
    if arguments.out.is_none() {
        context.output.remark(format_args!(
            "it is shown this once: {} has only its digest",
            name_of(&path)
        ));
    }
    Ok(())
}

fn list(context: &Context<'_>, path: &Path) -> Result<(), Failure> {
    let document = document(path, &read(path)?);
    context.output.answer(&document, |page| {
        let rows = document.tokens.iter();
        let rows = rows.map(|row| vec![row.name.clone(), row.scopes.join(",")]);
        page.table(&["TOKEN", "SCOPES"], &rows.collect::<Vec<_>>());
    })
}

fn remove(context: &Context<'_>, path: &Path, name: &str) -> Result<(), Failure> {
    let mut file = read(path)?;
    if !file.remove(name) {
        let message = format!("there is no token named {name} in {}", name_of(path));
        return Err(Failure::not_found("not_found", message)
            .hint("`perennis node token list` shows those that there are"));
    }
    write(path, &file)?;
    let document = document(path, &file);
    context.output.answer(&document, |page| {
        page.line(format!("the token of {name} grants nothing any more"));
    })
}

fn document(path: &Path, file: &TokenFile) -> Document<'static> {
    Document {
        file: name_of(path),
        tokens: file.tokens().map(Row::of).collect(),
        token: None,
        out: None,
    }
}

/// The file that the configuration names.
fn path_of(config: Option<&Path>) -> Result<PathBuf, Failure> {
    let sources = Sources::of_process(config.map(Path::to_owned), Vec::new());
    let loaded = config::load(&sources).map_err(|error| config_failure(&error))?;
    loaded.config.http.tokens.ok_or_else(|| {
        Failure::usage("http.tokens names no file for tokens").hint(
            "set it in the node's configuration and name that with --config FILE, or set PERENNIS_HTTP_TOKENS",
        )
    })
}

/// What is in the file; nothing where there is none yet.
fn read(path: &Path) -> Result<TokenFile, Failure> {
    match path.symlink_metadata() {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(TokenFile::default()),
        // Reading tells what else is in the way.
        _ => {}
    }
    let text = files::read_bounded(path, FILE_BYTES)?;
    let text = String::from_utf8(text)
        .map_err(|error| Failure::usage(format!("{} is no text", name_of(path))).because(&error))?;
    TokenFile::parse(&text).map_err(|error| refused(path, &error))
}

fn write(path: &Path, file: &TokenFile) -> Result<(), Failure> {
    files::write_atomically(path, file.to_string().as_bytes(), Existing::Replace, true)
}

fn refused(path: &Path, error: &TokenFileError) -> Failure {
    let (code, hint) = match error {
        TokenFileError::Taken(_) => (
            "name_taken",
            "give another name, or remove that token first: `perennis node token remove NAME`",
        ),
        TokenFileError::Name(_) => ("invalid_name", "give a name such as alice or build-server"),
        _ => ("tokens_file", "correct the line, or take it out"),
    };
    let message = match error {
        TokenFileError::Line { .. } => format!("{}: {error}", name_of(path)),
        _ => error.to_string(),
    };
    Failure::new(Exit::of(error.kind(), code), code, message).hint(hint)
}

fn random_token() -> Result<Zeroizing<String>, Failure> {
    let bytes = rt::random::<TOKEN_BYTES>()
        .map_err(|error| Failure::failed("random", "no randomness can be had").because(&error))?;
    let bytes = Zeroizing::new(bytes);
    let mut token = Zeroizing::new(String::with_capacity(2 * TOKEN_BYTES));
    for byte in bytes.iter() {
        token.push_str(&format!("{byte:02x}"));
    }
    Ok(token)
}
