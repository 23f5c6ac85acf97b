//! What is sent: templates per family, filled at random, now and then damaged.
//!
//! In a template `k` is a key, `m` a member, `v` a value, `i` an integer, `n` a small count, `f` a score, `s` a
//! bound of scores, `E` a time to live, `L` a key of members with equal scores, `l` a lexicographical bound, `p` a
//! pattern, `T` a far point in time in seconds, `M` in milliseconds, `X` and `Y` degrees and `R` a radius (geo), `d` a database, `o` a bit offset, `b` a bit.
//! `a|b` picks one, `?x` is there one time in three, `+x` one to three times; `_` joins words inside these.
//! Everything else is itself.

use super::random::Rng;
use super::streams;

pub struct Family {
    pub name: &'static str,
    /// How many distinct members and fields there are: more of them leave the compact forms.
    pub members: usize,
    pub keys: usize,
    pub templates: &'static [&'static str],
}

/// A key of every type, to be of the wrong type for the others.
pub fn prologue() -> Vec<Vec<Vec<u8>>> {
    [
        "SET other:string hello",
        "RPUSH other:list a b c",
        "HSET other:hash f v g 12",
        "SADD other:set a b 3",
        "ZADD other:zset 1 a 2 b",
        "XADD other:stream 1-1 a b",
    ]
    .iter()
    .map(|line| line.split(' ').map(|w| w.as_bytes().to_vec()).collect())
    .collect()
}

const OTHERS: &[&str] = &["other:string", "other:list", "other:hash", "other:set", "other:zset", "other:stream"];
const VALUES: &[&str] = &[
    "",
    "a",
    "hello world",
    "0",
    "-1",
    "10",
    "3.5",
    "1e3",
    "9223372036854775807",
    "-9223372036854775808",
    "\r\n\0\u{ff}",
    "012",
    " 1",
    "inf",
];
const INTS: &[&str] = &["0", "1", "-1", "2", "-2", "3", "5", "-5", "10", "100", "-100"];
const ODD_INTS: &[&str] = &[
    "9223372036854775807",
    "-9223372036854775808",
    "9223372036854775808",
    "4294967296",
    "-4294967297",
    "x",
    "",
    "1.5",
    "+1",
    "01",
];
const SCORES: &[&str] = &["0", "1", "2", "3", "-1", "1.5", "-2.25", "0.5", "100", "inf", "-inf", "1e3", "+5"];
const ODD_SCORES: &[&str] = &["nan", "x", "", "1e400", "0x10", "--1", "(1"];
const TERMS: &[&str] =
    &["0", "-1", "x", "100000", "200000", "9223372036854775807", "9223372036854775", "-9223372036854775808"];
const BOUNDS: &[&str] = &["-inf", "+inf", "0", "1", "(1", "2", "(2.5", "-1", "(0", "100", "(-inf", "(inf"];
const PATTERNS: &[&str] = &["*", "k*", "?1", "k[0-3]", "k[^0]", "*1*", "[", "k\\1", "m*2", ""];

/// Degrees up to a bound, most of them in a small part of the world.
fn coordinate(rng: &mut Rng, max: usize) -> String {
    let degrees = if rng.chance(60) { rng.below(20) } else { rng.below(max) };
    let sign = if rng.chance(30) { "-" } else { "" };
    format!("{sign}{degrees}.{}", rng.below(100_000))
}

impl Family {
    pub fn command(&self, rng: &mut Rng) -> Vec<Vec<u8>> {
        let template = rng.pick(self.templates);
        let mut argv = Vec::new();
        template.split(' ').for_each(|token| self.expand(token, rng, &mut argv));
        self.damage(rng, &mut argv);
        argv
    }

    fn expand(&self, token: &str, rng: &mut Rng, argv: &mut Vec<Vec<u8>>) {
        if let Some(rest) = token.strip_prefix('?') {
            if rng.chance(33) {
                self.expand(rest, rng, argv);
            }
        } else if let Some(rest) = token.strip_prefix('+') {
            for _ in 0..=rng.below(3) {
                self.expand(rest, rng, argv);
            }
        } else if token.contains('|') {
            let choices: Vec<&str> = token.split('|').collect();
            self.expand(rng.pick(&choices), rng, argv);
        } else if token.contains('_') && !token.ends_with("_RO") {
            token.split('_').for_each(|part| self.expand(part, rng, argv));
        } else {
            argv.push(self.word(token, rng));
        }
    }

