//! etcd through its HTTP gateway (JSON, v3): a lease, a key under it, and who holds the key. Blocking; owns the wire and
//! nothing else. An answer that can't be read counts as none.

use crate::agent::Answer;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

/// A client of one etcd cluster.
pub struct Etcd {
    http: ureq::Agent,
    endpoints: Vec<String>,
    prefix: String,
    /// Who answered last is asked first.
    last: AtomicUsize,
}

impl Etcd {
    /// All endpoints together may take `patience`.
    #[must_use]
    pub fn new(endpoints: &[String], prefix: &str, patience: Duration) -> Etcd {
        let each = patience / u32::try_from(endpoints.len().max(1)).unwrap_or(u32::MAX);
        let config = ureq::Agent::config_builder().timeout_global(Some(each)).http_status_as_error(false);
        let (endpoints, prefix) = (endpoints.to_vec(), prefix.to_owned());
        Etcd { http: config.build().new_agent(), endpoints, prefix, last: AtomicUsize::new(0) }
    }

    fn key(&self, name: &str) -> String {
        STANDARD.encode(format!("{}{name}/leader", self.prefix))
    }

    /// Asks one endpoint after the other; the first answer with status 200, or one that says the lease isn't there.
    fn call(&self, path: &str, body: &Value) -> Result<Value, String> {
        let first = self.last.load(Ordering::Relaxed);
        let mut why = "no endpoint".to_owned();
        for n in 0..self.endpoints.len() {
            let at = (first + n) % self.endpoints.len();
            match self.call_at(&self.endpoints[at], path, body) {
                Ok(answer) => {
                    self.last.store(at, Ordering::Relaxed);
                    return Ok(answer);
                }
                Err(error) => why = format!("{}: {error}", self.endpoints[at]),
            }
        }
        Err(why)
    }

    fn call_at(&self, endpoint: &str, path: &str, body: &Value) -> Result<Value, String> {
        let sent = self.http.post(format!("http://{endpoint}{path}")).send(body.to_string());
        let mut answer = sent.map_err(|error| error.to_string())?;
        let text = answer.body_mut().read_to_string().map_err(|error| error.to_string())?;
        let status = answer.status();
        let value: Value = serde_json::from_str(&text).map_err(|_| format!("status {status}, no JSON"))?;
        match status.as_u16() {
            200 => Ok(value),
            _ => Err(value["error"].as_str().map_or_else(|| format!("status {status}"), str::to_owned)),
        }
    }

    /// A lease, and the key with it if nobody has it.
    #[must_use]
    pub fn acquire(&self, name: &str, node: &str, ttl_s: u64) -> Answer {
        let granted = match self.call("/v3/lease/grant", &json!({"TTL": ttl_s.to_string()})) {
            Ok(granted) => granted,
            Err(why) => return Answer::Away(why),
        };
        let Some(lease) = granted["ID"].as_str() else { return Answer::Away("a grant without an ID".into()) };
        let key = self.key(name);
        let put = json!({"request_put": {"key": key, "value": STANDARD.encode(node), "lease": lease}});
        let free = json!({"result": "EQUAL", "target": "CREATE", "key": key, "create_revision": "0"});
        let range = json!({"request_range": {"key": key}});
        let tried = self.call("/v3/kv/txn", &json!({"compare": [free], "success": [put], "failure": [range]}));
        let answer = match tried {
            Ok(answer) if answer["succeeded"].as_bool() == Some(true) => return Answer::Acquired(lease.to_owned()),
            Ok(answer) => match value_of(&answer["responses"][0]["response_range"]) {
                Some(owner) => Answer::HeldBy(owner),
                None => Answer::Away("a transaction without an answer".into()),
            },
            Err(why) => Answer::Away(why),
        };
        self.revoke(lease);
        answer
    }

    /// Keeps a lease alive.
    #[must_use]
    pub fn renew(&self, lease: &str) -> Answer {
        match self.call("/v3/lease/keepalive", &json!({"ID": lease})) {
            // An unknown lease is answered without a TTL.
            Ok(answer) if answer["result"]["TTL"].as_str().is_some_and(|ttl| ttl != "0") => Answer::Renewed,
            Ok(answer) if answer["result"]["ID"].is_string() => Answer::Gone,
            Ok(_) => Answer::Away("a keepalive without an answer".into()),
            Err(why) => Answer::Away(why),
        }
    }

    /// Gives a lease back, and with it its key. What doesn't get through ends by itself.
    pub fn revoke(&self, lease: &str) {
        if let Err(why) = self.call("/v3/lease/revoke", &json!({"ID": lease})) {
            log::debug!("a lease could not be given back: {why}");
        }
    }

    /// Who holds the key.
    ///
    /// # Errors
    /// Why etcd didn't say.
    pub fn holder(&self, name: &str) -> Result<Option<String>, String> {
        self.call("/v3/kv/range", &json!({"key": self.key(name)})).map(|answer| value_of(&answer))
    }
}

/// The value of the first key of a range.
fn value_of(range: &Value) -> Option<String> {
    let value = STANDARD.decode(range["kvs"][0]["value"].as_str()?).ok()?;
    Some(String::from_utf8_lossy(&value).into_owned())
}
