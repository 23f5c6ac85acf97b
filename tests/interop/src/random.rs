//! Random commands from a seed: a few keys of every type, all options that change what is propagated, some mistakes.

/// A small generator (splitmix64): the same seed gives the same run everywhere.
#[derive(Debug, Clone)]
pub struct Rng(u64);

impl Rng {
    /// A generator for this seed.
    pub fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// The next 64 bits.
    pub fn bits(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// A number below `limit`.
    pub fn below(&mut self, limit: u64) -> u64 {
        self.bits() % limit
    }

    /// True once in `times`.
    pub fn once_in(&mut self, times: u64) -> bool {
        self.below(times) == 0
    }

    /// One of these.
    pub fn pick<'a, T: ?Sized>(&mut self, from: &[&'a T]) -> &'a T {
        from[self.below(from.len() as u64) as usize]
    }
}

/// One command, name first.
pub type Command = Vec<Vec<u8>>;

/// An endless run of commands.
#[derive(Debug, Clone)]
pub struct Commands {
    rng: Rng,
    /// The answers depend on nothing but the commands: no SPOP, no key that ends within the run. And some reads.
    deterministic: bool,
    /// Some keys end within the run.
    endings: bool,
}

/// What keys begin with.
const KINDS: &[&str] = &["str", "list", "set", "hash", "zset", "stream"];

/// Timeout of a blocking command in seconds.
const BLOCK: &str = "0.01";

/// The database numbers that are used.
pub const DATABASES: [u32; 3] = [0, 1, 7];

const LONG_TTL_MS: u64 = 3_600_000;

impl Commands {
    /// The run of this seed.
    pub fn new(seed: u64) -> Self {
        Self { rng: Rng::new(seed), deterministic: false, endings: true }
    }

    /// A run in which no key expires: between two commands nothing moves.
    pub fn without_endings(seed: u64) -> Self {
        Self { endings: false, ..Self::new(seed) }
    }

    /// A run with reads whose answers depend on nothing but the commands.
    pub fn deterministic(seed: u64) -> Self {
        Self { rng: Rng::new(seed), deterministic: true, endings: false }
    }

    /// One unit: a single command, or MULTI … EXEC (sometimes DISCARD).
    pub fn unit(&mut self) -> Vec<Command> {
        if !self.rng.once_in(8) {
            return vec![self.command()];
        }
        let mut unit = vec![words("MULTI")];
        for _ in 0..self.rng.below(5) {
            unit.push(self.command());
        }
        unit.push(words(if self.rng.once_in(6) { "DISCARD" } else { "EXEC" }));
        unit
    }

    /// One command.
    pub fn command(&mut self) -> Command {
        if self.deterministic && self.rng.once_in(3) {
            return self.read();
        }
        match self.rng.below(100) {
            0..25 => self.string(),
            25..40 => self.list(),
            40..52 => self.set(),
            52..64 => self.hash(),
            64..76 => self.zset(),
            76..85 => self.stream(),
            85..97 => self.generic(),
            _ => self.database(),
        }
    }

    fn key(&mut self, kind: &str) -> String {
        // Now and then a key of another type.
        let kind = if self.rng.once_in(15) { self.rng.pick(KINDS) } else { kind };
        format!("{kind}:{}", self.rng.below(6))
    }

    fn any_key(&mut self) -> String {
        let kind = self.rng.pick(KINDS);
        self.key(kind)
    }

    fn value(&mut self) -> String {
        match self.rng.below(6) {
            0 => self.rng.below(100).to_string(),
            1 => (self.rng.bits() as i64).to_string(),
            2 => "v".repeat(1 + self.rng.below(100) as usize),
            3 => format!("{}.{}", self.rng.below(50), 1 + self.rng.below(9)),
            _ => format!("value-{}", self.rng.below(40)),
        }
    }

    fn member(&mut self) -> String {
        if self.rng.once_in(3) { self.rng.below(40).to_string() } else { format!("m{}", self.rng.below(40)) }
    }

    fn number(&mut self) -> String {
        (self.rng.below(200) as i64 - 100).to_string()
    }

    fn float(&mut self) -> String {
        format!("{}{}.{}", self.rng.pick(&["", "-"]), self.rng.below(100), self.rng.below(1000))
    }

    fn score(&mut self) -> String {
        match self.rng.below(12) {
            0 => "inf".into(),
            1 => "-inf".into(),
            2..6 => self.number(),
            _ => self.float(),
        }
    }

    fn times<T>(&mut self, most: u64, mut one: impl FnMut(&mut Self) -> T) -> Vec<T> {
        (0..1 + self.rng.below(most)).map(|_| one(self)).collect()
    }

