//! One poll: whose it is, what it remembers, and what it says of itself in every report.

use crate::error::Result;
use crate::formats::announcement::Numbers;
use crate::layout::Member;
use crate::machine::files;
use crate::rollout::follow::{Memory, PATIENCE};
use crate::tools::service_polling::observe::Settings;
use crate::tools::service_polling::state::{self, State};
use crate::version::Version;

/// A poll.
#[derive(Debug)]
pub struct Session<'a> {
    /// Where everything is.
    pub member: &'a Member,
    /// The settings.
    pub settings: &'a Settings,
    /// What is remembered.
    pub state: State,
    /// The highest announcement that was seen; `None` where service.conf is followed, as a script
    /// does.
    pub seen: Option<Numbers>,
    /// Which attempt the reports are about.
    pub attempt: u32,
    /// What the report of a version that serves says besides.
    pub remark: String,
    /// The version with which the service is being brought up.
    pub brings_up: Option<Version>,
}

impl<'a> Session<'a> {
    /// Reads what is remembered. Fails (exit 2) where that is damaged.
    pub fn begin(member: &'a Member, settings: &'a Settings) -> Result<Session<'a>> {
        let path = member.state();
        let state = match files::read_if_exists(&path, state::LIMIT)? {
            Some(source) => State::parse(&path, &source)?,
            None => State::default(),
        };
        let seen = state.memory.seen;
        Ok(Session { member, settings, state, seen, attempt: 0, remark: String::new(), brings_up: None })
    }

    /// Remembers everything, by one rename.
    pub fn save(&self) -> Result<()> {
        files::replace_with_mode(&self.member.state(), &self.state.render(), 0o600)
    }

    /// The same for what may be lost.
    pub fn try_to_save(&self) {
        if let Err(error) = self.save() {
            log::debug!("{error}");
        }
    }

    /// Remembers what was seen of the monitor. A poll that saw nothing new writes nothing, also
    /// when nothing has been announced for a year: it is enough to know that it was often.
    pub fn remember(&mut self, memory: Memory) -> Result<()> {
        let memory = Memory { misfits: memory.misfits.min(PATIENCE + 1), ..memory };
        if memory == self.state.memory {
            return Ok(());
        }
        self.state.memory = memory;
        self.save()
    }
}
