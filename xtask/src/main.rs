//! `cargo xtask`: chores of this repository.

use anyhow::bail;

fn main() -> anyhow::Result<()> {
    match std::env::args().nth(1).as_deref() {
        Some("generate") => xtask::generate(&xtask::root().join("src/proto")),
        other => bail!("unknown chore {other:?}: try `cargo xtask generate`, which writes src/proto from proto/"),
    }
}