    fn word(&self, token: &str, rng: &mut Rng) -> Vec<u8> {
        match token {
            "k" if rng.chance(4) => rng.pick(OTHERS).as_bytes().to_vec(),
            "k" => format!("k{}", rng.below(self.keys)).into_bytes(),
            "m" => self.member(rng),
            "v" if rng.chance(50) => rng.pick(VALUES).as_bytes().to_vec(),
            "v" => rng.below(1000).to_string().into_bytes(),
            "i" if rng.chance(4) => rng.pick(ODD_INTS).as_bytes().to_vec(),
            "i" => rng.pick(INTS).as_bytes().to_vec(),
            "n" => (1 + rng.below(4)).to_string().into_bytes(),
            "f" if rng.chance(3) => rng.pick(ODD_SCORES).as_bytes().to_vec(),
            "f" => rng.pick(SCORES).as_bytes().to_vec(),
            "s" if rng.chance(3) => rng.pick(ODD_SCORES).as_bytes().to_vec(),
            "s" => rng.pick(BOUNDS).as_bytes().to_vec(),
            "l" if rng.chance(30) => rng.pick(&["-", "+", "x", "[", "("]).as_bytes().to_vec(),
            "l" => [rng.pick(&["[", "("]).as_bytes(), &self.member(rng)].concat(),
            "p" => rng.pick(PATTERNS).as_bytes().to_vec(),
            "T" => (4_000_000_000 + rng.below(5) as u64).to_string().into_bytes(),
            "M" => (4_000_000_000_000 + rng.below(5000) as u64).to_string().into_bytes(),
            "d" => rng.below(17).to_string().into_bytes(),
            "o" => rng.below(80).to_string().into_bytes(),
            "E" => rng.pick(TERMS).as_bytes().to_vec(),
            "X" | "R" if self.name == "geo" && rng.chance(5) => rng.pick(ODD_SCORES).as_bytes().to_vec(),
            "X" if self.name == "geo" => coordinate(rng, 181).into_bytes(),
            "Y" if self.name == "geo" => coordinate(rng, 86).into_bytes(),
            "R" if self.name == "geo" => {
                rng.pick(&["0", "1", "50.5", "300", "1000", "2500", "9000", "30000", "1e7"]).as_bytes().to_vec()
            }
            "L" => format!("lex{}", rng.below(2)).into_bytes(),
            "b" => rng.below(2).to_string().into_bytes(),
            // Streams: entries, ends of ranges, ids for new ones, names, idle times.
            "X" => format!("{}-{}", 1 + rng.below(5), rng.below(30)).into_bytes(),
            "Y" if rng.chance(30) => rng.pick(&["-", "+", "(3-3", "(4", "0"]).as_bytes().to_vec(),
            "Y" => format!("{}-{}", 1 + rng.below(5), rng.below(30)).into_bytes(),
            "Z" => format!("{}-{}", 5 + rng.below(2), rng.below(600)).into_bytes(),
            "N" if rng.chance(80) => format!("{}-*", 1 + rng.below(5)).into_bytes(),
            "N" => format!("{}-{}", 1 + rng.below(5), rng.below(30)).into_bytes(),
            "G" => rng.pick(&["g1", "g2"]).as_bytes().to_vec(),
            "C" => rng.pick(streams::CONSUMERS).as_bytes().to_vec(),
            "W" => rng.pick(&["0", "100000000"]).as_bytes().to_vec(),
            "V" => rng.pick(&["0", "200000000"]).as_bytes().to_vec(),
            "c" => (1 + rng.below(200)).to_string().into_bytes(),
            word => word.as_bytes().to_vec(),
        }
    }

    fn member(&self, rng: &mut Rng) -> Vec<u8> {
        let n = rng.below(self.members);
        match n % 5 {
            0 => n.to_string().into_bytes(),
            1 if self.members > 100 => format!("m{n} {}", "x".repeat(n % 90)).into_bytes(),
            _ => format!("m{n}").into_bytes(),
        }
    }

