//! What benchmarks share: how long they run, and figures that stand beside a baseline.

use clap::Parser;

/// How long a benchmark takes, and how sure its figures are.
#[derive(Debug, Clone, Parser)]
pub struct Options {
    /// How often each pair is measured.
    #[arg(long, default_value_t = 5)]
    pub rounds: usize,
    /// How long a client is counted each time.
    #[arg(long, default_value_t = 5)]
    pub seconds: u64,
    /// How much is in the database; given several times, each is measured.
    #[arg(long)]
    megabytes: Vec<u64>,
    /// How many WAL segments are archived, and replayed.
    #[arg(long)]
    segments: Option<u64>,
    /// Only this part of a benchmark that has several.
    #[arg(long, value_parser = ["archive", "restore"])]
    part: Option<String>,
    /// What cargo tells a benchmark.
    #[arg(long, hide = true)]
    bench: bool,
}

impl Options {
    /// What the command line says; ends the process with a hint when it cannot be understood.
    pub fn read() -> Self {
        Self::parse()
    }

    /// How much is in the database each time: what was asked for, or that.
    pub fn megabytes_or(&self, default: &[u64]) -> Vec<u64> {
        match &self.megabytes[..] {
            [] => default.to_vec(),
            asked => asked.to_vec(),
        }
    }

    /// Whether this part is to be measured.
    pub fn has_part(&self, name: &str) -> bool {
        self.part.as_ref().is_none_or(|part| part == name)
    }

    /// How many WAL segments: what was asked for, or that.
    pub fn segments_or(&self, default: u64) -> u64 {
        self.segments.unwrap_or(default)
    }
}

/// For [`Series::print`]: megabytes a second of a figure in bytes.
pub fn megabytes_a_second(figure: f64) -> String {
    format!("{:.0} MB/s", figure / 1e6)
}

/// For [`Series::print`]: seconds.
pub fn seconds(figure: f64) -> String {
    format!("{figure:.2} s")
}

/// For [`Series::print`]: milliseconds of a figure in seconds.
pub fn milliseconds(figure: f64) -> String {
    format!("{:.1} ms", 1000.0 * figure)
}

/// Pairs of one round each, taken one right after the other.
#[derive(Debug, Default)]
pub struct Series(Vec<(f64, f64)>);

impl Series {
    /// One round.
    pub fn push(&mut self, figure: f64, baseline: f64) {
        self.0.push((figure, baseline));
    }

    /// The median of the figures, without the baselines.
    pub fn median_figure(&self) -> f64 {
        let figures = sorted(self.0.iter().map(|(figure, _)| *figure));
        figures[figures.len() / 2]
    }

    /// The ratio is the median of the rounds' own: what else runs on a host changes from one round to
    /// the next. How far the middle half of them lies apart says how much it did.
    ///
    /// Prints a row of a table that [`header`] began.
    pub fn print(&self, what: &str, shown: impl Fn(f64) -> String) {
        let of = |column: fn(&(f64, f64)) -> f64| sorted(self.0.iter().map(column));
        let figures = of(|(figure, _)| *figure);
        let baselines = of(|(_, baseline)| *baseline);
        let ratios = of(|(figure, baseline)| figure / baseline);
        let at = |sorted: &[f64], quarter: usize| sorted[(sorted.len() - 1) * quarter / 4];
        println!(
            "| {what} | {} | {} | **{:.2}** ({:.2} to {:.2}) | {} |",
            shown(at(&figures, 2)),
            shown(at(&baselines, 2)),
            at(&ratios, 2),
            at(&ratios, 1),
            at(&ratios, 3),
            self.0.len()
        );
    }
}

fn sorted(figures: impl Iterator<Item = f64>) -> Vec<f64> {
    let mut figures: Vec<f64> = figures.collect();
    figures.sort_by(f64::total_cmp);
    figures
}

/// For [`Series::print`]: a number of things.
pub fn whole(figure: f64) -> String {
    format!("{figure:.0}")
}

/// Begins a table.
pub fn header(what: &str, figure: &str, baseline: &str) {
    println!("| {what} | {figure} | {baseline} | ratio (middle half) | rounds |");
    println!("|---|---|---|---|---|");
}
