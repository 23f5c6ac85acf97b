//! The C header is written from the tables: its text is compared with the file (`UPDATE=1` rewrites it), and a C compiler
//! says whether it sees the same sizes and offsets as Rust.

use keystead_abi::layout::{ConstLayout, StructLayout, consts, structs};
use std::fmt::Write;
use std::path::{Path, PathBuf};
use std::process::Command;

fn header_path() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("include/keystead.h")
}

/// Rust's name of a struct in C.
fn c_name(rust: &str) -> Option<&'static str> {
    structs().iter().find(|layout| layout.rust == rust).map(|layout| layout.c)
}

/// A type, without a name, in C.
fn c_type(ty: &str) -> String {
    if let Some(inner) = ty.strip_prefix("*const ") {
        return format!("const {}*", c_type(inner).trim_end());
    }
    if let Some(inner) = ty.strip_prefix("*mut ") {
        return format!("{}*", c_type(inner).trim_end());
    }
    let plain = match ty {
        "c_void" => "void",
        "u8" => "uint8_t",
        "u32" => "uint32_t",
        "i32" => "int32_t",
        "u64" => "uint64_t",
        "i64" => "int64_t",
        "usize" => "size_t",
        "f64" => "double",
        other => c_name(other.rsplit("::").next().unwrap_or(other)).unwrap_or_else(|| panic!("no C type for {other}")),
    };
    plain.to_owned()
}

/// A declaration of `name` with a type, in C.
fn c_declare(ty: &str, name: &str) -> String {
    // `stringify!` breaks long types into lines.
    let ty = ty.split_whitespace().collect::<Vec<_>>().join(" ");
    let ty = ty.as_str();
    if let Some(inner) = ty.strip_prefix("Option<").and_then(|rest| rest.strip_suffix('>')) {
        return c_declare(inner, name);
    }
    if let Some(rest) = ty.strip_prefix("unsafe extern \"C\" fn(") {
        let close = matching(rest);
        let result = rest[close + 1..].trim().strip_prefix("->").map_or("void".to_owned(), |ty| c_type(ty.trim()));
        let arguments: Vec<String> = split(&rest[..close]).iter().map(|argument| c_argument(argument)).collect();
        let arguments = if arguments.is_empty() { "void".to_owned() } else { arguments.join(", ") };
        return format!("{result} (*{name})({arguments})");
    }
    if let Some(rest) = ty.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
        let (element, count) = rest.split_once(';').expect("an array's length");
        return format!("{} {name}[{}]", c_type(element.trim()), count.trim());
    }
    format!("{} {name}", c_type(ty))
}

fn c_argument(argument: &str) -> String {
    let (name, ty) = argument.split_once(':').expect("a named argument");
    c_declare(ty, name.trim())
}

/// The position of the parenthesis that closes the one before `text`.
fn matching(text: &str) -> usize {
    let mut depth = 0;
    for (at, c) in text.char_indices() {
        match c {
            '(' => depth += 1,
            ')' if depth == 0 => return at,
            ')' => depth -= 1,
            _ => {}
        }
    }
    panic!("unbalanced: {text}")
}

/// Arguments at the outermost level.
fn split(text: &str) -> Vec<&str> {
    let (mut depth, mut from, mut parts) = (0, 0, Vec::new());
    for (at, c) in text.char_indices() {
        match c {
            '(' | '<' | '[' => depth += 1,
            ')' | ']' => depth -= 1,
            // Not the one of an arrow.
            '>' if !text[..at].ends_with('-') => depth -= 1,
            ',' if depth == 0 => {
                parts.push(text[from..at].trim());
                from = at + 1;
            }
            _ => {}
        }
    }
    parts.push(text[from..].trim());
    parts.retain(|part| !part.is_empty());
    parts
}

fn comment(out: &mut String, indent: &str, docs: &[&str]) {
    let text: Vec<&str> = docs.iter().map(|line| line.trim()).collect();
    let _ = writeln!(out, "{indent}/* {} */", text.join(&format!("\n{indent}   ")));
}

fn constant(out: &mut String, layout: &ConstLayout) {
    comment(out, "", layout.docs);
    let value = match (layout.ty, layout.value) {
        ("i64", value) if value == i128::from(i64::MIN) => "INT64_MIN".to_owned(),
        ("i64", value) => format!("INT64_C({value})"),
        ("u64", value) if value == i128::from(u64::MAX) => "UINT64_MAX".to_owned(),
        ("u64", value) if value > 0xFFFF => format!("UINT64_C(0x{value:X})"),
        ("u64", value) => format!("UINT64_C({value})"),
        (_, value) => format!("{value}u"),
    };
    let _ = writeln!(out, "#define {} {value}", layout.name);
}

/// Structs in an order in which a C compiler knows everything it needs by value.
fn ordered() -> Vec<&'static StructLayout> {
    let all = structs();
    let needs = |layout: &StructLayout| -> Vec<&'static str> {
        let by_value = |ty: &str| all.iter().find(|other| other.rust == ty).map(|other| other.c);
        layout.fields.iter().filter_map(|field| by_value(field.ty)).collect()
    };
    let (mut left, mut done) = (all.clone(), Vec::<&'static StructLayout>::new());
    while !left.is_empty() {
        let known = |name: &&str| done.iter().any(|layout| layout.c == *name);
        let free = left.iter().position(|layout| needs(layout).iter().all(&known));
        done.push(left.remove(free.expect("no struct holds itself")));
    }
    done
}

