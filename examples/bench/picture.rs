//! The tick over the number of models, as a picture: both axes logarithmic.

use std::fmt::Write;

use crate::measure::Runs;
use crate::tick::Ticks;

const WIDTH: f64 = 640.0;
const HEIGHT: f64 = 400.0;
/// Left of and below the axes.
const MARGIN: f64 = 64.0;

/// Powers of ten at the ends of the axes: models, and milliseconds.
const MODELS: (f64, f64) = (2.0, 5.0);
const MILLISECONDS: (f64, f64) = (0.0, 5.0);

/// The picture, in SVG.
pub fn of(ticks: &Ticks) -> String {
    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {HEIGHT}\" font-family=\"sans-serif\" font-size=\"12\">\n\
         <rect width=\"{WIDTH}\" height=\"{HEIGHT}\" fill=\"white\"/>\n"
    );
    for (power, label) in (2..=5).zip(["100", "1,000", "10,000", "100,000"]) {
        let x = x(f64::from(power));
        let _ = writeln!(
            svg,
            "<path d=\"M{x:.0} {:.0}V{:.0}\" stroke=\"#ddd\"/><text x=\"{x:.0}\" y=\"{:.0}\" text-anchor=\"middle\">{label}</text>",
            y(MILLISECONDS.0),
            y(MILLISECONDS.1),
            HEIGHT - MARGIN + 18.0
        );
    }
    for (power, label) in (0..=5).zip(["1 ms", "10 ms", "100 ms", "1 s", "10 s", "100 s"]) {
        let y = y(f64::from(power));
        let _ = writeln!(
            svg,
            "<path d=\"M{:.0} {y:.0}H{:.0}\" stroke=\"#ddd\"/><text x=\"{:.0}\" y=\"{:.0}\" text-anchor=\"end\">{label}</text>",
            x(MODELS.0),
            x(MODELS.1),
            MARGIN - 6.0,
            y + 4.0
        );
    }
    // Cron's next tick comes after a minute.
    let minute = y(60_000.0_f64.log10());
    let _ = writeln!(
        svg,
        "<path d=\"M{:.0} {minute:.0}H{:.0}\" stroke=\"#a00\" stroke-dasharray=\"4\"/><text x=\"{:.0}\" y=\"{:.0}\" fill=\"#a00\">a minute</text>",
        x(MODELS.0),
        x(MODELS.1),
        x(MODELS.0) + 6.0,
        minute - 5.0
    );
    line(&mut svg, &ticks.script, "#c60", "the scripts");
    line(&mut svg, &ticks.binary, "#06c", "dispatch --all");
    let _ = write!(
        svg,
        "<text x=\"{:.0}\" y=\"{:.0}\" text-anchor=\"middle\">idle models</text>\n</svg>\n",
        (x(MODELS.0) + x(MODELS.1)) / 2.0,
        HEIGHT - 16.0
    );
    svg
}

fn line(svg: &mut String, ticks: &[(usize, Runs)], colour: &str, name: &str) {
    let points: Vec<(f64, f64)> = ticks
        .iter()
        .map(|(models, runs)| {
            let models = f64::from(u32::try_from(*models).unwrap_or(u32::MAX));
            (x(models.log10()), y((runs.median() * 1e3).log10()))
        })
        .collect();
    let path: Vec<String> = points.iter().map(|(x, y)| format!("{x:.1},{y:.1}")).collect();
    let _ = writeln!(
        svg,
        "<polyline points=\"{}\" fill=\"none\" stroke=\"{colour}\" stroke-width=\"2\"/>",
        path.join(" ")
    );
    for (x, y) in &points {
        let _ = writeln!(svg, "<circle cx=\"{x:.1}\" cy=\"{y:.1}\" r=\"3\" fill=\"{colour}\"/>");
    }
    if let Some((x, y)) = points.last() {
        // On the side of the line: behind it may be the picture's edge.
        let _ = writeln!(
            svg,
            "<text x=\"{:.0}\" y=\"{:.0}\" fill=\"{colour}\" text-anchor=\"end\">{name}</text>",
            x - 8.0,
            y - 6.0
        );
    }
}

fn x(power: f64) -> f64 {
    MARGIN + (power - MODELS.0) / (MODELS.1 - MODELS.0) * (WIDTH - MARGIN - 24.0)
}

fn y(power: f64) -> f64 {
    HEIGHT - MARGIN - (power - MILLISECONDS.0) / (MILLISECONDS.1 - MILLISECONDS.0) * (HEIGHT - MARGIN - 24.0)
}
