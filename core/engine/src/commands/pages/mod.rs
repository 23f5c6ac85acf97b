//! The pages of the core's commands, a file a group: facts of Redis 7.2's own documentation (and of 7.4's for the expiry
//! of fields) in the notation of [`crate::page`]. Owns where a command's page is found.

use std::collections::HashMap;
use std::sync::OnceLock;

const TEXTS: [&str; 15] = [
    include_str!("bitmap.txt"),
    include_str!("cluster.txt"),
    include_str!("connection.txt"),
    include_str!("generic.txt"),
    include_str!("geo.txt"),
    include_str!("hash.txt"),
    include_str!("hyperloglog.txt"),
    include_str!("list.txt"),
    include_str!("pubsub.txt"),
    include_str!("server.txt"),
    include_str!("set.txt"),
    include_str!("sorted-set.txt"),
    include_str!("stream.txt"),
    include_str!("string.txt"),
    include_str!("transactions.txt"),
];

/// The page of a command by its full name; empty if it has none.
pub(crate) fn of(full_name: &str) -> &'static str {
    static BOOK: OnceLock<HashMap<&'static str, &'static str>> = OnceLock::new();
    BOOK.get_or_init(|| TEXTS.iter().flat_map(|text| pages(text)).collect()).get(full_name).copied().unwrap_or_default()
}

/// Names and pages: a command's name and its page's lines, an empty line behind them.
fn pages(text: &'static str) -> impl Iterator<Item = (&'static str, &'static str)> {
    text.split("\n\n").filter_map(|block| block.split_once('\n'))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::page::{Argument, Page};
    use crate::registry::Command;

    /// Redis' documentation has them otherwise than its table of arities, and so have we.
    const LOOSE: &[&str] = &["client|kill", "command", "debug", "quit"];

    fn commands() -> Vec<&'static Command> {
        let engine = crate::Engine::new(crate::EngineOptions::default());
        let subs = |command: &'static Command| std::iter::once(command).chain(command.subs.iter().copied());
        engine.core.registry.all().flat_map(subs).collect()
    }

    #[test]
    fn every_page_is_a_command_s_and_can_be_read() {
        let names: Vec<&str> = commands().iter().map(|command| command.full_name.as_str()).collect();
        for (name, page) in TEXTS.iter().flat_map(|text| pages(text)) {
            assert!(names.contains(&name), "{name}");
            Page::read(page).unwrap_or_else(|error| panic!("{name}: {error}"));
        }
    }

    #[test]
    fn arguments_and_arity_say_the_same() {
        let mut wrong = Vec::new();
        for command in commands() {
            if command.page.is_empty() {
                // As in Redis: nothing is to be told of them.
                let none =
                    command.body.is_container() || ["debug", "plugin", "monitor"].contains(&first(&command.full_name));
                if !none {
                    wrong.push(format!("{} has no page", command.full_name));
                }
                continue;
            }
            let page = Page::read(&command.page).unwrap();
            let name = 1 + usize::from(command.full_name.contains('|'));
            let (least, most) = words(&page.arguments);
            let arity = i32::try_from(name + least).unwrap();
            let arity = if most == Some(least) { arity } else { -arity };
            if arity != command.arity && !LOOSE.contains(&command.full_name.as_str()) {
                wrong.push(format!(
                    "{}: arity {}, its page says {arity}: {}",
                    command.full_name, command.arity, command.page
                ));
            }
        }
        assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    }

    fn first(full_name: &str) -> &str {
        full_name.split('|').next().unwrap_or_default()
    }

    fn words(arguments: &[Argument<'_>]) -> (usize, Option<usize>) {
        let each = || arguments.iter().map(Argument::words);
        (each().map(|words| words.0).sum(), each().map(|words| words.1).sum())
    }
}
