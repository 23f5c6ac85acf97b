//! The collections an entry can hold, as one type. Owns nothing but the dispatch; the types themselves do the work.

use crate::{Hash, List, Set, Stream, ZSet};
use keystead_rdb::{EncodeOptions, Output};

/// The type of a key, as TYPE names it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum KeyType {
    /// A string or an integer.
    String,
    /// A list.
    List,
    /// A set.
    Set,
    /// A sorted set.
    ZSet,
    /// A hash.
    Hash,
    /// A stream.
    Stream,
}

impl KeyType {
    /// The word TYPE answers.
    pub fn name(self) -> &'static str {
        match self {
            KeyType::String => "string",
            KeyType::List => "list",
            KeyType::Set => "set",
            KeyType::ZSet => "zset",
            KeyType::Hash => "hash",
            KeyType::Stream => "stream",
        }
    }
}

/// A collection of any type.
#[derive(Clone)]
pub enum Object {
    /// A list.
    List(List),
    /// A set.
    Set(Set),
    /// A sorted set.
    ZSet(ZSet),
    /// A hash.
    Hash(Hash),
    /// A stream; boxed, for the others are much smaller.
    Stream(Box<Stream>),
}

macro_rules! each {
    ($self:expr, $name:ident => $body:expr) => {
        match $self {
            Object::List($name) => $body,
            Object::Set($name) => $body,
            Object::ZSet($name) => $body,
            Object::Hash($name) => $body,
            Object::Stream($name) => $body,
        }
    };
}

impl Object {
    /// The type as TYPE names it.
    pub fn key_type(&self) -> KeyType {
        match self {
            Object::List(_) => KeyType::List,
            Object::Set(_) => KeyType::Set,
            Object::ZSet(_) => KeyType::ZSet,
            Object::Hash(_) => KeyType::Hash,
            Object::Stream(_) => KeyType::Stream,
        }
    }

    /// How many elements it has.
    pub fn len(&self) -> usize {
        each!(self, it => it.len())
    }

    /// True when it has no elements and so is no key any more; a stream is one without entries too.
    pub fn is_empty(&self) -> bool {
        self.len() == 0 && self.key_type() != KeyType::Stream
    }

    /// Bytes it owns on the heap.
    pub fn mem_bytes(&self) -> usize {
        each!(self, it => it.mem_bytes())
    }

    /// Where its elements lie, or the root of what holds them, for prefetching; none for what is rarely small.
    #[inline]
    pub(crate) fn inside(&self) -> Option<*const u8> {
        match self {
            Object::List(list) => Some(list.inside()),
            Object::Hash(hash) => hash.inside(),
            Object::ZSet(zset) => Some(zset.inside()),
            Object::Set(set) => set.inside(),
            Object::Stream(stream) => Some((&raw const **stream).cast()),
        }
    }

    /// The way from there to where elements are added, for prefetching: of a long list what is in front of the first and
    /// behind the last, of a stream step by step its last block. Each step reads what the one before asked for.
    #[inline]
    pub(crate) fn way_to_ends(&self, step: usize) -> Option<[*const u8; 2]> {
        match self {
            Object::List(list) if step == 0 => list.ends(),
            Object::Stream(stream) => stream.way_to_end(step),
            _ => None,
        }
    }

    /// The first deadline of a hash's fields.
    #[inline]
    pub fn earliest_deadline(&self) -> Option<u64> {
        if let Object::Hash(hash) = self { hash.earliest_deadline() } else { None }
    }

    /// The word OBJECT ENCODING answers.
    pub fn encoding(&self) -> &'static str {
        each!(self, it => it.encoding())
    }

    /// Appends the value's RDB bytes and answers their RDB type.
    pub fn encode_rdb(&self, out: &mut impl Output, options: EncodeOptions) -> u8 {
        each!(self, it => it.encode_rdb(out, options))
    }
}

/// A collection type: how it is found inside an [`Object`].
pub trait Collection: Sized {
    /// The type as TYPE names it.
    const TYPE: KeyType;
    /// Whether parts of it may have deadlines of their own.
    const HAS_TIMES: bool = false;
    /// An empty one, wrapped.
    fn empty() -> Object;
    /// This type inside an object.
    fn of(object: &Object) -> Option<&Self>;
    /// This type inside an object, to change it.
    fn of_mut(object: &mut Object) -> Option<&mut Self>;
    /// [`Object::mem_bytes`] where the type is known.
    fn bytes(&self) -> usize;
    /// [`Object::is_empty`] where the type is known.
    fn is_gone(&self) -> bool;
}

macro_rules! collection {
    ($($name:ident),*) => {$(
        impl Collection for $name {
            const TYPE: KeyType = KeyType::$name;
            const HAS_TIMES: bool = matches!(KeyType::$name, KeyType::Hash);
            fn empty() -> Object {
                Object::$name($name::new())
            }
            fn of(object: &Object) -> Option<&Self> {
                if let Object::$name(it) = object { Some(it) } else { None }
            }
            fn of_mut(object: &mut Object) -> Option<&mut Self> {
                if let Object::$name(it) = object { Some(it) } else { None }
            }
            #[inline]
            fn bytes(&self) -> usize {
                self.mem_bytes()
            }
            #[inline]
            fn is_gone(&self) -> bool {
                self.is_empty()
            }
        }
    )*};
}
collection!(List, Set, ZSet, Hash);

impl Collection for Stream {
    const TYPE: KeyType = KeyType::Stream;
    fn empty() -> Object {
        Object::Stream(Box::default())
    }
    fn of(object: &Object) -> Option<&Self> {
        if let Object::Stream(it) = object { Some(it) } else { None }
    }
    fn of_mut(object: &mut Object) -> Option<&mut Self> {
        if let Object::Stream(it) = object { Some(it) } else { None }
    }
    fn bytes(&self) -> usize {
        self.mem_bytes()
    }
    fn is_gone(&self) -> bool {
        false
    }
}
