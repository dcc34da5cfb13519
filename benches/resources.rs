//! Resource arithmetic on two shapes: an agent's four items, and the same with its ports in 16 ranges.
//!
//! `cargo bench --bench resources`. The master does a handful of these per offer and per task; the parse and the message
//! forms are paid at the edge.

use std::hint::black_box;

use criterion::{Criterion, criterion_group, criterion_main};
use divvy::proto::v1;
use divvy::types::Resources;

/// A name, what an agent has, and what is taken of it.
fn shapes() -> [(&'static str, String, String); 2] {
    let fragments = |range: fn(u32) -> String| (0..16).map(range).collect::<Vec<_>>().join(",");
    let many = fragments(|at| format!("{}-{}", 31_000 + 20 * at, 31_009 + 20 * at));
    let few = fragments(|at| format!("{}-{}", 31_002 + 20 * at, 31_005 + 20 * at));
    [
        (
            "one port range",
            "cpus:24;mem:4096;disk:4096;ports:[31000-32000]".to_owned(),
            "cpus:0.5;mem:128;disk:32;ports:[31000-31001]".to_owned(),
        ),
        (
            "16 port ranges",
            format!("cpus:24;mem:4096;disk:4096;ports:[{many}]"),
            format!("cpus:16;mem:2014;disk:1024;ports:[{few}]"),
        ),
    ]
}

fn arithmetic(criterion: &mut Criterion) {
    for (shape, whole, part) in shapes() {
        let mut group = criterion.benchmark_group(format!("resources/{shape}"));
        let (all, some): (Resources, Resources) = (whole.parse().expect("valid"), part.parse().expect("valid"));
        let rest = all.checked_sub(&some).expect("it is a part");
        group.bench_function("clone", |bench| bench.iter(|| black_box(&all).clone()));
        group.bench_function("add", |bench| bench.iter(|| black_box(&rest).clone() + black_box(&some)));
        group.bench_function("subtract", |bench| bench.iter(|| black_box(&all).clone() - black_box(&some)));
        group.bench_function("contains", |bench| bench.iter(|| black_box(&all).contains(black_box(&some))));
        group.bench_function("quantities", |bench| bench.iter(|| black_box(&all).quantities()));
        group.bench_function("parse", |bench| bench.iter(|| black_box(&whole).parse::<Resources>()));
        group.bench_function("to proto", |bench| bench.iter(|| black_box(&all).to_proto()));
        let list: Vec<v1::Resource> = all.to_proto();
        group.bench_function("from proto", |bench| bench.iter(|| Resources::from_proto(black_box(&list))));
        group.finish();
    }
}

fn short() -> Criterion {
    use std::time::Duration;
    Criterion::default().warm_up_time(Duration::from_millis(300)).measurement_time(Duration::from_millis(700))
}

criterion_group! {
    name = benches;
    config = short();
    targets = arithmetic
}
criterion_main!(benches);
