//! LCS: the longest common subsequence of two strings. Memory is bounded as in Redis: four bytes a
//! cell, 512 MB at most.

use super::common::{Res, err, int, is};
use super::strings::max_string;
use crate::ctx::Ctx;
use crate::effect::{CommandResult, Effect};
use crate::error::CommandError;
use keystead_keyspace::Keyspace;
use keystead_resp::Args;

#[derive(Default)]
struct Options {
    len: bool,
    idx: bool,
    min_match: usize,
    with_match_len: bool,
}

fn parse(args: Args<'_>) -> Res<Options> {
    let mut o = Options::default();
    let mut at = 3;
    while let Some(arg) = args.get(at) {
        match (arg, args.get(at + 1)) {
            (a, _) if is(a, "idx") => o.idx = true,
            (a, _) if is(a, "len") => o.len = true,
            (a, _) if is(a, "withmatchlen") => o.with_match_len = true,
            (a, Some(n)) if is(a, "minmatchlen") => {
                o.min_match = usize::try_from(int(n)?).unwrap_or(0);
                at += 1;
            }
            _ => return Err(CommandError::SYNTAX),
        }
        at += 1;
    }
    if o.idx && o.len {
        return Err(err("ERR If you want both the length and indexes, please just use IDX."));
    }
    Ok(o)
}

fn text(ks: &Keyspace, db: usize, key: &[u8]) -> Res<Vec<u8>> {
    let value = ks.get_str(db, key).map_err(|_| err("ERR The specified keys must contain string values"))?;
    Ok(value.map_or_else(Vec::new, |s| s.to_cow().into_owned()))
}

/// One run of equal bytes: first and last position in either string.
struct Match {
    a: (usize, usize),
    b: (usize, usize),
}

/// Lengths for all prefixes, row by row.
fn table(a: &[u8], b: &[u8]) -> Vec<u32> {
    let width = b.len() + 1;
    let mut cells = vec![0; (a.len() + 1) * width];
    // The cells beside and above go along, which takes two thirds of the time of finding them by their places. A pair of equal
    // bytes adds one to the corner, which is never more than the cells beside and above: no need to ask which case it is.
    for (i, byte) in a.iter().enumerate() {
        let (above, row) = cells[i * width..].split_at_mut(width);
        let (mut left, mut corner) = (0, 0);
        for ((cell, up), other) in row[1..].iter_mut().zip(&above[1..]).zip(b) {
            left = left.max((*up).max(corner + u32::from(byte == other)));
            corner = *up;
            *cell = left;
        }
    }
    cells
}

/// Walks the table back: the common bytes, and their runs from the last to the first.
fn walk(a: &[u8], b: &[u8], cells: &[u32]) -> (Vec<u8>, Vec<Match>) {
    let width = b.len() + 1;
    let (mut i, mut j) = (a.len(), b.len());
    let (mut common, mut runs) = (Vec::new(), Vec::new());
    let mut run: Option<Match> = None;
    while i > 0 && j > 0 {
        if a[i - 1] == b[j - 1] {
            (i, j) = (i - 1, j - 1);
            common.push(a[i]);
            match &mut run {
                Some(run) => (run.a.0, run.b.0) = (i, j),
                None => run = Some(Match { a: (i, i), b: (j, j) }),
            }
        } else {
            if cells[(i - 1) * width + j] > cells[i * width + j - 1] {
                i -= 1
            } else {
                j -= 1
            }
            runs.extend(run.take());
        }
    }
    runs.extend(run);
    common.reverse();
    (common, runs)
}

pub(super) fn lcs(ctx: &mut Ctx<'_>, args: Args<'_>) -> CommandResult {
    let max = max_string(ctx);
    let (ks, db, mut out) = ctx.split();
    // Redis looks at the values before the options, and for both before it minds their types.
    let (a, b) = (text(ks, db, &args[1]), text(ks, db, &args[2]));
    let (a, b) = (a?, b?);
    let options = parse(args)?;
    let cells = (a.len() + 1).checked_mul(b.len() + 1).and_then(|n| n.checked_mul(4));
    if cells.is_none_or(|bytes| bytes > max) {
        return Err(err("ERR Insufficient memory, transient memory for LCS exceeds proto-max-bulk-len"));
    }
    let cells = table(&a, &b);
    let len = i64::from(cells[cells.len() - 1]);
    if options.len {
        out.int(len);
        return Ok(Effect::None);
    }
    let (common, mut runs) = walk(&a, &b, &cells);
    if !options.idx {
        out.bulk(common);
        return Ok(Effect::None);
    }
    runs.retain(|run| run.a.1 - run.a.0 + 1 >= options.min_match);
    out.map(2);
    out.bulk("matches");
    out.array(runs.len());
    for run in &runs {
        out.array(2 + usize::from(options.with_match_len));
        for (from, to) in [run.a, run.b] {
            out.array(2);
            out.int(from as i64);
            out.int(to as i64);
        }
        if options.with_match_len {
            out.int((run.a.1 - run.a.0 + 1) as i64);
        }
    }
    out.bulk("len");
    out.int(len);
    Ok(Effect::None)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_example_of_redis_documentation() {
        let (a, b) = (b"ohmytext", b"mynewtext");
        let (common, runs) = walk(a, b, &table(a, b));
        assert_eq!(common, b"mytext");
        let runs: Vec<_> = runs.iter().map(|r| (r.a, r.b)).collect();
        assert_eq!(runs, [((4, 7), (5, 8)), ((2, 3), (0, 1))]);
    }

    #[test]
    fn lengths_are_those_of_the_definition() {
        let text = |len: usize, seed: u32| -> Vec<u8> {
            (0..len as u32).map(|i| ((i + seed).wrapping_mul(2_654_435_761) >> 30) as u8).collect()
        };
        for (m, n) in [(0, 0), (0, 4), (4, 0), (1, 1), (9, 31), (40, 40)] {
            let (a, b, width) = (text(m, 1), text(n, 77), n + 1);
            let cells = table(&a, &b);
            assert_eq!(cells.len(), (m + 1) * width);
            for (i, j) in (0..=m).flat_map(|i| (0..=n).map(move |j| (i, j))) {
                let expected = match (i, j) {
                    (0, _) | (_, 0) => 0,
                    _ if a[i - 1] == b[j - 1] => cells[(i - 1) * width + j - 1] + 1,
                    _ => cells[(i - 1) * width + j].max(cells[i * width + j - 1]),
                };
                assert_eq!(cells[i * width + j], expected, "{i} {j} of {m} {n}");
            }
        }
    }
}
