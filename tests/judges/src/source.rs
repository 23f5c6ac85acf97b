//! Obtains Redis' own test suite from Debian's source package and unpacks one tree a server. Never runs anything of it.

use std::fs;
use std::io;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::Command;

/// Debian's tools that the suite starts from `src/` of its tree.
const TOOLS: &[&str] = &["redis-cli", "redis-benchmark", "redis-check-aof", "redis-check-rdb"];
/// Debian's suites whose source packages are looked at, as deb-src lines.
const SOURCES: &str = "\
deb-src [signed-by=/usr/share/keyrings/debian-archive-keyring.gpg] http://deb.debian.org/debian bookworm main
deb-src [signed-by=/usr/share/keyrings/debian-archive-keyring.gpg] http://deb.debian.org/debian bookworm-updates main
deb-src [signed-by=/usr/share/keyrings/debian-archive-keyring.gpg] http://deb.debian.org/debian-security bookworm-security main
";

/// A tree of the suite whose `src/redis-server` and `src/redis-sentinel` are those of `servers`, made below `folder` if it
/// isn't there yet.
pub fn tree(folder: &Path, name: &str, servers: &Path) -> io::Result<PathBuf> {
    let tree = folder.join(name);
    if !tree.join("runtest").exists() {
        let description = package(folder, "redis")?;
        let _ = fs::remove_dir_all(&tree);
        run(Command::new("dpkg-source").args(["--no-check", "-x"]).arg(&description).arg(&tree))?;
    }
    for tool in TOOLS {
        link(&Path::new("/usr/bin").join(tool), &tree.join("src").join(tool))?;
    }
    for server in ["redis-server", "redis-sentinel"] {
        link(&servers.join(server), &tree.join("src").join(server))?;
    }
    Ok(tree)
}

/// Unpacks the source package of this name at `tree`; what is downloaded lies in a folder of its own.
pub fn package_tree(folder: &Path, name: &str, tree: &Path) -> io::Result<()> {
    let description = package(&folder.join(format!("{name}-source")), name)?;
    let _ = fs::remove_dir_all(tree);
    run(Command::new("dpkg-source").args(["--no-check", "-x"]).arg(&description).arg(tree))
}

/// The source package's `.dsc`, downloaded if it isn't there.
fn package(folder: &Path, name: &str) -> io::Result<PathBuf> {
    fs::create_dir_all(folder.join("lists/partial"))?;
    if let Some(found) = find_description(folder)? {
        return Ok(found);
    }
    let list = folder.join("sources.list");
    fs::write(&list, SOURCES)?;
    let options = [
        format!("-oDir::Etc::sourcelist={}", list.display()),
        "-oDir::Etc::sourceparts=-".to_owned(),
        format!("-oDir::State::lists={}", folder.join("lists").display()),
        "-oAPT::Sandbox::User=root".to_owned(),
        // Offline that shows soon.
        "-oAcquire::http::Timeout=20".to_owned(),
        "-oAcquire::Retries=1".to_owned(),
    ];
    run(Command::new("apt-get").args(&options).args(["update", "-qq"]))?;
    let download = ["source", "--download-only", "-qq", name];
    run(Command::new("apt-get").args(&options).args(download).current_dir(folder))?;
    find_description(folder)?.ok_or_else(|| io::Error::other(format!("apt-get source {name} left no .dsc file")))
}

fn find_description(folder: &Path) -> io::Result<Option<PathBuf>> {
    let files = fs::read_dir(folder)?.flatten().map(|entry| entry.path());
    Ok(files.into_iter().find(|path| path.extension().is_some_and(|e| e == "dsc")))
}

/// Takes a test out of a file of the sentinel suite: there a failure ends the file, so what is excused must not run.
pub fn without_test(file: &Path, name: &str) -> io::Result<()> {
    let text = fs::read_to_string(file)?;
    let head = format!("test \"{name}\" {{\n");
    let Some((before, rest)) = text.split_once(&head) else { return Ok(()) };
    let Some((_, after)) = rest.split_once("\n}\n") else { return Ok(()) };
    fs::write(file, format!("{before}{after}"))
}

/// Takes a block out of a file of the suite, from the line that begins it to the brace that closes it: a server that refuses
/// to start is waited for as long as a unit may take.
pub fn without_block(file: &Path, head: &str) -> io::Result<()> {
    let text = fs::read_to_string(file)?;
    fs::write(file, cut_out(&text, head))
}

fn cut_out(text: &str, head: &str) -> String {
    let mut closing = None;
    let keeps = |line: &&str| {
        if closing.is_none() && line.trim() == head {
            closing = Some(format!("{}}}", &line[..line.len() - line.trim_start().len()]));
            return false;
        }
        let inside = closing.is_some();
        if closing.as_deref() == Some(line.trim_end()) {
            closing = None;
        }
        !inside
    };
    text.split_inclusive('\n').filter(keeps).collect()
}

/// A symbolic link in the place of whatever is there.
pub fn link(target: &Path, at: &Path) -> io::Result<()> {
    let _ = fs::remove_file(at);
    symlink(target, at)
}

fn run(command: &mut Command) -> io::Result<()> {
    let output = command.output()?;
    if output.status.success() {
        return Ok(());
    }
    Err(io::Error::other(format!("{command:?} failed:\n{}", String::from_utf8_lossy(&output.stderr))))
}

#[cfg(test)]
mod tests {
    use super::cut_out;

    #[test]
    fn a_block_ends_where_its_own_brace_closes() {
        let text = "if a {\n  run b {\n    c {\n    }\n  }\n  d\n}\n";
        assert_eq!(cut_out(text, "run b {"), "if a {\n  d\n}\n");
        assert_eq!(cut_out(text, "run x {"), text);
    }
}
