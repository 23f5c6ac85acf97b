//! Sorted sets made of members that are all known, as the results of commands are. They are put in order once, which costs less
//! than a descent for each, and the form is that of the whole: so the order in which the members come makes no difference.

use super::{Form, Rated, Scored, Trees, ZSet, compare, unsigned_zero};
use crate::compact::Compact;
use crate::elem::Elem;
use crate::hash::{Hashed, place};
use crate::limits::Limits;

/// Puts members into a sorted set's order.
pub fn order_members(members: &mut [(Elem, f64)]) {
    members.sort_unstable_by(|(a, score), (b, other)| compare((*score, a), (*other, b)));
}

impl ZSet {
    /// A sorted set of these members in any order: each occurs once, no score is NaN. A -0 stays in trees only.
    pub fn of_many(mut members: Vec<(Elem, f64)>, limits: &Limits) -> Self {
        let small = members.len() <= limits.zset_entries;
        let compact = small && members.iter().all(|(member, _)| member.len() <= limits.zset_value);
        if compact {
            order_members(&mut members);
            return compact_of(&members);
        }
        let mut rated: Vec<Rated> = members.iter().map(rated).collect();
        rated.sort_unstable_by(|a, b| {
            a.member.hash.cmp(&b.member.hash).then_with(|| a.member.bytes.cmp(&b.member.bytes))
        });
        order_members(&mut members);
        let by_member = rated.into_iter().collect();
        let by_score = members.into_iter().map(|(member, score)| Scored { score, member }).collect();
        Self(Form::Trees(Box::new(Trees { by_score, by_member })))
    }

    /// What adding these members one by one in this order would make: a zero that comes while the form is still compact loses
    /// its sign. `counted`: how many come is known before, and trees are made at once where only they hold so many, as
    /// Redis 7.2 does.
    pub fn of_each(mut members: Vec<(Elem, f64)>, counted: bool, limits: &Limits) -> Self {
        let room = if counted && members.len() > limits.zset_entries { 0 } else { limits.zset_entries };
        let short = members.iter().take(room).take_while(|(member, _)| member.len() <= limits.zset_value);
        let compact = short.count();
        members[..compact].iter_mut().for_each(|(_, score)| *score = unsigned_zero(*score));
        Self::of_many(members, limits)
    }
}

fn compact_of(members: &[(Elem, f64)]) -> ZSet {
    let mut compact = Compact::new();
    for (member, score) in members {
        compact.insert_parts(compact.offset(compact.len()), &unsigned_zero(*score).to_le_bytes(), member);
    }
    ZSet(Form::Compact(compact))
}

fn rated((member, score): &(Elem, f64)) -> Rated {
    Rated { member: Hashed { hash: place(member), bytes: member.clone() }, score: *score }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn members(count: usize, score: impl Fn(usize) -> f64) -> Vec<(Elem, f64)> {
        (0..count).map(|n| (Elem::new(format!("member {n}").as_bytes()), score(n))).collect()
    }

    #[test]
    fn many_at_once_are_what_they_are_one_by_one() {
        let limits = Limits::default();
        for count in [0, 1, 2, 127, 128, 129, 3000] {
            let members = members(count, |n| (n * 7919 % 50) as f64);
            let (mut one_by_one, at_once) = (ZSet::new(), ZSet::of_many(members.clone(), &limits));
            members.iter().for_each(|(member, score)| _ = one_by_one.add(member, *score, &limits));
            assert!(at_once.iter().eq(one_by_one.iter()), "{count}");
            assert_eq!((at_once.len(), at_once.encoding()), (one_by_one.len(), one_by_one.encoding()), "{count}");
            // A blob that grew has room for more.
            assert!(at_once.mem_bytes() <= one_by_one.mem_bytes(), "{count}");
            for (rank, (member, score)) in one_by_one.iter().enumerate() {
                assert_eq!(at_once.rank(member), Some((rank, score)));
            }
        }
        let long = vec![(Elem::new(&[b'x'; 65]), 1.0), (Elem::new(b"m"), 2.0)];
        assert_eq!(ZSet::of_many(long, &limits).encoding(), "skiplist");
    }

    #[test]
    fn zero_keeps_its_sign_where_the_whole_is_a_tree() {
        let limits = Limits::default();
        for (count, stay) in [(128, 0), (129, 129), (300, 300)] {
            let zset = ZSet::of_many(members(count, |_| -0.0), &limits);
            assert_eq!(zset.iter().filter(|(_, score)| score.is_sign_negative()).count(), stay, "{count}");
        }
    }

    #[test]
    fn each_in_turn_is_what_adding_makes() {
        let limits = Limits::default();
        let signed = |n: usize| if n.is_multiple_of(3) { -0.0 } else { (n % 5) as f64 };
        let bits = |zset: &ZSet| zset.iter().map(|(m, s)| (m.to_vec(), s.to_bits())).collect::<Vec<_>>();
        for (count, long) in [(0, 0), (1, 0), (128, 128), (129, 129), (300, 300), (100, 40), (300, 40), (300, 0)] {
            let mut members = members(count, signed);
            if let Some(member) = members.get_mut(long) {
                member.0 = Elem::new(&[b'x'; 65]);
            }
            members.reverse();
            let (mut one_by_one, at_once) = (ZSet::new(), ZSet::of_each(members.clone(), false, &limits));
            members.iter().for_each(|(member, score)| _ = one_by_one.add(member, *score, &limits));
            assert_eq!(bits(&at_once), bits(&one_by_one), "{count} {long}");
            assert_eq!(at_once.encoding(), one_by_one.encoding(), "{count} {long}");
        }
    }

    #[test]
    fn trees_are_made_at_once_for_those_who_are_counted() {
        let limits = Limits::default();
        for (count, stay) in [(128, 0), (129, 129)] {
            let zset = ZSet::of_each(members(count, |_| -0.0), true, &limits);
            assert_eq!(zset.iter().filter(|(_, score)| score.is_sign_negative()).count(), stay, "{count}");
        }
    }
}