    fn string(&mut self) -> Command {
        let key = self.key("str");
        let (value, number, other) = (self.value(), self.number(), self.key("str"));
        match self.rng.below(20) {
            0..6 => {
                let mut command = vec!["SET".into(), key, value];
                match self.rng.below(10) {
                    0 => command.extend(["EX".into(), "1000".into()]),
                    1 => command.extend(["PX".into(), self.ttl_ms()]),
                    2 => command.push("KEEPTTL".into()),
                    3 => command.push("NX".into()),
                    4 => command.push("XX".into()),
                    5 => command.push("GET".into()),
                    6 => command.extend(["XX".into(), "GET".into(), "PX".into(), self.ttl_ms()]),
                    _ => {}
                }
                owned(command)
            }
            6 => owned(vec!["SETEX".into(), key, "100".into(), value]),
            7 => owned(vec!["PSETEX".into(), key, self.ttl_ms(), value]),
            8 => owned(vec!["SETNX".into(), key, value]),
            9 => owned(vec!["GETSET".into(), key, value]),
            10 => owned(vec!["GETDEL".into(), key]),
            11 => {
                let ttl = self.ttl_ms();
                let option = self.rng.pick(&["PERSIST", "PX", "EX", ""]).to_owned();
                let mut command = vec!["GETEX".into(), key];
                match option.as_str() {
                    "" => {}
                    "PERSIST" => command.push(option),
                    _ => command.extend([option, ttl]),
                }
                owned(command)
            }
            12 => owned(vec!["APPEND".into(), key, value]),
            13 => owned(vec![self.rng.pick(&["INCR", "DECR"]).into(), key]),
            14 => owned(vec![self.rng.pick(&["INCRBY", "DECRBY"]).into(), key, number]),
            15 | 16 => owned(vec!["INCRBYFLOAT".into(), key, self.float()]),
            17 => owned(vec!["SETRANGE".into(), key, self.rng.below(60).to_string(), value]),
            18 => owned(vec!["MSET".into(), key, value, other, number]),
            _ => owned(vec!["MSETNX".into(), key, value, other, number]),
        }
    }

    fn list(&mut self) -> Command {
        let (key, other) = (self.key("list"), self.key("list"));
        let (value, number) = (self.value(), self.number());
        let side = |rng: &mut Rng| rng.pick(&["LEFT", "RIGHT"]).to_owned();
        match self.rng.below(16) {
            0..4 => {
                let name = self.rng.pick(&["LPUSH", "RPUSH"]).to_owned();
                let many = if self.rng.once_in(10) { 200 } else { 4 };
                let values = self.times(many, Self::value);
                owned([vec![name, key], values].concat())
            }
            4 => owned(vec![self.rng.pick(&["LPUSHX", "RPUSHX"]).into(), key, value]),
            5 => owned(vec![self.rng.pick(&["LPOP", "RPOP"]).into(), key]),
            6 => owned(vec![self.rng.pick(&["LPOP", "RPOP"]).into(), key, self.rng.below(5).to_string()]),
            7 => owned(vec!["LSET".into(), key, self.rng.below(6).to_string(), value]),
            8 => owned(vec!["LINSERT".into(), key, self.rng.pick(&["BEFORE", "AFTER"]).into(), value, number]),
            9 => owned(vec!["LREM".into(), key, (self.rng.below(5) as i64 - 2).to_string(), value]),
            10 => owned(vec!["LTRIM".into(), key, self.rng.below(4).to_string(), "-2".into()]),
            11 => owned(vec!["RPOPLPUSH".into(), key, other]),
            12 => owned(vec!["LMOVE".into(), key, other, side(&mut self.rng), side(&mut self.rng)]),
            13 => {
                let side = side(&mut self.rng);
                owned(vec!["LMPOP".into(), "2".into(), key, other, side, "COUNT".into(), "2".into()])
            }
            14 => owned(vec![self.rng.pick(&["BLPOP", "BRPOP"]).into(), key, other, BLOCK.into()]),
            _ => {
                let (from, to) = (side(&mut self.rng), side(&mut self.rng));
                owned(vec!["BLMOVE".into(), key, other, from, to, BLOCK.into()])
            }
        }
    }

