//! The same scripts to Keystead and to a stock redis-server 7.0.15: every reply must be the same to the byte, errors with
//! their texts and places included. What differs on purpose is listed in the scripting plugin's README and isn't here.

use keystead_harness::{Client, Keystead, RedisServer, have};

fn eval(client: &mut Client, script: &str, read_only: bool) -> String {
    let name = if read_only { "EVAL_RO" } else { "EVAL" };
    format!("{:?}", client.command(&[name, script, "0"]))
}

#[test]
fn scripts_answer_alike() {
    if !have("redis-server") {
        return println!("SKIPPED: there is no redis-server here");
    }
    let ours = Keystead::builder().plugin("scripting", "()").start();
    let theirs = RedisServer::start(&[]);
    let (mut mine, mut stock) = (ours.client(), theirs.client());
    let mut wrong = Vec::new();
    for script in SCRIPTS {
        for read_only in [false, true] {
            let (a, b) = (eval(&mut mine, script, read_only), eval(&mut stock, script, read_only));
            if a != b {
                wrong.push(format!("{script}\n   ours   {a}\n   stock  {b}"));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

fn load(client: &mut Client, body: &str) {
    let code = format!("#!lua name=l\nredis.register_function('f', function(keys, args) {body} end)");
    assert!(!client.command(&["FUNCTION", "LOAD", "REPLACE", &code]).is_error(), "{body}");
}

/// Functions have less in `redis` than scripts of EVAL.
#[test]
fn functions_answer_alike() {
    if !have("redis-server") {
        return println!("SKIPPED: there is no redis-server here");
    }
    let ours = Keystead::builder().plugin("scripting", "()").start();
    let theirs = RedisServer::start(&[]);
    for body in [
        "local n = {} for name in pairs(redis) do n[#n + 1] = name end table.sort(n) return n",
        "return redis.breakpoint()",
        "return redis.debug('x')",
        "return redis.replicate_commands()",
    ] {
        let answers = [ours.client(), theirs.client()].map(|mut client| {
            load(&mut client, body);
            format!("{:?}", client.command(&["FCALL", "f", "0"]))
        });
        assert_eq!(answers[0], answers[1], "{body}");
    }
}

/// A function is named as it was registered, whatever it was called; what is no hash isn't looked for, whatever stands behind it.
#[test]
fn names_and_hashes_are_refused_alike() {
    if !have("redis-server") {
        return println!("SKIPPED: there is no redis-server here");
    }
    let ours = Keystead::builder().plugin("scripting", "()").start();
    let theirs = RedisServer::start(&[]);
    let hash = "a".repeat(40);
    let answers = [ours.client(), theirs.client()].map(|mut client| {
        let code = "#!lua name=l\nredis.register_function('MyF', function() error('x') end)";
        assert!(!client.command(&["FUNCTION", "LOAD", code]).is_error());
        let commands: [&[&str]; 5] = [
            &["FCALL", "myf", "0"],
            &["FCALL_RO", "MYF", "0"],
            &["EVALSHA", "x", "-1"],
            &["EVALSHA_RO", "x", "y"],
            &["EVALSHA", &hash, "-1"],
        ];
        commands.map(|words| format!("{words:?}: {:?}", client.command(words)))
    });
    assert_eq!(answers[0], answers[1]);
}

/// The same bytes where there is little to choose, and each restores what the other dumped.
#[test]
fn libraries_are_dumped_compressed() {
    if !have("redis-server") {
        return println!("SKIPPED: there is no redis-server here");
    }
    let ours = Keystead::builder().plugin("scripting", "()").plugin("persistence-rdb", "(save: [])").start();
    let theirs = RedisServer::start(&["--save", ""]);
    let (mut mine, mut stock) = (ours.client(), theirs.client());
    let long = "a".repeat(200);
    for (body, compressed) in
        [("return 1".to_owned(), "yes"), (format!("return '{long}'"), "yes"), (format!("return '{long}'"), "no")]
    {
        let dumps = [&mut mine, &mut stock].map(|client| {
            client.ok(&format!("CONFIG SET rdbcompression {compressed}"));
            load(client, &body);
            client.command(&["FUNCTION", "DUMP"])
        });
        assert_eq!(dumps[0], dumps[1], "{body} {compressed}");
    }
}

#[rustfmt::skip]
const SCRIPTS: &[&str] = &[
    // The first numbers behind a start are Redis' too.
    r"return {math.random(1, 1000000), math.random(1000), tostring(math.random())}",
    r"return math.random(2^40)",
    r"return math.random(1, 2^32)",
    r"math.randomseed(2^40 + 7) return math.random(1000000)",
    r"math.randomseed(-3) return math.random(1000000)",
    r"return math.random({})",
    r"return math.random(1, 'x')",
    r"math.randomseed() return 1",
    r#"redis.log("2", "x") return 1"#,
    r#"redis.log("x", "x")"#,
    r#"redis.log("9", "x")"#,
    r"local a = ",
    r"return ...",
    r"end return 1",
    r#"local function f() error("boom") end f()"#,
    r#"error({err="My bad"})"#,
    r#"return {err="My bad"}"#,
    r#"return redis.error_reply("oops")"#,
    r#"return redis.error_reply("My Err")"#,
    r#"redis.call("nosuch")"#,
    r#"redis.call("get")"#,
    r"redis.call()",
    r"redis.call({})",
    r#"return redis.pcall("nosuch")"#,
    r"local t=nil; return t.x",
    r#"return {pcall(function() redis.call("nosuch") end)}"#,
    r#"error("x",0)"#,
    r"error()",
    r"return redis.sha1hex()",
    r"redis.log(1)",
    r"redis.setresp(9)",
    r"string.rep()",
    r"setmetatable(_G,{})",
    r"redis.call=1",
    r#"rawset(_G,"x",1)"#,
    r"x=1",
    r"local g=getmetatable(_G) g.__index=1",
    r"table.insert(redis,1)",
    r#"return load("return 1")()"#,
    r#"return loadstring("return x")()"#,
    r#"loadstring("x=1")()"#,
    r#"return {loadstring("x=")}"#,
    r#"return redis.call("ping")"#,
    r#"return {ok="fine"}"#,
    r"return {double=3.5}",
    r"cjson.encode(print)",
    r"cjson.encode(redis.call)",
    r#"return cjson.decode("[1,")"#,
    r#"KEYS="x""#,
    r#"return xpcall(function() error("a") end, function(e) return e end)"#,
    r#"return {xpcall(function() error("a") end, function(e) return e.."!" end)}"#,
    r#"redis.setresp("3") return 1"#,
    r"return _G.x",
    r#"return getmetatable("").__index == string"#,
    r#"getmetatable("").__index=1"#,
    r"return getmetatable(redis)",
    r"return {pcall(setmetatable, _G, {})}",
    r"return bit.band()",
    r#"return struct.pack("z")"#,
    r"return cmsgpack.pack()",
    r#"return cmsgpack.unpack("\255")"#,
    r#"bit.tobit("x")"#,
    r"table.insert(1,2)",
    r#"string.format("%d","x")"#,
    r"_G.x=1",
    r"redis.acl_check_cmd()",
    r#"redis.acl_check_cmd("nos")"#,
    r#"return redis.acl_check_cmd("get","x")"#,
    r"return redis.breakpoint()",
    r"return redis.replicate_commands()",
    r"redis.set_repl(99)",
    r"redis.set_repl('a')",
    r"redis.setresp(2.5)",
    r"table.sort({3,1,2,5,6,3,4,1,4}, function() return true end)",
    r"return load(string.dump(function() end))",
    r"return unpack(1)",
    r"return next(1)",
    r"return pairs()",
    r"bit.band(1,nil,nil)",
    r"return cmsgpack._COPYRIGHT .. cmsgpack._DESCRIPTION",
    r"return #cmsgpack.unpack(string.rep('\145', 3999) .. '\1')",
    r"return cmsgpack.unpack(string.rep('\145', 4000) .. '\1')",
    r"return select(2, loadstring('\27Lua'))",
    r"redis.setresp()",
    r#"redis.log("x","y")"#,
    r#"redis.log(99,"y")"#,
    r"redis.error_reply()",
    r"return redis.error_reply()",
    r"return redis.status_reply(1,2)",
    r#"return redis.register_function("a",function() end)"#,
    r#"return string.format("%s %s", 3.14, 1e20)"#,
    r"error(nil)",
    r"error(12)",
    r"error(true)",
    r#"return coroutine.wrap(function() return redis.call("ping") end)()"#,
    r#"coroutine.wrap(function() redis.call("nosuch") end)()"#,
    r"return cjson.encode({1,2,nil,4})",
    r"coroutine.yield()",
    r#"return pcall(redis.call,"nosuch")"#,
    r#"return {pcall(redis.call,"nosuch")}"#,
    r#"local ok,e = pcall(redis.call,"nosuch") return {type(e), e.err, e.source or "-", e.line or "-"}"#,
    r#"local ok,e = pcall(error,"nosuch") return {type(e)}"#,
    r#"return cmsgpack.unpack(cmsgpack.pack({1,2,{a=1,b="x"}}))[3].b"#,
    r#"return cjson.encode({a={1,2,{b="/x"}}})"#,
    r#"return struct.unpack(">HBi4", struct.pack(">HBi4", 258, 3, -5))"#,
    r#"return {struct.unpack(">Hc0", struct.pack(">Hc0", 3, "abcdef"))}"#,
    r"return bit.tohex(255, -4)",
    r"return {bit.lshift(1,31), bit.bnot(7), bit.bswap(1), bit.arshift(-256,4)}",
    r#"redis.setresp(3) return redis.call("hgetall","nohash")"#,
    r#"redis.setresp(3) redis.call("hset","hh","a","1") return redis.call("hgetall","hh")"#,
    r#"redis.setresp(3) redis.call("zadd","zz",1.5,"a") return redis.call("zscore","zz","a").double"#,
    r#"redis.setresp(3) return redis.call("get","nokey")"#,
    r#"return redis.call("get","nokey")"#,
    r"return {1,nil,3}",
    r"return {1,false,3}",
    r"return true",
    r"return false",
    r"return nil",
    r"return 3.99",
    r"return -3.99",
    r"return 1e100",
    r"return {}",
    r"return {map={a=1}}",
    r"return {set={a=true}}",
    r#"return {big_number="123"}"#,
    r#"return {verbatim_string={string="x",format="txt"}}"#,
    r#"return redis.status_reply("a\r\nb")"#,
    r#"return redis.error_reply("a b\r\nc")"#,
    r#"return {err="a b\r\nc"}"#,
    r#"return redis.call("set","a",12345678901234) and redis.call("get","a")"#,
    r#"return redis.call("incrbyfloat","nf",0.5)"#,
    r#"return redis.call("lpush","a","x")"#,
    r#"return redis.pcall("lpush","a","x")"#,
    r#"return redis.call("select",5)"#,
    r#"return redis.call("multi")"#,
    r#"return redis.call("subscribe","x")"#,
    r#"return redis.call("eval","return 1",0)"#,
    r#"return redis.call("config","get","maxmemory")"#,
    r#"return redis.call("debug","sleep",0)"#,
    r"return tostring(1e15)",
    r"return #ARGV",
    r"return type(os)",
    r"return type(redis.LOG_WARNING)",
    r#"for k,v in pairs(redis) do if k=="call" then return "yes" end end"#,
    r"return next(redis) ~= nil",
    r#"return rawget(redis,"call") ~= nil"#,
    r#"return string.rep("x",10)"#,
    r#"return ("x"):rep(3)"#,
    r#"return tonumber("0x10")"#,
    r##"return select("#",1,2,3)"##,
    r#"return table.concat({1,2,3},",")"#,
    r"return {tostring(nil), tostring(true)}",
    r"local t = {} t.a = 1 t[1]=5 return t",
    r#"return string.format("%q", 'a"b')"#,
    r"return math.floor(3.7)",
    r"return {math.max(1,2), math.huge > 1}",
    r"local t = {3,1,2} table.sort(t) return t",
    r"local t = {3,1,2} table.sort(t, function(a,b) return a>b end) return t",
    r#"return {string.find("hello","l")}"#,
    r#"return string.gsub("hello","l","L")"#,
    r#"return collectgarbage("count") > 0"#,
    r"return pcall(function() return 1 end)",
    r#"assert(false,"msg")"#,
    r"assert(false)",
    r"return assert(1)",
    r"return xpcall",
    r"return {table.unpack}",
    r"goto x",
    r"return 1 .. 2",
    r#"return cjson.encode(cjson.decode('{"a":[1,2.5,"x",null,true]}').a)"#,
    r#"return cjson.decode('{"a":1}')"#,
    r"return cmsgpack.pack(1,2,3)",
    r"return cmsgpack.pack({a=1})",
    r"return cmsgpack.pack(-1, 300, 70000, -129, 2^40, 1.5, 1.1)",
    r#"return struct.size("!8bd")"#,
    r#"return struct.pack("<i33",1)"#,
    r#"return redis.sha1hex("")"#,
    r"return redis.sha1hex(123)",
    r#"return redis.call("hmset","h1","f","v")"#,
    r#"return redis.call("time")[1] == redis.call("time")[1]"#,
    r"return load(function() return nil end)",
    r#"local i=0 return load(function() i=i+1 if i==1 then return "return 7" end end)()"#,
    r#"return dofile("x")"#,
    r#"return loadfile("x")"#,
    r#"return print("x")"#,
    r#"return require("x")"#,
    r"return newproxy(true)",
    r"return getfenv()",
    r"return debug.getinfo(1)",
    r#"return redis.call("set","a",0.5)"#,
    r#"return {redis.call("sadd","s","a","b","c"), #redis.call("smembers","s")}"#,
    r#"local t = {} for i = 1, 7900 do t[i] = "x" .. i end return redis.call("sadd", "big", unpack(t))"#,
    r#"return redis.call("sort","big2","by","nosort")"#,
    r#"return cmsgpack.pack({1,{a={b={c={1,2,3}}}},"x"})"#,
    r"return {cmsgpack.unpack_limit(cmsgpack.pack(1,2,3), 2, 0)}",
    r"return {cmsgpack.unpack_one(cmsgpack.pack(1,2,3), 1)}",
    r"return cjson.encode({[1]=1,[2]=2,[4]=4})",
    r"return cjson.encode({[1]=1,[20]=2})",
    r#"return cjson.decode("\"\\u00e9\\n\"")"#,
    r#"return tostring(cjson.decode("1e3"))"#,
    r"cjson.encode_max_depth(1) return cjson.encode({{1}})",
    r"return {bit.rol(1,33), bit.ror(1,1), bit.tobit(2^32+5)}",
    r#"return struct.pack(">I2<I2bBhHlLs", 1, 2, -1, 255, -2, 3, -4, 5, "abc")"#,
    r#"return {struct.unpack("<i2>i2", "\1\2\3\4")}"#,
    r"return math.fmod(-5, 3)",
    r#"return {string.byte("abc", 1, 3)}"#,
    r#"return redis.call("object", "encoding", "big")"#,
    r#"#!lua flags=no-writes
return redis.call("set","a","b")"#,
    r"#!lua flags=bad
return 1",
    r#"#!lua
return redis.call("set","a","b")"#,
    r"#!lua nothing
return 1",
    r"#!py
return 1",
    r"#!lua",
];
