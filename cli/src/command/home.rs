//! `perennis home check`: what of the home's store is damaged, what is lost with it, and how to go on.

use perennis_sdk::client::{StateCheck, StateDamage};
use serde::Serialize;

use crate::args::{HomeCheck, HomeCommand};
use crate::context::Context;
use crate::failure::Failure;
use crate::output::Output;
use crate::page::{count, plain};
use crate::session::{Session, block_on, failure_of};

pub(crate) fn run(context: &Context<'_>, command: &HomeCommand) -> Result<(), Failure> {
    match command {
        HomeCommand::Check(arguments) => block_on(check(context, arguments)),
    }
}

#[derive(Serialize)]
struct CheckDocument {
    home: String,
    sound: bool,
    repaired: bool,
    damaged: Vec<DamageDocument>,
    missing: u64,
}

#[derive(Serialize)]
struct DamageDocument {
    row: String,
    what: &'static str,
    held: &'static str,
    rebuilt: bool,
    loss: &'static str,
}

async fn check(context: &Context<'_>, arguments: &HomeCheck) -> Result<(), Failure> {
    let session = match arguments.repair {
        true => Session::open(context, &[]).await?,
        false => Session::open_to_read(context, &[]).await?,
    };
    let found = if arguments.repair {
        session.client.repair_state().await
    } else {
        session.client.check_state().await
    };
    let found = found.map_err(failure_of!())?;
    let document = CheckDocument {
        home: session.home.dir().display().to_string(),
        sound: found.is_sound(),
        repaired: arguments.repair && !found.is_sound(),
        damaged: found.damaged.iter().map(damage).collect(),
        missing: found.missing,
    };
    context.output.answer(&document, |page| {
        if document.sound {
            let line = page.paint.good("everything is sound");
            page.line(format!("{}  {line}", document.home));
            return;
        }
        for line in lines(&found) {
            page.line(line);
        }
        let end = if document.repaired {
            page.paint.good("repaired: `perennis publish` goes on")
        } else {
            page.paint.warn(
                "nothing is published while this is so: `perennis home check --repair` goes on without it",
            )
        };
        page.line(end);
    })?;
    if document.sound || document.repaired {
        Ok(())
    } else {
        Err(Failure::verdict())
    }
}

/// Warns of what a command that repairs by itself is about to drop.
pub(crate) fn warn_of_damage(output: &Output, found: &StateCheck) {
    for line in lines(found) {
        output.warn(line);
    }
}

fn lines(found: &StateCheck) -> Vec<String> {
    let mut lines: Vec<String> = found.damaged.iter().map(line_of).collect();
    if found.missing > 0 {
        lines.push(format!(
            "{} gone: changes that were not published yet may have been among them",
            count(found.missing, "row")
        ));
    }
    lines
}

fn line_of(damage: &StateDamage) -> String {
    let StateDamage {
        row, what, held, ..
    } = damage;
    let then = if damage.rebuilt {
        "it follows from what else is here"
    } else {
        damage.loss
    };
    format!("{} held {held}; {what}; {then}", plain(row))
}

fn damage(damage: &StateDamage) -> DamageDocument {
    DamageDocument {
        row: damage.row.clone(),
        what: damage.what,
        held: damage.held,
        rebuilt: damage.rebuilt,
        loss: damage.loss,
    }
}