    fn set(&mut self) -> Command {
        let (key, other, target) = (self.key("set"), self.key("set"), self.key("set"));
        match self.rng.below(10) {
            0..4 => owned([vec!["SADD".into(), key], self.times(6, Self::member)].concat()),
            4 => owned([vec!["SREM".into(), key], self.times(3, Self::member)].concat()),
            5 | 6 if self.deterministic => owned(vec!["SREM".into(), key, self.member()]),
            5 => owned(vec!["SPOP".into(), key]),
            6 => owned(vec!["SPOP".into(), key, self.rng.below(4).to_string()]),
            7 => owned(vec!["SMOVE".into(), key, other, self.member()]),
            _ => owned(vec![self.rng.pick(&["SUNIONSTORE", "SINTERSTORE", "SDIFFSTORE"]).into(), target, key, other]),
        }
    }

    fn hash(&mut self) -> Command {
        let key = self.key("hash");
        match self.rng.below(9) {
            0..4 => {
                let pairs = self.times(5, |me| [me.member(), me.value()]).concat();
                owned([vec!["HSET".into(), key], pairs].concat())
            }
            4 => owned(vec!["HSETNX".into(), key, self.member(), self.value()]),
            5 => owned([vec!["HDEL".into(), key], self.times(3, Self::member)].concat()),
            6 => owned(vec!["HINCRBY".into(), key, self.member(), self.number()]),
            7 => owned(vec!["HINCRBYFLOAT".into(), key, self.member(), self.float()]),
            _ => owned(vec!["HMSET".into(), key, self.member(), self.value()]),
        }
    }

    fn zset(&mut self) -> Command {
        let (key, other, target) = (self.key("zset"), self.key("zset"), self.key("zset"));
        match self.rng.below(16) {
            0..5 => {
                let flags = self.rng.pick(&["", "", "NX", "XX", "GT", "LT", "CH", "XX GT CH"]);
                let pairs = self.times(5, |me| [me.score(), me.member()]).concat();
                let flags = flags.split_whitespace().map(str::to_owned).collect::<Vec<_>>();
                owned([vec!["ZADD".into(), key], flags, pairs].concat())
            }
            5 => owned(vec!["ZADD".into(), key, "INCR".into(), self.score(), self.member()]),
            6 => owned(vec!["ZINCRBY".into(), key, self.score(), self.member()]),
            7 => owned([vec!["ZREM".into(), key], self.times(3, Self::member)].concat()),
            8 => owned(vec!["ZREMRANGEBYRANK".into(), key, "0".into(), self.rng.below(3).to_string()]),
            9 => owned(vec!["ZREMRANGEBYSCORE".into(), key, format!("({}", self.number()), self.number()]),
            10 => self.lex(),
            11 => owned(vec![self.rng.pick(&["ZPOPMIN", "ZPOPMAX"]).into(), key, self.rng.below(3).to_string()]),
            12 => owned(vec![self.rng.pick(&["BZPOPMIN", "BZPOPMAX"]).into(), key, other, BLOCK.into()]),
            13 => owned(vec!["ZMPOP".into(), "2".into(), key, other, self.rng.pick(&["MIN", "MAX"]).into()]),
            14 => owned(vec!["ZRANGESTORE".into(), target, key, "1".into(), "-2".into()]),
            _ => {
                let name = self.rng.pick(&["ZUNIONSTORE", "ZINTERSTORE", "ZDIFFSTORE"]).to_owned();
                owned(vec![name, target, "2".into(), key, other])
            }
        }
    }

    /// Ranges by name mean something only where all scores are equal: such sets have keys of their own.
    fn lex(&mut self) -> Command {
        let key = format!("lex:{}", self.rng.below(2));
        if self.rng.once_in(3) {
            return owned(vec!["ZREMRANGEBYLEX".into(), key, "[m1".into(), "(m2".into()]);
        }
        let pairs = self.times(8, |me| ["0".into(), me.member()]).concat();
        owned([vec!["ZADD".into(), key], pairs].concat())
    }

    fn id(&mut self) -> String {
        format!("{}-{}", 1 + self.rng.below(4), self.rng.below(40))
    }

