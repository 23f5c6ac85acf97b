//! Append-only files and their manifest: in pieces the same comes out as from the whole; a manifest that is taken is told
//! again as one that means the same.

use super::{Target, hold, pieces};
use keystead_persistence_aof::manifest::Manifest;
use keystead_persistence_aof::scan::Scanner;

pub const TARGET: Target = Target {
    name: "aof",
    words: &[
        "*1\r\n$5\r\nMULTI\r\n",
        "*1\r\n$4\r\nEXEC\r\n",
        "#TS:1628217470\r\n",
        "#",
        "*2\r\n$6\r\nSELECT\r\n$1\r\n0\r\n",
        "\r\n",
        "file ",
        "seq ",
        "type b",
        "type i",
        "type h",
        "\n",
        "appendonly.aof.1.incr.aof",
        "../",
        "/",
        "\"",
    ],
    run,
};

/// Of a manifest.
const LONGEST_LINE: usize = 1024;

fn run(input: &[u8]) -> Result<(), String> {
    let whole = scanned([input].into_iter());
    let parts = scanned(pieces(input));
    hold(whole == parts, || format!("whole {whole:?}, in pieces {parts:?}"))?;
    hold(whole.0.len() <= input.len(), || "more came out than went in".to_owned())?;
    if let Ok(manifest) = Manifest::parse(input) {
        for part in manifest.parts() {
            let outside = part.name.contains('/') || part.name == "..";
            hold(!outside, || format!("a part outside of the folder: {:?}", part.name))?;
        }
        // Notes alone are a manifest of nothing, an empty file isn't one.
        if manifest.is_empty() {
            return Ok(());
        }
        let text = manifest.text();
        // As in Redis, a name of a kilobyte once it is quoted is written and not read; no file system has such names.
        if text.lines().any(|line| line.len() >= LONGEST_LINE) {
            return Ok(());
        }
        let again = Manifest::parse(text.as_bytes()).map_err(|error| format!("{text:?} isn't taken: {error}"))?;
        hold(again == manifest, || format!("{manifest:?} became {again:?}"))?;
    }
    Ok(())
}

fn scanned<'a>(pieces: impl Iterator<Item = &'a [u8]>) -> (Vec<u8>, Option<String>) {
    let (mut scanner, mut out) = (Scanner::at(0), Vec::new());
    for piece in pieces {
        match scanner.feed(piece) {
            Ok(commands) => out.extend(commands),
            // Units before the damage come out or not, by how the pieces fell.
            Err(damage) => {
                out.truncate(0);
                return (out, Some(format!("{damage:?}")));
            }
        }
    }
    (out, None)
}