    /// Sometimes an argument is lost, added, or replaced.
    fn damage(&self, rng: &mut Rng, argv: &mut Vec<Vec<u8>>) {
        // What is random or would block must stay as it is.
        let fixed = argv[0].starts_with(b"B") && !argv[0].starts_with(b"BIT")
            || argv[0].ends_with(b"POP")
            || argv[0].ends_with(b"SCAN")
            || streams::is_fixed(&argv[0]);
        // Ranges by name are defined among equal scores only.
        let fixed = fixed || argv.get(1).is_some_and(|key| key.starts_with(b"lex"));
        if fixed || argv[0].windows(4).any(|w| w == b"RAND") || !rng.chance(4) {
            return;
        }
        let at = 1 + rng.below(argv.len());
        match rng.below(3) {
            0 if at < argv.len() => drop(argv.remove(at)),
            // Large scores are printed otherwise since 7.2.
            1 if at < argv.len() && argv[0][0] == b'Z' => argv[at] = rng.pick(ODD_SCORES).as_bytes().to_vec(),
            1 if at < argv.len() => argv[at] = rng.pick(VALUES).as_bytes().to_vec(),
            _ => argv.insert(at, rng.pick(&["NX", "junk", "LIMIT", "1", "WITHSCORES", "COUNT"]).as_bytes().to_vec()),
        }
    }
}

pub const STRINGS: Family = Family {
    name: "strings",
    members: 20,
    keys: 6,
    templates: &[
        "GET k",
        "GET k",
        "SET k v",
        "SET k v",
        "SET k v ?NX|XX ?GET ?KEEPTTL",
        "SET k v ?GET ?NX|XX EXAT|PXAT_M",
        "SET k v EX|PX E",
        "SET k v EXAT T ?GET",
        "SETNX k v",
        "SETEX k E v",
        "PSETEX k 100000 v",
        "GETEX k ?PERSIST",
        "GETEX k EXAT T",
        "GETEX k EX|PX|EXAT|PXAT E",
        "GETDEL k",
        "GETSET k v",
        "MGET +k",
        "MSET +k_v",
        "MSETNX +k_v",
        "APPEND k v",
        "STRLEN k",
        "GETRANGE k i i",
        "SUBSTR k i i",
        "SETRANGE k n v",
        "SETRANGE k i v",
        "INCR k",
        "DECR k",
        "INCRBY k i",
        "DECRBY k i",
        "INCRBY k v",
        "INCRBYFLOAT k f",
        "INCRBYFLOAT k i",
        "INCRBYFLOAT k 0.1",
        "LCS k k",
        "LCS k k ?LEN",
        "LCS k k IDX ?MINMATCHLEN_n ?WITHMATCHLEN",
        "TYPE k",
        "DEL k",
        "PEXPIRETIME k",
        "TTL k",
        "EXISTS +k",
    ],
};

pub const BITS: Family = Family {
    name: "bits",
    members: 20,
    keys: 4,
    templates: &[
        "SETBIT k o b",
        "SETBIT k o b",
        "SETBIT k i b",
        "GETBIT k o",
        "GETBIT k i",
        "BITCOUNT k",
        "BITCOUNT k i i ?BYTE|BIT",
        "BITPOS k b ?i",
        "BITPOS k b i i ?BYTE|BIT",
        "BITOP AND|OR|XOR k +k",
        "BITOP NOT k k",
        "BITFIELD k +GET_u8|i5|u63|i64|u1_o",
        "BITFIELD k ?OVERFLOW_WRAP|SAT|FAIL +SET_u8|i5|u63|i64_o_i",
        "BITFIELD k ?OVERFLOW_WRAP|SAT|FAIL +INCRBY_u8|i5|u63|i64|u2_o_i",
        "BITFIELD k INCRBY u8 #1 i GET i8 #2 OVERFLOW SAT INCRBY i64 0 9223372036854775807",
        "BITFIELD_RO k GET u4 o",
        "SET k v",
        "GET k",
        "DEL k",
    ],
};

pub const KEYS: Family = Family {
    name: "keys",
    members: 10,
    keys: 8,
    templates: &[
        "SET k v",
        "RPUSH k +v",
        "HSET k m v",
        "SADD k +m",
        "ZADD k f m",
        "DEL +k",
        "UNLINK +k",
        "EXISTS +k",
        "TOUCH +k",
        "TYPE k",
        "EXPIRE k E ?NX|XX",
        "PEXPIRE k 100000000 ?NX|XX",
        "EXPIREAT k T ?NX|XX|GT|LT ?NX|XX|GT|LT",
        "PEXPIREAT k M ?NX|XX|GT|LT",
        "TTL k",
        "PTTL k",
        "EXPIRETIME k",
        "PEXPIRETIME k",
        "PERSIST k",
        "KEYS p",
        "RENAME k k",
        "RENAMENX k k",
        "COPY k k ?REPLACE",
        "COPY k k DB d ?REPLACE",
        "MOVE k d",
        "OBJECT IDLETIME|FREQ k",
        "SCAN 0 COUNT 1000",
        "SCAN 0 MATCH p COUNT 1000",
        "SCAN 0 COUNT 1000 TYPE string|list|hash|set|zset|stream",
        "SCAN x|1x",
        "SORT k ?BY_w* ?LIMIT_i_i ?ASC|DESC",
        "SORT k ?LIMIT_i_i ?ASC|DESC ALPHA",
        "SORT other:zset BY nosort ?DESC ?LIMIT_i_i",
        "SORT k BY other:* GET # GET other:hash->f",
        "SORT k ALPHA ?DESC ?LIMIT_i_i STORE k",
        "SORT_RO k ALPHA ?LIMIT_i_i",
    ],
};

