//! The library through a whole interpreter: texts, errors and limits as the one inside Redis has them.

use super::*;

/// What a piece of Lua gives with the library as `cjson`, or its error's text.
fn run(code: &str) -> String {
    let interpreter = crate::interpreter::Interpreter::new(64 << 20).unwrap();
    let script = interpreter.compile(code.as_bytes(), "@user_script").unwrap();
    match script.call::<Value>(()) {
        Ok(Value::String(text)) => text.to_string_lossy(),
        Ok(other) => format!("{other:?}"),
        Err(error) => crate::api::Fault::of(&error).to_string(),
    }
}

#[test]
fn values_as_json() {
    let cases = [
        ("{1,2,3}", "[1,2,3]"),
        ("{}", "{}"),
        ("{a=1}", r#"{"a":1}"#),
        ("{1,nil,3}", "[1,null,3]"),
        (r#""a\"b\\c/d\n\1\127""#, r#""a\"b\\c\/d\n\u0001\u007f""#),
        ("3.14", "3.14"),
        ("1e20", "1e+20"),
        ("{[2.5]=1}", r#"{"2.5":1}"#),
        ("{cjson.null, true, false}", "[null,true,false]"),
        ("123456789012", "123456789012"),
        ("{[1e15]=1}", r#"{"1e+15":1}"#),
        ("{[3e9]={[2147483648]=1}}", r#"{"3000000000":{"2147483648":1}}"#),
        ("{-0, 1e14, 99999999999999, 0.1 + 0.2, 1/3}", "[-0,1e+14,99999999999999,0.3,0.33333333333333]"),
    ];
    for (value, json) in cases {
        assert_eq!(run(&format!("return cjson.encode({value})")), json, "{value}");
    }
}

#[test]
fn what_has_no_json() {
    let cases = [
        ("{[1]=1,[100]=1}", "Cannot serialise table: excessively sparse array"),
        ("redis.call", "Cannot serialise function: type not supported"),
        ("0/0", "Cannot serialise number: must not be NaN or Inf"),
        ("{[true]=1}", "Cannot serialise boolean: table key must be a number or string"),
    ];
    for (value, text) in cases {
        assert!(run(&format!("return cjson.encode({value})")).contains(text), "{value}");
    }
    assert!(run("local t = {} t[1] = t return cjson.encode(t)").contains("excessive nesting (1001)"));
}

#[test]
fn json_as_values() {
    let cases = [
        (r#"[1,[2],{"a":null}]"#, r#"[1,[2],{"a":null}]"#),
        (r#""\u00e9\ud83d\ude00""#, "\"é😀\""),
        ("[0x10, 1.5e3, -2]", "[16,1500,-2]"),
        (
            "[0x1F1., 0x1.8, -0x.8p1, 0x1p-2, 0x1p]",
            "Expected comma or array end but found invalid token at character 37",
        ),
        ("[0x1F1., 0x1.8, -0x.8p1, 0x1p-2, 0x1p-99999]", "[497,1.5,-1,0.25,0]"),
        ("[1e400]", "Cannot serialise number: must not be NaN or Inf"),
    ];
    for (json, again) in cases {
        let found = run(&format!("return cjson.encode(cjson.decode([==[{json}]==]))"));
        assert!(found.contains(again), "{json}: {found}");
    }
}

#[test]
fn what_is_no_json() {
    let cases = [
        ("[1,", "Expected value but found T_END at character 4"),
        ("{1}", "Expected object key string but found T_NUMBER at character 2"),
        ("[1 2]", "Expected comma or array end but found T_NUMBER at character 4"),
        ("\"abc", "Expected value but found unexpected end of string at character 5"),
        ("bad", "Expected value but found invalid token at character 1"),
        ("\"\\ud800\"", "invalid unicode escape code"),
        ("\"\\x\"", "invalid escape code"),
        ("1 1", "Expected the end but found T_NUMBER at character 3"),
    ];
    for (json, text) in cases {
        let found = run(&format!("return cjson.decode([==[{json}]==])"));
        assert!(found.contains(text), "{json}: {found}");
    }
    let deep = "[".repeat(2000);
    assert!(run(&format!("return cjson.decode('{deep}')")).contains("too many nested data structures (1001)"));
}

#[test]
fn settings_stay() {
    assert_eq!(run("cjson.encode_number_precision(3) return cjson.encode(1/3)"), "0.333");
    assert!(run("cjson.encode_sparse_array(true) return cjson.encode({[1]=1,[1000]=1})").contains("\"1000\":1"));
    assert_eq!(run("cjson.decode_max_depth(2^31-1) return type(cjson.decode('[1]'))"), "table");
    assert!(run("cjson.decode_max_depth(2) return cjson.decode('[[[1]]]')").contains("nested data structures (3)"));
}

/// Settings, numbers and texts of refusals as redis-server 7.0 gives them.
#[test]
fn the_libraries_answer_as_in_redis() {
    let invalid = "bad argument #1 to 'encode_invalid_numbers'";
    let precision = "bad argument #1 to 'encode_number_precision' (expected integer between 1 and 14)";
    let cases = [
        ("cjson.encode_invalid_numbers('null')", "null"),
        ("cjson.encode_invalid_numbers('x')", &format!("{invalid} (invalid option 'x')")),
        ("cjson.encode_invalid_numbers({})", &format!("{invalid} (string expected, got table)")),
        ("cjson.encode_keep_buffer(5)", "bad argument #1 to 'encode_keep_buffer' (invalid option '5')"),
        ("cjson.encode_number_precision(17)", precision),
        ("cjson.encode_number_precision(15)", precision),
        ("cjson.encode_number_precision(14.7)", "14"),
        ("cjson.encode_number_precision(1, 2)", "#2 to 'encode_number_precision' (found too many arguments)"),
        ("cjson.encode_max_depth('x')", "bad argument #1 to 'encode_max_depth' (number expected, got string)"),
        ("cjson.encode_sparse_array(true, -1)", "bad argument #1 to 'encode_sparse_array' (expected integer between 0"),
        ("cmsgpack.unpack('\\207\\255\\255\\255\\255\\255\\255\\255\\255')", "-1"),
        ("cmsgpack.unpack('\\206\\255\\255\\255\\255')", "4294967295"),
        ("cmsgpack.unpack_limit(cmsgpack.pack(1, 2, 3), 0)", "1 2 3"),
        ("cmsgpack.unpack_limit(cmsgpack.pack(1, 2, 3), 0, 1)", "1"),
        ("cmsgpack.unpack_limit(cmsgpack.pack(1, 2, 3), 2)", "2 1 2"),
        ("cmsgpack.unpack_limit('abc', 1, 1e15)", "Start offset -1530494976 greater than input length 3."),
        ("cmsgpack.unpack_one()", "bad argument #1 to 'unpack_one' (string expected, got no value)"),
        ("struct.unpack('', 'abc', -1)", "-1"),
        ("struct.unpack('dc0', struct.pack('d', 1e300))", " 9"),
        ("struct.unpack('dc0', struct.pack('d', -1))", "bad argument #2 to 'unpack' (data string too short)"),
        ("struct.unpack('b', 'abc', -1)", "bad argument #2 to 'unpack' (data string too short)"),
        ("cmsgpack.unpack_limit('', 'x')", "bad argument #2 to 'unpack_limit' (number expected, got string)"),
        ("struct.pack('i')", "bad argument #2 to 'pack' (number expected, got nil)"),
        ("struct.unpack('I8', struct.pack('I8', 2^64))", "0 9"),
        ("struct.unpack('I8', struct.pack('I8', 1/0))", "0 9"),
        ("struct.unpack('b', struct.pack('b', 1e300))", "0 2"),
        ("struct.pack('s')", "bad argument #2 to 'pack' (string expected, got nil)"),
        ("struct.pack()", "bad argument #1 to 'pack' (string expected, got no value)"),
        ("struct.unpack('i')", "bad argument #2 to 'unpack' (string expected, got no value)"),
        ("redis.sha1hex(1e20)", "63df2b1e45dc822fe6e01bf2057737894b493f94"),
    ];
    for (call, wanted) in cases {
        let found = run(&format!(
            "local t = {{{call}}} for i = 1, #t do t[i] = tostring(t[i]) end return table.concat(t, ' ')"
        ));
        let same = if wanted.contains("bad argument") || wanted.contains("Start") || wanted.contains(" to '") {
            found.contains(wanted)
        } else {
            found == wanted
        };
        assert!(same, "{call}: {found}, not {wanted}");
    }
}

#[test]
fn big_tables_have_handles_enough() {
    let big = "local t = {} for i = 1, 30000 do t['k' .. i] = tostring(i) end ";
    let again = "local n = 0 for k, v in pairs(back) do n = n + 1 end return tostring(n)";
    assert_eq!(run(&format!("{big} local back = cjson.decode(cjson.encode(t)) {again}")), "30000");
    assert_eq!(run(&format!("{big} local back = cmsgpack.unpack(cmsgpack.pack(t)) {again}")), "30000");
    let list = "local t = {} for i = 1, 30000 do t[i] = {tostring(i)} end ";
    assert_eq!(run(&format!("{list} return cjson.decode(cjson.encode(t))[30000][1]")), "30000");
    assert_eq!(run("local t = {} for i = 1, 7990 do t[i] = 'x' end return tostring(select('#', unpack(t)))"), "7990");
}

/// A text is made outside of the interpreter's memory, and ends where that does.
#[test]
fn texts_are_no_longer_than_the_interpreter_has_memory_for() {
    const TREE: &str = "local t = {1} for i = 1, 22 do t = {t, t} end";
    const WIDE: &str = "local t = {1} for i = 1, 11 do t = {t, t, t, t} end";
    const TEXTS: &str = "local s, t = ('x'):rep(400000), {} for i = 1, 20 do t[i] = s end";
    for (value, call) in [
        (TREE, "cjson.encode(t)"),
        (TEXTS, "cjson.encode(t)"),
        ("local t = ('\\1'):rep(900000)", "cjson.encode(t)"),
        ("local t = {[('\\1'):rep(900000)] = 1}", "cjson.encode(t)"),
        (WIDE, "cmsgpack.pack(t)"),
        (TEXTS, "cmsgpack.pack(unpack(t))"),
        (TEXTS, "struct.pack(('s'):rep(20), unpack(t))"),
    ] {
        let interpreter = crate::interpreter::Interpreter::new(3 << 20).unwrap();
        let code =
            format!("{value} local ok, why = pcall(function() return {call} end) return tostring(ok) .. ' ' .. why");
        let script = interpreter.compile(code.as_bytes(), "@user_script").unwrap();
        assert_eq!(
            script.call::<mlua::String>(()).unwrap().to_string_lossy(),
            "false not enough memory",
            "{value} {call}"
        );
        // Else it would have been made as a whole, and then refused.
        assert!(crate::scratch::taken() < 1 << 20, "{value} {call}: {} bytes", crate::scratch::taken());
    }
    let fits = "return cjson.encode(('\\1'):rep(100)):len() + cjson.encode(('/'):rep(700000)):len()";
    let interpreter = crate::interpreter::Interpreter::new(4 << 20).unwrap();
    let script = interpreter.compile(fits.as_bytes(), "@user_script").unwrap();
    assert_eq!(script.call::<usize>(()).unwrap(), 602 + 1_400_002);
}

#[test]
fn memory_may_end_inside_of_any_of_them() {
    for call in [
        "cjson.decode('[' .. string.rep('[1],', 65536) .. '1]')",
        "cjson.encode(string.rep('\\1', 700000))",
        "cmsgpack.unpack('\\221\\0\\1\\0\\0' .. string.rep('\\145\\1', 65536))",
        "cmsgpack.pack(unpack({string.rep('x', 900000), string.rep('y', 900000)}))",
    ] {
        let interpreter = crate::interpreter::Interpreter::new(3 << 20).unwrap();
        let code = format!(
            "local ok, why = pcall(function() return {call} end) collectgarbage()
             local again = cjson.encode({{cmsgpack.unpack(cmsgpack.pack(cjson.decode('[1,\"a\"]')))}})
             return tostring(ok) .. ' ' .. tostring(why) .. ' ' .. again"
        );
        let script = interpreter.compile(code.as_bytes(), "@user_script").unwrap();
        let answer = script.call::<mlua::String>(()).unwrap().to_string_lossy();
        assert_eq!(answer, "false not enough memory [[1,\"a\"]]", "{call}");
    }
}
