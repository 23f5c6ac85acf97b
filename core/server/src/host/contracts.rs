//! Services between plugins: who offers what, who needs what, and the order of starts that follows. Pure but for the
//! calls themselves, which the plugins answer.

use keystead_abi::{Future, Str};
use std::collections::{BTreeMap, BTreeSet};
use std::ffi::c_void;

/// A service that a plugin provides.
#[derive(Clone)]
pub(super) struct Offer {
    pub(super) plugin: u32,
    pub(super) service: String,
    pub(super) major: u32,
    pub(super) minor: u32,
    pub(super) data: *mut c_void,
    pub(super) call: unsafe extern "C" fn(*mut c_void, Str) -> Future,
}

// SAFETY: a plugin's functions may be called from any thread, with the data they were registered with.
unsafe impl Send for Offer {}

/// A service that a plugin needs.
#[derive(Clone, Debug)]
pub(super) struct Need {
    pub(super) plugin: u32,
    pub(super) service: String,
    pub(super) major: u32,
    pub(super) min_minor: u32,
    pub(super) optional: bool,
}

/// All offers and needs.
#[derive(Default)]
pub(super) struct Contracts {
    offers: Vec<Offer>,
    needs: Vec<Need>,
    /// Which plugin gives a service by default, from the configuration.
    defaults: BTreeMap<String, String>,
}

impl Contracts {
    /// Nothing offered yet; `defaults` says which plugin gives a service.
    pub(super) fn new(defaults: BTreeMap<String, String>) -> Contracts {
        Contracts { defaults, ..Contracts::default() }
    }

    pub(super) fn offer(&mut self, offer: Offer) {
        self.offers.push(offer);
    }

    pub(super) fn need(&mut self, need: Need) {
        self.needs.push(need);
    }

    pub(super) fn remove(&mut self, plugin: u32) {
        self.offers.retain(|offer| offer.plugin != plugin);
        self.needs.retain(|need| need.plugin != plugin);
    }

    /// Who offers a service, in load order.
    pub(super) fn providers<'a>(&'a self, service: &'a str) -> impl Iterator<Item = &'a Offer> {
        self.offers.iter().filter(move |offer| offer.service == service)
    }

    /// The offer for a call: the named provider's, else the configured default's, else the only one or the first.
    pub(super) fn choose(&self, service: &str, provider: &str, names: &[String]) -> Result<Offer, String> {
        let name = |offer: &Offer| names.get(offer.plugin as usize).map_or("", String::as_str);
        let wanted = match provider {
            "" => self.defaults.get(service).map(String::as_str),
            named => Some(named),
        };
        let mut offers = self.providers(service);
        let found = match wanted {
            Some(wanted) => offers.find(|offer| name(offer) == wanted),
            None => offers.next(),
        };
        found.cloned().ok_or_else(|| match wanted {
            Some(wanted) => format!("the plugin '{wanted}' doesn't provide the service {service}, or isn't loaded"),
            None => format!("no plugin provides the service {service}"),
        })
    }

    /// Services that a plugin needs, for PLUGIN INFO.
    pub(super) fn needs_of(&self, plugin: u32) -> Vec<String> {
        let own = self.needs.iter().filter(|need| need.plugin == plugin);
        own.map(|need| if need.optional { format!("{} (optional)", need.service) } else { need.service.clone() })
            .collect()
    }

    /// Services that a plugin offers, for PLUGIN INFO.
    pub(super) fn offers_of(&self, plugin: u32) -> Vec<String> {
        let own = self.offers.iter().filter(|offer| offer.plugin == plugin);
        own.map(|offer| format!("{} {}.{}", offer.service, offer.major, offer.minor)).collect()
    }

    /// The order of starts: providers before their users, otherwise as loaded. Refused by name when a need is unmet or
    /// a circle of needs is closed.
    pub(super) fn order(&self, names: &[String]) -> Result<Vec<u32>, String> {
        let name = |plugin: u32| names.get(plugin as usize).map_or("?", String::as_str);
        for (service, wanted) in &self.defaults {
            if !self.providers(service).any(|offer| name(offer.plugin) == wanted) {
                return Err(format!("services: the plugin '{wanted}' doesn't provide {service}, or isn't loaded"));
            }
        }
        let mut before: BTreeMap<u32, BTreeSet<u32>> = BTreeMap::new();
        for need in &self.needs {
            let fits = |offer: &&Offer| offer.major == need.major && offer.minor >= need.min_minor;
            let fitting: Vec<u32> = self.providers(&need.service).filter(fits).map(|offer| offer.plugin).collect();
            if fitting.is_empty() && !need.optional {
                return Err(self.unmet(need, name));
            }
            let others = fitting.into_iter().filter(|provider| *provider != need.plugin);
            before.entry(need.plugin).or_default().extend(others);
        }
        let mut order = Vec::new();
        let mut left: Vec<u32> = (0..names.len() as u32).collect();
        while !left.is_empty() {
            let free = |plugin: &u32| before.get(plugin).is_none_or(|needed| needed.iter().all(|p| order.contains(p)));
            let Some(at) = left.iter().position(free) else { return Err(circle(&left, &before, name)) };
            order.push(left.remove(at));
        }
        Ok(order)
    }

