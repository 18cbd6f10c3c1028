//! Finds the route of a request.
//!
//! Routes whose answer may be in memory are asked for most and are matched first, by the beginning of the path, which takes
//! some nanoseconds; all others are found in a radix tree. Both are made from the [`table`](super::table) once.

use std::sync::LazyLock;

use hyper::Method;
use matchit::Match;

use super::listener::Listener;
use super::route::{Route, RouteMethod};
use super::table::routes;

/// What a method and a path come to.
pub(super) enum Matched<'a> {
    /// A route, and the text its parameter stands for, still percent-encoded.
    Route(&'static Route, &'a str),
    /// A path that other methods are for; they are named as in `Allow`.
    OtherMethods(&'static str, &'static [&'static Route]),
    /// No path of ours.
    Nothing,
}

/// Finds the route of a request to a listener. HEAD is GET without the body.
pub(super) fn find<'a>(listener: Listener, method: &Method, path: &'a str) -> Matched<'a> {
    static API: LazyLock<Router> = LazyLock::new(|| Router::new(routes(Listener::Api)));
    static GATEWAY: LazyLock<Router> = LazyLock::new(|| Router::new(routes(Listener::Gateway)));
    let router: &'static Router = match listener {
        Listener::Api | Listener::Admin => &API,
        Listener::Gateway => &GATEWAY,
    };
    router.find(method, path)
}

struct Router {
    first: Vec<Prefix>,
    paths: Vec<Path>,
    /// Indices of `paths`.
    tree: matchit::Router<usize>,
}

/// The path of a route that is matched first.
struct Prefix {
    /// All before the parameter.
    text: &'static str,
    takes_rest: bool,
    route: &'static Route,
}

/// A path and all that is for it.
struct Path {
    pattern: &'static str,
    routes: Vec<&'static Route>,
    /// As in `Allow`.
    methods: String,
}

impl Router {
    fn new(routes: impl Iterator<Item = &'static Route>) -> Router {
        let mut first = Vec::new();
        let mut paths: Vec<Path> = Vec::new();
        for route in routes {
            if route.in_memory.is_some() {
                first.extend(Prefix::new(route));
            }
            match paths.iter_mut().find(|path| path.pattern == route.path) {
                Some(path) => path.routes.push(route),
                None => paths.push(Path::new(route)),
            }
        }
        let mut tree = matchit::Router::new();
        for (index, path) in paths.iter_mut().enumerate() {
            path.name_methods();
            let also = path.routes.iter().flat_map(|route| route.also);
            for pattern in also.chain([&path.pattern]) {
                tree.insert(*pattern, index)
                    .expect("the patterns of the table are well formed and differ");
            }
        }
        Router { first, paths, tree }
    }

    fn find<'a>(&'static self, method: &Method, path: &'a str) -> Matched<'a> {
        for prefix in &self.first {
            if prefix.route.method.is(method)
                && let Some(parameter) = prefix.strip(path)
            {
                return Matched::Route(prefix.route, parameter);
            }
        }
        // Only the form of a CONNECT has no path.
        let path = if path.is_empty() { "/" } else { path };
        let found = self.tree.at(path).ok();
        let Some(found) = found.or_else(|| self.with_slash(path)) else {
            return Matched::Nothing;
        };
        let parameter = found.params.iter().next().map(|(_, text)| text);
        if parameter == Some("") {
            return Matched::Nothing;
        }
        let path = &self.paths[*found.value];
        match path.routes.iter().find(|route| route.method.is(method)) {
            Some(route) => Matched::Route(route, parameter.unwrap_or_default()),
            None => Matched::OtherMethods(&path.methods, &path.routes),
        }
    }

    /// A name or a CID at the end of a path is often copied with a slash behind it.
    fn with_slash<'a>(&'static self, path: &'a str) -> Option<Match<'static, 'a, &'static usize>> {
        let found = self.tree.at(path.strip_suffix('/')?).ok()?;
        let pattern = self.paths[*found.value].pattern;
        pattern.ends_with('}').then_some(found)
    }
}

impl Prefix {
    /// None where the parameter is not the end of the path.
    fn new(route: &'static Route) -> Option<Prefix> {
        let (text, parameter) = route.path.strip_suffix('}')?.split_once('{')?;
        Some(Prefix {
            text,
            takes_rest: parameter.starts_with('*'),
            route,
        })
    }

    /// The parameter, where this is the beginning of the path.
    fn strip<'a>(&self, path: &'a str) -> Option<&'a str> {
        let parameter = path.strip_prefix(self.text)?;
        let is_taken = !parameter.is_empty() && (self.takes_rest || !parameter.contains('/'));
        is_taken.then_some(parameter)
    }
}

impl Path {
    fn new(route: &'static Route) -> Path {
        Path {
            pattern: route.path,
            routes: vec![route],
            methods: String::new(),
        }
    }

    fn name_methods(&mut self) {
        let is_there = |verb: &RouteMethod| self.routes.iter().any(|route| route.method == *verb);
        let verbs = RouteMethod::ALL.into_iter().filter(is_there);
        let methods: Vec<&str> = verbs.map(RouteMethod::methods).chain(["OPTIONS"]).collect();
        self.methods = methods.join(", ");
    }
}

#[cfg(test)]
mod tests;
