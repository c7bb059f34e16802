//! Draws a picture of layers from text: bands one under the other, rows of boxes in them, arrows between boxes.
//!
//! The text's own first lines say how it is written. The same text gives the same bytes, so a check can tell whether text
//! and picture belong together.

use std::fmt::Write as _;

use anyhow::{Context, Result, bail};

/// Room around and between things, in pixels.
const MARGIN: f64 = 14.0;
const LABELS: f64 = 178.0;
const BETWEEN_BOXES: f64 = 46.0;
const BETWEEN_ROWS: f64 = 32.0;
const PADDING: f64 = 12.0;
const BOX_HEIGHT: f64 = 50.0;
/// How many letters of a band's text fit beside its rows.
const LABEL_LETTERS: usize = 26;
const LINE: f64 = 15.0;
/// What two boxes have to overlap by for an arrow to go straight down.
const STRAIGHT: f64 = 24.0;

const STYLE: &str = "text{font-family:system-ui,-apple-system,'Segoe UI','DejaVu Sans',sans-serif;fill:#1b2a3a}\
.band{font-size:14px;font-weight:600}.note{font-size:12px;fill:#45566a}\
.name{font-size:13px;font-weight:600;text-anchor:middle}.text{font-size:11.5px;fill:#45566a;text-anchor:middle}\
.arrow{stroke:#45566a;stroke-width:1.4;fill:none;marker-end:url(#head)}\
.label{font-size:11px;fill:#1b2a3a;stroke:#fff;stroke-width:3px;paint-order:stroke}";

#[derive(Clone, Copy)]
struct Area {
    x: f64,
    y: f64,
    width: f64,
    height: f64,
}

impl Area {
    fn right(&self) -> f64 {
        self.x + self.width
    }
    fn bottom(&self) -> f64 {
        self.y + self.height
    }
    fn middle(&self) -> (f64, f64) {
        (self.x + self.width / 2.0, self.y + self.height / 2.0)
    }
}

struct Item {
    /// None for a gap.
    name: Option<String>,
    weight: f64,
    title: String,
    text: String,
    area: Area,
}

struct Band {
    fill: &'static str,
    line: &'static str,
    title: String,
    rows: Vec<Vec<Item>>,
    area: Area,
}

struct Arrow {
    from: String,
    to: String,
    label: String,
}

struct Picture {
    width: f64,
    title: String,
    bands: Vec<Band>,
    arrows: Vec<Arrow>,
}

/// The picture, as SVG.
pub fn draw(text: &str) -> Result<String> {
    let mut picture = parse(text)?;
    let height = lay_out(&mut picture);
    let mut out = String::new();
    write_svg(&picture, height, &mut out)?;
    Ok(out)
}

fn parse(text: &str) -> Result<Picture> {
    let mut picture = Picture {
        width: 0.0,
        title: String::new(),
        bands: Vec::new(),
        arrows: Vec::new(),
    };
    for (number, line) in text.lines().enumerate() {
        let line = line.trim();
        if !line.is_empty() && !line.starts_with('#') {
            parse_line(&mut picture, line)
                .with_context(|| format!("line {}: {line}", number + 1))?;
        }
    }
    Ok(picture)
}

fn parse_line(picture: &mut Picture, line: &str) -> Result<()> {
    let mut parts = line.split('|').map(str::trim);
    let mut words = parts.next().unwrap_or_default().split_whitespace();
    let mut title = || parts.next().unwrap_or_default().to_owned();
    let kind = words.next().unwrap_or_default();
    let mut word = || words.next().context("a word is missing");
    match kind {
        "picture" => {
            picture.width = word()?.parse()?;
            picture.title = title();
        }
        "band" => {
            let (fill, line) = colours(word()?)?;
            picture.bands.push(Band {
                fill,
                line,
                title: title(),
                rows: Vec::new(),
                area: nowhere(),
            });
        }
        "row" => picture
            .bands
            .last_mut()
            .context("a row outside of a band")?
            .rows
            .push(Vec::new()),
        "box" | "gap" => {
            let item = Item {
                name: match kind {
                    "box" => Some(word()?.to_owned()),
                    _ => None,
                },
                weight: word()?.parse()?,
                title: title(),
                text: title(),
                area: nowhere(),
            };
            let row = picture
                .bands
                .last_mut()
                .and_then(|band| band.rows.last_mut());
            row.context("a box outside of a row")?.push(item);
        }
        "arrow" => picture.arrows.push(Arrow {
            from: word()?.to_owned(),
            to: word()?.to_owned(),
            label: title(),
        }),
        _ => bail!("picture, band, row, box, gap and arrow are known"),
    }
    Ok(())
}

