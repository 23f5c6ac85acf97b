//! What a library says of itself, read from the file without running anything of it, and whether this host would load it.
//!
//! Constructors run at dlopen, so everything that can be refused is refused before. Pointers in the file are zero until
//! the dynamic linker relocates them, so only the declaration's integers and inline texts are read here.

use keystead_abi::{self as abi, PluginDecl};
use object::{Object, ObjectSection, ObjectSymbol};
use std::fmt;
use std::mem::offset_of;
use std::path::{Path, PathBuf};

/// The prefix of the one symbol a plugin exports.
pub(crate) const SYMBOL_PREFIX: &str = "KEYSTEAD_PLUGIN_";

/// Larger files are no plugins; read on credit of nobody.
const MAX_FILE: u64 = 1 << 30;

/// Why a library isn't loaded: file, what it is, what was expected.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Refusal {
    /// The file.
    pub(crate) path: PathBuf,
    /// What is wrong.
    pub(crate) reason: String,
}

impl Refusal {
    pub(crate) fn new(path: &Path, reason: impl Into<String>) -> Refusal {
        Refusal { path: path.to_owned(), reason: reason.into() }
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.path.display(), self.reason)
    }
}

/// What a library says of itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Declaration {
    /// The exported symbol.
    pub(crate) symbol: String,
    pub(crate) size: u32,
    pub(crate) major: u32,
    pub(crate) minor: u32,
    pub(crate) min_host_minor: u32,
    pub(crate) flags: u64,
    pub(crate) name: String,
    pub(crate) version: String,
    /// The compiler that built it.
    pub(crate) compiler: String,
}

impl Declaration {
    /// It serves a port of its own and needs no data port.
    pub(crate) fn endpoint_only(&self) -> bool {
        self.flags & abi::DECL_ENDPOINT_ONLY != 0
    }

    /// Why this host doesn't load it, if it doesn't.
    pub(crate) fn refusal(&self) -> Option<String> {
        let (major, minor) = (abi::ABI_MAJOR, abi::ABI_MINOR);
        if self.major != major {
            return Some(format!(
                "is a plugin for boundary {}.{}, this server loads plugins for boundary {major}.x (it has \
                 {major}.{minor}); build it against keystead-abi {major}",
                self.major, self.minor
            ));
        }
        if (self.size as usize) < offset_of!(PluginDecl, describe_config) {
            let expected = size_of::<PluginDecl>();
            return Some(format!(
                "its declaration has {} bytes, at least {expected} were expected: it was built against a broken \
                 header or SDK",
                self.size
            ));
        }
        if self.min_host_minor > minor {
            return Some(format!(
                "needs a host of boundary {major}.{} or later, this server has {major}.{minor}",
                self.min_host_minor
            ));
        }
        if self.flags & abi::DECL_PANIC_ABORT != 0 {
            return Some(
                "was built with panic=abort, so that a panic in it would end the server; build it with panic=unwind"
                    .to_owned(),
            );
        }
        if self.name.is_empty() {
            return Some("its declaration has no name".to_owned());
        }
        None
    }
}

/// Reads the declaration of a library.
pub(crate) fn scan(path: &Path) -> Result<Declaration, Refusal> {
    let refuse = |reason: String| Refusal::new(path, reason);
    let meta = std::fs::metadata(path).map_err(|error| refuse(format!("can't be opened: {error}")))?;
    if !meta.is_file() {
        return Err(refuse("is no file; the shared library of a plugin was expected".to_owned()));
    }
    if meta.len() > MAX_FILE {
        return Err(refuse(format!("has {} bytes; no plugin is that large", meta.len())));
    }
    let bytes = std::fs::read(path).map_err(|error| refuse(format!("can't be read: {error}")))?;
    parse(&bytes).map_err(refuse)
}

fn parse(bytes: &[u8]) -> Result<Declaration, String> {
    let expected = "the shared library of a plugin was expected";
    if !bytes.starts_with(b"\x7fELF") {
        let what = if bytes.is_empty() { "is empty" } else { "is no ELF file" };
        return Err(format!("{what}; {expected}"));
    }
    let file = object::File::parse(bytes).map_err(|error| format!("is a damaged ELF file ({error}); {expected}"))?;
    let own = own_architecture();
    if own.is_some_and(|own| own != file.architecture()) {
        return Err(format!("is built for {:?}, this server runs on {}", file.architecture(), std::env::consts::ARCH));
    }
    if file.kind() != object::ObjectKind::Dynamic {
        return Err(format!("is an ELF file of kind {:?}; {expected}", file.kind()));
    }
    let named = |symbol: &object::Symbol<'_, '_>| {
        symbol.is_definition() && symbol.name().is_ok_and(|name| name.starts_with(SYMBOL_PREFIX))
    };
    let mut found = file.dynamic_symbols().filter(named);
    let Some(symbol) = found.next() else {
        return Err(format!("is a shared library, but no Keystead plugin: it exports no symbol {SYMBOL_PREFIX}<name>"));
    };
    let name = symbol.name().unwrap_or_default().to_owned();
    if let Some(other) = found.next() {
        let other = other.name().unwrap_or_default();
        return Err(format!("exports two declarations, {name} and {other}; a library holds one plugin"));
    }
    let data = data_at(&file, symbol.address()).ok_or_else(|| format!("its symbol {name} points outside the file"))?;
    declaration(name, data)
}

