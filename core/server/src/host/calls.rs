//! Which commands a plugin's command may call (`Ctx::call`). Guards and rights of clients don't hold there: what a command is
//! for whom is the calling plugin's to say. What holds is what the caller itself was let through for.

use super::effects;
use keystead_engine::core::Core;
use keystead_engine::registry::Command;
use keystead_engine::resp::{Proto, Writer};
use keystead_engine::spec::{Group, MAY_REPLICATE, NOSCRIPT, WRITE};
use keystead_engine::{Args, CommandError};

/// The command that a caller may call with these words.
pub(super) fn callable(
    core: &Core,
    plugin: &str,
    caller: &Command,
    words: Args<'_>,
) -> Result<&'static Command, CommandError> {
    let Some(command) = effects::find(core, words) else {
        let name = words.get(0).unwrap_or_default().to_ascii_lowercase();
        return Err(CommandError::quoting(&[b"ERR unknown command '", &name, b"'"]));
    };
    if !command.arity_ok(words.len()) {
        return Err(CommandError::arity(&command.full_name));
    }
    if is_about_the_session(command) {
        return Err(of_a_session(plugin, command));
    }
    let declared = |needs| !command.flags.has(needs) || caller.flags.any(needs | WRITE);
    if declared(WRITE) && declared(MAY_REPLICATE) { Ok(command) } else { Err(effects::undeclared(plugin, caller)) }
}

/// An error as the reply of a call.
pub(super) fn refused(error: &CommandError) -> Vec<u8> {
    let mut reply = Vec::new();
    Writer::new(&mut reply, Proto::Resp3).error(error.bytes());
    reply
}

/// Of the connection's group, and about those of others.
const ABOUT_OTHERS: [&str; 5] = ["client|list", "client|kill", "client|pause", "client|unpause", "client|unblock"];

/// Why a plugin can't have the server itself run a command: it would be about a session that is gone at once.
pub(super) fn of_nobody(core: &Core, plugin: &str, words: Args<'_>) -> Option<CommandError> {
    let command = effects::find(core, words)?;
    let refused = is_about_the_session(command) && !ABOUT_OTHERS.contains(&command.full_name.as_str());
    refused.then(|| of_a_session(plugin, command))
}

fn of_a_session(plugin: &str, command: &Command) -> CommandError {
    let what = format!("'{}' is about a connection of its own", command.full_name);
    CommandError::new(format!("ERR plugin {plugin}: {what} and can't be called for another"))
}

/// It begins, ends or changes something of the session that sends it: a transaction, subscriptions, its user, its replies.
fn is_about_the_session(command: &Command) -> bool {
    let group = matches!(command.group, Group::Connection | Group::Transactions | Group::PubSub);
    command.flags.has(NOSCRIPT) && group
}

#[cfg(test)]
mod tests {
    use super::*;
    use keystead_engine::{Engine, EngineOptions, OwnedArgs};

    #[test]
    fn a_caller_s_own_connection_is_left_alone() {
        let engine = Engine::new(EngineOptions::default());
        let about = |name: &str| is_about_the_session(engine.core.registry.find_full(name).expect(name));
        let own = "multi exec discard watch unwatch auth hello reset quit subscribe psubscribe ssubscribe unsubscribe \
                   punsubscribe sunsubscribe client|reply client|tracking client|setname client|no-evict";
        for name in own.split_whitespace() {
            assert!(about(name), "{name}");
        }
        let others =
            "get set select ping echo publish spublish pubsub|numsub config|set acl|whoami command info flushall";
        for name in others.split_whitespace() {
            assert!(!about(name), "{name}");
        }
    }

    #[test]
    fn nobody_has_no_session() {
        let engine = Engine::new(EngineOptions::default());
        let refused = |words: &str| {
            let words: OwnedArgs = words.split_whitespace().map(str::as_bytes).collect();
            of_nobody(&engine.core, "x", words.view()).map(|error| error.text().into_owned())
        };
        let why = "ERR plugin x: 'subscribe' is about a connection of its own and can't be called for another";
        assert_eq!(refused("SUBSCRIBE a").as_deref(), Some(why));
        assert!(refused("CLIENT SETNAME a").is_some() && refused("multi").is_some());
        for fine in ["CLIENT LIST", "PUBLISH a b", "SET a b", "NOSUCH", "CONFIG SET a b", "ROLE", "PING", ""] {
            assert_eq!(refused(fine), None, "{fine}");
        }
    }

    #[test]
    fn only_who_may_write_calls_what_writes() {
        let engine = Engine::new(EngineOptions::default());
        let may = |caller: &str, words: &str| {
            let words: OwnedArgs = words.split_whitespace().map(str::as_bytes).collect();
            let caller = engine.core.registry.find(caller.as_bytes()).expect(caller);
            callable(&engine.core, "x", caller, words.view())
                .map(|command| command.name.clone())
                .map_err(|e| e.text().into_owned())
        };
        let undeclared = |name: &str| Err(format!("ERR plugin x: '{name}' isn't declared to write"));
        assert_eq!(may("get", "GET k"), Ok("get".to_owned()));
        assert_eq!(may("get", "SET k v"), undeclared("get"));
        assert_eq!(may("get", "PUBLISH c m"), undeclared("get"));
        assert_eq!(may("publish", "PUBLISH c m"), Ok("publish".to_owned()));
        assert_eq!(may("publish", "SET k v"), undeclared("publish"));
        assert_eq!(may("set", "SET k v"), Ok("set".to_owned()));
        assert_eq!(may("set", "PUBLISH c m"), Ok("publish".to_owned()));
        assert_eq!(may("set", "SET k"), Err("ERR wrong number of arguments for 'set' command".to_owned()));
        assert_eq!(may("set", "NOSUCH"), Err("ERR unknown command 'nosuch'".to_owned()));
    }
}
