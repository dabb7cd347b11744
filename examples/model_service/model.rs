//! The model: a C library opened at run time, as the framework of the real services does it.

use std::ffi::{CStr, CString, c_char, c_double, c_int};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use libloading::{Library, Symbol};

type Load = unsafe extern "C" fn(*const c_char) -> c_int;
type Release = unsafe extern "C" fn() -> *const c_char;
type Score = unsafe extern "C" fn(c_double) -> c_double;

/// An opened library with its data loaded.
pub struct Model {
    release: String,
    score: Score,
    /// Keeps the code of `score` in memory.
    _library: Library,
}

impl Model {
    /// Opens a library and lets it load its data.
    #[allow(unsafe_code)]
    pub fn load(library: &Path, data: &Path) -> Result<Model, String> {
        let shown = library.display();
        let failed = |error: libloading::Error| format!("{shown}: {error}");
        let directory = CString::new(data.as_os_str().as_bytes()).map_err(|e| format!("{shown}: {e}"))?;
        // SAFETY: the library is the demo's own model.c, whose three functions have these signatures; model_release
        // returns a constant string, and the library stays open as long as `score` can be called.
        unsafe {
            let library = Library::new(library).map_err(failed)?;
            let load: Symbol<Load> = library.get(b"model_load\0").map_err(failed)?;
            let release: Symbol<Release> = library.get(b"model_release\0").map_err(failed)?;
            let score: Symbol<Score> = library.get(b"model_score\0").map_err(failed)?;
            if load(directory.as_ptr()) != 0 {
                return Err(format!("{shown} cannot load its data from {}", data.display()));
            }
            let release = CStr::from_ptr(release()).to_string_lossy().into_owned();
            let score = *score;
            Ok(Model { release, score, _library: library })
        }
    }

    /// What the code itself says which release it is.
    pub fn release(&self) -> &str {
        &self.release
    }

    /// What the code makes of a number, by its own constant and its data.
    #[allow(unsafe_code)]
    pub fn score(&self, x: f64) -> f64 {
        // SAFETY: see `load`; the function only reads what model_load has written before.
        unsafe { (self.score)(x) }
    }
}
