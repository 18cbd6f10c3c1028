//! From a passphrase to the keys of an identity, the same on every device.
//!
//! Profile v1 is kept bit-exact for identities that exist: scrypt over the raw passphrase with a constant salt gives
//! the seed of one Ed25519 key, which is both the `did:key` and the IPNS key. Profile v2, the default, takes four
//! times the memory, binds the account's name into the salt (so that one guess tests one account, not every user at
//! once), reads the passphrase in one Unicode form (NFKD), and gives every purpose a key of its own through HKDF.

use alloc::boxed::Box;
use alloc::string::String;
use alloc::vec::Vec;
use core::fmt::Write as _;

use unicode_normalization::UnicodeNormalization;
use zeroize::Zeroizing;

use crate::did::Did;
use crate::ipns::Name;
use crate::kdf::{self, Cost, SECRET_BYTES};
use crate::limits::{ACCOUNT_BYTES, LimitExceeded, PASSPHRASE_BYTES};
use crate::passphrase::{self, WeakPassphrase};
use crate::sign::{SEED_BYTES, SignEngine, SigningKey};

/// The salt of profile v1 and the beginning of the salt of profile v2.
const DOMAIN_SALT: &[u8] = b"xcom-did-v1";

/// HKDF salt of the key tree of profile v2.
const TREE_SALT: &[u8] = b"perennis/identity/v2";

/// How an identity's keys come from its passphrase.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Profile {
    /// scrypt N=2^15 with a constant salt; one key for everything. For identities that exist already.
    V1,
    /// scrypt N=2^17 with the account in the salt; one key for each purpose. For new identities.
    V2,
}

impl Profile {
    /// The profile's name in commands and files: `v1` or `v2`.
    pub const fn as_str(self) -> &'static str {
        match self {
            Profile::V1 => "v1",
            Profile::V2 => "v2",
        }
    }

    /// The profile of a name, as [`Profile::as_str`] gives it.
    pub fn parse(text: &str) -> Option<Profile> {
        [Profile::V1, Profile::V2]
            .into_iter()
            .find(|profile| profile.as_str() == text)
    }
}

/// What a derived secret is for. Each purpose has a label and a generation, which counts replaced keys from 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Purpose {
    /// The Ed25519 seed of the key that signs log entries and is the `did:key`.
    Did,
    /// The Ed25519 seed of the key that signs IPNS records.
    Ipns,
}

impl Purpose {
    const fn label(self) -> &'static str {
        match self {
            Purpose::Did => "did",
            Purpose::Ipns => "ipns",
        }
    }
}

/// The keys of one identity, erased when dropped.
pub struct Identity {
    profile: Profile,
    root: Zeroizing<[u8; SECRET_BYTES]>,
    did_key: SigningKey,
    ipns_key: SigningKey,
}

impl Identity {
    /// Derives an identity of profile v1 from the raw bytes of its passphrase, without any normalisation. Takes 32 MiB
    /// and about 0.1 s.
    ///
    /// # Errors
    /// Refuses an empty passphrase and one above [`PASSPHRASE_BYTES`]. Any other gives an identity: a wrong passphrase
    /// gives a different one.
    pub fn derive_v1(passphrase: &[u8]) -> Result<Identity, DeriveError> {
        check_passphrase(passphrase)?;
        Ok(Identity::from_root(
            Profile::V1,
            kdf::stretch(passphrase, DOMAIN_SALT, Cost::V1),
        ))
    }

    /// Derives an identity of profile v2 from its passphrase and account. Takes 128 MiB and about 0.5 s.
    ///
    /// The account is read leniently, so that two spellings do not make two identities: white space around it and one
    /// leading `@` are dropped, ASCII letters become small, and the rest is normalised (NFKD). It may be empty.
    ///
    /// # Errors
    /// Refuses an empty passphrase, one above [`PASSPHRASE_BYTES`], and an account above [`ACCOUNT_BYTES`]. Any other
    /// pair gives an identity: a wrong passphrase or account gives a different one.
    pub fn derive_v2(passphrase: &str, account: &str) -> Result<Identity, DeriveError> {
        check_passphrase(passphrase.as_bytes())?;
        let salt = salt_v2(account)?;
        Ok(Identity::from_root(
            Profile::V2,
            kdf::stretch(kdf::normalise(passphrase).as_bytes(), &salt, Cost::V2),
        ))
    }

