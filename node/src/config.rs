//! The node's configuration: a TOML file, the environment and flags, merged and checked as one.
//!
//! Owns the list of settings ([`settings`]), their defaults, and every message about a value that is refused.
//! A later source wins: default, file, environment (`PERENNIS_HTTP_LISTEN` for `http.listen`), flag. A problem
//! names the setting, where it was given (file and line, variable, flag) and what to write instead, and all
//! problems are told at once. No setting holds a secret: only the names of files that do.

use std::fmt;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use perennis_net::{Bootstrap, DhtMode, Multiaddr, NetLimits, PeerId};
use perennis_shared::ipns::Name;
use perennis_store::IndexEngine;

mod error;
mod file;
mod memory;
mod routing;
mod settings;
mod value;

pub use routing::{HotConfig, IpnsConfig, ProbeConfig, ProvideConfig, ProvideStrategy};
pub use settings::{Setting, settings};
use value::Given;

/// What the variables of settings begin with.
const VARIABLE_PREFIX: &str = "PERENNIS_";

/// Everything that can be set about a node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Config {
    /// Directory of the node's data.
    pub data: PathBuf,
    /// Where the store's index is held. It is no setting: a node of an operator keeps it on the disk, in RocksDB. What runs a node
    /// inside its own process, as tests do, may hold it in memory and be built without the feature `rocksdb`.
    pub index: IndexEngine,
    /// The HTTP server.
    pub http: HttpConfig,
    /// The peer-to-peer network.
    pub p2p: P2pConfig,
    /// IPNS records and their republishing.
    pub ipns: IpnsConfig,
    /// Names of others that are followed.
    pub follow: FollowConfig,
    /// Telling the DHT what is kept here.
    pub provide: ProvideConfig,
    /// Measuring the routes of records.
    pub probe: ProbeConfig,
    /// Who may store how much.
    pub admission: AdmissionConfig,
    /// Pinning.
    pub pins: PinsConfig,
    /// What is kept in memory for reading.
    pub cache: CacheConfig,
    /// Reading everything again to find damage.
    pub scrub: ScrubConfig,
    /// The node's own key.
    pub keystore: KeystoreConfig,
    /// Log lines.
    pub log: LogConfig,
}

/// The HTTP server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HttpConfig {
    /// Address and port; port 0 takes a free one.
    pub listen: SocketAddr,
    /// File with the token that calls which change something must carry when the address is not a loopback one.
    pub token_file: Option<PathBuf>,
    /// Connections served at once; further ones wait to be accepted.
    pub max_connections: usize,
    /// How long a client may take to send the head of a request, and how long a connection may be idle.
    pub header_timeout: Duration,
    /// How long a client may pause inside a body; and how long it may be slow in taking an answer while others wait for
    /// the memory of it.
    pub idle_timeout: Duration,
    /// How long a body may take altogether.
    pub body_timeout: Duration,
    /// Memory in bytes for answers that clients have not taken yet, all together.
    pub answer_memory_bytes: u64,
}

/// The peer-to-peer network.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct P2pConfig {
    /// Addresses to listen on; `None` until they are set, which is [`DEFAULT_P2P_LISTEN`] where it is free.
    pub listen: Option<Vec<Multiaddr>>,
    /// Addresses to tell others, beside those that are found out.
    pub announce: Vec<Multiaddr>,
    /// Whom to dial first.
    pub bootstrap: Bootstrap,
    /// The part in the DHT.
    pub dht: DhtMode,
    /// Whether records are told and heard by gossip.
    pub pubsub: bool,
    /// Most names followed by gossip.
    pub pubsub_names: usize,
    /// The time in which each of their records is told of again.
    pub pubsub_period: Duration,
    /// Whether a map of the whole DHT is kept, so that puts need no lookups.
    pub accelerated: bool,
    /// Connections, from outside and to outside together.
    pub max_connections: usize,
    /// Connections that others opened.
    pub max_inbound: usize,
    /// Connections that others opened from one address group.
    pub max_per_group: usize,
    /// Memory of the process in bytes above which no connection is taken, beside what is set aside for other things.
    pub memory_bytes: u64,
    /// Peers that are never spoken to.
    pub deny: Vec<PeerId>,
    /// When not empty, the only peers that are spoken to.
    pub allow: Vec<PeerId>,
}

/// What a node listens on when it is told nothing; when it is taken, a free port.
pub const DEFAULT_P2P_LISTEN: &[&str] = &["/ip4/0.0.0.0/tcp/4781", "/ip4/0.0.0.0/udp/4781/quic-v1"];

impl P2pConfig {
    /// Whether records are put to the DHT.
    #[must_use]
    pub fn has_dht(&self) -> bool {
        self.dht != DhtMode::Off
    }
}

/// Names of others that are followed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FollowConfig {
    /// Time between two searches for the record of one name.
    pub period: Duration,
}

