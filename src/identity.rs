//! What tells one upload of a file from the next.

/// What identifies one upload of a file: rsync replaces a file by a new one, so a second upload differs even if the
/// bytes are the same. The change time is left out, because a rename moves it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Identity {
    /// Device number.
    pub device: u64,
    /// Inode number.
    pub inode: u64,
    /// Modification time, nanoseconds since 1970.
    pub modified_ns: i128,
    /// Size in bytes.
    pub size: u64,
}