    /// Derives a new identity, of profile v2, from a passphrase that is good enough for one ([`passphrase::check`]). One that
    /// exists is derived from whatever its passphrase is: [`Identity::derive_v2`].
    ///
    /// # Errors
    /// [`CreateError::Weak`] says how far off the passphrase is; else as [`Identity::derive_v2`].
    pub fn create(passphrase: &str, account: &str) -> Result<Identity, CreateError> {
        passphrase::check(passphrase)?;
        Ok(Identity::derive_v2(passphrase, account)?)
    }

    /// Builds an identity again from its root secret, as [`Identity::root`] gave it.
    pub fn from_root(profile: Profile, root: Zeroizing<[u8; SECRET_BYTES]>) -> Identity {
        let did_key = SigningKey::from_seed(&derive(profile, &root, Purpose::Did, 0));
        let ipns_key = SigningKey::from_seed(&derive(profile, &root, Purpose::Ipns, 0));
        Identity {
            profile,
            root,
            did_key,
            ipns_key,
        }
    }

    /// Signs with the engines that `make` gives for the seeds of its keys: [`SigningKey::with_engine`].
    #[must_use]
    pub fn with_engine(
        mut self,
        make: impl Fn(&[u8; SEED_BYTES]) -> Option<Box<dyn SignEngine>>,
    ) -> Identity {
        self.did_key = self.did_key.with_engine(&make);
        self.ipns_key = self.ipns_key.with_engine(&make);
        self
    }

    /// The secret everything else comes from. Whoever has it is this identity: it may only be written sealed
    /// ([`crate::keywrap`]).
    pub fn root(&self) -> &[u8; SECRET_BYTES] {
        &self.root
    }

    /// How the keys came from the passphrase.
    pub fn profile(&self) -> Profile {
        self.profile
    }

    /// The identity's name: the `did:key` for profile v1 (these exist already), `did:ipns` for profile v2.
    pub fn did(&self) -> Did {
        match self.profile {
            Profile::V1 => self.did_key_did(),
            Profile::V2 => self.did_ipns(),
        }
    }

    /// The other name of the same identity, for `alsoKnownAs`.
    pub fn also_known_as(&self) -> Did {
        match self.profile {
            Profile::V1 => self.did_ipns(),
            Profile::V2 => self.did_key_did(),
        }
    }

    fn did_ipns(&self) -> Did {
        Did::from_name(self.name()).expect("the name is of an Ed25519 key")
    }

    /// The `did:key` of the key that signs log entries, as text.
    pub fn did_key_uri(&self) -> String {
        let mut text = String::new();
        write!(text, "{}", self.did_key_did()).expect("writing to a string does not fail");
        text
    }

    fn did_key_did(&self) -> Did {
        Did::from_key(&self.did_key.public())
    }

    /// The IPNS name under which this identity publishes.
    pub fn name(&self) -> Name {
        Name::from_public_key(&self.ipns_key.public())
    }

    /// The key that signs log entries.
    pub fn signer(&self) -> &SigningKey {
        &self.did_key
    }

    /// The key that signs IPNS records.
    pub fn ipns_signer(&self) -> &SigningKey {
        &self.ipns_key
    }

    /// The secret of a purpose, in its first generation. Under profile v1 every purpose has the same one.
    pub fn secret(&self, purpose: Purpose) -> Zeroizing<[u8; SECRET_BYTES]> {
        derive(self.profile, &self.root, purpose, 0)
    }
}

/// `info` is `<label>/<generation>`; under profile v1 the root itself is the only secret.
fn derive(
    profile: Profile,
    root: &Zeroizing<[u8; SECRET_BYTES]>,
    purpose: Purpose,
    generation: u32,
) -> Zeroizing<[u8; SECRET_BYTES]> {
    match profile {
        Profile::V1 => root.clone(),
        Profile::V2 => {
            let info = alloc::format!("{}/{generation}", purpose.label());
            kdf::expand(root.as_slice(), TREE_SALT, info.as_bytes())
        }
    }
}

