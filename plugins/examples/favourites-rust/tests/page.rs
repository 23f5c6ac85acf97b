//! The page's code is the example's code, line by line.

const PAGE: &str = include_str!("../README.md");
const SOURCES: [&str; 3] = [include_str!("../src/lib.rs"), include_str!("simulated.rs"), include_str!("../Cargo.toml")];

/// The fenced blocks of the page that are in one of these languages.
fn blocks(languages: &[&str]) -> Vec<String> {
    let mut parts = PAGE.split("```");
    let mut found = Vec::new();
    while let (Some(_), Some(block)) = (parts.next(), parts.next()) {
        let (language, code) = block.split_once('\n').expect("a language, then code");
        if languages.contains(&language) {
            found.push(code.to_owned());
        }
    }
    found
}

#[test]
fn every_block_stands_in_the_example() {
    let blocks = blocks(&["rust", "toml"]);
    assert!(blocks.len() >= 5, "the page shows {} blocks", blocks.len());
    for block in &blocks {
        assert!(SOURCES.iter().any(|source| source.contains(block)), "not in the example:\n{block}");
    }
    // And nothing of the strategy is left out of the page.
    let shown = blocks.concat();
    for line in SOURCES[0].lines().filter(|line| !line.trim().is_empty()) {
        assert!(shown.contains(line), "not on the page: {line}");
    }
}

#[test]
fn it_is_as_short_as_the_page_says() {
    assert!(SOURCES[0].lines().count() < 60);
    assert!(PAGE.contains("under 60 lines"));
}
