//! Parts of the data set that plugins keep beside the keys: saved in the turn of a cut, replaced in the turn of a commit. A
//! plugin that is stopped leaves its part here: it is data, and the next file or replica must have it. So is a part of which no
//! plugin is there at all: it stays as it was loaded.

use super::Core;
use super::frame::inside;
use super::plugin::Plugin;
use keystead_abi::glue::OwnedBuf;
use keystead_abi::{self as abi, Buf, Str};
use parking_lot::Mutex;
use std::ffi::c_void;

/// Where Redis has its functions: the one kind of record beside the keys that readers of RDB files know, ours too. A file
/// with another could never be loaded.
pub(super) const OPCODE: u32 = 245;

type Save = unsafe extern "C" fn(*mut c_void, *mut Buf) -> u32;
type Load = unsafe extern "C" fn(*mut c_void, Str, *mut Buf) -> u32;

/// A plugin's part.
pub(super) struct Section {
    pub(super) plugin: &'static Plugin,
    /// What its records begin with in an RDB file.
    pub(super) opcode: u32,
    pub(super) data: *mut c_void,
    pub(super) save: Save,
    pub(super) load: Load,
    /// What its plugin left when it was stopped, or why that isn't known.
    pub(super) left: Mutex<Option<Result<Vec<u8>, String>>>,
}

// SAFETY: a plugin's functions may be called from any thread, with the data they were registered with.
unsafe impl Send for Section {}
// SAFETY: as above.
unsafe impl Sync for Section {}

impl Section {
    /// Its records. Without them the data set isn't whole.
    fn save(&self) -> Result<Vec<u8>, String> {
        if let Some(left) = &*self.left.lock() {
            return left.clone();
        }
        let mut out = Buf::EMPTY;
        // SAFETY: data and function belong together; the buffer is ours to own.
        inside(|| unsafe {
            let status = (self.save)(self.data, &mut out);
            let records = OwnedBuf::new(out);
            match status {
                abi::OK => Ok(records.as_ref().to_vec()),
                _ => Err(format!("the plugin {} doesn't give what it keeps beside the keys", self.plugin.name)),
            }
        })
    }

    /// Its plugin is stopped, and isn't asked any more.
    fn keep(&self) {
        // One that was never made has nothing that could be asked for.
        let last = if self.plugin.is_made() { self.save() } else { Ok(Vec::new()) };
        self.left.lock().get_or_insert(last);
    }

    fn load(&self, records: &[u8]) -> Result<(), String> {
        if let Some(left) = &mut *self.left.lock() {
            *left = Ok(records.to_vec());
            return Ok(());
        }
        let mut error = Buf::EMPTY;
        // SAFETY: as above; the records live for the call.
        let (status, reason) = inside(|| unsafe {
            let status = (self.load)(self.data, Str::new(records), &mut error);
            (status, OwnedBuf::new(error).text())
        });
        if status == abi::OK { Ok(()) } else { Err(format!("plugin {}: {reason}", self.plugin.name)) }
    }
}

impl Core {
    /// A plugin's part joins.
    pub(super) fn add_section(&self, section: Section) -> Result<(), String> {
        let mut sections = self.sections.write();
        if let Some(other) = sections.iter().find(|other| other.opcode == section.opcode) {
            return Err(format!("records of opcode {} are the plugin {}'s", section.opcode, other.plugin.name));
        }
        sections.push(section);
        Ok(())
    }

    /// Whether records of an opcode are kept.
    pub(super) fn has_section(&self, opcode: u32) -> bool {
        self.sections.read().iter().any(|section| section.opcode == opcode)
    }

    /// All records, as of this turn.
    pub(super) fn save_sections(&self) -> Result<Vec<u8>, String> {
        let sections = self.sections.read();
        let all: Result<Vec<_>, _> = sections.iter().map(Section::save).collect();
        let mut records = all?.concat();
        records.extend_from_slice(&self.unclaimed.lock());
        Ok(records)
    }

    /// A plugin is stopped: its part stays, as of this turn.
    pub(super) fn keep_sections(&self, plugin: &Plugin) {
        self.sections.read().iter().filter(|section| section.plugin.slot == plugin.slot).for_each(Section::keep);
    }

    /// What was loaded takes the place of what is there, in this turn. Parts that the file doesn't have are emptied.
    pub(super) fn load_sections(&self, records: &[(u32, Vec<u8>)]) -> Result<(), String> {
        for section in self.sections.read().iter() {
            let own = records.iter().filter(|(opcode, _)| *opcode == section.opcode);
            section.load(&own.flat_map(|(_, bytes)| bytes.iter().copied()).collect::<Vec<u8>>())?;
        }
        let unclaimed = records.iter().filter(|(opcode, _)| *opcode == OPCODE && !self.has_section(OPCODE));
        *self.unclaimed.lock() = unclaimed.flat_map(|(_, bytes)| bytes.iter().copied()).collect();
        Ok(())
    }
}
