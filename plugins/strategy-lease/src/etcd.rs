//! etcd through its HTTP gateway (JSON, v3), plain or over TLS, as a user or without: a lease, a key under it, and who holds
//! the key. Blocking; owns the wire, the token of a user and nothing else. An answer that can't be read counts as none.

use crate::agent::Answer;
use crate::config::Config;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use parking_lot::Mutex;
use serde_json::{Value, json};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use ureq::tls::{Certificate, ClientCert, PemItem, PrivateKey, RootCerts, TlsConfig, TlsProvider, parse_pem};

/// etcd's words where a token isn't taken any more: it has forgotten it, or knows it (JWT) as one from before its users or
/// roles were changed last, whosever.
const STALE_TOKEN: [&str; 2] = ["invalid auth token", "revision of auth store is old"];

/// A client of one etcd cluster.
pub struct Etcd {
    http: ureq::Agent,
    endpoints: Vec<String>,
    scheme: &'static str,
    prefix: String,
    /// Who answered last is asked first.
    last: AtomicUsize,
    user: Option<(String, String)>,
    /// What stands for the user until etcd says that it doesn't.
    token: Mutex<Option<String>>,
}

impl Etcd {
    /// All endpoints together may take the configuration's patience.
    ///
    /// # Errors
    /// A certificate or key that can't be read.
    pub fn new(config: &Config) -> Result<Etcd, String> {
        let each = config.patience() / u32::try_from(config.etcd.len().max(1)).unwrap_or(u32::MAX);
        let mut http = ureq::Agent::config_builder().timeout_global(Some(each)).http_status_as_error(false);
        let tls = tls(config)?;
        let scheme = if tls.is_some() { "https" } else { "http" };
        if let Some(tls) = tls {
            http = http.tls_config(tls);
        }
        Ok(Etcd {
            http: http.build().new_agent(),
            endpoints: config.etcd.clone(),
            scheme,
            prefix: config.prefix.clone(),
            last: AtomicUsize::new(0),
            user: config.etcd_user.clone().zip(config.etcd_password.clone()),
            token: Mutex::new(None),
        })
    }

    fn key(&self, name: &str) -> String {
        STANDARD.encode(format!("{}{name}/leader", self.prefix))
    }

    /// Asks one endpoint after the other; the first answer with status 200.
    ///
    /// # Errors
    /// What the last one of them said.
    pub fn call(&self, path: &str, body: &Value) -> Result<Value, String> {
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

    /// One endpoint, as the user if there is one. A token that etcd no longer takes is fetched anew, once.
    fn call_at(&self, endpoint: &str, path: &str, body: &Value) -> Result<Value, String> {
        let Some((name, password)) = &self.user else { return self.post(endpoint, path, body, None) };
        let known = self.token.lock().clone();
        if let Some(token) = known {
            match self.post(endpoint, path, body, Some(&token)) {
                Err(error) if STALE_TOKEN.iter().any(|words| error.contains(words)) => *self.token.lock() = None,
                answer => return answer,
            }
        }
        let asked = json!({"name": name, "password": password});
        let answer = self.post(endpoint, "/v3/auth/authenticate", &asked, None)?;
        let token = answer["token"].as_str().ok_or("no token for the user")?.to_owned();
        *self.token.lock() = Some(token.clone());
        self.post(endpoint, path, body, Some(&token))
    }

    fn post(&self, endpoint: &str, path: &str, body: &Value, token: Option<&str>) -> Result<Value, String> {
        let mut request = self.http.post(format!("{}://{endpoint}{path}", self.scheme));
        if let Some(token) = token {
            request = request.header("Authorization", token);
        }
        let mut answer = request.send(body.to_string()).map_err(|error| error.to_string())?;
        let text = answer.body_mut().read_to_string().map_err(|error| error.to_string())?;
        let status = answer.status();
        let value: Value = serde_json::from_str(&text)
            .map_err(|_| format!("status {status}: {}", text.trim().chars().take(120).collect::<String>()))?;
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
                Some(owner) if owner == node => Answer::HeldBefore,
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

/// TLS towards etcd, if the configuration names its authorities.
fn tls(config: &Config) -> Result<Option<TlsConfig>, String> {
    let Some(path) = &config.etcd_ca_file else { return Ok(None) };
    let roots = certificates(path)?;
    let mut tls = TlsConfig::builder()
        .provider(TlsProvider::Rustls)
        .unversioned_rustls_crypto_provider(Arc::new(rustls::crypto::ring::default_provider()))
        .root_certs(RootCerts::new_with_certs(&roots));
    if let (Some(certificate), Some(key)) = (&config.etcd_cert_file, &config.etcd_key_file) {
        let pem = std::fs::read(key).map_err(|error| format!("{key}: {error}"))?;
        let private = PrivateKey::from_pem(&pem).map_err(|error| format!("{key}: {error}"))?;
        tls = tls.client_cert(Some(ClientCert::new_with_certs(&certificates(certificate)?, private)));
    }
    Ok(Some(tls.build()))
}

fn certificates(path: &str) -> Result<Vec<Certificate<'static>>, String> {
    let pem = std::fs::read(path).map_err(|error| format!("{path}: {error}"))?;
    let items: Result<Vec<_>, _> = parse_pem(&pem).collect();
    let found = items.map_err(|error| format!("{path}: {error}"))?.into_iter();
    let found: Vec<_> =
        found.filter_map(|item| if let PemItem::Certificate(c) = item { Some(c) } else { None }).collect();
    if found.is_empty() { Err(format!("{path}: there is no certificate in it")) } else { Ok(found) }
}
