//! Nanoseconds and allocations per evaluation, by divan.

use divan::{AllocProfiler, Bencher, black_box};
use trigon_bench_filters::{Dialect, TYPICAL, Typical, event, index, scan, triggers};

#[global_allocator]
static ALLOCATOR: AllocProfiler = AllocProfiler::system();

/// How many Triggers there are.
const TRIGGERS: [usize; 3] = [10, 1_000, 100_000];

/// Evaluations in a sample, so that the clock's 20 ns are nothing.
const EVALUATIONS: u32 = 1_000;
/// Scans in a sample; the longest take a tenth of a second.
const SCANS: u32 = 10;

fn main() {
    divan::main();
}

#[divan::bench(args = TYPICAL, sample_size = EVALUATIONS)]
fn evaluate(bencher: Bencher<'_, '_>, typical: &Typical) {
    let (filter, event) = ((typical.filter)(), event());
    bencher.bench_local(|| black_box(&filter).matches(black_box(&event)));
}

#[divan::bench_group]
mod by_index {
    use super::*;

    #[divan::bench(args = TRIGGERS, consts = [0, 1, 10], sample_size = EVALUATIONS)]
    fn exact<const MATCHING: usize>(bencher: Bencher<'_, '_>, count: usize) {
        indexed(bencher, count, MATCHING, Dialect::Exact);
    }

    #[divan::bench(args = TRIGGERS, consts = [0, 1, 10], sample_size = EVALUATIONS)]
    fn cesql_equality<const MATCHING: usize>(bencher: Bencher<'_, '_>, count: usize) {
        indexed(bencher, count, MATCHING, Dialect::Equality);
    }

    #[divan::bench(args = TRIGGERS, consts = [0, 1, 10], sample_size = EVALUATIONS)]
    fn cesql_required_equality<const MATCHING: usize>(bencher: Bencher<'_, '_>, count: usize) {
        indexed(bencher, count, MATCHING, Dialect::Required);
    }
}

#[divan::bench_group]
mod by_scan {
    use super::*;

    #[divan::bench(args = TRIGGERS, consts = [0, 1, 10], sample_size = SCANS, sample_count = 20)]
    fn exact<const MATCHING: usize>(bencher: Bencher<'_, '_>, count: usize) {
        scanned(bencher, count, MATCHING, Dialect::Exact);
    }

    #[divan::bench(args = TRIGGERS, consts = [0, 1, 10], sample_size = SCANS, sample_count = 20)]
    fn cesql_required_equality<const MATCHING: usize>(bencher: Bencher<'_, '_>, count: usize) {
        scanned(bencher, count, MATCHING, Dialect::Required);
    }
}

fn indexed(bencher: Bencher<'_, '_>, count: usize, matching: usize, dialect: Dialect) {
    let (index, event) = (index(&triggers(count, matching, dialect)), event());
    let mut found = Vec::with_capacity(matching);
    bencher.bench_local(|| {
        found.clear();
        black_box(&index).matches(black_box(&event), &mut found);
        assert_eq!(found.len(), matching);
    });
}

fn scanned(bencher: Bencher<'_, '_>, count: usize, matching: usize, dialect: Dialect) {
    let (filters, event) = (triggers(count, matching, dialect), event());
    let mut found = Vec::with_capacity(matching);
    bencher.bench_local(|| {
        found.clear();
        scan(black_box(&filters), black_box(&event), &mut found);
        assert_eq!(found.len(), matching);
    });
}
