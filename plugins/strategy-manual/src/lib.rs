//! Election strategy `manual`: a sentinel stands only when an operator said so (SENTINEL CONFIRM). Everything before that
//! runs as ever: the fall is seen and agreed upon, and SENTINEL EXPLAIN says who would be promoted and what is waited for.
//! Who was told stands at once; votes and their count are Redis'. The word is kept by the one that heard it, and dies with it.
#![forbid(unsafe_code)]

use keystead_plugin::prelude::*;
use keystead_plugin::services::election::{self, Advice, ElectionStrategy, Question};

/// The strategy and its plugin: there is nothing to configure.
#[derive(Clone, Copy, Debug, Default)]
pub struct Manual;

impl ElectionStrategy for Manual {
    fn advise(&self, question: &Question) -> Advice {
        match question {
            Question::Stand { confirmed: true, .. } => Advice::StandAfter { ms: 0 },
            Question::Stand { primary, .. } => {
                Advice::Abstain { reason: format!("it waits for an operator: SENTINEL CONFIRM {primary}") }
            }
            other => election::redis(other),
        }
    }
}

impl Plugin for Manual {
    const NAME: &'static str = "manual";
    const ENDPOINT_ONLY: bool = true;
    type Config = ();

    fn init(_host: Host, _config: (), reg: &mut Registrar<Self>) -> Result<Self> {
        election::provide(reg);
        Ok(Manual)
    }
}

keystead_plugin::export_plugin!(Manual, KEYSTEAD_PLUGIN_manual);

#[cfg(test)]
mod tests {
    use super::*;

    fn stand(confirmed: bool) -> Advice {
        let (primary, me, usable) = ("m".to_owned(), "b".to_owned(), vec!["a".into(), "b".into()]);
        Manual.advise(&Question::Stand { primary, me, usable, write_ms: 0, confirmed, primary_addr: None })
    }

    #[test]
    fn nobody_stands_before_an_operator_says_so() {
        assert!(matches!(stand(false), Advice::Abstain { reason } if reason.contains("SENTINEL CONFIRM m")));
        assert_eq!(stand(true), Advice::StandAfter { ms: 0 }, "whoever was told, whatever its rank");
    }
}
