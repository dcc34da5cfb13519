//! What a process has used so far: processor time by thread name.

use std::{collections::BTreeMap, fs, time::Duration};

use crate::Outcome;

/// Processor time of every thread, summed by name.
#[derive(Clone, Debug, Default)]
pub(crate) struct Cpu(BTreeMap<String, Duration>);

impl Cpu {
    /// What the threads of a process have used since they began.
    pub(crate) fn of(pid: u32) -> Outcome<Self> {
        let mut used = BTreeMap::new();
        for thread in fs::read_dir(format!("/proc/{pid}/task"))? {
            let thread = thread?.path();
            let name = fs::read_to_string(thread.join("comm"))?.trim().to_owned();
            let stat = fs::read_to_string(thread.join("schedstat"))?;
            let ns = stat.split_whitespace().next().unwrap_or_default().parse().unwrap_or(0);
            *used.entry(name).or_default() += Duration::from_nanos(ns);
        }
        Ok(Self(used))
    }

    /// What was used since `earlier`.
    pub(crate) fn since(&self, earlier: &Self) -> Self {
        let spent = |(name, used): (&String, &Duration)| {
            let before = earlier.0.get(name).copied().unwrap_or_default();
            (name.clone(), used.saturating_sub(before))
        };
        Self(self.0.iter().map(spent).collect())
    }

    pub(crate) fn total(&self) -> Duration {
        self.0.values().sum()
    }

    /// Every name with its part per task, in microseconds.
    pub(crate) fn per(&self, tasks: usize) -> String {
        let noted = self.0.iter().map(|(name, used)| (name, micros_per(*used, tasks))).filter(|(_, us)| *us >= 0.05);
        noted.map(|(name, us)| format!("{name} {us:.1}")).collect::<Vec<_>>().join(", ")
    }
}

/// A duration shared out, in microseconds.
#[expect(clippy::cast_precision_loss, reason = "figures for reading")]
pub(crate) fn micros_per(time: Duration, count: usize) -> f64 {
    time.as_secs_f64() * 1e6 / count.max(1) as f64
}