fn header() -> String {
    let mut out = String::from(
        "/* keystead.h: the boundary between the Keystead server and its plugins.\n\
        \x20  Written from core/abi by its test `header`; don't edit. Within a major version functions are only\n\
        \x20  appended to tables: call one only if the table's `size` covers it. */\n\
         #ifndef KEYSTEAD_H\n#define KEYSTEAD_H\n\n#include <stddef.h>\n#include <stdint.h>\n\n\
         #ifdef __cplusplus\nextern \"C\" {\n#endif\n\n",
    );
    for layout in consts() {
        constant(&mut out, layout);
    }
    out.push('\n');
    for layout in ordered() {
        let _ = writeln!(out, "typedef struct {0} {0};", layout.c);
    }
    for layout in ordered() {
        out.push('\n');
        comment(&mut out, "", layout.docs);
        let _ = writeln!(out, "struct {} {{", layout.c);
        for field in layout.fields {
            comment(&mut out, "  ", field.docs);
            let _ = writeln!(out, "  {};", c_declare(field.ty, field.name));
        }
        out.push_str("};\n");
    }
    out.push_str("\n#ifdef __cplusplus\n}\n#endif\n\n#endif\n");
    out
}

#[test]
fn the_header_is_what_the_tables_say() {
    let wanted = header();
    if std::env::var_os("UPDATE").is_some() {
        std::fs::create_dir_all(header_path().parent().unwrap()).unwrap();
        std::fs::write(header_path(), &wanted).unwrap();
    }
    let found = std::fs::read_to_string(header_path()).unwrap_or_default();
    assert!(found == wanted, "include/keystead.h is not what the tables say; UPDATE=1 rewrites it, then read the diff");
}

#[test]
fn a_c_compiler_sees_the_same_sizes_and_offsets() {
    let dir = tempfile::tempdir().unwrap();
    let mut source = String::from("#include \"keystead.h\"\n#include <stdio.h>\nint main(void) {\n");
    let mut wanted = String::new();
    for layout in structs() {
        let _ = writeln!(source, "printf(\"{0} %zu\\n\", sizeof(struct {0}));", layout.c);
        let _ = writeln!(wanted, "{} {}", layout.c, layout.size);
        for field in layout.fields {
            let _ = writeln!(source, "printf(\"{0}.{1} %zu\\n\", offsetof(struct {0}, {1}));", layout.c, field.name);
            let _ = writeln!(wanted, "{}.{} {}", layout.c, field.name, field.offset);
        }
    }
    source.push_str("return 0;\n}\n");
    let (file, program) = (dir.path().join("layout.c"), dir.path().join("layout"));
    std::fs::write(&file, source).unwrap();
    let include = header_path();
    let built = Command::new("cc")
        .args(["-std=c11", "-Wall", "-Wextra", "-Werror", "-I"])
        .arg(include.parent().unwrap())
        .arg(&file)
        .arg("-o")
        .arg(&program)
        .output();
    let built = match built {
        Ok(built) => built,
        Err(error) => {
            eprintln!("SKIPPED: there is no C compiler here ({error})");
            return;
        }
    };
    assert!(built.status.success(), "{}", String::from_utf8_lossy(&built.stderr));
    let printed = Command::new(&program).output().unwrap();
    assert_eq!(String::from_utf8_lossy(&printed.stdout), wanted);
}

/// Authors of plugins in C++ include it as it is.
#[test]
fn a_compiler_of_cplusplus_takes_the_header() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("plugin.cpp");
    std::fs::write(&file, "#include \"keystead.h\"\n").unwrap();
    let mut compiler = Command::new("c++");
    compiler.args(["-std=c++11", "-Wall", "-Wextra", "-Wpedantic", "-Werror", "-fsyntax-only", "-I"]);
    match compiler.arg(header_path().parent().unwrap()).arg(&file).output() {
        Ok(read) => assert!(read.status.success(), "{}", String::from_utf8_lossy(&read.stderr)),
        Err(error) => eprintln!("SKIPPED: there is no compiler of C++ here ({error})"),
    }
}

/// What is passed by value is frozen: these sizes never change within a major version.
#[test]
fn types_passed_by_value_are_frozen() {
    let frozen = [
        ("ks_str", 16),
        ("ks_buf", 32),
        ("ks_future", 24),
        ("ks_object", 16),
        ("ks_out", 88),
        ("ks_host", 16),
        ("ks_registrar", 16),
        ("ks_waker", 8),
        ("ks_instance", 16),
    ];
    for (name, size) in frozen {
        let layout = structs().into_iter().find(|layout| layout.c == name).unwrap();
        assert_eq!(layout.size, size, "{name}");
    }
    let decl = structs().into_iter().find(|layout| layout.c == "ks_plugin_decl").unwrap();
    let offsets: Vec<usize> = decl.fields.iter().map(|field| field.offset).collect();
    assert_eq!(offsets, [0, 8, 12, 16, 20, 24, 32, 96, 128, 192, 200, 208, 216]);
}
