//! Places on the earth as cells of a grid: longitude and latitude, each halved up to 26 times, their bits interleaved.
//! Owns the arithmetic, operation by operation as Redis does it, so that distances and cells agree to the last digit.
//! Pure; knows no keys and no commands.

/// Radius in metres of the sphere that stands for the earth.
const EARTH: f64 = 6_372_797.560_856;
const MERCATOR_MAX: f64 = 20_037_726.37;
const D_R: f64 = std::f64::consts::PI / 180.0;
/// Bits of each coordinate in a score.
pub(super) const STEPS: u32 = 26;
/// Where the projection ends.
pub(super) const MAX_LAT: f64 = 85.051_128_78;
pub(super) const MAX_LONG: f64 = 180.0;

/// A longitude and a latitude.
#[derive(Clone, Copy, PartialEq, Debug)]
pub(super) struct Place {
    pub(super) long: f64,
    pub(super) lat: f64,
}

/// A cell of the grid at some resolution.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Cell {
    bits: u64,
    steps: u32,
}

/// What a cell covers.
struct Area {
    long: (f64, f64),
    lat: (f64, f64),
}

/// What is searched, in metres.
#[derive(Clone, Copy, PartialEq, Debug)]
pub(super) enum Shape {
    Circle { radius: f64 },
    Box { width: f64, height: f64 },
}

fn interleave(even: u32, odd: u32) -> u64 {
    let spread = |bits: u32| (0..32).fold(0, |all, at| all | u64::from(bits >> at & 1) << (2 * at));
    spread(even) | spread(odd) << 1
}

fn deinterleave(bits: u64) -> (u32, u32) {
    let gather = |bits: u64| (0..32).fold(0, |all, at| all | ((bits >> (2 * at) & 1) as u32) << at);
    (gather(bits), gather(bits >> 1))
}

impl Cell {
    fn of(place: Place, max_lat: f64, steps: u32) -> Self {
        let scale = (1_u64 << steps) as f64;
        let lat = (place.lat + max_lat) / (max_lat + max_lat) * scale;
        let long = (place.long + MAX_LONG) / (MAX_LONG + MAX_LONG) * scale;
        Cell { bits: interleave(lat as u32, long as u32), steps }
    }

    fn area(self) -> Area {
        let (lat, long) = deinterleave(self.bits);
        let scale = (1_u64 << self.steps) as f64;
        let edge = |n: f64, max: f64| -max + n / scale * (max + max);
        Area {
            long: (edge(f64::from(long), MAX_LONG), edge(f64::from(long) + 1.0, MAX_LONG)),
            lat: (edge(f64::from(lat), MAX_LAT), edge(f64::from(lat) + 1.0, MAX_LAT)),
        }
    }

    /// The neighbour so many cells east and north; the grid is a ring both ways.
    fn neighbour(self, east: i32, north: i32) -> Self {
        const LONG: u64 = 0xaaaa_aaaa_aaaa_aaaa;
        const LAT: u64 = 0x5555_5555_5555_5555;
        let shift = 64 - self.steps * 2;
        let step = |mine: u64, others: u64, by: i32| match by {
            0 => self.bits & mine,
            1 => (self.bits & mine).wrapping_add((others >> shift) + 1) & (mine >> shift),
            _ => (self.bits & mine | others >> shift).wrapping_sub((others >> shift) + 1) & (mine >> shift),
        };
        Cell { bits: step(LONG, LAT, east) | step(LAT, LONG, north), steps: self.steps }
    }

    /// The scores of the places in the cell: from the first, below the second.
    pub(super) fn scores(self) -> (u64, u64) {
        let shift = 52 - self.steps * 2;
        (self.bits << shift, (self.bits + 1) << shift)
    }
}

/// The score under which a place is kept.
pub(super) fn score_of(place: Place) -> u64 {
    Cell::of(place, MAX_LAT, STEPS).scores().0
}

/// A score as an integer. ZADD may have put any number there; Redis leaves what comes of it to the processor, and so it is
/// the same here.
pub(super) fn whole(score: f64) -> i64 {
    const EDGE: f64 = 9_223_372_036_854_775_808.0;
    if (-EDGE..EDGE).contains(&score) { score as i64 } else { i64::MIN }
}

