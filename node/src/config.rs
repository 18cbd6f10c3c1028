//! The node's configuration: a TOML file, the environment and flags, merged and checked as one.
//!
//! Owns the list of settings ([`settings`]), their defaults, and every message about a value that is refused. A setting is one
//! entry in the file of its table.
//! A later source wins: default, file, environment (`PERENNIS_HTTP_LISTEN` for `http.listen`), flag. A problem
//! names the setting, where it was given (file and line, variable, flag) and what to write instead, and all
//! problems are told at once. No setting holds a secret: only the names of files that do.

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::LazyLock;

use perennis_store::IndexEngine;

mod admission;
mod cache;
mod callers;
mod error;
mod fetch;
mod file;
mod follow;
mod http;
mod import;
mod ipns;
mod keystore;
mod log;
mod memory;
mod p2p;
mod pins;
mod probe;
mod provide;
mod reclaim;
mod scrub;
mod setting;
mod syntax;
mod value;

pub use admission::AdmissionConfig;
pub use cache::CacheConfig;
pub use callers::{AdminListen, AllowedOrigins, IpPrefix, NoPrefix, PublishPolicy};
pub use fetch::FetchConfig;
pub use follow::FollowConfig;
pub use http::HttpConfig;
pub use import::ImportConfig;
pub use ipns::{HotConfig, IpnsConfig};
pub use keystore::KeystoreConfig;
pub use log::{LogConfig, LogFormat};
pub use p2p::{DEFAULT_P2P_LISTEN, P2pConfig};
pub use pins::PinsConfig;
pub use probe::ProbeConfig;
pub use provide::{ProvideConfig, ProvideStrategy};
pub use reclaim::ReclaimConfig;
pub use scrub::ScrubConfig;
pub use setting::Setting;
use setting::{Table, table};
use value::Given;

/// What the variables of settings begin with.
const VARIABLE_PREFIX: &str = "PERENNIS_";

/// Variables with this prefix that are of no setting: the command line's.
const OTHER_VARIABLES: [&str; 2] = ["HOME", "TOKEN_FILE"];

table! {
    /// Everything that can be set about a node.
    pub struct Config at config {
        data: PathBuf = PathBuf::from("perennis-data"),
            "data" as syntax::Path,
            "directory of the node's data";
    }
    tables {
        /// The HTTP server.
        http: HttpConfig,
        /// The peer-to-peer network.
        p2p: P2pConfig,
        /// IPNS records and their republishing.
        ipns: IpnsConfig,
        /// Telling the DHT what is kept here.
        provide: ProvideConfig,
        /// Names of others that are followed.
        follow: FollowConfig,
        /// Measuring the routes of records.
        probe: ProbeConfig,
        /// Who may store how much.
        admission: AdmissionConfig,
        /// Pinning.
        pins: PinsConfig,
        /// Fetching what somebody asks for.
        fetch: FetchConfig,
        /// Importing files of the operator's.
        import: ImportConfig,
        /// What is kept in memory for reading.
        cache: CacheConfig,
        /// Reading everything again to find damage.
        scrub: ScrubConfig,
        /// Giving space back that nothing needs any more.
        reclaim: ReclaimConfig,
        /// The node's own key.
        keystore: KeystoreConfig,
        /// Log lines.
        log: LogConfig,
    }
    beside {
        /// Where the store's index is held. It is no setting: a node of an operator keeps it on the disk, in RocksDB. What runs a node
        /// inside its own process, as tests do, may hold it in memory and be built without the feature `rocksdb`.
        index: IndexEngine,
    }
}

/// Every setting, in the order of the documentation.
#[must_use]
pub fn settings() -> &'static [Setting] {
    static SETTINGS: LazyLock<Vec<Setting>> = LazyLock::new(|| {
        let mut settings = Vec::new();
        Config::list(&mut settings);
        settings
    });
    &SETTINGS
}

/// The name under which the DHT stands among the routers.
pub const DHT_ROUTER: &str = "dht";

impl Config {
    /// Everybody who is told of records: the endpoints, and the DHT.
    #[must_use]
    pub fn routers(&self) -> Vec<String> {
        let mut routers = self.ipns.routers.clone();
        if self.p2p.has_dht() {
            routers.push(DHT_ROUTER.to_owned());
        }
        routers
    }
}

/// Where settings come from, beside their defaults.
#[derive(Clone, Debug, Default)]
pub struct Sources {
    /// The TOML file.
    pub file: Option<PathBuf>,
    /// Variables; those that begin with `PERENNIS_` are looked at.
    pub environment: Vec<(String, String)>,
    /// Flags, as the key of the setting and its value.
    pub flags: Vec<(String, String)>,
}

