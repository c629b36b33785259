//! The figures of all runs: a table for people, JSON for programs, and ratios between two builds.

use std::fmt;
use std::path::Path;

use serde_json::{Value, json};

use crate::Scenario;
use crate::figures::{Figure, Figures};

/// A build that was measured.
#[derive(Clone, Debug)]
pub(crate) struct Build {
    path: String,
}

/// All runs of all builds.
#[derive(Clone, Debug)]
pub(crate) struct Report {
    builds: Vec<Build>,
    runs: Vec<Run>,
}

#[derive(Clone, Debug)]
struct Run {
    build: usize,
    scenario: Scenario,
    figures: Figures,
}

/// Of several runs: the middle and the ends.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Spread {
    median: f64,
    least: f64,
    most: f64,
}

impl Build {
    /// The build at that path.
    pub(crate) fn new(path: &Path) -> Self {
        Self { path: path.display().to_string() }
    }
}

impl Report {
    /// Nothing was measured yet.
    pub(crate) fn new(builds: Vec<Build>) -> Self {
        Self { builds, runs: Vec::new() }
    }

    /// Takes a run of the build with that place in.
    pub(crate) fn add(&mut self, build: usize, scenario: Scenario, figures: Figures) {
        self.runs.push(Run { build, scenario, figures });
    }

    /// Every figure of every run.
    pub(crate) fn json(&self) -> Value {
        let runs = self.runs.iter().map(|run| {
            let figures = run
                .figures
                .0
                .iter()
                .map(|figure| json!({"name": figure.name, "value": figure.value, "unit": figure.unit}));
            json!({
                "build": self.builds[run.build].path,
                "scenario": format!("{:?}", run.scenario),
                "figures": figures.collect::<Vec<_>>(),
            })
        });
        json!({"runs": runs.collect::<Vec<_>>()})
    }

    fn scenarios(&self) -> Vec<Scenario> {
        let mut scenarios = Vec::new();
        for run in &self.runs {
            if !scenarios.contains(&run.scenario) {
                scenarios.push(run.scenario);
            }
        }
        scenarios
    }

    fn names(&self, scenario: Scenario) -> Vec<&Figure> {
        let first = self.runs.iter().find(|run| run.scenario == scenario);
        first.map(|run| run.figures.0.iter().collect()).unwrap_or_default()
    }

    fn spread(&self, build: usize, scenario: Scenario, name: &str) -> Option<Spread> {
        let runs = self.runs.iter().filter(|run| run.build == build && run.scenario == scenario);
        let values = runs.filter_map(|run| run.figures.0.iter().find(|figure| figure.name == name));
        Spread::of(values.map(|figure| figure.value).collect())
    }
}

impl Spread {
    fn of(mut values: Vec<f64>) -> Option<Self> {
        values.sort_by(f64::total_cmp);
        let (least, most) = (*values.first()?, *values.last()?);
        let middle = values.len() / 2;
        let median =
            if values.len() % 2 == 1 { values[middle] } else { (values[middle - 1] + values[middle]) / 2.0 };
        Some(Self { median, least, most })
    }
}

impl fmt::Display for Spread {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.least.total_cmp(&self.most).is_eq() {
            write!(f, "{}", shown(self.median))
        } else {
            write!(f, "{} [{}, {}]", shown(self.median), shown(self.least), shown(self.most))
        }
    }
}

fn shown(value: f64) -> String {
    if value.abs() >= 100.0 { format!("{value:.0}") } else { format!("{value:.2}") }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (letter, build) in ["A", "B"].iter().zip(&self.builds) {
            writeln!(f, "{letter}: {}", build.path)?;
        }
        for scenario in self.scenarios() {
            writeln!(f, "\n{scenario:?}")?;
            for figure in self.names(scenario) {
                let spreads: Vec<_> = (0..self.builds.len())
                    .filter_map(|build| self.spread(build, scenario, &figure.name))
                    .collect();
                let texts: Vec<_> =
                    spreads.iter().map(|spread| format!("{:>24}", spread.to_string())).collect();
                write!(f, "  {:44} {:9}{}", figure.name, figure.unit, texts.join(" "))?;
                if let [a, b] = spreads[..] {
                    write!(f, "   B/A {}", shown(b.median / a.median))?;
                }
                writeln!(f)?;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn report() -> Report {
        let mut report = Report::new(vec![Build::new(Path::new("a")), Build::new(Path::new("b"))]);
        for (build, value) in [(0, 10.0), (1, 30.0), (0, 30.0), (1, 50.0), (0, 20.0), (1, 40.0)] {
            let mut figures = Figures::default();
            figures.add("CPU per event", value, "µs");
            report.add(build, Scenario::Ingress, figures);
        }
        report
    }

    #[test]
    fn two_builds_are_compared_by_their_medians() {
        let text = report().to_string();
        assert!(text.contains("20.00 [10.00, 30.00]") && text.contains("40.00 [30.00, 50.00]"), "{text}");
        assert!(text.contains("B/A 2.00"), "{text}");
    }

    #[test]
    fn the_json_has_every_figure_of_every_run() {
        let json = report().json();
        assert_eq!(json["runs"].as_array().map(Vec::len), Some(6));
        assert_eq!(json["runs"][1]["figures"][0]["value"], 30.0);
    }

    #[test]
    fn the_median_of_an_even_number_of_values_is_between_the_middle_ones() {
        assert_eq!(Spread::of(vec![4.0, 1.0]), Some(Spread { median: 2.5, least: 1.0, most: 4.0 }));
        assert_eq!(Spread::of(vec![]), None);
    }
}
