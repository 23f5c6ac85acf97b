//! The names of what happens to keys, as subscribers of keyspace events know them. Owns the words and their classes; who
//! is told, and whether anybody is, the engine decides.

/// What kind of event it is: one bit, as `notify-keyspace-events` chooses among them.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u16)]
pub enum Class {
    /// `g`: commands that don't care for the type.
    Generic = 1,
    /// `$`
    String = 1 << 1,
    /// `l`
    List = 1 << 2,
    /// `s`
    Set = 1 << 3,
    /// `h`
    Hash = 1 << 4,
    /// `z`
    ZSet = 1 << 5,
    /// `x`
    Expired = 1 << 6,
    /// `e`
    Evicted = 1 << 7,
    /// `t`
    Stream = 1 << 8,
    /// `d`: types and commands of plugins.
    Module = 1 << 9,
    /// `n`
    New = 1 << 10,
    /// `m`
    Miss = 1 << 11,
}

/// One event's name.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Event {
    /// Its class.
    pub class: Class,
    /// The word that is published.
    pub name: &'static str,
}

impl Event {
    /// An event.
    pub const fn new(class: Class, name: &'static str) -> Self {
        Event { class, name }
    }

    /// A key was deleted.
    pub const DEL: Event = Event::new(Class::Generic, "del");
    /// A key got a deadline.
    pub const EXPIRE: Event = Event::new(Class::Generic, "expire");
    /// A key lost its deadline.
    pub const PERSIST: Event = Event::new(Class::Generic, "persist");
    /// A key's deadline passed and it was deleted.
    pub const EXPIRED: Event = Event::new(Class::Expired, "expired");
    /// A key was deleted to make room.
    pub const EVICTED: Event = Event::new(Class::Evicted, "evicted");
    /// A key came into being.
    pub const NEW: Event = Event::new(Class::New, "new");
    /// A reader found no key.
    pub const KEYMISS: Event = Event::new(Class::Miss, "keymiss");
    /// Fields of a hash were deleted because their deadlines passed.
    pub const HEXPIRED: Event = Event::new(Class::Hash, "hexpired");
    pub(crate) const RENAME_FROM: Event = Event::new(Class::Generic, "rename_from");
    pub(crate) const RENAME_TO: Event = Event::new(Class::Generic, "rename_to");
    pub(crate) const MOVE_FROM: Event = Event::new(Class::Generic, "move_from");
    pub(crate) const MOVE_TO: Event = Event::new(Class::Generic, "move_to");
    pub(crate) const COPY_TO: Event = Event::new(Class::Generic, "copy_to");
}
