//! The table of settings as fields of a record: in the user's RON (some of them, beside name, host and port) and in the
//! state file (all of them). Owns how each kind of value is written there; what is valid is the table's.

use crate::settings::Settings;
use crate::table::{self, Kind, Setting, TABLE};
use serde::de::{self, Deserialize, DeserializeSeed, Deserializer, MapAccess, Visitor};
use serde::ser::{Serialize, SerializeStruct, Serializer};
use std::collections::BTreeMap;
use std::fmt;

/// The fields of a primary in RON: its own first, then the table's.
pub const NAMES: [&str; OWN + TABLE.len()] = names();
const OWN: usize = 3;

const fn names() -> [&'static str; OWN + TABLE.len()] {
    let mut names = ["name"; OWN + TABLE.len()];
    (names[1], names[2]) = ("host", "port");
    let mut n = 0;
    while n < TABLE.len() {
        names[OWN + n] = TABLE[n].field;
        n += 1;
    }
    names
}

/// A record as it was written.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Record {
    /// `name`
    pub name: Option<String>,
    /// `host`
    pub host: Option<String>,
    /// `port`
    pub port: Option<u16>,
    /// The settings that stand there, as the texts that `Setting::set` takes.
    pub given: Vec<(&'static str, Vec<String>)>,
}

impl Record {
    /// Sets what was given, in order.
    ///
    /// # Errors
    /// The first field with a value that it doesn't take.
    pub fn apply(&self, settings: &mut Settings) -> Result<(), String> {
        for (name, texts) in &self.given {
            let Some(setting) = table::field(name) else { continue };
            for text in texts {
                setting.set(settings, text).map_err(|error| format!("{name}: {error}"))?;
            }
        }
        Ok(())
    }
}

struct Name(String);

impl<'de> Deserialize<'de> for Name {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Name, D::Error> {
        struct Word;
        impl Visitor<'_> for Word {
            type Value = Name;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a field's name")
            }
            fn visit_str<E: de::Error>(self, name: &str) -> Result<Name, E> {
                Ok(Name(name.to_owned()))
            }
        }
        deserializer.deserialize_identifier(Word)
    }
}

/// Reads the value of one setting.
struct Value(&'static Setting);

impl<'de> DeserializeSeed<'de> for Value {
    type Value = Vec<String>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Vec<String>, D::Error> {
        Ok(match self.0.kind {
            Kind::Count(_) | Kind::Ms(_) | Kind::Period(_) => vec![u64::deserialize(deserializer)?.to_string()],
            Kind::YesNo(_) => vec![if bool::deserialize(deserializer)? { "yes" } else { "no" }.to_owned()],
            Kind::Text(_) | Kind::Secret(_) | Kind::Script(..) | Kind::Strategy(_) => {
                Option::<String>::deserialize(deserializer)?.into_iter().collect()
            }
            Kind::Renames(_) => {
                let pairs = BTreeMap::<String, String>::deserialize(deserializer)?;
                pairs.into_iter().map(|(old, new)| format!("{old} {new}")).collect()
            }
        })
    }
}

impl<'de> Deserialize<'de> for Record {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Record, D::Error> {
        struct Fields;
        impl<'de> Visitor<'de> for Fields {
            type Value = Record;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("the settings of a primary")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Record, A::Error> {
                let mut record = Record::default();
                while let Some(Name(name)) = map.next_key()? {
                    let twice = || Err(de::Error::custom(format!("duplicate field `{name}`")));
                    match (name.as_str(), table::field(&name)) {
                        ("name", _) if record.name.replace(map.next_value()?).is_some() => return twice(),
                        ("host", _) if record.host.replace(map.next_value()?).is_some() => return twice(),
                        ("port", _) if record.port.replace(map.next_value()?).is_some() => return twice(),
                        ("name" | "host" | "port", _) => {}
                        (_, Some(setting)) => {
                            if record.given.iter().any(|(known, _)| *known == setting.field) {
                                return twice();
                            }
                            record.given.push((setting.field, map.next_value_seed(Value(setting))?));
                        }
                        _ => return Err(de::Error::unknown_field(&name, &NAMES)),
                    }
                }
                Ok(record)
            }
        }
        deserializer.deserialize_struct("Record", &NAMES, Fields)
    }
}

/// Writes all settings as fields.
pub(crate) fn write_fields<S: SerializeStruct>(settings: &Settings, out: &mut S) -> Result<(), S::Error> {
    for setting in TABLE {
        let texts = setting.texts(settings);
        let first = texts.first();
        match setting.kind {
            Kind::Count(_) | Kind::Ms(_) | Kind::Period(_) => {
                let number: u64 = first.and_then(|text| text.parse().ok()).unwrap_or(0);
                out.serialize_field(setting.field, &number)?;
            }
            Kind::YesNo(_) => out.serialize_field(setting.field, &first.is_some_and(|text| text == "yes"))?,
            Kind::Text(_) | Kind::Secret(_) | Kind::Script(..) | Kind::Strategy(_) => {
                out.serialize_field(setting.field, &first)?;
            }
            Kind::Renames(_) => {
                let pairs: BTreeMap<&str, &str> = texts.iter().filter_map(|text| text.split_once(' ')).collect();
                out.serialize_field(setting.field, &pairs)?;
            }
        }
    }
    Ok(())
}

impl Serialize for Settings {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut out = serializer.serialize_struct("Settings", TABLE.len())?;
        write_fields(self, &mut out)?;
        out.end()
    }
}

impl<'de> Deserialize<'de> for Settings {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Settings, D::Error> {
        let record = Record::deserialize(deserializer)?;
        let mut settings = Settings::new(1);
        record.apply(&mut settings).map_err(de::Error::custom)?;
        Ok(settings)
    }
}
