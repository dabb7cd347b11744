//! `success`: removed when its upgrade has ended, put back when it is another one's.

use std::path::PathBuf;

use crate::error::Result;
use crate::identity::Identity;
use crate::machine::files;
use crate::tools::dispatch::observe::Site;

/// Removes `success` if it still is the upload that was dispatched. It is taken out of the way first and looked at then,
/// so that a push that replaces it at this very instant is not lost (defect 4).
pub fn remove(dispatched: Identity, site: &Site) -> Result<()> {
    let aside = site.upload.success_being_removed();
    if files::facts(&site.upload.success())?.is_none() {
        return Ok(());
    }
    files::rename(&site.upload.success(), &aside)?;
    settle_removal(Some(dispatched), site)
}

/// Finishes the removal of a `success` that was taken out of the way, also for a run that died there: the one that was
/// dispatched goes, any other is put back unless a newer one has arrived.
pub fn settle_removal(dispatched: Option<Identity>, site: &Site) -> Result<()> {
    let aside = site.upload.success_being_removed();
    let Some(facts) = files::facts(&aside)? else { return Ok(()) };
    if dispatched != Some(facts.identity) {
        files::link_unless_exists(&aside, &site.upload.success())?;
    }
    files::remove_if_exists(&aside)
}

/// The file that [`settle_removal`] would put back, if a run died between the two steps of a removal: then what a tick finds is
/// another thing than what is there.
pub fn to_be_put_back(dispatched: Option<Identity>, site: &Site) -> Result<Option<PathBuf>> {
    let aside = site.upload.success_being_removed();
    let would_come_back = files::facts(&aside)?.is_some_and(|facts| dispatched != Some(facts.identity));
    let is_alone = would_come_back && files::facts(&site.upload.success())?.is_none();
    Ok(is_alone.then_some(aside))
}

/// Puts back a `success` that a script's check has removed, unless another one is there.
pub fn restore(content: &[u8], site: &Site) -> Result<()> {
    files::create_exclusively(&site.upload.success(), content).map(drop)
}