pub const LISTS: Family = Family { name: "lists", members: 6, keys: 4, templates: LIST_TEMPLATES };

pub const BIG_LISTS: Family = Family {
    name: "lists with many elements",
    members: 3000,
    keys: 2,
    templates: &[
        "RPUSH k m m m m m m m m m m m m m m m m",
        "LPUSH k m m m m m m m m m m m m m m m m",
        "RPUSH k m m m m m m m m m m m m m m m m",
        "LPOP k ?n",
        "RPOP k ?n",
        "LINDEX k 500",
        "LINDEX k -700",
        "LSET k 300 m",
        "LINSERT k BEFORE|AFTER m m",
        "LREM k i m",
        "LRANGE k 100 120",
        "LRANGE k -300 -290",
        "LPOS k m RANK i COUNT n",
        "LLEN k",
        "LMOVE k k LEFT|RIGHT LEFT|RIGHT",
        // Lists alone: what lies where in a set is open.
        "SORT k0|k1 BY nosort LIMIT c n ?DESC ?GET_#",
        "SORT_RO k ALPHA ?DESC LIMIT c n",
        "SORT k0|k1 BY nosort LIMIT c c STORE sorted",
    ],
};

const LIST_TEMPLATES: &[&str] = &[
    "LPUSH k +m",
    "RPUSH k +m",
    "LPUSHX k +m",
    "RPUSHX k +m",
    "LINSERT k BEFORE|AFTER m m",
    "LLEN k",
    "LINDEX k i",
    "LSET k i m",
    "LPOP k ?i",
    "RPOP k ?i",
    "LRANGE k i i",
    "LRANGE k 0 -1",
    "LTRIM k i i",
    "LPOS k m ?RANK_i ?COUNT_i ?MAXLEN_i",
    "LREM k i m",
    "LMOVE k k LEFT|RIGHT LEFT|RIGHT",
    "RPOPLPUSH k k",
    "LMPOP n +k LEFT|RIGHT ?COUNT_i",
    "BRPOP k x",
    "BLPOP k -1",
];

pub const HASHES: Family = Family {
    name: "hashes",
    members: 8,
    keys: 4,
    templates: &[
        "HSET k +m_v",
        "HMSET k +m_v",
        "HSETNX k m v",
        "HGET k m",
        "HMGET k +m",
        "HGETALL k",
        "HKEYS k",
        "HVALS k",
        "HDEL k +m",
        "HEXISTS k m",
        "HLEN k",
        "HSTRLEN k m",
        "HINCRBY k m i",
        "HINCRBYFLOAT k m f",
        "HINCRBYFLOAT k m 0.1",
        "HRANDFIELD k 0",
        "HRANDFIELD k i_junk",
        "HRANDFIELD missing ?i ?WITHVALUES",
        "HRANDFIELD k 100 ?WITHVALUES",
        "HSCAN k 0 ?MATCH_p COUNT 1000",
        "HSCAN k x",
    ],
};

pub const SETS: Family = Family {
    name: "sets",
    members: 12,
    keys: 5,
    templates: &[
        "SADD k +m",
        "SADD k +i",
        "SREM k +m",
        "SMOVE k k m",
        "SCARD k",
        "SISMEMBER k m",
        "SMISMEMBER k +m",
        "SMEMBERS k",
        "SPOP k 100",
        "SPOP missing ?i",
        "SPOP k 0",
        "SRANDMEMBER missing ?i",
        "SRANDMEMBER k 0",
        "SINTER +k",
        "SINTERCARD n +k ?LIMIT_i",
        "SINTERSTORE k +k",
        "SUNION +k",
        "SUNIONSTORE k +k",
        "SDIFF +k",
        "SDIFFSTORE k +k",
        "SSCAN k 0 ?MATCH_p COUNT 1000",
    ],
};

