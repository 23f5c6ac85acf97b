//! What the documents point at is there: links, headings, and the files that ARCHITECTURE.md walks through.

use std::{fs, path::Path, path::PathBuf};

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").canonicalize().expect("the repository's root")
}

/// Every file of the repository whose name ends so.
fn files(dir: &Path, extension: &str, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(dir).expect("the repository is readable") {
        let path = entry.expect("the repository is readable").path();
        let name = path.file_name().expect("the repository is readable").to_string_lossy().into_owned();
        if path.is_dir() && name != "target" && !name.starts_with('.') {
            files(&path, extension, found);
        } else if path.extension().is_some_and(|ext| ext == extension) {
            found.push(path);
        }
    }
}

fn with_extension(extension: &str) -> Vec<PathBuf> {
    let mut found = Vec::new();
    files(&root(), extension, &mut found);
    found
}

fn read(path: &Path) -> String {
    fs::read_to_string(path).expect("the repository is readable")
}

/// The text outside of fenced blocks.
fn prose(text: &str) -> String {
    text.split("```").step_by(2).collect()
}

/// Where a text's links lead.
fn links(text: &str) -> Vec<&str> {
    text.split("](").skip(1).filter_map(|rest| rest.split(')').next()).collect()
}

/// A heading's name in links, as GitHub makes it.
fn anchor(heading: &str) -> String {
    let kept = heading.to_lowercase();
    kept.chars().filter(|c| c.is_alphanumeric() || matches!(c, ' ' | '-' | '_')).collect::<String>().replace(' ', "-")
}

fn has_heading(text: &str, name: &str) -> bool {
    let headings = text.lines().filter(|line| line.starts_with('#'));
    headings.map(|line| anchor(line.trim_start_matches('#').trim())).any(|heading| heading == name)
}

/// What is wrong with a link.
fn fault(document: &Path, link: &str) -> Option<&'static str> {
    let (file, heading) = link.split_once('#').unwrap_or((link, ""));
    let target = document.parent().expect("a file is in a folder").join(file);
    let target = if file.is_empty() { document.to_path_buf() } else { target };
    match target.exists() {
        false => Some("no such file"),
        true if heading.is_empty() || has_heading(&read(&target), heading) => None,
        true => Some("no such heading"),
    }
}

#[test]
fn links_lead_somewhere() {
    let mut broken = Vec::new();
    let documents = with_extension("md");
    assert!(documents.len() >= 30, "they are found: {}", documents.len());
    for document in documents {
        let text = prose(&read(&document));
        for link in links(&text).into_iter().filter(|link| !link.contains("://")) {
            broken.extend(fault(&document, link).map(|why| format!("{}: {link}: {why}", document.display())));
        }
    }
    assert!(broken.is_empty(), "{broken:#?}");
}

#[test]
fn the_walks_go_through_files_that_exist() {
    let text = prose(&read(&root().join("ARCHITECTURE.md")));
    let sources: Vec<String> = with_extension("rs").iter().map(|path| path.display().to_string()).collect();
    let named: Vec<&str> = text.split('`').skip(1).step_by(2).filter(|word| !word.contains(' ')).collect();
    let paths =
        |ends: &str, apart: char| named.iter().filter(|word| word.ends_with(ends) || word.contains(apart)).count();
    assert!(paths(".rs", '/') >= 40, "files are named: {}", paths(".rs", '/'));
    let gone = |word: &&&str| match word.ends_with(".rs") {
        true => !sources.iter().any(|path| path.ends_with(&format!("/{word}"))),
        false => {
            word.contains('/') && !sources.iter().any(|path| path.contains(&format!("/{}", word.trim_end_matches('*'))))
        }
    };
    let gone: Vec<&&str> = named.iter().filter(gone).collect();
    assert!(gone.is_empty(), "ARCHITECTURE.md names what isn't there: {gone:#?}");
}
