//! The corpus that fuzzing left (fuzz/corpus, one directory for each law), shown to the same laws again.

use std::fs;
use std::path::PathBuf;

use crate::harness::parts::{need, project};

#[path = "../fuzz/laws/mod.rs"]
mod laws;

fn corpus_of(law: &str) -> Vec<(PathBuf, Vec<u8>)> {
    let dir = project().join("fuzz/corpus").join(law);
    let entries = fs::read_dir(&dir).unwrap_or_else(|e| panic!("{}: {e}", dir.display()));
    let mut paths: Vec<PathBuf> = entries.map(|entry| entry.unwrap().path()).collect();
    paths.sort();
    let read = |path: PathBuf| (path.clone(), fs::read(&path).unwrap());
    paths.into_iter().map(read).collect()
}

#[test]
fn every_law_holds_for_the_kept_corpus() {
    need!("dash", "sed");
    for (name, law) in laws::ALL {
        let texts = corpus_of(name);
        assert!(texts.len() > 5, "the corpus of {name}");
        for (path, text) in &texts {
            // A law that is broken panics; the path is part of what it says.
            println!("{}", path.display());
            law(text);
        }
        println!("{name}: {} texts", texts.len());
    }
}

#[test]
fn the_kept_corpus_is_small() {
    let all = laws::ALL.into_iter().flat_map(|(name, _)| corpus_of(name));
    let (mut count, mut size) = (0, 0);
    for (_, text) in all {
        count += 1;
        size += text.len();
    }
    println!("{count} texts, {size} bytes");
    assert!(count < 500 && size < 1 << 20, "{count} texts, {size} bytes");
}

#[test]
fn every_law_has_a_fuzz_target_and_the_makefile_runs_it() {
    let manifest = include_str!("../fuzz/Cargo.toml");
    let makefile = include_str!("../Makefile");
    for (name, _) in laws::ALL {
        assert!(manifest.contains(&format!("name = \"{name}\"")), "{name}");
        let target = fs::read_to_string(project().join(format!("fuzz/targets/{name}.rs"))).unwrap();
        assert!(target.contains(&format!("laws::{name}(data)")), "{name}");
        assert!(makefile.split_ascii_whitespace().any(|word| word == name), "{name} is not in FUZZ_TARGETS");
    }
}