impl Sources {
    /// The given file and flags, and the variables of this process.
    #[must_use]
    pub fn of_process(file: Option<PathBuf>, flags: Vec<(String, String)>) -> Self {
        let environment = std::env::vars_os()
            .filter_map(|(key, value)| Some((key.into_string().ok()?, value.into_string().ok()?)))
            .filter(|(key, _)| key.starts_with(VARIABLE_PREFIX))
            .collect();
        Self {
            file,
            environment,
            flags,
        }
    }
}

/// A configuration with the origin of each setting.
#[derive(Clone, Debug)]
pub struct Loaded {
    /// The configuration.
    pub config: Config,
    /// Every setting, in the order of the documentation.
    pub shown: Vec<ShownSetting>,
}

/// What a setting comes to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ShownSetting {
    /// Its key, such as `http.listen`.
    pub key: &'static str,
    /// Its value as text.
    pub value: String,
    /// Where it was given.
    pub origin: Origin,
}

/// Where a value was given.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Origin {
    /// Nowhere.
    Default,
    /// In the file.
    File {
        /// The file.
        path: PathBuf,
        /// The line, from 1.
        line: usize,
    },
    /// In a variable.
    Variable(String),
    /// By a flag.
    Flag(String),
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Origin::Default => f.write_str("default"),
            Origin::File { path, line } => write!(f, "{}:{line}", path.display()),
            Origin::Variable(name) => write!(f, "variable {name}"),
            Origin::Flag(key) => write!(f, "flag for {key}"),
        }
    }
}

/// Reads and merges all sources, and checks every setting.
///
/// # Errors
/// All problems that were found, when there is one.
pub fn load(sources: &Sources) -> Result<Loaded, ConfigError> {
    let mut problems = Vec::new();
    let mut given: Vec<(String, Given)> = Vec::new();
    if let Some(path) = &sources.file {
        match file::read(path) {
            Ok(rows) => given.extend(rows),
            Err(found) => problems.push(found),
        }
    }
    for (name, value) in &sources.environment {
        let setting = settings()
            .iter()
            .find(|setting| variable_of(setting.key) == *name);
        match setting {
            Some(setting) => {
                let origin = Origin::Variable(name.clone());
                given.push((setting.key.to_owned(), Given::text(value, origin)));
            }
            None => problems.extend(misspelt(name)),
        }
    }
    for (key, value) in &sources.flags {
        given.push((key.clone(), Given::text(value, Origin::Flag(key.clone()))));
    }

    let mut config = Config::default();
    let mut shown: Vec<ShownSetting> = Vec::with_capacity(settings().len());
    for (key, value) in &given {
        if settings().iter().all(|setting| setting.key != key) {
            problems.push(unknown(key, value));
        }
    }
    for setting in settings() {
        // The last source wins; a value that it replaces is checked all the same.
        let mut origin = Origin::Default;
        for (_, value) in given.iter().filter(|(key, _)| key == setting.key) {
            origin = value.origin.clone();
            if let Err(refusal) = (setting.set)(&mut config, value) {
                problems.push(Problem {
                    key: setting.key.to_owned(),
                    origin: value.origin.clone(),
                    message: format!("{} {}", value.quoted(), refusal.message),
                    fix: refusal.fix,
                });
            }
        }
        shown.push(ShownSetting {
            key: setting.key,
            value: (setting.show)(&config),
            origin,
        });
    }
    if problems.is_empty() {
        problems.extend(contradictions(&config, &shown));
    }
    if problems.is_empty() {
        Ok(Loaded { config, shown })
    } else {
        Err(ConfigError { problems })
    }
}

/// The variable of a setting.
#[must_use]
pub fn variable_of(key: &str) -> String {
    let name = key.replace(['.', '-'], "_").to_uppercase();
    format!("{VARIABLE_PREFIX}{name}")
}