/// Who may store how much.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AdmissionConfig {
    /// Names that may publish; empty lets every name.
    pub allow: Vec<Name>,
    /// Most names kept.
    pub max_names: u64,
    /// Most bytes of blocks kept for one name.
    pub name_bytes: u64,
    /// Most blocks kept for one name.
    pub name_blocks: u64,
    /// Largest publish message, in bytes.
    pub message_bytes: u64,
    /// Memory for messages that are being received, in bytes.
    pub memory_bytes: u64,
    /// Writes per minute for one name.
    pub name_rate: u32,
    /// Writes per minute from one address; loopback addresses are not counted.
    pub address_rate: u32,
}

/// Pinning.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PinsConfig {
    /// Time between two scans of all heads.
    pub scan_period: Duration,
    /// Gateways asked for blocks that are missing, beside those a DID document lists.
    pub sources: Vec<String>,
    /// Whether sources that a DID document lists may be loopback or private addresses.
    pub allow_private_sources: bool,
}

/// What is kept in memory for reading.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CacheConfig {
    /// Verified blocks, in bytes.
    pub block_bytes: u64,
    /// Encoded records.
    pub records: usize,
}

/// Reading everything again to find damage.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ScrubConfig {
    /// Time from the end of a round to the next.
    pub period: Duration,
    /// Most bytes read in a second.
    pub bytes_per_second: u64,
}

/// The node's own key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeystoreConfig {
    /// File with the passphrase that seals the node's key; without it one is made in the data directory.
    pub passphrase_file: Option<PathBuf>,
}

/// Log lines.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogConfig {
    /// How they look.
    pub format: LogFormat,
    /// Which are written: `error` to `trace`, or a filter such as `info,perennis_node::workers=debug`.
    pub filter: String,
}

/// How log lines look.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogFormat {
    /// For people.
    Human,
    /// One JSON object a line.
    Json,
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

impl Default for Config {
    fn default() -> Self {
        const MINUTE: Duration = Duration::from_secs(60);
        const MIB: u64 = 1 << 20;
        let limits = NetLimits::default();
        Self {
            data: PathBuf::from("perennis-data"),
            index: IndexEngine::default(),
            http: HttpConfig {
                listen: SocketAddr::from(([127, 0, 0, 1], 4780)),
                token_file: None,
                max_connections: 1_024,
                header_timeout: Duration::from_secs(10),
                idle_timeout: Duration::from_secs(10),
                body_timeout: 2 * MINUTE,
                answer_memory_bytes: 256 * MIB,
            },
            p2p: P2pConfig {
                listen: None,
                announce: Vec::new(),
                bootstrap: Bootstrap::Public,
                dht: DhtMode::Server,
                pubsub: true,
                pubsub_names: 1_024,
                pubsub_period: 10 * MINUTE,
                accelerated: false,
                max_connections: limits.connections as usize,
                max_inbound: limits.inbound as usize,
                max_per_group: limits.per_group as usize,
                memory_bytes: limits.process_bytes as u64,
                deny: Vec::new(),
                allow: Vec::new(),
            },
            ipns: IpnsConfig {
                republish_period: 240 * MINUTE,
                republish_concurrency: 16,
                routers: Vec::new(),
                hot: HotConfig {
                    period: 60 * MINUTE,
                    resolves: 60,
                    half_life: 6 * 60 * MINUTE,
                    names: 10_000,
                },
            },
            follow: FollowConfig {
                period: 60 * MINUTE,
            },
            provide: ProvideConfig {
                strategy: ProvideStrategy::Roots,
                period: 22 * 60 * MINUTE,
                concurrency: 16,
            },
            probe: ProbeConfig {
                period: Some(15 * MINUTE),
            },
            admission: AdmissionConfig {
                allow: Vec::new(),
                max_names: 1_000_000,
                name_bytes: 256 * MIB,
                name_blocks: 262_144,
                message_bytes: 32 * MIB,
                memory_bytes: 256 * MIB,
                name_rate: 60,
                address_rate: 600,
            },
            pins: PinsConfig {
                scan_period: 60 * MINUTE,
                sources: Vec::new(),
                allow_private_sources: false,
            },
            cache: CacheConfig {
                block_bytes: 64 * MIB,
                records: 65_536,
            },
            scrub: ScrubConfig {
                period: 7 * 24 * 60 * MINUTE,
                bytes_per_second: 16 * MIB,
            },
            keystore: KeystoreConfig {
                passphrase_file: None,
            },
            log: LogConfig {
                format: LogFormat::Human,
                filter: "info".to_owned(),
            },
        }
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
        // Other variables of this prefix belong to the command line.
        if let Some(setting) = settings()
            .iter()
            .find(|setting| variable_of(setting.key) == *name)
        {
            let origin = Origin::Variable(name.clone());
            given.push((setting.key.to_owned(), Given::text(value, origin)));
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
    let listen = config.http.listen;
    if !listen.ip().is_loopback() && config.http.token_file.is_none() {
        problems.push(Problem {
            key: "http.listen".to_owned(),
            origin: origin("http.listen"),
            message: format!("{listen} can be reached from other machines, and no token protects writing"),
            fix: "set http.token-file to a file with a token of at least 16 characters, or listen on 127.0.0.1".to_owned(),
        });
    }
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
mod tests;
