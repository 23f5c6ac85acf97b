//! GEOSEARCH and the older GEORADIUS: everything within a circle or a box. Owns the arguments of both spellings, the order
//! and number of results, and what is stored.

use super::grid::{self, Place, Shape};
use super::{place, unit, write_distance, write_place};
use crate::commands::common::{Res, as_sent_if, err, int, is};
use crate::ctx::Ctx;
use crate::effect::{CommandResult, Effect};
use crate::error::CommandError;
use keystead_keyspace::elem::Elem;
use keystead_keyspace::object::Object;
use keystead_keyspace::zset::ZSet;
use keystead_resp::Args;
use keystead_resp::number;

/// Which command it is.
#[derive(Clone, Copy, PartialEq)]
enum Spelling {
    /// `GEORADIUS key long lat radius unit`; may it store?
    Radius(bool),
    /// `GEORADIUSBYMEMBER key member radius unit`; may it store?
    ByMember(bool),
    /// `GEOSEARCH key …`
    Search,
    /// `GEOSEARCHSTORE destination source …`
    SearchStore,
}

impl Spelling {
    /// Where the options begin.
    fn options_at(self) -> usize {
        match self {
            Spelling::Radius(_) => 6,
            Spelling::ByMember(_) => 5,
            Spelling::Search => 2,
            Spelling::SearchStore => 3,
        }
    }

    fn searches(self) -> bool {
        matches!(self, Spelling::Search | Spelling::SearchStore)
    }
}

#[derive(Clone, Copy, PartialEq)]
enum Order {
    Any,
    Ascending,
    Descending,
}

/// What is asked.
struct Query<'a> {
    middle: Option<Place>,
    shape: Option<Shape>,
    /// Metres in the unit of the answer.
    metres: f64,
    /// FROMMEMBER or FROMLONLAT was there.
    from: Option<&'static str>,
    with_dist: bool,
    with_hash: bool,
    with_coord: bool,
    any: bool,
    order: Order,
    count: Option<usize>,
    store: Option<&'a [u8]>,
    store_dist: bool,
}

/// One place found.
struct Found {
    member: Elem,
    score: f64,
    place: Place,
    metres: f64,
}

fn length(arg: &[u8], what: &'static str) -> Res<f64> {
    number::parse_f64(arg).ok_or(err(what))
}

/// `radius unit`
fn circle(args: Args<'_>, at: usize) -> Res<(Shape, f64)> {
    let radius = length(&args[at], "ERR need numeric radius")?;
    if radius < 0.0 {
        return Err(err("ERR radius cannot be negative"));
    }
    let metres = unit(&args[at + 1])?;
    Ok((Shape::Circle { radius: radius * metres }, metres))
}

/// `width height unit`
fn rectangle(args: Args<'_>, at: usize) -> Res<(Shape, f64)> {
    let width = length(&args[at], "ERR need numeric width")?;
    let height = length(&args[at + 1], "ERR need numeric height")?;
    if width < 0.0 || height < 0.0 {
        return Err(err("ERR height or width cannot be negative"));
    }
    let metres = unit(&args[at + 2])?;
    Ok((Shape::Box { width: width * metres, height: height * metres }, metres))
}

/// A member's place; none where there is no source at all, which is answered in the end.
fn from_member(source: Option<&ZSet>, member: &[u8]) -> Res<Option<Place>> {
    let Some(zset) = source else { return Ok(None) };
    match zset.score(member) {
        Some(score) => Ok(Some(grid::place_of(score))),
        None => Err(err("ERR could not decode requested zset member")),
    }
}

impl<'a> Query<'a> {
    fn parse(args: Args<'a>, spelling: Spelling, source: Option<&ZSet>) -> Res<Self> {
        let mut query = Query {
            middle: None,
            shape: None,
            metres: 1.0,
            from: None,
            with_dist: false,
            with_hash: false,
            with_coord: false,
            any: false,
            order: Order::Any,
            count: None,
            store: (spelling == Spelling::SearchStore).then(|| args.get(1)).flatten(),
            store_dist: false,
        };
        match spelling {
            Spelling::Radius(_) => {
                query.middle = Some(place(&args[2], &args[3])?);
                query.set_shape(circle(args, 4)?);
            }
            Spelling::ByMember(_) if source.is_some() => {
                query.middle = from_member(source, &args[2])?;
                query.set_shape(circle(args, 3)?);
            }
            _ => {}
        }
        let mut at = spelling.options_at();
        while at < args.len() {
            at += query.option(args, at, spelling, source)?;
        }
        query.check(args, spelling)?;
        Ok(query)
    }