fn nowhere() -> Area {
    Area {
        x: 0.0,
        y: 0.0,
        width: 0.0,
        height: 0.0,
    }
}

/// A band's ground and its lines.
fn colours(name: &str) -> Result<(&'static str, &'static str)> {
    Ok(match name {
        "blue" => ("#e6f0fb", "#5b8fc7"),
        "green" => ("#e7f5ea", "#58a36c"),
        "orange" => ("#fdf0e2", "#d6924a"),
        "grey" => ("#eff1f4", "#8a96a5"),
        "yellow" => ("#fdf8dc", "#c3a93a"),
        _ => bail!("{name}: blue, green, orange, grey and yellow are known"),
    })
}

/// Gives everything its place; returns the height of the whole.
fn lay_out(picture: &mut Picture) -> f64 {
    let mut y = MARGIN;
    for band in &mut picture.bands {
        let rows = band.rows.len() as f64;
        let height = 2.0 * PADDING + rows * BOX_HEIGHT + (rows - 1.0).max(0.0) * BETWEEN_ROWS;
        band.area = Area {
            x: MARGIN,
            y,
            width: picture.width - 2.0 * MARGIN,
            height,
        };
        let left = MARGIN + LABELS;
        let room = picture.width - MARGIN - left;
        let mut top = y + PADDING;
        for row in &mut band.rows {
            let all: f64 = row.iter().map(|item| item.weight).sum();
            let mut before = 0.0;
            for item in row {
                let from = left + room * before / all;
                before += item.weight;
                let to = left + room * before / all;
                item.area = Area {
                    x: from + BETWEEN_BOXES / 2.0,
                    y: top,
                    width: to - from - BETWEEN_BOXES,
                    height: BOX_HEIGHT,
                };
            }
            top += BOX_HEIGHT + BETWEEN_ROWS;
        }
        y += height + BETWEEN_ROWS;
    }
    y - BETWEEN_ROWS + MARGIN
}

fn write_svg(picture: &Picture, height: f64, out: &mut String) -> Result<()> {
    let width = picture.width;
    writeln!(
        out,
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {width} {height}\" width=\"{width}\" height=\"{height}\" role=\"img\">"
    )?;
    writeln!(out, "<title>{}</title>", escaped(&picture.title))?;
    writeln!(out, "<style>{STYLE}</style>")?;
    writeln!(
        out,
        "<defs><marker id=\"head\" viewBox=\"0 0 8 8\" refX=\"7\" refY=\"4\" markerWidth=\"7\" markerHeight=\"7\" orient=\"auto\">\
         <path d=\"M0 0 8 4 0 8z\" fill=\"#45566a\"/></marker></defs>"
    )?;
    writeln!(
        out,
        "<rect width=\"{width}\" height=\"{height}\" rx=\"8\" fill=\"#fff\"/>"
    )?;
    for band in &picture.bands {
        write_band(band, out)?;
    }
    for arrow in &picture.arrows {
        write_arrow(picture, arrow, out)
            .with_context(|| format!("arrow {} {}", arrow.from, arrow.to))?;
    }
    writeln!(out, "</svg>")?;
    Ok(())
}