/// The bytes of the file at an address, up to the end of their section. Sections without bytes are passed over: that of
/// thread-local zeros has addresses of its neighbours.
fn data_at<'a>(file: &object::File<'a>, address: u64) -> Option<&'a [u8]> {
    file.sections().find_map(|section| {
        let from = address.checked_sub(section.address()).filter(|from| *from < section.size())?;
        section.data().ok()?.get(usize::try_from(from).ok()?..).filter(|data| !data.is_empty())
    })
}

fn declaration(symbol: String, data: &[u8]) -> Result<Declaration, String> {
    let short = || format!("its declaration {symbol} is cut short");
    let bytes = |at: usize, len: usize| data.get(at..at + len).ok_or_else(short);
    let u32_at = |at| Ok::<u32, String>(u32::from_le_bytes(bytes(at, 4)?.try_into().unwrap_or_default()));
    let u64_at = |at| Ok::<u64, String>(u64::from_le_bytes(bytes(at, 8)?.try_into().unwrap_or_default()));
    let text_at = |at, len| bytes(at, len).map(padded_text);
    let magic = u64_at(offset_of!(PluginDecl, magic))?;
    if magic != abi::MAGIC {
        return Err(format!(
            "its declaration {symbol} starts with {magic:#018x} instead of {:#018x}: no Keystead plugin, or a damaged \
             one",
            abi::MAGIC
        ));
    }
    Ok(Declaration {
        size: u32_at(offset_of!(PluginDecl, size))?,
        major: u32_at(offset_of!(PluginDecl, abi_major))?,
        minor: u32_at(offset_of!(PluginDecl, abi_minor))?,
        min_host_minor: u32_at(offset_of!(PluginDecl, min_host_minor))?,
        flags: u64_at(offset_of!(PluginDecl, flags))?,
        name: text_at(offset_of!(PluginDecl, name), 64)?,
        version: text_at(offset_of!(PluginDecl, version), 32)?,
        compiler: text_at(offset_of!(PluginDecl, rustc), 64)?,
        symbol,
    })
}

/// Text in a NUL padded array.
fn padded_text(bytes: &[u8]) -> String {
    let end = bytes.iter().position(|byte| *byte == 0).unwrap_or(bytes.len());
    String::from_utf8_lossy(&bytes[..end]).into_owned()
}

fn own_architecture() -> Option<object::Architecture> {
    match std::env::consts::ARCH {
        "x86_64" => Some(object::Architecture::X86_64),
        "aarch64" => Some(object::Architecture::Aarch64),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample() -> Declaration {
        Declaration {
            symbol: "KEYSTEAD_PLUGIN_x".into(),
            size: size_of::<PluginDecl>() as u32,
            major: abi::ABI_MAJOR,
            minor: abi::ABI_MINOR,
            min_host_minor: 0,
            flags: 0,
            name: "x".into(),
            version: "1".into(),
            compiler: String::new(),
        }
    }

    #[test]
    fn refusals_say_what_it_is_and_what_was_expected() {
        assert_eq!(sample().refusal(), None);
        let cases = [
            (
                Declaration { major: 9, minor: 0, ..sample() },
                "for boundary 9.0, this server loads plugins for boundary 1.x",
            ),
            (Declaration { min_host_minor: 7, ..sample() }, "needs a host of boundary 1.7 or later"),
            (Declaration { size: 16, ..sample() }, "its declaration has 16 bytes"),
            (Declaration { flags: abi::DECL_PANIC_ABORT, ..sample() }, "panic=abort"),
            (Declaration { name: String::new(), ..sample() }, "no name"),
        ];
        for (declaration, reason) in cases {
            let told = declaration.refusal().expect("refused");
            assert!(told.contains(reason), "{told}");
        }
    }

    #[test]
    fn what_is_no_plugin_is_named() {
        let dir = tempfile::tempdir().expect("a folder");
        let cases: [(&str, &[u8], &str); 3] = [
            ("empty.so", b"", "is empty"),
            ("text.so", b"hello", "is no ELF file"),
            ("cut.so", b"\x7fELF\x02\x01\x01", "damaged ELF file"),
        ];
        for (name, bytes, reason) in cases {
            let path = dir.path().join(name);
            std::fs::write(&path, bytes).expect("written");
            let told = scan(&path).expect_err("refused").to_string();
            assert!(told.contains(reason) && told.contains(name), "{told}");
        }
        let told = scan(&dir.path().join("none.so")).expect_err("refused").to_string();
        assert!(told.contains("can't be opened"), "{told}");
        assert!(scan(dir.path()).expect_err("refused").to_string().contains("is no file"));
        let own = std::env::current_exe().expect("a path");
        let told = scan(&own).expect_err("refused").to_string();
        assert!(told.contains("no Keystead plugin") || told.contains("ELF file of kind"), "{told}");
    }
}
