//! What several tools do alike with a model on the monitor: the files of the site, behind the trait
//! that the rollout works on.

pub mod ask;
pub mod bad;
pub mod fleet;
pub mod members;
pub mod places;
pub mod publish;
pub mod sight;
pub mod site;
pub mod success;
