//! What members said who don't vouch: they are asked at each renewal while etcd is away, and people read each cause once.

use std::collections::BTreeMap;

/// The last cause of each member that doesn't vouch.
#[derive(Debug, Default)]
pub(crate) struct Causes(BTreeMap<String, String>);

impl Causes {
    /// A member answered: whether its cause is to be told. One that vouches has none.
    pub(crate) fn is_news(&mut self, member: &str, cause: Option<&str>) -> bool {
        match cause {
            Some(cause) => self.0.insert(member.to_owned(), cause.to_owned()).as_deref() != Some(cause),
            None => {
                self.0.remove(member);
                false
            }
        }
    }

    /// etcd is back: what is said the next time is told again.
    pub(crate) fn forget(&mut self) {
        self.0.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cause_is_told_once_until_there_is_another_or_etcd_is_back() {
        let mut causes = Causes::default();
        assert!(causes.is_news("b:1", Some("no answer")));
        assert!(!causes.is_news("b:1", Some("no answer")));
        assert!(causes.is_news("c:1", Some("no answer")), "each member");
        assert!(causes.is_news("b:1", Some("it is a primary itself")));
        assert!(!causes.is_news("b:1", None), "it vouches");
        assert!(causes.is_news("b:1", Some("no answer")));
        causes.forget();
        assert!(causes.is_news("b:1", Some("no answer")));
    }
}
