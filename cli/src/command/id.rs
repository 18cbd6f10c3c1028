//! `perennis id new`, `id derive` and `id show`.

use std::path::Path;

use perennis_rt as rt;
use perennis_shared::did::{Identity, Profile};
use perennis_shared::passphrase::{self, RANDOM_BYTES_PER_WORD};
use serde::Serialize;
use zeroize::Zeroizing;

use crate::args::{IdCommand, IdDerive, IdNew};
use crate::context::Context;
use crate::failure::{Failure, with_cause};
use crate::files::{Existing, write_atomically};
use crate::home::KnownIdentity;
use crate::page::Page;
use crate::sealed;
use crate::secret::{Passphrase, ask_new_passphrase};
use crate::session::{Session, block_on, failure_of};
use crate::unlock::{derivation_of, derive, read_passphrase, read_passphrase_file};
use crate::when::now;

/// Bits below which even a passphrase from a file is refused: a word, a date, a keyboard row.
const LEAST_FILE_BITS: u32 = 20;

/// Most words of a passphrase, for the buffer of its randomness.
const MOST_WORDS: usize = passphrase::MOST_WORDS;

pub(crate) fn run(context: &Context<'_>, command: &IdCommand) -> Result<(), Failure> {
    match command {
        IdCommand::New(arguments) => block_on(new(context, arguments)),
        IdCommand::Derive(arguments) => show_derived(context, arguments),
        IdCommand::Show => show(context),
    }
}

/// Public facts of an identity.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Facts {
    pub(crate) did: String,
    pub(crate) did_key: String,
    pub(crate) ipns_name: String,
    pub(crate) profile: String,
    pub(crate) account: String,
}

impl Facts {
    pub(crate) fn of(identity: &Identity, account: &str) -> Self {
        Self {
            did: identity.did().to_string(),
            did_key: identity.did_key_uri(),
            ipns_name: identity.name().to_string(),
            profile: identity.profile().as_str().to_owned(),
            account: account.to_owned(),
        }
    }

    pub(crate) fn known(&self, created: String) -> KnownIdentity {
        KnownIdentity {
            format: KnownIdentity::FORMAT,
            profile: self.profile.clone(),
            account: self.account.clone(),
            did: self.did.clone(),
            did_key: self.did_key.clone(),
            ipns_name: self.ipns_name.clone(),
            created,
        }
    }

    pub(crate) fn show(&self, page: &mut Page) {
        let did = page.paint.strong(&self.did);
        page.fields(&[
            ("DID", Some(did)),
            (
                "did:key",
                (self.did != self.did_key).then(|| self.did_key.clone()),
            ),
            ("IPNS name", Some(self.ipns_name.clone())),
            ("profile", Some(self.profile.clone())),
            (
                "account",
                (!self.account.is_empty()).then(|| self.account.clone()),
            ),
        ]);
    }
}

impl From<&KnownIdentity> for Facts {
    fn from(known: &KnownIdentity) -> Self {
        Self {
            did: known.did.clone(),
            did_key: known.did_key.clone(),
            ipns_name: known.ipns_name.clone(),
            profile: known.profile.clone(),
            account: known.account.clone(),
        }
    }
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct NewDocument<'a> {
    #[serde(flatten)]
    facts: Facts,
    created: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    passphrase: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    recovery_sheet: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    sealed_key: Option<String>,
}

/// Where the passphrase of a new identity came from.
struct Chosen {
    phrase: Passphrase,
    generated: bool,
}

async fn new(context: &Context<'_>, arguments: &IdNew) -> Result<(), Failure> {
    let (profile, account) = derivation_of(&arguments.derivation)?;
    // Asked before anything is made: whoever gives up at the prompt leaves nothing behind.
    let has_identity = context.home()?.identity()?.is_some();
    let chosen = choose(context, arguments, profile, has_identity)?;
    let session = Session::open(context, &[]).await?;
    let before = session.home.identity()?;
    let identity = derive(context, &chosen.phrase, profile, account)?;
    let facts = Facts::of(&identity, account);
    let created = match &before {
        Some(known) if known.did == facts.did => known.created.clone(),
        Some(known) => {
            return Err(Failure::invalid(
                "identity_exists",
                format!("this home is {}, not {}", known.did, facts.did),
            )
            .hint("use another --home for another identity"));
        }
        None => now().to_string(),
    };
    // The sheet first: a passphrase that could not be written down must not become an identity.
    if let Some(path) = &arguments.recovery_sheet {
        let sheet = Zeroizing::new(recovery_sheet(&facts, chosen.phrase.reveal(), &created));
        write_atomically(path, sheet.as_bytes(), Existing::Keep, true)?;
    }
    session
        .client
        .adopt(&identity)
        .await
        .map_err(failure_of!())?;
    let sealed_path = session.home.sealed_key_path();
    if arguments.save {
        sealed::save(context, &sealed_path, &identity, &chosen.phrase)?;
    }
    session.home.set_identity(&facts.known(created.clone()))?;
    let document = NewDocument {
        facts,
        created,
        passphrase: chosen.generated.then(|| chosen.phrase.reveal()),
        recovery_sheet: arguments.recovery_sheet.as_deref().map(path_text),
        sealed_key: arguments.save.then(|| path_text(&sealed_path)),
    };
    context.output.answer(&document, |page| {
        if chosen.generated {
            page.line("Your passphrase, shown this once. Write it down: it is the identity.");
            page.blank();
            let phrase = page.paint.strong(chosen.phrase.reveal());
            page.line(format!("    {phrase}"));
            page.blank();
        }
        document.facts.show(page);
        page.fields(&[
            ("sheet", document.recovery_sheet.clone()),
            ("sealed key", document.sealed_key.clone()),
        ]);
        page.blank();
        let next = page
            .paint
            .dim("next: perennis label add @handle spam, then perennis publish");
        page.line(next);
    })
}

