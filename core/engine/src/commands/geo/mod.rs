//! Geo: places kept as scores of a sorted set. Owns the table and the commands about single places; searching is in
//! `search`, the arithmetic in `grid`.

mod grid;
mod search;

use super::common::{Res, err, float, is, rest};
use super::zsets;
use crate::ctx::Ctx;
use crate::effect::{CommandResult, Effect};
use crate::error::CommandError;
use crate::spec::*;
use grid::{MAX_LAT, MAX_LONG, Place};
use keystead_resp::{Args, Writer};

const fn row(
    name: &'static str,
    arity: i32,
    flags: u32,
    keys: KeySpec,
    since: &'static str,
    text: &'static str,
    f: Handler,
) -> CommandSpec {
    CommandSpec::new(name, arity, flags, keys, Group::Geo, since, text, f)
}

const ONE: KeySpec = KeySpec::FIRST;

/// The family.
#[rustfmt::skip]
pub const TABLE: &[CommandSpec] = &[
    row("geoadd", -5, WRITE | DENYOOM, ONE, "3.2.0",
        "Adds one or more members to a geospatial index. The key is created if it doesn't exist.", geoadd).uses(&[WRITES]),
    row("geohash", -2, READONLY, ONE, "3.2.0", "Returns members from a geospatial index as geohash strings.", geohash),
    row("geopos", -2, READONLY, ONE, "3.2.0",
        "Returns the longitude and latitude of members from a geospatial index.", geopos),
    row("geodist", -4, READONLY, ONE, "3.2.0", "Returns the distance between two members of a geospatial index.", geodist),
    row("geosearch", -7, READONLY, ONE, "6.2.0",
        "Queries a geospatial index for members inside an area of a box or a circle.", search::geosearch),
    row("geosearchstore", -8, WRITE | DENYOOM, KeySpec::TWO, "6.2.0",
        "Queries a geospatial index for members inside an area of a box or a circle, optionally stores the result.",
        search::geosearchstore).uses(&[SETS, READS]),
    row("georadius", -6, WRITE | DENYOOM | MOVABLEKEYS, KeySpec::Custom(search::radius_keys), "3.2.0",
        "Queries a geospatial index for members within a distance from a coordinate, optionally stores the result.",
        search::georadius).uses(&[READS, SETS]),
    row("georadius_ro", -6, READONLY, ONE, "3.2.10",
        "Returns members from a geospatial index that are within a distance from a coordinate.", search::georadius_ro),
    row("georadiusbymember", -5, WRITE | DENYOOM | MOVABLEKEYS, KeySpec::Custom(search::by_member_keys), "3.2.0",
        "Queries a geospatial index for members within a distance from a member, optionally stores the result.",
        search::georadiusbymember).uses(&[READS, SETS]),
    row("georadiusbymember_ro", -5, READONLY, ONE, "3.2.10",
        "Returns members from a geospatial index that are within a distance from a member.",
        search::georadiusbymember_ro),
];

/// Metres in a unit.
fn unit(word: &[u8]) -> Res<f64> {
    match word {
        w if is(w, "m") => Ok(1.0),
        w if is(w, "km") => Ok(1000.0),
        w if is(w, "ft") => Ok(0.3048),
        w if is(w, "mi") => Ok(1609.34),
        _ => Err(err("ERR unsupported unit provided. please use M, KM, FT, MI")),
    }
}

fn place(long: &[u8], lat: &[u8]) -> Res<Place> {
    let place = Place { long: float(long)?, lat: float(lat)? };
    if place.long.abs() <= MAX_LONG && place.lat.abs() <= MAX_LAT {
        return Ok(place);
    }
    Err(CommandError::new(format!("ERR invalid longitude,latitude pair {:.6},{:.6}", place.long, place.lat)))
}

/// A distance as Redis prints it: four digits behind the point.
fn write_distance(out: &mut Writer<'_>, distance: f64) {
    out.bulk(format!("{distance:.4}"));
}

/// A coordinate: up to 17 digits behind the point, a double for RESP3.
fn write_coordinate(out: &mut Writer<'_>, value: f64) {
    let text = places_17(value);
    let text = text.trim_end_matches('0').trim_end_matches('.');
    match out.proto {
        keystead_resp::Proto::Resp3 => out.raw(format!(",{text}\r\n").as_bytes()),
        keystead_resp::Proto::Resp2 => out.bulk(text),
    }
}