pub const ZSETS: Family = Family { name: "zsets", members: 10, keys: 4, templates: ZSET_TEMPLATES };

pub const BIG_ZSETS: Family = Family {
    name: "zsets with many members",
    members: 1200,
    keys: 2,
    templates: &[
        "ZADD k f m f m f m f m f m f m f m f m",
        "ZADD k f m f m f m f m f m f m f m f m",
        "ZADD k ?CH ?GT|LT f m f m f m",
        "ZINCRBY k f m",
        "ZREM k +m",
        "ZRANK k m",
        "ZREVRANK k m",
        "ZSCORE k m",
        "ZRANGE k 100 130 ?REV WITHSCORES",
        "ZRANGE k -50 -40 ?REV",
        "ZRANGE k s s BYSCORE LIMIT i n",
        "ZREVRANGEBYSCORE k s s LIMIT 3 n",
        "ZCOUNT k s s",
        "ZPOPMIN k n",
        "ZPOPMAX k n",
        "ZPOPMIN|ZPOPMAX k 20",
        "ZMPOP 2 k k MIN|MAX COUNT 17",
        "ZADD k f m f m f m f m f m f m f m f m",
        "ZADD k f m f m f m f m f m f m f m f m",
        "ZREMRANGEBYRANK k 20 22",
        "ZUNIONSTORE k 2 k other:zset WEIGHTS 1 0.5",
        "ZINTERCARD 2 k k LIMIT n",
    ],
};

pub const BIG_MAPS: Family = Family {
    name: "hashes and sets with many elements",
    members: 1500,
    keys: 3,
    templates: &[
        "HSET h m v m v m v m v m v m v m v m v",
        "HSET h m v m v m v m v m v m v m v m v",
        "HGET h m",
        "HMGET h m m m",
        "HDEL h m m m",
        "HLEN h",
        "HINCRBY h m i",
        "SADD k m m m m m m m m m m",
        "SADD k i i i",
        "SREM k m m m m",
        "SISMEMBER k m",
        "SCARD k",
        "SINTERSTORE dest k k",
        "SUNIONSTORE dest k k",
        "SDIFFSTORE dest k k",
        "SINTERCARD 2 k k",
        "SMOVE k k m",
    ],
};

const ZSET_TEMPLATES: &[&str] = &[
    "ZADD k +f_m",
    "ZADD k +f_m",
    "ZADD L 0 m +0_m",
    "ZADD k ?NX|XX ?GT|LT ?CH ?INCR f m",
    "ZADD k ?NX|XX ?GT|LT ?CH +f_m",
    "ZINCRBY k f m",
    "ZREM k +m",
    "ZCARD k",
    "ZSCORE k m",
    "ZMSCORE k +m",
    "ZRANK k m",
    "ZREVRANK k m",
    "ZRANDMEMBER missing ?i ?WITHSCORES",
    "ZRANDMEMBER k 0 ?WITHSCORES",
    "ZSCAN k 0 ?MATCH_p COUNT 1000",
    "ZCOUNT k s s",
    "ZLEXCOUNT L l l",
    "ZRANGE k i i ?REV ?WITHSCORES",
    "ZRANGE k s s BYSCORE ?REV ?LIMIT_i_i ?WITHSCORES",
    "ZRANGE L l l BYLEX ?REV ?LIMIT_i_i ?WITHSCORES",
    "ZRANGE k i i ?LIMIT_i_i",
    "ZREVRANGE k i i ?WITHSCORES",
    "ZRANGEBYSCORE k s s ?WITHSCORES ?LIMIT_i_i",
    "ZREVRANGEBYSCORE k s s ?WITHSCORES ?LIMIT_i_i",
    "ZRANGEBYLEX L l l ?LIMIT_i_i",
    "ZREVRANGEBYLEX L l l ?LIMIT_i_i",
    "ZRANGESTORE k k i i ?REV",
    "ZRANGESTORE k k s s BYSCORE ?REV ?LIMIT_i_i",
    "ZRANGESTORE k L l l BYLEX ?REV ?LIMIT_i_i",
    "ZREMRANGEBYRANK k i i",
    "ZREMRANGEBYSCORE k s s",
    "ZREMRANGEBYLEX L l l",
    "ZPOPMIN k ?i",
    "ZPOPMAX k ?i",
    "ZMPOP n +k MIN|MAX ?COUNT_i",
    "BZPOPMIN k -1",
    "ZUNION n +k ?WEIGHTS_f_f ?AGGREGATE_SUM|MIN|MAX ?WITHSCORES",
    "ZINTER n +k ?WEIGHTS_f_f ?AGGREGATE_SUM|MIN|MAX ?WITHSCORES",
    "ZDIFF n +k ?WITHSCORES",
    "ZUNIONSTORE k n +k ?WEIGHTS_f_f ?AGGREGATE_SUM|MIN|MAX",
    "ZINTERSTORE k n +k ?WEIGHTS_f_f ?AGGREGATE_SUM|MIN|MAX",
    "ZDIFFSTORE k n +k",
    "ZINTERCARD n +k ?LIMIT_i",
    "SADD k +m",
    "DEL k",
];