fn write_rect(area: &Area, fill: &str, line: &str, out: &mut String) -> Result<()> {
    let Area {
        x,
        y,
        width,
        height,
    } = area;
    writeln!(
        out,
        "<rect x=\"{x:.1}\" y=\"{y:.1}\" width=\"{width:.1}\" height=\"{height:.1}\" rx=\"6\" fill=\"{fill}\" stroke=\"{line}\"/>"
    )?;
    Ok(())
}

fn write_text(class: &str, x: f64, y: f64, text: &str, out: &mut String) -> Result<()> {
    writeln!(
        out,
        "<text class=\"{class}\" x=\"{x:.1}\" y=\"{y:.1}\">{}</text>",
        escaped(text)
    )?;
    Ok(())
}

fn write_band(band: &Band, out: &mut String) -> Result<()> {
    write_rect(&band.area, band.fill, band.line, out)?;
    let (title, note) = band.title.split_once(": ").unwrap_or((&band.title, ""));
    let lines = wrapped(note, LABEL_LETTERS);
    let (_, middle) = band.area.middle();
    let mut y = middle - LINE * lines.len() as f64 / 2.0 + 5.0;
    write_text("band", band.area.x + PADDING, y, title, out)?;
    for line in lines {
        y += LINE;
        write_text("note", band.area.x + PADDING, y, &line, out)?;
    }
    for item in band
        .rows
        .iter()
        .flatten()
        .filter(|item| item.name.is_some())
    {
        write_rect(&item.area, "#fff", band.line, out)?;
        let (x, y) = item.area.middle();
        write_text("name", x, y - 4.0, &item.title, out)?;
        write_text("text", x, y + 13.0, &item.text, out)?;
    }
    Ok(())
}

fn write_arrow(picture: &Picture, arrow: &Arrow, out: &mut String) -> Result<()> {
    let find = |name: &str| {
        picture
            .bands
            .iter()
            .flat_map(|band| band.rows.iter().flatten())
            .find(|item| item.name.as_deref() == Some(name))
            .map(|item| item.area)
            .with_context(|| format!("there is no box {name}"))
    };
    let (from, to) = (find(&arrow.from)?, find(&arrow.to)?);
    let ((x1, y1), (x2, y2)) = ends(&from, &to);
    writeln!(
        out,
        "<path class=\"arrow\" d=\"M{x1:.1} {y1:.1} {x2:.1} {y2:.1}\"/>"
    )?;
    if arrow.label.is_empty() {
        return Ok(());
    }
    let (x, y) = ((x1 + x2) / 2.0, (y1 + y2) / 2.0);
    match from.y == to.y {
        true => write_text(
            "label\" text-anchor=\"middle",
            x,
            y - 6.0,
            &arrow.label,
            out,
        ),
        false => write_text("label", x + 6.0, y + 4.0, &arrow.label, out),
    }
}

/// Where an arrow begins and ends: beside each other, straight down where the boxes overlap, else from middle to middle.
fn ends(from: &Area, to: &Area) -> ((f64, f64), (f64, f64)) {
    if from.y == to.y {
        let y = from.middle().1;
        return match from.x < to.x {
            true => ((from.right(), y), (to.x, y)),
            false => ((from.x, y), (to.right(), y)),
        };
    }
    let (left, right) = (from.x.max(to.x), from.right().min(to.right()));
    let (x1, x2) = match right - left >= STRAIGHT {
        true => ((left + right) / 2.0, (left + right) / 2.0),
        false => (from.middle().0, to.middle().0),
    };
    match from.y < to.y {
        true => ((x1, from.bottom()), (x2, to.y)),
        false => ((x1, from.y), (x2, to.bottom())),
    }
}

/// A text in lines of at most so many letters.
fn wrapped(text: &str, most: usize) -> Vec<String> {
    let mut lines: Vec<String> = Vec::new();
    for word in text.split_whitespace() {
        match lines.last_mut() {
            Some(line) if line.len() + 1 + word.len() <= most => {
                line.push(' ');
                line.push_str(word);
            }
            _ => lines.push(word.to_owned()),
        }
    }
    lines
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;")
        .replace('<', "&lt;")
        .replace('>', "&gt;")
}
