//! Client libraries' own tests: obtained by package name and version, run against redis-server and keystead, and compared
//! by test name. Owns where each is had and how it is pointed at a server; keeps nothing of them in the repository.

use crate::client_names::{Verdicts, names};
use crate::redis_rs;
use keystead_harness::{Keystead, RedisServer, ron_str};
use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// A library.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Library {
    /// redis-py 5.0.8, PyPI's source package.
    RedisPy,
    /// walrus 0.9.8, PyPI's source package; its tests are in the package.
    Walrus,
    /// hiredis 0.14.1, Debian's source package.
    Hiredis,
    /// redis-rs 1.8.1, cargo's registry.
    RedisRs,
}

/// redis-py asks INFO for Redis modules and doesn't collect a file whose module it doesn't find among those it finds: plugins
/// are listed there. The tests are about what redis-py does without asking a module.
const OF_MODULES: &str = "a test of a Redis module's client; its file isn't collected where other modules are listed";

/// redis-rs wants ACL CAT to name a command that is left out.
const SELF_TEST: &str = "asks ACL CAT for PFSELFTEST, which tests the C code of redis-server from inside";

/// Tests that pass on redis-server and needn't here: library, test, reason.
const EXCUSED: &[(Library, &str, &str)] = &[
    (Library::RedisPy, "tests/test_asyncio/test_search.py::test_explaincli[single]", OF_MODULES),
    (Library::RedisPy, "tests/test_asyncio/test_search.py::test_explaincli[pool]", OF_MODULES),
    (Library::RedisPy, "tests/test_asyncio/test_search.py::test_query_timeout[single]", OF_MODULES),
    (Library::RedisPy, "tests/test_asyncio/test_search.py::test_query_timeout[pool]", OF_MODULES),
    (Library::RedisPy, "tests/test_json.py::test_decoders_and_unstring", OF_MODULES),
    (Library::RedisPy, "tests/test_search.py::test_explaincli", OF_MODULES),
    (Library::RedisPy, "tests/test_search.py::test_query_timeout", OF_MODULES),
    (Library::RedisRs, "RESP2 test_acl::test_acl_cat", SELF_TEST),
    (Library::RedisRs, "RESP3 test_acl::test_acl_cat", SELF_TEST),
];

/// Tests that pass here and not on redis-server: what part of the name it is, and why.
const ONLY_HERE: &[(&str, &str)] = &[
    ("test_acl_getuser_setuser", "7.2's ACL GETUSER keeps rules as they were given (11224)"),
    ("test_acl_log", "7.2's ACL LOG has entry-id and two timestamps (11477)"),
    ("test_client_no_touch", "CLIENT NO-TOUCH is new in 7.2 (11483)"),
    ("test_xinfo_consumers", "7.2's XINFO CONSUMERS has `inactive` (11099)"),
    ("test_zrank_withscore", "ZRANK's WITHSCORE is new in 7.2 (11235)"),
    ("test_zrevrank_withscore", "ZREVRANK's WITHSCORE is new in 7.2 (11235)"),
];

impl Library {
    /// Its name, and its result file's.
    pub fn name(self) -> &'static str {
        match self {
            Library::RedisPy => "redis-py",
            Library::Walrus => "walrus",
            Library::Hiredis => "hiredis",
            Library::RedisRs => "redis-rs",
        }
    }

    fn version(self) -> &'static str {
        match self {
            Library::RedisPy => "5.0.8",
            Library::Walrus => "0.9.8",
            Library::Hiredis => "0.14.1 (Debian's source package)",
            Library::RedisRs => redis_rs::VERSION,
        }
    }

    /// Obtains the tests below `folder` if they aren't there yet; gives their folder.
    fn obtain(self, folder: &Path) -> io::Result<PathBuf> {
        match self {
            Library::RedisPy => python(folder, "redis", "5.0.8"),
            Library::Walrus => python(folder, "walrus", "0.9.8"),
            Library::Hiredis => {
                let tree = folder.join("hiredis");
                if !tree.join("hiredis-test").exists() {
                    crate::source::package_tree(folder, "hiredis", &tree)?;
                    run(Command::new("make").args(["-s", "hiredis-test"]).current_dir(&tree))?;
                }
                Ok(tree)
            }
            Library::RedisRs => redis_rs::obtain(folder),
        }
    }

    /// Runs the tests; gives the output.
    fn run(self, tree: &Path, folder: &Path, at: &Place) -> io::Result<String> {
        let Place { port, socket, redis } = at;
        let python = folder.join("venv/bin/python");
        let mut command;
        match self {
            Library::RedisPy => {
                command = Command::new(&python);
                command.args(["-m", "pytest", "-q", "-rA", "--tb=line", "-p", "no:cacheprovider"]);
                command.args(["--continue-on-collection-errors", "--timeout", "60", "-o", "asyncio_mode=auto"]);
                command.args(["--redis-url", &format!("redis://127.0.0.1:{port}/9"), "tests"]);
            }
            Library::Walrus => {
                command = Command::new(&python);
                command.args(["-m", "unittest", "-v", "walrus.tests"]).env("WALRUS_REDIS_PORT", port.to_string());
            }
            Library::RedisRs => return redis_rs::tests(tree, folder, *redis),
            Library::Hiredis => {
                command = Command::new(tree.join("hiredis-test"));
                command.args(["-h", "127.0.0.1", "-p", &port.to_string(), "-s"]).arg(socket);
            }
        }
        let output = command.current_dir(tree).stdin(Stdio::null()).output()?;
        Ok(String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr))
    }
}