pub const HYPERLOGLOG: Family = Family {
    name: "hyperloglog",
    members: 4000,
    keys: 5,
    templates: &[
        "PFADD k +m",
        "PFADD k +m",
        "PFADD k m m m m m m m m m m m m m m m m m m m m",
        "PFADD k m m m m m m m m m m m m m m m m m m m m",
        "PFADD k",
        "PFCOUNT k",
        "PFCOUNT k +k",
        "PFMERGE k +k",
        "PFMERGE k",
        "GET k",
        "STRLEN k",
        "PFDEBUG ENCODING|DECODE|TODENSE|GETREG|x k",
        "DEL k",
        "COPY k k REPLACE",
        "COPY k odd REPLACE",
        "APPEND odd v",
        "SETRANGE odd i v",
        "SETBIT odd o b",
        "PFCOUNT odd",
        "PFCOUNT odd k",
        "PFMERGE k odd",
        "PFADD other:string m",
        "EXPIRE k E",
    ],
};

pub const GEO: Family = Family {
    name: "geo",
    members: 40,
    keys: 4,
    templates: &[
        "GEOADD k X Y m X Y m X Y m",
        "GEOADD k X Y m X Y m X Y m",
        "GEOADD k ?NX|XX ?CH X Y m",
        "GEOADD k X Y m X",
        "GEOPOS k +m",
        "GEOHASH k +m",
        "GEODIST k m m ?M|KM|FT|MI|x",
        "GEOSEARCH k FROMLONLAT X Y BYRADIUS R M|KM|FT|MI ?ASC|DESC ?WITHDIST ?WITHHASH ?WITHCOORD ?COUNT_i ?ANY",
        "GEOSEARCH k FROMMEMBER m BYBOX R R M|KM|FT|MI ?ASC|DESC ?WITHDIST ?WITHCOORD ?COUNT_n",
        "GEOSEARCH k FROMMEMBER m BYRADIUS R KM ASC COUNT n ?ANY WITHDIST",
        "GEOSEARCH k FROMLONLAT X Y BYBOX R R KM",
        "GEOSEARCH k FROMLONLAT X Y ?FROMMEMBER_m ?BYRADIUS_R_km ?BYBOX_R_R_km",
        "GEOSEARCHSTORE k k FROMLONLAT X Y BYRADIUS R KM ?ASC ?COUNT_n",
        "GEOSEARCHSTORE k k FROMMEMBER m BYBOX R R KM ?WITHDIST",
        // Small scores are all one place: which of its members comes first is the sort's affair, so nothing searches there.
        "GEOSEARCHSTORE distances k FROMLONLAT X Y BYRADIUS R KM STOREDIST ?ASC ?COUNT_n",
        "GEOSEARCHSTORE distances k FROMMEMBER m BYBOX R R KM STOREDIST ?WITHDIST",
        "GEORADIUS k X Y R M|KM|FT|MI ?WITHDIST ?WITHCOORD ?WITHHASH ?ASC|DESC ?COUNT_n ?STORE_k ?STOREDIST_distances",
        "GEORADIUS_RO k X Y R KM ?WITHDIST ?ASC|DESC ?STORE_k",
        "GEORADIUSBYMEMBER k m R KM ?WITHDIST ?ASC|DESC ?COUNT_n ?ANY ?STORE_k ?STOREDIST_distances",
        "GEORADIUSBYMEMBER_RO k m R KM ?WITHDIST ?STORE_k",
        "ZADD distances f m",
        "ZRANGE k|distances 0 -1 WITHSCORES",
        "ZREM k m",
    ],
};
