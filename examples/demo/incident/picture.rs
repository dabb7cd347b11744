//! Both runs as a picture: how many members serve which release over time, a panel each; whoever is down is red.

use std::fmt::Write;

use super::RELEASES;
use super::record::{Look, Record};

const WIDTH: f64 = 760.0;
/// Of the axes of a panel.
const HEIGHT: f64 = 150.0;
/// Above the axes of a panel: its title and the marks' names.
const HEAD: f64 = 94.0;
/// Below them: the figures of the axis.
const FOOT: f64 = 30.0;
/// Left and right of the axes.
const MARGIN: f64 = 48.0;
/// Below all panels: what the colours mean.
const LEGEND: f64 = 44.0;
/// How many lines the marks' names take turns in.
const MARK_LINES: u8 = 4;

/// In the order of [`RELEASES`].
const COLOURS: [&str; 2] = ["#7fa8d9", "#5fae7b"];
const DOWN: &str = "#c8102e";

/// The picture, in SVG.
pub fn of(panels: &[(&str, &Record)]) -> String {
    let count = panels.iter().map(|_| 1.0).sum::<f64>();
    let height = count * (HEAD + HEIGHT + FOOT) + LEGEND;
    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {height}\" font-family=\"sans-serif\" font-size=\"12\">\n\
         <rect width=\"{WIDTH}\" height=\"{height}\" fill=\"white\"/>\n"
    );
    let end = panels.iter().filter_map(|(_, record)| record.looks.last()).map(|look| look.seconds);
    let end = end.fold(1.0, f64::max).ceil();
    let mut top = HEAD;
    for (title, record) in panels {
        Panel { record, top, end }.draw(&mut svg, title);
        top += HEIGHT + FOOT + HEAD;
    }
    legend(&mut svg, height - LEGEND + 24.0);
    svg.push_str("</svg>\n");
    svg
}

/// A run's part of the picture.
struct Panel<'a> {
    record: &'a Record,
    /// Where its axes begin, from the picture's top.
    top: f64,
    /// The last second of the axis.
    end: f64,
}

impl Panel<'_> {
    fn draw(&self, svg: &mut String, title: &str) {
        let looks = self.record.changes();
        let (Some(first), Some(last)) = (looks.first(), looks.last()) else { return };
        let members = first.serving.len();
        let _ = writeln!(
            svg,
            "<text x=\"{MARGIN}\" y=\"{:.0}\" font-size=\"14\" font-weight=\"bold\">{members} members {title}</text>",
            self.top - HEAD + 24.0
        );
        // Whoever serves nothing shows as the ground of it all.
        let (left, right) = (self.x(first.seconds), self.x(last.seconds));
        let _ = writeln!(
            svg,
            "<rect x=\"{left:.1}\" y=\"{:.1}\" width=\"{:.1}\" height=\"{HEIGHT}\" fill=\"{DOWN}\"/>",
            self.top,
            right - left
        );
        // The widest band first: each covers all of it but what is its own.
        for (n, colour) in COLOURS.iter().enumerate().rev() {
            let _ = writeln!(svg, "<path d=\"{}\" fill=\"{colour}\"/>", self.band(&looks, n, members));
        }
        self.axes(svg, members);
        self.marks(svg);
    }

    /// The members that serve one of the releases up to this one, as steps.
    fn band(&self, looks: &[&Look], release: usize, members: usize) -> String {
        let mut path = String::new();
        let mut seconds = 0.0;
        for (n, look) in looks.iter().enumerate() {
            let served: usize = RELEASES.iter().take(release + 1).map(|release| look.serve(release)).sum();
            let y = self.y(served, members);
            if n == 0 {
                let _ = write!(path, "M{:.1} {:.1}", self.x(look.seconds), self.top + HEIGHT);
            }
            let _ = write!(path, "H{:.1}V{y:.1}", self.x(look.seconds));
            seconds = look.seconds;
        }
        let _ = write!(path, "H{:.1}V{:.1}Z", self.x(seconds), self.top + HEIGHT);
        path
    }

    fn axes(&self, svg: &mut String, members: usize) {
        let bottom = self.top + HEIGHT;
        for (figure, y) in [(0, bottom), (members, self.top)] {
            let _ = writeln!(
                svg,
                "<text x=\"{:.0}\" y=\"{:.0}\" text-anchor=\"end\">{figure}</text>",
                MARGIN - 6.0,
                y + 4.0
            );
        }
        let mut seconds = 0.0;
        while seconds <= self.end {
            let x = self.x(seconds);
            let _ = writeln!(
                svg,
                "<path d=\"M{x:.1} {bottom:.0}v4\" stroke=\"black\"/><text x=\"{x:.1}\" y=\"{:.0}\" text-anchor=\"middle\">{seconds} s</text>",
                bottom + 18.0
            );
            seconds += 5.0;
        }
    }

    /// The names in front of the lines, so that none is crossed out.
    fn marks(&self, svg: &mut String) {
        let lines =
            (0..MARK_LINES).map(|line| self.top - 8.0 - 13.0 * f64::from(MARK_LINES - 1 - line)).cycle();
        let places: Vec<_> = self.record.marks.iter().zip(lines).collect();
        for (mark, y) in &places {
            let (x, bottom) = (self.x(mark.seconds), self.top + HEIGHT);
            let _ = writeln!(
                svg,
                "<path d=\"M{x:.1} {y:.0}V{bottom:.0}\" stroke=\"black\" stroke-dasharray=\"3\"/>"
            );
        }
        for (mark, y) in &places {
            let _ = writeln!(
                svg,
                "<text x=\"{:.1}\" y=\"{:.0}\" font-size=\"11\" stroke=\"white\" stroke-width=\"3\" paint-order=\"stroke\">{}</text>",
                self.x(mark.seconds) + 3.0,
                y + 2.0,
                mark.what
            );
        }
    }

    fn x(&self, seconds: f64) -> f64 {
        MARGIN + seconds / self.end * (WIDTH - 2.0 * MARGIN)
    }

    fn y(&self, served: usize, members: usize) -> f64 {
        let figure = |count: usize| f64::from(u32::try_from(count).unwrap_or(u32::MAX));
        self.top + HEIGHT * (1.0 - figure(served) / figure(members.max(1)))
    }
}

fn legend(svg: &mut String, y: f64) {
    let mut x = MARGIN;
    let releases =
        RELEASES.iter().zip(COLOURS).map(|(release, colour)| (format!("{release} release"), colour));
    for (name, colour) in releases.chain([("down".to_owned(), DOWN)]) {
        let _ = writeln!(
            svg,
            "<rect x=\"{x:.0}\" y=\"{:.0}\" width=\"12\" height=\"12\" fill=\"{colour}\"/><text x=\"{:.0}\" y=\"{y:.0}\">{name}</text>",
            y - 10.0,
            x + 18.0
        );
        x += 130.0;
    }
}