fn whole_bits(score: f64) -> u64 {
    const EDGE: f64 = 9_223_372_036_854_775_808.0;
    if score >= EDGE { whole(score - EDGE) as u64 ^ 1 << 63 } else { whole(score) as u64 }
}

/// The place of a score: the middle of its cell.
pub(super) fn place_of(score: f64) -> Place {
    let Area { long, lat } = Cell { bits: whole_bits(score), steps: STEPS }.area();
    let middle = |(low, high): (f64, f64), max: f64| ((low + high) / 2.0).clamp(-max, max);
    Place { long: middle(long, MAX_LONG), lat: middle(lat, MAX_LAT) }
}

/// The usual geohash of a place, 11 letters of which the last is always `0`.
pub(super) fn geohash(place: Place) -> String {
    const LETTERS: &[u8; 32] = b"0123456789bcdefghjkmnpqrstuvwxyz";
    let bits = Cell::of(place, 90.0, STEPS).bits;
    let letter = |at: u32| LETTERS[(bits >> (52 - (at + 1) * 5) & 31) as usize] as char;
    (0..10).map(letter).chain(['0']).collect()
}

fn lat_distance(a: f64, b: f64) -> f64 {
    EARTH * (b * D_R - a * D_R).abs()
}

/// Metres between two places.
pub(super) fn distance(a: Place, b: Place) -> f64 {
    let v = ((b.long * D_R - a.long * D_R) / 2.0).sin();
    if v == 0.0 {
        return lat_distance(a.lat, b.lat);
    }
    let (from, to) = (a.lat * D_R, b.lat * D_R);
    let u = ((to - from) / 2.0).sin();
    let a = u * u + from.cos() * to.cos() * v * v;
    2.0 * EARTH * a.sqrt().asin()
}

impl Shape {
    /// The distance to a place if the shape around `middle` holds it.
    pub(super) fn holds(self, middle: Place, place: Place) -> Option<f64> {
        match self {
            Shape::Circle { radius } => Some(distance(middle, place)).filter(|distance| *distance <= radius),
            Shape::Box { width, height } => {
                // The latitude costs less to look at.
                let inside = lat_distance(place.lat, middle.lat) <= height / 2.0
                    && distance(place, Place { long: middle.long, lat: place.lat }) <= width / 2.0;
                inside.then(|| distance(middle, place))
            }
        }
    }

    /// West, south, east and north end of the shape around a place.
    fn bounds(self, middle: Place) -> [f64; 4] {
        let (width, height) = match self {
            Shape::Circle { radius } => (radius, radius),
            Shape::Box { width, height } => (width / 2.0, height / 2.0),
        };
        let lat = height / EARTH / D_R;
        let long_at = |latitude: f64| width / EARTH / (latitude * D_R).cos() / D_R;
        let long = if middle.lat < 0.0 { long_at(middle.lat - lat) } else { long_at(middle.lat + lat) };
        [middle.long - long, middle.lat - lat, middle.long + long, middle.lat + lat]
    }

    /// How fine a grid may be whose nine cells around a place still cover the shape.
    fn steps(self, middle: Place) -> u32 {
        let mut reach = match self {
            Shape::Circle { radius } => radius,
            Shape::Box { width, height } => ((width / 2.0) * (width / 2.0) + (height / 2.0) * (height / 2.0)).sqrt(),
        };
        if reach == 0.0 {
            return STEPS;
        }
        let mut steps: i32 = 1;
        while reach < MERCATOR_MAX {
            reach *= 2.0;
            steps += 1;
        }
        steps -= 2;
        // Towards the poles a degree of longitude is short.
        steps -= i32::from(middle.lat.abs() > 66.0) + i32::from(middle.lat.abs() > 80.0);
        steps.clamp(1, STEPS as i32) as u32
    }

