//! `success`: removed when its push has come to its end, put back when it is another one's.

use std::path::PathBuf;

use crate::error::Result;
use crate::identity::Identity;
use crate::layout::Upload;
use crate::machine::files;

/// Which upload of a file this is, in one word.
pub fn word(Identity { device, inode, modified_ns, size }: Identity) -> String {
    format!("{device}-{inode}-{modified_ns}-{size}")
}

/// When the file with this identity was written, in nanoseconds since 1970; `None` where the word
/// is none.
pub fn modified_ns(word: &str) -> Option<i128> {
    word.split('-').nth(2)?.parse().ok()
}

/// Removes `success` if it still is this upload. It is taken out of the way first and looked at
/// then, so that a push that replaces it at this very instant is not lost (defect 4).
pub fn remove(identity: &str, upload: &Upload) -> Result<()> {
    let aside = upload.success_being_removed();
    if files::facts(&upload.success())?.is_none() {
        return Ok(());
    }
    files::rename(&upload.success(), &aside)?;
    settle_removal(Some(identity), upload)
}

/// Finishes the removal of a `success` that was taken out of the way, also for a run that died
/// there: the one that was to go goes, any other is put back unless a newer one has arrived.
pub fn settle_removal(goes: Option<&str>, upload: &Upload) -> Result<()> {
    let aside = upload.success_being_removed();
    let Some(facts) = files::facts(&aside)? else { return Ok(()) };
    if goes != Some(word(facts.identity).as_str()) {
        files::link_unless_exists(&aside, &upload.success())?;
    }
    files::remove_if_exists(&aside)
}

/// The file that [`settle_removal`] would put back, if a run died between the two steps of a
/// removal: then what a tick finds is another thing than what is there.
pub fn to_be_put_back(goes: Option<&str>, upload: &Upload) -> Result<Option<PathBuf>> {
    let aside = upload.success_being_removed();
    let would_come_back =
        files::facts(&aside)?.is_some_and(|facts| goes != Some(word(facts.identity).as_str()));
    let is_alone = would_come_back && files::facts(&upload.success())?.is_none();
    Ok(is_alone.then_some(aside))
}