    fn set_shape(&mut self, (shape, metres): (Shape, f64)) {
        (self.shape, self.metres) = (Some(shape), metres);
    }

    /// Reads one option; gives how many words it took.
    fn option(&mut self, args: Args<'a>, at: usize, spelling: Spelling, source: Option<&ZSet>) -> Res<usize> {
        let left = args.len() - at - 1;
        let searches = spelling.searches();
        let stores = matches!(spelling, Spelling::Radius(true) | Spelling::ByMember(true));
        let boxed = matches!(self.shape, Some(Shape::Box { .. }));
        let round = searches && matches!(self.shape, Some(Shape::Circle { .. }));
        match &args[at] {
            a if is(a, "withdist") => self.with_dist = true,
            a if is(a, "withhash") => self.with_hash = true,
            a if is(a, "withcoord") => self.with_coord = true,
            a if is(a, "any") => self.any = true,
            a if is(a, "asc") => self.order = Order::Ascending,
            a if is(a, "desc") => self.order = Order::Descending,
            a if is(a, "count") && left > 0 => {
                let count = int(&args[at + 1])?;
                let bad = err("ERR COUNT must be > 0");
                self.count = Some(usize::try_from(count).ok().filter(|count| *count > 0).ok_or(bad)?);
                return Ok(2);
            }
            a if stores && left > 0 && (is(a, "store") || is(a, "storedist")) => {
                (self.store, self.store_dist) = (args.get(at + 1), is(a, "storedist"));
                return Ok(2);
            }
            a if spelling == Spelling::SearchStore && is(a, "storedist") => self.store_dist = true,
            a if searches && is(a, "frommember") && left > 0 && self.from != Some("lonlat") => {
                self.middle = from_member(source, &args[at + 1])?;
                self.from = Some("member");
                return Ok(2);
            }
            a if searches && is(a, "fromlonlat") && left > 1 && self.from != Some("member") => {
                self.middle = Some(place(&args[at + 1], &args[at + 2])?);
                self.from = Some("lonlat");
                return Ok(3);
            }
            a if searches && is(a, "byradius") && left > 1 && !boxed => {
                self.set_shape(circle(args, at + 1)?);
                return Ok(3);
            }
            a if searches && is(a, "bybox") && left > 2 && !round => {
                self.set_shape(rectangle(args, at + 1)?);
                return Ok(4);
            }
            _ => return Err(CommandError::SYNTAX),
        }
        Ok(1)
    }

    /// What doesn't go together.
    fn check(&self, args: Args<'_>, spelling: Spelling) -> Res<()> {
        if self.store.is_some() && (self.with_dist || self.with_hash || self.with_coord) {
            let what = match spelling {
                Spelling::SearchStore => "GEOSEARCHSTORE",
                _ => "STORE option in GEORADIUS",
            };
            let text = format!("ERR {what} is not compatible with WITHDIST, WITHHASH and WITHCOORD options");
            return Err(CommandError::new(text));
        }
        if spelling.searches() && self.from.is_none() {
            let text = b"ERR exactly one of FROMMEMBER or FROMLONLAT can be specified for ";
            return Err(CommandError::quoting(&[text, &args[0]]));
        }
        if spelling.searches() && self.shape.is_none() {
            let text = b"ERR exactly one of BYRADIUS and BYBOX can be specified for ";
            return Err(CommandError::quoting(&[text, &args[0]]));
        }
        if self.any && self.count.is_none() {
            return Err(err("ERR the ANY argument requires COUNT argument"));
        }
        Ok(())
    }

    /// Looks through the cells that can hold something.
    fn find(&self, zset: &ZSet) -> Vec<Found> {
        let (Some(middle), Some(shape)) = (self.middle, self.shape) else { return Vec::new() };
        let enough = if self.any { self.count.unwrap_or(usize::MAX) } else { usize::MAX };
        let mut found = Vec::new();
        for cell in shape.cells(middle) {
            let (low, high) = cell.scores();
            let first = zset.rank_where(|_, score| score < low as f64);
            for (member, score) in zset.iter_from(first).take_while(|(_, score)| *score < high as f64) {
                if found.len() >= enough {
                    return found;
                }
                let place = grid::place_of(score);
                if let Some(metres) = shape.holds(middle, place) {
                    found.push(Found { member: Elem::new(member), score, place, metres });
                }
            }
        }
        found
    }

