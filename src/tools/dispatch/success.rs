//! `success`: removed when its upgrade has ended, put back when it is another one's.

use crate::error::{Error, Result};
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

/// Fails where a run died between the two steps of a removal, so that what a tick finds is another thing than what is there.
pub fn check_settled(dispatched: Option<Identity>, site: &Site) -> Result<()> {
    let aside = site.upload.success_being_removed();
    let would_come_back = files::facts(&aside)?.is_some_and(|facts| dispatched != Some(facts.identity));
    if !would_come_back || files::facts(&site.upload.success())?.is_some() {
        return Ok(());
    }
    let (model, aside) = (site.model, aside.display());
    Err(Error::failed(format!(
        "{model}: a run died over {aside}, which the next tick makes success again; look once more after that"
    )))
}

/// Puts back a `success` that a script's check has removed, unless another one is there.
pub fn restore(content: &[u8], site: &Site) -> Result<()> {
    files::create_exclusively(&site.upload.success(), content).map(drop)
}
