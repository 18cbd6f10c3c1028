//! Gathers the files of the browser page, so that the node can serve them without a directory beside it.
//!
//! `extension-demo/page` holds the page, `extension-demo/page/pkg` the module once it was built. Without the module
//! the page is served all the same and says what is missing.

#![allow(
    clippy::print_stdout,
    reason = "this is how a build script talks to cargo"
)]

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::{env, fs, io};

fn main() -> io::Result<()> {
    let root = PathBuf::from(env::var_os("CARGO_MANIFEST_DIR").ok_or(io::ErrorKind::NotFound)?);
    let page = root.join("../extension-demo/page");
    println!("cargo::rerun-if-changed={}", page.display());
    let mut files = Vec::new();
    if page.is_dir() {
        gather(&page, "", &mut files)?;
    }
    files.sort();
    let mut text = String::from("&[\n");
    for (name, path) in files {
        let path = fs::canonicalize(path)?;
        writeln!(text, "    ({name:?}, include_bytes!({path:?}).as_slice()),")
            .map_err(io::Error::other)?;
    }
    text.push(']');
    let out = PathBuf::from(env::var_os("OUT_DIR").ok_or(io::ErrorKind::NotFound)?);
    fs::write(out.join("page_files.rs"), text)
}

fn gather(folder: &Path, prefix: &str, files: &mut Vec<(String, PathBuf)>) -> io::Result<()> {
    const SERVED: [&str; 7] = ["html", "js", "css", "wasm", "json", "svg", "png"];
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        let Some(name) = path.file_name().and_then(|name| name.to_str()) else {
            continue;
        };
        let full = format!("{prefix}{name}");
        if path.is_dir() {
            gather(&path, &format!("{full}/"), files)?;
        } else if path
            .extension()
            .and_then(|ending| ending.to_str())
            .is_some_and(|ending| SERVED.contains(&ending))
        {
            files.push((full, path));
        }
    }
    Ok(())
}