    /// The results in order, no more than wanted.
    fn results(&self, zset: &ZSet) -> Vec<Found> {
        let mut found = self.find(zset);
        // The closest ones are meant, if any number of them is.
        let order =
            if self.order == Order::Any && self.count.is_some() && !self.any { Order::Ascending } else { self.order };
        match order {
            Order::Any => {}
            Order::Ascending => found.sort_by(|a, b| a.metres.total_cmp(&b.metres)),
            Order::Descending => found.sort_by(|a, b| b.metres.total_cmp(&a.metres)),
        }
        found.truncate(self.count.unwrap_or(usize::MAX));
        found
    }
}

fn run(ctx: &mut Ctx<'_>, args: Args<'_>, spelling: Spelling) -> CommandResult {
    let most = ctx.most_output();
    let (ks, db, mut out) = ctx.split();
    let source = &args[if spelling == Spelling::SearchStore { 2 } else { 1 }];
    let zset = ks.zset(db, source)?;
    let query = Query::parse(args, spelling, zset)?;
    let found = zset.map(|zset| query.results(zset)).unwrap_or_default();
    if let Some(key) = query.store {
        return store(ctx, key, &query, found);
    }
    let extras = usize::from(query.with_dist) + usize::from(query.with_hash) + usize::from(query.with_coord);
    out.array(found.len());
    for item in found {
        if out.out.len() >= most {
            break;
        }
        if extras > 0 {
            out.array(extras + 1);
        }
        out.bulk(&*item.member);
        if query.with_dist {
            write_distance(&mut out, item.metres / query.metres);
        }
        if query.with_hash {
            out.int(grid::whole(item.score));
        }
        if query.with_coord {
            write_place(&mut out, item.place);
        }
    }
    Ok(Effect::None)
}

/// Stores the results as a sorted set, by place or by distance; no results delete the key.
fn store(ctx: &mut Ctx<'_>, key: &[u8], query: &Query<'_>, found: Vec<Found>) -> CommandResult {
    let (ks, db, mut out) = ctx.split();
    let score = |item: &Found| if query.store_dist { item.metres / query.metres } else { item.score };
    let count = found.len();
    out.int(count as i64);
    let changed = if found.is_empty() {
        ks.remove_unasked(db, key)
    } else {
        let before = ks.dirty();
        let members = found.into_iter().map(|item| {
            let score = score(&item);
            (item.member, score)
        });
        let zset = ZSet::of_many(members.collect(), ks.limits());
        ks.put_object(db, key, Object::ZSet(zset), None);
        ks.recount(before, count as u64);
        true
    };
    Ok(as_sent_if(changed))
}

pub(super) fn geosearch(ctx: &mut Ctx<'_>, args: Args<'_>) -> CommandResult {
    run(ctx, args, Spelling::Search)
}

pub(super) fn geosearchstore(ctx: &mut Ctx<'_>, args: Args<'_>) -> CommandResult {
    run(ctx, args, Spelling::SearchStore)
}

pub(super) fn georadius(ctx: &mut Ctx<'_>, args: Args<'_>) -> CommandResult {
    run(ctx, args, Spelling::Radius(true))
}

pub(super) fn georadius_ro(ctx: &mut Ctx<'_>, args: Args<'_>) -> CommandResult {
    run(ctx, args, Spelling::Radius(false))
}

pub(super) fn georadiusbymember(ctx: &mut Ctx<'_>, args: Args<'_>) -> CommandResult {
    run(ctx, args, Spelling::ByMember(true))
}

pub(super) fn georadiusbymember_ro(ctx: &mut Ctx<'_>, args: Args<'_>) -> CommandResult {
    run(ctx, args, Spelling::ByMember(false))
}

/// The source, and what the last STORE or STOREDIST names: the one that is written.
fn keys(args: Args<'_>, spelling: Spelling) -> Vec<usize> {
    let (mut at, mut store) = (spelling.options_at(), None);
    while at < args.len() {
        let takes_one = ["store", "storedist"].iter().any(|word| is(&args[at], word));
        if takes_one && at + 1 < args.len() {
            store = Some(at + 1);
            at += 1;
        } else if is(&args[at], "count") {
            at += 1;
        }
        at += 1;
    }
    std::iter::once(1).chain(store).collect()
}

pub(super) fn radius_keys(args: Args<'_>) -> Vec<usize> {
    keys(args, Spelling::Radius(true))
}

pub(super) fn by_member_keys(args: Args<'_>) -> Vec<usize> {
    keys(args, Spelling::ByMember(true))
}
