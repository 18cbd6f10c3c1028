//! Who imports whom inside a crate, read from its sources.
//!
//! A module is named by its path from the root of the crate. Test code is left out: it may use what stands above it.
//! What a module re-exports is followed to where it is, so that a name in between hides nothing. Macros are not expanded.

use std::collections::{BTreeMap, BTreeSet};

/// The path of a module from the root of its crate; empty for the root.
pub(super) type Module = Vec<String>;

/// A crate as its files are written.
#[derive(Debug, Default)]
pub(super) struct Crate {
    modules: BTreeMap<Module, Vec<Path>>,
}

/// A path in the code, and the name under which a `use` brings it in.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Path {
    segments: Vec<String>,
    /// None where it is no `use`.
    name: Option<String>,
}

/// Re-exports that are followed from one to the next.
const RE_EXPORTS: usize = 8;

impl Crate {
    /// Reads the files below `root`, each with its path and text.
    pub(super) fn read<'a>(root: &str, files: impl Iterator<Item = (&'a str, &'a str)>) -> Crate {
        let mut modules = BTreeMap::new();
        let mut of_tests = BTreeSet::new();
        for (path, text) in files {
            let Some(module) = module_of(root, path) else {
                continue;
            };
            let code = Code::read(text);
            for name in code.test_modules {
                of_tests.insert([module.clone(), vec![name]].concat());
            }
            modules.insert(module, paths(&code.tokens));
        }
        modules.retain(|module, _| !of_tests.iter().any(|tests| module.starts_with(tests)));
        Crate { modules }
    }

    /// The modules, without the root.
    pub(super) fn modules(&self) -> impl Iterator<Item = &Module> {
        self.modules.keys().filter(|module| !module.is_empty())
    }

    /// The modules that one imports from, itself left out.
    pub(super) fn imports(&self, module: &Module) -> BTreeSet<Module> {
        let paths = self.modules.get(module).into_iter().flatten();
        let found = paths.filter_map(|path| self.resolve(module, &path.segments, RE_EXPORTS));
        found.filter(|target| target != module).collect()
    }

    /// The module that a path leads to; none where it leads out of the crate.
    fn resolve(&self, from: &Module, path: &[String], left: usize) -> Option<Module> {
        let mut at = from.clone();
        let mut rest = path;
        match path.first().map(String::as_str) {
            Some("crate") => {
                at.clear();
                rest = &path[1..];
            }
            Some("self") => rest = &path[1..],
            Some("super") => {
                while rest.first().is_some_and(|word| word == "super") {
                    at.pop();
                    rest = &rest[1..];
                }
            }
            // A module of this one, or another crate.
            Some(word) if self.has_child(&at, word) => {}
            _ => return None,
        }
        while let Some(word) = rest.first() {
            if self.has_child(&at, word) {
                at.push(word.clone());
                rest = &rest[1..];
                continue;
            }
            let brought_in = self.modules.get(&at).into_iter().flatten();
            let mut named = brought_in.filter(|path| path.name.as_ref() == Some(word));
            let elsewhere = named.find(|path| path.segments.as_slice() != [word.as_str()]);
            if let Some(path) = elsewhere.filter(|_| left > 0)
                && let Some(target) = self.resolve(&at, &path.segments, left - 1)
            {
                return Some(target);
            }
            break;
        }
        Some(at)
    }

    fn has_child(&self, module: &Module, name: &str) -> bool {
        let child = [module.as_slice(), &[name.to_owned()]].concat();
        self.modules.contains_key(&child)
    }
}

/// The module in a file; none for one that is not below `root`.
fn module_of(root: &str, path: &str) -> Option<Module> {
    let path = path.strip_prefix(root)?.strip_prefix('/')?;
    let path = path.strip_suffix(".rs")?;
    Some(match path {
        "lib" | "main" => Module::new(),
        path => path.split('/').map(str::to_owned).collect(),
    })
}

/// The words and signs of a file, without comments, strings and tests.
#[derive(Debug, Default)]
struct Code {
    tokens: Vec<String>,
    /// Modules of tests that are files of their own.
    test_modules: Vec<String>,
}

impl Code {
    fn read(text: &str) -> Code {
        let all = tokens(text);
        let mut code = Code::default();
        let mut index = 0;
        while index < all.len() {
            match test_module(&all[index..]) {
                Some(TestModule::InFile(length)) => index += length,
                Some(TestModule::OwnFile(length, name)) => {
                    code.test_modules.push(name);
                    index += length;
                }
                None => {
                    code.tokens.push(all[index].clone());
                    index += 1;
                }
            }
        }
        code
    }
}

