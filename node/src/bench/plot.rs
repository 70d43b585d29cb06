//! Plots as SVG, written by hand: lines over one linear or logarithmic axis each way.
//!
//! In: axes, series. Out: the text of an SVG. Invariants: what is drawn lies within the frame; names are escaped. Bounds: none.

use std::fmt::Write as _;

/// Of the part that lines are drawn in.
const WIDTH: f64 = 720.0;
const HEIGHT: f64 = 300.0;
/// Around it.
const MARGIN: f64 = 56.0;
const COLORS: [&str; 6] = ["#2a7f3f", "#b02020", "#3f5fbf", "#b08000", "#7a3fb0", "#20808a"];

/// A direction.
#[derive(Clone, PartialEq, Debug)]
pub struct Axis {
    label: String,
    is_log: bool,
    /// Where a value is written, and how; chosen by the values when empty.
    marks: Vec<(f64, String)>,
}

/// A line.
#[derive(Clone, PartialEq, Debug)]
pub struct Series {
    /// What it is of.
    pub name: String,
    /// Its points, in order.
    pub points: Vec<(f64, f64)>,
}

impl Axis {
    /// From zero to the largest value.
    pub fn linear(label: &str) -> Self {
        Self { label: label.to_owned(), is_log: false, marks: Vec::new() }
    }
    /// Logarithmic, with these values written.
    pub fn logarithmic(label: &str, values: impl Iterator<Item = f64>) -> Self {
        Self { label: label.to_owned(), is_log: true, marks: values.map(|value| (value, super::report::short(value))).collect() }
    }
    /// Logarithmic, with these marks.
    pub fn marked(label: &str, marks: &[(&str, f64)]) -> Self {
        Self { label: label.to_owned(), is_log: true, marks: marks.iter().map(|(name, at)| (*at, (*name).to_owned())).collect() }
    }
}

/// Values of an axis onto the frame.
struct Scale {
    is_log: bool,
    low: f64,
    high: f64,
}

impl Scale {
    fn new(axis: &Axis, values: impl Iterator<Item = f64>) -> Self {
        let all: Vec<f64> = values.chain(axis.marks.iter().map(|(at, _)| *at)).filter(|value| value.is_finite()).collect();
        let high = all.iter().copied().fold(0.0, f64::max);
        let low = all.iter().copied().filter(|value| *value > 0.0).fold(f64::INFINITY, f64::min);
        match axis.is_log {
            true if low.is_finite() && high > low => Self { is_log: true, low: low.ln(), high: high.ln() },
            true => Self { is_log: true, low: 0.0, high: 1.0 },
            false => Self { is_log: false, low: 0.0, high: if high > 0.0 { high } else { 1.0 } },
        }
    }
    /// From 0 to 1.
    fn of(&self, value: f64) -> f64 {
        let value = if self.is_log { value.max(f64::MIN_POSITIVE).ln() } else { value };
        ((value - self.low) / (self.high - self.low)).clamp(0.0, 1.0)
    }
}