    fn stream(&mut self) -> Command {
        let (key, group) = (self.key("stream"), self.rng.pick(&["g1", "g2"]).to_owned());
        let (consumer, count) = (self.rng.pick(&["alice", "bob", "eve"]), 1 + self.rng.below(4));
        let (id, to) = (self.id(), self.rng.below(12));
        let line = match self.rng.below(22) {
            0..7 => {
                let clock = !self.deterministic && self.rng.once_in(8);
                let new = if clock { "*".into() } else { format!("{}-*", 1 + self.rng.below(4)) };
                let trim = match self.rng.below(8) {
                    0 => format!("MAXLEN {to}"),
                    1 => format!("MAXLEN ~ {to}"),
                    2 => format!("MINID ~ {id} LIMIT {}", self.rng.below(200)),
                    3 => format!("NOMKSTREAM MINID = {id}"),
                    _ => String::new(),
                };
                let pairs = self.times(3, |me| format!("{} {}", me.member(), me.value())).join(" ");
                format!("XADD {key} {trim} {new} {pairs}")
            }
            7 => format!("XDEL {key} {id} {}", self.id()),
            8 => format!("XTRIM {key} {} {to}", self.rng.pick(&["MAXLEN", "MAXLEN ~", "MINID", "MINID ~"])),
            9 | 10 => format!("XGROUP CREATE {key} {group} {} MKSTREAM", self.rng.pick(&["0", "$", "2"])),
            11 => format!("XGROUP SETID {key} {group} {id} ENTRIESREAD {count}"),
            12 if self.rng.once_in(2) => format!("XGROUP DESTROY {key} {group}"),
            12 => format!("XGROUP DELCONSUMER {key} {group} {consumer}"),
            13..16 => {
                let option = self.rng.pick(&["", "", "NOACK", "BLOCK 10"]);
                format!("XREADGROUP GROUP {group} {consumer} COUNT {count} {option} STREAMS {key} >")
            }
            16 => format!("XREADGROUP GROUP {group} {consumer} STREAMS {key} {id}"),
            17 | 18 => format!("XACK {key} {group} {id} {} {}", self.id(), self.id()),
            19 => {
                let option = self.rng.pick(&["", "FORCE", "JUSTID", "RETRYCOUNT 5", "LASTID 3-3", "TIME 1000"]);
                format!("XCLAIM {key} {group} {consumer} 0 {id} {} {option}", self.id())
            }
            20 => format!("XAUTOCLAIM {key} {group} {consumer} 0 {id} COUNT {count}"),
            // Redis 7.0 allows it below what was deleted.
            _ if self.deterministic => format!("XGROUP CREATECONSUMER {key} {group}"),
            _ => format!("XSETID {key} 4-{} ENTRIESADDED 1000", 50 + count),
        };
        words(&line)
    }

    fn ttl_ms(&mut self) -> String {
        // Some end within the run.
        (if self.endings && self.rng.once_in(3) { 1 + self.rng.below(20) } else { LONG_TTL_MS + self.rng.below(1000) })
            .to_string()
    }

    fn generic(&mut self) -> Command {
        let (key, other) = (self.any_key(), self.any_key());
        match self.rng.below(16) {
            0..3 => owned(vec![self.rng.pick(&["DEL", "UNLINK"]).into(), key, other]),
            3..6 => owned(vec!["PEXPIRE".into(), key, self.ttl_ms()]),
            6 => {
                let condition = self.rng.pick(&["NX", "XX", "GT", "LT"]).to_owned();
                owned(vec!["EXPIRE".into(), key, (1 + self.rng.below(1000)).to_string(), condition])
            }
            7 => owned(vec!["EXPIRE".into(), key, self.rng.pick(&["-1", "0", "5000"]).into()]),
            8 => owned(vec!["EXPIREAT".into(), key, self.rng.pick(&["4102444800", "1"]).into()]),
            9 => owned(vec!["PERSIST".into(), key]),
            10 => owned(vec!["RENAME".into(), key, other]),
            11 => owned(vec!["RENAMENX".into(), key, other]),
            12 => owned(vec!["COPY".into(), key, other, "DB".into(), self.db(), "REPLACE".into()]),
            13 => owned(vec!["MOVE".into(), key, self.db()]),
            14 => owned(vec!["PUBLISH".into(), "channel".into(), self.value()]),
            _ => owned(vec![self.rng.pick(&["EXISTS", "GET", "TYPE", "TTL", "TOUCH"]).into(), key]),
        }
    }