enum TestModule {
    InFile(usize),
    OwnFile(usize, String),
}

/// The module of tests that the tokens begin with, and how many of them it is.
fn test_module(tokens: &[String]) -> Option<TestModule> {
    let mut rest = tokens.iter().map(String::as_str).enumerate();
    let begins = ["#", "[", "cfg", "("]
        .iter()
        .all(|wanted| rest.next().is_some_and(|(_, word)| word == *wanted));
    if !begins {
        return None;
    }
    let mut is_for_tests = false;
    let mut name = None;
    for (index, word) in rest {
        match word {
            "test" | "testing" => is_for_tests = true,
            "mod" => {
                name = tokens.get(index + 1).cloned();
                break;
            }
            "fn" | "struct" | "enum" | "impl" | "use" | "const" | "static" | "trait" | "type"
            | ";" | "{" => {
                return None;
            }
            _ => {}
        }
    }
    let name = name.filter(|_| is_for_tests)?;
    let after = tokens.iter().position(|word| *word == name)? + 1;
    match tokens.get(after).map(String::as_str) {
        Some(";") => Some(TestModule::OwnFile(after + 1, name)),
        Some("{") => {
            let mut depth = 0_usize;
            for (index, word) in tokens.iter().enumerate().skip(after) {
                match word.as_str() {
                    "{" => depth += 1,
                    "}" => depth -= 1,
                    _ => {}
                }
                if depth == 0 {
                    return Some(TestModule::InFile(index + 1));
                }
            }
            None
        }
        _ => None,
    }
}

/// Words, `::`, and single signs.
fn tokens(text: &str) -> Vec<String> {
    let mut tokens = Vec::new();
    let mut rest = text;
    while let Some(first) = rest.chars().next() {
        let length = if rest.starts_with("//") {
            rest.find('\n').unwrap_or(rest.len())
        } else if rest.starts_with("/*") {
            rest.find("*/").map_or(rest.len(), |end| end + 2)
        } else if let Some(length) = string(rest) {
            length
        } else if first.is_alphanumeric() || first == '_' {
            let end = rest.find(|c: char| !(c.is_alphanumeric() || c == '_'));
            let length = end.unwrap_or(rest.len());
            tokens.push(rest[..length].to_owned());
            length
        } else if rest.starts_with("::") {
            tokens.push("::".to_owned());
            2
        } else {
            if !first.is_whitespace() {
                tokens.push(first.to_string());
            }
            first.len_utf8()
        };
        rest = &rest[length..];
    }
    tokens
}

/// The length of the string or character that a text begins with; none where it begins with neither.
fn string(text: &str) -> Option<usize> {
    let raw = text.strip_prefix("br").or_else(|| text.strip_prefix('r'));
    if let Some(raw) = raw {
        let hashes = raw.len() - raw.trim_start_matches('#').len();
        if raw[hashes..].starts_with('"') {
            let end = format!("\"{}", "#".repeat(hashes));
            let begin = text.len() - raw.len() + hashes + 1;
            let length = text[begin..]
                .find(&end)
                .map_or(text.len(), |at| begin + at + end.len());
            return Some(length);
        }
    }
    let quoted = text.strip_prefix('b').unwrap_or(text);
    let prefix = text.len() - quoted.len();
    if quoted.starts_with('"') {
        return Some(prefix + quoted_length(quoted, '"'));
    }
    if let Some(inside) = quoted.strip_prefix('\'') {
        let mut inside = inside.chars();
        let (first, second) = (inside.next()?, inside.next());
        // Else it is a lifetime.
        if first == '\\' || second == Some('\'') {
            return Some(prefix + quoted_length(quoted, '\''));
        }
    }
    None
}

fn quoted_length(text: &str, quote: char) -> usize {
    let mut is_escaped = false;
    for (index, letter) in text.char_indices().skip(1) {
        match letter {
            _ if is_escaped => is_escaped = false,
            '\\' => is_escaped = true,
            letter if letter == quote => return index + 1,
            _ => {}
        }
    }
    text.len()
}