/// Where a server is.
struct Place {
    port: u16,
    socket: PathBuf,
    /// It is redis-server.
    redis: bool,
}

/// A source package from PyPI, unpacked, and an environment in which its tests run.
fn python(folder: &Path, name: &str, version: &str) -> io::Result<PathBuf> {
    let (tree, venv) = (folder.join(format!("{name}-{version}")), folder.join("venv"));
    let pip = venv.join("bin/pip");
    if !pip.exists() {
        run(Command::new("python3").args(["-m", "venv"]).arg(&venv))?;
        let tools =
            ["pytest", "pytest-asyncio", "pytest-timeout", "async-timeout", "cachetools", "numpy", "setuptools"];
        run(Command::new(&pip).args(["install", "-q"]).args(tools))?;
    }
    if !tree.exists() {
        run(Command::new(&pip)
            .args(["download", "-q", "--no-deps", "--no-binary", name, &format!("{name}=={version}"), "-d"])
            .arg(folder))?;
        run(Command::new(&pip).args(["install", "-q", "redis==5.0.8", &format!("{name}=={version}")]))?;
        run(Command::new("tar").arg("-xzf").arg(format!("{}.tar.gz", tree.display())).arg("-C").arg(folder))?;
    }
    Ok(tree)
}

/// Runs a library's tests against both; writes the result file; gives how many pass on redis-server, not here, and
/// aren't excused.
pub fn judge(library: Library, folder: &Path, results: &Path, today: &str, fresh: bool) -> io::Result<usize> {
    let tree = library.obtain(folder)?;
    let mut judged = Vec::new();
    for who in ["redis", "keystead"] {
        let log = folder.join(format!("{}-{who}.log", library.name()));
        // redis-server's run is kept: it is the same the next time.
        if let (false, "redis", Ok(kept)) = (fresh, who, fs::read_to_string(&log)) {
            judged.push(names(library, &kept));
            continue;
        }
        let socket = folder.join(format!("{}-{who}.sock", library.name()));
        let path = socket.display().to_string();
        // redis-rs' tests start their own.
        let (is_redis, wanted) = (who == "redis", library != Library::RedisRs);
        let redis = (wanted && is_redis).then(|| RedisServer::start(&["--unixsocket", &path]));
        let keystead = (wanted && !is_redis).then(|| {
            Keystead::builder()
                .server(&format!("enable_debug_command: \"local\", unixsocket: {}", ron_str(&path)))
                .plugin("replication", "()")
                .plugin("scripting", "()")
                .plugin("persistence-rdb", "()")
                .start()
        });
        let port = redis.as_ref().map(RedisServer::port).or(keystead.as_ref().map(Keystead::port));
        let place = Place { port: port.unwrap_or_default(), socket, redis: is_redis };
        let output = library.run(&tree, folder, &place)?;
        fs::write(&log, &output)?;
        judged.push(names(library, &output));
    }
    let (keystead, redis) = (judged.pop().unwrap_or_default(), judged.pop().unwrap_or_default());
    if !redis.values().any(|passed| *passed) {
        return Err(io::Error::other(format!("{}: no test passed on redis-server: see {folder:?}", library.name())));
    }
    let (text, missing) = report(library, &redis, &keystead, today);
    fs::create_dir_all(results)?;
    fs::write(results.join(format!("{}.md", library.name())), text)?;
    println!("{}: {missing} tests pass on redis-server, not here, and are not excused", library.name());
    Ok(missing)
}

fn report(library: Library, redis: &Verdicts, keystead: &Verdicts, today: &str) -> (String, usize) {
    let passed = |verdicts: &Verdicts| verdicts.values().filter(|passed| **passed).count();
    let excused: BTreeMap<&str, &str> =
        EXCUSED.iter().filter(|(of, ..)| *of == library).map(|(_, test, why)| (*test, *why)).collect();
    let only = |one: &Verdicts, other: &Verdicts| -> Vec<String> {
        let passes = |of: &Verdicts, name: &str| of.get(name) == Some(&true);
        one.keys().filter(|name| passes(one, name) && !passes(other, name)).cloned().collect()
    };
    let missing = only(redis, keystead);
    let unexcused = missing.iter().filter(|name| !excused.contains_key(name.as_str())).count();
    let mut text = format!(
        "# {} {}\n\nMade by `tests/run judges {}`, {today}, redis-server 7.0.15. Compared by name.\n\n\
         | | redis-server | keystead |\n|---|---|---|\n| passed | {} | {} |\n| seen | {} | {} |\n\n\
         Passed there, not here: {} ({unexcused} without a reason). Passed here, not there: {}.\n",
        library.name(),
        library.version(),
        library.name(),
        passed(redis),
        passed(keystead),
        redis.len(),
        keystead.len(),
        missing.len(),
        only(keystead, redis).len()
    );
    for (title, list) in [("Passed there, not here", &missing), ("Passed here, not there", &only(keystead, redis))] {
        if !list.is_empty() {
            text += &format!("\n## {title}\n\n");
            for name in list {
                let newer = ONLY_HERE.iter().find(|(part, _)| title.starts_with("Passed here") && name.contains(part));
                let why = excused.get(name.as_str()).or(newer.map(|(_, why)| why));
                let why = why.map_or(String::new(), |why| format!(": {why}"));
                text += &format!("- `{name}`{why}\n");
            }
        }
    }
    (text, unexcused)
}

fn run(command: &mut Command) -> io::Result<()> {
    let output = command.output()?;
    if output.status.success() {
        return Ok(());
    }
    Err(io::Error::other(format!("{command:?} failed:\n{}", String::from_utf8_lossy(&output.stderr))))
}