/// Reads, asks for or generates the passphrase, and holds a chosen one against the gate.
fn choose(
    context: &Context<'_>,
    arguments: &IdNew,
    profile: Profile,
    has_identity: bool,
) -> Result<Chosen, Failure> {
    let given = match read_passphrase_file(context)? {
        Some(phrase) => Some((phrase, LEAST_FILE_BITS)),
        None if arguments.generate => None,
        None => ask_new_passphrase("Passphrase (leave it empty to have one made): ")?
            .map(|phrase| (phrase, passphrase::LEAST_BITS)),
    };
    let Some((phrase, least_bits)) = given else {
        if has_identity {
            return Err(Failure::invalid(
                "identity_exists",
                "this home holds an identity already (`perennis id show`)",
            )
            .hint("use another --home for another identity"));
        }
        return Ok(Chosen {
            phrase: generate(arguments.words)?,
            generated: true,
        });
    };
    // An identity of profile v1 exists already: its passphrase is what it is.
    if profile == Profile::V2
        && !arguments.allow_weak
        && let Err(weak) = passphrase::check(phrase.reveal())
    {
        if weak.bits < least_bits {
            return Err(Failure::invalid("weak_passphrase", weak.to_string()).hint(
                "run `perennis id new` and have one made, or take the risk with --allow-weak",
            ));
        }
        context.output.warn(weak);
    }
    Ok(Chosen {
        phrase,
        generated: false,
    })
}

fn generate(words: u8) -> Result<Passphrase, Failure> {
    let words = usize::from(words).min(MOST_WORDS);
    let random: [u8; MOST_WORDS * RANDOM_BYTES_PER_WORD] = rt::random().map_err(|error| {
        Failure::failed("no_randomness", "the system gives no random bytes").because(&error)
    })?;
    let random = Zeroizing::new(random);
    passphrase::generate(words, &random[..words * RANDOM_BYTES_PER_WORD])
        .map(Passphrase::new)
        .map_err(|error| Failure::usage(with_cause(&error)).hint("choose 5 to 24 words"))
}

fn recovery_sheet(facts: &Facts, phrase: &str, created: &str) -> String {
    let account = if facts.account.is_empty() {
        String::new()
    } else {
        format!("Account       {}\n", facts.account)
    };
    let restore = if facts.account.is_empty() {
        String::new()
    } else {
        format!(" --account {}", shell_word(&facts.account))
    };
    format!(
        "PERENNIS RECOVERY SHEET\n\
         =======================\n\n\
         Passphrase    {phrase}\n\n\
         DID           {}\n\
         IPNS name     {}\n\
         Profile       {}\n\
         {account}\
         Made          {created}\n\n\
         The passphrase is the identity: whoever has it is you. Keep this sheet where you keep your passport.\n\n\
         To bring everything back, on any machine:\n\n    \
             perennis restore --profile {}{restore} --node http://NODE\n",
        facts.did, facts.ipns_name, facts.profile, facts.profile
    )
}

/// A word as a shell reads it whole.
fn shell_word(text: &str) -> String {
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"@%+=:,./-_".contains(&byte);
    if !text.is_empty() && text.bytes().all(is_plain) {
        return text.to_owned();
    }
    format!("'{}'", text.replace('\'', r"'\''"))
}

fn path_text(path: &Path) -> String {
    path.display().to_string()
}

fn show_derived(context: &Context<'_>, arguments: &IdDerive) -> Result<(), Failure> {
    let (profile, account) = derivation_of(&arguments.derivation)?;
    let phrase = read_passphrase(context, "Passphrase: ")?;
    let identity = derive(context, &phrase, profile, account)?;
    let facts = Facts::of(&identity, account);
    context.output.answer(&facts, |page| facts.show(page))
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct ShowDocument {
    #[serde(flatten)]
    facts: Facts,
    created: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    sealed_key: Option<String>,
}

fn show(context: &Context<'_>) -> Result<(), Failure> {
    let home = context.home()?;
    let known = home.expect_identity()?;
    let sealed = home.sealed_key_path();
    let document = ShowDocument {
        facts: Facts::from(&known),
        created: known.created,
        sealed_key: sealed.is_file().then(|| path_text(&sealed)),
    };
    context.output.answer(&document, |page| {
        document.facts.show(page);
        page.fields(&[("sealed key", document.sealed_key.clone())]);
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_of_a_command_are_quoted_where_a_shell_would_take_them_apart() {
        for (text, word) in [
            ("alice", "alice"),
            ("a b", "'a b'"),
            ("it's", r"'it'\''s'"),
            ("$(x)", "'$(x)'"),
            ("", "''"),
        ] {
            assert_eq!(shell_word(text), word);
        }
    }

    #[test]
    fn the_sheet_holds_all_that_restoring_takes() {
        let facts = Facts {
            did: "did:ipns:k51x".into(),
            did_key: "did:key:z6Mkx".into(),
            ipns_name: "k51x".into(),
            profile: "v2".into(),
            account: "alice".into(),
        };
        let sheet = recovery_sheet(&facts, "six words of the phrase here", "2026-01-01");
        for part in [
            "six words of the phrase here",
            "did:ipns:k51x",
            "--profile v2 --account alice",
        ] {
            assert!(sheet.contains(part), "no {part} in:\n{sheet}");
        }
    }

    #[test]
    fn generated_passphrases_have_the_words_asked_for_and_differ() {
        let one = generate(6).unwrap();
        let two = generate(6).unwrap();
        assert_eq!(one.reveal().split(' ').count(), 6);
        assert_ne!(one.reveal(), two.reveal());
    }
}