    /// The cells that can hold places of the shape, in the order in which Redis looks at them.
    pub(super) fn cells(self, middle: Place) -> Vec<Cell> {
        let [west, south, east, north] = self.bounds(middle);
        let mut steps = self.steps(middle);
        let mut home = Cell::of(middle, MAX_LAT, steps);
        let beside = |east, north| home.neighbour(east, north).area();
        let too_fine = beside(0, 1).lat.1 < north
            || beside(0, -1).lat.0 > south
            || beside(1, 0).long.1 < east
            || beside(-1, 0).long.0 > west;
        if steps > 1 && too_fine {
            steps -= 1;
            home = Cell::of(middle, MAX_LAT, steps);
        }
        let area = home.area();
        let useless = |by_east: i32, by_north: i32| {
            steps >= 2
                && (by_north < 0 && area.lat.0 < south
                    || by_north > 0 && area.lat.1 > north
                    || by_east < 0 && area.long.0 < west
                    || by_east > 0 && area.long.1 > east)
        };
        const ORDER: [(i32, i32); 9] = [(0, 0), (0, 1), (0, -1), (1, 0), (-1, 0), (1, 1), (-1, 1), (1, -1), (-1, -1)];
        let mut cells: Vec<Cell> = Vec::with_capacity(ORDER.len());
        for (by_east, by_north) in ORDER {
            let cell = home.neighbour(by_east, by_north);
            // With few cells around the earth neighbours are the same.
            if !useless(by_east, by_north) && cells.last() != Some(&cell) {
                cells.push(cell);
            }
        }
        cells
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PALERMO: Place = Place { long: 13.361389, lat: 38.115556 };
    const CATANIA: Place = Place { long: 15.087269, lat: 37.502669 };

    #[test]
    fn the_examples_of_the_documentation() {
        assert_eq!(score_of(PALERMO), 3_479_099_956_230_698);
        assert_eq!(score_of(CATANIA), 3_479_447_370_796_909);
        let (a, b) = (place_of(score_of(PALERMO) as f64), place_of(score_of(CATANIA) as f64));
        assert_eq!(format!("{:.4}", distance(a, b)), "166274.1516");
        assert_eq!((geohash(a).as_str(), geohash(b).as_str()), ("sqc8b49rny0", "sqdtr74hyu0"));
    }

    #[test]
    fn the_ends_of_the_world_have_cells() {
        for long in [-180.0, -0.0, 0.0, 180.0] {
            for lat in [-MAX_LAT, 0.0, MAX_LAT] {
                let place = Place { long, lat };
                let back = place_of(score_of(place) as f64);
                assert!(back.long.abs() <= MAX_LONG && back.lat.abs() <= MAX_LAT, "{place:?} {back:?}");
                for radius in [0.0, 1.0, 1e4, 1e7, 1e300, f64::INFINITY] {
                    assert!(!Shape::Circle { radius }.cells(place).is_empty(), "{place:?} {radius}");
                    assert!(!Shape::Box { width: radius, height: 1.0 }.cells(place).is_empty(), "{place:?} {radius}");
                }
            }
        }
        for score in [0.0, -1.0, 1e300, f64::INFINITY, f64::NEG_INFINITY, 4_503_599_627_370_496.0] {
            let place = place_of(score);
            assert!(place.long.abs() <= MAX_LONG && place.lat.abs() <= MAX_LAT, "{score} {place:?}");
        }
    }

    #[test]
    fn cells_cover_what_the_shape_holds() {
        let mut state = 12345_u64;
        let mut random = || {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (state >> 33) as f64 / f64::from(u32::MAX >> 1)
        };
        for _ in 0..3000 {
            let middle = Place { long: random() * 340.0 - 170.0, lat: random() * 140.0 - 70.0 };
            let reach = 10_f64.powf(random() * 5.0 + 1.0);
            let shape = if random() < 0.5 {
                Shape::Circle { radius: reach }
            } else {
                Shape::Box { width: reach, height: reach * random() * 2.0 }
            };
            let cells = shape.cells(middle);
            let near = Place { long: middle.long + random() * 4.0 - 2.0, lat: middle.lat + random() * 4.0 - 2.0 };
            let score = score_of(near);
            if shape.holds(middle, place_of(score as f64)).is_some() {
                let within = |cell: &Cell| (cell.scores().0..cell.scores().1).contains(&score);
                assert!(cells.iter().any(within), "{middle:?} {shape:?} {near:?}");
            }
        }
    }
}
