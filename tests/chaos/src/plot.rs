//! The report of failovers: a table in Markdown, and the distributions as one SVG picture.
//!
//! Pure text: knows nothing of how anything was measured. Written by hand because a picture of a few
//! lines needs no plotting library.

use std::fmt::Write as _;

use super::failover::Measured;

/// The table.
#[must_use]
pub fn table(measured: &[Measured]) -> String {
    let mut text = String::from(
        "| what | trials | p50 | p90 | p99 | max | longest gap of submissions elsewhere |\n\
         | --- | --- | --- | --- | --- | --- | --- |\n",
    );
    for class in measured {
        let [p50, p90, p99, max] = [500, 900, 990, 1_000].map(|rank| class.quantile(rank));
        let (trials, gap) = (class.millis.len(), class.longest_gap);
        writeln!(
            text,
            "| {} | {trials} | {p50} | {p90} | {p99} | {max} | {gap} |",
            class.class
        )
        .unwrap();
    }
    text
}

/// The share of trials that were over after so long, a line for each class.
#[must_use]
pub fn picture(measured: &[Measured]) -> String {
    let longest = measured
        .iter()
        .map(|class| class.quantile(1_000))
        .max()
        .unwrap_or(1);
    let whole_seconds = (longest / 1_000 + 1) as f64;
    let x = |millis: i64| LEFT + millis.max(0) as f64 / 1_000.0 / whole_seconds * WIDTH;
    let y = |share: f64| TOP + (1.0 - share) * HEIGHT;
    let mut svg = String::from(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 760 420\" \
         font-family=\"sans-serif\" font-size=\"12\">\n\
         <rect width=\"760\" height=\"420\" fill=\"white\"/>\n",
    );
    for second in 0..=whole_seconds as i64 {
        let at = x(second * 1_000);
        line(&mut svg, (at, TOP), (at, TOP + HEIGHT), "#ddd");
        label(
            &mut svg,
            (at - 4.0, TOP + HEIGHT + 18.0),
            &second.to_string(),
            "#444",
        );
    }
    for share in [0.0, 0.25, 0.5, 0.75, 1.0] {
        line(&mut svg, (LEFT, y(share)), (LEFT + WIDTH, y(share)), "#ddd");
        let percent = format!("{:.0} %", share * 100.0);
        label(&mut svg, (8.0, y(share) + 4.0), &percent, "#444");
    }
    label(
        &mut svg,
        (LEFT + 160.0, 412.0),
        "seconds from the strike to the next assignment",
        "#444",
    );
    for (index, class) in measured.iter().enumerate() {
        let color = COLORS[index % COLORS.len()];
        let mut points = format!("{:.1},{:.1}", LEFT, y(0.0));
        let mut share = 0.0;
        for (number, millis) in class.millis.iter().enumerate() {
            let next = (number + 1) as f64 / class.millis.len() as f64;
            let at = x(*millis);
            write!(points, " {at:.1},{:.1} {at:.1},{:.1}", y(share), y(next)).unwrap();
            share = next;
        }
        writeln!(
            svg,
            "<polyline points=\"{points}\" fill=\"none\" stroke=\"{color}\" stroke-width=\"2\"/>"
        )
        .unwrap();
        let place = (LEFT + WIDTH + 12.0, TOP + 14.0 + 22.0 * index as f64);
        label(&mut svg, place, &class.class.to_string(), color);
    }
    svg.push_str("</svg>\n");
    svg
}

fn line(svg: &mut String, from: (f64, f64), to: (f64, f64), color: &str) {
    writeln!(
        svg,
        "<line x1=\"{:.1}\" y1=\"{:.1}\" x2=\"{:.1}\" y2=\"{:.1}\" stroke=\"{color}\"/>",
        from.0, from.1, to.0, to.1
    )
    .unwrap();
}

fn label(svg: &mut String, at: (f64, f64), text: &str, color: &str) {
    writeln!(
        svg,
        "<text x=\"{:.1}\" y=\"{:.1}\" fill=\"{color}\">{text}</text>",
        at.0, at.1
    )
    .unwrap();
}

const LEFT: f64 = 50.0;
const TOP: f64 = 20.0;
const WIDTH: f64 = 480.0;
const HEIGHT: f64 = 350.0;
const COLORS: [&str; 7] = [
    "#c0392b", "#d68910", "#1f618d", "#148f77", "#7d3c98", "#5d6d7e", "#111111",
];

#[cfg(test)]
mod tests {
    use super::super::failover::Class;
    use super::*;

    fn measured() -> Measured {
        Measured {
            class: Class::Kill,
            millis: (1..=100).collect(),
            longest_gap: 7,
        }
    }

    #[test]
    fn quantiles_are_values_that_were_measured() {
        let all = [500, 900, 990, 1_000].map(|rank| measured().quantile(rank));
        assert_eq!(all, [50, 90, 99, 100]);
    }

    #[test]
    fn the_table_has_a_row_and_the_picture_a_line_for_each_class() {
        let both = [measured(), measured()];
        assert_eq!(
            table(&both)
                .matches("| leader killed (-9) | 100 | 50 | 90 | 99 | 100 | 7 |")
                .count(),
            2
        );
        assert_eq!(picture(&both).matches("<polyline").count(), 2);
    }
}