/// A variable that can only be meant for a setting: it begins with the name of a table, or is nearly the variable of one. Others
/// with the prefix belong to other programs.
fn misspelt(variable: &str) -> Option<Problem> {
    let upper = variable.to_uppercase();
    let name = upper.strip_prefix(VARIABLE_PREFIX)?;
    if OTHER_VARIABLES.contains(&name) {
        return None;
    }
    let of_settings = settings().iter().map(|setting| variable_of(setting.key));
    let of_others = OTHER_VARIABLES
        .iter()
        .map(|other| format!("{VARIABLE_PREFIX}{other}"));
    let nearest = of_settings
        .chain(of_others)
        .map(|known| (distance(&known, &upper), known))
        .min()
        .filter(|(distance, known)| {
            let length = known.len() - VARIABLE_PREFIX.len();
            *distance <= usize::min(2, length / 2)
        });
    let is_of_table = settings()
        .iter()
        .filter_map(|setting| setting.key.split_once('.'))
        .any(|(table, _)| {
            let rest = name.strip_prefix(&*table.to_uppercase());
            rest.is_some_and(|rest| rest.starts_with('_'))
        });
    if nearest.is_none() && !is_of_table {
        return None;
    }
    Some(Problem {
        key: String::new(),
        origin: Origin::Variable(variable.to_owned()),
        message: "it belongs to no setting".to_owned(),
        fix: match nearest {
            Some((_, known)) => format!("did you mean {known}?"),
            None => "unset it; `perennis config check` lists all settings".to_owned(),
        },
    })
}

fn unknown(key: &str, value: &Given) -> Problem {
    let nearest = settings()
        .iter()
        .map(|setting| (distance(setting.key, key), setting.key))
        .min()
        .filter(|(distance, _)| *distance <= 3);
    Problem {
        key: key.to_owned(),
        origin: value.origin.clone(),
        message: "is no setting".to_owned(),
        fix: match nearest {
            Some((_, name)) => format!("did you mean {name}?"),
            None => "remove it; `perennis config check` lists all settings".to_owned(),
        },
    }
}

/// Rules between settings.
fn contradictions(config: &Config, shown: &[ShownSetting]) -> Vec<Problem> {
    let origin = |key: &str| {
        shown
            .iter()
            .find(|setting| setting.key == key)
            .map_or(Origin::Default, |setting| setting.origin.clone())
    };
    let mut problems = Vec::new();
    let admission = &config.admission;
    if admission.memory_bytes < admission.message_bytes {
        problems.push(Problem {
            key: "admission.memory".to_owned(),
            origin: origin("admission.memory"),
            message: "is less than admission.message-size, so the largest message could never be received"
                .to_owned(),
            fix: "raise admission.memory or lower admission.message-size".to_owned(),
        });
    }
    problems
}

/// Edit distance of two short words.
fn distance(a: &str, b: &str) -> usize {
    let b: Vec<char> = b.chars().take(64).collect();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, from) in a.chars().take(64).enumerate() {
        let mut corner = i;
        row[0] = i + 1;
        for (j, to) in b.iter().enumerate() {
            let replaced = corner + usize::from(from != *to);
            corner = row[j + 1];
            row[j + 1] = replaced.min(row[j] + 1).min(corner + 1);
        }
    }
    row.last().copied().unwrap_or_default()
}

/// One thing that is wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// The setting; empty when the file as a whole is meant.
    pub key: String,
    /// Where it was given.
    pub origin: Origin,
    /// What is wrong.
    pub message: String,
    /// What to write instead.
    pub fix: String,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: ", self.origin)?;
        if !self.key.is_empty() {
            write!(f, "{} ", self.key)?;
        }
        write!(f, "{}; {}", self.message, self.fix)
    }
}

/// Why a configuration is refused: every problem that was found.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{}", problems.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n"))]
pub struct ConfigError {
    /// The problems, at least one.
    pub problems: Vec<Problem>,
}

/// Checks a configuration without starting anything: the settings, and that the files they name can be read.
///
/// # Errors
/// As [`load`].
pub fn check(sources: &Sources) -> Result<Loaded, ConfigError> {
    let loaded = load(sources)?;
    let mut problems = Vec::new();
    let named = [
        ("http.token-file", loaded.config.http.token_file.as_deref()),
        ("http.tokens", loaded.config.http.tokens.as_deref()),
        (
            "keystore.passphrase-file",
            loaded.config.keystore.passphrase_file.as_deref(),
        ),
    ];
    for (key, path) in named {
        if let Some(problem) = path.and_then(|path| unreadable(key, path, &loaded)) {
            problems.push(problem);
        }
    }
    if problems.is_empty() {
        Ok(loaded)
    } else {
        Err(ConfigError { problems })
    }
}

fn unreadable(key: &str, path: &Path, loaded: &Loaded) -> Option<Problem> {
    let error = std::fs::File::open(path).err()?;
    let shown = loaded.shown.iter().find(|setting| setting.key == key)?;
    Some(Problem {
        key: key.to_owned(),
        origin: shown.origin.clone(),
        message: format!("names {}, which cannot be read: {error}", path.display()),
        fix: "write the file, readable by the node's user only".to_owned(),
    })
}

#[cfg(test)]
mod guide;
#[cfg(test)]
mod tests;
