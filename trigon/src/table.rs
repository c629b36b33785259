//! A table of text, its columns as wide as what stands in them.

use crate::terminal::{DIM, styled};

/// A table under construction.
pub(crate) struct Table {
    head: &'static [&'static str],
    rows: Vec<Vec<Cell>>,
}

/// What stands in a column.
pub(crate) struct Cell {
    text: String,
    shown: String,
    align: Align,
}

#[derive(Clone, Copy)]
enum Align {
    Left,
    Right,
}

impl Cell {
    /// Words.
    pub(crate) fn text(text: impl ToString) -> Self {
        let text = text.to_string();
        Self { shown: text.clone(), text, align: Align::Left }
    }

    /// Words in a style.
    pub(crate) fn styled(style: anstyle::Style, text: impl ToString) -> Self {
        let text = text.to_string();
        Self { shown: styled(style, &text), text, align: Align::Left }
    }

    /// A number; zero is dimmed, because the others are what is looked for.
    pub(crate) fn number(number: u64) -> Self {
        let text = number.to_string();
        let shown = if number == 0 { styled(DIM, &text) } else { text.clone() };
        Self { text, shown, align: Align::Right }
    }

    /// The same number in a style, unless it is zero.
    pub(crate) fn alarm(style: anstyle::Style, number: u64) -> Self {
        let mut cell = Self::number(number);
        if number > 0 {
            cell.shown = styled(style, &cell.text);
        }
        cell
    }

    fn width(&self) -> usize {
        self.text.chars().count()
    }
}

impl Table {
    /// A table without rows.
    pub(crate) fn new(head: &'static [&'static str]) -> Self {
        Self { head, rows: Vec::new() }
    }

    /// Adds a row; it has as many cells as the head.
    pub(crate) fn row(&mut self, cells: impl IntoIterator<Item = Cell>) {
        self.rows.push(cells.into_iter().collect());
    }

    /// All lines.
    pub(crate) fn text(&self) -> String {
        let widths: Vec<usize> = (0..self.head.len())
            .map(|column| {
                let cells = self.rows.iter().filter_map(|row| row.get(column));
                cells.map(Cell::width).chain([self.head[column].len()]).max().unwrap_or_default()
            })
            .collect();
        let first = self.rows.first();
        let is_right = |column: usize| {
            first.and_then(|row| row.get(column)).is_some_and(|cell| matches!(cell.align, Align::Right))
        };
        let head = self.head.iter().enumerate().map(|(column, name)| {
            let align = if is_right(column) { Align::Right } else { Align::Left };
            Cell { text: (*name).to_owned(), shown: styled(DIM, name), align }
        });
        let mut text = line(&head.collect::<Vec<_>>(), &widths);
        for row in &self.rows {
            text.push_str(&line(row, &widths));
        }
        text
    }
}

fn line(cells: &[Cell], widths: &[usize]) -> String {
    let mut text = String::new();
    for (place, (cell, width)) in cells.iter().zip(widths).enumerate() {
        let padding = " ".repeat(width - cell.width());
        let is_last = place + 1 == cells.len();
        match cell.align {
            Align::Right => text.extend([padding.as_str(), &cell.shown]),
            Align::Left if is_last => text.push_str(&cell.shown),
            Align::Left => text.extend([cell.shown.as_str(), &padding]),
        }
        text.push_str(if is_last { "\n" } else { "  " });
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::terminal::BAD;

    #[test]
    fn columns_are_as_wide_as_their_cells_and_numbers_stand_right() {
        let mut table = Table::new(&["NAME", "LAG", "STATE"]);
        table.row([Cell::text("größe"), Cell::number(0), Cell::text("active")]);
        table.row([Cell::text("b"), Cell::alarm(BAD, 12_345), Cell::styled(BAD, "paused")]);
        let text = anstream::adapter::strip_str(&table.text()).to_string();
        assert_eq!(text, "NAME     LAG  STATE\ngröße      0  active\nb      12345  paused\n");
        assert_eq!(table.text().matches(&styled(BAD, "12345")).count(), 1);
    }
}
