//! COMMAND DOCS' reply for one command, from its row and its page. Owns the form of the reply; the facts are theirs.

use crate::page::{Argument, Page};
use crate::registry::Command;
use keystead_resp::Writer;
use std::collections::BTreeMap;

/// Name and documentation of a command, and of its subcommands.
pub(super) fn write(reply: &mut Writer<'_>, command: &Command) {
    // What a plugin wrote was read when it registered; the core's pages are read by a test.
    let page = Page::read(&command.page).unwrap_or_default();
    let history = history(&page);
    let flags: Vec<&str> = [(page.deprecated.is_some(), "deprecated"), (page.internal, "syscmd")]
        .into_iter()
        .filter_map(|(is, name)| is.then_some(name))
        .collect();
    let texts = [
        ("summary", Some(command.summary.as_str())),
        ("since", Some(command.since.as_str())),
        ("group", Some(command.group.name())),
        ("complexity", page.complexity),
        ("module", command.plugin.as_deref()),
    ];
    let replaced = [("deprecated_since", page.deprecated.map(|d| d.0)), ("replaced_by", page.deprecated.map(|d| d.1))];
    let parts = [!flags.is_empty(), !history.is_empty(), !page.arguments.is_empty(), !command.subs.is_empty()];

    reply.bulk(&command.full_name);
    let told = texts.iter().chain(&replaced).filter(|(_, text)| text.is_some()).count();
    reply.map(told + parts.iter().filter(|is| **is).count());
    write_texts(reply, &texts);
    if !flags.is_empty() {
        reply.bulk("doc_flags");
        reply.set(flags.len());
        flags.iter().for_each(|flag| reply.simple(flag));
    }
    write_texts(reply, &replaced);
    if !history.is_empty() {
        reply.bulk("history");
        reply.set(history.len());
        for (version, text) in history {
            reply.array(2);
            reply.bulk(version);
            reply.bulk(&text);
        }
    }
    if !page.arguments.is_empty() {
        reply.bulk("arguments");
        write_arguments(reply, &page.arguments);
    }
    if !command.subs.is_empty() {
        reply.bulk("subcommands");
        reply.map(command.subs.len());
        command.subs.iter().for_each(|sub| write(reply, sub));
    }
}

fn write_texts(reply: &mut Writer<'_>, texts: &[(&str, Option<&str>)]) {
    for (name, text) in texts {
        if let Some(text) = text {
            reply.bulk(name);
            reply.bulk(text);
        }
    }
}

fn write_arguments(reply: &mut Writer<'_>, arguments: &[Argument<'_>]) {
    reply.array(arguments.len());
    arguments.iter().for_each(|argument| write_argument(reply, argument));
}

fn write_argument(reply: &mut Writer<'_>, argument: &Argument<'_>) {
    let parts = argument.kind.parts();
    let flags: Vec<&str> =
        [(argument.optional, "optional"), (argument.multiple, "multiple"), (argument.multiple_token, "multiple_token")]
            .into_iter()
            .filter_map(|(is, name)| is.then_some(name))
            .collect();
    let shown = Some(argument.shown.unwrap_or(&argument.name)).filter(|_| parts.is_empty());
    let head = [("name", Some(argument.name.as_str())), ("type", Some(argument.kind.name())), ("display_text", shown)];
    let tail = [("token", argument.token), ("since", argument.since), ("deprecated_since", argument.deprecated)];
    let told = head.iter().chain(&tail).filter(|(_, text)| text.is_some()).count();
    let more = [argument.key_spec.is_some(), !flags.is_empty(), !parts.is_empty()];

    reply.map(told + more.iter().filter(|is| **is).count());
    write_texts(reply, &head);
    if let Some(spec) = argument.key_spec {
        reply.bulk("key_spec_index");
        reply.int(i64::from(spec));
    }
    write_texts(reply, &tail);
    if !flags.is_empty() {
        reply.bulk("flags");
        reply.set(flags.len());
        flags.iter().for_each(|flag| reply.simple(flag));
    }
    if !parts.is_empty() {
        reply.bulk("arguments");
        write_arguments(reply, parts);
    }
}

/// The page's notes and what its arguments say of themselves, oldest first.
fn history<'a>(page: &Page<'a>) -> Vec<(&'a str, String)> {
    let mut added = BTreeMap::new();
    page.arguments.iter().for_each(|argument| collect(argument, &mut added));
    let added = added.into_values().map(|(version, names)| (version, format!("Added {}.", names.join(", "))));
    let mut all: Vec<(&str, String)> =
        added.chain(page.notes.iter().map(|(v, text)| (*v, (*text).to_owned()))).collect();
    all.sort_by_key(|(version, _)| numbers(version));
    all
}

/// Adds the words of arguments that came later than their command.
fn collect<'a>(argument: &Argument<'a>, added: &mut BTreeMap<Vec<u32>, (&'a str, Vec<String>)>) {
    if let Some(version) = argument.since {
        added.entry(numbers(version)).or_insert((version, Vec::new())).1.extend(names(argument));
    }
    argument.kind.parts().iter().for_each(|part| collect(part, added));
}

/// What a reader calls an argument: its word, those it is one of, or its name.
fn names(argument: &Argument<'_>) -> Vec<String> {
    let plain = |argument: &Argument<'_>| format!("`{}`", argument.token.unwrap_or(&argument.name));
    let parts = argument.kind.parts();
    if argument.token.is_none() && parts.iter().all(|part| part.token.is_some()) && !parts.is_empty() {
        return parts.iter().filter(|part| part.since.is_none()).map(plain).collect();
    }
    vec![plain(argument)]
}

fn numbers(version: &str) -> Vec<u32> {
    version.split('.').map(|part| part.parse().unwrap_or(0)).collect()
}