/// Draws lines.
pub fn lines(title: &str, x: &Axis, y: &Axis, series: &[Series]) -> String {
    let points = || series.iter().flat_map(|series| &series.points);
    let (across, up) = (Scale::new(x, points().map(|point| point.0)), Scale::new(y, points().map(|point| point.1)));
    let left = |value: f64| MARGIN + WIDTH * across.of(value);
    let top = |value: f64| MARGIN + HEIGHT * (1.0 - up.of(value));
    let (width, height) = (WIDTH + 2.0 * MARGIN, HEIGHT + 2.0 * MARGIN);
    let (right, bottom) = (MARGIN + WIDTH, MARGIN + HEIGHT);
    let mut svg = format!(
        "<svg xmlns='http://www.w3.org/2000/svg' viewBox='0 0 {width} {height}' font-family='sans-serif' font-size='11'>\
         <rect width='{width}' height='{height}' fill='white'/><text x='{MARGIN}' y='20' font-size='14'>{}</text>",
        escape(title)
    );
    for (value, name) in marks(y, &up) {
        let at = top(value);
        let _ = write!(
            svg,
            "<line x1='{MARGIN}' x2='{right}' y1='{at:.1}' y2='{at:.1}' stroke='#ddd'/><text x='{}' y='{:.1}' text-anchor='end'>{}</text>",
            MARGIN - 5.0,
            at + 4.0,
            escape(&name)
        );
    }
    for (value, name) in marks(x, &across) {
        let at = left(value);
        let _ = write!(
            svg,
            "<line x1='{at:.1}' x2='{at:.1}' y1='{MARGIN}' y2='{bottom}' stroke='#eee'/><text x='{at:.1}' y='{}' text-anchor='middle'>{}</text>",
            bottom + 15.0,
            escape(&name)
        );
    }
    let _ = write!(
        svg,
        "<text x='{}' y='{}' text-anchor='end'>{}</text><text x='{MARGIN}' y='{}'>{}</text>",
        right,
        bottom + 32.0,
        escape(&x.label),
        MARGIN - 10.0,
        escape(&y.label)
    );
    for (nth, series) in series.iter().enumerate() {
        let color = COLORS[nth % COLORS.len()];
        let drawn: Vec<String> = series.points.iter().map(|(x, y)| format!("{:.1},{:.1}", left(*x), top(*y))).collect();
        let _ = write!(
            svg,
            "<polyline fill='none' stroke='{color}' stroke-width='1.8' points='{}'/><text x='{}' y='{}' fill='{color}' text-anchor='end'>{}</text>",
            drawn.join(" "),
            right - 4.0,
            MARGIN + 14.0 * (nth + 1) as f64,
            escape(&series.name)
        );
    }
    svg.push_str("</svg>\n");
    svg
}

/// What is written along an axis.
fn marks(axis: &Axis, scale: &Scale) -> Vec<(f64, String)> {
    if !axis.marks.is_empty() || axis.is_log {
        return axis.marks.clone();
    }
    (0..=4).map(|step| scale.high * f64::from(step) / 4.0).map(|value| (value, super::report::short(value))).collect()
}

fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('\'', "&#39;")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn coordinates(svg: &str) -> Vec<(f64, f64)> {
        let points = svg.split("points='").nth(1).and_then(|rest| rest.split('\'').next()).unwrap();
        points.split(' ').map(|point| point.split_once(',').unwrap()).map(|(x, y)| (x.parse().unwrap(), y.parse().unwrap())).collect()
    }

    #[test]
    fn everything_is_within_the_frame_and_more_is_higher() {
        let series = [Series { name: "a < b".to_owned(), points: vec![(1.0, 0.0), (16.0, 50.0), (256.0, 100.0)] }];
        let svg = lines("x & y", &Axis::logarithmic("n", [1.0, 256.0].into_iter()), &Axis::linear("ms"), &series);
        let at = coordinates(&svg);
        assert_eq!(at, [(MARGIN, MARGIN + HEIGHT), (MARGIN + WIDTH / 2.0, MARGIN + HEIGHT / 2.0), (MARGIN + WIDTH, MARGIN)]);
        assert!(svg.contains("a &lt; b") && svg.contains("x &amp; y") && svg.trim_end().ends_with("</svg>"));
    }

    #[test]
    fn nothing_and_zero_are_drawn_too() {
        for points in [Vec::new(), vec![(0.0, 0.0)], vec![(5.0, 5.0)]] {
            let series = [Series { name: "x".to_owned(), points }];
            for axis in [Axis::linear("x"), Axis::marked("x", &[])] {
                let svg = lines("t", &axis, &Axis::linear("y"), &series);
                assert!(!svg.contains("NaN") && !svg.contains("inf"), "{svg}");
            }
        }
    }
}
