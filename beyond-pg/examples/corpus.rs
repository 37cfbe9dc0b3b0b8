//! Writes the seeds of every fuzz target to `fuzz/corpus/<target>/`, where cargo-fuzz begins.

use std::fs;
use std::io;
use std::path::Path;

use beyond_pg::fuzz;

fn main() -> io::Result<()> {
    let corpus = Path::new(env!("CARGO_MANIFEST_DIR")).join("../fuzz/corpus");
    let seeds = fuzz::seeds();
    for seed in &seeds {
        let folder = corpus.join(&seed.target);
        fs::create_dir_all(&folder)?;
        let file = folder.join(&seed.name);
        #[expect(clippy::disallowed_methods, reason = "a torn corpus is written anew")]
        fs::write(&file, &seed.input)?;
    }
    println!("{} seeds in fuzz/corpus", seeds.len());
    Ok(())
}
