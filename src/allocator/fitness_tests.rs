//! The scores of the fitness functions, and the agents that they prefer.

use super::*;
use crate::allocator::TaskRequest;
use crate::types::Milli;

/// The score of one instance of (cpus, mem) on an agent of 4,000 and 8,192 that has so much left.
fn score(fitness: &dyn Fitness, left: (f64, f64), asked: (f64, f64)) -> f64 {
    let request = TaskRequest::command("t", "true").cpus(asked.0).mem_mib(asked.1);
    let names = Names::of([&request]);
    let amounts = |(cpus, mem): (f64, f64)| [cpus, mem].map(|amount| Milli::amount(amount).expect("an amount"));
    let want = Want::new(&request.demand, &names);
    let host = Host { agent_id: crate::proto::v1::AgentId::default(), hostname: "h".to_owned() };
    let (total, left) = (amounts((4000.0, 8192.0)), amounts(left));
    let place = Prospect { names: &names, host: &host, total: &total, left: &left, want: &want, instances: 0 };
    fitness.score(&place)
}

fn on_empty(fitness: &dyn Fitness, asked: (f64, f64)) -> f64 {
    score(fitness, (4000.0, 8192.0), asked)
}

fn assert_near(score: f64, expected: f64) {
    assert!((score - expected).abs() < 1e-4, "{score} is not {expected}");
}

#[test]
fn bin_packing_scores_as_nomad_does() {
    assert_near(on_empty(&BinPack, (2000.0, 4096.0)), 0.7598);
    assert_near(on_empty(&BinPack, (1000.0, 2048.0)), 0.4863);
    assert_near(on_empty(&BinPack, (4000.0, 8192.0)), 1.0);
    assert_near(on_empty(&BinPack, (0.0, 0.0)), 0.0);
    assert_near(score(&BinPack, (2000.0, 4096.0), (1000.0, 2048.0)), (20.0 - 2.0 * 10_f64.powf(0.25)) / 18.0);
}

#[test]
fn worst_fit_is_the_opposite_of_bin_packing() {
    for asked in [(2000.0, 4096.0), (1000.0, 2048.0), (4000.0, 8192.0), (0.0, 0.0), (1.0, 8000.0)] {
        assert_near(on_empty(&WorstFit, asked) + on_empty(&BinPack, asked), 1.0);
    }
}

#[test]
fn the_dominant_share_is_that_of_the_fullest_resource() {
    assert_near(on_empty(&DominantShare, (1000.0, 4096.0)), 0.5);
    assert_near(score(&DominantShare, (2000.0, 8192.0), (1000.0, 4096.0)), 0.75);
}

#[test]
fn a_weighted_mean_bounds_its_parts() {
    let mixed = Weighted::new().with(3.0, BinPack).with(1.0, |_: &Prospect<'_>| 7.0).with(f64::NAN, WorstFit);
    assert_near(on_empty(&mixed, (2000.0, 4096.0)), (3.0 * 0.7598 + 1.0) / 4.0);
    assert_near(on_empty(&Weighted::new(), (1.0, 1.0)), 0.0);
}

#[test]
fn a_scorer_that_does_not_apply_does_not_count_in_the_mean() {
    let score = Score { fitness: 0.8, own_instances: None, constraints: None };
    assert_near(score.total(), 0.8);
    assert_near(Score { own_instances: Some(-2.0 / 3.0), ..score }.total(), (0.8 - 2.0 / 3.0) / 2.0);
    assert_near(Score { constraints: Some(0.4), ..score }.total(), 0.6);
}

#[test]
fn a_prospect_has_the_amounts_and_what_stays_free() {
    let look = |place: &Prospect<'_>| {
        assert_eq!(place.asked("cpus"), Milli::from_units(1000));
        assert_eq!((place.total("mem"), place.total("gpus")), (Milli::from_units(8192), Milli::ZERO));
        assert_eq!((place.free("cpus"), place.free("gpus")), (Some(0.75), None));
        assert_eq!((place.host().hostname.as_str(), place.instances()), ("h", 0));
        1.0
    };
    assert_near(on_empty(&look, (1000.0, 0.0)), 1.0);
}
