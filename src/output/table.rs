//! Aligned tables for people.

use comfy_table::presets::NOTHING;

/// A table with a heading.
pub struct Table(comfy_table::Table);

impl Table {
    /// An empty table with these columns.
    pub fn new(columns: &[&str]) -> Self {
        let mut table = comfy_table::Table::new();
        table.load_preset(NOTHING).set_header(columns);
        for column in table.column_iter_mut() {
            column.set_padding((0, 2));
        }
        Self(table)
    }

    /// Adds a row; what cannot be seen is spelled out.
    pub fn row(&mut self, cells: impl IntoIterator<Item = String>) {
        self.0.add_row(cells.into_iter().map(|cell| super::shown::shown(&cell)));
    }

    /// The table as text, without spaces at the ends of lines.
    pub fn render(&self) -> String {
        self.0.lines().flat_map(|line| [line.trim_end().to_owned(), "\n".to_owned()]).collect()
    }
}