/// Every path that is brought in by a `use` or begins in this crate.
fn paths(tokens: &[String]) -> Vec<Path> {
    let mut found = Vec::new();
    let mut index = 0;
    while let Some(word) = tokens.get(index) {
        let before = index.checked_sub(1).and_then(|before| tokens.get(before));
        let is_use = before.is_some_and(|before| before == "use");
        let begins_here = matches!(word.as_str(), "crate" | "super" | "self")
            && tokens.get(index + 1).is_some_and(|next| next == "::")
            // A visibility imports nothing, and in the middle of a path it begins none.
            // The crate of a macro is where it is called.
            && !before.is_some_and(|before| ["in", "::", "$"].contains(&before.as_str()));
        if is_use || begins_here {
            index = tree(tokens, index, &[], is_use, &mut found).max(index + 1);
        } else {
            index += 1;
        }
    }
    found
}

/// Reads a tree of paths from `index`, and returns the index behind it.
fn tree(
    tokens: &[String],
    mut index: usize,
    prefix: &[String],
    is_use: bool,
    found: &mut Vec<Path>,
) -> usize {
    let mut segments = prefix.to_vec();
    while let Some(word) = tokens.get(index) {
        if word == "{" {
            index += 1;
            while let Some(word) = tokens.get(index) {
                match word.as_str() {
                    "}" => return index + 1,
                    "," => index += 1,
                    _ => index = tree(tokens, index, &segments, is_use, found).max(index + 1),
                }
            }
            return index;
        }
        if !word.chars().all(|c| c.is_alphanumeric() || c == '_') {
            // A star, or what follows a path in an expression.
            index += usize::from(word == "*");
            break;
        }
        segments.push(word.clone());
        index += 1;
        if tokens.get(index).is_none_or(|next| next != "::") {
            break;
        }
        index += 1;
    }
    // What follows the word `use` may be no path, as in `impl Trait + use<>`.
    if segments.len() == prefix.len() {
        return index;
    }
    if segments.last().is_some_and(|last| last == "self") && segments.len() > 1 {
        segments.pop();
    }
    let mut name = segments.last().cloned();
    if is_use && tokens.get(index).is_some_and(|word| word == "as") {
        name = tokens.get(index + 1).cloned();
        index += 2;
    }
    found.push(Path {
        segments,
        name: name.filter(|_| is_use),
    });
    index
}

#[cfg(test)]
mod tests {
    use super::*;

    fn imports(files: &[(&str, &str)], of: &str) -> Vec<String> {
        let read = Crate::read("src", files.iter().copied());
        let module = of.split("::").map(str::to_owned).collect();
        let imports = read.imports(&module);
        imports.iter().map(|module| module.join("::")).collect()
    }

    #[test]
    fn trees_aliases_and_paths_in_expressions_are_imports() {
        let files = [
            ("src/lib.rs", "mod a; mod b; mod c; mod d;"),
            (
                "src/a.rs",
                "use crate::{b::{self, X}, c as other};\nfn f() { crate::d::go::<u8>(); }",
            ),
            ("src/b.rs", ""),
            ("src/c.rs", ""),
            ("src/d.rs", ""),
        ];
        assert_eq!(imports(&files, "a"), ["b", "c", "d"]);
    }

    #[test]
    fn comments_strings_visibilities_and_tests_are_none() {
        let files = [
            ("src/lib.rs", "mod a; mod b;"),
            (
                "src/a.rs",
                "// crate::b::X\n/* crate::b */ const S: &str = \"crate::b::X\"; const R: &str = r#\"crate::b\"#; pub(in crate::b) \
                 fn f<'a>(c: char) -> bool { c == '\\'' || c == '\"' }\n#[cfg(test)]\nmod tests { use crate::b::X; fn f() {} }\n#[cfg(test)] mod more;",
            ),
            ("src/a/more.rs", "use crate::b::X;"),
            ("src/b.rs", ""),
        ];
        assert!(imports(&files, "a").is_empty());
        assert!(imports(&files, "a::more").is_empty());
    }

    #[test]
    fn a_re_export_is_followed_to_where_it_is() {
        let files = [
            ("src/lib.rs", "mod a; mod b;\npub use b::{inner::X as Y};"),
            ("src/a.rs", "use crate::Y;"),
            ("src/b.rs", "pub mod inner;"),
            ("src/b/inner.rs", "use super::super::a::Z;"),
        ];
        assert_eq!(imports(&files, "a"), ["b::inner"]);
        assert_eq!(imports(&files, "b::inner"), ["a"]);
    }
}