    fn read(&mut self) -> Command {
        let kind = self.rng.pick(KINDS).to_owned();
        let (key, other) = (self.key(&kind), self.key(&kind));
        let (low, high) = (self.number(), self.number());
        let (member, value) = (self.member(), self.value());
        let index = |rng: &mut Rng| (rng.below(12) as i64 - 6).to_string();
        let line = match kind.as_str() {
            "str" => match self.rng.below(5) {
                0 => format!("GETRANGE {key} {} {}", index(&mut self.rng), index(&mut self.rng)),
                1 => format!("STRLEN {key}"),
                2 => format!("MGET {key} {other} list:0"),
                3 => format!("LCS {key} {other}"),
                _ => format!("GET {key}"),
            },
            "list" => match self.rng.below(5) {
                0 => format!("LRANGE {key} {} {}", index(&mut self.rng), index(&mut self.rng)),
                1 => format!("LINDEX {key} {}", index(&mut self.rng)),
                2 => format!("LPOS {key} {value} RANK {} COUNT 0", 1 + self.rng.below(2)),
                3 => format!("LPOS {key} {value}"),
                _ => format!("LLEN {key}"),
            },
            "set" => match self.rng.below(7) {
                0 => format!("SISMEMBER {key} {member}"),
                1 => format!("SMISMEMBER {key} {member} 1 2 3"),
                2 => format!("SINTERCARD 2 {key} {other} LIMIT {}", self.rng.below(4)),
                3 => format!("{} {key} {other}", self.rng.pick(&["SINTER", "SUNION", "SDIFF"])),
                4 => format!("SCARD {key}"),
                _ => format!("SMEMBERS {key}"),
            },
            "hash" => match self.rng.below(7) {
                0 => format!("HGET {key} {member}"),
                1 => format!("HMGET {key} {member} 1 2 3"),
                2 => format!("{} {key}", self.rng.pick(&["HKEYS", "HVALS", "HLEN", "HGETALL"])),
                3 => format!("HEXISTS {key} {member}"),
                4 => format!("HSTRLEN {key} {member}"),
                _ => format!("HGETALL {key}"),
            },
            "stream" => {
                let (from, to) = (self.id(), self.id());
                match self.rng.below(8) {
                    0 => format!("XRANGE {key} {from} {to}"),
                    1 => format!("XREVRANGE {key} {to} {from} COUNT 3"),
                    2 => format!("XRANGE {key} ({from} + COUNT 2"),
                    3 => format!("XREAD COUNT 4 STREAMS {key} {other} {from} 0"),
                    4 => format!("XPENDING {key} g1"),
                    5 => format!("XLEN {key}"),
                    _ => format!("XRANGE {key} - +"),
                }
            }
            _ => match self.rng.below(12) {
                0 => format!("ZRANGE {key} {} {}", index(&mut self.rng), index(&mut self.rng)),
                1 => format!("ZRANGE {key} {low} ({high} BYSCORE WITHSCORES LIMIT 1 3"),
                2 => format!("ZREVRANGEBYSCORE {key} {low} {high} WITHSCORES"),
                3 => format!("ZRANGEBYLEX lex:{} [1 (m3", self.rng.below(2)),
                4 => format!("{} {key} {member}", self.rng.pick(&["ZRANK", "ZREVRANK", "ZSCORE"])),
                5 => format!("ZCOUNT {key} ({low} {high}"),
                6 => format!("ZLEXCOUNT lex:{} (1 +", self.rng.below(2)),
                7 => format!("ZMSCORE {key} {member} m1 m2"),
                8 => format!("{} 2 {key} {other} WITHSCORES", self.rng.pick(&["ZUNION", "ZINTER", "ZDIFF"])),
                9 => format!("ZUNION 2 {key} {other} WEIGHTS 2 -1 AGGREGATE MAX WITHSCORES"),
                10 => format!("ZINTERCARD 2 {key} {other}"),
                _ => format!("ZRANGE {key} 0 -1 REV WITHSCORES"),
            },
        };
        if self.rng.once_in(6) {
            let about = ["TYPE", "EXISTS", "OBJECT ENCODING", "PTTL", "TTL", "PEXPIRETIME"];
            return match self.rng.pick(&about) {
                name if self.rng.once_in(4) => words(if name == "TYPE" { "DBSIZE" } else { "KEYS *" }),
                name => words(&format!("{name} {key}")),
            };
        }
        words(&line)
    }

    fn db(&mut self) -> String {
        DATABASES[self.rng.below(DATABASES.len() as u64) as usize].to_string()
    }

    fn database(&mut self) -> Command {
        match self.rng.below(8) {
            0..6 => owned(vec!["SELECT".into(), self.db()]),
            6 => owned(vec!["SWAPDB".into(), self.db(), self.db()]),
            _ => words(if self.rng.once_in(3) { "FLUSHALL" } else { "FLUSHDB" }),
        }
    }
}

fn owned(words: Vec<String>) -> Command {
    words.into_iter().map(String::into_bytes).collect()
}

/// A command from a line of words.
pub fn words(line: &str) -> Command {
    line.split_whitespace().map(|word| word.as_bytes().to_vec()).collect()
}

/// A command as a line, for messages.
pub fn shown(command: &Command) -> String {
    command.iter().map(|word| word.escape_ascii().to_string()).collect::<Vec<_>>().join(" ")
}