fn check_passphrase(passphrase: &[u8]) -> Result<(), DeriveError> {
    if passphrase.is_empty() {
        return Err(DeriveError::EmptyPassphrase);
    }
    LimitExceeded::check("passphrase bytes", PASSPHRASE_BYTES, passphrase.len())?;
    Ok(())
}

/// `xcom-did-v1`, a zero byte, the account's length as four bytes (big endian), the account.
fn salt_v2(account: &str) -> Result<Vec<u8>, DeriveError> {
    LimitExceeded::check("account bytes", ACCOUNT_BYTES, account.len())?;
    let account = account.trim();
    let account: String = account
        .strip_prefix('@')
        .unwrap_or(account)
        .nfkd()
        .map(|letter| letter.to_ascii_lowercase())
        .collect();
    let length = u32::try_from(account.len()).expect("the account was checked against its limit");
    Ok([DOMAIN_SALT, &[0], &length.to_be_bytes(), account.as_bytes()].concat())
}

/// Why no identity is derived.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum DeriveError {
    /// An empty passphrase is everybody's.
    #[error("the passphrase is empty")]
    EmptyPassphrase,
    /// Passphrase or account are longer than allowed.
    #[error(transparent)]
    TooLong(#[from] LimitExceeded),
}

/// Why no new identity is made.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum CreateError {
    /// The passphrase could be guessed.
    #[error(transparent)]
    Weak(#[from] WeakPassphrase),
    /// Nothing can be derived from it.
    #[error(transparent)]
    Derive(#[from] DeriveError),
}

#[cfg(test)]
mod tests {
    use alloc::string::ToString;

    use super::*;

    fn seeds(identity: &Identity) -> [String; 3] {
        [
            hex::encode(identity.root()),
            hex::encode(*identity.secret(Purpose::Did)),
            hex::encode(*identity.secret(Purpose::Ipns)),
        ]
    }

    #[test]
    fn a_new_identity_wants_a_passphrase_that_cannot_be_guessed() {
        let weak = Identity::create("1234567890123456789", "").err();
        assert!(matches!(weak, Some(CreateError::Weak(_))), "{weak:?}");
        let phrase = "orbit velvet canyon ladder mosaic thimble";
        let made = Identity::create(phrase, "@Alice").unwrap();
        let again = Identity::derive_v2(phrase, "alice").unwrap();
        assert_eq!(made.did(), again.did());
    }

    #[test]
    fn profile_v1_is_one_key_for_everything() {
        let identity = Identity::derive_v1("naïve café résumé".as_bytes()).unwrap();
        let seed = "3878964fa43660617a609e924fd635738c965900ea93d83e58e5bcd75aa1dbf2";
        assert_eq!(seeds(&identity), [seed; 3]);
        let did = "did:key:z6MkoyuTERdKoa4DCJdHGy8MZcP2T5uPPU8sE2a8PU2z5uvK";
        let name = "k51qzi5uqu5djpm906k1nuotmlmcdl3njl3o9ujz1hg9ixvwfy2rnh6b8ub4s4";
        assert_eq!(identity.did().to_string(), did);
        assert_eq!(identity.did_key_uri(), did);
        assert_eq!(identity.name().to_string(), name);
        assert_eq!(
            identity.also_known_as().to_string(),
            alloc::format!("did:ipns:{name}")
        );
        assert_eq!(identity.signer().public(), identity.ipns_signer().public());
        assert_eq!(identity.did().name(), identity.name());
    }

    /// The expected values come from Python's standard library: `hashlib.scrypt(NFKD(passphrase), salt=b"xcom-did-v1\0"
    /// + len(account) as 4 bytes + account, n=2**17, r=8, p=1)`, then HKDF written out with `hmac` (extract with the salt
    /// `perennis/identity/v2`, one block of expand with `did/0` and `ipns/0`).
    #[test]
    fn profile_v2_is_what_an_independent_implementation_derives() {
        let table = [
            (
                "correct horse battery staple",
                "",
                [
                    "ffe4c10b5d8841d5f04f0eb77bcd71a80d4f4446bd95e5327516d480b58cbc30",
                    "04574024f59254d47adb80ed70ef0ac4241454b1e133d40a085c70738ba9d882",
                    "7868b260c57e270a8801da23eafafd54c813e547e84368c6b0b4687d58c2c5e3",
                ],
            ),
            (
                "correct horse battery staple",
                " @Alice\n",
                [
                    "3b73561569880f76b2bcd6853486f33c1fe4221eede1bd7d50cd58aac03d5c3e",
                    "b919601353689b9d2e1e273f440668b68e7613bd755806b0ec1267253541dbc9",
                    "ddd09f3969a953426ddadd81fc03326948ea72bc74a37300e3d35988606c75e4",
                ],
            ),
            (
                "naïve café Ⅸ ﬁ 🔑",
                "@Ünï_Code",
                [
                    "2a14fc54f9a681c7f49b0dc186b329afacc8bd5f60cc999f78cc12b80d3c0dfc",
                    "7a319ce360683119f8c818ea31c7e24aa1fe0f640663f659079c1c7a7e0c33fa",
                    "d37641d25ca22d6ba08e8cce6e9b05ff849598136eefa4331e4de354d94a589f",
                ],
            ),
        ];
        for (passphrase, account, expected) in table {
            let identity = Identity::derive_v2(passphrase, account).unwrap();
            assert_eq!(seeds(&identity), expected, "{passphrase} {account}");
            assert_eq!(Some(identity.did()), Did::from_name(identity.name()));
            assert_eq!(identity.also_known_as().to_string(), identity.did_key_uri());
            assert_ne!(identity.signer().public(), identity.ipns_signer().public());
        }
    }

    #[test]
    fn composed_and_decomposed_passphrases_are_one_in_v2_and_two_in_v1() {
        let v2 = |phrase| seeds(&Identity::derive_v2(phrase, "").unwrap());
        assert_eq!(v2("caf\u{e9}"), v2("cafe\u{301}"));
        let v1 = |phrase: &str| seeds(&Identity::derive_v1(phrase.as_bytes()).unwrap());
        assert_ne!(v1("caf\u{e9}"), v1("cafe\u{301}"));
    }

    #[test]
    fn the_root_secret_gives_the_identity_back() {
        for identity in [
            Identity::derive_v1(b"a").unwrap(),
            Identity::derive_v2("a", "b").unwrap(),
        ] {
            let again = Identity::from_root(identity.profile(), Zeroizing::new(*identity.root()));
            assert_eq!(again.did(), identity.did());
            assert_eq!(again.signer().public(), identity.signer().public());
            assert_eq!(again.name(), identity.name());
        }
    }

    #[test]
    fn accounts_are_bound_by_their_length() {
        assert_eq!(salt_v2("ab").unwrap(), b"xcom-did-v1\0\0\0\0\x02ab");
        assert_eq!(salt_v2("").unwrap(), b"xcom-did-v1\0\0\0\0\0");
        assert_eq!(salt_v2("@@x").unwrap(), b"xcom-did-v1\0\0\0\0\x02@x");
    }

    #[test]
    fn empty_and_endless_input_is_refused() {
        assert_eq!(
            Identity::derive_v1(b"").err(),
            Some(DeriveError::EmptyPassphrase)
        );
        assert_eq!(
            Identity::derive_v2("", "a").err(),
            Some(DeriveError::EmptyPassphrase)
        );
        let long = "x".repeat(PASSPHRASE_BYTES + 1);
        assert!(matches!(
            Identity::derive_v1(long.as_bytes()),
            Err(DeriveError::TooLong(_))
        ));
        assert!(matches!(
            Identity::derive_v2(&long, ""),
            Err(DeriveError::TooLong(_))
        ));
        let account = "x".repeat(ACCOUNT_BYTES + 1);
        assert!(matches!(
            Identity::derive_v2("a", &account),
            Err(DeriveError::TooLong(_))
        ));
    }

    #[test]
    fn profiles_have_names() {
        for profile in [Profile::V1, Profile::V2] {
            assert_eq!(Profile::parse(profile.as_str()), Some(profile));
        }
        assert_eq!(Profile::parse("v3"), None);
    }
}