    fn unmet<'a>(&self, need: &Need, name: impl Fn(u32) -> &'a str) -> String {
        let Need { service, major, min_minor, plugin, .. } = need;
        let user = name(*plugin);
        let there: Vec<String> = self
            .providers(service)
            .map(|offer| format!("'{}' provides {}.{}", name(offer.plugin), offer.major, offer.minor))
            .collect();
        let there = if there.is_empty() { "no plugin provides it".to_owned() } else { there.join(", ") };
        format!("the plugin '{user}' needs the service {service} {major}.{min_minor} or later of {major}, but {there}")
    }
}

/// Names one circle among plugins that wait for each other.
fn circle<'a>(left: &[u32], before: &BTreeMap<u32, BTreeSet<u32>>, name: impl Fn(u32) -> &'a str) -> String {
    let mut path: Vec<u32> = Vec::new();
    let mut at = left[0];
    while !path.contains(&at) {
        path.push(at);
        let waits = before.get(&at).and_then(|needed| needed.iter().find(|p| left.contains(p)));
        at = *waits.expect("a plugin that isn't free waits for one that isn't either");
    }
    let from = path.iter().position(|plugin| *plugin == at).unwrap_or_default();
    let mut names: Vec<String> = path[from..].iter().map(|plugin| format!("'{}'", name(*plugin))).collect();
    names.push(format!("'{}'", name(at)));
    format!("the plugins need each other's services in a circle: {}", names.join(" needs "))
}

#[cfg(test)]
mod tests {
    use super::*;

    unsafe extern "C" fn call(_: *mut c_void, _: Str) -> Future {
        Future { data: std::ptr::null_mut(), poll: None, drop: None }
    }

    fn offer(plugin: u32, service: &str, major: u32, minor: u32) -> Offer {
        Offer { plugin, service: service.into(), major, minor, data: std::ptr::null_mut(), call }
    }

    fn need(plugin: u32, service: &str, major: u32, min_minor: u32) -> Need {
        Need { plugin, service: service.into(), major, min_minor, optional: false }
    }

    fn names() -> Vec<String> {
        ["a", "b", "c"].map(String::from).to_vec()
    }

    #[test]
    fn providers_start_before_their_users() {
        let mut contracts = Contracts::default();
        assert_eq!(contracts.order(&names()), Ok(vec![0, 1, 2]));
        contracts.offer(offer(2, "s", 1, 3));
        contracts.need(need(0, "s", 1, 2));
        assert_eq!(contracts.order(&names()), Ok(vec![1, 2, 0]));
        contracts.need(need(2, "s", 1, 0));
        assert_eq!(contracts.order(&names()), Ok(vec![1, 2, 0]), "a plugin may use its own service");
    }

    #[test]
    fn refusals_name_who_and_what() {
        let mut contracts = Contracts::default();
        contracts.need(need(1, "s", 1, 2));
        let told = contracts.order(&names()).unwrap_err();
        assert_eq!(told, "the plugin 'b' needs the service s 1.2 or later of 1, but no plugin provides it");
        contracts.offer(offer(0, "s", 2, 0));
        assert!(contracts.order(&names()).unwrap_err().ends_with("but 'a' provides 2.0"));
        contracts.offer(offer(0, "s", 1, 2));
        contracts.offer(offer(1, "t", 1, 0));
        contracts.need(need(0, "t", 1, 0));
        let told = contracts.order(&names()).unwrap_err();
        assert!(told.contains("in a circle: 'a' needs 'b' needs 'a'"), "{told}");
        contracts.remove(0);
        contracts.defaults.insert("t".into(), "c".into());
        assert!(contracts.order(&names()).unwrap_err().contains("'c' doesn't provide t"));
    }

    #[test]
    fn a_call_goes_to_who_was_named_or_to_the_default() {
        let mut contracts = Contracts::default();
        contracts.offer(offer(0, "s", 1, 0));
        contracts.offer(offer(1, "s", 1, 0));
        let chosen = |c: &Contracts, provider: &str| c.choose("s", provider, &names()).map(|offer| offer.plugin);
        assert_eq!(chosen(&contracts, ""), Ok(0));
        assert_eq!(chosen(&contracts, "b"), Ok(1));
        contracts.defaults.insert("s".into(), "b".into());
        assert_eq!(chosen(&contracts, ""), Ok(1));
        assert!(chosen(&contracts, "c").is_err());
    }
}
