//! What a plugin's command has propagated: which commands may stand there, and what replicas get if it failed half way or
//! said nothing. Decides; the journal is the engine's.

use keystead_engine::core::Core;
use keystead_engine::foreign::Earlier;
use keystead_engine::registry::Command;
use keystead_engine::spec::{Flags, MAY_REPLICATE, WRITE};
use keystead_engine::{Args, CommandError, Ctx, Effect, OwnedArgs};

/// The command of these words, or its subcommand.
pub(super) fn find(core: &Core, words: Args<'_>) -> Option<&'static Command> {
    let command = core.registry.find(words.get(0)?)?;
    match words.get(1) {
        Some(word) if !command.subs.is_empty() => command.sub(word),
        _ => Some(command),
    }
}

/// Why a command can't be a plugin's effect. Replicas and files execute what stands there: one that they don't know makes
/// a file unreadable, and a MULTI of its own has everything behind it wait for an EXEC.
pub(super) fn refusal(core: &Core, plugin: &str, words: Args<'_>) -> Option<CommandError> {
    let why = match find(core, words) {
        Some(command) if !command.arity_ok(words.len()) => "has another number of arguments",
        Some(command) if !has_effects(command.flags) => "doesn't write",
        Some(_) => return None,
        None if words.is_empty() => return Some(CommandError::new(format!("ERR plugin {plugin}: an effect is empty"))),
        None => "is no command",
    };
    let (plugin, why) = (plugin.as_bytes(), why.as_bytes());
    let parts = [b"ERR plugin ", plugin, b": an effect can't be '", shortened(words.at(0)), b"', which ", why];
    Some(CommandError::quoting(&parts))
}

/// A word as it may stand in an error.
fn shortened(word: &[u8]) -> &[u8] {
    const LONGEST: usize = 64;
    &word[..word.len().min(LONGEST)]
}

fn has_effects(flags: Flags) -> bool {
    flags.any(WRITE | MAY_REPLICATE)
}

/// What a command is told that isn't declared to do what it does: the guards for that let it pass.
pub(super) fn undeclared(plugin: &str, command: &Command) -> CommandError {
    CommandError::new(format!("ERR plugin {plugin}: '{}' isn't declared to write", command.full_name))
}

/// A command that has an effect, and isn't declared to have any.
pub(super) fn unexpected(plugin: &str, command: &Command) -> Option<CommandError> {
    (!has_effects(command.flags)).then(|| undeclared(plugin, command))
}

/// A change in a database of which replicas would hear nothing, though the command tells them of others.
pub(super) fn untold(changes: &[Earlier], listed: &[(usize, OwnedArgs)]) -> Option<CommandError> {
    let told = |db: usize| listed.is_empty() || listed.iter().any(|(other, _)| *other == db);
    let db = changes.iter().map(|change| change.db).find(|db| !told(*db))?;
    Some(CommandError::new(format!("ERR the plugin changed database {db} and has an effect in others only")))
}

/// What replicas get instead of the command.
pub(super) fn told(ctx: &mut Ctx<'_>, listed: Vec<(usize, OwnedArgs)>) -> Effect {
    if listed.iter().all(|(db, _)| *db == ctx.db()) {
        return Effect::Many(listed.into_iter().map(|(_, words)| words).collect());
    }
    listed.iter().fold(Effect::None, |_, (db, words)| {
        let words: Vec<&[u8]> = words.view().iter().collect();
        ctx.also(*db, &words)
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use keystead_engine::{Engine, EngineOptions};

    #[test]
    fn an_effect_is_a_command_that_writes() {
        let engine = Engine::new(EngineOptions::default());
        let refused = |words: &str| {
            let words: OwnedArgs = words.split_whitespace().map(str::as_bytes).collect();
            refusal(&engine.core, "x", words.view()).map(|error| error.text().into_owned())
        };
        for fine in ["SET k v", "del a b", "PUBLISH c m", "XGROUP CREATE s g 0", "FLUSHALL", "PFCOUNT k"] {
            assert_eq!(refused(fine), None, "{fine}");
        }
        let cases = [
            ("NOSUCH x", "can't be 'NOSUCH', which is no command"),
            ("XGROUP NOSUCH s g", "can't be 'XGROUP', which is no command"),
            ("SET k", "can't be 'SET', which has another number of arguments"),
            ("XGROUP CREATE s", "which has another number of arguments"),
            ("", "an effect is empty"),
        ];
        for (words, why) in cases {
            assert!(
                refused(words).is_some_and(|text| text.starts_with("ERR plugin x: ") && text.ends_with(why)),
                "{words}"
            );
        }
        for words in ["MULTI", "EXEC", "DISCARD", "SHUTDOWN", "SELECT 1", "GET k", "CONFIG SET a b", "WATCH k", "PING"]
        {
            assert!(refused(words).is_some_and(|text| text.ends_with("doesn't write")), "{words}");
        }
        assert!(refused(&"x".repeat(1000)).is_some_and(|text| text.len() < 150));
    }
}