/// `format!("{value:.17}")` for what fits whole arithmetic, as every coordinate does: the general way takes ten times as long.
fn places_17(value: f64) -> String {
    const ONE: u64 = 10_u64.pow(17);
    let bits = value.abs().to_bits();
    let (exponent, fraction) = (bits >> 52, bits & ((1 << 52) - 1));
    // A number of 53 bits, divided by two to the power of `shift`.
    let shift = 1075 - exponent.max(1) as i64;
    if !(1..=63).contains(&shift) {
        return format!("{value:.17}");
    }
    let mantissa = if exponent == 0 { fraction } else { fraction | 1 << 52 };
    let (whole, rest) = (mantissa >> shift, mantissa & ((1 << shift) - 1));
    let scaled = u128::from(rest) * u128::from(ONE);
    let (mut digits, left, half) = ((scaled >> shift) as u64, scaled & ((1 << shift) - 1), 1 << (shift - 1));
    if left > half || left == half && digits % 2 == 1 {
        digits += 1;
    }
    let sign = if value.is_sign_negative() { "-" } else { "" };
    // Rounded up to the next whole number, perhaps.
    format!("{sign}{}.{:017}", whole + digits / ONE, digits % ONE)
}

fn write_place(out: &mut Writer<'_>, place: Place) {
    out.array(2);
    write_coordinate(out, place.long);
    write_coordinate(out, place.lat);
}

/// Adds as ZADD does, and says so to replicas.
fn geoadd(ctx: &mut Ctx<'_>, args: Args<'_>) -> CommandResult {
    let (mut at, mut nx, mut xx) = (2, false, false);
    while let Some(arg) = args.get(at) {
        match arg {
            a if is(a, "nx") => nx = true,
            a if is(a, "xx") => xx = true,
            a if is(a, "ch") => {}
            _ => break,
        }
        at += 1;
    }
    let triples = rest(args, at);
    if !triples.len().is_multiple_of(3) || (nx && xx) {
        return Err(CommandError::SYNTAX);
    }
    let mut argv: Vec<Vec<u8>> = vec![b"ZADD".to_vec()];
    argv.extend((1..at).map(|i| args[i].to_vec()));
    for triple in triples.chunks_exact(3) {
        argv.push(grid::score_of(place(triple[0], triple[1])?).to_string().into_bytes());
        argv.push(triple[2].to_vec());
    }
    let zadd: keystead_resp::OwnedArgs = argv.iter().collect();
    match zsets::zadd(ctx, zadd.view())? {
        Effect::AsSent => Ok(Effect::Instead(zadd)),
        other => Ok(other),
    }
}

/// The places of some members; none for those that aren't there.
fn places(ctx: &mut Ctx<'_>, args: Args<'_>) -> Res<Vec<Option<Place>>> {
    let (ks, db, _) = ctx.split();
    let zset = ks.zset(db, &args[1])?;
    Ok(rest(args, 2).iter().map(|member| zset?.score(member).map(grid::place_of)).collect())
}

fn geohash(ctx: &mut Ctx<'_>, args: Args<'_>) -> CommandResult {
    let places = places(ctx, args)?;
    let out = ctx.reply();
    out.array(places.len());
    places.iter().for_each(|place| out.bulk_or_null(place.map(grid::geohash)));
    Ok(Effect::None)
}

fn geopos(ctx: &mut Ctx<'_>, args: Args<'_>) -> CommandResult {
    let places = places(ctx, args)?;
    let out = ctx.reply();
    out.array(places.len());
    for place in places {
        match place {
            Some(place) => write_place(out, place),
            None => out.null_array(),
        }
    }
    Ok(Effect::None)
}

fn geodist(ctx: &mut Ctx<'_>, args: Args<'_>) -> CommandResult {
    let metres = match args.len() {
        4 => 1.0,
        5 => unit(&args[4])?,
        _ => return Err(CommandError::SYNTAX),
    };
    let (ks, db, mut out) = ctx.split();
    let zset = ks.zset(db, &args[1])?;
    let place = |member: &[u8]| Some(grid::place_of(zset?.score(member)?));
    match (place(&args[2]), place(&args[3])) {
        (Some(a), Some(b)) => write_distance(&mut out, grid::distance(a, b) / metres),
        _ => out.null(),
    }
    Ok(Effect::None)
}

#[cfg(test)]
mod tests {
    use super::places_17;
    use proptest::prelude::*;

    #[test]
    fn seventeen_places_are_exact() {
        let ties = (1..4000).map(|n| f64::from(n) / f64::from(1 << 18));
        let edges = [
            0.0,
            -0.0,
            1.0,
            180.0,
            -85.051_128_78,
            0.1,
            255.999_999_999_999_97,
            1.0 - f64::EPSILON / 2.0,
            1e-17,
            5e-18,
        ];
        let more =
            [4e-19, 1e-300, 5e-324, 1e15, 4_503_599_627_370_495.5, 1e16, 1e300, f64::MAX, f64::INFINITY, f64::NAN];
        for value in ties.chain(edges).chain(more) {
            assert_eq!(places_17(value), format!("{value:.17}"), "{value:e}");
            assert_eq!(places_17(-value), format!("{:.17}", -value), "{value:e}");
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(4096))]
        #[test]
        fn they_are_those_of_the_general_way(place in -180.0..180.0_f64, bits: u64) {
            for value in [place, place / 1e6, f64::from_bits(bits)] {
                prop_assert_eq!(places_17(value), format!("{value:.17}"));
            }
        }
    }
}
