//! Which of many was used longest ago: a list through their numbers, so that a use costs the same however many there are.
//! Pure: owns the order.

/// The neighbours of a number in the list.
#[derive(Clone, Copy, Default)]
struct Link {
    older: Option<u32>,
    newer: Option<u32>,
}

/// Numbers in the order of their last use.
#[derive(Default)]
pub struct Ages {
    /// By number; none: it isn't in the list.
    links: Vec<Option<Link>>,
    oldest: Option<u32>,
    newest: Option<u32>,
}

impl Ages {
    /// The number that was used longest ago.
    pub fn oldest(&self) -> Option<u32> {
        self.oldest
    }

    /// A number comes, used now. One that is there already is moved.
    pub fn push(&mut self, number: u32) {
        self.remove(number);
        let at = number as usize;
        if self.links.len() <= at {
            self.links.resize(at + 1, None);
        }
        let older = self.newest.replace(number);
        self.links[at] = Some(Link { older, newer: None });
        match older.and_then(|older| self.link(older)) {
            Some(link) => link.newer = Some(number),
            None => self.oldest = Some(number),
        }
    }

    /// A number is used now; one that isn't in the list stays outside.
    pub fn touch(&mut self, number: u32) {
        if self.newest != Some(number) && self.remove(number) {
            self.push(number);
        }
    }

    /// A number goes; false if it isn't there.
    pub fn remove(&mut self, number: u32) -> bool {
        let Some(gone) = self.links.get_mut(number as usize).and_then(Option::take) else { return false };
        match gone.older.and_then(|older| self.link(older)) {
            Some(link) => link.newer = gone.newer,
            None => self.oldest = gone.newer,
        }
        match gone.newer.and_then(|newer| self.link(newer)) {
            Some(link) => link.older = gone.older,
            None => self.newest = gone.older,
        }
        true
    }

    fn link(&mut self, number: u32) -> Option<&mut Link> {
        self.links.get_mut(number as usize)?.as_mut()
    }
}

#[cfg(test)]
mod tests {
    use super::Ages;

    /// Beside a list that is searched through.
    #[test]
    fn the_order_is_that_of_the_last_use() {
        let (mut ages, mut plain) = (Ages::default(), Vec::new());
        let mut seed = 7u64;
        for step in 0..20_000 {
            seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            let number = (seed >> 40) as u32 % 40;
            let was = plain.iter().position(|known| *known == number).map(|at| plain.remove(at)).is_some();
            match seed >> 33 & 3 {
                0 => assert_eq!(ages.remove(number), was, "{step}"),
                1 => {
                    ages.push(number);
                    plain.push(number);
                }
                _ => {
                    ages.touch(number);
                    plain.extend(was.then_some(number));
                }
            }
            assert_eq!(ages.oldest(), plain.first().copied(), "{step}");
        }
        for number in plain {
            assert_eq!(ages.oldest(), Some(number));
            ages.remove(number);
        }
        assert_eq!(ages.oldest(), None);
    }
}
